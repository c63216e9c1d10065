use std::collections::BTreeMap;

use async_trait::async_trait;
use ropewalk_pipeline::{Artifact, ArtifactKind, Executed, Failure, Project, StageContext, StageKind, StageSpec};
use ropewalk_store::Store;
use ropewalk_types::{DatasetName, Diagnose, Digest, Zone};
use ropewalk_versions::{Kind, Resolved};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::holders::{Holders, data};
use crate::collecting::TRACKED_KIND;

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

/// A single file where a folder is wanted.
#[derive(Debug, thiserror::Error)]
#[error("the tracked dataset `{0}` is a single file")]
struct SingleFile(DatasetName);

impl Diagnose for SingleFile {
    fn code(&self) -> &'static str {
        "data.single_file"
    }

    fn hint(&self) -> Option<String> {
        Some("track the folder that holds it, or name the file itself as the source".to_owned())
    }
}

/// The content that is meant.
struct Content {
    tree: Digest,
    bytes: u64,
    /// The version that it is, if it was committed.
    version: Option<Digest>,
}

impl TrackedKind {
    async fn content(&self, settings: &TrackedSettings) -> Result<Content, Failure> {
        let (kind, tree, bytes, version) = if let Some(version) = &settings.version {
            let Resolved { digest, version } = self.holders.workspace.resolve(&settings.dataset, version).await?;
            (version.kind, version.root, version.bytes, Some(digest))
        } else {
            let pointer = self.holders.workspace.dataset(&settings.dataset).await?.pointer;
            if let Some(version) = pointer.version() {
                // Refused if it was removed; the pointer's own version may be known to nothing but the pointer.
                self.holders.workspace.check_there(&settings.dataset, &version).await?;
            }
            (pointer.kind, pointer.digest, pointer.bytes, pointer.version())
        };
        match kind {
            Kind::Folder => Ok(Content { tree, bytes, version }),
            Kind::File | Kind::Executable => Err(SingleFile(settings.dataset.clone()).into()),
        }
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
        let Content { tree, version, .. } = self.content(&settings).await?;
        let made_of = data(&settings.dataset, version.unwrap_or(tree));
        self.holders.check_lowered(&settings.out, &[made_of]).await?;
        // The version makes nothing else of the same tree, but lineage names it.
        Ok(json!({ "tree": tree, "version": version }))
    }

    async fn execute(&self, spec: &StageSpec, context: &StageContext) -> Result<Executed, Failure> {
        let settings: TrackedSettings = spec.settings()?;
        let Content { tree: digest, bytes: size, version } = self.content(&settings).await?;
        // What is named must be here before anything builds on it.
        let files = context.store.tree_files(&digest).await?.len();
        let kind = ArtifactKind::Dataset { name: settings.out.clone(), zone: settings.zone };
        let outputs = BTreeMap::from([(settings.out.to_string(), Artifact { kind, digest, size })]);
        let summary = json!({ "files": files, "bytes": size });
        let read = |version: Digest| data(&settings.dataset, version);
        let sources = match version {
            Some(version) => vec![read(version)],
            // What was not committed is named by its content, unless the output has that very name.
            None if settings.dataset != settings.out => vec![read(digest)],
            None => Vec::new(),
        };
        Ok(Executed { outputs, summary, sources, records: Vec::new() })
    }
}
