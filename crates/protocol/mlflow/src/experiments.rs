use std::sync::Arc;

use axum::extract::State;
use ropewalk_tracking::{Experiment, NewExperiment, Tag};
use ropewalk_types::ExperimentId;
use serde::{Deserialize, Serialize};

use crate::answer::{Answer, answer, done};
use crate::request::{Message, Parameters, experiment_id, required};
use crate::wire::{ExperimentOut, KeyValue, Text};
use crate::{MlflowError, MlflowState};

#[derive(Debug, Serialize)]
struct Created {
    experiment_id: Text<ExperimentId>,
}

#[derive(Debug, Serialize)]
struct Found<'a> {
    experiment: ExperimentOut<'a>,
}

fn found(experiment: &Experiment) -> Answer {
    answer(&Found { experiment: experiment.into() })
}

/// `CreateExperiment`.
#[derive(Debug, Deserialize)]
pub(crate) struct Create {
    name: Option<String>,
    artifact_location: Option<String>,
    #[serde(default)]
    tags: Option<Vec<KeyValue>>,
}

pub(crate) async fn create(State(state): State<Arc<MlflowState>>, Message(message): Message<Create>) -> Answer {
    let new = NewExperiment {
        name: required("name", message.name)?,
        artifact_location: message.artifact_location,
        tags: message.tags.unwrap_or_default().into_iter().map(Tag::from).collect(),
    };
    let experiment = state.tracking.experiment_create_as(new).await?;
    answer(&Created { experiment_id: Text(experiment.id) })
}

/// `GetExperiment`, `DeleteExperiment`, `RestoreExperiment`.
#[derive(Debug, Deserialize)]
pub(crate) struct ById {
    experiment_id: Option<String>,
}

impl ById {
    fn id(self) -> Result<ExperimentId, MlflowError> {
        experiment_id(&required("experiment_id", self.experiment_id)?)
    }
}

pub(crate) async fn get(State(state): State<Arc<MlflowState>>, Parameters(message): Parameters<ById>) -> Answer {
    found(&state.tracking.experiment_get(message.id()?).await?)
}

pub(crate) async fn delete(State(state): State<Arc<MlflowState>>, Message(message): Message<ById>) -> Answer {
    state.tracking.experiment_delete(message.id()?).await?;
    Ok(done())
}

pub(crate) async fn restore(State(state): State<Arc<MlflowState>>, Message(message): Message<ById>) -> Answer {
    state.tracking.experiment_restore(message.id()?).await?;
    Ok(done())
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
    found(&state.tracking.experiment_get_by_name(&name).await?)
}

/// `UpdateExperiment`.
#[derive(Debug, Deserialize)]
pub(crate) struct Update {
    experiment_id: Option<String>,
    new_name: Option<String>,
}

pub(crate) async fn update(State(state): State<Arc<MlflowState>>, Message(message): Message<Update>) -> Answer {
    let id = experiment_id(&required("experiment_id", message.experiment_id)?)?;
    state.tracking.experiment_rename(id, &required("new_name", message.new_name)?).await?;
    Ok(done())
}

/// `SetExperimentTag`, `DeleteExperimentTag`.
#[derive(Debug, Deserialize)]
pub(crate) struct TagOf {
    experiment_id: Option<String>,
    key: Option<String>,
    value: Option<String>,
}

pub(crate) async fn set_tag(State(state): State<Arc<MlflowState>>, Message(message): Message<TagOf>) -> Answer {
    let id = experiment_id(&required("experiment_id", message.experiment_id)?)?;
    let tag = Tag::new(required("key", message.key)?, message.value.unwrap_or_default());
    state.tracking.experiment_tag_set(id, tag).await?;
    Ok(done())
}

pub(crate) async fn delete_tag(State(state): State<Arc<MlflowState>>, Message(message): Message<TagOf>) -> Answer {
    let id = experiment_id(&required("experiment_id", message.experiment_id)?)?;
    state.tracking.experiment_tag_delete(id, &required("key", message.key)?).await?;
    Ok(done())
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
        let nowhere = json!({"name": "a", "artifact_location": "runs:/b"});
        server.refuses(post(&format!("{API}/create"), &nowhere), 400, "INVALID_PARAMETER_VALUE").await;
    }

    #[tokio::test]
    async fn an_experiment_is_renamed_deleted_and_restored() {
        let server = Server::new().await;
        let create = json!({"name": "flights", "artifact_location": "s3://bucket/x/"});
        server.ok(post(&format!("{API}/create"), &create)).await;
        let run = server.ok(post("/api/2.0/mlflow/runs/create", &json!({"experiment_id": "1"}))).await;
        let uri = run["run"]["info"]["artifact_uri"].as_str().expect("uri").to_owned();
        assert!(uri.starts_with("s3://bucket/x/") && uri.ends_with("/artifacts") && !uri.contains("x//"), "{uri}");
        let rename = |name: &str| post(&format!("{API}/update"), &json!({"experiment_id": "1", "new_name": name}));
        server.ok(rename("weather")).await;
        server.refuses(rename("Default"), 400, "RESOURCE_ALREADY_EXISTS").await;
        server.refuses(rename(""), 400, "INVALID_PARAMETER_VALUE").await;
        let by_id = json!({"experiment_id": "1"});
        server.ok(post(&format!("{API}/delete"), &by_id)).await;
        server.refuses(post(&format!("{API}/delete"), &by_id), 404, "RESOURCE_DOES_NOT_EXIST").await;
        let stage = async || {
            server.ok(get(&format!("{API}/get?experiment_id=1"))).await["experiment"]["lifecycle_stage"].take()
        };
        assert_eq!(stage().await, "deleted");
        server.refuses(rename("other"), 400, "INVALID_STATE").await;
        let create = json!({"name": "weather"});
        server.refuses(post(&format!("{API}/create"), &create), 400, "RESOURCE_ALREADY_EXISTS").await;
        let message = server.refuses(post("/api/2.0/mlflow/runs/create", &by_id), 400, "INVALID_PARAMETER_VALUE").await;
        assert!(message.starts_with("The experiment 1 must be in the 'active' state."), "{message}");
        server.ok(post(&format!("{API}/restore"), &by_id)).await;
        assert_eq!(stage().await, "active");
        server.refuses(post(&format!("{API}/restore"), &by_id), 404, "RESOURCE_DOES_NOT_EXIST").await;
    }

    #[tokio::test]
    async fn tags_are_set_and_deleted() {
        let server = Server::new().await;
        let tag = json!({"experiment_id": "0", "key": "k", "value": "v"});
        server.ok(post(&format!("{API}/set-experiment-tag"), &tag)).await;
        let found = server.ok(get(&format!("{API}/get?experiment_id=0"))).await;
        assert_eq!(found["experiment"]["tags"], json!([{"key": "k", "value": "v"}]));
        let delete = post(&format!("{API}/delete-experiment-tag"), &json!({"experiment_id": "0", "key": "k"}));
        server.ok(delete).await;
        let again = post(&format!("{API}/delete-experiment-tag"), &json!({"experiment_id": "0", "key": "k"}));
        let message = server.refuses(again, 404, "RESOURCE_DOES_NOT_EXIST").await;
        assert_eq!(message, "No tag with name: k in experiment with id 0");
    }
}
