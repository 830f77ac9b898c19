//! The certificate of the server, which is read again when its files change.

use std::{
    fs, io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant, SystemTime},
};

use rustls::{
    ServerConfig,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
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
    let state = state(chain, key).map_err(|error| {
        format!(
            "cannot read {} or {}: {error}",
            chain.display(),
            key.display()
        )
    })?;
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
    let private = PrivateKeyDer::from_pem_file(key);
    let private =
        private.map_err(|error| format!("cannot use the key {}: {error}", key.display()))?;
    let certified = CertifiedKey::from_der(certificates, private, &ring::default_provider());
    let certified = certified.map_err(|error| unusable(chain, error.to_string()))?;
    Ok(Arc::new(certified))
}

fn state(chain: &Path, key: &Path) -> io::Result<State> {
    let of = |path: &Path| {
        let file = fs::metadata(path);
        file.map(|file| (file.len(), file.ino(), file.modified().ok()))
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
