use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use async_trait::async_trait;
use futures::future::BoxFuture;
use ropewalk_catalog::{Catalog, Connection};
use ropewalk_data::{AuditAction, AuditEvent, DataError, audit_append, audit_write, version_again, version_list};
use ropewalk_mlflow::{MlflowState, RunBegun, Secret};
use ropewalk_pipeline::{ArtifactKind, Failure, Input, Outcome, PipelineError, RunRecorder, RunRecorders, StageSpec};
use ropewalk_registry::Registry;
use ropewalk_tracking::{
    Artifact, ArtifactHome, ArtifactPath, Batch, Metric, NewRun, Param, Tag, Tracking, TrackingError, transaction,
};
use ropewalk_types::{Ambient, DatasetName, Digest, ExperimentId, RunId, RunStatus, Uri};
use ropewalk_versions::CodeState;
use serde_json::json;
use tokio::sync::OnceCell;
use tokio::task::JoinHandle;

use crate::run_lineage::Surroundings;
use crate::{OpenProject, ServerError};

/// The tag in which a run keeps the name of its code.
pub(crate) const CODE_TAG: &str = "ropewalk.code";

/// Who answers for the runs of pipelines: the holder of the project's lock.
const OWNER: &str = "pipeline";

/// Opens a tracked run for each stage that is executed; makes tables that are known the latest again.
pub(crate) struct TrackedRuns {
    tracking: Tracking,
    registry: Registry,
    ambient: Arc<dyn Ambient>,
    experiment: ExperimentId,
    code: CodeState,
    surroundings: Surroundings,
    catalog: Catalog,
    who: String,
}

/// The run of one execution, and the tracking API that its commands may call.
struct TrackedRun {
    tracking: Tracking,
    registry: Registry,
    ambient: Arc<dyn Ambient>,
    run: RunId,
    /// What says from what the run came.
    kept: Vec<Artifact>,
    endpoint: OnceCell<Endpoint>,
}

impl OpenProject {
    /// Runs that a killed process left behind are said to be killed. Only the holder of the lock may call it.
    pub(crate) async fn runs_abandoned_mark(&self) -> Result<Vec<RunId>, ServerError> {
        Ok(self.tracking.run_abandoned_mark(OWNER, Vec::new()).await?)
    }
}

impl TrackedRuns {
    /// `surroundings` are kept with each run.
    pub(crate) async fn new(
        project: &OpenProject,
        code: CodeState,
        surroundings: Surroundings,
    ) -> Result<Self, ServerError> {
        let experiment = project.tracking.experiment_ensure(&project.file.project.name).await?.id;
        let (tracking, ambient) = (project.tracking.clone(), Arc::clone(&project.ambient));
        let (catalog, who) = (project.catalog.clone(), project.who.clone());
        let registry = project.registry.clone();
        Ok(Self { tracking, registry, ambient, experiment, code, surroundings, catalog, who })
    }

    /// Notes who is about to read which versions, also if the stage fails afterwards.
    async fn audit_reads(
        &self,
        stage: &StageSpec,
        run: RunId,
        inputs: &BTreeMap<String, Input>,
    ) -> Result<(), DataError> {
        let at = self.ambient.now();
        let events: Vec<_> = inputs
            .values()
            .filter_map(Input::uri)
            .filter(|input| matches!(input, Uri::Data { .. }))
            .map(|input| AuditEvent {
                at,
                who: self.who.clone(),
                action: AuditAction::Read,
                object: input.to_string(),
                details: json!({ "stage": stage.name, "run": run }),
            })
            .collect();
        audit_write(&self.catalog, events).await
    }

    /// Makes a version that a stage once made the latest again; false where it is that, and where it was removed.
    async fn again(&self, name: &DatasetName, digest: Digest, key: Digest) -> Result<bool, DataError> {
        // Nearly always it is the latest: no writer need be waited for.
        let versions = version_list(&self.catalog, Some(name)).await?;
        if versions.first().is_none_or(|latest| latest.digest == digest) {
            return Ok(false);
        }
        let (name, at, who) = (name.clone(), self.ambient.now(), self.who.clone());
        let write = self.catalog.write(move |connection| {
            Box::pin(async move {
                let Some(version) = version_again(connection, &name, &digest, key, at).await? else {
                    return Ok(false);
                };
                let object = Uri::Data { name, version: digest.to_string() }.to_string();
                let details =
                    json!({ "rows": version.rows, "bytes": version.bytes, "stage_key": key, "latest_again": true });
                audit_append(connection, &AuditEvent { at, who, action: AuditAction::Write, object, details }).await?;
                Ok(true)
            })
        });
        write.await
    }

    fn tags(&self, stage: &StageSpec, key: &Digest) -> Vec<Tag> {
        let mut tags = vec![
            Tag::new("ropewalk.stage", stage.name.as_str()),
            Tag::new("ropewalk.kind", stage.kind),
            Tag::new("ropewalk.key", key.to_string()),
            Tag::new(CODE_TAG, self.code.uri().to_string()),
        ];
        tags.extend(self.code.commit.iter().map(|commit| Tag::new("mlflow.source.git.commit", commit)));
        tags.extend(self.code.branch.iter().map(|branch| Tag::new("mlflow.source.git.branch", branch)));
        tags
    }
}

#[async_trait]
impl RunRecorders for TrackedRuns {
    async fn begin(
        &self,
        stage: &StageSpec,
        key: &Digest,
        inputs: &BTreeMap<String, Input>,
    ) -> Result<Arc<dyn RunRecorder>, Failure> {
        let mut new = NewRun::new(self.experiment, self.ambient.now());
        new.name = Some(format!("{}-{}", stage.name, &key.short()[..7]));
        new.tags = self.tags(stage, key);
        new.owner = Some(OWNER.to_owned());
        let run = self.tracking.run_create(new).await?.info.id;
        self.audit_reads(stage, run, inputs).await?;
        let kept = self.surroundings.keep(&self.tracking, run, stage, inputs).await?;
        let (tracking, ambient) = (self.tracking.clone(), Arc::clone(&self.ambient));
        let registry = self.registry.clone();
        Ok(Arc::new(TrackedRun { tracking, registry, ambient, run, kept, endpoint: OnceCell::new() }))
    }

    async fn known(&self, outcome: &Outcome) -> Result<BTreeSet<String>, Failure> {
        let mut again = BTreeSet::new();
        for (output, artifact) in &outcome.outputs {
            if let ArtifactKind::Dataset { name, .. } = &artifact.kind
                && self.again(name, artifact.digest, outcome.key).await?
            {
                again.insert(output.clone());
            }
        }
        Ok(again)
    }
}

#[async_trait]
impl RunRecorder for TrackedRun {
    fn run(&self) -> RunId {
        self.run
    }

    async fn params(&self, params: &BTreeMap<String, String>) -> Result<(), Failure> {
        let params: Vec<Param> = params.iter().map(|(key, value)| Param::new(key, value)).collect();
        for params in params.chunks(ropewalk_tracking::BATCH_PARAMS) {
            self.tracking.params_log(self.run, params.to_vec()).await?;
        }
        Ok(())
    }

    async fn metrics(&self, metrics: &BTreeMap<String, f64>, step: i64) -> Result<(), Failure> {
        let at = self.ambient.now();
        let metrics = metrics.iter().map(|(key, value)| Metric::new(key, *value, step, at)).collect();
        self.tracking.batch_log(self.run, Batch { metrics, ..Batch::default() }).await?;
        Ok(())
    }

    async fn tags(&self, tags: &BTreeMap<String, String>) -> Result<(), Failure> {
        let tags = tags.iter().map(|(key, value)| Tag::new(key, value)).collect();
        self.tracking.batch_log(self.run, Batch { tags, ..Batch::default() }).await?;
        Ok(())
    }

    async fn artifact(&self, path: &str, digest: Digest, size: u64) -> Result<(), Failure> {
        let path = ArtifactPath::new(path).map_err(TrackingError::from)?;
        self.tracking.artifact_put(self.run, path, digest, size).await?;
        Ok(())
    }

    async fn environment(&self) -> Result<BTreeMap<String, String>, Failure> {
        let endpoint = self.endpoint.get_or_try_init(|| self.open()).await?;
        Ok(BTreeMap::from([
            ("MLFLOW_TRACKING_URI".to_owned(), endpoint.url.clone()),
            ("MLFLOW_TRACKING_TOKEN".to_owned(), endpoint.token.clone()),
            ("MLFLOW_RUN_ID".to_owned(), self.run.to_string()),
        ]))
    }

    fn finish<'c>(
        &'c self,
        connection: &'c mut Connection,
        status: RunStatus,
    ) -> BoxFuture<'c, Result<(), PipelineError>> {
        Box::pin(async move {
            let ended = transaction::run_finish(connection, self.run, status, self.ambient.now()).await;
            ended.map(|_| ()).map_err(|error| PipelineError::Record(error.into()))
        })
    }

    async fn fail(&self, reason: &str) -> Result<(), Failure> {
        self.tracking.tag_set(self.run, Tag::new("ropewalk.error", reason)).await?;
        self.tracking.run_finish(self.run, RunStatus::Failed).await?;
        Ok(())
    }
}

/// The tracking API on a private address of this machine, for as long as one stage runs.
struct Endpoint {
    url: String,
    token: String,
    server: JoinHandle<()>,
}

impl TrackedRun {
    async fn open(&self) -> Result<Endpoint, ServerError> {
        let refused = |source| ServerError::Listen { address: "127.0.0.1:0".to_owned(), source };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.map_err(refused)?;
        let url = format!("http://{}", listener.local_addr().map_err(refused)?);
        let token = format!("{:032x}{:032x}", self.ambient.random(), self.ambient.random());
        let mut state = MlflowState::new(self.tracking.clone(), self.registry.clone());
        state.token = Some(Secret::new(&token));
        state.owner = Some(OWNER.to_owned());
        let hears: Arc<dyn RunBegun> = Arc::new(Inherited { tracking: self.tracking.clone(), kept: self.kept.clone() });
        state.begun = Some(hears);
        let router = ropewalk_mlflow::router(state);
        let server = tokio::spawn(async move {
            // It ends with the stage; a client that loses it says so itself.
            let _ = axum::serve(listener, router).await;
        });
        Ok(Endpoint { url, token, server })
    }
}

/// The runs that a stage's commands begin besides the stage's own came from the same: they keep the same record.
#[derive(Debug)]
struct Inherited {
    tracking: Tracking,
    kept: Vec<Artifact>,
}

impl RunBegun for Inherited {
    fn begun(&self, run: RunId) -> BoxFuture<'_, Result<(), TrackingError>> {
        Box::pin(async move {
            // An experiment that a script made may keep its artifacts in a bucket, into which nothing is written from here.
            if matches!(self.tracking.artifact_home(run).await?, ArtifactHome::Elsewhere(_)) {
                return Ok(());
            }
            for file in &self.kept {
                self.tracking.artifact_put(run, file.path.clone(), file.digest, file.size).await?;
            }
            Ok(())
        })
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        self.server.abort();
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use ropewalk_store::Store;
    use ropewalk_tracking::{DEFAULT_EXPERIMENT, MIGRATIONS};
    use ropewalk_types::{ManualAmbient, Timestamp};

    use super::*;

    #[tokio::test]
    async fn a_run_that_a_command_begins_keeps_what_the_run_of_its_stage_keeps() {
        let catalog = Catalog::in_memory(&[MIGRATIONS]).await.expect("catalogue in memory");
        let store = Store::open("memory:").await.expect("store in memory");
        let tracking = Tracking::new(catalog, store, Arc::new(ManualAmbient::default()));
        let begin =
            async || tracking.run_create(NewRun::new(DEFAULT_EXPERIMENT, Timestamp(1))).await.expect("run").info.id;
        let (stage, child) = (begin().await, begin().await);
        let path = ArtifactPath::new("ropewalk/lineage.json").expect("path");
        let record = tracking.artifact_write(stage, path.clone(), Bytes::from_static(b"{}")).await.expect("record");
        let inherited = Inherited { tracking: tracking.clone(), kept: vec![record] };
        inherited.begun(child).await.expect("kept");
        assert_eq!(tracking.artifact_read(child, &path).await.expect("record"), Bytes::from_static(b"{}"));
    }
}
