//! What decided what a run made, kept with the run: code, inputs, environment and machine.

mod environment;
mod hardware;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use ropewalk_pipeline::{Artifact, Failure, Input, StageSpec};
use ropewalk_store::{Store, files};
use ropewalk_tracking::{Artifact as RunArtifact, ArtifactPath, Tracking, TrackingError};
use ropewalk_types::{Digest, RunId};
use ropewalk_versions::CodeState;
use serde::{Deserialize, Serialize};

pub(crate) use environment::LONGEST_LOCK;
pub use environment::{EnvironmentRecord, LockFile};
pub use hardware::HardwareRecord;

/// Where a run keeps these among its artifacts.
pub(crate) const FOLDER: &str = "ropewalk";
/// The record itself.
const RECORD: &str = "ropewalk/lineage.json";
/// The changes that the commit lacks.
const PATCH: &str = "ropewalk/code.patch";

/// What decided what a run made.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunLineage {
    /// The code that it ran.
    pub code: CodeRecord,
    /// What it read, by the name under which the stage knows it.
    pub inputs: BTreeMap<String, InputRecord>,
    /// The programs that it ran with.
    pub environment: EnvironmentRecord,
    /// The machine that it ran on.
    pub hardware: HardwareRecord,
}

/// The code of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CodeRecord {
    /// The tree of its files, in the store as long as no commit holds it.
    pub tree: Digest,
    /// Its files, relative to the project.
    pub files: Vec<String>,
    /// The commit that was checked out.
    pub commit: Option<String>,
    /// The branch that was checked out.
    pub branch: Option<String>,
    /// Whether the commit holds every file as it was.
    pub clean: bool,
    /// The digest of the changes that the commit lacks.
    pub patch: Option<Digest>,
}

/// Something that a run read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InputRecord {
    /// What it was.
    #[serde(flatten)]
    pub artifact: Artifact,
    /// The run that made it.
    pub run: RunId,
}

impl From<&Input> for InputRecord {
    fn from(input: &Input) -> Self {
        Self { artifact: input.artifact.clone(), run: input.run }
    }
}

impl From<InputRecord> for Input {
    fn from(record: InputRecord) -> Self {
        Self { artifact: record.artifact, run: record.run }
    }
}

/// What is the same for all runs of one command, found out once.
#[derive(Clone, Debug)]
pub(crate) struct Surroundings {
    root: PathBuf,
    code: CodeState,
    files: Vec<String>,
    variables: BTreeMap<String, String>,
    hardware: HardwareRecord,
}

impl Surroundings {
    /// `files` are the code of the project at `root`; `variables` is the environment of the person who runs it.
    pub(crate) async fn find(
        root: &Path,
        code: &CodeState,
        files: &[PathBuf],
        variables: &BTreeMap<String, String>,
    ) -> Result<Self, Failure> {
        let hardware = tokio::task::spawn_blocking(hardware::here).await.map_err(|error| lost(&error))?;
        Ok(Self {
            root: root.to_owned(),
            code: code.clone(),
            files: files.iter().map(|file| file.display().to_string()).collect(),
            variables: variables.clone(),
            hardware,
        })
    }

    /// Keeps what decides what `stage` will make, with its run; gives the files that say it.
    pub(crate) async fn keep(
        &self,
        tracking: &Tracking,
        run: RunId,
        stage: &StageSpec,
        inputs: &BTreeMap<String, Input>,
    ) -> Result<Vec<RunArtifact>, Failure> {
        let environment = self.environment(stage).await?;
        let mut kept = Vec::new();
        if let Some(patch) = self.code.patch {
            kept.push(tracking.artifact_put(run, path(PATCH)?, patch.digest, patch.size).await?);
        }
        if let Some(lock) = &environment.lock {
            let at = self.root.join(&lock.path);
            let blob = tracking.store().put_file(&at).await?;
            let place = path(&format!("{FOLDER}/{}", lock.path))?;
            kept.push(tracking.artifact_put(run, place, blob.digest, blob.size).await?);
        }
        let code = CodeRecord {
            tree: self.code.tree,
            files: self.files.clone(),
            commit: self.code.commit.clone(),
            branch: self.code.branch.clone(),
            clean: self.code.clean,
            patch: self.code.patch.map(|patch| patch.digest),
        };
        let inputs = inputs.iter().map(|(name, input)| (name.clone(), InputRecord::from(input))).collect();
        let record = RunLineage { code, inputs, environment, hardware: self.hardware.clone() };
        let text = serde_json::to_vec(&record).map_err(|error| lost(&error))?;
        kept.push(tracking.artifact_write(run, path(RECORD)?, Bytes::from(text)).await?);
        Ok(kept)
    }

    async fn environment(&self, stage: &StageSpec) -> Result<EnvironmentRecord, Failure> {
        let line = stage.settings.get("line").and_then(serde_json::Value::as_str).map(str::to_owned);
        let line = line.filter(|_| stage.kind == "run");
        let (root, variables) = (self.root.clone(), self.variables.clone());
        let here = move || environment::here(&root, line.as_deref(), &variables);
        Ok(tokio::task::spawn_blocking(here).await.map_err(|error| lost(&error))??)
    }
}

/// What a run keeps of this; none of runs that no stage made.
pub(crate) async fn lineage_of(tracking: &Tracking, run: RunId) -> Result<Option<RunLineage>, Failure> {
    let bytes = match tracking.artifact_read(run, &path(RECORD)?).await {
        // What lies in a bucket, a client put there.
        Err(TrackingError::ArtifactAbsent { .. } | TrackingError::ArtifactsElsewhere { .. }) => return Ok(None),
        bytes => bytes?,
    };
    // A later version may have written more; what cannot be read at all is as good as none.
    Ok(serde_json::from_slice(&bytes).ok())
}

/// Lays out the code of a run in `target`, which is not there yet: from the store, or from git where a commit holds it.
pub(crate) async fn code_laid_out(root: &Path, store: &Store, code: &CodeRecord, target: &Path) -> Result<(), Failure> {
    match &code.commit {
        Some(commit) if code.clean && !store.contains(&code.tree).await? => {
            files::create_directories(target)?;
            Ok(ropewalk_versions::code_of_commit(root, commit, &code.files, target).await?)
        }
        _ => Ok(store.materialize_tree(&code.tree, target).await?),
    }
}

fn path(text: &str) -> Result<ArtifactPath, TrackingError> {
    ArtifactPath::new(text).map_err(TrackingError::from)
}

fn lost(error: &dyn std::fmt::Display) -> Failure {
    crate::ServerError::Serve(error.to_string()).into()
}
