use std::sync::Arc;
use std::time::Duration;

use hyper::Uri;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use crate::LoadError;
use crate::client::{Failed, in_full};

/// A connection takes no longer.
const LONGEST: Duration = Duration::from_secs(10);

/// A connection, encrypted or not.
pub(crate) trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

/// Where an endpoint is, and whom it must prove to be.
#[derive(Clone)]
pub(crate) struct Address {
    /// `http` or `https`.
    scheme: &'static str,
    /// HOST or HOST:PORT, as requests name it.
    authority: String,
    host: String,
    port: u16,
    /// What the paths of all requests begin with.
    path: String,
    tls: Option<(TlsConnector, ServerName<'static>)>,
}

impl std::fmt::Debug for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.url())
    }
}

impl Address {
    /// `text` is URL, HOST:PORT or HOST; `protocol` is what ALPN asks for. Only certificates that lead to one of `trusted` (PEM)
    /// are believed, or else those that this machine trusts.
    pub(crate) fn parse(text: &str, protocol: &str, trusted: Option<&[u8]>) -> Result<Self, LoadError> {
        let wrong = |reason: String| LoadError::Address { endpoint: text.to_owned(), reason };
        let url = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
        let uri: Uri = url.parse().map_err(|error| wrong(format!("{error}")))?;
        let scheme = match uri.scheme_str() {
            Some("http" | "grpc") => "http",
            Some("https" | "grpcs") => "https",
            other => return Err(wrong(format!("it is not asked by `{}`", other.unwrap_or_default()))),
        };
        let authority = uri.authority().map(ToString::to_string).unwrap_or_default();
        let host = uri.host().unwrap_or_default().trim_matches(['[', ']']).to_owned();
        if host.is_empty() || authority.contains('@') {
            return Err(wrong("it has no host, or a name before it".to_owned()));
        }
        if scheme == "http" && trusted.is_some() {
            return Err(wrong("without TLS there is no certificate to check".to_owned()));
        }
        let tls = if scheme == "https" {
            let name = ServerName::try_from(host.clone()).map_err(|error| wrong(error.to_string()))?;
            Some((connector(protocol, trusted).map_err(wrong)?, name))
        } else {
            None
        };
        let port = uri.port_u16().unwrap_or(if tls.is_some() { 443 } else { 80 });
        let path = uri.path().trim_end_matches('/').to_owned();
        Ok(Self { scheme, authority, host, port, path, tls })
    }

    /// As URL, without a slash at its end.
    pub(crate) fn url(&self) -> String {
        format!("{}://{}{}", self.scheme, self.authority, self.path)
    }

    pub(crate) fn authority(&self) -> &str {
        &self.authority
    }

    /// The target of a request: `rest` begins with a slash.
    pub(crate) fn target(&self, rest: &str) -> String {
        format!("{}{rest}", self.path)
    }

    /// A new connection.
    pub(crate) async fn connect(&self) -> Result<Box<dyn Duplex>, Failed> {
        let connected = timeout(LONGEST, self.connected()).await;
        connected.unwrap_or_else(|_| Err(Failed::new("timeout", "there was no connection in time".to_owned())))
    }

    async fn connected(&self) -> Result<Box<dyn Duplex>, Failed> {
        let failed = |error: std::io::Error| Failed::new("connection", in_full(&error));
        let stream = TcpStream::connect((self.host.as_str(), self.port)).await.map_err(failed)?;
        stream.set_nodelay(true).map_err(failed)?;
        match &self.tls {
            None => Ok(Box::new(stream)),
            Some((tls, name)) => Ok(Box::new(tls.connect(name.clone(), stream).await.map_err(failed)?)),
        }
    }
}

fn connector(protocol: &str, trusted: Option<&[u8]>) -> Result<TlsConnector, String> {
    let mut roots = RootCertStore::empty();
    if let Some(pem) = trusted {
        for certificate in CertificateDer::pem_slice_iter(pem) {
            let certificate = certificate.map_err(|error| format!("the certificates to trust are no PEM: {error}"))?;
            roots.add(certificate).map_err(|error| format!("a certificate to trust is none: {error}"))?;
        }
    } else {
        // One that cannot be read is not trusted; if none is left, that is said.
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    }
    if roots.is_empty() {
        return Err("there is no certificate to trust".to_owned());
    }
    let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()));
    let builder = builder.with_safe_default_protocol_versions().map_err(|error| error.to_string())?;
    let mut config = builder.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![protocol.as_bytes().to_vec()];
    Ok(TlsConnector::from(Arc::new(config)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_read_or_refused() {
        let read = |text: &str| Address::parse(text, "h2", None).map(|address| (address.url(), address.port));
        assert_eq!(read("localhost:8080").unwrap(), ("http://localhost:8080".to_owned(), 8080));
        assert_eq!(read("grpc://[::1]:1/").unwrap(), ("http://[::1]:1".to_owned(), 1));
        assert_eq!(read("http://x/a/").unwrap(), ("http://x/a".to_owned(), 80));
        for wrong in ["ftp://x", "http://", "http://me@x", ""] {
            assert!(matches!(read(wrong), Err(LoadError::Address { .. })), "{wrong}");
        }
        assert!(Address::parse("http://x", "h2", Some(b"")).is_err());
        assert!(Address::parse("https://x", "h2", Some(b"no certificate")).is_err());
    }
}
