//! An existing MLflow is taken over, with all its ids: from its database, its folder `mlruns`, or over HTTP; and what is
//! here is written as a folder that MLflow reads.
//!
//! Whatever the source, its records come in the shape of MLflow's REST API, so that there is one reading of them.

mod database;
mod export;
mod folder;
mod origin;
mod record;
mod web;

use std::collections::BTreeMap;
use std::path::PathBuf;

use ropewalk_tracking::{ArtifactPath, ArtifactRoot, Tracking};
use ropewalk_types::{ExperimentId, RunId};
use serde::Serialize;
use serde_json::Value;

use crate::{ServerError, TrackingHome};
use origin::{Origin, TheirFile};

pub use export::Exported;

/// Which MLflow to take over.
#[derive(Clone, Debug)]
pub struct TakeOverSource {
    /// A database `mlflow.db`, a folder `mlruns`, or a URL of a server.
    pub from: String,
    /// The folder of artifacts that an MLflow server keeps beside its database.
    pub artifacts: Option<PathBuf>,
    /// What a server asks for: a token, or a name and a password as `NAME:PASSWORD`.
    pub credentials: Option<String>,
}

/// How many of one kind were new, and how many were here already.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct TakenCount {
    /// Those that were not here.
    pub new: u64,
    /// Those that were, and stay as they are.
    pub here: u64,
}

impl TakenCount {
    fn add(&mut self, new: bool) {
        *(if new { &mut self.new } else { &mut self.here }) += 1;
    }
}

/// What was taken over.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct TakenOver {
    /// Experiments.
    pub experiments: TakenCount,
    /// Runs, with their params, tags, metrics and inputs.
    pub runs: TakenCount,
    /// Logged models.
    pub logged_models: TakenCount,
    /// Registered models and prompts.
    pub registered_models: TakenCount,
    /// Their versions.
    pub versions: TakenCount,
    /// Files of artifacts.
    pub artifacts: TakenCount,
    /// Places of artifacts that stay where they are, such as buckets, and are asked there.
    pub elsewhere: u64,
    /// What could not be taken over, and why.
    pub left: Vec<String>,
}

impl TrackingHome {
    /// Takes an MLflow over; what is here already stays as it is. `says` is told what is under way.
    ///
    /// # Errors
    /// The source cannot be read, or an experiment here has the id or the name of another one there. What was taken
    /// over until then is kept; the same again goes on from there.
    pub async fn take_over(&self, source: &TakeOverSource, says: impl Fn(&str)) -> Result<TakenOver, ServerError> {
        let mut origin = origin::open(source).await?;
        let mut transfer =
            Transfer { tracking: self.tracking.clone(), places: BTreeMap::new(), told: TakenOver::default() };
        for experiment in origin.experiments().await? {
            says(&format!("experiment `{}`", record::text(&experiment, "name")));
            transfer.experiment(origin.as_mut(), &experiment).await?;
        }
        for model in origin.registered_models().await? {
            let taken = record::registered_model(&model, &transfer.places)?;
            let all = taken.versions.len() as u64;
            let count = self.registry.model_take_over(taken).await?;
            transfer.told.registered_models.add(count.model);
            transfer.told.versions.new += count.versions;
            transfer.told.versions.here += all - count.versions;
        }
        Ok(transfer.told)
    }
}

/// One experiment after another on its way.
struct Transfer {
    tracking: Tracking,
    /// Where artifacts were, and where they are here.
    places: BTreeMap<String, String>,
    told: TakenOver,
}

impl Transfer {
    async fn experiment(&mut self, origin: &mut dyn Origin, experiment: &Value) -> Result<(), ServerError> {
        let location = record::text(experiment, "artifact_location");
        let stays = (!origin.reaches(&location)).then(|| location.clone()).filter(|location| !location.is_empty());
        let taken = record::experiment(experiment, stays.clone())?;
        let id = taken.id;
        let new = self.tracking.experiment_take_over(taken).await?;
        self.told.experiments.add(new);
        let mut token = None;
        loop {
            let (runs, next) = origin.runs(id, token).await?;
            for run in runs {
                self.run(origin, &run).await?;
            }
            token = next;
            if token.is_none() {
                break;
            }
        }
        for model in origin.logged_models(id).await? {
            self.logged_model(origin, id, &model, stays.is_some()).await?;
        }
        Ok(())
    }

    async fn run(&mut self, origin: &mut dyn Origin, run: &Value) -> Result<(), ServerError> {
        let taken = record::run(run)?;
        let (experiment, id) = (taken.experiment, taken.id);
        let new = self.tracking.run_take_over(taken).await?;
        self.told.runs.add(new);
        self.points(origin, run, id).await?;
        let location = record::text(&run["info"], "artifact_uri");
        self.artifacts(origin, &location, &ArtifactRoot::Run { experiment, run: id }).await
    }

    async fn points(&self, origin: &mut dyn Origin, run: &Value, id: RunId) -> Result<(), ServerError> {
        for key in record::metric_keys(run) {
            let mut token = None;
            loop {
                let (points, next) = origin.points(run, &key, token).await?;
                let metrics = points.iter().map(|point| record::metric(&key, point)).collect();
                self.tracking.points_take_over(id, metrics).await?;
                token = next;
                if token.is_none() {
                    break;
                }
            }
        }
        Ok(())
    }

    async fn logged_model(
        &mut self,
        origin: &mut dyn Origin,
        experiment: ExperimentId,
        model: &Value,
        stays: bool,
    ) -> Result<(), ServerError> {
        let location = record::text(&model["info"], "artifact_uri");
        let root = ArtifactRoot::Model { experiment, model: record::text(&model["info"], "model_id") };
        let here = if stays { location.clone() } else { root.uri(None) };
        let new = self.tracking.logged_model_take_over(record::logged_model(model, here)?).await?;
        self.told.logged_models.add(new);
        self.artifacts(origin, &location, &root).await
    }

    async fn artifacts(
        &mut self,
        origin: &mut dyn Origin,
        location: &str,
        root: &ArtifactRoot,
    ) -> Result<(), ServerError> {
        if !origin.reaches(location) {
            self.told.elsewhere += u64::from(!location.is_empty());
            return Ok(());
        }
        self.places.insert(location.trim_end_matches('/').to_owned(), root.uri(None));
        for file in origin.files(location).await? {
            self.artifact(origin, &file, root).await?;
        }
        Ok(())
    }

    async fn artifact(
        &mut self,
        origin: &mut dyn Origin,
        file: &TheirFile,
        root: &ArtifactRoot,
    ) -> Result<(), ServerError> {
        let path = match ArtifactPath::new(file.path.as_str()) {
            Ok(path) => path,
            Err(error) => {
                self.told.left.push(error.to_string());
                return Ok(());
            }
        };
        let here = self.tracking.artifact_at(root, &path).await.is_ok();
        self.told.artifacts.add(!here);
        if !here {
            let blob = origin.file(file, self.tracking.store()).await?;
            self.tracking.artifact_record(root, path, blob.digest, blob.size).await?;
        }
        Ok(())
    }
}

/// What cannot be read, as an error with what to do.
fn unreadable(what: impl std::fmt::Display) -> ServerError {
    ServerError::Unknown {
        what: what.to_string(),
        hint: "name a database mlflow.db, a folder mlruns, or the URL of a server with --from".to_owned(),
    }
}
