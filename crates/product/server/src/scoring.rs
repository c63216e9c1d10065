//! Batch scoring by a model of a file, a folder, the registry or a run.

use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use ropewalk_batch::{FileTask, Progress, ScoreSettings, ScoredFile, score_files};
use ropewalk_inference::{EngineName, Engines, LoadOptions, Model, ModelSource};
use ropewalk_inference_server::{Environment, engines, model_at};
use ropewalk_store::files::TemporaryDirectory;
use ropewalk_types::{Digest, Uri};

use crate::{ServerError, TrackingHome};

/// A model that scores files.
#[derive(Debug)]
pub struct ScoringModel {
    /// What names it: its URI, or the name of its file.
    pub name: String,
    /// Digest of its graph, or of what describes it.
    pub digest: Digest,
    model: Arc<dyn Model>,
    /// Where an engine reads it; it goes with the model.
    _folder: Option<TemporaryDirectory>,
}

/// Passes progress on, and ends the work when nobody waits for it any more.
struct Watched<P> {
    progress: P,
    stopped: Arc<AtomicBool>,
}

impl<P: Progress> Progress for Watched<P> {
    fn rows(&self, rows: u64) -> ControlFlow<()> {
        self.progress.rows(rows)?;
        if self.stopped.load(Ordering::Relaxed) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
}

struct StopOnDrop(Arc<AtomicBool>);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl ScoringModel {
    /// The model of a file of ONNX or of a folder that holds one.
    ///
    /// # Errors
    /// There is none, or no engine takes it.
    pub async fn of_path(
        path: PathBuf,
        engine: Option<EngineName>,
        environment: &Environment,
    ) -> Result<Self, ServerError> {
        let engines = engines(environment);
        off_reactor(move || {
            let (name, digest, source) = model_at(&path)?;
            let model = load(&engines, &source, engine)?;
            Ok(Self { name: name.to_string(), digest, model, _folder: None })
        })
        .await
    }

    /// Scores what the tasks name, one after another; `told` hears of each that is done. Dropped, it stops with the batch that
    /// is under way and leaves nothing half-written.
    ///
    /// # Errors
    /// As [`score_files`]; what was done before stays.
    pub async fn score(
        &self,
        tasks: Vec<FileTask>,
        settings: ScoreSettings,
        progress: impl Progress + Send + 'static,
        told: impl Fn(&ScoredFile) + Send + 'static,
    ) -> Result<Vec<ScoredFile>, ServerError> {
        let (model, digest) = (Arc::clone(&self.model), self.digest);
        let stop = StopOnDrop(Arc::default());
        let watched = Watched { progress, stopped: Arc::clone(&stop.0) };
        let scored = off_reactor(move || {
            let mut done = Vec::with_capacity(tasks.len());
            for task in &tasks {
                let scored = score_files(task, &model, &digest, &settings, &watched)?;
                told(&scored);
                done.push(scored);
            }
            Ok(done)
        });
        let scored = scored.await;
        drop(stop);
        scored
    }
}

impl TrackingHome {
    /// The model that a URI of the registry or of a run names now.
    ///
    /// # Errors
    /// There is none, or no engine takes it.
    pub async fn scoring_model(
        &self,
        uri: &Uri,
        engine: Option<EngineName>,
        environment: &Environment,
    ) -> Result<ScoringModel, ServerError> {
        let found = self.model_find(uri).await?;
        let (engines, source) = (engines(environment), found.source);
        let model = off_reactor(move || load(&engines, &source, engine)).await?;
        Ok(ScoringModel { name: found.uri.to_string(), digest: found.digest, model, _folder: found.folder })
    }
}

fn load(engines: &Engines, source: &ModelSource, engine: Option<EngineName>) -> Result<Arc<dyn Model>, ServerError> {
    Ok(engines.load(source, engine, &LoadOptions::default())?)
}

async fn off_reactor<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ServerError> + Send + 'static,
) -> Result<T, ServerError> {
    tokio::task::spawn_blocking(work).await.map_err(|error| ServerError::Serve(error.to_string()))?
}
