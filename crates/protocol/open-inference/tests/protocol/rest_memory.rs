use std::io::Write;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::http::{Request, StatusCode};
use flate2::Compression;
use flate2::write::GzEncoder;
use futures::future::BoxFuture;
use ropewalk_open_inference::{IndexEntry, OpenInference, ProtocolError, ProtocolLimits, Repository};
use serde_json::Value;
use tokio::sync::Semaphore;

use crate::rest::{INFER, post, request, send};
use crate::world::host;

/// A repository whose index is told when the test says so.
#[derive(Debug)]
pub(crate) struct Waiting {
    pub(crate) asked: Semaphore,
    pub(crate) told: Semaphore,
}

impl Waiting {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self { asked: Semaphore::new(0), told: Semaphore::new(0) })
    }
}

impl Repository for Waiting {
    fn load<'a>(&'a self, _model: &'a str) -> BoxFuture<'a, Result<(), ProtocolError>> {
        Box::pin(std::future::ready(Ok(())))
    }

    fn unload<'a>(&'a self, _model: &'a str, _dependents: bool) -> BoxFuture<'a, Result<(), ProtocolError>> {
        Box::pin(std::future::ready(Ok(())))
    }

    fn index(&self) -> BoxFuture<'_, Result<Vec<IndexEntry>, ProtocolError>> {
        Box::pin(async move {
            self.asked.add_permits(1);
            self.told.acquire().await.unwrap().forget();
            Ok(Vec::new())
        })
    }
}

/// Some hundred bytes that become JSON with so much space after it that two such bodies do not fit.
fn packed(json: &str) -> Body {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
    gzip.write_all(format!("{json}{}", " ".repeat(90_000)).as_bytes()).unwrap();
    let packed = gzip.finish().unwrap();
    assert!(packed.len() < 1000);
    Body::from(packed)
}

async fn ask(server: &Router, path: &str, json: &str) -> (StatusCode, Option<String>, Value) {
    let request = Request::post(path).header("content-encoding", "gzip").body(packed(json)).unwrap();
    let (status, headers, body) = send(server, request).await;
    let again = headers.get("retry-after").map(|seconds| seconds.to_str().unwrap().to_owned());
    (status, again, serde_json::from_slice(&body).unwrap())
}

#[tokio::test]
async fn what_compressed_bodies_take_in_memory_is_bounded_over_all_requests() {
    let repository = Waiting::new();
    let limits = ProtocolLimits { message_bytes: 100_000, memory_bytes: 100_000, ..ProtocolLimits::default() };
    let server = OpenInference::new(host().await, limits)
        .with_repository(Arc::clone(&repository) as Arc<dyn Repository>)
        .router();
    let infer = request().to_string();
    assert_eq!(ask(&server, INFER, &infer).await.0, StatusCode::OK, "it fits alone");

    let other = server.clone();
    let first = tokio::spawn(async move { ask(&other, "/v2/repository/index", "{}").await });
    repository.asked.acquire().await.unwrap().forget();
    for (path, json) in
        [(INFER, infer.as_str()), ("/v2/repository/index", "{}"), ("/v2/logging", "{}"), ("/v2/trace/setting", "{}")]
    {
        let (status, again, answer) = ask(&server, path, json).await;
        assert_eq!((status, again.as_deref()), (StatusCode::SERVICE_UNAVAILABLE, Some("1")), "{path}: {answer}");
        assert!(answer["error"].as_str().unwrap().contains("compressed requests take up"), "{answer}");
    }
    assert_eq!(post(&server, INFER, &infer).await.0, StatusCode::OK, "what comes as it is takes none of it");

    repository.told.add_permits(1);
    assert_eq!(first.await.unwrap().0, StatusCode::OK);
    assert_eq!(ask(&server, INFER, &infer).await.0, StatusCode::OK, "what was answered gave its room back");
}
