use std::path::{Path, PathBuf};
use std::time::SystemTime;

use ropewalk_store::files::{self, EntryKind};

use super::layout::{FoundModel, ModelFile, wrong};
use super::mlflow::MLMODEL;
use crate::InferenceServerError;

/// Most files of one folder that are watched.
const FILES: usize = 256;

/// What a version was when it was loaded: a change is seen by it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stamp(Vec<(PathBuf, u64, Option<SystemTime>)>);

impl Stamp {
    /// What a version is now: what describes it, what says how it is served, and what lies beside its graph. Blocks.
    ///
    /// # Errors
    /// One of the files that it needs is not there.
    pub(super) fn of(model: &FoundModel, file: &ModelFile) -> Result<Self, InferenceServerError> {
        let described = described(file);
        let mut all = vec![one(&described)?];
        for path in &model.configured {
            all.push(one(path)?);
        }
        // A folder that cannot be listed holds nothing that is watched; what is needed of it is missed when it is loaded.
        let beside = described.parent().map(files::list).and_then(Result::ok).unwrap_or_default();
        let stem = described.file_name().and_then(|name| name.to_str()).filter(|_| model.alone).unwrap_or_default();
        let beside = beside.into_iter().filter(|entry| !entry.name.starts_with('.') && entry.name.starts_with(stem));
        let files = beside.filter(|entry| matches!(entry.kind, EntryKind::File | EntryKind::Symlink));
        // What is gone again, or a link to nothing, is none of the model's files.
        all.extend(files.take(FILES).filter_map(|entry| one(&entry.path).ok()));
        Ok(Self(all))
    }
}

/// The file that describes a version.
pub(super) fn described(file: &ModelFile) -> PathBuf {
    match file {
        ModelFile::Onnx(path) => path.clone(),
        ModelFile::Folder(folder) => folder.join(MLMODEL),
    }
}

/// A file behind all links, without opening it: it may be a pipe.
fn one(path: &Path) -> Result<(PathBuf, u64, Option<SystemTime>), InferenceServerError> {
    let unreadable = |error: std::io::Error| wrong(path, &error.to_string(), "make it readable");
    let real = path.canonicalize().map_err(unreadable)?;
    let metadata = real.metadata().map_err(unreadable)?;
    Ok((real, metadata.len(), metadata.modified().ok()))
}
