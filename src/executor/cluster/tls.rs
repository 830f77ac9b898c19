//! TLS towards Kubernetes: which certificates are trusted, and which certificate the server shows.
//!
//! Two rules are Go's, which kubectl follows, and not those of webpki: the CA of a kubeconfig may be the certificate of the API
//! server itself, and a client certificate may be one of X.509 v1, which `openssl x509 -req` makes.

use std::{
    fmt, fs,
    path::{Path, PathBuf},
    sync::{Arc, PoisonError, RwLock},
    time::{Duration, Instant},
};

use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, InconsistentKeys, RootCertStore,
    SignatureScheme,
    client::{
        ResolvesClientCert, WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        verify_server_name,
    },
    crypto::{CryptoProvider, ring},
    pki_types::{
        CertificateDer, PrivateKeyDer, ServerName, UnixTime,
        pem::{self, PemObject},
    },
    server::ParsedCertificate,
    sign::CertifiedKey,
};

/// How long the CAs of a file are used before the file is read again. The CA of a service account changes.
const FRESH: Duration = Duration::from_secs(60);

/// The certificates that are trusted.
#[derive(Clone, Debug)]
pub enum Trust {
    /// Those of the system, or of `SSL_CERT_FILE` and `SSL_CERT_DIR`.
    System,
    /// Those in a file, in PEM.
    File(PathBuf),
    /// Those in a text, in PEM.
    Pem(Vec<u8>),
    /// All.
    Any,
}

/// The settings of a connection.
///
/// # Errors
/// The trusted certificates cannot be read.
pub fn settings(
    trust: &Trust,
    identity: Arc<dyn ResolvesClientCert>,
) -> Result<ClientConfig, String> {
    let provider = Arc::new(ring::default_provider());
    let verifier: Arc<dyn ServerCertVerifier> = match trust {
        Trust::System => Arc::new(
            rustls_platform_verifier::Verifier::new(provider.clone())
                .map_err(|error| format!("the CAs of the system (SSL_CERT_FILE): {error}"))?,
        ),
        Trust::File(path) => Arc::new(FileVerifier {
            path: path.clone(),
            read: RwLock::new((read_cas(path)?, Instant::now())),
        }),
        Trust::Pem(text) => Arc::new(Cas::new(text, "certificate-authority-data")?),
        Trust::Any => Arc::new(AnyCertificate(provider.clone())),
    };
    let settings = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_client_cert_resolver(identity);
    Ok(settings)
}

/// A client certificate and its key, from PEM.
///
/// # Errors
/// They cannot be read, or do not belong together.
pub fn identity(certificates: &[u8], key: &[u8]) -> Result<Arc<CertifiedKey>, String> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(certificates).collect();
    let chain = chain
        .ok()
        .filter(|chain| !chain.is_empty())
        .ok_or("the client certificate is not a certificate in PEM")?;
    let key = PrivateKeyDer::from_pem_slice(key)
        .map_err(|_| "the client key is not an unencrypted private key in PEM")?;
    let key = (ring::default_provider().key_provider)
        .load_private_key(key)
        .map_err(|error| format!("the client key cannot be used: {error}"))?;
    let certified = CertifiedKey::new(chain, key);
    // Other errors mean that the certificate cannot be examined, as one of X.509 v1. Kubernetes decides about it.
    if let Err(Error::InconsistentKeys(InconsistentKeys::KeyMismatch)) = certified.keys_match() {
        return Err("the client key does not belong to the client certificate".to_owned());
    }
    Ok(Arc::new(certified))
}

fn read_cas(path: &Path) -> Result<Arc<Cas>, String> {
    let name = format!("`{}`", path.display());
    let text = fs::read(path).map_err(|error| format!("cannot read {name}: {error}"))?;
    Cas::new(&text, &name).map(Arc::new)
}

/// Some CAs that are trusted.
#[derive(Debug)]
struct Cas {
    certificates: Vec<CertificateDer<'static>>,
    verifier: Arc<WebPkiServerVerifier>,
}

impl Cas {
    /// Reads PEM; `origin` names its place.
    fn new(text: &[u8], origin: &str) -> Result<Self, String> {
        let certificates: Result<Vec<CertificateDer<'static>>, pem::Error> =
            CertificateDer::pem_slice_iter(text).collect();
        let certificates = certificates
            .ok()
            .filter(|found| !found.is_empty())
            .ok_or_else(|| format!("{origin} holds no certificate in PEM"))?;
        let mut roots = RootCertStore::empty();
        for certificate in &certificates {
            roots.add(certificate.clone()).map_err(|error| {
                format!("{origin} holds a certificate that cannot be read: {error}")
            })?;
        }
        let provider = Arc::new(ring::default_provider());
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider);
        let verifier = verifier
            .build()
            .map_err(|error| format!("{origin} cannot be used: {error}"))?;
        Ok(Self {
            certificates,
            verifier,
        })
    }
}

impl ServerCertVerifier for Cas {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let verified = self
            .verifier
            .verify_server_cert(end_entity, intermediates, name, ocsp, now);
        match verified {
            // webpki looks for the issuer after it has checked the times of the certificate.
            Err(Error::InvalidCertificate(
                CertificateError::UnknownIssuer
                | CertificateError::BadSignature
                | CertificateError::Other(_),
            )) if self.certificates.iter().any(|known| known == end_entity) => {
                verify_server_name(&ParsedCertificate::try_from(end_entity)?, name)?;
                Ok(ServerCertVerified::assertion())
            }
            verified => verified,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        (self.verifier).verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        (self.verifier).verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.verifier.supported_verify_schemes()
    }
}

/// The CAs in a file, which is read again from time to time. If it cannot be read, the CAs stay.
#[derive(Debug)]
struct FileVerifier {
    path: PathBuf,
    read: RwLock<(Arc<Cas>, Instant)>,
}

impl FileVerifier {
    fn current(&self) -> Arc<Cas> {
        let (cas, since) = {
            let read = self.read.read().unwrap_or_else(PoisonError::into_inner);
            (read.0.clone(), read.1)
        };
        if since.elapsed() < FRESH {
            return cas;
        }
        let cas = read_cas(&self.path).unwrap_or_else(|error| {
            log::warn!("the CAs of the cluster stay as they were: {error}");
            cas
        });
        let mut read = self.read.write().unwrap_or_else(PoisonError::into_inner);
        *read = (cas.clone(), Instant::now());
        cas
    }
}

impl ServerCertVerifier for FileVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        (self.current()).verify_server_cert(end_entity, intermediates, name, ocsp, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        (self.current()).verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        (self.current()).verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.current().supported_verify_schemes()
    }
}

/// Accepts each certificate: `insecure-skip-tls-verify`.
struct AnyCertificate(Arc<CryptoProvider>);

impl fmt::Debug for AnyCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AnyCertificate")
    }
}

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        (self.0.signature_verification_algorithms).supported_schemes()
    }
}
