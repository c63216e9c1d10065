//! MLflow 3's logged models: `mlflow.*.log_model`, `mlflow.create_external_model` and what belongs to them.

mod artifact;
mod search;
#[cfg(test)]
mod tests;
mod wire;

use std::sync::Arc;

use axum::extract::State;
use axum::routing::{delete as delete_at, get as get_at, patch as patch_at, post as post_at};
use axum::{Json, Router};
use ropewalk_tracking::{LoggedModelId, LoggedModelStatus, NewLoggedModel, Param, Tag};
use ropewalk_types::RunId;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::request::{Message, Parameters, PathText, experiment_id, required};
use crate::wire::{EnumValue, KeyValue};
use crate::{MlflowError, MlflowState};
use wire::LoggedModelOut;

type Answer = Result<Json<Value>, MlflowError>;

/// Everything under `/logged-models`.
pub(crate) fn routes() -> Router<Arc<MlflowState>> {
    Router::new()
        .route("/logged-models", post_at(create))
        .route("/logged-models/search", post_at(search::search))
        .route("/logged-models/{model_id}", get_at(get).patch(finalize).delete(delete))
        .route("/logged-models/{model_id}/params", post_at(params))
        .route("/logged-models/{model_id}/tags", patch_at(tags))
        .route("/logged-models/{model_id}/tags/{*tag_key}", delete_at(tag_delete))
        .route("/logged-models/{model_id}/artifacts/directories", get_at(artifact::list))
        .route("/logged-models/{model_id}/artifacts/files", get_at(artifact::download))
}

/// The id in a path: a text that is no id names nothing that is there.
fn id(text: &str) -> Result<LoggedModelId, MlflowError> {
    text.parse().map_err(|error| MlflowError::Tracking(ropewalk_tracking::TrackingError::LoggedModel(error)))
}

/// The id in a path, which a message may repeat, but not contradict.
fn id_as_in(text: &str, repeated: Option<&str>) -> Result<LoggedModelId, MlflowError> {
    match repeated.filter(|repeated| !repeated.is_empty() && *repeated != text) {
        Some(other) => {
            Err(MlflowError::invalid("model_id", &format!("'{}' is not that of the path", other.escape_debug())))
        }
        None => id(text),
    }
}

fn params_of(pairs: Option<Vec<KeyValue>>) -> Vec<Param> {
    let param = |pair: KeyValue| Param::new(pair.key.unwrap_or_default(), pair.value.unwrap_or_default());
    pairs.unwrap_or_default().into_iter().map(param).collect()
}

fn tags_of(pairs: Option<Vec<KeyValue>>) -> Vec<Tag> {
    pairs.unwrap_or_default().into_iter().map(Tag::from).collect()
}

/// `CreateLoggedModel`.
#[derive(Debug, Deserialize)]
struct Create {
    experiment_id: Option<String>,
    name: Option<String>,
    model_type: Option<String>,
    source_run_id: Option<String>,
    params: Option<Vec<KeyValue>>,
    tags: Option<Vec<KeyValue>>,
}

async fn create(State(state): State<Arc<MlflowState>>, Message(message): Message<Create>) -> Answer {
    let experiment = experiment_id(&required("experiment_id", message.experiment_id)?)?;
    let source_run = message.source_run_id.filter(|run| !run.is_empty());
    let source_run = source_run.map(|run| run.parse::<RunId>()).transpose();
    let new = NewLoggedModel {
        experiment,
        name: message.name.filter(|name| !name.is_empty()),
        model_type: message.model_type.unwrap_or_default(),
        source_run: source_run.map_err(|error| MlflowError::invalid("source_run_id", &error))?,
        params: params_of(message.params),
        tags: tags_of(message.tags),
    };
    let model = state.tracking.logged_model_create(new).await?;
    Ok(Json(json!({ "model": LoggedModelOut::from(&model) })))
}

/// `GetLoggedModel`, beside the path.
#[derive(Debug, Deserialize)]
struct Get {
    allow_deleted: Option<String>,
}

async fn get(
    State(state): State<Arc<MlflowState>>,
    PathText(text): PathText,
    Parameters(message): Parameters<Get>,
) -> Answer {
    let deleted_too = message.allow_deleted.is_some_and(|allow| allow.eq_ignore_ascii_case("true"));
    let model = state.tracking.logged_model_get(id(&text)?, deleted_too).await?;
    Ok(Json(json!({ "model": LoggedModelOut::from(&model) })))
}

/// `FinalizeLoggedModel`.
#[derive(Debug, Deserialize)]
struct Finalize {
    model_id: Option<String>,
    status: Option<EnumValue>,
}

async fn finalize(
    State(state): State<Arc<MlflowState>>,
    PathText(text): PathText,
    Message(message): Message<Finalize>,
) -> Answer {
    let id = id_as_in(&text, message.model_id.as_deref())?;
    let status = message.status.ok_or(MlflowError::Missing("status"))?;
    let position = status.position(&LoggedModelStatus::ALL.map(LoggedModelStatus::wire));
    let status = position.and_then(|position| LoggedModelStatus::ALL.get(position).copied());
    let status = status.ok_or_else(|| {
        MlflowError::invalid("status", &"use LOGGED_MODEL_READY, LOGGED_MODEL_UPLOAD_FAILED or LOGGED_MODEL_PENDING")
    })?;
    let model = state.tracking.logged_model_finalize(id, status).await?;
    Ok(Json(json!({ "model": LoggedModelOut::from(&model) })))
}

/// `DeleteLoggedModel`: all is in the path, and the body is not looked at.
async fn delete(State(state): State<Arc<MlflowState>>, PathText(text): PathText) -> Answer {
    state.tracking.logged_model_delete(id(&text)?).await?;
    Ok(Json(json!({})))
}

/// `LogLoggedModelParamsRequest`.
#[derive(Debug, Deserialize)]
struct LogParams {
    model_id: Option<String>,
    params: Option<Vec<KeyValue>>,
}

async fn params(
    State(state): State<Arc<MlflowState>>,
    PathText(text): PathText,
    Message(message): Message<LogParams>,
) -> Answer {
    let id = id_as_in(&text, message.model_id.as_deref())?;
    state.tracking.logged_model_params_log(id, params_of(message.params)).await?;
    Ok(Json(json!({})))
}

/// `SetLoggedModelTags`.
#[derive(Debug, Deserialize)]
struct SetTags {
    model_id: Option<String>,
    tags: Option<Vec<KeyValue>>,
}

async fn tags(
    State(state): State<Arc<MlflowState>>,
    PathText(text): PathText,
    Message(message): Message<SetTags>,
) -> Answer {
    let id = id_as_in(&text, message.model_id.as_deref())?;
    state.tracking.logged_model_tags_set(id, tags_of(message.tags)).await?;
    Ok(Json(json!({})))
}

/// `DeleteLoggedModelTag`.
async fn tag_delete(
    State(state): State<Arc<MlflowState>>,
    PathText((text, key)): PathText<(String, String)>,
) -> Answer {
    state.tracking.logged_model_tag_delete(id(&text)?, &key).await?;
    Ok(Json(json!({})))
}
