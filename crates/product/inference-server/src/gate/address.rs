//! To whom a request is addressed, and from which page it comes.
//!
//! A browser can be made to send requests to loopback under a foreign name ("DNS rebinding"), which the host shows; and pages
//! of any server can have a browser send requests here, which the origin shows.

use std::net::{IpAddr, Ipv6Addr};

use axum::extract::Request;
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse as _, Response};

use super::Refusal;
use crate::ServerOptions;

/// Among the allowed hosts it stands for all of them.
const ANY_HOST: &str = "*";
/// Longest part of a name that is said again.
const SAID: usize = 255;

const METHODS: HeaderValue = HeaderValue::from_static("GET, POST, OPTIONS");
const HEADERS: HeaderValue = HeaderValue::from_static(
    "authorization, content-type, content-encoding, inference-header-content-length, traceparent, tracestate, x-api-key",
);
const EXPOSED: HeaderValue = HeaderValue::from_static("inference-header-content-length, retry-after");

#[derive(Debug)]
pub(super) struct Addresses {
    /// Whether only this machine reaches the listener, and its browsers with it.
    loopback: bool,
    hosts: Vec<String>,
    origins: Vec<String>,
}

impl Addresses {
    pub(super) fn new(options: &ServerOptions) -> Self {
        Self {
            loopback: options.host.is_loopback(),
            hosts: options.allowed_hosts.clone(),
            origins: options.origins.clone(),
        }
    }

    pub(super) fn check(&self, request: &Request) -> Result<(), Refusal> {
        self.check_host(request)?;
        self.check_origin(request)
    }

    fn check_host(&self, request: &Request) -> Result<(), Refusal> {
        if !self.loopback {
            return Ok(());
        }
        // Which of two would count is read differently by different programs on the way.
        if request.headers().get_all(header::HOST).iter().nth(1).is_some() {
            return Err(Refusal::Host("given twice".to_owned()));
        }
        let host = host_of(request);
        if is_address(host) || self.allows(host) {
            return Ok(());
        }
        Err(Refusal::Host(host.chars().take(SAID).collect()))
    }

    /// Only pages of this server, of this machine, of allowed hosts and of listed origins ask for answers.
    fn check_origin(&self, request: &Request) -> Result<(), Refusal> {
        if matches!(*request.method(), Method::GET | Method::HEAD) {
            return Ok(());
        }
        for origin in request.headers().get_all(header::ORIGIN) {
            let origin = origin.to_str().unwrap_or_default();
            let host = origin.split_once("://").map(|(_, host)| host_name(host));
            let ours = |host: &str| host.eq_ignore_ascii_case(host_of(request)) || is_loopback(host);
            let allowed = host.is_some_and(|host| ours(host) || self.allows(host));
            if !allowed && !self.origins.iter().any(|listed| listed == origin) {
                return Err(Refusal::Origin(origin.chars().take(SAID).collect()));
            }
        }
        Ok(())
    }

    fn allows(&self, host: &str) -> bool {
        let listed = |one: &String| one == ANY_HOST || one.eq_ignore_ascii_case(host);
        host.eq_ignore_ascii_case("localhost") || self.hosts.iter().any(listed)
    }

    /// The origin of a request, if it is one of those that may ask (Fetch standard, "CORS protocol").
    pub(super) fn listed_origin(&self, request: &Request) -> Option<HeaderValue> {
        if self.origins.is_empty() {
            return None;
        }
        let origin = request.headers().get(header::ORIGIN)?;
        self.origins.iter().any(|listed| listed.as_bytes() == origin.as_bytes()).then(|| origin.clone())
    }
}

/// The answer to a browser that asks beforehand.
pub(super) fn preflight(origin: &HeaderValue) -> Response {
    let mut response = StatusCode::NO_CONTENT.into_response();
    let headers = response.headers_mut();
    allow(headers, origin.clone());
    headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, METHODS);
    headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, HEADERS);
    headers.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from(600));
    response
}

pub(super) fn allow(headers: &mut HeaderMap, origin: HeaderValue) {
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
    headers.append(header::VARY, HeaderValue::from_static("origin"));
}

/// To whom a request is addressed, without the port.
fn host_of(request: &Request) -> &str {
    // HTTP/2 carries the host as `:authority`, which is the URI's.
    let authority = request.uri().authority().map(Authority::as_str);
    let field = || request.headers().get(header::HOST).and_then(|value| value.to_str().ok());
    host_name(authority.or_else(field).unwrap_or_default())
}

fn is_loopback(host: &str) -> bool {
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    host.eq_ignore_ascii_case("localhost") || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// `HOST:PORT` without the port; an IPv6 address keeps its brackets.
fn host_name(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    }
}

/// Whether a host is an address and no name: nobody can make a browser believe that an address is another server.
fn is_address(host: &str) -> bool {
    match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(host) => host.parse::<Ipv6Addr>().is_ok(),
        None => matches!(host.parse::<IpAddr>(), Ok(IpAddr::V4(_))),
    }
}

#[cfg(test)]
mod tests {
    use axum::body::Body;

    use super::*;

    fn addresses(loopback: bool) -> Addresses {
        Addresses {
            loopback,
            hosts: vec!["models.example.com".to_owned()],
            origins: vec!["https://app.example.com".to_owned()],
        }
    }

    fn request(method: Method, host: &str, origin: Option<&str>) -> Request {
        let mut builder = Request::builder().method(method).uri("/v2").header(header::HOST, host);
        if let Some(origin) = origin {
            builder = builder.header(header::ORIGIN, origin);
        }
        builder.body(Body::empty()).expect("request")
    }

    #[test]
    fn foreign_names_of_this_machine_are_refused() {
        for (host, good) in [
            ("127.0.0.1:8080", true),
            ("localhost:8080", true),
            ("[::1]:8080", true),
            ("Models.Example.com", true),
            ("evil.example.com:8080", false),
            ("", false),
            ("127.0.0.1.evil.example.com", false),
        ] {
            assert_eq!(addresses(true).check(&request(Method::GET, host, None)).is_ok(), good, "{host}");
            assert!(addresses(false).check(&request(Method::GET, host, None)).is_ok(), "{host}");
        }
    }

    #[test]
    fn foreign_pages_are_refused_and_listed_ones_are_not() {
        for (origin, good) in [
            ("http://localhost:3000", true),
            ("http://127.0.0.1:1", true),
            ("https://app.example.com", true),
            ("http://app.example.com", false),
            ("https://evil.example.com", false),
            ("null", false),
        ] {
            let result = addresses(true).check(&request(Method::POST, "127.0.0.1:8080", Some(origin)));
            assert_eq!(result.is_ok(), good, "{origin}");
        }
        let listed = |origin| addresses(true).listed_origin(&request(Method::POST, "localhost", Some(origin)));
        assert!(listed("https://app.example.com").is_some() && listed("https://app.example.com.evil").is_none());
    }
}
