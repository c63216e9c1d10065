//! Experiment and pipeline tracking: experiments, runs, params, metrics, tags and artifacts.
//!
//! This box owns their rules and their tables. The rules are MLflow's (3.17), so that its clients can be served
//! by a translation alone: params never change, metrics keep their history, a run's name and its tag
//! `mlflow.runName` are the same thing, names and paths cannot climb out of their folder.
//!
//! It must never open a socket, read the environment, or tell the time by itself; the bytes of artifacts live in
//! the [`Store`](ropewalk_store::Store), this box keeps their names. It knows no wire format and no pipeline.

mod artifact;
mod batch;
mod error;
mod experiment;
mod limits;
mod metric;
mod origin;
mod rows;
mod run;
#[cfg(test)]
mod testing;
mod tracking;
pub mod transaction;

use ropewalk_catalog::{Migration, MigrationSet};

pub use artifact::{Artifact, ArtifactEntry, ArtifactPath, ArtifactPathError};
pub use batch::{Batch, Param, Tag, Written};
pub use error::{ErrorKind, TrackingError};
pub use experiment::{DEFAULT_EXPERIMENT, Experiment};
pub use limits::{
    ARTIFACT_PATH_BYTES, BATCH_METRICS, BATCH_PARAMS, BATCH_TAGS, BATCH_TOTAL, EXPERIMENT_NAME_CHARACTERS,
    EXPERIMENT_TAG_CHARACTERS, HISTORY_PAGE, KEY_CHARACTERS, PARAM_CHARACTERS, RUN_PAGE, TAG_CHARACTERS,
};
pub use metric::{HistoryCursor, HistoryPage, Metric};
pub use origin::{LoggedModelOrigin, RunFacts, logged_model_origin, run_artifact_uri, run_facts, tag_key_check};
pub use run::{
    CursorError, Lifecycle, NewRun, PARENT_RUN_TAG, RUN_NAME_TAG, Run, RunCursor, RunFilter, RunInfo, RunPage,
    RunUpdate,
};
pub use tracking::Tracking;

/// The tables of this box.
pub const MIGRATIONS: MigrationSet = MigrationSet {
    owner: "tracking",
    steps: &[Migration { number: 1, name: "tracking", sql: include_str!("../migrations/001_tracking.sql") }],
};
