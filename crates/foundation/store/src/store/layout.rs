//! Blobs and trees laid out as files.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _};
use ropewalk_types::Digest;

use super::Store;
use super::blocking;
use super::read::{Piece, segments};
use super::trees::{MAX_FILES, check_count};
use crate::error::StoreError;
use crate::files::{self, TemporaryDirectory};
use crate::index::Kind;
use crate::tree::{MAX_DEPTH, Tree, TreeEntry};

const READS_AT_ONCE: usize = 8;
const SEGMENTS_AT_ONCE: usize = 2;

/// A file of a tree that is being laid out.
struct File {
    path: PathBuf,
    digest: Digest,
    size: u64,
    executable: bool,
}

/// A file of one chunk, and where that lies.
struct SmallFile {
    file: File,
    piece: Piece,
}

impl Store {
    /// Lays the tree out as the directory `dir`, which must be absent or empty and appears whole or not at all.
    ///
    /// Everything is written into a new directory beside `dir`, so that no link in `dir` can lead elsewhere. All bytes
    /// are checked against their digests. The result is a working copy: unlike what [`Store::materialize`] writes it is
    /// not forced to the disk, and is to be laid out anew after a power failure.
    pub async fn materialize_tree(&self, tree: &Digest, dir: &Path) -> Result<(), StoreError> {
        let target = dir.to_owned();
        let scratch = blocking(move || scratch_beside(&target)).await?;
        let files = self.files_below(tree, scratch.path(), MAX_FILES).await?;
        self.files_write(files).await?;
        let target = dir.to_owned();
        blocking(move || Ok(scratch.persist(&target)?)).await
    }

    /// A file with the content of the blob, read-only, laid out in the cache once and then used by all.
    ///
    /// The path is `<cache>/<first two digits>/<digest>`. Two processes may make the same file at once.
    pub async fn cached_file(&self, digest: &Digest) -> Result<PathBuf, StoreError> {
        let name = digest.to_string();
        let path = self.cache().ok_or(StoreError::NoCache)?.join(&name[..2]).join(&name);
        let known = path.clone();
        if blocking(move || Ok(files::exists(&known)?)).await? {
            return Ok(path);
        }
        self.lay_out(digest, &path, |file| {
            file.set_read_only()?;
            // Another process may have been faster, with the same bytes.
            file.commit_new().map(drop)
        })
        .await?;
        Ok(path)
    }

    /// Creates the directories of the tree below `root` and gives the files that belong there, at most `limit` in all.
    async fn files_below(&self, tree: &Digest, root: &Path, limit: usize) -> Result<Vec<File>, StoreError> {
        let (mut files, mut directories) = (Vec::new(), 0);
        let mut level = vec![(root.to_owned(), *tree)];
        for _ in 0..MAX_DEPTH {
            let reads =
                level.into_iter().map(async |(path, digest)| self.tree_get(&digest).await.map(|tree| (path, tree)));
            let mut reads = std::pin::pin!(futures::stream::iter(reads).buffered(READS_AT_ONCE));
            let mut below = Vec::new();
            while let Some((path, tree)) = reads.try_next().await? {
                check_count(directories + files.len() + below.len() + tree.len(), limit)?;
                sort_entries(&path, &tree, &mut files, &mut below)?;
            }
            directories += below.len();
            level = blocking(move || {
                below.iter().try_for_each(|(path, _)| files::create_new_directory(path))?;
                Ok(below)
            })
            .await?;
            if level.is_empty() {
                return Ok(files);
            }
        }
        let reason = format!("its directories lie more than {MAX_DEPTH} deep");
        Err(StoreError::Malformed { what: "tree", reason })
    }

    async fn files_write(&self, files: Vec<File>) -> Result<(), StoreError> {
        let (mut small, large) = self.split(files);
        small.sort_by_key(|small| (small.piece.location.pack, small.piece.location.offset));
        let mut rest = small.into_iter();
        let pieces: Vec<_> = rest.as_slice().iter().map(|small| small.piece).collect();
        let writes = segments(pieces).into_iter().map(|segment| {
            let files: Vec<_> = rest.by_ref().take(segment.pieces().len()).map(|small| small.file).collect();
            async move {
                let contents = self.inner.read_segment(segment).await?;
                blocking(move || files.iter().zip(contents).try_for_each(|(file, bytes)| write(file, &bytes))).await
            }
        });
        futures::stream::iter(writes).buffer_unordered(SEGMENTS_AT_ONCE).try_collect::<()>().await?;
        for file in large {
            self.write_large(file).await?;
        }
        Ok(())
    }

    /// Files of one known chunk can be read together with their neighbours; the others go one by one.
    fn split(&self, files: Vec<File>) -> (Vec<SmallFile>, Vec<File>) {
        let (mut small, mut large) = (Vec::new(), Vec::new());
        self.inner.index(|index| {
            for file in files {
                match index.find_readable(Kind::Chunk, &file.digest) {
                    Some(location) => {
                        let piece = Piece { kind: Kind::Chunk, digest: file.digest, location };
                        small.push(SmallFile { file, piece });
                    }
                    None => large.push(file),
                }
            }
        });
        (small, large)
    }

    async fn write_large(&self, file: File) -> Result<(), StoreError> {
        check_size(&file, self.size(&file.digest).await?)?;
        let executable = file.executable;
        self.lay_out(&file.digest, &file.path, move |file| {
            if executable {
                file.set_executable()?;
            }
            file.commit()
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

fn sort_entries(
    path: &Path,
    tree: &Tree,
    files: &mut Vec<File>,
    level: &mut Vec<(PathBuf, Digest)>,
) -> Result<(), StoreError> {
    for (name, entry) in tree.iter() {
        let path = child(path, name)?;
        match *entry {
            TreeEntry::File { digest, size, executable } => files.push(File { path, digest, size, executable }),
            TreeEntry::Directory { digest } => level.push((path, digest)),
        }
    }
    Ok(())
}

/// The names of a tree are checked when it is decoded; this asks the rules of the platform, such as `C:` on Windows.
fn child(directory: &Path, name: &str) -> Result<PathBuf, StoreError> {
    let mut components = Path::new(name).components();
    match (components.next(), components.next()) {
        (Some(std::path::Component::Normal(only)), None) if only == name => Ok(directory.join(name)),
        _ => {
            let reason = format!("the name `{}` is no file name on this platform", name.escape_debug());
            Err(StoreError::Malformed { what: "tree", reason })
        }
    }
}

fn write(file: &File, bytes: &Bytes) -> Result<(), StoreError> {
    check_size(file, bytes.len() as u64)?;
    Ok(files::write_new(&file.path, bytes, file.executable)?)
}

fn check_size(file: &File, found: u64) -> Result<(), StoreError> {
    if found == file.size {
        return Ok(());
    }
    let reason = format!("it says that `{}` has {} bytes, but that has {found}", file.digest, file.size);
    Err(StoreError::Malformed { what: "tree", reason })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Three trees that stand for 10 * 10 * 10 directories.
    #[tokio::test]
    async fn a_few_trees_cannot_stand_for_any_number_of_files() {
        let store = Store::open("memory:").await.unwrap();
        let mut digest = store.tree_put(&Tree::new()).await.unwrap();
        for _ in 0..3 {
            let mut tree = Tree::new();
            for name in 0..10 {
                tree.insert(name.to_string(), TreeEntry::Directory { digest }).unwrap();
            }
            digest = store.tree_put(&tree).await.unwrap();
        }
        let all = 10 + 100 + 1000;
        for (limit, fits) in [(all, true), (all - 1, false), (100, false)] {
            let scratch = files::temporary_directory(&std::env::temp_dir()).unwrap();
            let found = store.files_below(&digest, scratch.path(), limit).await;
            assert_eq!(found.is_ok(), fits, "{limit}");
        }
    }
}
