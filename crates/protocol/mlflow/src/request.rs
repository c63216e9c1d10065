use axum::body::to_bytes;
use axum::extract::{FromRequest, FromRequestParts, Query, Request};
use axum::http::header;
use axum::http::request::Parts;
use ropewalk_types::{ExperimentId, RunId};
use serde::de::DeserializeOwned;
use serde_json::error::Category;

use crate::MlflowError;

/// Longest JSON body; MLflow's limit for a batch (`MAX_BATCH_LOG_REQUEST_SIZE`).
pub(crate) const MESSAGE_BYTES: usize = 1_000_000;

/// A request message from a JSON body. Unknown fields are passed over, as MLflow does; no body is an empty message.
pub(crate) struct Message<T>(pub(crate) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Message<T> {
    type Rejection = MlflowError;

    async fn from_request(request: Request, _: &S) -> Result<Self, MlflowError> {
        // Asked for as MLflow asks for it: a browser sends this type to another site only after that site agreed.
        let kind = request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("");
        let essence = kind.split(';').next().unwrap_or_default().trim();
        if !essence.eq_ignore_ascii_case("application/json") {
            return Err(MlflowError::NotJson(format!("its content type is '{}'", essence.escape_debug())));
        }
        let body = to_bytes(request.into_body(), MESSAGE_BYTES).await;
        let body = body.map_err(|_| MlflowError::TooLarge { limit: MESSAGE_BYTES as u64 })?;
        let body: &[u8] = if body.is_empty() { b"{}" } else { &body };
        serde_json::from_slice(body).map(Self).map_err(|error| match error.classify() {
            Category::Data => MlflowError::Message(error.to_string()),
            _ => MlflowError::NotJson(error.to_string()),
        })
    }
}

/// A request message from a query string.
pub(crate) struct Parameters<T>(pub(crate) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Parameters<T> {
    type Rejection = MlflowError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, MlflowError> {
        match Query::from_request_parts(parts, state).await {
            Ok(Query(message)) => Ok(Self(message)),
            Err(error) => Err(MlflowError::Message(error.body_text())),
        }
    }
}

/// A value that must be given, and an empty text is not.
pub(crate) fn required(parameter: &'static str, value: Option<String>) -> Result<String, MlflowError> {
    value.filter(|value| !value.is_empty()).ok_or(MlflowError::Missing(parameter))
}

/// The run that is meant by `run_id` or by its older name `run_uuid`.
pub(crate) fn run_id(id: Option<String>, uuid: Option<String>) -> Result<RunId, MlflowError> {
    let id = required("run_id", id.filter(|id| !id.is_empty()).or(uuid))?;
    // MLflow takes other ids too, but has none: a well-meant id that is not ours names no run.
    id.parse().map_err(|error| MlflowError::invalid("run_id", &error))
}

pub(crate) fn experiment_id(id: &str) -> Result<ExperimentId, MlflowError> {
    id.parse().map_err(|error| MlflowError::invalid("experiment_id", &error))
}
