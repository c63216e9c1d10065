use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::body::Body as Answer;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, Response, StatusCode};
use axum::routing::{get, post};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use ropewalk_listening::{Acceptor, ConnectionTimes, Speaks, TlsFiles, acceptor};
use ropewalk_store::files;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::{Content, Endpoint, EndpointSettings, LoadError, Transport};

const BODY: &str = r#"{"inputs":[{"name":"x","datatype":"FP32","shape":[1],"data":[1]}]}"#;

/// An empty message of gRPC, if the caller has the key.
async fn grpc(State(asked): State<Arc<AtomicUsize>>, headers: HeaderMap) -> Response<Answer> {
    asked.fetch_add(1, Ordering::Relaxed);
    let status = if headers.get("x-key").is_some_and(|key| key == "secret") { "0" } else { "16" };
    let trailers = HeaderMap::from_iter([("grpc-status".parse().unwrap(), HeaderValue::from_static(status))]);
    let message = Full::new(Bytes::from_static(&[0; 5])).with_trailers(async move { Some(Ok(trailers)) });
    Response::builder().header("content-type", "application/grpc").body(Answer::new(message)).unwrap()
}

async fn rest(headers: HeaderMap) -> StatusCode {
    if headers.get("x-key").is_some_and(|key| key == "secret") { StatusCode::OK } else { StatusCode::UNAUTHORIZED }
}

/// A server with a certificate of its own, its port, and that certificate; it stops with what is given back last.
async fn secure(speaks: Speaks) -> (u16, String, watch::Sender<bool>) {
    let folder = tempfile::tempdir().unwrap();
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let files = TlsFiles { certificate: folder.path().join("certificate.pem"), key: folder.path().join("key.pem") };
    files::write_atomic(&files.certificate, made.cert.pem().as_bytes()).unwrap();
    files::write_atomic(&files.key, made.signing_key.serialize_pem().as_bytes()).unwrap();
    let protocol = if speaks == Speaks::Http2 { "h2" } else { "http/1.1" };
    let tls = acceptor(&files, &[protocol]).unwrap();
    let router = Router::new()
        .route("/inference.GRPCInferenceService/ModelInfer", post(grpc))
        .route("/v2/models/m/infer", post(rest))
        .route("/v2/models/m", get(rest))
        .with_state(Arc::default());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (stop, stopped) = watch::channel(false);
    let (overflow, counts) = (Router::new(), Arc::default());
    let acceptor = Acceptor {
        listener,
        tls: Some(tls),
        speaks,
        router,
        overflow,
        connections: 8,
        times: ConnectionTimes::default(),
        counts,
        stopped,
    };
    tokio::spawn(acceptor.run());
    (port, made.cert.pem(), stop)
}

async fn asked(address: String, transport: Transport, key: &str, trusted: Option<&str>) -> Result<usize, LoadError> {
    let settings = EndpointSettings {
        address,
        transport,
        model: "m".to_owned(),
        version: None,
        headers: vec![("X-Key".to_owned(), key.to_owned())],
        trusted: trusted.map(|pem| pem.as_bytes().to_vec()),
    };
    let requests = Endpoint::new(settings)?.requests(Content::Body(BODY.to_owned())).await?;
    Ok(requests.count())
}

#[tokio::test]
async fn grpc_goes_over_tls_with_the_certificate_that_is_named() {
    let (port, pem, _stop) = secure(Speaks::Http2).await;
    for scheme in ["grpcs", "https"] {
        let address = format!("{scheme}://localhost:{port}");
        assert_eq!(asked(address, Transport::Grpc, "secret", Some(&pem)).await.unwrap(), 1);
    }
    let address = format!("grpcs://localhost:{port}");
    let error = asked(address.clone(), Transport::Grpc, "wrong", Some(&pem)).await.unwrap_err();
    assert!(matches!(&error, LoadError::Refused { status, .. } if status == "Unauthenticated"), "{error}");
    let other = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap().cert.pem();
    let error = asked(address, Transport::Grpc, "secret", Some(&other)).await.unwrap_err();
    assert!(matches!(error, LoadError::Unreachable { .. }), "{error}");
    let error = asked(format!("grpcs://127.0.0.1:{port}"), Transport::Grpc, "secret", Some(&pem)).await.unwrap_err();
    assert!(matches!(error, LoadError::Unreachable { .. }), "a certificate of another name: {error}");
}

#[tokio::test]
async fn rest_goes_over_tls_with_the_certificate_that_is_named() {
    let (port, pem, _stop) = secure(Speaks::Http1).await;
    let address = format!("https://localhost:{port}");
    assert_eq!(asked(address.clone(), Transport::RestJson, "secret", Some(&pem)).await.unwrap(), 1);
    let error = asked(address.clone(), Transport::RestBinary, "wrong", Some(&pem)).await.unwrap_err();
    assert!(matches!(&error, LoadError::Refused { status, .. } if status == "401"), "{error}");
    assert!(!error.to_string().contains("wrong"), "{error}");
    let other = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap().cert.pem();
    let error = asked(address, Transport::RestJson, "secret", Some(&other)).await.unwrap_err();
    assert!(matches!(error, LoadError::Unreachable { .. }), "{error}");
}

#[tokio::test]
async fn a_connection_that_was_closed_between_requests_is_opened_again() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let server = tokio::spawn(async move {
        for _ in 0..3 {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut read = Vec::new();
            // The body ends the request.
            while !read.ends_with(b"[1]}]}") {
                assert!(stream.read_buf(&mut read).await.unwrap() > 0);
            }
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").await.unwrap();
        }
    });
    let settings = EndpointSettings {
        address,
        transport: Transport::RestJson,
        model: "m".to_owned(),
        version: None,
        headers: Vec::new(),
        trusted: None,
    };
    let endpoint = Endpoint::new(settings).unwrap();
    let request = endpoint.request_written(BODY).unwrap();
    let mut client = endpoint.client().await.unwrap();
    for _ in 0..3 {
        client.send(&request.body).await.unwrap();
    }
    server.await.unwrap();
}
