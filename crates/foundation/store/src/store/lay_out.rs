//! Files laid out in a work tree.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _};
use ropewalk_types::Digest;

use super::read::{Piece, segments};
use super::{Store, TransferProgress, TreeFile, blocking, cache};
use crate::error::StoreError;
use crate::files::{self, FileError, FolderId, WorkTree};
use crate::index::Kind;
use crate::tree::check_name;

const SEGMENTS_AT_ONCE: usize = 3;
const LARGE_AT_ONCE: usize = 2;
/// Of files below this size a link would cost more than a copy.
const LINKED_FROM: u64 = 1 << 20;

/// How large files come into a work tree; small ones are always copied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LinkMode {
    /// The first of the others that works, in the order below; without a cache, copies.
    #[default]
    Auto,
    /// Shares the blocks of the file in the cache until it is changed.
    Reflink,
    /// A second name of the file in the cache, read-only; files that may be executed are copied.
    Hardlink,
    /// Bytes of its own.
    Copy,
}

/// What [`Store::files_lay_out`] has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LaidOut {
    /// Files that share blocks with the cache.
    pub reflinked: u64,
    /// Files that are second names of those in the cache.
    pub hardlinked: u64,
    /// Files with bytes of their own.
    pub copied: u64,
    /// Bytes of all of them.
    pub bytes: u64,
}

/// A file that is to be laid out.
struct Target {
    folder: FolderId,
    name: String,
    digest: Digest,
    size: u64,
    executable: bool,
}

/// How a large file came to be.
enum Made {
    Reflink,
    Hardlink,
    Copy,
}

impl Store {
    /// Lays `files` out below `directory`, creating it and all directories on the way.
    ///
    /// Each file appears whole or not at all and replaces a file or link that is there; only in a directory that is new
    /// itself are files written straight away. Symbolic links below `directory` are not followed: one in the place of
    /// a directory is [`FileError::InTheWay`]. All bytes that are copied are checked against their digests, unless this
    /// handle checked them when it brought them here, less than a minute ago; links are made of files in the cache ([`Store::with_cache`]), which were checked when they came there. Nothing is forced to
    /// the disk.
    pub async fn files_lay_out(
        &self,
        files: &[TreeFile],
        directory: &Path,
        mode: LinkMode,
        progress: &dyn TransferProgress,
    ) -> Result<LaidOut, StoreError> {
        self.lay_out_below(files.to_vec(), Vec::new(), directory, mode, progress).await
    }

    /// [`Store::files_lay_out`], with directories that must be there whether or not they have a file.
    pub(super) async fn lay_out_below(
        &self,
        files: Vec<TreeFile>,
        directories: Vec<String>,
        directory: &Path,
        mode: LinkMode,
        progress: &dyn TransferProgress,
    ) -> Result<LaidOut, StoreError> {
        let bytes = files.iter().map(|file| file.size).sum();
        progress.laying_out(files.len() as u64, bytes);
        let (tree, targets) = prepare(files, directories, directory).await?;
        let (small, large) = self.split_targets(targets);
        let mut done = LaidOut { bytes, ..LaidOut::default() };
        done.copied += self.lay_out_small(&tree, small, progress).await?;
        let made = large.into_iter().map(|target| self.lay_out_large(&tree, target, mode, progress));
        let mut made = std::pin::pin!(futures::stream::iter(made).buffer_unordered(LARGE_AT_ONCE));
        while let Some(made) = made.try_next().await? {
            match made {
                Made::Reflink => done.reflinked += 1,
                Made::Hardlink => done.hardlinked += 1,
                Made::Copy => done.copied += 1,
            }
        }
        Ok(done)
    }

    /// Files of one known chunk are read together with their neighbours.
    fn split_targets(&self, targets: Vec<Target>) -> (Vec<(Piece, Target)>, Vec<Target>) {
        let (mut small, mut large) = (Vec::new(), Vec::new());
        self.inner.index(|index| {
            for target in targets {
                match index.find_readable(Kind::Chunk, &target.digest) {
                    Some(location) => {
                        small.push((Piece { kind: Kind::Chunk, digest: target.digest, location }, target));
                    }
                    None => large.push(target),
                }
            }
        });
        small.sort_by_key(|(piece, _)| (piece.location.pack, piece.location.offset));
        (small, large)
    }

    async fn lay_out_small(
        &self,
        tree: &Arc<WorkTree>,
        small: Vec<(Piece, Target)>,
        progress: &dyn TransferProgress,
    ) -> Result<u64, StoreError> {
        let segments = segments(small.iter().map(|(piece, _)| *piece));
        let mut rest = small.into_iter();
        let writes = segments.into_iter().map(|segment| {
            let targets: Vec<_> = rest.by_ref().take(segment.pieces().len()).map(|(_, target)| target).collect();
            let tree = Arc::clone(tree);
            async move {
                let mut contents = Vec::new();
                for (piece, stored) in self.inner.read_stored(segment).await? {
                    let checked = self.inner.just_checked.has(piece.location.pack);
                    contents.push(Content { piece, stored, checked });
                }
                let written = blocking(move || write_all(&tree, &targets, contents)).await;
                written.map_err(|error| self.inner.here(error))
            }
        });
        let mut writes = std::pin::pin!(futures::stream::iter(writes).buffer_unordered(SEGMENTS_AT_ONCE));
        let mut count = 0;
        while let Some((files, bytes)) = writes.try_next().await? {
            progress.laid_out(files, bytes);
            count += files;
        }
        Ok(count)
    }

    async fn lay_out_large(
        &self,
        tree: &Arc<WorkTree>,
        target: Target,
        mode: LinkMode,
        progress: &dyn TransferProgress,
    ) -> Result<Made, StoreError> {
        let made = self.make_large(tree, &target, mode).await?;
        progress.laid_out(1, target.size);
        Ok(made)
    }

    async fn make_large(&self, tree: &Arc<WorkTree>, target: &Target, mode: LinkMode) -> Result<Made, StoreError> {
        let found = self.size(&target.digest).await?;
        check_size(target, found)?;
        let linked = target.size >= LINKED_FROM && mode != LinkMode::Copy;
        let (path, executable) = (tree.path(target.folder, &target.name), target.executable);
        if linked && (mode != LinkMode::Auto || self.cache().is_some()) {
            let cached = self.cached_file(&target.digest).await?;
            let source = cached.clone();
            let (temporary, to) = (files::temporary_name(), path.clone());
            let beside = files::parent(&path).join(&temporary);
            let made = blocking(move || link(&cached, &beside, &to, executable, mode)).await?;
            if let Some(made) = made {
                self.rename(tree, target, temporary).await?;
                if matches!(made, Made::Hardlink) {
                    // The new name changed it.
                    blocking(move || Ok(cache::stamp_linked(&source)?)).await?;
                }
                return Ok(made);
            }
        }
        let temporary = files::temporary_name();
        let beside = files::parent(&path).join(&temporary);
        self.write_unsynced(&target.digest, &beside, executable).await?;
        self.rename(tree, target, temporary).await?;
        Ok(Made::Copy)
    }

    /// Gives a file that was made beside its place its name, without following a link in the place of its directory.
    async fn rename(&self, tree: &Arc<WorkTree>, target: &Target, temporary: String) -> Result<(), StoreError> {
        let (tree, folder, name) = (Arc::clone(tree), target.folder, target.name.clone());
        blocking(move || Ok(tree.writer().rename(folder, &temporary, &name)?)).await
    }
}

async fn prepare(
    files: Vec<TreeFile>,
    directories: Vec<String>,
    directory: &Path,
) -> Result<(Arc<WorkTree>, Vec<Target>), StoreError> {
    let directory = directory.to_owned();
    blocking(move || {
        let paths = files.iter().map(|file| &file.path).chain(&directories);
        paths.flat_map(|path| path.split('/')).try_for_each(check_component)?;
        let mut tree = WorkTree::open(&directory)?;
        directories.iter().try_for_each(|path| tree.enter(path).map(drop))?;
        let mut targets = Vec::with_capacity(files.len());
        for TreeFile { mut path, digest, size, executable } in files {
            let (above, begin) = path.rsplit_once('/').map_or(("", 0), |(above, _)| (above, above.len() + 1));
            let folder = tree.enter(above)?;
            let name = path.split_off(begin);
            targets.push(Target { folder, name, digest, size, executable });
        }
        Ok((Arc::new(tree), targets))
    })
    .await
}

/// The rule of trees, and what the platform makes of a name, such as `C:` on Windows.
fn check_component(name: &str) -> Result<(), StoreError> {
    check_name(name)?;
    let mut components = Path::new(name).components();
    match (components.next(), components.next()) {
        (Some(std::path::Component::Normal(only)), None) if only == name => Ok(()),
        _ => {
            let reason = format!("the name `{}` is no file name on this platform", name.escape_debug());
            Err(StoreError::Malformed { what: "tree", reason })
        }
    }
}

/// The bytes of a file as they are stored.
struct Content {
    piece: Piece,
    stored: Bytes,
    /// They have just been checked.
    checked: bool,
}

/// Gives the number of files and their bytes.
fn write_all(tree: &WorkTree, targets: &[Target], contents: Vec<Content>) -> Result<(u64, u64), StoreError> {
    let mut writer = tree.writer();
    let mut written = 0;
    for (target, Content { piece, stored, checked }) in targets.iter().zip(contents) {
        let bytes = if checked { piece.unpack(stored)? } else { piece.decode(stored)? };
        check_size(target, bytes.len() as u64)?;
        writer.write(target.folder, &target.name, &bytes, target.executable)?;
        written += target.size;
    }
    Ok((targets.len() as u64, written))
}

/// Makes `beside` of `cached` by the first way of `mode` that works; `to` is named when the only way does not.
fn link(cached: &Path, beside: &Path, to: &Path, executable: bool, mode: LinkMode) -> Result<Option<Made>, StoreError> {
    let refused =
        |kind, error: FileError| Err(StoreError::NoLink { path: to.to_owned(), kind, reason: error.to_string() });
    if matches!(mode, LinkMode::Auto | LinkMode::Reflink) {
        match files::reflink(cached, beside) {
            Ok(()) => {
                files::make_writable(beside, executable)?;
                return Ok(Some(Made::Reflink));
            }
            Err(error) if mode == LinkMode::Reflink => return refused("a reflink", error),
            Err(_) => {}
        }
    }
    if executable {
        // The bit is the file's, not the name's.
        return Ok(None);
    }
    match files::hard_link(cached, beside) {
        Ok(()) => Ok(Some(Made::Hardlink)),
        Err(error) if mode == LinkMode::Hardlink => refused("a hard link", error),
        Err(_) => Ok(None),
    }
}

fn check_size(target: &Target, found: u64) -> Result<(), StoreError> {
    if found == target.size {
        return Ok(());
    }
    let reason = format!("it says that `{}` has {} bytes, but that has {found}", target.digest, target.size);
    Err(StoreError::Malformed { what: "tree", reason })
}
