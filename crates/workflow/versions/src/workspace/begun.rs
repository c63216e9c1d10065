//! What is being laid out is written down before, so that after a kill, or an error in the middle, the files that were
//! written, the last of them perhaps half, are told from changes of the user's, and make no version.

use std::collections::HashSet;
use std::path::PathBuf;

use futures::TryStreamExt as _;
use ropewalk_store::{TreeFile, files};
use ropewalk_types::{DatasetName, Digest};

use super::plan::find;
use super::{Content, Workspace};
use crate::error::{VersionsError, blocking};
use crate::pointer::Pointer;
use crate::work::Work;

impl Workspace {
    pub(super) fn begun_path(&self, name: &DatasetName) -> PathBuf {
        self.work_folder().join(format!("{name}.begun"))
    }

    /// Notes that what `pointer` names is about to be laid out.
    pub(super) async fn begin(&self, pointer: &Pointer) -> Result<(), VersionsError> {
        let (path, text) = (self.begun_path(&pointer.name), pointer.render());
        blocking(move || Ok(files::write_atomic(&path, text.as_bytes())?)).await
    }

    pub(super) async fn end(&self, name: &DatasetName) -> Result<(), VersionsError> {
        let path = self.begun_path(name);
        blocking(move || Ok(files::remove_file(&path).map(drop)?)).await
    }

    /// The files that a killed checkout was laying out; none if none was.
    pub(super) async fn begun(&self, name: &DatasetName, file_name: &str) -> Result<Vec<TreeFile>, VersionsError> {
        let path = self.begun_path(name);
        let found = blocking(move || if files::exists(&path)? { Pointer::read(&path).map(Some) } else { Ok(None) });
        let Some(pointer) = found.await? else { return Ok(Vec::new()) };
        let found = self.files_here(name, &Content::of(&pointer), file_name).await;
        // Only help is lost when it was collected since, or is damaged.
        if found.as_ref().is_err_and(VersionsError::is_of_content) { Ok(Vec::new()) } else { found }
    }

    /// Which files of the work tree a killed checkout wrote: whole, or as far as it came.
    pub(super) async fn ours(&self, work: &Work, begun: &[TreeFile]) -> Result<HashSet<String>, VersionsError> {
        let mut ours = HashSet::new();
        for found in &work.files {
            let (Some(file), Some(digest)) = (find(begun, &found.path), found.digest) else { continue };
            if file.digest == digest
                || (found.stat.size < file.size && self.begins(file, found.stat.size, digest).await?)
            {
                ours.insert(found.path.clone());
            }
        }
        Ok(ours)
    }

    /// Whether the first `size` bytes of a stored file have this digest.
    async fn begins(&self, file: &TreeFile, size: u64, digest: Digest) -> Result<bool, VersionsError> {
        let store = self.store().await?;
        if !store.contains(&file.digest).await? {
            return Ok(false);
        }
        let mut bytes = store.blob_stream(&file.digest, 0..size);
        let mut hasher = blake3::Hasher::new();
        loop {
            match bytes.try_next().await {
                Ok(Some(piece)) => {
                    hasher.update(&piece);
                }
                Ok(None) => return Ok(Digest::from(hasher.finalize()) == digest),
                // What is damaged was never laid out.
                Err(error) if error.is_of_content() => return Ok(false),
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Refuses what a checkout left half laid out: a version of it would be a mixture that nobody made.
    pub(super) async fn check_finished(&self, name: &DatasetName, path: &str) -> Result<(), VersionsError> {
        let begun = self.begun_path(name);
        if blocking(move || Ok(files::exists(&begun)?)).await? {
            return Err(VersionsError::Unfinished { name: name.clone(), path: path.to_owned() });
        }
        Ok(())
    }
}
