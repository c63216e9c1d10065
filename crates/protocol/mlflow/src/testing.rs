use std::sync::Arc;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{Method, Request, StatusCode, header};
use axum::response::Response;
use bytes::Bytes;
use ropewalk_catalog::Catalog;
use ropewalk_registry::Registry;
use ropewalk_store::Store;
use ropewalk_tracking::{MIGRATIONS, Tracking};
use ropewalk_types::ManualAmbient;
use serde_json::{Value, json};
use tower::ServiceExt as _;

use crate::{MlflowState, router};

/// The router over a tracking of its own, called without a socket.
pub(crate) struct Server {
    router: Router,
}

/// What the endpoints need, with nothing in it.
pub(crate) async fn state() -> MlflowState {
    let sets = [ropewalk_lineage::MIGRATIONS, MIGRATIONS, ropewalk_registry::MIGRATIONS];
    let catalog = Catalog::in_memory(&sets).await.expect("catalogue in memory");
    let store = Store::open("memory:").await.expect("store in memory");
    let ambient = Arc::new(ManualAmbient::default());
    let tracking = Tracking::new(catalog.clone(), store, ambient.clone());
    let registry = Registry::with_files(catalog, ambient, tracking.clone());
    MlflowState::new(tracking, registry)
}

impl Server {
    pub(crate) async fn new() -> Self {
        Self::with(|_| ()).await
    }

    pub(crate) async fn with(change: impl FnOnce(&mut MlflowState)) -> Self {
        let mut state = state().await;
        change(&mut state);
        Self { router: router(state) }
    }

    /// With a run in the default experiment, and the run's id.
    pub(crate) async fn with_run() -> (Self, String) {
        let server = Self::new().await;
        let run = server.run().await;
        (server, run)
    }

    /// Begins a run in the default experiment; gives its id.
    pub(crate) async fn run(&self) -> String {
        let create = post("/api/2.0/mlflow/runs/create", &json!({"experiment_id": "0", "start_time": 1}));
        self.ok(create).await["run"]["info"]["run_id"].as_str().expect("id").to_owned()
    }

    pub(crate) async fn raw(&self, request: Request<Body>) -> Response {
        self.router.clone().oneshot(request).await.expect("answer")
    }

    /// Status and JSON body.
    pub(crate) async fn call(&self, request: Request<Body>) -> (StatusCode, Value) {
        let response = self.raw(request).await;
        let status = response.status();
        let body = to_bytes(response.into_body(), usize::MAX).await.expect("body");
        (status, serde_json::from_slice(&body).unwrap_or(Value::Null))
    }

    /// The body of an answer, which must be good.
    pub(crate) async fn bytes(&self, request: Request<Body>) -> Bytes {
        let shown = format!("{} {}", request.method(), request.uri());
        let response = self.raw(request).await;
        assert_eq!(response.status(), StatusCode::OK, "{shown}");
        to_bytes(response.into_body(), usize::MAX).await.expect("body")
    }

    pub(crate) async fn ok(&self, request: Request<Body>) -> Value {
        let shown = format!("{} {}", request.method(), request.uri());
        let (status, body) = self.call(request).await;
        assert_eq!(status, StatusCode::OK, "{shown}: {body}");
        body
    }

    /// The message of the error that must come.
    pub(crate) async fn refuses(&self, request: Request<Body>, status: u16, error_code: &str) -> String {
        let shown = format!("{} {}", request.method(), request.uri());
        let (found, body) = self.call(request).await;
        assert_eq!((found.as_u16(), body["error_code"].as_str()), (status, Some(error_code)), "{shown}: {body}");
        body["message"].as_str().expect("message").to_owned()
    }
}

fn request(method: Method, path: &str, body: impl Into<Body>) -> Request<Body> {
    let request = Request::builder().method(method).uri(path).header(header::HOST, "localhost:5000");
    request.body(body.into()).expect("request")
}

pub(crate) fn get(path: &str) -> Request<Body> {
    request(Method::GET, path, Body::empty())
}

pub(crate) fn delete(path: &str) -> Request<Body> {
    request(Method::DELETE, path, Body::empty())
}

pub(crate) fn put(path: &str, body: Bytes) -> Request<Body> {
    request(Method::PUT, path, body)
}

pub(crate) fn post_bytes(path: &str, body: Bytes) -> Request<Body> {
    request(Method::POST, path, body)
}

pub(crate) fn post(path: &str, body: &Value) -> Request<Body> {
    send(Method::POST, path, body)
}

/// A request with a body of JSON.
pub(crate) fn send(method: Method, path: &str, body: &Value) -> Request<Body> {
    let mut request = request(method, path, body.to_string());
    request.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/json"));
    request
}
