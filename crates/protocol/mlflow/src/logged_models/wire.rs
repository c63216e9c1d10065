use std::collections::BTreeMap;

use ropewalk_tracking::{LoggedModel, LoggedModelMetric, LoggedModelStatus};
use serde::Serialize;

use crate::wire::number::Double;

/// `LoggedModel`.
#[derive(Debug, Serialize)]
pub(super) struct LoggedModelOut<'a> {
    info: Info<'a>,
    data: Data<'a>,
}

/// `LoggedModelInfo`.
#[derive(Debug, Serialize)]
struct Info<'a> {
    model_id: String,
    experiment_id: String,
    name: &'a str,
    creation_timestamp_ms: i64,
    last_updated_timestamp_ms: i64,
    artifact_uri: &'a str,
    status: &'static str,
    model_type: &'a str,
    source_run_id: String,
    #[serde(skip_serializing_if = "str::is_empty")]
    status_message: &'a str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tags: Vec<Pair<'a>>,
}

/// `LoggedModelData`.
#[derive(Debug, Serialize)]
struct Data<'a> {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    params: Vec<Pair<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    metrics: Vec<Measured<'a>>,
}

/// `LoggedModelParameter` and `LoggedModelTag`.
#[derive(Debug, Serialize)]
struct Pair<'a> {
    key: &'a str,
    value: &'a str,
}

fn pairs(map: &BTreeMap<String, String>) -> Vec<Pair<'_>> {
    map.iter().map(|(key, value)| Pair { key, value }).collect()
}

/// `Metric` of a logged model.
#[derive(Debug, Serialize)]
struct Measured<'a> {
    key: &'a str,
    value: Double,
    timestamp: i64,
    step: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    dataset_name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dataset_digest: Option<&'a str>,
    model_id: String,
    run_id: String,
}

impl<'a> From<&'a LoggedModel> for LoggedModelOut<'a> {
    fn from(model: &'a LoggedModel) -> Self {
        let info = Info {
            model_id: model.id.to_string(),
            experiment_id: model.experiment.to_string(),
            name: &model.name,
            creation_timestamp_ms: model.created.0,
            last_updated_timestamp_ms: model.updated.0,
            artifact_uri: &model.artifact_uri,
            status: LoggedModelStatus::wire(model.status),
            model_type: &model.model_type,
            source_run_id: model.source_run.map(|run| run.to_string()).unwrap_or_default(),
            status_message: &model.status_message,
            tags: pairs(&model.tags),
        };
        let metrics = model.metrics.iter().map(|metric| measured(model, metric)).collect();
        Self { info, data: Data { params: pairs(&model.params), metrics } }
    }
}

fn measured<'a>(model: &LoggedModel, metric: &'a LoggedModelMetric) -> Measured<'a> {
    let dataset = metric.dataset.as_ref();
    let given = |text: &'a String| Some(text.as_str()).filter(|text| !text.is_empty());
    Measured {
        key: &metric.key,
        value: Double(metric.value),
        timestamp: metric.at.0,
        step: metric.step,
        dataset_name: dataset.and_then(|(name, _)| given(name)),
        dataset_digest: dataset.and_then(|(_, digest)| given(digest)),
        model_id: model.id.to_string(),
        run_id: metric.run.to_string(),
    }
}
