use ropewalk_catalog::Connection;
use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use futures::future::BoxFuture;
use ropewalk_types::{Digest, RunId, RunStatus, Uri};

use crate::{Failure, Outcome, PipelineError, StageSpec};

/// Where the figures of one execution of a stage go: a tracked run.
#[async_trait]
pub trait RunRecorder: Send + Sync {
    /// The run.
    fn run(&self) -> RunId;

    /// Notes parameters.
    async fn params(&self, params: &BTreeMap<String, String>) -> Result<(), Failure>;

    /// Notes metrics of one step.
    async fn metrics(&self, metrics: &BTreeMap<String, f64>, step: i64) -> Result<(), Failure>;

    /// Notes tags, in place of those that have their keys.
    async fn tags(&self, tags: &BTreeMap<String, String>) -> Result<(), Failure>;

    /// Notes an artifact whose bytes are in the store.
    async fn artifact(&self, path: &str, digest: Digest, size: u64) -> Result<(), Failure>;

    /// Variables by which a child process reaches this run through the tracking API.
    async fn environment(&self) -> Result<BTreeMap<String, String>, Failure>;

    /// Ends the run, in the transaction that makes the stage's outcome visible.
    fn finish<'c>(
        &'c self,
        connection: &'c mut Connection,
        status: RunStatus,
    ) -> BoxFuture<'c, Result<(), PipelineError>>;

    /// Ends the run of a stage that failed, keeping the reason.
    async fn fail(&self, reason: &str) -> Result<(), Failure>;
}

/// Opens a run for each stage that is executed, and takes note of each that need not be.
#[async_trait]
pub trait RunRecorders: Send + Sync {
    /// Opens the run of `stage`, whose key is `key` and which will read `inputs`, before anything of them is read.
    async fn begin(
        &self,
        stage: &StageSpec,
        key: &Digest,
        inputs: &[Uri],
    ) -> Result<std::sync::Arc<dyn RunRecorder>, Failure>;

    /// A run came to `outcome`, which is known: what it made holds again, as if it had just been made. Gives the names of the
    /// outputs that became the latest of their datasets by that.
    async fn known(&self, outcome: &Outcome) -> Result<BTreeSet<String>, Failure>;
}
