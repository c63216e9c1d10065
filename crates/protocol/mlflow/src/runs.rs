use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use ropewalk_tracking::{Lifecycle, NewRun, RunFilter, RunUpdate, Tag};
use ropewalk_types::{ExperimentId, RunStatus, Timestamp};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::request::{Message, Parameters, experiment_id, run_id};
use crate::wire::number::Int64;
use crate::wire::run::{RunInfoOut, RunOut};
use crate::wire::{EnumValue, KeyValue, page_size};
use crate::{MlflowError, MlflowState};

type Answer = Result<Json<Value>, MlflowError>;

/// `CreateRun`.
#[derive(Debug, Deserialize)]
pub(crate) struct Create {
    experiment_id: Option<String>,
    user_id: Option<String>,
    run_name: Option<String>,
    start_time: Option<Int64>,
    tags: Option<Vec<KeyValue>>,
}

pub(crate) async fn create(State(state): State<Arc<MlflowState>>, Message(message): Message<Create>) -> Answer {
    let experiment = experiment_id(message.experiment_id.as_deref().filter(|id| !id.is_empty()).unwrap_or("0"))?;
    let start = message.start_time.map_or_else(|| state.tracking.ambient().now(), |start| Timestamp(start.0));
    let new = NewRun {
        name: message.run_name,
        tags: message.tags.unwrap_or_default().into_iter().map(Tag::from).collect(),
        user: message.user_id.unwrap_or_default(),
        owner: state.owner.clone(),
        ..NewRun::new(experiment, start)
    };
    let run = state.tracking.run_create(new).await?;
    Ok(Json(json!({ "run": RunOut::from(&run) })))
}

/// `GetRun`, `DeleteRun`, `RestoreRun`.
#[derive(Debug, Deserialize)]
pub(crate) struct ById {
    run_id: Option<String>,
    run_uuid: Option<String>,
}

pub(crate) async fn get(State(state): State<Arc<MlflowState>>, Parameters(message): Parameters<ById>) -> Answer {
    let run = state.tracking.run_get(run_id(message.run_id, message.run_uuid)?).await?;
    Ok(Json(json!({ "run": RunOut::from(&run) })))
}

pub(crate) async fn delete(State(state): State<Arc<MlflowState>>, Message(message): Message<ById>) -> Answer {
    state.tracking.run_delete(run_id(message.run_id, message.run_uuid)?).await?;
    Ok(Json(json!({})))
}

pub(crate) async fn restore(State(state): State<Arc<MlflowState>>, Message(message): Message<ById>) -> Answer {
    state.tracking.run_restore(run_id(message.run_id, message.run_uuid)?).await?;
    Ok(Json(json!({})))
}

/// `UpdateRun`.
#[derive(Debug, Deserialize)]
pub(crate) struct Update {
    run_id: Option<String>,
    run_uuid: Option<String>,
    status: Option<EnumValue>,
    end_time: Option<Int64>,
    run_name: Option<String>,
}

pub(crate) async fn update(State(state): State<Arc<MlflowState>>, Message(message): Message<Update>) -> Answer {
    let update = RunUpdate {
        status: message.status.as_ref().map(status).transpose()?,
        end: message.end_time.map(|end| Timestamp(end.0)),
        name: message.run_name,
    };
    let run = state.tracking.run_update(run_id(message.run_id, message.run_uuid)?, update).await?;
    Ok(Json(json!({ "run_info": RunInfoOut::from(&run) })))
}

fn status(value: &EnumValue) -> Result<RunStatus, MlflowError> {
    const STATUSES: [RunStatus; 5] =
        [RunStatus::Running, RunStatus::Scheduled, RunStatus::Finished, RunStatus::Failed, RunStatus::Killed];
    value
        .position(&STATUSES.map(RunStatus::as_str))
        .and_then(|position| STATUSES.get(position).copied())
        .ok_or_else(|| MlflowError::invalid("status", &"use RUNNING, SCHEDULED, FINISHED, FAILED or KILLED"))
}

/// `SearchRuns`.
#[derive(Debug, Deserialize)]
pub(crate) struct Search {
    experiment_ids: Option<Vec<String>>,
    filter: Option<String>,
    run_view_type: Option<EnumValue>,
    max_results: Option<Int64>,
    order_by: Option<Vec<String>>,
    page_token: Option<String>,
}

pub(crate) async fn search(State(state): State<Arc<MlflowState>>, Message(message): Message<Search>) -> Answer {
    search_checked(&message)?;
    let experiments = message.experiment_ids.unwrap_or_default();
    let experiments = experiments.iter().map(|id| experiment_id(id)).collect::<Result<Vec<ExperimentId>, _>>()?;
    let token = message.page_token.as_deref().filter(|token| !token.is_empty());
    let filter = RunFilter {
        experiments: Some(experiments),
        status: None,
        lifecycle: lifecycle(message.run_view_type.as_ref())?,
        after: token.map(str::parse).transpose().map_err(|error| MlflowError::invalid("page_token", &error))?,
    };
    let limit = page_size(message.max_results, 1_000, 50_000)?;
    let page = state.tracking.run_list(filter, limit).await?;
    let runs: Vec<_> = page.runs.iter().map(RunOut::from).collect();
    let mut answer = json!({ "runs": runs });
    if let Some(next) = page.next {
        answer["next_page_token"] = json!(next.to_string());
    }
    Ok(Json(answer))
}

fn search_checked(message: &Search) -> Result<(), MlflowError> {
    if let Some(filter) = message.filter.as_deref().filter(|filter| !filter.trim().is_empty()) {
        let what = format!("runs cannot be filtered yet ('{}')", filter.escape_debug());
        return Err(MlflowError::Unsupported { parameter: "filter", what });
    }
    let default = ["start_time DESC", "attribute.start_time DESC", "attributes.start_time DESC"];
    let odd = |order: &&String| !default.iter().any(|one| one.eq_ignore_ascii_case(order.trim()));
    if let Some(order) = message.order_by.iter().flatten().find(odd) {
        let what = format!("runs come by 'start_time DESC', not by '{}'", order.escape_debug());
        return Err(MlflowError::Unsupported { parameter: "order_by", what });
    }
    Ok(())
}

fn lifecycle(view: Option<&EnumValue>) -> Result<Lifecycle, MlflowError> {
    let Some(view) = view else { return Ok(Lifecycle::Active) };
    match view.position(&["ACTIVE_ONLY", "DELETED_ONLY", "ALL"]) {
        Some(0) => Ok(Lifecycle::Active),
        Some(1) => Ok(Lifecycle::Deleted),
        Some(_) => Ok(Lifecycle::Any),
        None => Err(MlflowError::invalid("run_view_type", &"use ACTIVE_ONLY, DELETED_ONLY or ALL")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::testing::{Server, get, post};

    const API: &str = "/api/2.0/mlflow/runs";

    async fn begin(server: &Server, start: i64) -> Value {
        let create =
            json!({"experiment_id": "0", "start_time": start.to_string(), "user_id": "ada", "run_name": "first"});
        server.ok(post(&format!("{API}/create"), &create)).await["run"].take()
    }

    #[tokio::test]
    async fn a_run_is_begun_resumed_and_ended() {
        let server = Server::new().await;
        let run = begin(&server, 5).await;
        let info = &run["info"];
        assert_eq!(info["status"], "RUNNING");
        assert_eq!(
            (&info["start_time"], &info["run_name"], &info["user_id"]),
            (&json!(5), &json!("first"), &json!("ada"))
        );
        assert!(info.get("end_time").is_none());
        let id = info["run_id"].as_str().expect("id");
        assert_eq!(info["artifact_uri"], format!("mlflow-artifacts:/0/{id}/artifacts"));
        let end = json!({"run_id": id, "status": "FINISHED", "end_time": 9, "run_name": "renamed"});
        let ended = server.ok(post(&format!("{API}/update"), &end)).await;
        assert_eq!((&ended["run_info"]["status"], &ended["run_info"]["end_time"]), (&json!("FINISHED"), &json!(9)));
        let resume = json!({"run_id": id, "status": 1});
        assert_eq!(server.ok(post(&format!("{API}/update"), &resume)).await["run_info"]["status"], "RUNNING");
        let found = server.ok(get(&format!("{API}/get?run_uuid={id}"))).await;
        assert_eq!(found["run"]["data"]["tags"], json!([{"key": "mlflow.runName", "value": "renamed"}]));
    }

    #[tokio::test]
    async fn deleted_runs_are_found_only_when_asked_for() {
        let server = Server::new().await;
        let run = begin(&server, 5).await;
        let by_id = json!({"run_id": run["info"]["run_id"]});
        server.ok(post(&format!("{API}/delete"), &by_id)).await;
        let count = async |view: &str| {
            let search = json!({"experiment_ids": ["0"], "run_view_type": view});
            server.ok(post(&format!("{API}/search"), &search)).await["runs"].as_array().expect("runs").len()
        };
        assert_eq!((count("ACTIVE_ONLY").await, count("DELETED_ONLY").await, count("ALL").await), (0, 1, 1));
        let tag = json!({"run_id": run["info"]["run_id"], "key": "a", "value": "b"});
        server.refuses(post(&format!("{API}/set-tag"), &tag), 400, "INVALID_PARAMETER_VALUE").await;
        server.ok(post(&format!("{API}/restore"), &by_id)).await;
        assert_eq!(count("ACTIVE_ONLY").await, 1);
    }

    #[tokio::test]
    async fn a_search_is_newest_first_in_pages_and_empty_without_experiments() {
        let server = Server::new().await;
        for start in [1, 3, 2] {
            begin(&server, start).await;
        }
        let search = json!({"experiment_ids": ["0"], "max_results": 2, "order_by": ["attributes.start_time DESC"]});
        let first = server.ok(post(&format!("{API}/search"), &search)).await;
        let starts = |page: &Value| {
            page["runs"]
                .as_array()
                .expect("runs")
                .iter()
                .map(|run| run["info"]["start_time"].clone())
                .collect::<Vec<_>>()
        };
        assert_eq!(starts(&first), [3, 2]);
        let next = json!({"experiment_ids": ["0"], "max_results": 2, "page_token": first["next_page_token"]});
        let last = server.ok(post(&format!("{API}/search"), &next)).await;
        assert_eq!(starts(&last), [1]);
        assert!(last.get("next_page_token").is_none());
        assert_eq!(server.ok(post(&format!("{API}/search"), &json!({}))).await["runs"], json!([]));
    }

    #[tokio::test]
    async fn what_is_not_supported_is_refused_not_ignored() {
        let server = Server::new().await;
        for wrong in [
            json!({"experiment_ids": ["0"], "filter": "metrics.auc > 0.5"}),
            json!({"experiment_ids": ["0"], "order_by": ["metrics.auc"]}),
            json!({"experiment_ids": ["0"], "max_results": 50_001}),
            json!({"experiment_ids": ["0"], "max_results": 0}),
            json!({"experiment_ids": ["0"], "page_token": "x"}),
            json!({"experiment_ids": ["0"], "run_view_type": "SOME"}),
            json!({"experiment_ids": "0"}),
        ] {
            server.refuses(post(&format!("{API}/search"), &wrong), 400, "INVALID_PARAMETER_VALUE").await;
        }
        let status = json!({"run_id": "0".repeat(32), "status": "DONE"});
        server.refuses(post(&format!("{API}/update"), &status), 400, "INVALID_PARAMETER_VALUE").await;
        let absent = format!("{API}/get?run_id={}", "0".repeat(32));
        server.refuses(get(&absent), 404, "RESOURCE_DOES_NOT_EXIST").await;
        server.refuses(get(&format!("{API}/get?run_id=../x")), 400, "INVALID_PARAMETER_VALUE").await;
    }
}
