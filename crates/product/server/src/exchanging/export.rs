use std::path::{Path, PathBuf};

use ropewalk_registry::TakenModel;
use ropewalk_store::files::{self, EntryKind};
use ropewalk_tracking::{
    ArtifactEntry, ArtifactHome, ArtifactPath, ArtifactRoot, Experiment, Lifecycle, LoggedModel, LoggedModelStatus,
    Metric, Run, RunFilter,
};
use ropewalk_types::{ExperimentId, RunStatus};
use serde::Serialize;
use serde_json::{Value, json};

use super::TakenCount;
use crate::{ServerError, TrackingHome};

/// Runs and points that are read at once.
const RUNS: usize = 200;
const POINTS: usize = 25_000;
const MODELS: usize = 100;
/// Longest name of a file.
const NAME_BYTES: usize = 255;

/// What was written.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Exported {
    /// Experiments, also those that were deleted.
    pub experiments: u64,
    /// Runs.
    pub runs: u64,
    /// Logged models.
    pub logged_models: u64,
    /// Registered models.
    pub registered_models: u64,
    /// Files of artifacts: those that were written, and those that were there.
    pub artifacts: TakenCount,
    /// What a folder cannot hold, because its key is no name of a file.
    pub left: Vec<String>,
}

impl TrackingHome {
    /// Writes everything as a folder `mlruns` that MLflow reads, with all ids; what is there is written again.
    ///
    /// # Errors
    /// The folder cannot be written, or something here cannot be read.
    pub async fn export(&self, folder: &Path, says: impl Fn(&str)) -> Result<Exported, ServerError> {
        let root = std::path::absolute(folder).map_err(super::unreadable)?;
        let mut export = Export { home: self, root, told: Exported::default() };
        let ids = self.tracking.experiment_ids().await?;
        for experiment in self.tracking.experiment_get_all(ids).await? {
            says(&format!("experiment `{}`", experiment.name));
            export.experiment(&experiment).await?;
        }
        let mut after = None;
        loop {
            let models = self.tracking.logged_model_list(after, MODELS).await?;
            for model in &models {
                export.logged_model(model).await?;
            }
            after = models.last().map(|model| model.id);
            if models.len() < MODELS {
                break;
            }
        }
        for model in self.registry.models_give().await? {
            export.registered_model(&model)?;
        }
        Ok(export.told)
    }
}

struct Export<'h> {
    home: &'h TrackingHome,
    root: PathBuf,
    told: Exported,
}

/// Writes a file and the folders above it. JSON is YAML, too.
///
/// Not durable one by one, of which there are many: what an export that was ended left by half is written again.
fn write(path: &Path, bytes: &[u8]) -> Result<(), ServerError> {
    if let Some(folder) = path.parent() {
        files::create_directories(folder)?;
    }
    if !files::exists(path)? {
        return Ok(files::write_new(path, bytes, false)?);
    }
    let same = files::size(path)? == bytes.len() as u64 && files::read_bounded(path, bytes.len() as u64)? == bytes;
    if same { Ok(()) } else { Ok(files::write_atomic(path, bytes)?) }
}

/// Whether a file below `folder` can have this name: it leads nowhere else, and nothing of another kind is in its way.
fn is_name(folder: &Path, key: &str) -> Result<bool, ServerError> {
    let plain =
        |part: &str| !matches!(part, "" | "." | "..") && part.len() <= NAME_BYTES && !part.contains(['\\', '\0']);
    if !key.split('/').all(plain) {
        return Ok(false);
    }
    let mut above = key.match_indices('/').map(|(end, _)| &key[..end]);
    let in_the_way = |inner: &str| files::kind(&folder.join(inner)).map(|kind| kind == Some(EntryKind::File));
    let blocked = above.try_fold(false, |found, inner| in_the_way(inner).map(|file| found || file))?;
    Ok(!blocked && files::kind(&folder.join(key))? != Some(EntryKind::Directory))
}

fn describe(folder: &Path, meta: &Value) -> Result<(), ServerError> {
    write(&folder.join("meta.yaml"), format!("{meta:#}\n").as_bytes())
}

/// The folders by which MLflow knows a run or a logged model, also where they are empty.
fn parts(folder: &Path) -> Result<(), ServerError> {
    let all = ["artifacts", "metrics", "params", "tags"];
    Ok(all.into_iter().try_for_each(|part| files::create_directories(&folder.join(part)))?)
}

/// One line for each point, as Python writes numbers.
fn line(metric: &Metric) -> String {
    let value = if metric.value.is_nan() { "nan".to_owned() } else { format!("{:?}", metric.value) };
    format!("{} {value} {}\n", metric.at.0, metric.step)
}

/// The number that MLflow's folders have for a state.
fn state(status: RunStatus) -> u8 {
    match status.as_str() {
        "SCHEDULED" => 2,
        "FINISHED" => 3,
        "FAILED" => 4,
        "KILLED" => 5,
        _ => 1,
    }
}

fn lifecycle(deleted: bool) -> &'static str {
    if deleted { "deleted" } else { "active" }
}

impl Export<'_> {
    /// One file for each key.
    fn pairs<'p>(
        &mut self,
        folder: &Path,
        pairs: impl IntoIterator<Item = (&'p String, &'p String)>,
    ) -> Result<(), ServerError> {
        pairs.into_iter().try_for_each(|(key, value)| self.named(folder, key, value.as_bytes()))
    }

    fn named(&mut self, folder: &Path, key: &str, bytes: &[u8]) -> Result<(), ServerError> {
        if is_name(folder, key)? {
            return write(&folder.join(key), bytes);
        }
        let place = folder.strip_prefix(&self.root).unwrap_or(folder);
        self.told.left.push(format!("`{key}` in {}", place.display()));
        Ok(())
    }

    fn folder(&self, experiment: ExperimentId) -> PathBuf {
        self.root.join(experiment.to_string())
    }

    /// The URI of a folder here.
    fn uri(folder: &Path) -> String {
        format!("file://{}", folder.display())
    }

    async fn experiment(&mut self, experiment: &Experiment) -> Result<(), ServerError> {
        let folder = self.folder(experiment.id);
        let location = experiment.artifact_location.clone().unwrap_or_else(|| Self::uri(&folder));
        describe(
            &folder,
            &json!({
                "experiment_id": experiment.id.to_string(), "name": experiment.name, "artifact_location": location,
                "lifecycle_stage": lifecycle(experiment.deleted), "creation_time": experiment.created.0,
                "last_update_time": experiment.updated.0,
            }),
        )?;
        self.pairs(&folder.join("tags"), &experiment.tags)?;
        self.told.experiments += 1;
        let mut after = None;
        loop {
            let filter = RunFilter {
                experiments: Some(vec![experiment.id]),
                lifecycle: Lifecycle::Any,
                after,
                ..RunFilter::default()
            };
            let page = self.home.tracking.run_list(filter, RUNS).await?;
            for run in &page.runs {
                self.run(run, &folder).await?;
            }
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        // MLflow looks for deleted experiments in its trash.
        let trash = self.root.join(".trash").join(experiment.id.to_string());
        if experiment.deleted {
            files::remove_directory(&trash)?;
            files::create_directories(&self.root.join(".trash"))?;
            files::rename_directory(&folder, &trash)?;
        }
        Ok(())
    }

    async fn run(&mut self, run: &Run, experiment: &Path) -> Result<(), ServerError> {
        let (info, folder) = (&run.info, experiment.join(run.info.id.to_string()));
        let artifacts = folder.join("artifacts");
        let root = ArtifactRoot::Run { experiment: info.experiment, run: info.id };
        let home = self.home.tracking.artifact_home(info.id).await?;
        let uri = match home {
            ArtifactHome::Here(_) => Self::uri(&artifacts),
            ArtifactHome::Elsewhere(uri) => uri,
        };
        describe(
            &folder,
            &json!({
                "run_id": info.id.to_string(), "experiment_id": info.experiment.to_string(), "run_name": info.name,
                "user_id": info.user, "status": state(info.status), "start_time": info.start.0,
                "end_time": info.end.map(|end| end.0), "deleted_time": info.deleted.then_some(info.start.0),
                "lifecycle_stage": lifecycle(info.deleted), "artifact_uri": uri, "entry_point_name": "",
                "source_name": "", "source_type": 4, "source_version": "", "tags": [],
            }),
        )?;
        self.pairs(&folder.join("params"), &run.params)?;
        self.pairs(&folder.join("tags"), &run.tags)?;
        for metric in &run.metrics {
            self.history(run, &metric.key, &folder).await?;
        }
        inputs(run, experiment, &folder)?;
        self.told.runs += 1;
        parts(&folder)?;
        self.artifacts(&root, &artifacts).await
    }

    async fn history(&mut self, run: &Run, key: &str, folder: &Path) -> Result<(), ServerError> {
        let (mut text, mut after) = (String::new(), None);
        loop {
            let page = self.home.tracking.metric_history(run.info.id, key, after, POINTS).await?;
            text.extend(page.metrics.iter().map(line));
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        self.named(&folder.join("metrics"), key, text.as_bytes())
    }

    async fn logged_model(&mut self, model: &LoggedModel) -> Result<(), ServerError> {
        if model.deleted {
            return Ok(());
        }
        let (kept, trash) =
            (self.folder(model.experiment), self.root.join(".trash").join(model.experiment.to_string()));
        let experiment = if files::exists(&kept)? { kept } else { trash };
        let folder = experiment.join("models").join(model.id.to_string());
        let artifacts = folder.join("artifacts");
        let number = LoggedModelStatus::ALL.iter().position(|status| *status == model.status).unwrap_or(0) + 1;
        describe(
            &folder,
            &json!({
                "model_id": model.id.to_string(), "experiment_id": model.experiment.to_string(), "name": model.name,
                "artifact_location": Self::uri(&artifacts), "creation_timestamp": model.created.0,
                "last_updated_timestamp": model.updated.0, "model_type": model.model_type,
                "source_run_id": model.source_run.map(|run| run.to_string()), "status": number,
                "status_message": model.status_message,
            }),
        )?;
        self.pairs(&folder.join("params"), &model.params)?;
        self.pairs(&folder.join("tags"), &model.tags)?;
        let mut metrics = std::collections::BTreeMap::<&str, String>::new();
        for metric in &model.metrics {
            let point = Metric::new(metric.key.as_str(), metric.value, metric.step, metric.at);
            let (name, digest) = metric.dataset.clone().unwrap_or_default();
            let dataset = if name.is_empty() { String::new() } else { format!(" {name} {digest}") };
            let point = format!("{} {}{dataset}\n", line(&point).trim_end(), metric.run);
            metrics.entry(metric.key.as_str()).or_default().push_str(&point);
        }
        for (key, text) in metrics {
            self.named(&folder.join("metrics"), key, text.as_bytes())?;
        }
        self.told.logged_models += 1;
        parts(&folder)?;
        let root = ArtifactRoot::Model { experiment: model.experiment, model: model.id.to_string() };
        self.artifacts(&root, &artifacts).await
    }

    async fn artifacts(&mut self, root: &ArtifactRoot, folder: &Path) -> Result<(), ServerError> {
        let mut waiting: Vec<Option<ArtifactPath>> = vec![None];
        while let Some(inner) = waiting.pop() {
            for entry in self.home.tracking.artifact_entries(root, inner.as_ref()).await? {
                match entry {
                    ArtifactEntry::Folder(path) => waiting.push(Some(path)),
                    ArtifactEntry::File(artifact) => {
                        let target = folder.join(artifact.path.as_str());
                        let there = files::exists(&target)? && files::size(&target)? == artifact.size;
                        *(if there { &mut self.told.artifacts.here } else { &mut self.told.artifacts.new }) += 1;
                        if !there {
                            if let Some(above) = target.parent() {
                                files::create_directories(above)?;
                            }
                            self.home.store.materialize(&artifact.digest, &target).await?;
                        }
                    }
                }
            }
        }
        Ok(())
    }

    /// A place of the namespace as the folder that it was written to.
    fn moved(&self, location: &str) -> String {
        match location.strip_prefix("mlflow-artifacts:/") {
            Some(path) => Self::uri(&self.root.join(path.trim_start_matches('/'))),
            None => location.to_owned(),
        }
    }

    fn registered_model(&mut self, model: &TakenModel) -> Result<(), ServerError> {
        let folder = self.root.join("models").join(model.name.as_str());
        describe(
            &folder,
            &json!({
                "name": model.name.as_str(), "description": model.description, "aliases": {},
                "creation_timestamp": model.created.0, "last_updated_timestamp": model.updated.0,
            }),
        )?;
        self.pairs(&folder.join("tags"), &model.tags)?;
        for (alias, version) in &model.aliases {
            write(&folder.join("aliases").join(alias), version.to_string().as_bytes())?;
        }
        for version in &model.versions {
            let place = folder.join(format!("version-{}", version.version));
            describe(
                &place,
                &json!({
                    "name": model.name.as_str(), "version": version.version, "source": self.moved(&version.source),
                    "storage_location": self.moved(&version.storage), "run_id": version.run, "run_link": version.run_link,
                    "model_id": version.logged_model, "user_id": version.user, "description": version.description,
                    "current_stage": version.stage, "creation_timestamp": version.created.0,
                    "last_updated_timestamp": version.updated.0, "status": "READY", "status_message": null,
                }),
            )?;
            self.pairs(&place.join("tags"), &version.tags)?;
        }
        if model.last_version > 0 && model.versions.iter().all(|version| version.version < model.last_version) {
            // MLflow keeps a deleted version so that its number is not given again.
            describe(
                &folder.join(format!("version-{}", model.last_version)),
                &json!({
                    "name": model.name.as_str(), "version": model.last_version, "current_stage": "Deleted_Internal",
                    "creation_timestamp": model.updated.0, "last_updated_timestamp": model.updated.0, "status": "READY",
                }),
            )?;
        }
        self.told.registered_models += 1;
        Ok(())
    }
}

/// What a run read and made.
fn inputs(run: &Run, experiment: &Path, folder: &Path) -> Result<(), ServerError> {
    for input in &run.datasets {
        let named = blake3::hash(format!("{}\0{}", input.name, input.digest).as_bytes()).to_hex();
        let id = &named.as_str()[..32];
        describe(
            &experiment.join("datasets").join(id),
            &json!({
                "name": input.name, "digest": input.digest, "source_type": input.source_type, "source": input.source,
                "schema": input.schema, "profile": input.profile,
            }),
        )?;
        let tags: serde_json::Map<String, Value> =
            input.tags.iter().map(|tag| (tag.key.clone(), Value::String(tag.value.clone()))).collect();
        describe(
            &folder.join("inputs").join(id),
            &json!({
                "source_type": "DATASET", "source_id": id, "destination_type": "RUN",
                "destination_id": run.info.id.to_string(), "tags": tags,
            }),
        )?;
    }
    let made =
        run.models_made.iter().map(|output| ("outputs", "RUN_OUTPUT", "MODEL_OUTPUT", &output.model, output.step));
    let read = run.models_read.iter().map(|model| ("inputs", "RUN_INPUT", "MODEL_INPUT", model, 0));
    for (place, from, to, model, step) in made.chain(read) {
        if !is_name(&folder.join(place), &format!("{model}/meta.yaml"))? {
            continue;
        }
        describe(
            &folder.join(place).join(model),
            &json!({
                "source_type": from, "source_id": run.info.id.to_string(), "destination_type": to,
                "destination_id": model, "tags": {}, "step": step,
            }),
        )?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_lead_nowhere_else_and_clash_with_nothing() {
        let folder = tempfile::tempdir().expect("folder");
        write(&folder.path().join("a"), b"1").expect("written");
        write(&folder.path().join("b/c"), b"1").expect("written");
        for (key, expected) in
            [("a", true), ("b/d", true), ("", false), ("../x", false), ("/x", false), ("x//y", false), ("b/", false)]
        {
            assert_eq!(is_name(folder.path(), key).expect(key), expected, "{key}");
        }
        assert!(!is_name(folder.path(), "a/b").expect("below a file") && !is_name(folder.path(), "b").expect("folder"));
        parts(&folder.path().join("run")).expect("parts");
        assert!(files::exists(&folder.path().join("run/params")).expect("looked"));
        write(&folder.path().join("a"), b"22").expect("again");
        assert_eq!(files::read_text(&folder.path().join("a"), 9).expect("text"), "22");
    }
}
