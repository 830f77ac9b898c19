//! Which certificates of servers are trusted.
//!
//! One rule is that of Go and OpenSSL, which kubectl and curl follow, and not that of webpki: a trusted certificate may be that of the
//! server itself, also if it is one of a CA, as `openssl req -x509` makes it.

use std::{
    env, fmt, fs,
    path::{Path, PathBuf},
    sync::{Arc, PoisonError, RwLock},
    time::{Duration, Instant},
};

use rustls::{
    CertificateError, ClientConfig, ConfigBuilder, DigitallySignedStruct, Error, RootCertStore,
    SignatureScheme,
    client::{
        WantsClientCert, WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        verify_server_name,
    },
    crypto::{CryptoProvider, ring},
    pki_types::{
        CertificateDer, ServerName, UnixTime,
        pem::{self, PemObject},
    },
    server::ParsedCertificate,
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

impl Trust {
    /// The settings of a connection, without a client certificate.
    ///
    /// # Errors
    /// The trusted certificates cannot be read.
    pub fn settings(&self) -> Result<ConfigBuilder<ClientConfig, WantsClientCert>, String> {
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
        let builder = builder
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?;
        let verifier = self.verifier()?;
        Ok(builder
            .dangerous()
            .with_custom_certificate_verifier(verifier))
    }

    /// What decides about the certificates of servers.
    fn verifier(&self) -> Result<Arc<dyn ServerCertVerifier>, String> {
        let (cas, file) = match self {
            Self::System => (Cas::of_system()?, None),
            Self::File(path) => (read_cas(path)?, Some(path.clone())),
            Self::Pem(text) => {
                let origin = "certificate-authority-data";
                (Cas::new(certificates(text, origin)?, origin)?, None)
            }
            Self::Any => {
                return Ok(Arc::new(AnyCertificate(Arc::new(ring::default_provider()))));
            }
        };
        let read = RwLock::new((Arc::new(cas), Instant::now()));
        Ok(Arc::new(Trusted { file, read }))
    }
}

fn read_cas(path: &Path) -> Result<Cas, String> {
    let origin = format!("`{}`", path.display());
    Cas::new(read_certificates(path)?, &origin)
}

fn read_certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let origin = format!("`{}`", path.display());
    let text = fs::read(path).map_err(|error| format!("cannot read {origin}: {error}"))?;
    certificates(&text, &origin)
}

/// The certificates in PEM; `origin` names its place.
fn certificates(text: &[u8], origin: &str) -> Result<Vec<CertificateDer<'static>>, String> {
    let certificates: Result<Vec<CertificateDer<'static>>, pem::Error> =
        CertificateDer::pem_slice_iter(text).collect();
    let certificates = certificates.ok().filter(|found| !found.is_empty());
    certificates.ok_or_else(|| format!("{origin} holds no certificate in PEM"))
}

/// What a verifier accepts, and some certificates as those of servers.
#[derive(Debug)]
struct Cas {
    certificates: Certificates,
    verifier: Arc<dyn ServerCertVerifier>,
}

/// The certificates that are trusted, if they are those of servers, too.
#[derive(Debug)]
enum Certificates {
    Given(Vec<CertificateDer<'static>>),
    /// Those of the system, which are read when one is looked for: there are many, and seldom one is that of a server.
    System,
}

impl Certificates {
    fn hold(&self, certificate: &CertificateDer<'_>) -> bool {
        let is_it = |known: &CertificateDer<'_>| known == certificate;
        match self {
            Self::Given(known) => known.iter().any(is_it),
            Self::System => rustls_native_certs::load_native_certs()
                .certs
                .iter()
                .any(is_it),
        }
    }
}

impl Cas {
    /// Trusts those of the system, or of `SSL_CERT_FILE` and `SSL_CERT_DIR`.
    fn of_system() -> Result<Self, String> {
        let file = env::var_os("SSL_CERT_FILE").filter(|file| !file.is_empty());
        let named = file.map(|file| read_certificates(Path::new(&file)));
        let named = named.transpose();
        let named = named.map_err(|error| format!("SSL_CERT_FILE: {error}"))?;
        let provider = Arc::new(ring::default_provider());
        let verifier = rustls_platform_verifier::Verifier::new(provider).map_err(|error| {
            format!("the CAs of the system (SSL_CERT_FILE, SSL_CERT_DIR): {error}")
        })?;
        Ok(Self {
            certificates: named.map_or(Certificates::System, Certificates::Given),
            verifier: Arc::new(verifier),
        })
    }

    /// Trusts certificates; `origin` names their place.
    fn new(certificates: Vec<CertificateDer<'static>>, origin: &str) -> Result<Self, String> {
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
            certificates: Certificates::Given(certificates),
            verifier,
        })
    }
}

/// The present CAs. Those of a file are read again from time to time; if that fails, they stay.
#[derive(Debug)]
struct Trusted {
    file: Option<PathBuf>,
    read: RwLock<(Arc<Cas>, Instant)>,
}

impl Trusted {
    fn current(&self) -> Arc<Cas> {
        let (cas, since) = {
            let read = self.read.read().unwrap_or_else(PoisonError::into_inner);
            (read.0.clone(), read.1)
        };
        let Some(file) = self.file.as_ref().filter(|_| since.elapsed() >= FRESH) else {
            return cas;
        };
        let cas = read_cas(file).map(Arc::new).unwrap_or_else(|error| {
            log::warn!("the CAs stay as they were: {error}");
            cas
        });
        let mut read = self.read.write().unwrap_or_else(PoisonError::into_inner);
        *read = (cas.clone(), Instant::now());
        cas
    }
}

impl ServerCertVerifier for Trusted {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let Cas {
            certificates,
            verifier,
        } = &*self.current();
        match verifier.verify_server_cert(end_entity, intermediates, name, ocsp, now) {
            // webpki looks for the issuer after it has checked the times of the certificate.
            Err(Error::InvalidCertificate(
                CertificateError::UnknownIssuer
                | CertificateError::BadSignature
                | CertificateError::Other(_),
            )) if certificates.hold(end_entity) => {
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
        let verifier = &self.current().verifier;
        verifier.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let verifier = &self.current().verifier;
        verifier.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.current().verifier.supported_verify_schemes()
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
