//! Records in the shape of MLflow's REST API as ours.

use std::collections::BTreeMap;

use ropewalk_mlflow::{span_of, spans_of, trace_info_of};
use ropewalk_registry::{TakenModel, TakenVersion};
use ropewalk_tracking::{
    DatasetInput, LoggedModel, LoggedModelMetric, LoggedModelStatus, Metric, ModelOutput, Param, Tag, TakenExperiment,
    TakenRun, TakenTrace,
};
use ropewalk_types::{ExperimentId, ModelName, RunId, RunStatus, Timestamp};
use serde_json::Value;

use super::unreadable;
use crate::ServerError;

/// A text of a record; empty if it is absent.
pub(super) fn text(record: &Value, name: &str) -> String {
    some_text(record, name).unwrap_or_default()
}

/// A text of a record, if it is there and not empty.
fn some_text(record: &Value, name: &str) -> Option<String> {
    let found = match &record[name] {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        _ => return None,
    };
    (!found.is_empty()).then_some(found)
}

/// A whole number, which JSON may carry as text.
pub(super) fn whole(record: &Value, name: &str) -> Option<i64> {
    match &record[name] {
        Value::Number(number) => number.as_i64(),
        Value::String(text) => text.parse().ok(),
        _ => None,
    }
}

/// A number, which JSON carries as text where it is not finite.
fn number(value: &Value) -> f64 {
    match value {
        Value::Number(number) => number.as_f64().unwrap_or(f64::NAN),
        Value::String(text) => text.parse().unwrap_or(f64::NAN),
        _ => f64::NAN,
    }
}

fn moment(record: &Value, name: &str) -> Timestamp {
    Timestamp(whole(record, name).unwrap_or(0))
}

fn entries(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn pairs(value: &Value) -> BTreeMap<String, String> {
    entries(value).iter().map(|pair| (text(pair, "key"), text(pair, "value"))).collect()
}

fn tags(value: &Value) -> Vec<Tag> {
    pairs(value).into_iter().map(|(key, value)| Tag::new(key, value)).collect()
}

fn experiment_id(record: &Value) -> Result<ExperimentId, ServerError> {
    text(record, "experiment_id").parse().map_err(unreadable)
}

fn is_deleted(record: &Value) -> bool {
    text(record, "lifecycle_stage") == "deleted"
}

/// An experiment; `stays` is where its artifacts are, if they are not taken over.
pub(super) fn experiment(record: &Value, stays: Option<String>) -> Result<TakenExperiment, ServerError> {
    Ok(TakenExperiment {
        id: experiment_id(record)?,
        name: text(record, "name"),
        created: moment(record, "creation_time"),
        updated: moment(record, "last_update_time"),
        deleted: is_deleted(record),
        artifact_location: stays,
        tags: tags(&record["tags"]),
    })
}

/// A run without its points.
pub(super) fn run(record: &Value) -> Result<TakenRun, ServerError> {
    let (info, data) = (&record["info"], &record["data"]);
    let model_outputs = entries(&record["outputs"]["model_outputs"]).iter();
    let model_inputs = entries(&record["inputs"]["model_inputs"]).iter();
    Ok(TakenRun {
        id: text(info, "run_id").parse().map_err(unreadable)?,
        experiment: experiment_id(info)?,
        name: text(info, "run_name"),
        user: text(info, "user_id"),
        status: status(info)?,
        start: moment(info, "start_time"),
        end: whole(info, "end_time").filter(|end| *end > 0).map(Timestamp),
        deleted: is_deleted(info),
        params: pairs(&data["params"]).into_iter().map(|(key, value)| Param::new(key, value)).collect(),
        tags: tags(&data["tags"]),
        datasets: entries(&record["inputs"]["dataset_inputs"]).iter().map(dataset).collect(),
        model_inputs: model_inputs.map(|one| text(one, "model_id")).collect(),
        model_outputs: model_outputs
            .map(|one| ModelOutput { model: text(one, "model_id"), step: whole(one, "step").unwrap_or(0) })
            .collect(),
    })
}

/// A run's state by its name, or by the number that MLflow's folders have.
fn status(info: &Value) -> Result<RunStatus, ServerError> {
    let name = match text(info, "status").as_str() {
        "" | "1" => "RUNNING",
        "2" => "SCHEDULED",
        "3" => "FINISHED",
        "4" => "FAILED",
        "5" => "KILLED",
        name => return name.parse().map_err(unreadable),
    };
    name.parse().map_err(unreadable)
}

fn dataset(record: &Value) -> DatasetInput {
    let found = &record["dataset"];
    DatasetInput {
        name: text(found, "name"),
        digest: text(found, "digest"),
        source_type: text(found, "source_type"),
        source: text(found, "source"),
        schema: some_text(found, "schema"),
        profile: some_text(found, "profile"),
        tags: tags(&record["tags"]),
    }
}

/// A trace, with its spans as far as they are given.
pub(super) fn trace(mut record: Value) -> Result<TakenTrace, ServerError> {
    let info = trace_info_of(record["info"].take(), Timestamp(0)).map_err(unreadable)?;
    let mut spans = BTreeMap::new();
    for content in texts(&record["spans"]) {
        let span = span_of(&info.id, content).map_err(unreadable)?;
        spans.insert(span.id.clone(), span);
    }
    if let Some(file) = record["spans_file"].as_str() {
        for span in spans_of(&info.id, file).map_err(unreadable)? {
            spans.insert(span.id.clone(), span);
        }
    }
    let spans = spans.into_values().collect();
    Ok(TakenTrace { info, spans, runs: texts(&record["runs"]), prompts: texts(&record["prompts"]) })
}

fn texts(value: &Value) -> Vec<String> {
    entries(value).iter().filter_map(|text| text.as_str().map(str::to_owned)).collect()
}

/// The keys of the metrics that a run has.
pub(super) fn metric_keys(run: &Value) -> Vec<String> {
    entries(&run["data"]["metrics"]).iter().map(|metric| text(metric, "key")).collect()
}

/// A point of a metric.
pub(super) fn metric(key: &str, point: &Value) -> Metric {
    Metric::new(key, number(&point["value"]), whole(point, "step").unwrap_or(0), moment(point, "timestamp"))
}

/// A logged model whose files are at `uri`; runs that it names and that cannot be runs are told in `left`.
pub(super) fn logged_model(record: &Value, uri: String, left: &mut Vec<String>) -> Result<LoggedModel, ServerError> {
    let (info, data) = (&record["info"], &record["data"]);
    let id = text(info, "model_id");
    let mut metrics = Vec::new();
    for metric in entries(&data["metrics"]) {
        match model_metric(metric) {
            Ok(metric) => metrics.push(metric),
            Err(error) => left.push(format!("a metric of logged model {id}: {error}")),
        }
    }
    // MLflow takes any text for it.
    let source = some_text(info, "source_run_id");
    let source_run: Option<RunId> = source.as_deref().and_then(|run| run.parse().ok());
    if let (Some(source), None) = (source, source_run) {
        left.push(format!("the source run of logged model {id}: there can be no run `{source}`"));
    }
    Ok(LoggedModel {
        id: id.parse().map_err(unreadable)?,
        experiment: experiment_id(info)?,
        name: text(info, "name"),
        model_type: text(info, "model_type"),
        source_run,
        artifact_uri: uri,
        status: LoggedModelStatus::of(&text(info, "status")).unwrap_or(LoggedModelStatus::Ready),
        status_message: text(info, "status_message"),
        created: moment(info, "creation_timestamp_ms"),
        updated: moment(info, "last_updated_timestamp_ms"),
        deleted: is_deleted(info),
        params: pairs(&data["params"]),
        tags: pairs(&info["tags"]),
        metrics,
    })
}

fn model_metric(record: &Value) -> Result<LoggedModelMetric, ServerError> {
    Ok(LoggedModelMetric {
        key: text(record, "key"),
        value: number(&record["value"]),
        step: whole(record, "step").unwrap_or(0),
        at: moment(record, "timestamp"),
        run: text(record, "run_id").parse().map_err(unreadable)?,
        dataset: some_text(record, "dataset_name").map(|name| (name, text(record, "dataset_digest"))),
    })
}

/// The stage of a version that MLflow keeps only so that its number is not given again.
const DELETED: &str = "Deleted_Internal";

/// A registered model with its versions; what lay at one of `places` lies here now.
pub(super) fn registered_model(record: &Value, places: &BTreeMap<String, String>) -> Result<TakenModel, ServerError> {
    let all = entries(&record["versions"]);
    let numbers = all.iter().filter_map(version_number);
    let kept = all.iter().filter(|version| text(version, "current_stage") != DELETED);
    let aliases = entries(&record["aliases"]).iter();
    Ok(TakenModel {
        name: ModelName::new(text(record, "name"))?,
        description: description(record),
        created: moment(record, "creation_timestamp"),
        updated: moment(record, "last_updated_timestamp"),
        tags: pairs(&record["tags"]),
        aliases: aliases.filter_map(|one| Some((text(one, "alias"), version_number(one)?))).collect(),
        last_version: numbers.max().unwrap_or(0),
        versions: kept.filter_map(|one| Some(version(one, version_number(one)?, places))).collect(),
    })
}

/// An empty one is one, too.
fn description(record: &Value) -> Option<String> {
    record["description"].as_str().map(str::to_owned)
}

fn version_number(record: &Value) -> Option<u32> {
    whole(record, "version").and_then(|version| u32::try_from(version).ok())
}

fn version(record: &Value, version: u32, places: &BTreeMap<String, String>) -> TakenVersion {
    let source = moved(&text(record, "source"), places);
    // A database of MLflow does not say it otherwise.
    let of_model = source.strip_prefix("models:/").filter(|id| id.starts_with("m-")).map(str::to_owned);
    let storage = some_text(record, "storage_location").map_or_else(|| source.clone(), |there| moved(&there, places));
    TakenVersion {
        version,
        source,
        storage,
        run: some_text(record, "run_id"),
        run_link: text(record, "run_link"),
        logged_model: some_text(record, "model_id").or(of_model),
        user: some_text(record, "user_id"),
        description: description(record),
        stage: some_text(record, "current_stage").unwrap_or_else(|| "None".to_owned()),
        created: moment(record, "creation_timestamp"),
        updated: moment(record, "last_updated_timestamp"),
        tags: pairs(&record["tags"]),
    }
}

/// A location with the place that it lay in replaced by where that is here.
fn moved(location: &str, places: &BTreeMap<String, String>) -> String {
    let ends = location.match_indices('/').map(|(end, _)| end).chain([location.len()]);
    for end in ends.collect::<Vec<_>>().into_iter().rev() {
        let (place, rest) = location.split_at(end);
        if let Some(here) = places.get(place) {
            return format!("{here}{rest}");
        }
    }
    location.to_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn numbers_may_be_texts() {
        let point = json!({ "value": "NaN", "step": "9007199254740993", "timestamp": 5 });
        let found = metric("m", &point);
        assert!(found.value.is_nan());
        assert_eq!((found.step, found.at), (9_007_199_254_740_993, Timestamp(5)));
        assert!(metric("m", &json!({ "value": "Infinity" })).value.is_infinite());
    }

    #[test]
    fn locations_move_with_what_holds_them() {
        let places =
            BTreeMap::from([("file:///a/1/r/artifacts".to_owned(), "mlflow-artifacts:/1/r/artifacts".to_owned())]);
        assert_eq!(moved("file:///a/1/r/artifacts/model", &places), "mlflow-artifacts:/1/r/artifacts/model");
        assert_eq!(moved("file:///a/1/r/artifacts", &places), "mlflow-artifacts:/1/r/artifacts");
        assert_eq!(moved("file:///a/1/r/artifacts2/model", &places), "file:///a/1/r/artifacts2/model");
        assert_eq!(moved("models:/m-1", &places), "models:/m-1");
    }

    #[test]
    fn a_deleted_version_only_leaves_its_number() {
        let record = json!({
            "name": "m",
            "versions": [
                { "version": 1, "source": "x", "current_stage": "None" },
                { "version": "2", "source": "x", "current_stage": "Deleted_Internal" },
            ],
        });
        let model = registered_model(&record, &BTreeMap::new()).expect("model");
        assert_eq!((model.versions.len(), model.last_version), (1, 2));
    }
}
