//! What a URL says about a database server.

use std::path::PathBuf;

use percent_encoding::percent_decode_str;
use reqwest::Url;

use crate::{ConnectionOptions, ConnectorError, redacted};

use super::{PASSWORD, SqlRequest};

/// A server, its database and who asks.
pub(super) struct Server {
    pub(super) location: String,
    pub(super) host: String,
    pub(super) port: Option<u16>,
    pub(super) user: String,
    pub(super) password: Option<String>,
    pub(super) database: Option<String>,
    pub(super) socket: Option<PathBuf>,
    pub(super) tls: Tls,
    /// Parameters that only one kind of server knows.
    pub(super) others: Vec<(String, String)>,
}

/// The parameters `sslmode`, `sslrootcert`, `sslcert` and `sslkey`; paths name PEM files.
#[derive(Default)]
pub(super) struct Tls {
    pub(super) mode: Option<String>,
    pub(super) root: Option<PathBuf>,
    pub(super) certificate: Option<PathBuf>,
    pub(super) key: Option<PathBuf>,
}

impl Server {
    /// Reads the request's URL; a parameter that is neither known here nor in `others` is an error.
    pub(super) fn of(
        request: &SqlRequest,
        options: &ConnectionOptions,
        others: &[&str],
    ) -> Result<Self, ConnectorError> {
        let url = request.url.as_str();
        let location = redacted(url);
        let wrong = |reason: String| ConnectorError::url(url, reason);
        let parsed = Url::parse(url).map_err(|error| wrong(error.to_string()))?;
        let decoded = |text: &str| {
            let text = percent_decode_str(text).decode_utf8().map_err(|_| wrong("it is not UTF-8".to_owned()))?;
            Ok::<_, ConnectorError>(text.into_owned())
        };
        let mut server = Self {
            host: parsed.host_str().unwrap_or_default().trim_matches(['[', ']']).to_owned(),
            port: parsed.port(),
            user: decoded(parsed.username())?,
            password: parsed.password().map(decoded).transpose()?,
            database: Some(decoded(parsed.path().trim_start_matches('/'))?).filter(|name| !name.is_empty()),
            socket: None,
            tls: Tls::default(),
            others: Vec::new(),
            location,
        };
        for (name, value) in parsed.query_pairs() {
            server.parameter(&name, &value, others).map_err(wrong)?;
        }
        for path in [&mut server.tls.root, &mut server.tls.certificate, &mut server.tls.key, &mut server.socket] {
            *path = path.take().map(|path| request.directory.join(path));
        }
        if server.user.is_empty() {
            return Err(wrong("it names no user".to_owned()));
        }
        if server.host.is_empty() {
            return Err(wrong("it names no host".to_owned()));
        }
        server.password = server.password.or_else(|| options.get(PASSWORD).map(str::to_owned));
        Ok(server)
    }

    fn parameter(&mut self, name: &str, value: &str, others: &[&str]) -> Result<(), String> {
        match name {
            "sslmode" | "ssl-mode" => self.tls.mode = Some(value.to_owned()),
            "sslrootcert" | "ssl-ca" => self.tls.root = Some(value.into()),
            "sslcert" | "ssl-cert" => self.tls.certificate = Some(value.into()),
            "sslkey" | "ssl-key" => self.tls.key = Some(value.into()),
            "socket" => self.socket = Some(value.into()),
            _ if others.contains(&name) => self.others.push((name.to_owned(), value.to_owned())),
            _ => return Err(format!("the parameter `{name}` is not known")),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(url: &str) -> Result<Server, ConnectorError> {
        let options = ConnectionOptions::new([(PASSWORD.to_owned(), "from option".to_owned())]);
        let request = SqlRequest { directory: "/project".into(), ..SqlRequest::new(url, "SELECT 1") };
        Server::of(&request, &options, &["charset"])
    }

    #[test]
    fn parts_of_a_url() {
        let one = server("postgres://a%40b:p%2Fq@[::1]:5433/my%20db?sslmode=require&charset=x").unwrap();
        assert_eq!((one.user.as_str(), one.password.as_deref()), ("a@b", Some("p/q")));
        assert_eq!((one.host.as_str(), one.port, one.database.as_deref()), ("::1", Some(5433), Some("my db")));
        assert_eq!(one.tls.mode.as_deref(), Some("require"));
        assert!(!one.location.contains("p%2Fq"));
        let one = server("mysql://u@localhost/x?socket=/run/db.sock").unwrap();
        assert_eq!(one.password.as_deref(), Some("from option"));
        assert_eq!(one.socket.as_deref(), Some(std::path::Path::new("/run/db.sock")));
    }

    #[test]
    fn files_of_certificates_are_where_the_request_says() {
        let one = server("mysql://u@h/x?sslrootcert=tls/ca.pem&ssl-cert=/etc/me.pem&sslkey=me.key").unwrap();
        let path = |path: &Option<PathBuf>| path.as_ref().and_then(|path| path.to_str().map(str::to_owned));
        assert_eq!(path(&one.tls.root).as_deref(), Some("/project/tls/ca.pem"));
        assert_eq!(path(&one.tls.certificate).as_deref(), Some("/etc/me.pem"));
        assert_eq!(path(&one.tls.key).as_deref(), Some("/project/me.key"));
    }

    #[test]
    fn what_is_missing_or_unknown_is_said() {
        for url in ["postgres://h/x", "mysql:///x", "postgres://u@h/x?sslmod=require", "mysql://u:secret@h:port/x"] {
            let Err(error) = server(url) else { panic!("{url}") };
            assert!(matches!(error, ConnectorError::Url { .. }) && !error.to_string().contains("secret"), "{error}");
        }
    }
}
