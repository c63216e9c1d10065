use std::sync::Arc;

use axum::extract::State;
use ropewalk_tracking::{Batch, Metric, Param, Tag, Written};
use ropewalk_types::RunId;
use serde::Deserialize;

use crate::answer::{Answer, done};
use crate::request::{BATCH_CHARACTERS, Few, LONG_MESSAGE_BYTES, Message, required, run_id};
use crate::wire::KeyValue;
use crate::wire::number::{Double, Int64};
use crate::wire::run::MetricIn;
use crate::{MlflowError, MlflowState};

/// MLflow cuts long values and says so in its log; so do we.
fn note(run: RunId, written: &Written) {
    if !written.cut.is_empty() {
        tracing::warn!(%run, keys = ?written.cut, "values were longer than is kept and were cut");
    }
}

/// `LogMetric`. Its fields stand here, not in a flattened part, which serde would first have to hold as a whole.
#[derive(Debug, Deserialize)]
pub(crate) struct LogMetric {
    run_id: Option<String>,
    run_uuid: Option<String>,
    key: Option<String>,
    value: Option<Double>,
    timestamp: Option<Int64>,
    step: Option<Int64>,
    model_id: Option<String>,
    dataset_name: Option<String>,
    dataset_digest: Option<String>,
}

pub(crate) async fn metric(State(state): State<Arc<MlflowState>>, Message(message): Message<LogMetric>) -> Answer {
    let run = run_id(message.run_id, message.run_uuid)?;
    let metric = MetricIn {
        key: message.key,
        value: message.value,
        timestamp: message.timestamp,
        step: message.step,
        model_id: message.model_id,
        dataset_name: message.dataset_name,
        dataset_digest: message.dataset_digest,
    };
    state.tracking.metric_log(run, metric.metric()?).await?;
    Ok(done())
}

/// `LogParam`, `SetTag`, `DeleteTag`.
#[derive(Debug, Deserialize)]
pub(crate) struct PairOf {
    run_id: Option<String>,
    run_uuid: Option<String>,
    key: Option<String>,
    value: Option<String>,
}

pub(crate) async fn param(State(state): State<Arc<MlflowState>>, Message(message): Message<PairOf>) -> Answer {
    let run = run_id(message.run_id, message.run_uuid)?;
    let param = Param::new(required("key", message.key)?, message.value.unwrap_or_default());
    note(run, &state.tracking.param_log(run, param).await?);
    Ok(done())
}

pub(crate) async fn tag(State(state): State<Arc<MlflowState>>, Message(message): Message<PairOf>) -> Answer {
    let run = run_id(message.run_id, message.run_uuid)?;
    let tag = Tag::new(required("key", message.key)?, message.value.unwrap_or_default());
    note(run, &state.tracking.tag_set(run, tag).await?);
    Ok(done())
}

pub(crate) async fn tag_delete(State(state): State<Arc<MlflowState>>, Message(message): Message<PairOf>) -> Answer {
    let run = run_id(message.run_id, message.run_uuid)?;
    state.tracking.tag_delete(run, &required("key", message.key)?).await?;
    Ok(done())
}

/// `LogBatch`.
#[derive(Debug, Deserialize)]
pub(crate) struct LogBatch {
    run_id: Option<String>,
    metrics: Option<Few<MetricIn>>,
    params: Option<Few<KeyValue>>,
    tags: Option<Few<KeyValue>>,
}

pub(crate) async fn batch(
    State(state): State<Arc<MlflowState>>,
    Message(message): Message<LogBatch, LONG_MESSAGE_BYTES>,
) -> Answer {
    let run = run_id(message.run_id, None)?;
    let metrics = message.metrics.map(|metrics| metrics.0).unwrap_or_default().into_iter().enumerate();
    let batch = Batch {
        metrics: metrics
            .map(|(place, metric)| metric.metric_at(place))
            .collect::<Result<Vec<Metric>, MlflowError>>()?,
        params: pairs("params", message.params.map(|params| params.0), |key, value| Param { key, value })?,
        tags: pairs("tags", message.tags.map(|tags| tags.0), |key, value| Tag { key, value })?,
    };
    if is_too_long(&batch) {
        return Err(MlflowError::BatchTooLong { limit: BATCH_CHARACTERS });
    }
    note(run, &state.tracking.batch_log(run, batch).await?);
    Ok(done())
}

fn is_too_long(batch: &Batch) -> bool {
    let total = |length: fn(&str) -> usize| -> usize {
        let metrics = batch.metrics.iter().map(|metric| length(&metric.key));
        let params = batch.params.iter().map(|param| length(&param.key) + length(&param.value));
        let tags = batch.tags.iter().map(|tag| length(&tag.key) + length(&tag.value));
        metrics.chain(params).chain(tags).sum()
    };
    // Bytes are never fewer than characters, and counted already.
    total(str::len) > BATCH_CHARACTERS && total(|text| text.chars().count()) > BATCH_CHARACTERS
}

fn pairs<T>(
    list: &'static str,
    given: Option<Vec<KeyValue>>,
    make: fn(String, String) -> T,
) -> Result<Vec<T>, MlflowError> {
    let one = |(place, pair): (usize, KeyValue)| -> Result<T, MlflowError> {
        let key = pair.key.filter(|key| !key.is_empty());
        let key = key.ok_or(MlflowError::MissingIn { list, place, field: "key" })?;
        Ok(make(key, pair.value.unwrap_or_default()))
    };
    given.unwrap_or_default().into_iter().enumerate().map(one).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::request::BATCH_CHARACTERS;
    use crate::testing::{Server, get, post};

    const API: &str = "/api/2.0/mlflow";

    async fn data(server: &Server, run: &str) -> Value {
        server.ok(get(&format!("{API}/runs/get?run_id={run}"))).await["run"]["data"].take()
    }

    #[tokio::test]
    async fn what_is_logged_comes_back() {
        let (server, run) = Server::with_run().await;
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
    async fn nul_and_lists_for_messages_are_refused() {
        let (server, run) = Server::with_run().await;
        let nul = "a\u{0}b";
        let hostile = [
            ("runs/log-parameter", json!({"run_id": run, "key": "p", "value": nul})),
            ("runs/set-tag", json!({"run_id": run, "key": "t", "value": nul})),
            ("runs/log-batch", json!({"run_id": run, "params": [{"key": "p", "value": nul}]})),
            ("runs/create", json!({"experiment_id": "0", "user_id": nul})),
            ("runs/search", json!({"experiment_ids": ["0"], "filter": format!("params.p = '{nul}'")})),
            ("registered-models/create", json!({"name": "m", "description": nul})),
            ("runs/log-metric", json!([run, run, "m", 1.0, 1])),
        ];
        for (path, message) in hostile {
            server.refuses(post(&format!("{API}/{path}"), &message), 400, "INVALID_PARAMETER_VALUE").await;
        }
        let history = get(&format!("{API}/metrics/get-history?run_id={run}&metric_key=a%00b"));
        server.refuses(history, 400, "INVALID_PARAMETER_VALUE").await;
        assert!(data(&server, &run).await["params"].as_array().is_none_or(Vec::is_empty));
    }

    #[tokio::test]
    async fn a_changed_param_names_both_values() {
        let (server, run) = Server::with_run().await;
        let param = |value: &str| {
            post(&format!("{API}/runs/log-parameter"), &json!({"run_id": run, "key": "p", "value": value}))
        };
        server.ok(param("1")).await;
        server.ok(param("1")).await;
        let message = server.refuses(param("2"), 400, "INVALID_PARAMETER_VALUE").await;
        assert!(message.starts_with("Changing param values is not allowed."), "{message}");
        assert!(message.contains("value='1'") && message.contains("value '2'"), "{message}");
    }

    #[tokio::test]
    async fn a_batch_is_all_or_nothing() {
        let (server, run) = Server::with_run().await;
        let before = data(&server, &run).await;
        let metric = |key: &str| json!({"key": key, "value": "NaN", "timestamp": 1});
        let bad = [
            json!({"run_id": run, "metrics": [metric("a"), metric("../x")]}),
            json!({"run_id": run, "metrics": [metric("a"), {"key": "b", "timestamp": 1}]}),
            json!({"run_id": run, "metrics": [metric("a")], "params": [{"key": "p"}, {"key": "p"}]}),
            json!({"run_id": run, "metrics": (0..1001).map(|n| metric(&n.to_string())).collect::<Vec<_>>()}),
            json!({"run_id": run, "metrics": [metric("a")], "tags": [{"value": "x"}]}),
            json!({"run_id": run, "metrics": [{"key": "b", "value": 1, "timestamp": 1, "dataset_name": "d"}]}),
            json!({"run_id": run, "metrics": (0..950).map(|n| metric(&n.to_string())).collect::<Vec<_>>(),
                   "tags": (0..51).map(|n| json!({"key": n.to_string(), "value": ""})).collect::<Vec<_>>()}),
            json!({"run_id": run, "tags": [{"key": "t", "value": "x".repeat(BATCH_CHARACTERS)}]}),
            json!({"run_id": run, "tags": vec![json!({}); 10_001]}),
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
    async fn a_batch_is_measured_in_characters_of_what_it_says() {
        let (server, run) = Server::with_run().await;
        // As Python's `json.dumps` writes them: 12 bytes each.
        let long = "\\ud83d\\ude00".repeat(8_000);
        let tags: Vec<String> = (0..100).map(|n| format!("{{\"key\": \"t{n}\", \"value\": \"{long}\"}}")).collect();
        let mut request = post(&format!("{API}/runs/log-batch"), &json!({}));
        *request.body_mut() = format!("{{\"run_id\": \"{run}\", \"tags\": [{}]}}", tags.join(",")).into();
        server.ok(request).await;
        let tags = data(&server, &run).await["tags"].take();
        let kept = tags.as_array().expect("tags").iter().find(|tag| tag["key"] == "t99").expect("kept");
        assert_eq!(kept["value"].as_str().map(|value| value.chars().count()), Some(8_000));
    }

    #[tokio::test]
    async fn what_a_batch_lacks_is_said_with_its_place() {
        let (server, run) = Server::with_run().await;
        let batch = json!({"run_id": run, "params": [{"key": "a"}, {"value": "b"}]});
        let message =
            server.refuses(post(&format!("{API}/runs/log-batch"), &batch), 400, "INVALID_PARAMETER_VALUE").await;
        assert_eq!(message, "Missing value for required parameter 'params[1].key'");
        let batch = json!({"run_id": run, "metrics": [{"key": "a", "value": 1, "step": 1}]});
        let message =
            server.refuses(post(&format!("{API}/runs/log-batch"), &batch), 400, "INVALID_PARAMETER_VALUE").await;
        assert_eq!(message, "Missing value for required parameter 'metrics[0].timestamp'");
    }

    #[tokio::test]
    async fn a_body_that_is_no_message_is_refused() {
        let (server, run) = Server::with_run().await;
        let path = format!("{API}/runs/log-metric");
        let raw = |body: &str, kind: &str| {
            let mut request = post(&path, &json!({}));
            *request.body_mut() = body.to_owned().into();
            request.headers_mut().insert("content-type", kind.parse().expect("type"));
            request
        };
        server.refuses(raw("{\"run_id\": ", "application/json"), 400, "BAD_REQUEST").await;
        server.refuses(raw("{}", "text/plain"), 400, "INVALID_PARAMETER_VALUE").await;
        server.refuses(raw("", "application/json; charset=utf-8"), 400, "INVALID_PARAMETER_VALUE").await;
        server.refuses(raw("[1, 2]", "application/json"), 400, "INVALID_PARAMETER_VALUE").await;
        let metric = json!({"run_id": run, "key": "m", "value": "much", "timestamp": 1});
        server.refuses(post(&path, &metric), 400, "INVALID_PARAMETER_VALUE").await;
        let deep = format!("{{\"deep\": {}{}}}", "[".repeat(10_000), "]".repeat(10_000));
        // What is not known is passed over, however deep.
        server.refuses(raw(&deep, "application/json"), 400, "INVALID_PARAMETER_VALUE").await;
        let deep = deep.replace("deep", "key");
        server.refuses(raw(&deep, "application/json"), 400, "INVALID_PARAMETER_VALUE").await;
    }
}
