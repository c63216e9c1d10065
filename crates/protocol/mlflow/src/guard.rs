use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::uri::Authority;
use axum::http::{HeaderValue, Method, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::router::endpoint_absent;
use crate::{MlflowError, MlflowState, Principal};

/// Paths that say nothing about anybody's work: answered for every host and without a token, for health checks.
const PUBLIC: [&str; 2] = ["/health", "/version"];

/// Among the allowed hosts it stands for all of them.
const ANY_HOST: &str = "*";

/// Puts the checks of host, origin and credentials that this API has in front of another router of the same server,
/// which then answers methods that are not there in MLflow's shape, too.
pub fn guarded(router: Router, state: MlflowState) -> Router {
    router.method_not_allowed_fallback(endpoint_absent).layer(from_fn_with_state(Arc::new(state), guard))
}

/// Lets a request pass that is addressed to this server and carries its credentials.
///
/// The host is checked because a browser can be made to send requests to loopback under a foreign name ("DNS
/// rebinding"); such a request still carries that name. The origin is, because a page of any other server can have a
/// browser send requests here, with the passwords that the browser knows.
pub(crate) async fn guard(State(state): State<Arc<MlflowState>>, mut request: Request, next: Next) -> Response {
    if !PUBLIC.contains(&request.uri().path()) {
        let addressed = host_check(&state, &request).and_then(|()| origin_check(&state, &request));
        match addressed.and_then(|()| credentials_check(&state, &request)) {
            Ok(Some(principal)) => drop(request.extensions_mut().insert(principal)),
            Ok(None) => {}
            Err(error) => return error.into_response(),
        }
    }
    next.run(request).await
}

fn host_check(state: &MlflowState, request: &Request) -> Result<(), MlflowError> {
    // Which of two would count is read differently by different programs on the way.
    if request.headers().get_all(header::HOST).iter().nth(1).is_some() {
        return Err(MlflowError::Host("given twice".to_owned()));
    }
    let host = host_of(request);
    if is_address(host) || is_allowed(state, host) {
        return Ok(());
    }
    Err(MlflowError::Host(host.chars().take(255).collect()))
}

/// Only pages of this server, of this machine and of allowed hosts change anything. Programs say no origin; a page that
/// has none says `null`.
fn origin_check(state: &MlflowState, request: &Request) -> Result<(), MlflowError> {
    if request.method() == Method::GET || request.method() == Method::HEAD {
        return Ok(());
    }
    for origin in request.headers().get_all(header::ORIGIN) {
        let origin = origin.to_str().unwrap_or_default();
        let host = origin.split_once("://").map(|(_, host)| host_name(host));
        // Another address proves nothing: anybody's pages may be reached by one.
        let ours = |host: &str| host.eq_ignore_ascii_case(host_of(request)) || is_loopback(host);
        let allowed = host.is_some_and(|host| ours(host) || is_allowed(state, host));
        if !allowed {
            return Err(MlflowError::Origin(origin.chars().take(255).collect()));
        }
    }
    Ok(())
}

/// To whom a request is addressed, without the port.
fn host_of(request: &Request) -> &str {
    // HTTP/2 carries the host as `:authority`, which is the URI's.
    let authority = request.uri().authority().map(Authority::as_str);
    let field = || request.headers().get(header::HOST).and_then(|value| value.to_str().ok());
    host_name(authority.or_else(field).unwrap_or_default())
}

/// Whether a name is this machine's own, or was allowed.
fn is_allowed(state: &MlflowState, host: &str) -> bool {
    let allowed = |one: &String| one == ANY_HOST || one.eq_ignore_ascii_case(host);
    host.eq_ignore_ascii_case("localhost") || state.allowed_hosts.iter().any(allowed)
}

fn is_loopback(host: &str) -> bool {
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
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

/// Who sends the request, where it says so by a user's name and password.
fn credentials_check(state: &MlflowState, request: &Request) -> Result<Option<Principal>, MlflowError> {
    if state.token.is_none() && state.users.is_empty() {
        return Ok(None);
    }
    let field = request.headers().get(header::AUTHORIZATION).map(HeaderValue::as_bytes).unwrap_or_default();
    if presented(field, b"Bearer ").is_some_and(|token| is_token(state, token)) {
        return Ok(None);
    }
    presented(field, b"Basic ").map_or(Err(MlflowError::Unauthenticated), |pair| user(state, pair))
}

/// What follows the scheme, if it is this one.
fn presented<'f>(field: &'f [u8], scheme: &[u8]) -> Option<&'f [u8]> {
    let (found, rest) = field.split_at_checked(scheme.len())?;
    found.eq_ignore_ascii_case(scheme).then_some(rest)
}

fn is_token(state: &MlflowState, presented: &[u8]) -> bool {
    state.token.as_ref().is_some_and(|token| token.is(presented))
}

/// The user whose name and password `pair` is (RFC 7617): the password ends the field and may hold colons. The token is
/// a password too, under any name; then nobody's name is known.
fn user(state: &MlflowState, pair: &[u8]) -> Result<Option<Principal>, MlflowError> {
    let pair = STANDARD.decode(pair.trim_ascii()).map_err(|_| MlflowError::Unauthenticated)?;
    let colon = pair.iter().position(|byte| *byte == b':').ok_or(MlflowError::Unauthenticated)?;
    let (name, password) = (&pair[..colon], &pair[colon + 1..]);
    let name = std::str::from_utf8(name).map_err(|_| MlflowError::Unauthenticated)?;
    if state.users.get(name).is_some_and(|secret| secret.is(password)) {
        return Ok(Some(Principal(name.to_owned())));
    }
    if is_token(state, password) { Ok(None) } else { Err(MlflowError::Unauthenticated) }
}

#[cfg(test)]
mod tests {
    use axum::http::StatusCode;

    use super::*;
    use crate::Secret;
    use crate::testing::{Server, get, post, state};

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
        for host in ["localhost:5000", "LOCALHOST", "127.0.0.1:1", "[::1]:1", "ml.example.org:443", "10.1.2.3:5000"] {
            assert_eq!(status(host).await, StatusCode::OK, "{host}");
        }
        for host in
            ["evil.example.org", "localhost.evil.org", "127.0.0.1.evil.org", "", "localhost:x", "[evil.org]", "::1"]
        {
            assert_eq!(status(host).await, StatusCode::FORBIDDEN, "{host}");
        }
        let mut twice = get("/api/2.0/mlflow/experiments/get?experiment_id=0");
        for host in ["localhost", "evil.example.org"] {
            twice.headers_mut().append(header::HOST, host.parse().expect("host"));
        }
        assert_eq!(server.call(twice).await.0, StatusCode::FORBIDDEN);
        let mut without = get("/api/2.0/mlflow/experiments/get?experiment_id=0");
        without.headers_mut().remove(header::HOST);
        assert_eq!(server.call(without).await.0, StatusCode::FORBIDDEN);
    }

    #[tokio::test]
    async fn pages_of_others_change_nothing() {
        let server = Server::with(|state| state.allowed_hosts.push("ml.example.org".to_owned())).await;
        let status = async |mut request: Request, origin: &str| {
            request.headers_mut().insert(header::ORIGIN, origin.parse().expect("origin"));
            server.call(request).await.0
        };
        let search = || post("/api/2.0/mlflow/experiments/search", &serde_json::json!({}));
        for ours in ["http://localhost:5000", "http://127.0.0.1", "http://[::1]:80", "https://ML.example.org:443"] {
            assert_eq!(status(search(), ours).await, StatusCode::OK, "{ours}");
        }
        let others =
            ["http://evil.example.org", "http://6.6.6.6", "null", "", "localhost", "http://localhost.evil.org"];
        for other in others {
            assert_eq!(status(search(), other).await, StatusCode::FORBIDDEN, "{other}");
            let read = get("/api/2.0/mlflow/experiments/get?experiment_id=0");
            assert_eq!(status(read, other).await, StatusCode::OK, "a browser shows the answer to nobody");
        }
        let mut twice = search();
        for origin in ["http://localhost", "http://evil.example.org"] {
            twice.headers_mut().append(header::ORIGIN, origin.parse().expect("origin"));
        }
        server.refuses(twice, 403, "PERMISSION_DENIED").await;
        let mut by_address = search();
        by_address.headers_mut().insert(header::HOST, HeaderValue::from_static("10.1.2.3:5000"));
        assert_eq!(status(by_address, "http://10.1.2.3:5000").await, StatusCode::OK, "it is our own page");
    }

    #[tokio::test]
    async fn routers_of_the_same_server_are_guarded_and_answer_alike() {
        use axum::routing::get as get_at;
        use tower::ServiceExt as _;
        let router = guarded(Router::new().route("/own", get_at(async || "own")), state().await);
        let status = async |request: Request| router.clone().oneshot(request).await.expect("answer").status();
        assert_eq!(status(get("/own")).await, StatusCode::OK);
        let wrong = router.clone().oneshot(post("/own", &serde_json::json!({}))).await.expect("answer");
        let body = axum::body::to_bytes(wrong.into_body(), 1000).await.expect("body");
        assert!(body.starts_with(b"{\"error_code\":\"ENDPOINT_NOT_FOUND\""), "{body:?}");
        let mut foreign = get("/own");
        foreign.headers_mut().insert(header::HOST, HeaderValue::from_static("evil.example.org"));
        assert_eq!(status(foreign).await, StatusCode::FORBIDDEN);
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

    #[tokio::test]
    async fn users_come_in_by_name_and_password() {
        let server = Server::with(|state| {
            state.token = Some(Secret::new("hemp"));
            state.users.insert("ada".to_owned(), Secret::new("jute:1"));
        })
        .await;
        let status = async |pair: &str| {
            let mut request = get("/api/2.0/mlflow/experiments/get?experiment_id=0");
            let field = format!("Basic {}", STANDARD.encode(pair));
            request.headers_mut().insert(header::AUTHORIZATION, field.parse().expect("credentials"));
            server.call(request).await.0
        };
        for right in ["ada:jute:1", "anybody:hemp", ":hemp"] {
            assert_eq!(status(right).await, StatusCode::OK, "{right}");
        }
        for wrong in ["ada:jute", "ada:", "ada", "bob:jute:1", "hemp", ""] {
            assert_eq!(status(wrong).await, StatusCode::UNAUTHORIZED, "{wrong}");
        }
    }
}
