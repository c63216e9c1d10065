//! One record after another on its way: read from the origin in turn, written many at once, which share transactions
//! and packs.

use std::collections::BTreeMap;

use futures::future::join_all;
use ropewalk_registry::{Registry, RegistryError};
use ropewalk_store::{Blob, Writer};
use ropewalk_tracking::{
    ArtifactPath, ArtifactRoot, LoggedModel, Metric, TRACE_ARTIFACT_TAG, TakenTrace, Tracking, TrackingError,
};
use ropewalk_types::{ExperimentId, RunId};
use serde_json::Value;

use super::origin::{Origin, TheirFile};
use super::{TakenOver, record};
use crate::{ServerError, TrackingHome};

/// Records that are written at once.
const AT_ONCE: usize = 64;
/// Points that wait to be written.
const POINTS_AHEAD: usize = 20_000;
/// Files, and bytes of them, that share a commit of the store.
const FILES_AHEAD: usize = 256;
const BYTES_AHEAD: u64 = 256 << 20;

/// What is on its way, and what has come.
pub(super) struct Transfer {
    tracking: Tracking,
    registry: Registry,
    /// Where artifacts were, and where they are here.
    places: BTreeMap<String, String>,
    points: Vec<(RunId, Vec<Metric>)>,
    files: Files,
    told: TakenOver,
}

/// Files whose bytes are in `writer`, which no commit has made visible yet.
#[derive(Default)]
struct Files {
    writer: Option<Writer>,
    all: Vec<(ArtifactRoot, ArtifactPath, Blob)>,
    bytes: u64,
}

impl Transfer {
    pub(super) fn new(home: &TrackingHome) -> Self {
        Self {
            tracking: home.tracking.clone(),
            registry: home.registry.clone(),
            places: BTreeMap::new(),
            points: Vec::new(),
            files: Files::default(),
            told: TakenOver::default(),
        }
    }

    /// An experiment with all that is in it.
    pub(super) async fn experiment(&mut self, origin: &mut dyn Origin, experiment: &Value) -> Result<(), ServerError> {
        let location = record::text(experiment, "artifact_location");
        let stays = (!origin.reaches(&location)).then(|| location.clone()).filter(|location| !location.is_empty());
        let taken = record::experiment(experiment, stays.clone())?;
        let id = taken.id;
        let new = self.tracking.experiment_take_over(taken).await?;
        self.told.experiments.add(new);
        let mut token = None;
        loop {
            let (runs, next) = origin.runs(id, token).await?;
            Box::pin(self.runs(origin, &runs)).await?;
            token = next;
            if token.is_none() {
                break;
            }
        }
        self.points_write().await?;
        let models = origin.logged_models(id).await?;
        self.logged_models(origin, id, &models, stays.is_some()).await?;
        loop {
            let (traces, next) = origin.traces(id, token).await?;
            self.traces(origin, traces).await?;
            token = next;
            if token.is_none() {
                break;
            }
        }
        self.files_write().await
    }

    /// Registered models, after everything that they name; gives what was taken over.
    pub(super) async fn registered_models(mut self, origin: &mut dyn Origin) -> Result<TakenOver, ServerError> {
        let mut all = Vec::new();
        for model in origin.registered_models().await? {
            match record::registered_model(&model, &self.places) {
                Ok(taken) => all.push(taken),
                Err(error) => self.left("registered model", &record::text(&model, "name"), &error),
            }
        }
        for part in all.chunks(AT_ONCE) {
            let mut work = Vec::with_capacity(part.len());
            for model in part {
                work.push(self.registry.model_take_over(model.clone()));
            }
            for (model, outcome) in part.iter().zip(join_all(work).await) {
                let count = match outcome {
                    Ok(count) => count,
                    Err(error @ RegistryError::Catalog(_)) => return Err(error.into()),
                    Err(error) => {
                        self.left("registered model", model.name.as_str(), &error);
                        continue;
                    }
                };
                self.told.registered_models.add(count.model);
                self.told.versions.new += count.versions;
                self.told.versions.here += model.versions.len() as u64 - count.versions;
            }
        }
        self.told.left.extend(origin.left());
        Ok(self.told)
    }

    async fn runs(&mut self, origin: &mut dyn Origin, runs: &[Value]) -> Result<(), ServerError> {
        let mut all = Vec::with_capacity(runs.len());
        for run in runs {
            match record::run(run) {
                Ok(taken) => all.push((run, taken)),
                Err(error) => self.left("run", &record::text(&run["info"], "run_id"), &error),
            }
        }
        for part in all.chunks(AT_ONCE) {
            let mut work = Vec::with_capacity(part.len());
            for (_, taken) in part {
                work.push(self.tracking.run_take_over(taken.clone()));
            }
            for ((run, taken), outcome) in part.iter().zip(join_all(work).await) {
                let Some(new) = self.taken("run", &taken.id, outcome)? else { continue };
                self.told.runs.add(new);
                self.points(origin, run, taken.id).await?;
                let location = record::text(&run["info"], "artifact_uri");
                let root = ArtifactRoot::Run { experiment: taken.experiment, run: taken.id };
                self.artifacts(origin, &location, &root).await?;
            }
        }
        Ok(())
    }

    async fn points(&mut self, origin: &mut dyn Origin, run: &Value, id: RunId) -> Result<(), ServerError> {
        for key in record::metric_keys(run) {
            let mut token = None;
            loop {
                let (points, next) = origin.points(run, &key, token).await?;
                self.points.push((id, points.iter().map(|point| record::metric(&key, point)).collect()));
                if self.points.iter().map(|(_, points)| points.len()).sum::<usize>() >= POINTS_AHEAD
                    || self.points.len() >= AT_ONCE
                {
                    self.points_write().await?;
                }
                token = next;
                if token.is_none() {
                    break;
                }
            }
        }
        Ok(())
    }

    async fn points_write(&mut self) -> Result<(), ServerError> {
        let waiting = std::mem::take(&mut self.points);
        let mut work = Vec::with_capacity(waiting.len());
        let mut runs = Vec::with_capacity(waiting.len());
        for (run, points) in waiting {
            runs.push(run);
            work.push(self.tracking.points_take_over(run, points));
        }
        for (run, outcome) in runs.into_iter().zip(join_all(work).await) {
            self.taken("points of run", &run, outcome)?;
        }
        Ok(())
    }

    async fn logged_models(
        &mut self,
        origin: &mut dyn Origin,
        experiment: ExperimentId,
        models: &[Value],
        stays: bool,
    ) -> Result<(), ServerError> {
        let mut all: Vec<(String, ArtifactRoot, LoggedModel)> = Vec::with_capacity(models.len());
        for model in models {
            let location = record::text(&model["info"], "artifact_uri");
            let id = record::text(&model["info"], "model_id");
            let root = ArtifactRoot::Model { experiment, model: id.clone() };
            let here = if stays { location.clone() } else { root.uri(None) };
            match record::logged_model(model, here, &mut self.told.left) {
                Ok(taken) => all.push((location, root, taken)),
                Err(error) => self.left("logged model", &id, &error),
            }
        }
        for part in all.chunks(AT_ONCE) {
            let mut work = Vec::with_capacity(part.len());
            for (_, _, taken) in part {
                work.push(self.tracking.logged_model_take_over(taken.clone()));
            }
            for ((location, root, taken), outcome) in part.iter().zip(join_all(work).await) {
                let Some(new) = self.taken("logged model", &taken.id, outcome)? else { continue };
                self.told.logged_models.add(new);
                self.artifacts(origin, location, root).await?;
            }
        }
        Ok(())
    }

    async fn traces(&mut self, origin: &mut dyn Origin, traces: Vec<Value>) -> Result<(), ServerError> {
        let mut all: Vec<(Option<(String, ArtifactRoot)>, TakenTrace)> = Vec::with_capacity(traces.len());
        for trace in traces {
            let id = record::text(&trace["info"], "trace_id");
            let mut taken = match record::trace(trace) {
                Ok(taken) => taken,
                Err(error) => {
                    self.left("trace", &id, &error);
                    continue;
                }
            };
            let location = taken.info.tags.get(TRACE_ARTIFACT_TAG).filter(|location| origin.reaches(location));
            let files = location.cloned().map(|location| {
                let root = ArtifactRoot::Trace { experiment: taken.info.experiment, trace: id };
                taken.info.tags.insert(TRACE_ARTIFACT_TAG.to_owned(), root.uri(None));
                (location, root)
            });
            all.push((files, taken));
        }
        for part in all.chunks(AT_ONCE) {
            let mut work = Vec::with_capacity(part.len());
            for (_, taken) in part {
                work.push(self.tracking.trace_take_over(taken.clone()));
            }
            for ((files, taken), outcome) in part.iter().zip(join_all(work).await) {
                let Some(new) = self.taken("trace", &taken.info.id, outcome)? else { continue };
                self.told.traces.add(new);
                if let Some((location, root)) = files {
                    self.artifacts(origin, location, root).await?;
                }
            }
        }
        Ok(())
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
            Box::pin(self.artifact(origin, &file, root)).await?;
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
                self.left("file", &file.path, &error);
                return Ok(());
            }
        };
        if self.tracking.artifact_at(root, &path).await.is_ok() {
            self.told.artifacts.add(false);
            return Ok(());
        }
        let writer = self.files.writer.get_or_insert_with(|| self.tracking.store().writer());
        let Some(blob) = origin.file(file, writer).await? else {
            self.left("file", &file.path, &"it is listed, but not there");
            return Ok(());
        };
        self.files.bytes += blob.size;
        self.files.all.push((root.clone(), path, blob));
        if self.files.all.len() >= FILES_AHEAD || self.files.bytes >= BYTES_AHEAD {
            self.files_write().await?;
        }
        Ok(())
    }

    /// The bytes first, then what names them.
    async fn files_write(&mut self) -> Result<(), ServerError> {
        let Files { writer, all, .. } = std::mem::take(&mut self.files);
        if let Some(writer) = writer {
            writer.commit().await?;
        }
        for part in all.chunks(AT_ONCE) {
            let mut work = Vec::with_capacity(part.len());
            for (root, path, blob) in part {
                work.push(self.tracking.artifact_take_over(root, path.clone(), blob.digest, blob.size));
            }
            for ((_, path, _), outcome) in part.iter().zip(join_all(work).await) {
                if self.taken("file", path, outcome)?.is_some() {
                    self.told.artifacts.add(true);
                }
            }
        }
        Ok(())
    }

    /// What came of one record. A fault of the record is told and leaves it out; one of the catalogue or the store ends
    /// the import.
    fn taken<T>(
        &mut self,
        kind: &str,
        name: &impl std::fmt::Display,
        outcome: Result<T, TrackingError>,
    ) -> Result<Option<T>, ServerError> {
        match outcome {
            Ok(value) => Ok(Some(value)),
            Err(error @ (TrackingError::Catalog(_) | TrackingError::Store(_))) => Err(error.into()),
            Err(error) => {
                self.left(kind, &name.to_string(), &error);
                Ok(None)
            }
        }
    }

    fn left(&mut self, kind: &str, name: &str, reason: &impl std::fmt::Display) {
        self.told.left.push(format!("{kind} {name}: {reason}"));
    }
}
