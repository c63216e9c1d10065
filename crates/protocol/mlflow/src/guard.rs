use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::uri::Authority;
use axum::http::{HeaderValue, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use crate::{MlflowError, MlflowState};

/// Paths that say nothing about anybody's work: answered for every host and without a token, for health checks.
const PUBLIC: [&str; 2] = ["/health", "/version"];

const LOOPBACK: [&str; 3] = ["localhost", "127.0.0.1", "[::1]"];

/// Lets a request pass that is addressed to this server and carries its token.
///
/// The host is checked because a browser can be made to send requests to loopback under a foreign name ("DNS
/// rebinding"); such a request still carries that name.
pub(crate) async fn guard(State(state): State<Arc<MlflowState>>, request: Request, next: Next) -> Response {
    if !PUBLIC.contains(&request.uri().path())
        && let Err(error) = host_check(&state, &request).and_then(|()| token_check(&state, &request))
    {
        return error.into_response();
    }
    next.run(request).await
}

fn host_check(state: &MlflowState, request: &Request) -> Result<(), MlflowError> {
    // HTTP/2 carries the host as `:authority`, which is the URI's.
    let authority = request.uri().authority().map(Authority::as_str);
    let field = || request.headers().get(header::HOST).and_then(|value| value.to_str().ok());
    let host = host_name(authority.or_else(field).unwrap_or_default());
    let allowed = state.allowed_hosts.iter().map(String::as_str).chain(LOOPBACK);
    if allowed.into_iter().any(|one| one.eq_ignore_ascii_case(host)) {
        return Ok(());
    }
    Err(MlflowError::Host(host.chars().take(255).collect()))
}

/// `HOST:PORT` without the port; an IPv6 address keeps its brackets.
fn host_name(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    }
}

fn token_check(state: &MlflowState, request: &Request) -> Result<(), MlflowError> {
    let Some(token) = &state.token else { return Ok(()) };
    let field = request.headers().get(header::AUTHORIZATION).map(HeaderValue::as_bytes).unwrap_or_default();
    match field.split_at_checked("Bearer ".len()) {
        Some((scheme, presented)) if scheme.eq_ignore_ascii_case(b"Bearer ") && token.is(presented) => Ok(()),
        _ => Err(MlflowError::Unauthenticated),
    }
}

#[cfg(test)]
mod tests {
    use axum::http::StatusCode;

    use super::*;
    use crate::Secret;
    use crate::testing::{Server, get};

    #[test]
    fn ports_are_left_out() {
        for (host, name) in
            [("localhost:5000", "localhost"), ("localhost", "localhost"), ("[::1]:80", "[::1]"), ("[::1]", "[::1]")]
        {
            assert_eq!(host_name(host), name);
        }
    }

    #[tokio::test]
    async fn foreign_hosts_are_refused() {
        let server = Server::with(|state| state.allowed_hosts.push("ml.example.org".to_owned())).await;
        let status = async |host: &str| {
            let mut request = get("/api/2.0/mlflow/experiments/get?experiment_id=0");
            request.headers_mut().insert(header::HOST, host.parse().expect("host"));
            server.call(request).await.0
        };
        for host in ["localhost:5000", "LOCALHOST", "127.0.0.1:1", "[::1]:1", "ml.example.org:443"] {
            assert_eq!(status(host).await, StatusCode::OK, "{host}");
        }
        for host in ["evil.example.org", "localhost.evil.org", "127.0.0.1.evil.org", "", "localhost:x"] {
            assert_eq!(status(host).await, StatusCode::FORBIDDEN, "{host}");
        }
        let mut without = get("/api/2.0/mlflow/experiments/get?experiment_id=0");
        without.headers_mut().remove(header::HOST);
        assert_eq!(server.call(without).await.0, StatusCode::FORBIDDEN);
    }

    #[tokio::test]
    async fn the_token_is_asked_for_everywhere_but_for_health() {
        let server = Server::with(|state| state.token = Some(Secret::new("hemp"))).await;
        let status = async |path: &str, token: Option<&str>| {
            let mut request = get(path);
            if let Some(token) = token {
                request.headers_mut().insert(header::AUTHORIZATION, token.parse().expect("token"));
            }
            server.call(request).await.0
        };
        let path = "/api/2.0/mlflow/experiments/get?experiment_id=0";
        assert_eq!(status(path, Some("Bearer hemp")).await, StatusCode::OK);
        assert_eq!(status(path, Some("bearer hemp")).await, StatusCode::OK);
        for wrong in [None, Some("Bearer"), Some("Bearer "), Some("Bearer hem"), Some("Bearer hempx"), Some("hemp")] {
            assert_eq!(status(path, wrong).await, StatusCode::UNAUTHORIZED, "{wrong:?}");
        }
        assert_eq!(status("/nowhere", None).await, StatusCode::UNAUTHORIZED);
        assert_eq!(status("/health", None).await, StatusCode::OK);
    }
}
