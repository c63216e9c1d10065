use std::collections::BTreeMap;

use async_trait::async_trait;
use ropewalk_pipeline::{Artifact, ArtifactKind, Executed, Failure, Project, StageContext, StageKind, StageSpec};
use ropewalk_store::{Store, TreeFile};
use ropewalk_types::{DatasetName, Digest, Zone};
use ropewalk_versions::{Kind, Resolved};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::holders::{Holders, data};
use crate::collecting::{CONTENT, TRACKED_KIND};

/// Tracked files stand at the beginning of a pipeline: `source = "data:NAME"` or `"data:NAME@VERSION"`.
pub(crate) struct TrackedKind {
    pub(crate) holders: Holders,
}

/// Which version of which tracked dataset.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct TrackedSettings {
    pub(crate) out: DatasetName,
    pub(crate) zone: Zone,
    pub(crate) dataset: DatasetName,
    /// What the `.dataset` file names, if none is said.
    pub(crate) version: Option<String>,
}

/// The content that is meant.
struct Content {
    /// A tree; of a single file its blob.
    root: Digest,
    bytes: u64,
    /// The version that it is, if it was committed.
    version: Option<Digest>,
    /// What a single file is called, and whether it may be executed; of a folder nothing.
    file: Option<(String, bool)>,
}

impl Content {
    /// The tree that stages get: a single file is alone in it.
    async fn tree(&self, store: &Store) -> Result<Digest, Failure> {
        let Some((path, executable)) = self.file.clone() else { return Ok(self.root) };
        let file = TreeFile { path, digest: self.root, size: self.bytes, executable };
        let mut writer = store.writer();
        let tree = writer.add_tree_of(&[file]).await?;
        writer.commit().await?;
        Ok(tree)
    }
}

impl TrackedKind {
    async fn content(&self, settings: &TrackedSettings) -> Result<Content, Failure> {
        let (kind, path, root, bytes, version) = if let Some(version) = &settings.version {
            let Resolved { digest, version } = self.holders.workspace.resolve(&settings.dataset, version).await?;
            (version.kind, version.path, version.root, version.bytes, Some(digest))
        } else {
            let pointer = self.holders.workspace.dataset(&settings.dataset).await?.pointer;
            if let Some(version) = pointer.version() {
                // Refused if it was removed; the pointer's own version may be known to nothing but the pointer.
                self.holders.workspace.check_there(&settings.dataset, &version).await?;
            }
            let version = pointer.version();
            (pointer.kind, pointer.path, pointer.digest, pointer.bytes, version)
        };
        let name = path.rsplit('/').next().unwrap_or(&path).to_owned();
        let file = (kind != Kind::Folder).then_some((name, kind == Kind::Executable));
        Ok(Content { root, bytes, version, file })
    }
}

#[async_trait]
impl StageKind for TrackedKind {
    fn name(&self) -> &'static str {
        TRACKED_KIND
    }

    fn revision(&self) -> u32 {
        2
    }

    async fn fingerprint(&self, spec: &StageSpec, _: &Project, _: &Store) -> Result<Value, Failure> {
        let settings: TrackedSettings = spec.settings()?;
        let Content { root, version, file, .. } = self.content(&settings).await?;
        let made_of = data(&settings.dataset, version.unwrap_or(root));
        self.holders.check_lowered(&settings.out, &[made_of]).await?;
        // The version makes nothing else of the same tree, but lineage names it.
        let mut fingerprint = json!({ "tree": root, "version": version });
        if let Some(file) = file {
            fingerprint["file"] = json!(file);
        }
        Ok(fingerprint)
    }

    async fn execute(&self, spec: &StageSpec, context: &StageContext) -> Result<Executed, Failure> {
        let settings: TrackedSettings = spec.settings()?;
        let content = self.content(&settings).await?;
        let digest = content.tree(&context.store).await?;
        let Content { root, bytes: size, version, .. } = content;
        // What is named must be here before anything builds on it.
        let files = context.store.tree_files(&digest).await?.len();
        let kind = ArtifactKind::Dataset { name: settings.out.clone(), zone: settings.zone };
        let outputs = BTreeMap::from([(settings.out.to_string(), Artifact { kind, digest, size })]);
        let summary = json!({ "files": files, "bytes": size, CONTENT: root });
        // What was not committed is named by its content, unless the output has that very name.
        let read = data(&settings.dataset, version.unwrap_or(root));
        let sources = Vec::from_iter(Some(read).filter(|read| *read != data(&settings.out, digest)));
        Ok(Executed { outputs, summary, sources, records: Vec::new() })
    }
}
