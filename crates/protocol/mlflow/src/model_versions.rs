//! `model-versions/…` of `mlflow/protos/model_registry.proto`.

use axum::Json;
use axum::extract::{Extension, State};
use axum::http::HeaderMap;
use axum::response::Response;
use ropewalk_registry::{SourcedVersion, Stage, Target, TargetError, VERSION_PAGE};
use serde::Deserialize;
use serde_json::json;

use crate::registered_models::{Answer, Int64OrText, States, WHY, model_name, search_in, version_number, who};
use crate::request::{Message, Parameters, required};
use crate::wire::KeyValue;
use crate::wire::registry::{ModelVersionOut, page, tags_in};
use crate::{MlflowError, MlflowState, Principal, artifacts};

/// `CreateModelVersion`.
#[derive(Debug, Deserialize)]
pub(crate) struct Create {
    name: Option<String>,
    source: Option<String>,
    run_id: Option<String>,
    tags: Option<Vec<KeyValue>>,
    run_link: Option<String>,
    description: Option<String>,
    model_id: Option<String>,
}

pub(crate) async fn create(
    State(state): States,
    principal: Option<Extension<Principal>>,
    Message(message): Message<Create>,
) -> Answer {
    let new = SourcedVersion {
        name: model_name(message.name)?,
        source: required("source", message.source)?,
        run: message.run_id,
        logged_model: message.model_id,
        run_link: message.run_link.unwrap_or_default(),
        // A description that is not given is an empty one, as in MLflow.
        description: Some(message.description.unwrap_or_default()),
        tags: tags_in(message.tags),
        user: principal.map(|Extension(Principal(name))| name),
    };
    let version = state.registry.version_create(new).await?;
    Ok(Json(json!({ "model_version": ModelVersionOut::from(&version) })))
}

/// `GetModelVersion`, `GetModelVersionDownloadUri`, `DeleteModelVersion`.
#[derive(Debug, Deserialize)]
pub(crate) struct Named {
    name: Option<String>,
    version: Option<Int64OrText>,
}

pub(crate) async fn get(State(state): States, Parameters(message): Parameters<Named>) -> Answer {
    let (name, version) = (model_name(message.name)?, version_number(message.version)?);
    let version = state.registry.version_get(&name, version).await?;
    Ok(Json(json!({ "model_version": ModelVersionOut::from(&version) })))
}

pub(crate) async fn download_uri(State(state): States, Parameters(message): Parameters<Named>) -> Answer {
    let (name, version) = (model_name(message.name)?, version_number(message.version)?);
    let version = state.registry.version_get(&name, version).await?;
    Ok(Json(json!({ "artifact_uri": version.storage })))
}

pub(crate) async fn delete(State(state): States, Message(message): Message<Named>) -> Answer {
    let (name, version) = (model_name(message.name)?, version_number(message.version)?);
    state.registry.version_delete(&name, version).await?;
    Ok(Json(json!({})))
}

/// `UpdateModelVersion`.
#[derive(Debug, Deserialize)]
pub(crate) struct Update {
    name: Option<String>,
    version: Option<Int64OrText>,
    description: Option<String>,
}

pub(crate) async fn update(State(state): States, Message(message): Message<Update>) -> Answer {
    let (name, version) = (model_name(message.name)?, version_number(message.version)?);
    let version = state.registry.version_update(&name, version, message.description.as_deref()).await?;
    Ok(Json(json!({ "model_version": ModelVersionOut::from(&version) })))
}

/// `TransitionModelVersionStage`.
#[derive(Debug, Deserialize)]
pub(crate) struct Transition {
    name: Option<String>,
    version: Option<Int64OrText>,
    stage: Option<String>,
    archive_existing_versions: Option<bool>,
}

pub(crate) async fn transition_stage(
    State(state): States,
    principal: Option<Extension<Principal>>,
    Message(message): Message<Transition>,
) -> Answer {
    let (name, version) = (model_name(message.name)?, version_number(message.version)?);
    let stage = stage(&required("stage", message.stage)?)?;
    let archive = message.archive_existing_versions.unwrap_or(false);
    let version = state.registry.stage_set(&name, version, stage, archive, (&who(principal), WHY)).await?;
    Ok(Json(json!({ "model_version": ModelVersionOut::from(&version) })))
}

fn stage(text: &str) -> Result<Stage, MlflowError> {
    text.parse().map_err(|error| MlflowError::invalid("stage", &error))
}

/// That the user who asks stands for a version; see [`ropewalk_registry::approve`].
#[derive(Debug, Deserialize)]
pub(crate) struct Approve {
    name: Option<String>,
    version: Option<Int64OrText>,
    target: Option<String>,
    role: Option<String>,
    why: Option<String>,
}

pub(crate) async fn approve(
    State(state): States,
    principal: Option<Extension<Principal>>,
    Message(message): Message<Approve>,
) -> Answer {
    let Some(Extension(Principal(who))) = principal else { return Err(MlflowError::Nameless) };
    let (name, version) = (model_name(message.name)?, version_number(message.version)?);
    let target: Option<Target> = match message.target.as_deref() {
        Some(target) => Some(target.parse().map_err(|error: TargetError| MlflowError::invalid("target", &error))?),
        None => None,
    };
    let why = message.why.unwrap_or_default();
    let approval = state.registry.approve(&name, version, target, message.role.as_deref(), (&who, &why)).await?;
    Ok(Json(json!({ "approval": approval })))
}

/// `GetLatestVersions`.
#[derive(Debug, Deserialize)]
pub(crate) struct Latest {
    name: Option<String>,
    #[serde(default)]
    stages: Option<Vec<String>>,
}

pub(crate) async fn latest_by_query(
    State(state): States,
    Parameters(parameters): Parameters<Vec<(String, String)>>,
) -> Answer {
    let mut message = Latest { name: None, stages: None };
    for (name, value) in parameters {
        match name.as_str() {
            "name" => message.name = Some(value),
            "stages" => message.stages.get_or_insert_default().push(value),
            _ => {}
        }
    }
    latest(&state, message).await
}

pub(crate) async fn latest_by_body(State(state): States, Message(message): Message<Latest>) -> Answer {
    latest(&state, message).await
}

async fn latest(state: &MlflowState, message: Latest) -> Answer {
    let name = model_name(message.name)?;
    let stages: Result<Vec<Stage>, MlflowError> =
        message.stages.unwrap_or_default().iter().map(|text| stage(text)).collect();
    let versions = state.registry.version_latest(&name, stages?).await?;
    let versions: Vec<ModelVersionOut<'_>> = versions.iter().map(ModelVersionOut::from).collect();
    Ok(Json(page("model_versions", &versions, None)))
}

/// `SearchModelVersions`.
pub(crate) async fn search(State(state): States, Parameters(parameters): Parameters<Vec<(String, String)>>) -> Answer {
    let search = search_in(parameters, 10_000, VERSION_PAGE)?;
    let found = state.registry.version_search(search).await?;
    let versions: Vec<ModelVersionOut<'_>> = found.items.iter().map(ModelVersionOut::from).collect();
    Ok(Json(page("model_versions", &versions, found.next.as_deref())))
}

/// `SetModelVersionTag`, `DeleteModelVersionTag`.
#[derive(Debug, Deserialize)]
pub(crate) struct Tagged {
    name: Option<String>,
    version: Option<Int64OrText>,
    key: Option<String>,
    value: Option<String>,
}

pub(crate) async fn set_tag(State(state): States, Message(message): Message<Tagged>) -> Answer {
    let (name, version) = (model_name(message.name)?, version_number(message.version)?);
    let key = required("key", message.key)?;
    state.registry.version_tag_set(&name, version, &key, &message.value.unwrap_or_default()).await?;
    Ok(Json(json!({})))
}

pub(crate) async fn delete_tag(State(state): States, Message(message): Message<Tagged>) -> Answer {
    let (name, version) = (model_name(message.name)?, version_number(message.version)?);
    state.registry.version_tag_delete(&name, version, &required("key", message.key)?).await?;
    Ok(Json(json!({})))
}

/// `GET /model-versions/get-artifact`.
#[derive(Debug, Deserialize)]
pub(crate) struct ArtifactOf {
    name: Option<String>,
    version: Option<Int64OrText>,
    path: Option<String>,
}

pub(crate) async fn artifact(
    State(state): States,
    Parameters(message): Parameters<ArtifactOf>,
    headers: HeaderMap,
) -> Result<Response, MlflowError> {
    let (name, version) = (model_name(message.name)?, version_number(message.version)?);
    let path = required("path", message.path)?;
    let place = state.registry.version_place(&name, version).await?;
    artifacts::download_from(&state, &place, &path, &headers).await
}

#[cfg(test)]
mod tests;
