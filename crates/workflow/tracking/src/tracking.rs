use std::sync::Arc;

use ropewalk_catalog::Catalog;
use ropewalk_store::Store;
use ropewalk_types::{Ambient, ExperimentId, RunId, RunStatus};

use crate::run::{read, write};
use crate::{
    Batch, Experiment, HistoryCursor, HistoryPage, Metric, NewExperiment, NewRun, Param, Run, RunFilter, RunInfo,
    RunPage, RunUpdate, Tag, TrackingError, Written, batch, experiment, metric,
};

type Result<T> = std::result::Result<T, TrackingError>;

/// Experiments and runs, in a catalogue and a store. Clones share both.
#[derive(Clone, Debug)]
pub struct Tracking {
    pub(crate) catalog: Catalog,
    pub(crate) store: Store,
    pub(crate) ambient: Arc<dyn Ambient>,
}

/// Runs `$work` with the connection `$connection` in a transaction of the catalogue's writer.
macro_rules! transaction {
    ($self:ident, |$connection:ident| $work:expr) => {
        $self.catalog.write(move |$connection| Box::pin(async move { $work.await })).await
    };
}

/// Runs `$work` with the connection `$connection` of the catalogue's readers; what it needs must be its own.
macro_rules! reading {
    ($self:ident, |$connection:ident| $work:expr) => {
        $self.catalog.read(move |$connection| Box::pin(async move { $work.await })).await
    };
}

/// As [`reading!`], for a few rows that are found by their keys.
macro_rules! looking_up {
    ($self:ident, |$connection:ident| $work:expr) => {
        $self.catalog.read_at_once(move |$connection| Box::pin(async move { $work.await })).await
    };
}

pub(crate) use {reading, transaction};

impl Tracking {
    /// Tracks in `catalog`, which was opened with [`MIGRATIONS`](crate::MIGRATIONS); artifacts go to `store`.
    pub fn new(catalog: Catalog, store: Store, ambient: Arc<dyn Ambient>) -> Self {
        Self { catalog, store, ambient }
    }

    /// The store that holds the bytes of artifacts.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Where the time and ids come from.
    pub fn ambient(&self) -> &dyn Ambient {
        &*self.ambient
    }

    /// Creates an experiment that keeps artifacts in the server's store; a name that is taken is an error.
    pub async fn experiment_create(&self, name: &str, tags: Vec<Tag>) -> Result<Experiment> {
        self.experiment_create_as(NewExperiment { name: name.to_owned(), artifact_location: None, tags }).await
    }

    /// The experiment of this name, created if there is none.
    pub async fn experiment_ensure(&self, name: &str) -> Result<Experiment> {
        let (name, at) = (name.to_owned(), self.ambient.now());
        transaction!(self, |connection| experiment::experiment_ensure(connection, &name, at))
    }

    /// The experiment with this id.
    pub async fn experiment_get(&self, id: ExperimentId) -> Result<Experiment> {
        looking_up!(self, |connection| experiment::get(connection, id))
    }

    /// The experiment of this name.
    pub async fn experiment_get_by_name(&self, name: &str) -> Result<Experiment> {
        let name = name.to_owned();
        looking_up!(self, |connection| experiment::by_name(connection, &name))
    }

    /// At most `limit` experiments that were not deleted, newest first, beginning after `before` if that is given.
    pub async fn experiment_list(&self, before: Option<ExperimentId>, limit: usize) -> Result<Vec<Experiment>> {
        reading!(self, |connection| experiment::list(connection, before, limit))
    }

    /// Sets a tag of an experiment, in place of one that has its key.
    pub async fn experiment_tag_set(&self, id: ExperimentId, tag: Tag) -> Result<()> {
        transaction!(self, |connection| experiment::tag_set(connection, id, &tag))
    }

    /// Begins a run, in state RUNNING. An experiment that was deleted takes none.
    pub async fn run_create(&self, new: NewRun) -> Result<Run> {
        let id = RunId::new(&*self.ambient);
        transaction!(self, |connection| write::run_create(connection, id, &new))
    }

    /// A run and what was logged to it, deleted or not.
    pub async fn run_get(&self, run: RunId) -> Result<Run> {
        looking_up!(self, |connection| read::get(connection, run))
    }

    /// What a run is, without what was logged to it.
    pub async fn run_info(&self, run: RunId) -> Result<RunInfo> {
        looking_up!(self, |connection| read::info(connection, run))
    }

    /// At most `limit` runs (not more than [`RUN_PAGE`](crate::RUN_PAGE)), newest first.
    pub async fn run_list(&self, filter: RunFilter, limit: usize) -> Result<RunPage> {
        reading!(self, |connection| read::list(connection, &filter, limit))
    }

    /// Changes a run's state, end or name.
    pub async fn run_update(&self, run: RunId, update: RunUpdate) -> Result<RunInfo> {
        transaction!(self, |connection| write::run_update(connection, run, &update))
    }

    /// Ends a run now.
    pub async fn run_finish(&self, run: RunId, status: RunStatus) -> Result<RunInfo> {
        let at = self.ambient.now();
        transaction!(self, |connection| write::run_finish(connection, run, status, at))
    }

    /// Marks a run as deleted: it is still read, but no longer written nor listed unless asked for.
    pub async fn run_delete(&self, run: RunId) -> Result<()> {
        let at = self.ambient.now();
        transaction!(self, |connection| write::deleted_set(connection, run, Some(at)))
    }

    /// Takes back [`Tracking::run_delete`].
    pub async fn run_restore(&self, run: RunId) -> Result<()> {
        transaction!(self, |connection| write::deleted_set(connection, run, None))
    }

    /// Ends, as KILLED, the runs of `owner` that are still RUNNING and not among `live`; says which.
    ///
    /// For the start of a process that knows that no other one of this owner is alive, as the holder of a lock does.
    pub async fn run_abandoned_mark(&self, owner: &str, live: Vec<RunId>) -> Result<Vec<RunId>> {
        let (owner, at) = (owner.to_owned(), self.ambient.now());
        transaction!(self, |connection| write::abandoned_mark(connection, &owner, &live, at))
    }

    /// Logs a batch to a run: all of it or nothing.
    ///
    /// At most 1000 metrics, 100 params, 100 tags, 1000 together. Params never change: the same value again is
    /// nothing, another is an error. A point that is there already (same step, time and value) is stored once; the
    /// latest is that of the highest step, then time, then value. Long values are cut, and said in [`Written`].
    pub async fn batch_log(&self, run: RunId, batch: Batch) -> Result<Written> {
        transaction!(self, |connection| batch::batch_log(connection, run, &batch))
    }

    /// Logs one param; see [`Tracking::batch_log`].
    pub async fn param_log(&self, run: RunId, param: Param) -> Result<Written> {
        self.params_log(run, vec![param]).await
    }

    /// Logs some params, all or none; see [`Tracking::batch_log`].
    pub async fn params_log(&self, run: RunId, params: Vec<Param>) -> Result<Written> {
        self.batch_log(run, Batch { params, ..Batch::default() }).await
    }

    /// Logs one point of a metric; see [`Tracking::batch_log`].
    pub async fn metric_log(&self, run: RunId, metric: Metric) -> Result<()> {
        self.metrics_log(run, vec![metric]).await
    }

    /// Logs some points of metrics, all or none; see [`Tracking::batch_log`].
    pub async fn metrics_log(&self, run: RunId, metrics: Vec<Metric>) -> Result<()> {
        self.batch_log(run, Batch { metrics, ..Batch::default() }).await.map(|_| ())
    }

    /// At most `limit` points (not more than [`HISTORY_PAGE`](crate::HISTORY_PAGE)) of a metric, oldest first.
    pub async fn metric_history(
        &self,
        run: RunId,
        key: &str,
        after: Option<HistoryCursor>,
        limit: usize,
    ) -> Result<HistoryPage> {
        let key = key.to_owned();
        reading!(self, |connection| metric::history(connection, run, &key, after, limit))
    }

    /// Sets a tag of a run, in place of one that has its key.
    pub async fn tag_set(&self, run: RunId, tag: Tag) -> Result<Written> {
        self.batch_log(run, Batch { tags: vec![tag], ..Batch::default() }).await
    }

    /// Deletes a tag of a run.
    pub async fn tag_delete(&self, run: RunId, key: &str) -> Result<()> {
        let key = key.to_owned();
        transaction!(self, |connection| batch::tag_delete(connection, run, &key))
    }

    /// All values that some run has for a tag, each once.
    pub async fn tag_values(&self, key: &str) -> Result<Vec<String>> {
        let key = key.to_owned();
        reading!(self, |connection| read::tag_values(connection, &key))
    }

    /// The names of the runs that have this value for a tag, the newest first.
    pub async fn tag_holders(&self, key: &str, value: &str) -> Result<Vec<String>> {
        let (key, value) = (key.to_owned(), value.to_owned());
        reading!(self, |connection| read::tag_holders(connection, &key, &value))
    }
}
