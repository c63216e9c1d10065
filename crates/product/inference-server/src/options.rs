use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use ropewalk_config::{Serve, ServeLimits, ServeTrace};
use ropewalk_listening::TlsFiles;
use ropewalk_open_inference::ProtocolLimits;
use ropewalk_scoring::ScoringLimits;

use crate::{AccessLogOptions, ApiKeys, Environment, InferenceServerError, JwtVerifier, Rate};

/// Bytes that tables may take for each byte that bodies may.
const TABLES: usize = 8;

/// Where to listen, whom to let in, and what is written down.
#[derive(Clone, Debug)]
pub struct ServerOptions {
    /// Address to listen on.
    pub host: IpAddr,
    /// Port of REST; 0 takes a free one.
    pub rest_port: u16,
    /// Port of gRPC; 0 takes a free one.
    pub grpc_port: u16,
    /// Names, without port, under which clients may address the server besides `localhost` and addresses; `*` is any.
    pub allowed_hosts: Vec<String>,
    /// Keys of clients.
    pub keys: Arc<ApiKeys>,
    /// Tokens that somebody else signs.
    pub jwt: Option<Arc<JwtVerifier>>,
    /// With them both listeners speak TLS.
    pub tls: Option<TlsFiles>,
    /// Origins of pages that may ask.
    pub origins: Vec<String>,
    /// How much is taken at once.
    pub limits: ServeLimits,
    /// Where a line for each request goes.
    pub access_log: Option<AccessLogOptions>,
    /// Where spans are sent.
    pub trace: Option<ServeTrace>,
    /// How long requests under way may take once the server is told to stop.
    pub drain: Duration,
}

impl ServerOptions {
    /// The options that the configuration says, with the secrets that it names.
    ///
    /// # Errors
    /// A key or token cannot be checked, an origin is none.
    pub fn of(serve: &Serve, environment: &Environment) -> Result<Self, InferenceServerError> {
        serve.cors.origins.iter().try_for_each(|origin| origin_check(origin))?;
        let jwt = serve.jwt.as_ref().map(JwtVerifier::read).transpose()?;
        let tls = serve.tls.as_ref();
        Ok(Self {
            host: serve.host,
            rest_port: serve.port,
            grpc_port: serve.grpc_port,
            allowed_hosts: serve.allowed_hosts.clone(),
            keys: Arc::new(ApiKeys::read(&serve.keys, serve.limits.rate, environment)?),
            jwt: jwt.map(Arc::new),
            tls: tls.map(|tls| TlsFiles { certificate: tls.certificate.clone(), key: tls.key.clone() }),
            origins: serve.cors.origins.clone(),
            limits: serve.limits.clone(),
            access_log: serve.log.access.as_deref().map(|to| AccessLogOptions::new(to, serve.log.access_sample)),
            trace: serve.trace.clone(),
            drain: Duration::from_secs(serve.drain_seconds),
        })
    }

    /// Whether clients must know something.
    pub fn asks_for_credentials(&self) -> bool {
        !self.keys.is_empty() || self.jwt.is_some()
    }

    pub(crate) fn check(&self) -> Result<(), InferenceServerError> {
        if self.host.is_loopback() || self.asks_for_credentials() {
            return Ok(());
        }
        Err(InferenceServerError::CredentialsAbsent(self.host))
    }

    pub(crate) fn protocol_limits(&self) -> ProtocolLimits {
        ProtocolLimits {
            message_bytes: self.limits.body_bytes,
            body_time: Duration::from_secs(self.limits.body_seconds),
            requests: self.limits.requests,
            memory_bytes: self.limits.memory_bytes,
        }
    }

    pub(crate) fn scoring_limits(&self) -> ScoringLimits {
        ScoringLimits {
            body_bytes: self.limits.body_bytes,
            body_time: Duration::from_secs(self.limits.body_seconds),
            requests: self.limits.requests,
            table_bytes: self.limits.memory_bytes.saturating_mul(TABLES),
            ..ScoringLimits::default()
        }
    }

    /// The rate of all that come without a key of their own.
    pub(crate) fn rate(&self) -> Option<Rate> {
        self.limits.rate.map(|per_second| Rate::new(per_second, None))
    }
}

/// An origin is a scheme, a host and perhaps a port (RFC 6454, section 6.2); a wildcard would let every page ask.
fn origin_check(origin: &str) -> Result<(), InferenceServerError> {
    let host = origin.strip_prefix("https://").or_else(|| origin.strip_prefix("http://"));
    if host.is_some_and(|host| !host.is_empty() && !host.contains(['/', '*', ' ', '@'])) {
        return Ok(());
    }
    Err(InferenceServerError::Options {
        what: format!("`{origin}` is no origin"),
        hint: "write it as browsers do: https://app.example.com, without a path and without `*`".to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_listens_to_all_without_credentials() {
        let mut options = ServerOptions::of(&Serve::default(), &Environment::new()).expect("defaults");
        assert!(options.check().is_ok());
        options.host = IpAddr::from([0, 0, 0, 0]);
        assert!(matches!(options.check(), Err(InferenceServerError::CredentialsAbsent(_))));
    }

    #[test]
    fn the_protocol_has_the_limits_that_are_set() {
        let mut serve = Serve::default();
        (serve.limits.body_bytes, serve.limits.memory_bytes, serve.limits.requests) = (1, 2, 3);
        let options = ServerOptions::of(&serve, &Environment::new()).expect("options");
        let (limits, scoring) = (options.protocol_limits(), options.scoring_limits());
        assert_eq!((limits.message_bytes, limits.memory_bytes, limits.requests), (1, 2, 3));
        assert_eq!((scoring.body_bytes, scoring.table_bytes, scoring.requests), (1, 16, 3));
    }

    #[test]
    fn an_origin_is_exact() {
        for good in ["https://app.example.com", "http://localhost:3000"] {
            assert!(origin_check(good).is_ok(), "{good}");
        }
        for wrong in ["*", "https://*", "https://a.example/", "app.example.com", "null", "https://"] {
            assert!(origin_check(wrong).is_err(), "{wrong}");
        }
    }
}
