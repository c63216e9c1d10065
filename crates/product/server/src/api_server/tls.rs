use std::path::{Path, PathBuf};
use std::sync::Arc;

use ropewalk_store::files;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::ServerError;

/// Longest certificate or key that is read, in bytes.
const LONGEST_FILE: u64 = 1 << 20;

/// The files by which a server proves who it is, in PEM.
#[derive(Clone, Debug)]
pub struct TlsFiles {
    /// The certificate, followed by those that lead to its root.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// Reads certificate and key; HTTP/1.1 is offered.
pub(super) fn acceptor(tls: &TlsFiles) -> Result<TlsAcceptor, ServerError> {
    let read = |path: &Path| files::read_bounded(path, LONGEST_FILE);
    let certificates = read(&tls.certificate)?;
    let chain: Result<Vec<CertificateDer<'static>>, _> = CertificateDer::pem_slice_iter(&certificates).collect();
    let chain = chain.map_err(|error| unreadable(&tls.certificate, &error))?;
    if chain.is_empty() {
        return Err(unreadable(&tls.certificate, &"it holds no certificate"));
    }
    let key = PrivateKeyDer::from_pem_slice(&read(&tls.key)?).map_err(|error| unreadable(&tls.key, &error))?;
    let builder = ServerConfig::builder_with_provider(Arc::new(default_provider()));
    let builder = builder.with_safe_default_protocol_versions().map_err(|error| unreadable(&tls.key, &error))?;
    let mut config =
        builder.with_no_client_auth().with_single_cert(chain, key).map_err(|error| unreadable(&tls.key, &error))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

fn unreadable(path: &Path, why: &dyn std::fmt::Display) -> ServerError {
    ServerError::Unknown {
        what: format!("TLS cannot be served with {}: {why}", path.display()),
        hint: "give a chain of certificates and its private key, both in PEM".to_owned(),
    }
}
