use std::path::{Path, PathBuf};
use std::sync::Arc;

use ropewalk_store::files;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::ListeningError;

/// Longest certificate or key that is read, in bytes.
const LONGEST_FILE: u64 = 1 << 20;

/// The files by which a server proves who it is, in PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate, followed by those that lead to its root.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// Reads certificate and key; `protocols` are offered by ALPN, such as `http/1.1` or `h2`.
///
/// # Errors
/// A file cannot be read, is not PEM, or certificate and key do not belong together.
pub fn acceptor(tls: &TlsFiles, protocols: &[&str]) -> Result<TlsAcceptor, ListeningError> {
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
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
    Ok(TlsAcceptor::from(Arc::new(config)))
}

fn unreadable(path: &Path, why: &dyn std::fmt::Display) -> ListeningError {
    ListeningError::Tls { path: path.to_owned(), reason: why.to_string() }
}
