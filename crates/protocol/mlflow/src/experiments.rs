use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use ropewalk_tracking::Tag;
use ropewalk_types::ExperimentId;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::request::{Message, Parameters, experiment_id, required};
use crate::wire::number::Int64;
use crate::wire::{EnumValue, ExperimentOut, KeyValue, page_size};
use crate::{MlflowError, MlflowState};

type Answer = Result<Json<Value>, MlflowError>;

/// `CreateExperiment`.
#[derive(Debug, Deserialize)]
pub(crate) struct Create {
    name: Option<String>,
    artifact_location: Option<String>,
    #[serde(default)]
    tags: Option<Vec<KeyValue>>,
}

pub(crate) async fn create(State(state): State<Arc<MlflowState>>, Message(message): Message<Create>) -> Answer {
    let name = required("name", message.name)?;
    if let Some(location) = message.artifact_location.filter(|location| !location.is_empty()) {
        let what = format!("artifacts live in the server's own store, not at '{}'", location.escape_debug());
        return Err(MlflowError::Unsupported { parameter: "artifact_location", what });
    }
    let tags = message.tags.unwrap_or_default().into_iter().map(Tag::from).collect();
    let experiment = state.tracking.experiment_create(&name, tags).await?;
    Ok(Json(json!({ "experiment_id": experiment.id.to_string() })))
}

/// `GetExperiment`.
#[derive(Debug, Deserialize)]
pub(crate) struct Get {
    experiment_id: Option<String>,
}

pub(crate) async fn get(State(state): State<Arc<MlflowState>>, Parameters(message): Parameters<Get>) -> Answer {
    let id = experiment_id(&required("experiment_id", message.experiment_id)?)?;
    let experiment = state.tracking.experiment_get(id).await?;
    Ok(Json(json!({ "experiment": ExperimentOut::from(&experiment) })))
}

/// `GetExperimentByName`.
#[derive(Debug, Deserialize)]
pub(crate) struct GetByName {
    experiment_name: Option<String>,
}

pub(crate) async fn get_by_name(
    State(state): State<Arc<MlflowState>>,
    Parameters(message): Parameters<GetByName>,
) -> Answer {
    let name = required("experiment_name", message.experiment_name)?;
    let experiment = state.tracking.experiment_get_by_name(&name).await?;
    Ok(Json(json!({ "experiment": ExperimentOut::from(&experiment) })))
}

/// `SearchExperiments`.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Search {
    max_results: Option<Int64>,
    page_token: Option<String>,
    filter: Option<String>,
    order_by: Option<OneOrMany>,
    view_type: Option<EnumValue>,
}

/// A repeated field: a list in a body, a single text in a query string.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

pub(crate) async fn search_by_query(
    State(state): State<Arc<MlflowState>>,
    Parameters(message): Parameters<Search>,
) -> Answer {
    search(&state, message).await
}

pub(crate) async fn search_by_body(State(state): State<Arc<MlflowState>>, Message(message): Message<Search>) -> Answer {
    search(&state, message).await
}

async fn search(state: &MlflowState, message: Search) -> Answer {
    let limit = page_size(message.max_results, 1_000, 50_000)?;
    let (before, deleted_only) = search_checked(&message)?;
    if deleted_only {
        // An experiment cannot be deleted here.
        return Ok(Json(json!({ "experiments": [] })));
    }
    let mut experiments = state.tracking.experiment_list(before, limit + 1).await?;
    let more = experiments.len() > limit;
    experiments.truncate(limit);
    let found: Vec<_> = experiments.iter().map(ExperimentOut::from).collect();
    let mut answer = json!({ "experiments": found });
    if let (true, Some(last)) = (more, experiments.last()) {
        answer["next_page_token"] = json!(last.id.to_string());
    }
    Ok(Json(answer))
}

fn search_checked(message: &Search) -> Result<(Option<ExperimentId>, bool), MlflowError> {
    if let Some(filter) = message.filter.as_deref().filter(|filter| !filter.trim().is_empty()) {
        let what = format!("experiments cannot be filtered yet ('{}')", filter.escape_debug());
        return Err(MlflowError::Unsupported { parameter: "filter", what });
    }
    let order = match message.order_by.as_ref() {
        Some(OneOrMany::One(order)) => Some(order),
        Some(OneOrMany::Many(orders)) => orders.first(),
        None => None,
    };
    if let Some(order) = order {
        let what = format!("experiments come newest first, not by '{}'", order.escape_debug());
        return Err(MlflowError::Unsupported { parameter: "order_by", what });
    }
    let view = match &message.view_type {
        None => 0,
        Some(view) => view
            .position(&["ACTIVE_ONLY", "DELETED_ONLY", "ALL"])
            .ok_or_else(|| MlflowError::invalid("view_type", &"use ACTIVE_ONLY, DELETED_ONLY or ALL"))?,
    };
    let token = message.page_token.as_deref().filter(|token| !token.is_empty());
    let before = token.map(str::parse).transpose();
    let before = before.map_err(|_| MlflowError::invalid("page_token", &"it is not one of this listing"))?;
    Ok((before, view == 1))
}

/// `SetExperimentTag`.
#[derive(Debug, Deserialize)]
pub(crate) struct SetTag {
    experiment_id: Option<String>,
    key: Option<String>,
    value: Option<String>,
}

pub(crate) async fn set_tag(State(state): State<Arc<MlflowState>>, Message(message): Message<SetTag>) -> Answer {
    let id = experiment_id(&required("experiment_id", message.experiment_id)?)?;
    let tag = Tag::new(required("key", message.key)?, message.value.unwrap_or_default());
    state.tracking.experiment_tag_set(id, tag).await?;
    Ok(Json(json!({})))
}

#[cfg(test)]
mod tests {
    use axum::http::StatusCode;
    use serde_json::json;

    use crate::testing::{Server, get, post};

    const API: &str = "/api/2.0/mlflow/experiments";

    #[tokio::test]
    async fn an_experiment_is_created_once_and_found_by_id_and_name() {
        let server = Server::new().await;
        let create = json!({"name": "flights", "tags": [{"key": "team", "value": "a"}]});
        let (status, created) = server.call(post(&format!("{API}/create"), &create)).await;
        assert_eq!((status, created["experiment_id"].as_str()), (StatusCode::OK, Some("1")));
        let (_, found) = server.call(get(&format!("{API}/get-by-name?experiment_name=flights"))).await;
        assert_eq!(found["experiment"]["tags"], json!([{"key": "team", "value": "a"}]));
        assert_eq!(found["experiment"]["artifact_location"], "mlflow-artifacts:/1");
        let (_, same) = server.call(get(&format!("/ajax-{}/get?experiment_id=1", &API[1..]))).await;
        assert_eq!(same, found);
        server.refuses(post(&format!("{API}/create"), &create), 400, "RESOURCE_ALREADY_EXISTS").await;
    }

    #[tokio::test]
    async fn what_is_absent_or_wrong_is_said_in_mlflows_words() {
        let server = Server::new().await;
        server.refuses(get(&format!("{API}/get?experiment_id=7")), 404, "RESOURCE_DOES_NOT_EXIST").await;
        server.refuses(get(&format!("{API}/get?experiment_id=x")), 400, "INVALID_PARAMETER_VALUE").await;
        server.refuses(get(&format!("{API}/get")), 400, "INVALID_PARAMETER_VALUE").await;
        server.refuses(get(&format!("{API}/get-by-name?experiment_name=x")), 404, "RESOURCE_DOES_NOT_EXIST").await;
        server.refuses(post(&format!("{API}/create"), &json!({})), 400, "INVALID_PARAMETER_VALUE").await;
        let elsewhere = json!({"name": "a", "artifact_location": "s3://b"});
        server.refuses(post(&format!("{API}/create"), &elsewhere), 400, "INVALID_PARAMETER_VALUE").await;
        let filter = json!({"filter": "name = 'a'"});
        server.refuses(post(&format!("{API}/search"), &filter), 400, "INVALID_PARAMETER_VALUE").await;
        let order = json!({"order_by": ["name"]});
        server.refuses(post(&format!("{API}/search"), &order), 400, "INVALID_PARAMETER_VALUE").await;
    }

    #[tokio::test]
    async fn pages_go_on_where_they_ended() {
        let server = Server::new().await;
        for name in ["a", "b"] {
            server.ok(post(&format!("{API}/create"), &json!({"name": name}))).await;
        }
        let first = server.ok(post(&format!("{API}/search"), &json!({"max_results": "2", "view_type": "ALL"}))).await;
        assert_eq!(first["experiments"].as_array().expect("list").len(), 2);
        let token = first["next_page_token"].as_str().expect("token");
        let rest = server.ok(get(&format!("{API}/search?max_results=2&page_token={token}"))).await;
        assert_eq!(rest["experiments"][0]["name"], "Default");
        assert!(rest.get("next_page_token").is_none());
    }

    #[tokio::test]
    async fn tags_are_set() {
        let server = Server::new().await;
        let tag = json!({"experiment_id": "0", "key": "k", "value": "v"});
        server.ok(post(&format!("{API}/set-experiment-tag"), &tag)).await;
        let found = server.ok(get(&format!("{API}/get?experiment_id=0"))).await;
        assert_eq!(found["experiment"]["tags"], json!([{"key": "k", "value": "v"}]));
    }
}
