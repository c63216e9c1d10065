use std::path::Path;

use bytes::Bytes;
use ropewalk_store::files::{self, TemporaryDirectory};
use ropewalk_tracking::{Artifact, ArtifactEntry, ArtifactHome, ArtifactPath, ArtifactRoot, Tracking};
use ropewalk_types::{Digest, Uri};

/// Most files, and most bytes, of a model that is written to a folder.
const FILES: usize = 10_000;
const BYTES: u64 = 16 << 30;

/// Where among the artifacts a model lies. Errors are sentences for people.
pub(super) struct ModelFolder<'t> {
    tracking: &'t Tracking,
    root: ArtifactRoot,
    /// Below the root; empty for the root itself.
    folder: String,
}

impl<'t> ModelFolder<'t> {
    /// The folder that `runs:/RUN_ID/PATH` or another URI of artifacts names.
    pub(super) async fn at(tracking: &'t Tracking, place: &str) -> Result<Self, String> {
        let (home, folder) = match place.parse::<Uri>() {
            Ok(Uri::Run { run, path }) => (tracking.artifact_home(run).await.map_err(|error| error.to_string())?, path),
            _ => (ArtifactHome::of_uri(place).map_err(|error| error.to_string())?, String::new()),
        };
        match home {
            ArtifactHome::Here(root) => Ok(Self { tracking, root, folder }),
            ArtifactHome::Elsewhere(uri) => Err(format!("its files lie at {uri}, which is not read from here")),
        }
    }

    /// The bytes of the place itself, if it is a file.
    pub(super) async fn itself(&self, most: u64) -> Result<Option<(Digest, Bytes)>, String> {
        if self.folder.rsplit_once('.').is_none_or(|(_, extension)| extension != "onnx") {
            return Ok(None);
        }
        let path = ArtifactPath::new(self.folder.clone()).map_err(|error| error.to_string())?;
        self.read(&path, most).await.map(Some)
    }

    /// A file of the folder, of at most `most` bytes.
    pub(super) async fn file(&self, path: &str, most: u64) -> Result<(Digest, Bytes), String> {
        let below = if self.folder.is_empty() { path.to_owned() } else { format!("{}/{path}", self.folder) };
        let path = ArtifactPath::new(below).map_err(|error| error.to_string())?;
        self.read(&path, most).await
    }

    async fn read(&self, path: &ArtifactPath, most: u64) -> Result<(Digest, Bytes), String> {
        let artifact = self.tracking.artifact_at(&self.root, path).await.map_err(|error| error.to_string())?;
        if artifact.size > most {
            return Err(format!("its {} has {} bytes, and at most {most} are read", path.as_str(), artifact.size));
        }
        let bytes = self.tracking.store().get_bytes(&artifact.digest).await.map_err(|error| error.to_string())?;
        Ok((artifact.digest, bytes))
    }

    /// All files, but the one at `except`, written to a folder of this machine, for engines that read them there.
    pub(super) async fn written(&self, except: Option<&str>) -> Result<TemporaryDirectory, String> {
        let kept = files::scratch_directory(&std::env::temp_dir()).map_err(|error| error.to_string())?;
        for artifact in self.list().await? {
            let below = artifact.path.as_str();
            let below = if self.folder.is_empty() { below } else { below.strip_prefix(&self.folder).unwrap_or(below) };
            let below = below.trim_start_matches('/');
            if except == Some(below) {
                continue;
            }
            // The path of an artifact leaves its root nowhere: `ArtifactPath` says so.
            let path = kept.path().join(below);
            let bytes = self.tracking.store().get_bytes(&artifact.digest).await.map_err(|error| error.to_string())?;
            let written = tokio::task::spawn_blocking(move || {
                files::create_directories(path.parent().unwrap_or(Path::new(".")))?;
                files::write_new(&path, &bytes, false)
            });
            written.await.map_err(|error| error.to_string())?.map_err(|error| error.to_string())?;
        }
        Ok(kept)
    }

    async fn list(&self) -> Result<Vec<Artifact>, String> {
        let begin = if self.folder.is_empty() { None } else { Some(ArtifactPath::new(self.folder.clone())) };
        let mut folders = vec![begin.transpose().map_err(|error| error.to_string())?];
        let (mut found, mut bytes) = (Vec::new(), 0_u64);
        while let Some(folder) = folders.pop() {
            let entries = self.tracking.artifact_entries(&self.root, folder.as_ref()).await;
            for entry in entries.map_err(|error| error.to_string())? {
                match entry {
                    ArtifactEntry::Folder(path) => folders.push(Some(path)),
                    ArtifactEntry::File(artifact) => {
                        bytes = bytes.saturating_add(artifact.size);
                        found.push(artifact);
                    }
                }
                if found.len() + folders.len() > FILES || bytes > BYTES {
                    return Err(format!("it has more than {FILES} files, or more than {BYTES} bytes"));
                }
            }
        }
        Ok(found)
    }
}
