//! The certificate of the server, which is read again when its files change.

use std::{
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant, SystemTime},
};

use rustls::{
    ServerConfig,
    crypto::ring,
    pki_types::{
        CertificateDer, PrivateKeyDer,
        pem::{self, PemObject},
    },
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};

/// How long the files are taken for unchanged.
const MAX_AGE: Duration = Duration::from_secs(1);

/// Files of a certificate, and what they held.
#[derive(Debug)]
struct Files {
    chain: PathBuf,
    key: PathBuf,
    kept: Mutex<Kept>,
}

#[derive(Debug)]
struct Kept {
    checked: Instant,
    state: State,
    certified: Arc<CertifiedKey>,
}

/// Size, inode and time of both files.
type State = [(u64, u64, Option<SystemTime>); 2];

/// The settings of a server with a certificate chain and its key, in PEM.
///
/// # Errors
/// The files cannot be read, or do not belong together.
pub fn config(chain: &Path, key: &Path) -> Result<ServerConfig, String> {
    let state = state(chain, key)?;
    let certified = read(chain, key)?;
    let files = Files {
        chain: chain.to_owned(),
        key: key.to_owned(),
        kept: Mutex::new(Kept {
            checked: Instant::now(),
            state,
            certified,
        }),
    };
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?;
    Ok(config
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(files)))
}

fn read(chain: &Path, key: &Path) -> Result<Arc<CertifiedKey>, String> {
    let unusable =
        |path: &Path, why: String| format!("cannot use the certificate {}: {why}", path.display());
    let certificates: Result<Vec<_>, _> =
        CertificateDer::pem_file_iter(chain).and_then(Iterator::collect);
    let certificates = certificates.map_err(|error| unusable(chain, error.to_string()))?;
    if certificates.is_empty() {
        return Err(unusable(chain, "it holds no certificate".to_owned()));
    }
    let unusable_key = |why: String| format!("cannot use the key {}: {why}", key.display());
    let private = PrivateKeyDer::from_pem_file(key).map_err(|error| {
        let text = fs::read_to_string(key).unwrap_or_default();
        unusable_key(match error {
            _ if text.contains("ENCRYPTED") => {
                "it has a password: `openssl pkey` writes one without".to_owned()
            }
            pem::Error::NoItemsFound => "it holds no private key in PEM".to_owned(),
            error => error.to_string(),
        })
    })?;
    let certified = CertifiedKey::from_der(certificates, private, &ring::default_provider());
    let certified = certified.map_err(|error| match error {
        rustls::Error::InconsistentKeys(_) => unusable_key(format!(
            "it is not that of the certificate {}",
            chain.display()
        )),
        error => unusable(chain, error.to_string()),
    })?;
    Ok(Arc::new(certified))
}

fn state(chain: &Path, key: &Path) -> Result<State, String> {
    let of = |path: &Path| match fs::metadata(path) {
        Ok(file) => Ok((file.len(), file.ino(), file.modified().ok())),
        Err(error) => Err(format!("cannot read {}: {error}", path.display())),
    };
    Ok([of(chain)?, of(key)?])
}

impl ResolvesServerCert for Files {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.checked.elapsed() >= MAX_AGE {
            kept.checked = Instant::now();
            let now = state(&self.chain, &self.key);
            if let Some(now) = now.ok().filter(|now| *now != kept.state) {
                match read(&self.chain, &self.key) {
                    Ok(certified) => {
                        log::info!("the certificate {} is read again", self.chain.display());
                        (kept.certified, kept.state) = (certified, now);
                    }
                    // One file may be written after the other.
                    Err(problem) => log::warn!("the old certificate is used: {problem}"),
                }
            }
        }
        Some(kept.certified.clone())
    }
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    #[test]
    fn a_file_that_cannot_be_used_is_named() {
        let directory = TempDir::new().unwrap();
        let path = |name: &str| directory.path().join(name);
        let identity = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        fs::write(path("cert"), identity.cert.pem()).unwrap();
        fs::write(path("key"), identity.signing_key.serialize_pem()).unwrap();
        let label = "ENCRYPTED PRIVATE KEY";
        let locked = format!("-----BEGIN {label}-----\nAAAA\n-----END {label}-----\n");
        fs::write(path("locked"), locked).unwrap();
        assert!(config(&path("cert"), &path("key")).is_ok());
        for (chain, key, expected) in [
            ("none", "key", "cannot read PATH/none: No such file"),
            ("cert", "none", "cannot read PATH/none: No such file"),
            (
                "key",
                "cert",
                "cannot use the certificate PATH/key: it holds no certificate",
            ),
            ("cert", "cert", "cannot use the key PATH/cert: "),
            (
                "cert",
                "locked",
                "cannot use the key PATH/locked: it has a password",
            ),
        ] {
            let refused = config(&path(chain), &path(key)).unwrap_err();
            let expected = expected.replace("PATH", &directory.path().display().to_string());
            assert!(refused.starts_with(&expected), "{refused}");
        }
    }
}
