mod below;

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use ropewalk_store::files::{self, EntryKind};

use super::layout::{FoundModel, ModelFile, wrong};
use super::mlflow::MLMODEL;
use crate::InferenceServerError;

/// Most files of one folder that are watched.
const FILES: usize = 256;

/// A file behind all links, its size in bytes, and when it was written.
type Seen = (PathBuf, u64, Option<SystemTime>);

/// What a version was when it was loaded: a change is seen by it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    seen: Vec<Seen>,
    /// Whether there is more than is watched.
    partial: bool,
}

impl Stamp {
    /// What a version is now: what describes it, what says how it is served, what lies beside its graph, and in the
    /// folders of a model of MLflow's. Blocks.
    ///
    /// # Errors
    /// One of the files that it needs is not there.
    pub(super) fn of(model: &FoundModel, file: &ModelFile) -> Result<Self, InferenceServerError> {
        let described = described(file);
        let mut stamp = Self { seen: vec![one(&described)?], partial: false };
        for path in &model.configured {
            stamp.seen.push(one(path)?);
        }
        // A folder that cannot be listed holds nothing that is watched; what is needed of it is missed at the load.
        let beside = described.parent().map(files::list).and_then(Result::ok).unwrap_or_default();
        let is_logged = beside.iter().any(|entry| entry.name == MLMODEL);
        let stem = described.file_name().and_then(|name| name.to_str()).filter(|_| model.alone).unwrap_or_default();
        let beside = beside.into_iter().filter(|entry| !entry.name.starts_with('.') && entry.name.starts_with(stem));
        let mut files = beside.filter(|entry| matches!(entry.kind, EntryKind::File | EntryKind::Symlink));
        // What is gone again, or a link to nothing, is none of the model's files.
        stamp.seen.extend(files.by_ref().take(FILES).filter_map(|entry| one(&entry.path).ok()));
        stamp.partial = files.next().is_some();
        if let Some(folder) = described.parent().filter(|_| is_logged && !model.alone) {
            stamp.partial |= below::look(folder, &mut stamp.seen);
        }
        Ok(stamp)
    }

    /// That the version of which it was taken has more than is watched, if it has.
    pub(super) fn note(&self, model: &FoundModel, version: u64) -> Option<String> {
        let (name, most, depth) = (&model.name, below::MOST, below::DEPTH);
        let bounds = format!("{FILES} files of its own folder, {most} in folders below, {depth} levels deep");
        self.partial.then(|| format!("version {version} of {name} has more than is watched for changes: {bounds}"))
    }
}

/// The file that describes a version.
pub(super) fn described(file: &ModelFile) -> PathBuf {
    match file {
        ModelFile::Onnx(path) => path.clone(),
        ModelFile::Folder(folder) => folder.join(MLMODEL),
    }
}

/// A file behind all links, without opening it: it may be a pipe. Of a folder only where it is: Python writes into
/// those of a model's code.
fn one(path: &Path) -> Result<Seen, InferenceServerError> {
    let unreadable = |error: std::io::Error| wrong(path, &error.to_string(), "make it readable");
    let real = path.canonicalize().map_err(unreadable)?;
    let metadata = real.metadata().map_err(unreadable)?;
    if metadata.is_dir() {
        return Ok((real, 0, None));
    }
    Ok((real, metadata.len(), metadata.modified().ok()))
}

#[cfg(test)]
mod tests;
