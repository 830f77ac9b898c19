//! The certificates of servers: which are trusted, and sentences about those that are not, for people who do not know the words of the
//! TLS library.

mod trust;

pub use self::trust::Trust;

use std::{error::Error, io, iter};

use rustls::{AlertDescription, CertificateError, Error as Tls};

/// The reason why TLS failed, if the cause of an error is TLS: `its certificate has expired`.
pub fn describe(error: &(dyn Error + 'static)) -> Option<String> {
    find(error).map(sentence)
}

/// Whether the other end does not speak TLS.
pub fn is_plain(error: &(dyn Error + 'static)) -> bool {
    matches!(find(error), Some(Tls::InvalidMessage(_)))
}

fn find<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a Tls> {
    iter::successors(Some(error), |error| cause(*error))
        .find_map(|error| error.downcast_ref::<Tls>())
}

/// The next error of a chain. The source of an [`io::Error`] is that of the error in it, which this function does not skip.
fn cause<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a (dyn Error + 'static)> {
    let inner = error
        .downcast_ref::<io::Error>()
        .and_then(io::Error::get_ref);
    inner.map_or_else(|| error.source(), |inner| Some(inner))
}

fn sentence(error: &Tls) -> String {
    match error {
        Tls::InvalidCertificate(problem) => of_certificate(problem),
        Tls::AlertReceived(
            AlertDescription::CertificateRequired
            | AlertDescription::BadCertificate
            | AlertDescription::UnknownCA
            | AlertDescription::CertificateUnknown
            | AlertDescription::CertificateExpired
            | AlertDescription::AccessDenied,
        ) => "it does not accept the client certificate, or demands one".to_owned(),
        Tls::InvalidMessage(_) => {
            "it does not speak TLS: its URL may begin with http://".to_owned()
        }
        other => format!("no TLS connection: {other}"),
    }
}

fn of_certificate(problem: &CertificateError) -> String {
    let sentence = match problem {
        CertificateError::UnknownIssuer => {
            "its certificate is signed by an unknown issuer, which is none of the trusted CAs"
        }
        // Each cluster of kubeadm has a CA with the name `kubernetes`.
        CertificateError::BadSignature => {
            "its certificate is signed by an unknown issuer: the trusted CA of that name has another key"
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "its certificate has expired"
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "its certificate is not valid yet, or the clock of this machine is wrong"
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "its certificate is for another name"
        }
        CertificateError::Revoked => "its certificate was revoked",
        // webpki has no public type for these.
        CertificateError::Other(other) => match other.to_string().as_str() {
            "UnsupportedCertVersion" => "its certificate has the old version X.509 v1",
            "CaUsedAsEndEntity" => "its certificate is that of a CA, and is not trusted itself",
            other => return format!("its certificate cannot be used: {other}"),
        },
        other => return format!("its certificate cannot be used: {other}"),
    };
    sentence.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cause_may_be_deep() {
        let tls = Tls::InvalidCertificate(CertificateError::UnknownIssuer);
        let wrapped = io::Error::other(io::Error::new(io::ErrorKind::InvalidData, tls));
        let sentence = describe(&wrapped).unwrap();
        assert!(sentence.contains("unknown issuer"), "{sentence}");
        assert_eq!(describe(&io::Error::other("something else")), None);
    }
}
