//! What an import would do.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use futures::stream::BoxStream;
use ropewalk_store::{ForeignObjects, StoreError};
use ropewalk_types::{DatasetName, Diagnose as _, Digest};
use serde::{Serialize, Serializer};

use super::digests::Md5Rule;
use crate::error::VersionsError;
use crate::pointer::Kind;
use crate::workspace::AddLinks;

/// Where the bytes of a file are taken from. All but those of an object in a remote were read, and have the digest that
/// was asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "from", content = "path")]
pub enum FileSource {
    /// The work tree.
    WorkTree(PathBuf),
    /// The cache of the other tool.
    Cache(PathBuf),
    /// A remote of the other tool that is a folder of this machine.
    Remote(PathBuf),
    /// An object of a remote of the other tool that lies in an object store.
    RemoteObject(RemoteObject),
}

impl FileSource {
    /// The file itself; none of what is not on this machine.
    pub(super) fn path(&self) -> Option<&Path> {
        match self {
            Self::WorkTree(path) | Self::Cache(path) | Self::Remote(path) => Some(path),
            Self::RemoteObject(_) => None,
        }
    }
}

/// An object of a remote. That it is there was looked at; its bytes are held against their MD5 while they are stored.
#[derive(Clone)]
pub struct RemoteObject {
    pub(super) objects: Arc<ForeignObjects>,
    pub(super) name: String,
    /// In bytes.
    pub(super) size: u64,
    pub(super) rule: Md5Rule,
    /// The remotes behind this one, which were not asked.
    pub(super) others: Vec<Arc<ForeignObjects>>,
}

impl RemoteObject {
    /// Where it is.
    pub fn url(&self) -> String {
        self.objects.url_of(&self.name)
    }

    pub(super) fn read(&self) -> BoxStream<'static, Result<Bytes, StoreError>> {
        self.objects.read(&self.name, self.size)
    }
}

impl fmt::Debug for RemoteObject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("RemoteObject").field(&self.url()).finish()
    }
}

impl PartialEq for RemoteObject {
    fn eq(&self, other: &Self) -> bool {
        self.url() == other.url()
    }
}

impl Eq for RemoteObject {}

impl Serialize for RemoteObject {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.url())
    }
}

/// A file that will be part of a dataset.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PlannedFile {
    /// Its path inside the dataset; of a single file, its name.
    pub path: String,
    /// What the other tool calls its bytes, such as `md5:…`; empty for files that it does not keep.
    pub digest: String,
    /// In bytes.
    pub size: u64,
    /// What our store calls the bytes that were held against `digest`; none where none were read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content: Option<Digest>,
    /// Where it is taken from.
    pub source: FileSource,
    /// Whether what lies in the work tree only stands for the file: a link into a cache, or a pointer of Git LFS.
    pub stands_in: bool,
}

/// An object of the other tool whose bytes are not those that it has recorded, or cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DamagedObject {
    /// The file whose bytes it should hold, by its path inside the dataset.
    pub file: String,
    /// Where it is: a path, or the URL of an object in a remote.
    pub place: String,
    /// What the other tool has recorded, such as `md5:…`.
    pub expected: String,
    /// The digest of what is there; or why it cannot be read.
    pub got: String,
}

impl DamagedObject {
    pub(super) fn of_md5(file: &str, place: String, expected: &str, got: Result<&str, &VersionsError>) -> Self {
        let got = match got {
            Ok(md5) => format!("md5:{md5}"),
            Err(error) => format!("no bytes: {error}"),
        };
        Self { file: file.to_owned(), place, expected: format!("md5:{expected}"), got }
    }
}

impl fmt::Display for DamagedObject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file: _, place, expected, got } = self;
        write!(f, "`{place}`: expected {expected}, got {got}")
    }
}

/// Something that will be a dataset.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PlannedOutput {
    /// What it will be called.
    pub name: DatasetName,
    /// The data, relative to the project.
    pub path: String,
    /// The file that speaks of it, such as `data.dvc`.
    pub declared_in: String,
    /// What it is on disk.
    pub kind: Kind,
    /// Its files, sorted by path.
    pub files: Vec<PlannedFile>,
    /// Files whose bytes were found nowhere; with any of these, it is not taken over.
    pub missing: Vec<String>,
    /// What was found damaged, of files whose bytes are right nowhere; with any of these, it is not taken over either.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub damaged: Vec<DamagedObject>,
    /// What can be done about what is missing or damaged.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// Symbolic links in it that do not stand for files of the other tool, by path.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub links: Vec<String>,
}

impl PlannedOutput {
    /// Whether all of its bytes were found.
    pub fn is_whole(&self) -> bool {
        self.missing.is_empty() && self.damaged.is_empty()
    }
}

/// Something that is passed over on purpose.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SkippedOutput {
    /// What it is.
    pub path: String,
    /// The file that speaks of it.
    pub declared_in: String,
    /// Why.
    pub reason: String,
}

/// Something that should be taken over, and cannot be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FailedOutput {
    /// What it is; where the file that speaks of it cannot be read, that file.
    pub path: String,
    /// The file that speaks of it.
    pub declared_in: String,
    /// Where that file cannot be understood, counted from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<u64>,
    /// Why not.
    pub reason: String,
    /// What can be done about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

impl FailedOutput {
    pub(super) fn of(path: &str, declared_in: &str, error: &VersionsError) -> Self {
        let (path, declared_in) = (path.to_owned(), declared_in.to_owned());
        let line = if let VersionsError::Foreign { line, .. } = error { *line } else { None };
        Self { path, declared_in, line, reason: error.to_string(), hint: error.hint() }
    }

    /// One that would have come behind another whose failure ended all.
    pub(super) fn not_tried(output: &PlannedOutput) -> Self {
        let (path, declared_in) = (output.path.clone(), output.declared_in.clone());
        let reason = "it was not tried, since another failed before it".to_owned();
        let hint = Some("mend what failed, and run the same command again: it goes on where it ended".to_owned());
        Self { path, declared_in, line: None, reason, hint }
    }
}

/// What an import would do; nothing was changed to make it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ImportPlan {
    /// What is taken over, sorted by path.
    pub outputs: Vec<PlannedOutput>,
    /// What is passed over on purpose.
    pub skipped: Vec<SkippedOutput>,
    /// What cannot be taken over.
    pub failed: Vec<FailedOutput>,
    /// What becomes of the symbolic links in it that do not stand for files of the other tool.
    pub links: AddLinks,
}

impl ImportPlan {
    /// What is whole, and so can be taken over.
    pub fn whole(&self) -> impl Iterator<Item = &PlannedOutput> {
        self.outputs.iter().filter(|output| output.is_whole())
    }

    /// Whether all is taken over that should be.
    pub fn is_whole(&self) -> bool {
        self.failed.is_empty() && self.outputs.iter().all(PlannedOutput::is_whole)
    }
}

/// A dataset that was taken over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Imported {
    /// The dataset.
    pub name: DatasetName,
    /// The data, relative to the project.
    pub path: String,
    /// Its first version.
    pub version: Digest,
    /// Number of files.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Files that were laid out because the work tree lacked them.
    pub written: u64,
    /// Files of the work tree that differ from what the other tool keeps; they were left as they are.
    pub changed: Vec<String>,
}

/// What an import has done.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ImportOutcome {
    /// What was taken over.
    pub imported: Vec<Imported>,
    /// What the plan had as whole, and was not when it was read.
    pub failed: Vec<FailedOutput>,
}

/// The bytes of a file are not, or no longer, what the other tool has recorded.
pub(super) fn other_bytes(path: &Path, reason: &str, advice: &'static str) -> VersionsError {
    VersionsError::Import { path: path.to_owned(), reason: reason.to_owned(), advice }
}
