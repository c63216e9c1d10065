use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::State;
use ropewalk_tracking::{DatasetInput, DatasetSummary, ModelOutput, Tag};
use ropewalk_types::ExperimentId;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::answer::{Answer, answer, done};
use crate::request::{LONG_MESSAGE_BYTES, Message, experiment_id, required, run_id};
use crate::wire::number::Int64;
use crate::wire::{KeyValue, Text};
use crate::{MlflowError, MlflowState};

/// Most experiments in one search of datasets.
const EXPERIMENTS: usize = 20;

/// `LogInputs`.
#[derive(Debug, Deserialize)]
pub(crate) struct LogInputs {
    run_id: Option<String>,
    datasets: Option<Vec<DatasetInputIn>>,
    models: Option<Vec<ModelIn>>,
}

/// `DatasetInput`.
#[derive(Debug, Deserialize)]
struct DatasetInputIn {
    tags: Option<Vec<KeyValue>>,
    dataset: Option<DatasetIn>,
}

/// `Dataset`.
#[derive(Debug, Deserialize)]
struct DatasetIn {
    name: Option<String>,
    digest: Option<String>,
    source_type: Option<String>,
    source: Option<String>,
    schema: Option<String>,
    profile: Option<String>,
}

/// `ModelInput`, `ModelOutput`.
#[derive(Debug, Deserialize)]
struct ModelIn {
    model_id: Option<String>,
    step: Option<Int64>,
}

impl DatasetInputIn {
    fn input(self, place: usize) -> Result<DatasetInput, MlflowError> {
        let missing = MlflowError::MissingIn { list: "datasets", place, field: "dataset" };
        let dataset = self.dataset.ok_or(missing)?;
        Ok(DatasetInput {
            name: dataset.name.unwrap_or_default(),
            digest: dataset.digest.unwrap_or_default(),
            source_type: dataset.source_type.unwrap_or_default(),
            source: dataset.source.unwrap_or_default(),
            schema: dataset.schema.filter(|schema| !schema.is_empty()),
            profile: dataset.profile.filter(|profile| !profile.is_empty()),
            tags: self.tags.unwrap_or_default().into_iter().map(Tag::from).collect(),
        })
    }
}

fn model((place, model): (usize, ModelIn)) -> Result<ModelOutput, MlflowError> {
    let missing = MlflowError::MissingIn { list: "models", place, field: "model_id" };
    let id = model.model_id.filter(|id| !id.is_empty()).ok_or(missing)?;
    Ok(ModelOutput { model: id, step: model.step.map_or(0, |step| step.0) })
}

pub(crate) async fn log_inputs(
    State(state): State<Arc<MlflowState>>,
    Message(message): Message<LogInputs, LONG_MESSAGE_BYTES>,
) -> Answer {
    let run = run_id(message.run_id, None)?;
    let datasets = message.datasets.unwrap_or_default().into_iter().enumerate();
    let datasets = datasets.map(|(place, dataset)| dataset.input(place)).collect::<Result<Vec<_>, MlflowError>>()?;
    let models = message.models.unwrap_or_default().into_iter().enumerate().map(model);
    let models = models.map(|model| model.map(|one| one.model)).collect::<Result<Vec<String>, MlflowError>>()?;
    state.tracking.inputs_log(run, datasets, models).await?;
    Ok(done())
}

/// `LogOutputs`.
#[derive(Debug, Deserialize)]
pub(crate) struct LogOutputs {
    run_id: Option<String>,
    models: Option<Vec<ModelIn>>,
}

pub(crate) async fn log_outputs(
    State(state): State<Arc<MlflowState>>,
    Message(message): Message<LogOutputs>,
) -> Answer {
    let run = run_id(message.run_id, None)?;
    let models = message.models.ok_or(MlflowError::Missing("models"))?;
    let models = models.into_iter().enumerate().map(model).collect::<Result<Vec<ModelOutput>, MlflowError>>()?;
    state.tracking.outputs_log(run, models).await?;
    Ok(done())
}

/// `LogModel`.
#[derive(Debug, Deserialize)]
pub(crate) struct LogModel {
    run_id: Option<String>,
    model_json: Option<String>,
}

/// What the tag of a run keeps of a model (`Model.get_tags_dict` in `mlflow/models/model.py`).
#[derive(Debug, Deserialize, Serialize)]
#[expect(clippy::struct_field_names, reason = "MLmodel's own names")]
struct Model {
    #[serde(skip_serializing_if = "Option::is_none")]
    run_id: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    artifact_path: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    utc_time_created: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    model_uuid: Option<Value>,
    flavors: Option<BTreeMap<String, Value>>,
}

pub(crate) async fn log_model(
    State(state): State<Arc<MlflowState>>,
    Message(message): Message<LogModel, LONG_MESSAGE_BYTES>,
) -> Answer {
    let run = run_id(message.run_id, None)?;
    let text = required("model_json", message.model_json)?;
    state.tracking.model_record(run, kept(&text)?).await?;
    Ok(done())
}

fn kept(model_json: &str) -> Result<String, MlflowError> {
    let malformed =
        |error: serde_json::Error| MlflowError::invalid("model_json", &format!("Malformed model info: {error}"));
    let mut model: Model = serde_json::from_str(model_json).map_err(malformed)?;
    let given = [
        ("artifact_path", model.artifact_path.is_some()),
        ("flavors", model.flavors.is_some()),
        ("utc_time_created", model.utc_time_created.is_some()),
        ("run_id", model.run_id.is_some()),
    ];
    let missing: Vec<&str> = given.into_iter().filter(|(_, given)| !given).map(|(field, _)| field).collect();
    if !missing.is_empty() {
        let reason = format!("Model json is missing mandatory fields: {}", missing.join(", "));
        return Err(MlflowError::invalid("model_json", &reason));
    }
    for flavor in model.flavors.iter_mut().flat_map(BTreeMap::values_mut) {
        if let Value::Object(flavor) = flavor {
            flavor.remove("config");
        }
    }
    serde_json::to_string(&model).map_err(MlflowError::Answer)
}

/// `SearchDatasets`.
#[derive(Debug, Deserialize)]
pub(crate) struct SearchDatasets {
    experiment_ids: Option<Vec<String>>,
}

#[derive(Debug, Serialize)]
struct FoundDatasets<'a> {
    dataset_summaries: Vec<SummaryOut<'a>>,
}

/// `DatasetSummary`.
#[derive(Debug, Serialize)]
struct SummaryOut<'a> {
    experiment_id: Text<ExperimentId>,
    name: &'a str,
    digest: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    context: Option<&'a str>,
}

impl<'a> From<&'a DatasetSummary> for SummaryOut<'a> {
    fn from(summary: &'a DatasetSummary) -> Self {
        Self {
            experiment_id: Text(summary.experiment),
            name: &summary.name,
            digest: &summary.digest,
            context: summary.context.as_deref(),
        }
    }
}

pub(crate) async fn search_datasets(
    State(state): State<Arc<MlflowState>>,
    Message(message): Message<SearchDatasets>,
) -> Answer {
    let ids = message.experiment_ids.unwrap_or_default();
    if ids.is_empty() || ids.len() > EXPERIMENTS {
        let reason = format!("the request must specify 1 to {EXPERIMENTS} experiment_ids. Received {}", ids.len());
        return Err(MlflowError::invalid("experiment_ids", &reason));
    }
    let experiments = ids.iter().map(|id| experiment_id(id)).collect::<Result<Vec<ExperimentId>, MlflowError>>()?;
    let found = state.tracking.dataset_summaries(experiments).await?;
    answer(&FoundDatasets { dataset_summaries: found.iter().map(SummaryOut::from).collect() })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::testing::{Server, get, post};

    const API: &str = "/api/2.0/mlflow";

    async fn run(server: &Server, run: &str) -> Value {
        server.ok(get(&format!("{API}/runs/get?run_id={run}"))).await["run"].take()
    }

    #[tokio::test]
    async fn inputs_and_outputs_come_back_with_the_run() {
        let (server, id) = Server::with_run().await;
        let tags = json!([{"key": "mlflow.data.context", "value": "train"}]);
        let dataset = json!({"name": "d", "digest": "dd", "source_type": "local", "source": "{}"});
        let inputs =
            json!({"run_id": id, "datasets": [{"tags": tags, "dataset": dataset}], "models": [{"model_id": "m-1"}]});
        server.ok(post(&format!("{API}/runs/log-inputs"), &inputs)).await;
        let outputs = json!({"run_id": id, "models": [{"model_id": "m-2", "step": "3"}]});
        server.ok(post(&format!("{API}/runs/outputs"), &outputs)).await;
        let found = run(&server, &id).await;
        let expected = json!({
            "dataset_inputs": [{"tags": tags, "dataset": dataset}],
            "model_inputs": [{"model_id": "m-1"}]
        });
        assert_eq!(found["inputs"], expected);
        assert_eq!(found["outputs"], json!({"model_outputs": [{"model_id": "m-2", "step": 3}]}));
        let search = post(&format!("{API}/experiments/search-datasets"), &json!({"experiment_ids": ["0"]}));
        let summary = json!([{"experiment_id": "0", "name": "d", "digest": "dd", "context": "train"}]);
        assert_eq!(server.ok(search).await["dataset_summaries"], summary);
        for (path, wrong) in [
            ("runs/log-inputs", json!({"run_id": id, "datasets": [{"tags": []}]})),
            ("runs/outputs", json!({"run_id": id})),
            ("runs/outputs", json!({"run_id": id, "models": [{}]})),
            ("experiments/search-datasets", json!({})),
        ] {
            server.refuses(post(&format!("{API}/{path}"), &wrong), 400, "INVALID_PARAMETER_VALUE").await;
        }
    }

    #[tokio::test]
    async fn models_of_older_clients_are_listed_in_a_tag() {
        let (server, id) = Server::with_run().await;
        let log = |model: &Value| {
            post(&format!("{API}/runs/log-model"), &json!({"run_id": id, "model_json": model.to_string()}))
        };
        let model = json!({
            "artifact_path": "m", "run_id": id, "utc_time_created": "2020", "model_uuid": "u", "signature": null,
            "flavors": {"python_function": {"config": 1, "code": "x"}}
        });
        server.ok(log(&model)).await;
        server.ok(log(&model)).await;
        let found = run(&server, &id).await;
        let text = found["data"]["tags"][0]["value"].as_str().expect("tag");
        let kept = json!({
            "artifact_path": "m", "run_id": id, "utc_time_created": "2020", "model_uuid": "u",
            "flavors": {"python_function": {"code": "x"}}
        });
        assert_eq!(serde_json::from_str::<Value>(text).expect("list"), json!([kept, kept]));
        let message = server.refuses(log(&json!({"run_id": id, "flavors": {}})), 400, "INVALID_PARAMETER_VALUE").await;
        assert!(message.ends_with("missing mandatory fields: artifact_path, utc_time_created"), "{message}");
        server.refuses(log(&json!([])), 400, "INVALID_PARAMETER_VALUE").await;
    }
}
