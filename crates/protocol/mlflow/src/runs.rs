use std::sync::Arc;

use axum::extract::State;
use ropewalk_tracking::{NewRun, Run, RunUpdate, Tag};
use ropewalk_types::{RunId, RunStatus, Timestamp};
use serde::{Deserialize, Serialize};

use crate::answer::{Answer, answer, done};
use crate::request::{Message, Parameters, experiment_id, run_id};
use crate::wire::number::Int64;
use crate::wire::run::{RunInfoOut, RunOut};
use crate::wire::{EnumValue, KeyValue};
use crate::{MlflowError, MlflowState};

#[derive(Debug, Serialize)]
struct Found<'a> {
    run: RunOut<'a>,
}

fn found(run: &Run) -> Answer {
    answer(&Found { run: run.into() })
}

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
    if let Some(hears) = &state.begun {
        hears.begun(run.info.id).await?;
    }
    found(&run)
}

/// `GetRun`, `DeleteRun`, `RestoreRun`.
#[derive(Debug, Deserialize)]
pub(crate) struct ById {
    run_id: Option<String>,
    run_uuid: Option<String>,
}

impl ById {
    fn id(self) -> Result<RunId, MlflowError> {
        run_id(self.run_id, self.run_uuid)
    }
}

pub(crate) async fn get(State(state): State<Arc<MlflowState>>, Parameters(message): Parameters<ById>) -> Answer {
    found(&state.tracking.run_get(message.id()?).await?)
}

pub(crate) async fn delete(State(state): State<Arc<MlflowState>>, Message(message): Message<ById>) -> Answer {
    state.tracking.run_delete(message.id()?).await?;
    Ok(done())
}

pub(crate) async fn restore(State(state): State<Arc<MlflowState>>, Message(message): Message<ById>) -> Answer {
    state.tracking.run_restore(message.id()?).await?;
    Ok(done())
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

#[derive(Debug, Serialize)]
struct Updated<'a> {
    run_info: RunInfoOut<'a>,
}

pub(crate) async fn update(State(state): State<Arc<MlflowState>>, Message(message): Message<Update>) -> Answer {
    let update = RunUpdate {
        status: message.status.as_ref().map(status).transpose()?,
        end: message.end_time.map(|end| Timestamp(end.0)),
        name: message.run_name,
    };
    let run = state.tracking.run_update(run_id(message.run_id, message.run_uuid)?, update).await?;
    answer(&Updated { run_info: (&run).into() })
}

fn status(value: &EnumValue) -> Result<RunStatus, MlflowError> {
    const STATUSES: [RunStatus; 5] =
        [RunStatus::Running, RunStatus::Scheduled, RunStatus::Finished, RunStatus::Failed, RunStatus::Killed];
    value
        .position(&STATUSES.map(RunStatus::as_str))
        .and_then(|position| STATUSES.get(position).copied())
        .ok_or_else(|| MlflowError::invalid("status", &"use RUNNING, SCHEDULED, FINISHED, FAILED or KILLED"))
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use futures::future::BoxFuture;
    use ropewalk_tracking::TrackingError;
    use ropewalk_types::RunId;
    use serde_json::{Value, json};

    use crate::RunBegun;
    use crate::testing::{Server, get, post};

    const API: &str = "/api/2.0/mlflow/runs";

    async fn begin(server: &Server, start: i64) -> Value {
        let create =
            json!({"experiment_id": "0", "start_time": start.to_string(), "user_id": "ada", "run_name": "first"});
        server.ok(post(&format!("{API}/create"), &create)).await["run"].take()
    }

    #[derive(Debug, Default)]
    struct Heard(Mutex<Vec<RunId>>);

    impl RunBegun for Heard {
        fn begun(&self, run: RunId) -> BoxFuture<'_, Result<(), TrackingError>> {
            self.0.lock().expect("lock").push(run);
            Box::pin(std::future::ready(Ok(())))
        }
    }

    #[tokio::test]
    async fn whoever_keeps_something_with_runs_hears_of_each() {
        let heard = Arc::new(Heard::default());
        let hears: Arc<dyn RunBegun> = Arc::<Heard>::clone(&heard);
        let server = Server::with(move |state| state.begun = Some(hears)).await;
        let run = begin(&server, 5).await;
        let ids: Vec<String> = heard.0.lock().expect("lock").iter().map(ToString::to_string).collect();
        assert_eq!(ids, [run["info"]["run_id"].as_str().expect("id")]);
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
        assert_eq!((&found["run"]["inputs"], &found["run"]["outputs"]), (&json!({}), &json!({})));
    }

    #[tokio::test]
    async fn deleted_runs_are_found_only_when_asked_for() {
        let server = Server::new().await;
        let run = begin(&server, 5).await;
        let by_id = json!({"run_id": run["info"]["run_id"]});
        server.ok(post(&format!("{API}/delete"), &by_id)).await;
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
    async fn what_is_wrong_or_absent_is_said() {
        let server = Server::new().await;
        let status = json!({"run_id": "0".repeat(32), "status": "DONE"});
        server.refuses(post(&format!("{API}/update"), &status), 400, "INVALID_PARAMETER_VALUE").await;
        for absent in ["0".repeat(32), "abc".to_owned(), "F".repeat(32)] {
            let message =
                server.refuses(get(&format!("{API}/get?run_id={absent}")), 404, "RESOURCE_DOES_NOT_EXIST").await;
            assert_eq!(message, format!("Run with id={absent} not found"));
        }
        server.refuses(get(&format!("{API}/get?run_id=../x")), 400, "INVALID_PARAMETER_VALUE").await;
        server.refuses(get(&format!("{API}/get")), 400, "INVALID_PARAMETER_VALUE").await;
        let absent = json!({"experiment_id": "7", "start_time": 1});
        server.refuses(post(&format!("{API}/create"), &absent), 404, "RESOURCE_DOES_NOT_EXIST").await;
    }
}
