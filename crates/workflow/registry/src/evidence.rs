use std::collections::BTreeSet;
use std::fmt::Debug;

use async_trait::async_trait;
use bytes::Bytes;
use ropewalk_catalog::Connection;
use ropewalk_tracking::{Artifact, ArtifactHome, ArtifactPath, ArtifactRoot, RunFacts, Tracking, run_facts};
use ropewalk_types::Uri;

use crate::{Interface, Metrics, MlModel, ModelVersion};

/// The name of the file by which MLflow describes a model.
const MLMODEL: &str = "MLmodel";
/// Largest `MLmodel` that is read, in bytes: one with 10,000 columns has 700 kB.
const MLMODEL_BYTES: u64 = 8 << 20;

/// By what a version is judged.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Facts {
    /// The final value of each metric.
    pub metrics: Metrics,
    /// The versions of datasets that it was made and measured with, such as `flights@0123`.
    pub datasets: BTreeSet<String>,
    /// Those of them that are said to be for measuring: evaluation, test, validation.
    pub measured_on: BTreeSet<String>,
}

/// Where it is read by what a version is judged.
#[async_trait]
pub trait Evidence: Send + Sync + Debug {
    /// What is known of a version; `connection` is inside the promotion's transaction, and nothing else may be waited
    /// for. The error is a sentence for the person who promotes.
    async fn facts(&self, connection: &mut Connection, version: &ModelVersion) -> Result<Facts, String>;

    /// What a version takes and gives whose bytes the catalogue does not know; asked outside of any transaction. The
    /// error is a sentence for the person who promotes.
    async fn interface(&self, version: &ModelVersion) -> Result<Interface, String> {
        Err(format!("nothing is read from {}", version.storage))
    }
}

/// The facts of a version are those of its run; a version without a run, or whose run is not here, has none. What it
/// takes and gives is not known.
#[derive(Clone, Copy, Debug)]
pub struct TrackedRuns;

#[async_trait]
impl Evidence for TrackedRuns {
    async fn facts(&self, connection: &mut Connection, version: &ModelVersion) -> Result<Facts, String> {
        let Ok(run) = version.run_id() else { return Ok(Facts::default()) };
        let found = run_facts(connection, run).await.map_err(|error| error.to_string())?;
        let Some(RunFacts { metrics, datasets, measured_on }) = found else { return Ok(Facts::default()) };
        Ok(Facts { metrics, datasets, measured_on })
    }
}

/// As [`TrackedRuns`]; what a version takes and gives is read from the `MLmodel` among its files, if they lie here.
#[derive(Clone, Debug)]
pub struct TrackedModels {
    tracking: Tracking,
}

#[async_trait]
impl Evidence for TrackedModels {
    async fn facts(&self, connection: &mut Connection, version: &ModelVersion) -> Result<Facts, String> {
        TrackedRuns.facts(connection, version).await
    }

    async fn interface(&self, version: &ModelVersion) -> Result<Interface, String> {
        let model = self.mlmodel(version).await?;
        model.interface.ok_or_else(|| "it was logged without a signature".to_owned())
    }
}

impl TrackedModels {
    /// Reads the files that `tracking` keeps.
    pub fn new(tracking: Tracking) -> Self {
        Self { tracking }
    }

    /// How MLflow describes a version. The error is a sentence for people.
    pub async fn mlmodel(&self, version: &ModelVersion) -> Result<MlModel, String> {
        let (artifact, bytes) = self.file(version, MLMODEL, MLMODEL_BYTES).await?;
        let text = std::str::from_utf8(&bytes).map_err(|error| format!("its {} is no text: {error}", artifact.path))?;
        MlModel::parse(text).map_err(|error| error.to_string())
    }

    /// A file of a version, of at most `most` bytes, by its path in the version's folder. The error is a sentence for
    /// people.
    pub async fn file(&self, version: &ModelVersion, path: &str, most: u64) -> Result<(Artifact, Bytes), String> {
        let (root, folder) = self.place(&version.storage).await?;
        let path = ArtifactPath::new(if folder.is_empty() { path.to_owned() } else { format!("{folder}/{path}") });
        let path = path.map_err(|error| error.to_string())?;
        let artifact = self.tracking.artifact_at(&root, &path).await.map_err(|error| error.to_string())?;
        if artifact.size > most {
            return Err(format!("its {path} has {} bytes, and at most {most} are read", artifact.size));
        }
        let bytes = self.tracking.store().get_bytes(&artifact.digest).await.map_err(|error| error.to_string())?;
        Ok((artifact, bytes))
    }

    /// Under which root a version's files lie, and in which folder there.
    async fn place(&self, storage: &str) -> Result<(ArtifactRoot, String), String> {
        let (home, folder) = match storage.parse::<Uri>() {
            Ok(Uri::Run { run, path }) => {
                (self.tracking.artifact_home(run).await.map_err(|error| error.to_string())?, path)
            }
            _ => (ArtifactHome::of_uri(storage).map_err(|error| error.to_string())?, String::new()),
        };
        match home {
            ArtifactHome::Here(root) => Ok((root, folder)),
            ArtifactHome::Elsewhere(uri) => Err(format!("its files lie at {uri}, which is not read from here")),
        }
    }
}
