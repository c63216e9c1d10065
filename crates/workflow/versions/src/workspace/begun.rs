//! What is being laid out is written down before, so that after a kill, or an error in the middle, the files that were
//! written, the last of them perhaps half, are told from changes of the user's, and make no version.
//!
//! `.ropewalk/work/NAME.begun` says what: as a pointer. `NAME.laying` beside it lists the files, as an index does, since their
//! tree may be in a remote only.

use std::collections::{BTreeMap, HashSet};
use std::path::PathBuf;

use futures::TryStreamExt as _;
use ropewalk_store::{TreeFile, files};
use ropewalk_types::{DatasetName, Digest};

use super::plan::find;
use super::source::tree_file;
use super::{Content, Workspace};
use crate::discovery::Tracked;
use crate::error::{VersionsError, blocking};
use crate::index::{Index, IndexEntry, IndexHead, Stat};
use crate::pointer::Pointer;
use crate::work::Work;

impl Workspace {
    fn begun_path(&self, name: &DatasetName) -> PathBuf {
        self.work_folder().join(format!("{name}.begun"))
    }

    fn laying_path(&self, name: &DatasetName) -> PathBuf {
        self.work_folder().join(format!("{name}.laying"))
    }

    /// Notes that files of what `pointer` names are about to be written, and others perhaps to go: of a restore of a `part`, by
    /// its patterns. `before` are those that a killed checkout was laying out.
    pub(super) async fn begin(
        &self,
        pointer: &Pointer,
        part: Option<Vec<String>>,
        written: &[TreeFile],
        before: &[TreeFile],
    ) -> Result<(), VersionsError> {
        let (list, laying) = (self.laying_path(&pointer.name), list_of(pointer, part, before.iter().chain(written)));
        let (path, text) = (self.begun_path(&pointer.name), pointer.render());
        blocking(move || {
            laying.save(&list)?;
            Ok(files::write_atomic(&path, text.as_bytes())?)
        })
        .await
    }

    pub(super) async fn end(&self, name: &DatasetName) -> Result<(), VersionsError> {
        let (this, name) = (self.clone(), name.clone());
        blocking(move || this.end_now(&name)).await
    }

    pub(super) fn end_now(&self, name: &DatasetName) -> Result<(), VersionsError> {
        files::remove_file(&self.begun_path(name))?;
        files::remove_file(&self.laying_path(name))?;
        Ok(())
    }

    /// What a killed checkout was laying out.
    pub(super) async fn begun_pointer(&self, name: &DatasetName) -> Result<Option<Pointer>, VersionsError> {
        let path = self.begun_path(name);
        blocking(move || if files::exists(&path)? { Pointer::read(&path).map(Some) } else { Ok(None) }).await
    }

    /// Of which part a killed restore was, by its patterns; none of what was to be laid out as a whole.
    pub(super) async fn begun_part(&self, name: &DatasetName) -> Result<Option<Vec<String>>, VersionsError> {
        let list = self.laying_path(name);
        Ok(blocking(move || Index::load(&list)).await?.and_then(|laying| laying.head.selection))
    }

    /// The files that a killed checkout was laying out; none if none was.
    pub(super) async fn begun(&self, name: &DatasetName, file_name: &str) -> Result<Vec<TreeFile>, VersionsError> {
        let Some(pointer) = self.begun_pointer(name).await? else { return Ok(Vec::new()) };
        let list = self.laying_path(name);
        if let Some(laying) = blocking(move || Index::load(&list)).await? {
            return Ok(laying.iter().map(tree_file).collect());
        }
        // As an earlier release left it.
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
        let (this, name, path) = (self.clone(), name.clone(), path.to_owned());
        blocking(move || this.check_finished_now(&name, &path)).await
    }

    fn check_finished_now(&self, name: &DatasetName, path: &str) -> Result<(), VersionsError> {
        if files::exists(&self.begun_path(name))? {
            return Err(VersionsError::Unfinished { name: name.clone(), path: path.to_owned() });
        }
        Ok(())
    }

    /// Like [`Workspace::check_finished`] for who has no lock: what another process is laying out just now will be finished.
    pub(super) fn check_not_left(&self, name: &DatasetName, path: &str) -> Result<(), VersionsError> {
        // Few datasets are in that state: a lock is taken for these only.
        if self.check_finished_now(name, path).is_ok() {
            return Ok(());
        }
        match self.lock_now() {
            Some(_lock) => self.check_finished_now(name, path),
            None => Ok(()),
        }
    }

    /// Which of these datasets are left half laid out: their names by path.
    pub(crate) async fn left_in_half(
        &self,
        tracked: &[Tracked],
    ) -> Result<BTreeMap<String, DatasetName>, VersionsError> {
        let named = |tracked: &Tracked| Some((tracked.place.path.clone(), tracked.pointer.as_ref().ok()?.name.clone()));
        let (this, mut left) = (self.clone(), tracked.iter().filter_map(named).collect::<BTreeMap<_, _>>());
        blocking(move || {
            left.retain(|path, name| this.check_not_left(name, path).is_err());
            Ok(left)
        })
        .await
    }
}

/// Files as an index has them; of two at one path the later.
fn list_of<'a>(pointer: &Pointer, part: Option<Vec<String>>, files: impl Iterator<Item = &'a TreeFile>) -> Index {
    let files: BTreeMap<&str, &TreeFile> = files.map(|file| (file.path.as_str(), file)).collect();
    let Pointer { digest: root, kind, state, .. } = *pointer;
    let mut list = Index::new(IndexHead { root, kind, state, path: pointer.path.clone(), selection: part, settled: 0 });
    for file in files.into_values() {
        let stat = Stat { size: file.size, executable: file.executable, ..Stat::default() };
        list.push(IndexEntry { path: &file.path, stat, digest: file.digest, absent: false });
    }
    list
}
