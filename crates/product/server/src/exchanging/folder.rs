use std::path::{Path, PathBuf};

use async_trait::async_trait;
use ropewalk_store::files::{self, EntryKind};
use ropewalk_store::{Blob, Writer};
use ropewalk_types::ExperimentId;
use serde_json::{Value, json};

use super::origin::{Origin, Page, TheirFile, files_below, local};
use super::record::{text, whole};
use super::unreadable;
use crate::ServerError;

/// Where MLflow moves deleted experiments.
const TRASH: &str = ".trash";
/// The description of whatever a folder is.
const META: &str = "meta.yaml";
/// The description of a trace.
const TRACE: &str = "trace_info.yaml";
/// In the top folder: registered models. In that of an experiment: logged models.
const MODELS: &str = "models";
/// Largest file that is read as text; the history of one metric is one file.
const LONGEST: u64 = 4 << 30;

/// A folder `mlruns`, as MLflow writes it where it has no database.
pub(super) struct Folder {
    root: PathBuf,
    /// Runs of the experiment that is being read, the next one last.
    waiting: Vec<PathBuf>,
    /// Datasets of that experiment.
    datasets: Vec<(PathBuf, Value)>,
}

impl Folder {
    /// A folder that looks like one of MLflow.
    pub(super) fn open(root: PathBuf) -> Result<Self, ServerError> {
        let holds = |entry: &files::Entry| entry.kind == EntryKind::Directory && is_number(&entry.name);
        if !files::list(&root)?.iter().any(holds) && !files::exists(&root.join(TRASH))? {
            return Err(unreadable(format!("{} holds no experiments of MLflow", root.display())));
        }
        Ok(Self { root, waiting: Vec::new(), datasets: Vec::new() })
    }

    /// The folder of an experiment, also if it is in the trash.
    fn experiment(&self, id: ExperimentId) -> Result<PathBuf, ServerError> {
        let (here, deleted) = (self.root.join(id.to_string()), self.root.join(TRASH).join(id.to_string()));
        Ok(if files::exists(&here)? { here } else { deleted })
    }

    /// The folder of a run or a logged model.
    fn of(&self, info: &Value, inner: &str) -> Result<PathBuf, ServerError> {
        let id: ExperimentId = text(info, "experiment_id").parse().map_err(unreadable)?;
        Ok(self.experiment(id)?.join(inner))
    }
}

fn is_number(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_digit())
}

/// What a folder is, if it says so.
fn description(folder: &Path) -> Result<Option<Value>, ServerError> {
    description_in(folder, META)
}

fn description_in(folder: &Path, file: &str) -> Result<Option<Value>, ServerError> {
    let meta = folder.join(file);
    if !files::exists(&meta)? {
        return Ok(None);
    }
    let wrong = |what: String| unreadable(format!("{}: {what}", meta.display()));
    let text = files::read_text(&meta, LONGEST)?;
    let found = serde_saphyr::from_str::<Value>(&text).map_err(|error| wrong(error.to_string()))?;
    if found.is_object() { Ok(Some(found)) } else { Err(wrong("names and values are expected".to_owned())) }
}

/// The folders in a folder that say what they are; none where there is no such folder.
fn described(folder: &Path) -> Result<Vec<(PathBuf, Value)>, ServerError> {
    let mut found = Vec::new();
    if files::kind(folder)? != Some(EntryKind::Directory) {
        return Ok(found);
    }
    for entry in files::list(folder)?.into_iter().filter(|entry| entry.kind == EntryKind::Directory) {
        if let Some(meta) = description(&entry.path)? {
            found.push((entry.path, meta));
        }
    }
    found.sort_by(|a, b| a.0.cmp(&b.0));
    Ok(found)
}

/// A trace from its folder; its spans are a file of its artifacts.
fn trace(folder: &Path, mut info: Value) -> Result<Value, ServerError> {
    if info["trace_id"].is_null() {
        // As version 2 wrote it.
        let experiment = json!({ "experiment_id": text(&info, "experiment_id") });
        let time = whole(&info, "timestamp_ms").and_then(chrono::DateTime::from_timestamp_millis).unwrap_or_default();
        info["trace_id"] = info["request_id"].take();
        info["trace_location"] = json!({ "mlflow_experiment": experiment });
        info["request_time"] = time.to_rfc3339().into();
        info["execution_duration_ms"] = info["execution_time_ms"].take();
        let known = ["OK", "ERROR", "IN_PROGRESS"].contains(&text(&info, "status").as_str());
        info["state"] = if known { info["status"].take() } else { Value::Null };
    }
    if let Some(millis) = whole(&info, "execution_duration_ms") {
        info["execution_duration"] = format!("{}.{:03}s", millis / 1000, millis % 1000).into();
    }
    for (name, inner) in [("trace_metadata", "request_metadata"), ("tags", "tags")] {
        let all = pairs(&folder.join(inner))?;
        let all = all.as_array().into_iter().flatten().map(|pair| (text(pair, "key"), pair["value"].clone()));
        info[name] = Value::Object(all.collect());
    }
    let mut assessments = Vec::new();
    for file in files_below(&folder.join("assessments"))? {
        assessments.extend(description_in(&folder.join("assessments"), &file.path)?);
    }
    info["assessments"] = Value::Array(assessments);
    Ok(json!({ "info": info }))
}

/// A folder with one file for each key.
fn pairs(folder: &Path) -> Result<Value, ServerError> {
    let mut found = Vec::new();
    for file in files_below(folder)? {
        found.push(json!({ "key": file.path, "value": files::read_text(&file.place, LONGEST)? }));
    }
    Ok(Value::Array(found))
}

/// The keys of metrics only: their points are read one file at a time.
fn keys(folder: &Path) -> Result<Value, ServerError> {
    Ok(files_below(folder)?.into_iter().map(|file| json!({ "key": file.path })).collect())
}

/// A line `TIME VALUE STEP`, and for a logged model also the run and the dataset.
fn point(line: &str) -> Value {
    let mut parts = line.split(' ');
    let mut next = || parts.next().unwrap_or_default();
    let (at, value, step, run, name, digest) = (next(), next(), next(), next(), next(), next());
    json!({
        "timestamp": at, "value": value, "step": if step.is_empty() { "0" } else { step }, "run_id": run,
        "dataset_name": name, "dataset_digest": digest,
    })
}

fn points(file: &Path) -> Result<Vec<Value>, ServerError> {
    let lines = files::read_text(file, LONGEST)?;
    Ok(lines.lines().map(str::trim).filter(|line| !line.is_empty()).map(point).collect())
}

/// A run from its folder.
fn run(folder: &Path, mut info: Value, datasets: &[(PathBuf, Value)]) -> Result<Value, ServerError> {
    // Not as the description has it: an id of digits and one `e` is a number in YAML 1.2.
    info["run_id"] = folder.file_name().map(|name| name.to_string_lossy().into_owned()).into();
    let mut inputs = json!({ "dataset_inputs": [], "model_inputs": [] });
    for (place, input) in described(&folder.join("inputs"))? {
        let id = text(&input, "source_id");
        let found = datasets.iter().find(|(path, _)| path.file_name().is_some_and(|name| name == id.as_str()));
        let tags = input["tags"].as_object().into_iter().flatten();
        let tags: Vec<Value> = tags.map(|(key, value)| json!({ "key": key, "value": value })).collect();
        match found {
            Some((_, dataset)) => push(&mut inputs["dataset_inputs"], json!({ "dataset": dataset, "tags": tags })),
            None => push(&mut inputs["model_inputs"], json!({ "model_id": model_of(&place, &input) })),
        }
    }
    let mut outputs = Value::Array(Vec::new());
    for (place, output) in described(&folder.join("outputs"))? {
        push(&mut outputs, json!({ "model_id": model_of(&place, &output), "step": output["step"] }));
    }
    Ok(json!({
        "info": info,
        "data": {
            "params": pairs(&folder.join("params"))?, "tags": pairs(&folder.join("tags"))?,
            "metrics": keys(&folder.join("metrics"))?,
        },
        "inputs": inputs,
        "outputs": { "model_outputs": outputs },
    }))
}

fn push(list: &mut Value, value: Value) {
    if let Value::Array(list) = list {
        list.push(value);
    }
}

/// The logged model of an input or an output: the folder has its name.
fn model_of(place: &Path, record: &Value) -> String {
    let name = place.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    if name.starts_with("m-") { name } else { text(record, "destination_id") }
}

fn logged_model(folder: &Path, mut info: Value) -> Result<Value, ServerError> {
    info["artifact_uri"] = info["artifact_location"].take();
    info["creation_timestamp_ms"] = info["creation_timestamp"].take();
    info["last_updated_timestamp_ms"] = info["last_updated_timestamp"].take();
    info["tags"] = pairs(&folder.join("tags"))?;
    let mut metrics = Vec::new();
    for file in files_below(&folder.join("metrics"))? {
        for mut point in points(&file.place)? {
            point["key"] = Value::String(file.path.clone());
            metrics.push(point);
        }
    }
    Ok(json!({ "info": info, "data": { "params": pairs(&folder.join("params"))?, "metrics": metrics } }))
}

fn registered_model(folder: &Path, mut model: Value) -> Result<Value, ServerError> {
    model["tags"] = pairs(&folder.join("tags"))?;
    let mut aliases = Vec::new();
    for file in files_below(&folder.join("aliases"))? {
        aliases.push(json!({ "alias": file.path, "version": files::read_text(&file.place, LONGEST)?.trim() }));
    }
    model["aliases"] = Value::Array(aliases);
    let mut versions = Vec::new();
    for (place, mut version) in described(folder)? {
        version["tags"] = pairs(&place.join("tags"))?;
        versions.push(version);
    }
    model["versions"] = Value::Array(versions);
    Ok(model)
}

#[async_trait]
impl Origin for Folder {
    async fn experiments(&mut self) -> Result<Vec<Value>, ServerError> {
        let mut found = Vec::new();
        for folder in [self.root.clone(), self.root.join(TRASH)] {
            for (place, mut experiment) in described(&folder)? {
                if !experiment["experiment_id"].is_null() && place.file_name().is_some_and(|name| name != MODELS) {
                    experiment["tags"] = pairs(&place.join("tags"))?;
                    found.push(experiment);
                }
            }
        }
        Ok(found)
    }

    async fn runs(&mut self, experiment: ExperimentId, token: Option<String>) -> Result<Page, ServerError> {
        let folder = self.experiment(experiment)?;
        if token.is_none() {
            self.datasets = described(&folder.join("datasets"))?;
            let runs = files::list(&folder)?.into_iter().filter(|entry| entry.kind == EntryKind::Directory);
            self.waiting = runs.map(|entry| entry.path).collect();
            self.waiting.sort_by(|a, b| b.cmp(a));
        }
        // Deleted runs lie among the others. One at a time: a run may have many params.
        while let Some(place) = self.waiting.pop() {
            let Some(info) = description(&place)? else { continue };
            if !(info["run_id"].is_null() && info["run_uuid"].is_null()) {
                return Ok((vec![run(&place, info, &self.datasets)?], Some("more".to_owned())));
            }
        }
        Ok((Vec::new(), None))
    }

    async fn points(&mut self, run: &Value, key: &str, _: Option<String>) -> Result<Page, ServerError> {
        let inner = format!("{}/metrics/{key}", text(&run["info"], "run_id"));
        Ok((points(&self.of(&run["info"], &inner)?)?, None))
    }

    async fn logged_models(&mut self, experiment: ExperimentId) -> Result<Vec<Value>, ServerError> {
        let models = described(&self.experiment(experiment)?.join(MODELS))?;
        models.into_iter().map(|(place, info)| logged_model(&place, info)).collect()
    }

    async fn traces(&mut self, experiment: ExperimentId, _: Option<String>) -> Result<Page, ServerError> {
        let (folder, mut found) = (self.experiment(experiment)?.join("traces"), Vec::new());
        if files::kind(&folder)? == Some(EntryKind::Directory) {
            for entry in files::list(&folder)? {
                if entry.kind == EntryKind::Directory
                    && let Some(info) = description_in(&entry.path, TRACE)?
                {
                    found.push(trace(&entry.path, info)?);
                }
            }
        }
        Ok((found, None))
    }

    async fn registered_models(&mut self) -> Result<Vec<Value>, ServerError> {
        let models = described(&self.root.join(MODELS))?;
        models.into_iter().map(|(place, model)| registered_model(&place, model)).collect()
    }

    fn reaches(&self, location: &str) -> bool {
        local(location, &self.root).is_some()
    }

    async fn files(&mut self, location: &str) -> Result<Vec<TheirFile>, ServerError> {
        let Some(folder) = local(location, &self.root) else { return Ok(Vec::new()) };
        if files::exists(&folder)? {
            return files_below(&folder);
        }
        // The folder may have been moved or mounted elsewhere since; inside, everything is where it was.
        let parts: Vec<_> = folder.components().rev().collect();
        for count in [3, 4] {
            let inner: PathBuf = parts.iter().take(count).rev().collect();
            for root in [&self.root, &self.root.join(TRASH)] {
                if files::exists(&root.join(&inner))? {
                    return files_below(&root.join(&inner));
                }
            }
        }
        Ok(Vec::new())
    }

    async fn file(&mut self, file: &TheirFile, writer: &mut Writer) -> Result<Option<Blob>, ServerError> {
        Ok(Some(writer.add_file(&file.place).await?))
    }
}
