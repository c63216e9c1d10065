use std::collections::{BTreeMap, BTreeSet};

use ropewalk_types::{DatasetName, Digest, RunId, StageName, Uri, Zone};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::StageKind;

/// Changes when the meaning of a key changes, so that old outcomes are not taken for new ones.
const KEY_FORMAT: u32 = 1;

/// One stage of a project's pipeline, before anything is known of its inputs.
#[derive(Clone, Debug, PartialEq)]
pub struct StageSpec {
    /// Its name in the project.
    pub name: StageName,
    /// Name of the [`StageKind`] that carries it out.
    pub kind: &'static str,
    /// What the kind reads; part of the key.
    pub settings: Value,
    /// Where each input comes from, by the name under which the stage knows it.
    pub inputs: BTreeMap<String, InputSource>,
    /// Stages that must have ended well before it begins, though it reads nothing of them; no part of the key.
    pub after: BTreeSet<StageName>,
}

/// An output of another stage.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct InputSource {
    /// The stage that makes it.
    pub stage: StageName,
    /// Which of its outputs; none if it has exactly one.
    pub output: Option<String>,
}

/// One thing that a stage made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Artifact {
    /// What it is.
    #[serde(flatten)]
    pub kind: ArtifactKind,
    /// Its name in the store: of a tree for datasets, of a blob for files.
    pub digest: Digest,
    /// Its bytes.
    pub size: u64,
}

/// An artifact as another stage gets it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Input {
    /// The artifact.
    pub artifact: Artifact,
    /// The run that made it.
    pub run: RunId,
}

impl Input {
    /// What lineage calls it.
    pub fn uri(&self) -> Option<Uri> {
        match &self.artifact.kind {
            ArtifactKind::Dataset { .. } => self.artifact.dataset_uri(),
            ArtifactKind::File { path } => Some(Uri::Run { run: self.run, path: path.clone() }),
            ArtifactKind::ModelVersion { uri } => uri.parse().ok(),
        }
    }
}

impl Artifact {
    /// `data:NAME@DIGEST`, if it is a version of a dataset.
    pub fn dataset_uri(&self) -> Option<Uri> {
        match &self.kind {
            ArtifactKind::Dataset { name, .. } => {
                Some(Uri::Data { name: name.clone(), version: self.digest.to_string() })
            }
            _ => None,
        }
    }
}

/// What an output is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum ArtifactKind {
    /// A version of a dataset.
    Dataset {
        /// Which dataset.
        name: DatasetName,
        /// Where it stands.
        zone: Zone,
    },
    /// A file; also an artifact of the stage's run, at this path.
    File {
        /// Its path among the artifacts of the run.
        path: String,
    },
    /// A registered version of a model.
    ModelVersion {
        /// Its URI.
        uri: String,
    },
}

impl StageSpec {
    /// The stage's key: the digest of everything that decides what it makes.
    ///
    /// That is its kind and the kind's revision, its settings, what the kind read outside the pipeline
    /// (source files, SQL text, declared files and environment), and the digest of every input by name. The
    /// stage's name is not: a renamed stage makes the same thing.
    pub fn key(&self, kind: &dyn StageKind, fingerprint: &Value, inputs: &BTreeMap<String, Input>) -> Digest {
        let inputs: BTreeMap<&str, Digest> =
            inputs.iter().map(|(name, input)| (name.as_str(), input.artifact.digest)).collect();
        Digest::of_json(&json!({
            "format": KEY_FORMAT,
            "kind": self.kind,
            "revision": kind.revision(),
            "settings": self.settings,
            "fingerprint": fingerprint,
            "inputs": inputs,
        }))
    }
}
