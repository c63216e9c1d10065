//! A directory added as a tree.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::vec;

use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _};
use ropewalk_types::Digest;

use super::prepare::{Prepared, prepare_all};
use super::{SMALL, Writer, encode_tree};
use crate::error::StoreError;
use crate::files::{self, EntryKind, FileError};
use crate::store::{Blob, blocking};
use crate::tree::{MAX_DEPTH, Tree, TreeEntry};

/// Small files are prepared together: this many bytes …
const BATCH_BYTES: u64 = 8 << 20;
/// … or this many files.
const BATCH_FILES: usize = 1024;
const BATCHES_AT_ONCE: usize = 2;

/// A file that is to be added, and its size as it was last seen, by which files are put together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewFile {
    /// Where it is.
    pub path: PathBuf,
    /// Bytes.
    pub size: u64,
}

/// A directory that was found, in the order of its names.
struct Folder {
    entries: Vec<(String, Node)>,
}

enum Node {
    /// The next file in the order in which files were found.
    File {
        executable: bool,
    },
    Folder(Folder),
}

impl Writer {
    /// Adds the directory `dir` with all below it and gives the digest of its [`Tree`].
    ///
    /// The same names, bytes and executable bits give the same digest on every machine; times, owners and other
    /// permissions are not kept. Symbolic links, pipes and devices are refused, because what they mean lies outside;
    /// names must be UTF-8. What [`files::AtomicFile`] left half-written when its process was killed is passed over.
    pub async fn add_directory(&mut self, dir: &Path) -> Result<Digest, StoreError> {
        let root = dir.to_owned();
        let (folder, files) = blocking(move || {
            let mut files = Vec::new();
            Ok((walk(&root, MAX_DEPTH, &mut files)?, files))
        })
        .await?;
        let blobs = self.add_files(files).await?;
        self.begin()?;
        let claims = Arc::clone(&self.claims);
        let (root, prepared) = blocking(move || {
            let mut trees = Vec::new();
            let root = seal(folder, &mut blobs.into_iter(), &mut trees)?;
            Ok((root, prepare_all(&claims, trees, true)?.1))
        })
        .await?;
        self.append_all(prepared).await?;
        self.unfinished = false;
        Ok(root)
    }

    /// Adds the files and gives their blobs in the same order; small ones are prepared together.
    pub async fn add_files(&mut self, files: Vec<NewFile>) -> Result<Vec<Blob>, StoreError> {
        let mut blobs = vec![None; files.len()];
        let (small, large): (Vec<_>, Vec<_>) = files.into_iter().enumerate().partition(|(_, file)| file.size <= SMALL);
        for (position, blob) in self.add_batches(small).await? {
            blobs[position] = Some(blob);
        }
        for (position, file) in large {
            blobs[position] = Some(self.add_file(&file.path).await?);
        }
        blobs.into_iter().collect::<Option<_>>().ok_or(StoreError::Interrupted)
    }

    async fn add_batches(&mut self, files: Vec<(usize, NewFile)>) -> Result<Vec<(usize, Blob)>, StoreError> {
        self.begin()?;
        let claims = Arc::clone(&self.claims);
        let prepare = |batch: Vec<(usize, NewFile)>| {
            let claims = Arc::clone(&claims);
            blocking(move || {
                let contents = batch.iter().map(|(_, file)| read_small(&file.path)).collect::<Result<Vec<_>, _>>()?;
                let (blobs, prepared) = prepare_all(&claims, contents, false)?;
                let positions = batch.into_iter().map(|(position, _)| position);
                Ok::<(Vec<_>, Vec<Prepared>), _>((positions.zip(blobs).collect(), prepared))
            })
        };
        let mut batches = futures::stream::iter(batches(files)).map(prepare).buffered(BATCHES_AT_ONCE);
        let mut blobs = Vec::new();
        while let Some((found, prepared)) = batches.try_next().await? {
            blobs.extend(found);
            self.append_all(prepared).await?;
        }
        self.unfinished = false;
        Ok(blobs)
    }
}

/// The files in `directory` and below are appended to `files` in the order in which the result names them.
fn walk(directory: &Path, depth: usize, files: &mut Vec<NewFile>) -> Result<Folder, StoreError> {
    let refused = |path: &Path, reason| StoreError::NotStorable { path: path.to_owned(), reason };
    let below = depth.checked_sub(1).ok_or_else(|| refused(directory, "it lies more than 128 directories deep"))?;
    let mut entries = Vec::new();
    for entry in files::list(directory)? {
        let node = match entry.kind {
            EntryKind::File if files::is_leftover(&entry.name) => continue,
            EntryKind::File => {
                files.push(NewFile { path: entry.path, size: entry.size });
                Node::File { executable: entry.executable }
            }
            EntryKind::Directory => Node::Folder(walk(&entry.path, below, files)?),
            EntryKind::Symlink => return Err(refused(&entry.path, "it is a symbolic link")),
            EntryKind::Other => return Err(refused(&entry.path, "it is neither a file nor a directory")),
        };
        entries.push((entry.name, node));
    }
    Ok(Folder { entries })
}

/// Makes the trees of `folder`, those below before those above; `blobs` are its files in order.
fn seal(folder: Folder, blobs: &mut vec::IntoIter<Blob>, trees: &mut Vec<Bytes>) -> Result<Digest, StoreError> {
    let mut tree = Tree::new();
    for (name, node) in folder.entries {
        let entry = match node {
            Node::File { executable } => {
                let Blob { digest, size } = blobs.next().ok_or(StoreError::Interrupted)?;
                TreeEntry::File { digest, size, executable }
            }
            Node::Folder(folder) => TreeEntry::Directory { digest: seal(folder, blobs, trees)? },
        };
        tree.insert(name, entry)?;
    }
    let encoded = encode_tree(&tree, || "a directory".to_owned())?;
    let digest = Digest::of(&encoded);
    trees.push(encoded);
    Ok(digest)
}

/// Whether it still is small is looked at again: it may have grown since it was listed.
fn read_small(path: &Path) -> Result<Bytes, FileError> {
    Ok(files::read_bounded(path, BATCH_BYTES)?.into())
}

fn batches(files: Vec<(usize, NewFile)>) -> Vec<Vec<(usize, NewFile)>> {
    let mut batches: Vec<Vec<_>> = Vec::new();
    let mut bytes = BATCH_BYTES;
    for file in files {
        bytes += file.1.size;
        match batches.last_mut() {
            Some(batch) if bytes <= BATCH_BYTES && batch.len() < BATCH_FILES => batch.push(file),
            _ => {
                bytes = file.1.size;
                batches.push(vec![file]);
            }
        }
    }
    batches
}
