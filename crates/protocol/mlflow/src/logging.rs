use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use ropewalk_tracking::{Batch, Metric, Param, Tag, Written};
use ropewalk_types::RunId;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::request::{Message, Parameters, required, run_id};
use crate::wire::number::Int64;
use crate::wire::run::{MetricIn, MetricOut};
use crate::wire::{KeyValue, page_size};
use crate::{MlflowError, MlflowState};

type Answer = Result<Json<Value>, MlflowError>;

/// A message about one run.
#[derive(Debug, Deserialize)]
pub(crate) struct About<T> {
    run_id: Option<String>,
    run_uuid: Option<String>,
    #[serde(flatten)]
    what: T,
}

impl<T> About<T> {
    fn run(&mut self) -> Result<RunId, MlflowError> {
        run_id(self.run_id.take(), self.run_uuid.take())
    }
}

/// MLflow cuts long values and says so in its log; so do we.
fn note(run: RunId, written: &Written) {
    if !written.cut.is_empty() {
        tracing::warn!(%run, keys = ?written.cut, "values were longer than is kept and were cut");
    }
}

/// `LogMetric`.
pub(crate) async fn metric(
    State(state): State<Arc<MlflowState>>,
    Message(mut message): Message<About<MetricIn>>,
) -> Answer {
    let run = message.run()?;
    state.tracking.metric_log(run, message.what.metric()?).await?;
    Ok(Json(json!({})))
}

/// `LogParam`.
pub(crate) async fn param(
    State(state): State<Arc<MlflowState>>,
    Message(mut message): Message<About<KeyValue>>,
) -> Answer {
    let run = message.run()?;
    let param = Param::new(required("key", message.what.key)?, message.what.value.unwrap_or_default());
    note(run, &state.tracking.param_log(run, param).await?);
    Ok(Json(json!({})))
}

/// `SetTag`.
pub(crate) async fn tag(
    State(state): State<Arc<MlflowState>>,
    Message(mut message): Message<About<KeyValue>>,
) -> Answer {
    let run = message.run()?;
    let tag = Tag::new(required("key", message.what.key)?, message.what.value.unwrap_or_default());
    note(run, &state.tracking.tag_set(run, tag).await?);
    Ok(Json(json!({})))
}

/// `DeleteTag`.
pub(crate) async fn tag_delete(
    State(state): State<Arc<MlflowState>>,
    Message(mut message): Message<About<KeyValue>>,
) -> Answer {
    let run = message.run()?;
    state.tracking.tag_delete(run, &required("key", message.what.key)?).await?;
    Ok(Json(json!({})))
}

/// `LogBatch`.
#[derive(Debug, Deserialize)]
pub(crate) struct LogBatch {
    run_id: Option<String>,
    metrics: Option<Vec<MetricIn>>,
    params: Option<Vec<KeyValue>>,
    tags: Option<Vec<KeyValue>>,
}

pub(crate) async fn batch(State(state): State<Arc<MlflowState>>, Message(message): Message<LogBatch>) -> Answer {
    let run = run_id(message.run_id, None)?;
    let metrics = message.metrics.unwrap_or_default().into_iter().map(MetricIn::metric);
    let params = message.params.unwrap_or_default().into_iter();
    let batch = Batch {
        metrics: metrics.collect::<Result<Vec<Metric>, _>>()?,
        params: params.map(|pair| Param::new(pair.key.unwrap_or_default(), pair.value.unwrap_or_default())).collect(),
        tags: message.tags.unwrap_or_default().into_iter().map(Tag::from).collect(),
    };
    note(run, &state.tracking.batch_log(run, batch).await?);
    Ok(Json(json!({})))
}

/// `GetMetricHistory`.
#[derive(Debug, Deserialize)]
pub(crate) struct GetHistory {
    run_id: Option<String>,
    run_uuid: Option<String>,
    metric_key: Option<String>,
    max_results: Option<Int64>,
    page_token: Option<String>,
}

pub(crate) async fn history(
    State(state): State<Arc<MlflowState>>,
    Parameters(message): Parameters<GetHistory>,
) -> Answer {
    let run = run_id(message.run_id, message.run_uuid)?;
    let key = required("metric_key", message.metric_key)?;
    let token = message.page_token.as_deref().filter(|token| !token.is_empty());
    let after = token.map(str::parse).transpose().map_err(|error| MlflowError::invalid("page_token", &error))?;
    let limit = page_size(message.max_results, ropewalk_tracking::HISTORY_PAGE, i32::MAX as usize)?;
    let page = state.tracking.metric_history(run, &key, after, limit).await?;
    let metrics: Vec<_> = page.metrics.iter().map(MetricOut::from).collect();
    let mut answer = json!({ "metrics": metrics });
    if let Some(next) = page.next {
        answer["next_page_token"] = json!(next.to_string());
    }
    Ok(Json(answer))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::request::MESSAGE_BYTES;
    use crate::testing::{Server, get, post};

    const API: &str = "/api/2.0/mlflow";

    async fn server_with_run() -> (Server, String) {
        let server = Server::new().await;
        let run = server.ok(post(&format!("{API}/runs/create"), &json!({"experiment_id": "0", "start_time": 1}))).await;
        let id = run["run"]["info"]["run_id"].as_str().expect("id").to_owned();
        (server, id)
    }

    async fn data(server: &Server, run: &str) -> Value {
        server.ok(get(&format!("{API}/runs/get?run_id={run}"))).await["run"]["data"].take()
    }

    #[tokio::test]
    async fn what_is_logged_comes_back() {
        let (server, run) = server_with_run().await;
        let metric = json!({"run_id": run, "run_uuid": run, "key": "auc", "value": 0.5, "timestamp": "7", "step": "3"});
        server.ok(post(&format!("{API}/runs/log-metric"), &metric)).await;
        server
            .ok(post(&format!("{API}/runs/log-parameter"), &json!({"run_id": run, "key": "depth", "value": "6"})))
            .await;
        server.ok(post(&format!("{API}/runs/set-tag"), &json!({"run_uuid": run, "key": "k", "value": "v"}))).await;
        let data = data(&server, &run).await;
        assert_eq!(data["metrics"], json!([{"key": "auc", "value": 0.5, "timestamp": 7, "step": 3}]));
        assert_eq!(data["params"], json!([{"key": "depth", "value": "6"}]));
        assert_eq!(data["tags"][0], json!({"key": "k", "value": "v"}));
        let delete = json!({"run_id": run, "key": "k"});
        server.ok(post(&format!("{API}/runs/delete-tag"), &delete)).await;
        server.refuses(post(&format!("{API}/runs/delete-tag"), &delete), 404, "RESOURCE_DOES_NOT_EXIST").await;
    }

    #[tokio::test]
    async fn a_changed_param_names_both_values() {
        let (server, run) = server_with_run().await;
        let param = |value: &str| {
            post(&format!("{API}/runs/log-parameter"), &json!({"run_id": run, "key": "p", "value": value}))
        };
        server.ok(param("1")).await;
        server.ok(param("1")).await;
        let message = server.refuses(param("2"), 400, "INVALID_PARAMETER_VALUE").await;
        assert!(message.contains("`1`") && message.contains("`2`"), "{message}");
    }

    #[tokio::test]
    async fn a_batch_is_all_or_nothing() {
        let (server, run) = server_with_run().await;
        let before = data(&server, &run).await;
        let metric = |key: &str| json!({"key": key, "value": "NaN", "timestamp": 1});
        let bad = [
            json!({"run_id": run, "metrics": [metric("a"), metric("../x")]}),
            json!({"run_id": run, "metrics": [metric("a"), {"key": "b", "timestamp": 1}]}),
            json!({"run_id": run, "metrics": [metric("a")], "params": [{"key": "p"}, {"key": "p"}]}),
            json!({"run_id": run, "metrics": (0..1001).map(|n| metric(&n.to_string())).collect::<Vec<_>>()}),
            json!({"run_id": run, "metrics": [{"key": "a", "value": 1, "timestamp": 1, "model_id": "m-1"}]}),
            json!({"run_id": run, "tags": [{"key": "t", "value": "x".repeat(MESSAGE_BYTES)}]}),
        ];
        for batch in bad {
            server.refuses(post(&format!("{API}/runs/log-batch"), &batch), 400, "INVALID_PARAMETER_VALUE").await;
        }
        assert_eq!(data(&server, &run).await, before);
        let good =
            json!({"run_id": run, "metrics": [metric("a")], "params": [{"key": "p", "value": null}], "unknown": 1});
        server.ok(post(&format!("{API}/runs/log-batch"), &good)).await;
        let after = data(&server, &run).await;
        assert_eq!((&after["metrics"][0]["value"], &after["params"][0]["value"]), (&json!("NaN"), &json!("")));
    }

    #[tokio::test]
    async fn history_comes_in_pages() {
        let (server, run) = server_with_run().await;
        let metrics: Vec<_> = (0..5).map(|n| json!({"key": "m", "value": n, "timestamp": n, "step": -n})).collect();
        server.ok(post(&format!("{API}/runs/log-batch"), &json!({"run_id": run, "metrics": metrics}))).await;
        let path = format!("{API}/metrics/get-history?run_id={run}&metric_key=m");
        assert_eq!(server.ok(get(&path)).await["metrics"].as_array().expect("all").len(), 5);
        let first = server.ok(get(&format!("{path}&max_results=3"))).await;
        let token = first["next_page_token"].as_str().expect("token");
        let rest = server.ok(get(&format!("{path}&max_results=3&page_token={token}"))).await;
        assert_eq!(
            rest["metrics"],
            json!([
                {"key": "m", "value": 3.0, "timestamp": 3, "step": -3}, {"key": "m", "value": 4.0, "timestamp": 4, "step": -4}
            ])
        );
        for wrong in ["&max_results=0", "&page_token=x", "&max_results=x"] {
            server.refuses(get(&format!("{path}{wrong}")), 400, "INVALID_PARAMETER_VALUE").await;
        }
    }

    #[tokio::test]
    async fn a_body_that_is_no_message_is_refused() {
        let (server, run) = server_with_run().await;
        let path = format!("{API}/runs/log-metric");
        let raw = |body: &str, kind: &str| {
            let mut request = post(&path, &json!({}));
            *request.body_mut() = body.to_owned().into();
            request.headers_mut().insert("content-type", kind.parse().expect("type"));
            request
        };
        server.refuses(raw("{\"run_id\": ", "application/json"), 400, "BAD_REQUEST").await;
        server.refuses(raw("{}", "text/plain"), 400, "BAD_REQUEST").await;
        server.refuses(raw("", "application/json; charset=utf-8"), 400, "INVALID_PARAMETER_VALUE").await;
        server.refuses(raw("[1, 2]", "application/json"), 400, "INVALID_PARAMETER_VALUE").await;
        let metric = json!({"run_id": run, "key": "m", "value": "much", "timestamp": 1});
        server.refuses(post(&path, &metric), 400, "INVALID_PARAMETER_VALUE").await;
        let deep = format!("{{\"deep\": {}{}}}", "[".repeat(10_000), "]".repeat(10_000));
        server.refuses(raw(&deep, "application/json"), 400, "BAD_REQUEST").await;
    }
}
