//! Blobs and trees laid out as files.

use std::num::NonZeroU64;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use ropewalk_types::Digest;

use super::trees::MAX_FILES;
use super::{LinkMode, NoProgress, Store, Swept, blocking, cache};
use crate::error::StoreError;
use crate::files::{self, AtomicFile, Doing as _, TemporaryDirectory};
use crate::index::Kind;

/// The directory that is laid out, in the one beside its target.
const LAID_OUT: &str = "tree";

impl Store {
    /// Lays the tree out as the directory `dir`, which must be absent or empty and appears whole or not at all.
    ///
    /// Everything is written into a new directory beside `dir`, so that no link in `dir` can lead elsewhere. All bytes
    /// are checked against their digests. The result is a working copy: unlike what [`Store::materialize`] writes it is
    /// not forced to the disk, and is to be laid out anew after a power failure.
    pub async fn materialize_tree(&self, tree: &Digest, dir: &Path) -> Result<(), StoreError> {
        let target = dir.to_owned();
        let scratch = blocking(move || scratch_beside(&target)).await?;
        let flat = self.tree_flat(tree, MAX_FILES).await?;
        // New itself, so that files in it are written without being renamed.
        let new = scratch.path().join(LAID_OUT);
        self.lay_out_below(flat.files, flat.directories, &new, LinkMode::Copy, &NoProgress).await?;
        let target = dir.to_owned();
        blocking(move || Ok(files::rename_directory(&new, &target)?)).await
    }

    /// A file with the content of the blob, read-only, laid out in the cache once and then used by all.
    ///
    /// The path is `<cache>/<first two digits>/<digest>`. Two processes may make the same file at once. One that was changed
    /// since, as whoever may do anything can change a hard link, is made anew.
    pub async fn cached_file(&self, digest: &Digest) -> Result<PathBuf, StoreError> {
        let name = digest.to_string();
        let path = self.cache().ok_or(StoreError::NoCache)?.join(&name[..2]).join(&name);
        let (known, wanted) = (path.clone(), *digest);
        if blocking(move || Ok(cache::holds(&known, &wanted)?)).await? {
            return Ok(path);
        }
        // Another process may have been faster, with the same bytes.
        let finish = |file: AtomicFile| {
            file.set_read_only()?;
            file.commit_new().map(drop)
        };
        match self.shared_file(digest, &path).await? {
            Some(file) => blocking(move || Ok(finish(file)?)).await?,
            None => self.lay_out(digest, &path, finish).await?,
        }
        let made = path.clone();
        blocking(move || Ok(cache::stamp(&made)?)).await?;
        Ok(path)
    }

    /// Reads all files of the cache again and removes those that are not what they are called; gives how many there were,
    /// and the removed ones.
    pub async fn verify_cache(&self) -> Result<(u64, Vec<PathBuf>), StoreError> {
        let Some(folder) = self.cache().map(Path::to_owned) else { return Ok((0, Vec::new())) };
        blocking(move || Ok(cache::verify(&folder)?)).await
    }

    /// Removes the files of blobs from the cache, where they are there; their other names, in work trees, stay.
    pub async fn uncache(&self, digests: Vec<Digest>) -> Result<(), StoreError> {
        let Some(folder) = self.cache().map(Path::to_owned) else { return Ok(()) };
        blocking(move || {
            for digest in digests {
                let name = digest.to_string();
                cache::remove(&folder.join(&name[..2]).join(&name))?;
            }
            Ok(())
        })
        .await
    }

    /// Removes from the cache files of blobs that the store no longer has, stamps whose files are gone, and what processes
    /// that died had left half-written; of all but the stamps only what was written before `before`.
    ///
    /// Files in work trees that are linked to those stay. Another store with the same cache makes its files again when it
    /// needs them.
    pub async fn sweep_cache(&self, before: SystemTime) -> Result<Swept, StoreError> {
        let Some(folder) = self.cache().map(Path::to_owned) else { return Ok(Swept::default()) };
        self.inner.refresh().await?;
        let inner = Arc::clone(&self.inner);
        blocking(move || {
            let mut swept = Swept::default();
            let kinds = [Kind::Chunk, Kind::Recipe];
            let is_kept = |digest: &Digest| {
                inner.index(|index| kinds.iter().any(|kind| index.find_readable(*kind, digest).is_some()))
            };
            cache::sweep(&folder, before, is_kept, |bytes| swept.add(bytes))?;
            Ok(swept)
        })
        .await
    }

    /// Begins a file at `path` that shares the blocks of the pack in which the whole blob lies as it is; `None` where none
    /// does, where blocks cannot be shared, and when they are not the blob, which laying it out then tells in detail.
    async fn shared_file(&self, digest: &Digest, path: &Path) -> Result<Option<AtomicFile>, StoreError> {
        let plan = self.inner.plan(digest).await?;
        let found = plan.lies_whole().and_then(|(pack, start)| Some((self.inner.pack_file(pack)?, start)));
        let (Some((pack, start)), Some(length)) = (found, NonZeroU64::new(plan.size)) else { return Ok(None) };
        let path = path.to_owned();
        blocking(move || {
            let pack = match files::open(&pack) {
                // A collector has moved what was needed of it.
                Err(error) if error.is_not_found() => return Ok(None),
                pack => pack?,
            };
            let file = AtomicFile::create(&path)?;
            if file.share(&pack, start, 0, length).is_err() {
                return Ok(None);
            }
            let mut hasher = blake3::Hasher::new();
            hasher.update_reader(file.reader()?).doing("read", &path)?;
            let found = Digest::from(hasher.finalize());
            Ok((found == plan.digest).then_some(file))
        })
        .await
    }
}

/// A new directory beside `target`, which must be absent or an empty directory.
fn scratch_beside(target: &Path) -> Result<TemporaryDirectory, StoreError> {
    let occupied = |reason| StoreError::TargetOccupied { path: target.to_owned(), reason };
    match files::kind(target)? {
        None => {}
        Some(files::EntryKind::Directory) if files::list(target)?.is_empty() => {}
        Some(files::EntryKind::Directory) => return Err(occupied("the directory is not empty")),
        Some(files::EntryKind::Symlink) => return Err(occupied("a symbolic link is there")),
        Some(_) => return Err(occupied("a file is there")),
    }
    Ok(files::temporary_directory(files::parent(target))?)
}
