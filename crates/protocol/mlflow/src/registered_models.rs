//! `registered-models/…` of `mlflow/protos/model_registry.proto`.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Extension, State};
use ropewalk_registry::{MODEL_PAGE, Search};
use ropewalk_types::{Alias, ModelName};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::request::{Message, Parameters, required};
use crate::wire::number::Int64;
use crate::wire::registry::{ModelVersionOut, RegisteredModelOut, page, tags_in};
use crate::wire::{KeyValue, page_size};
use crate::{MlflowError, MlflowState, Principal};

pub(crate) type Answer = Result<Json<Value>, MlflowError>;
pub(crate) type States = State<Arc<MlflowState>>;

/// Why an alias or a stage moved, where a client cannot say it.
pub(crate) const WHY: &str = "asked for through MLflow's API";

/// Who asks, as far as that is known.
pub(crate) fn who(principal: Option<Extension<Principal>>) -> String {
    principal.map_or_else(|| "anonymous".to_owned(), |Extension(Principal(name))| name)
}

/// The model that must be named.
pub(crate) fn model_name(name: Option<String>) -> Result<ModelName, MlflowError> {
    let name = required("name", name.filter(|name| !name.trim().is_empty()))?;
    ModelName::new(name).map_err(|error| MlflowError::invalid("name", &error))
}

/// The version that must be named, a text of digits or a number.
pub(crate) fn version_number(version: Option<Int64OrText>) -> Result<u64, MlflowError> {
    let invalid = |given: &str| MlflowError::invalid("version", &format!("'{given}' is not an integer"));
    match version {
        None => Err(MlflowError::Missing("version")),
        Some(Int64OrText::Text(text)) if text.is_empty() => Err(MlflowError::Missing("version")),
        Some(Int64OrText::Text(text)) => text.trim().parse().map_err(|_| invalid(&text)),
        Some(Int64OrText::Number(number)) => u64::try_from(number).map_err(|_| invalid(&number.to_string())),
    }
}

/// A version as clients send it.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(crate) enum Int64OrText {
    Number(i64),
    Text(String),
}

/// An alias that must be given and can be one.
fn alias_named(alias: Option<String>) -> Result<Alias, MlflowError> {
    let alias = required("alias", alias)?;
    if alias.eq_ignore_ascii_case("latest") {
        return Err(MlflowError::invalid("alias", &"'latest' alias name (case insensitive) is reserved."));
    }
    Alias::new(alias).map_err(|error| MlflowError::invalid("alias", &error))
}

/// `CreateRegisteredModel`.
#[derive(Debug, Deserialize)]
pub(crate) struct Create {
    name: Option<String>,
    tags: Option<Vec<KeyValue>>,
    description: Option<String>,
}

pub(crate) async fn create(State(state): States, Message(message): Message<Create>) -> Answer {
    let name = model_name(message.name)?;
    let tags = tags_in(message.tags);
    let model = state.registry.model_create(&name, message.description.as_deref(), tags).await?;
    Ok(Json(json!({ "registered_model": RegisteredModelOut::from(&model) })))
}

/// `GetRegisteredModel`, `DeleteRegisteredModel`.
#[derive(Debug, Deserialize)]
pub(crate) struct Named {
    name: Option<String>,
}

pub(crate) async fn get(State(state): States, Parameters(message): Parameters<Named>) -> Answer {
    let model = state.registry.model_get(&model_name(message.name)?).await?;
    Ok(Json(json!({ "registered_model": RegisteredModelOut::from(&model) })))
}

pub(crate) async fn delete(State(state): States, Message(message): Message<Named>) -> Answer {
    state.registry.model_delete(&model_name(message.name)?).await?;
    Ok(Json(json!({})))
}

/// `UpdateRegisteredModel`.
#[derive(Debug, Deserialize)]
pub(crate) struct Update {
    name: Option<String>,
    description: Option<String>,
}

pub(crate) async fn update(State(state): States, Message(message): Message<Update>) -> Answer {
    let name = model_name(message.name)?;
    let model = state.registry.model_update(&name, message.description.as_deref()).await?;
    Ok(Json(json!({ "registered_model": RegisteredModelOut::from(&model) })))
}

/// `RenameRegisteredModel`.
#[derive(Debug, Deserialize)]
pub(crate) struct Rename {
    name: Option<String>,
    new_name: Option<String>,
}

pub(crate) async fn rename(State(state): States, Message(message): Message<Rename>) -> Answer {
    let name = model_name(message.name)?;
    let new_name = required("new_name", message.new_name.filter(|name| !name.trim().is_empty()))?;
    let new_name = ModelName::new(new_name).map_err(|error| MlflowError::invalid("new_name", &error))?;
    let model = state.registry.model_rename(&name, &new_name).await?;
    Ok(Json(json!({ "registered_model": RegisteredModelOut::from(&model) })))
}

/// A search as a query string says it, in which `order_by` may stand more than once.
pub(crate) fn search_in(parameters: Vec<(String, String)>, default: usize, most: usize) -> Result<Search, MlflowError> {
    let mut search = Search::default();
    let mut wanted = None;
    for (name, value) in parameters {
        match name.as_str() {
            "filter" => search.filter = value,
            "order_by" => search.order_by.push(value),
            "page_token" => search.page_token = Some(value),
            "max_results" => {
                let number = value.parse().map_err(|_| MlflowError::invalid("max_results", &"use a number"))?;
                wanted = Some(Int64(number));
            }
            _ => {}
        }
    }
    search.limit = page_size(wanted, default, most)?;
    Ok(search)
}

/// `SearchRegisteredModels`.
pub(crate) async fn search(State(state): States, Parameters(parameters): Parameters<Vec<(String, String)>>) -> Answer {
    let search = search_in(parameters, 100, MODEL_PAGE)?;
    let found = state.registry.model_search(search).await?;
    let models: Vec<RegisteredModelOut<'_>> = found.items.iter().map(RegisteredModelOut::from).collect();
    Ok(Json(page("registered_models", &models, found.next.as_deref())))
}

/// `SetRegisteredModelTag`, `DeleteRegisteredModelTag`.
#[derive(Debug, Deserialize)]
pub(crate) struct Tagged {
    name: Option<String>,
    key: Option<String>,
    value: Option<String>,
}

pub(crate) async fn set_tag(State(state): States, Message(message): Message<Tagged>) -> Answer {
    let (name, key) = (model_name(message.name)?, required("key", message.key)?);
    state.registry.model_tag_set(&name, &key, &message.value.unwrap_or_default()).await?;
    Ok(Json(json!({})))
}

pub(crate) async fn delete_tag(State(state): States, Message(message): Message<Tagged>) -> Answer {
    let (name, key) = (model_name(message.name)?, required("key", message.key)?);
    state.registry.model_tag_delete(&name, &key).await?;
    Ok(Json(json!({})))
}

/// `SetRegisteredModelAlias`, `GetModelVersionByAlias`, `DeleteRegisteredModelAlias`.
#[derive(Debug, Deserialize)]
pub(crate) struct Aliased {
    name: Option<String>,
    alias: Option<String>,
    version: Option<Int64OrText>,
}

pub(crate) async fn set_alias(
    State(state): States,
    principal: Option<Extension<Principal>>,
    Message(message): Message<Aliased>,
) -> Answer {
    let (name, alias) = (model_name(message.name)?, alias_named(message.alias)?);
    // Our own commands take dots; what other MLflow servers refuse, no MLflow client shall come to rely on.
    if alias.as_str().contains('.') {
        let reason = "Names may only contain alphanumerics, underscores (_), and dashes (-).";
        return Err(MlflowError::invalid("alias", &reason));
    }
    let version = version_number(message.version)?;
    state.registry.alias_set(&name, &alias, version, &who(principal), WHY).await?;
    Ok(Json(json!({})))
}

pub(crate) async fn delete_alias(
    State(state): States,
    principal: Option<Extension<Principal>>,
    Message(message): Message<Aliased>,
) -> Answer {
    let (name, alias) = (model_name(message.name)?, alias_named(message.alias)?);
    state.registry.alias_delete(&name, &alias, &who(principal), WHY).await?;
    Ok(Json(json!({})))
}

/// The alias `latest`, which nobody sets, is the newest version.
pub(crate) async fn by_alias(State(state): States, Parameters(message): Parameters<Aliased>) -> Answer {
    let name = model_name(message.name)?;
    let version = match required("alias", message.alias)? {
        latest if latest.eq_ignore_ascii_case("latest") => state.registry.version_newest(&name).await?,
        alias => state.registry.by_alias(&name, &alias_named(Some(alias))?).await?,
    };
    Ok(Json(json!({ "model_version": ModelVersionOut::from(&version) })))
}

#[cfg(test)]
mod tests;
