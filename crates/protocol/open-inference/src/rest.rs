//! REST: paths, bodies and errors.

mod body;
mod infer;
mod path;
mod request;
mod response;

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{Method, Uri};
use axum::routing::{get, post};
use axum::{Json, Router};
use ropewalk_serving::{ModelHost, ModelMetadata, Readiness};
use ropewalk_types::TensorSpec;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use crate::{EXTENSIONS, ProtocolError, ProtocolLimits, SERVER};
use path::ModelPath;

type Answer = Result<Json<Value>, ProtocolError>;

/// What the handlers share.
#[derive(Clone, Debug)]
struct Shared {
    host: Arc<ModelHost>,
    limits: ProtocolLimits,
    places: Arc<Semaphore>,
}

/// The REST side of the protocol: every path below `/v2`, and the protocol's errors for all others.
pub fn router(host: Arc<ModelHost>, limits: ProtocolLimits) -> Router {
    let places = Arc::new(Semaphore::new(limits.requests.clamp(1, Semaphore::MAX_PERMITS)));
    Router::new()
        .route("/v2", get(server_metadata))
        .route("/v2/", get(server_metadata))
        .route("/v2/health/live", get(live))
        .route("/v2/health/ready", get(ready))
        .route("/v2/models/{model}", get(model_metadata))
        .route("/v2/models/{model}/ready", get(model_ready))
        .route("/v2/models/{model}/infer", post(infer::infer))
        .route("/v2/models/{model}/versions/{version}", get(model_metadata))
        .route("/v2/models/{model}/versions/{version}/ready", get(model_ready))
        .route("/v2/models/{model}/versions/{version}/infer", post(infer::infer))
        .route("/v2/repository/index", post(repository_index))
        .fallback(unknown_path)
        .method_not_allowed_fallback(method_not_allowed)
        .with_state(Shared { host, limits, places })
}

async fn unknown_path(uri: Uri) -> ProtocolError {
    ProtocolError::UnknownPath { path: uri.path().to_owned() }
}

async fn method_not_allowed(method: Method) -> ProtocolError {
    ProtocolError::Method { method: method.to_string() }
}

async fn server_metadata() -> Json<Value> {
    Json(json!({ "name": SERVER, "version": env!("CARGO_PKG_VERSION"), "extensions": EXTENSIONS }))
}

async fn live() -> Json<Value> {
    Json(json!({ "live": true }))
}

async fn ready(State(shared): State<Shared>) -> Answer {
    check(shared.host.readiness())?;
    Ok(Json(json!({ "ready": true })))
}

async fn model_ready(State(shared): State<Shared>, path: ModelPath) -> Answer {
    check(shared.host.ready(&path.model, path.version.as_deref())?)?;
    Ok(Json(json!({ "name": path.model, "ready": true })))
}

fn check(readiness: Readiness) -> Result<(), ProtocolError> {
    match readiness {
        Readiness::Ready => Ok(()),
        Readiness::NotReady { reason } => Err(ProtocolError::NotReady { reason }),
    }
}

async fn model_metadata(State(shared): State<Shared>, path: ModelPath) -> Answer {
    let metadata = shared.host.metadata(&path.model, path.version.as_deref())?;
    let ModelMetadata { name, versions, engine, signature, .. } = metadata;
    let tensors = |specs: &[TensorSpec]| -> Vec<Value> {
        specs.iter().map(|spec| json!({ "name": spec.name, "datatype": spec.datatype, "shape": spec.shape })).collect()
    };
    Ok(Json(json!({
        "name": name,
        "versions": versions.iter().map(u64::to_string).collect::<Vec<_>>(),
        "platform": format!("{engine}_onnx"),
        "inputs": tensors(&signature.inputs),
        "outputs": tensors(&signature.outputs),
    })))
}

/// The request of the repository's index; its body may be empty, and other keys are those of later versions.
#[derive(Debug, Default, Deserialize)]
struct IndexRequest {
    #[serde(default)]
    ready: bool,
}

/// An entry of the repository's index.
#[derive(Debug, Serialize)]
struct IndexEntry {
    name: String,
    version: String,
    state: &'static str,
    reason: String,
}

async fn repository_index(
    State(shared): State<Shared>,
    request: Request,
) -> Result<Json<Vec<IndexEntry>>, ProtocolError> {
    let body = body::read(request, &shared.limits).await?;
    let wanted: IndexRequest = if body.trim_ascii().is_empty() {
        IndexRequest::default()
    } else {
        serde_json::from_slice(&body).map_err(|problem| ProtocolError::malformed(&problem))?
    };
    let (state, reason) = match shared.host.readiness() {
        Readiness::Ready => ("READY", String::new()),
        Readiness::NotReady { .. } if wanted.ready => return Ok(Json(Vec::new())),
        Readiness::NotReady { reason } => ("UNAVAILABLE", reason),
    };
    let entry = |model: ModelMetadata| IndexEntry {
        name: model.name.to_string(),
        version: model.version.to_string(),
        state,
        reason: reason.clone(),
    };
    Ok(Json(shared.host.model_list().into_iter().map(entry).collect()))
}
