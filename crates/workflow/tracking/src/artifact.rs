mod path;
mod read;
mod root;
mod write;

use bytes::Bytes;
use ropewalk_types::{Digest, RunId, Timestamp};
use serde::Serialize;

pub use path::{ArtifactPath, ArtifactPathError};
pub use root::{ArtifactHome, ArtifactRoot, experiment_artifact_uri};
pub use write::{artifact_put, artifact_record, artifact_remove};

use crate::tracking::{reading, transaction};
use crate::{Tracking, TrackingError};

type Result<T> = std::result::Result<T, TrackingError>;

/// A file that somebody logged. Its bytes lie in the store, under its digest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Artifact {
    /// Where it lies under the root by which it was asked for.
    pub path: ArtifactPath,
    /// The digest of its bytes.
    pub digest: Digest,
    /// Its size in bytes.
    pub size: u64,
    /// When it was logged.
    pub created: Timestamp,
}

/// One line of a listing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub enum ArtifactEntry {
    /// A file.
    File(Artifact),
    /// A folder, by its path under the root.
    Folder(ArtifactPath),
}

impl ArtifactEntry {
    /// Its path under the root.
    pub fn path(&self) -> &ArtifactPath {
        match self {
            Self::File(artifact) => &artifact.path,
            Self::Folder(path) => path,
        }
    }
}

/// Artifacts, in the one namespace that those of runs, logged models, traces and all others share.
impl Tracking {
    /// Where the artifacts of a run lie, which its experiment decides.
    pub async fn artifact_home(&self, run: RunId) -> Result<ArtifactHome> {
        reading!(
            self,
            |connection| async move { Ok::<_, TrackingError>(read::run_place(connection, run).await?.home()) }
        )
    }

    /// The file at `path` under `root`.
    pub async fn artifact_at(&self, root: &ArtifactRoot, path: &ArtifactPath) -> Result<Artifact> {
        let (root, path) = (root.clone(), path.clone());
        reading!(self, |connection| read::at(connection, &root, &path))
    }

    /// What lies directly in a folder under `root`, or in `root` itself, by name; empty if there is no such folder.
    pub async fn artifact_entries(
        &self,
        root: &ArtifactRoot,
        folder: Option<&ArtifactPath>,
    ) -> Result<Vec<ArtifactEntry>> {
        let (root, folder) = (root.clone(), folder.cloned());
        reading!(self, |connection| read::entries(connection, &root, folder.as_ref()))
    }

    /// Records under `root` what the store holds already, in place of an artifact that has its path.
    pub async fn artifact_record(
        &self,
        root: &ArtifactRoot,
        path: ArtifactPath,
        digest: Digest,
        size: u64,
    ) -> Result<Artifact> {
        let artifact = self.held(path, digest, size).await?;
        let (root, recorded) = (root.clone(), artifact.clone());
        transaction!(self, |connection| write::artifact_record(connection, &root, &recorded))?;
        Ok(artifact)
    }

    /// As [`Tracking::artifact_record`], also in the folder of a deleted run: for what another server kept there.
    pub async fn artifact_take_over(
        &self,
        root: &ArtifactRoot,
        path: ArtifactPath,
        digest: Digest,
        size: u64,
    ) -> Result<()> {
        let artifact = self.held(path, digest, size).await?;
        let root = root.clone();
        transaction!(self, |connection| write::artifact_take_over(connection, &root, &artifact))
    }

    /// Puts `bytes` into the store and records them under `root`.
    pub async fn artifact_store(&self, root: &ArtifactRoot, path: ArtifactPath, bytes: Bytes) -> Result<Artifact> {
        let blob = self.store.put_bytes(bytes).await?;
        self.artifact_record(root, path, blob.digest, blob.size).await
    }

    /// The bytes of the file at `path` under `root`, whole: for one that is known to be small.
    pub async fn artifact_bytes(&self, root: &ArtifactRoot, path: &ArtifactPath) -> Result<Bytes> {
        let artifact = self.artifact_at(root, path).await?;
        Ok(self.store.get_bytes(&artifact.digest).await?)
    }

    /// Forgets a file or a folder with all in it, or without a path all under `root`; their bytes stay in the store.
    pub async fn artifact_remove(&self, root: &ArtifactRoot, path: Option<ArtifactPath>) -> Result<()> {
        let root = root.clone();
        transaction!(self, |connection| write::artifact_remove(connection, &root, path.as_ref()))
    }

    /// The digests of all artifacts: what a collection of garbage must keep.
    pub async fn artifact_digests(&self) -> Result<Vec<Digest>> {
        reading!(self, |connection| read::digests(connection))
    }

    /// Records as an artifact of a run what the store holds already, in place of one that has its path.
    pub async fn artifact_put(&self, run: RunId, path: ArtifactPath, digest: Digest, size: u64) -> Result<Artifact> {
        let artifact = self.held(path, digest, size).await?;
        let recorded = artifact.clone();
        transaction!(self, |connection| write::artifact_put(connection, run, &recorded))?;
        Ok(artifact)
    }

    /// Puts `bytes` into the store and records them as an artifact of a run.
    pub async fn artifact_write(&self, run: RunId, path: ArtifactPath, bytes: Bytes) -> Result<Artifact> {
        let blob = self.store.put_bytes(bytes).await?;
        self.artifact_put(run, path, blob.digest, blob.size).await
    }

    /// The artifact of a run at a path.
    pub async fn artifact_get(&self, run: RunId, path: &ArtifactPath) -> Result<Artifact> {
        let path = path.clone();
        reading!(self, |connection| async move {
            let root = read::run_place(connection, run).await?.root()?;
            read::at(connection, &root, &path).await
        })
    }

    /// The bytes of an artifact of a run, whole: for one that is known to be small.
    pub async fn artifact_read(&self, run: RunId, path: &ArtifactPath) -> Result<Bytes> {
        let artifact = self.artifact_get(run, path).await?;
        Ok(self.store.get_bytes(&artifact.digest).await?)
    }

    /// What lies directly in a folder of a run, or at its top, by path; empty if there is no such folder.
    pub async fn artifact_list(&self, run: RunId, folder: Option<&ArtifactPath>) -> Result<Vec<ArtifactEntry>> {
        let folder = folder.cloned();
        reading!(self, |connection| async move {
            let root = read::run_place(connection, run).await?.root()?;
            read::entries(connection, &root, folder.as_ref()).await
        })
    }

    /// Forgets an artifact of a run, a folder with all in it, or without a path all artifacts; their bytes stay.
    pub async fn artifact_delete(&self, run: RunId, path: Option<ArtifactPath>) -> Result<()> {
        transaction!(self, |connection| async move {
            let root = read::run_place(connection, run).await?.live_root()?;
            write::artifact_remove(connection, &root, path.as_ref()).await
        })
    }

    /// The artifact that these bytes are, which the store must hold.
    async fn held(&self, path: ArtifactPath, digest: Digest, size: u64) -> Result<Artifact> {
        if !self.store.contains(&digest).await? {
            return Err(TrackingError::ArtifactBytesAbsent { path: path.to_string(), digest });
        }
        Ok(Artifact { path, digest, size, created: self.ambient.now() })
    }
}

#[cfg(test)]
mod tests;
