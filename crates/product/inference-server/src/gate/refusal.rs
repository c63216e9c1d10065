use std::time::Duration;

use axum::Json;
use axum::Router;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::any;
use ropewalk_open_inference::ProtocolError;
use serde_json::json;
use tonic::{Code, Status};

use super::Wire;

/// After how many seconds a client that is refused for lack of room should come again.
const SOON: u64 = 1;

/// Why a request goes no further.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Refusal {
    /// The models are not loaded yet.
    Starting,
    /// The server ends.
    Stopping,
    /// It is addressed to another host.
    Host(String),
    /// It comes from another server's page.
    Origin(String),
    /// It carries no credentials.
    Unknown,
    /// Its credentials are wrong; why.
    Wrong(&'static str),
    /// The credentials do not reach so far; what is missing.
    Forbidden(String),
    /// It is beyond the rate; how long until there is another.
    Rate(Duration),
    /// As many requests are being answered as may be.
    Requests,
    /// The bodies of others fill the memory.
    Memory,
    /// What others sent compressed fills the memory that there is for it, of so many bytes.
    Decompressed(usize),
    /// The body is longer than may be.
    TooLong(usize),
    /// The body did not come in time, or was broken off.
    Late,
    /// There are too many connections.
    Connections,
}

impl Refusal {
    /// The name by which it is counted.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Stopping => "stopping",
            Self::Host(_) => "host",
            Self::Origin(_) => "origin",
            Self::Unknown | Self::Wrong(_) => "credentials",
            Self::Forbidden(_) => "forbidden",
            Self::Rate(_) => "rate",
            Self::Requests => "requests",
            Self::Memory | Self::Decompressed(_) => "memory",
            Self::TooLong(_) => "length",
            Self::Late => "late",
            Self::Connections => "connections",
        }
    }

    fn code(&self) -> (StatusCode, Code) {
        match self {
            Self::Starting
            | Self::Stopping
            | Self::Requests
            | Self::Memory
            | Self::Decompressed(_)
            | Self::Connections => (StatusCode::SERVICE_UNAVAILABLE, Code::Unavailable),
            Self::Host(_) | Self::Origin(_) | Self::Forbidden(_) => (StatusCode::FORBIDDEN, Code::PermissionDenied),
            Self::Unknown | Self::Wrong(_) => (StatusCode::UNAUTHORIZED, Code::Unauthenticated),
            Self::Rate(_) => (StatusCode::TOO_MANY_REQUESTS, Code::ResourceExhausted),
            Self::TooLong(_) => (StatusCode::PAYLOAD_TOO_LARGE, Code::OutOfRange),
            Self::Late => (StatusCode::REQUEST_TIMEOUT, Code::DeadlineExceeded),
        }
    }

    fn message(&self) -> String {
        match self {
            Self::Starting => "the models are being loaded; try again".to_owned(),
            Self::Stopping => "the server is stopping; ask the one that takes its place".to_owned(),
            Self::Host(host) => format!("this server is not `{host}`; name it in allowed_hosts if it should be"),
            Self::Origin(origin) => {
                format!("pages of {origin} may not ask; name it in [serve.cors] origins if they should")
            }
            Self::Unknown => "send a key as `Authorization: Bearer KEY` or `X-Api-Key: KEY`".to_owned(),
            Self::Wrong(why) => (*why).to_owned(),
            Self::Forbidden(what) => what.clone(),
            Self::Rate(_) => "this key has used up its requests; try again later".to_owned(),
            Self::Requests => "too many requests are being answered; try again".to_owned(),
            Self::Memory => "too many long requests are being read; try again".to_owned(),
            Self::Decompressed(bytes) => ProtocolError::NoRoom { bytes: *bytes }.to_string(),
            Self::TooLong(limit) => format!("the request is longer than {limit} bytes"),
            Self::Late => "the request did not come in time".to_owned(),
            Self::Connections => "too many connections are open; try again".to_owned(),
        }
    }

    /// Seconds until the same request may succeed.
    fn retry_after(&self) -> Option<u64> {
        match self {
            Self::Rate(wait) => Some(wait.as_secs_f64().ceil().max(1.0) as u64),
            Self::Starting
            | Self::Stopping
            | Self::Requests
            | Self::Memory
            | Self::Decompressed(_)
            | Self::Connections => Some(SOON),
            _ => None,
        }
    }

    /// As the protocol writes errors.
    pub(crate) fn response(&self, wire: Wire) -> Response {
        let (status, code) = self.code();
        let mut response = match wire {
            Wire::Rest => (status, Json(json!({ "error": self.message() }))).into_response(),
            Wire::Grpc => Status::new(code, self.message()).into_http(),
        };
        let headers = response.headers_mut();
        if let Some(seconds) = self.retry_after() {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if wire == Wire::Rest && status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if wire == Wire::Rest && *self == Self::Stopping {
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }
}

/// What is answered where there are more connections than may be: that the server lives, and nothing else.
pub(crate) fn overflow(wire: Wire) -> Router {
    let refuse = move || async move { Refusal::Connections.response(wire) };
    match wire {
        Wire::Rest => {
            Router::new().route("/v2/health/live", any(async || Json(json!({ "live": true })))).fallback(refuse)
        }
        Wire::Grpc => Router::new().fallback(refuse),
    }
}
