//! TLS towards Kubernetes: which certificates are trusted, and which certificate the server shows.
//!
//! A client certificate may be one of X.509 v1, which `openssl x509 -req` makes. That is Go's rule, which kubectl follows, and not that
//! of webpki.

use std::sync::Arc;

use rustls::{
    ClientConfig, Error, InconsistentKeys,
    client::ResolvesClientCert,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    sign::CertifiedKey,
};

use crate::certificate::Trust;

/// The settings of a connection.
///
/// # Errors
/// The trusted certificates cannot be read.
pub fn settings(
    trust: &Trust,
    identity: Arc<dyn ResolvesClientCert>,
) -> Result<ClientConfig, String> {
    Ok(trust.settings()?.with_client_cert_resolver(identity))
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
