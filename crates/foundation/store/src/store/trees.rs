//! Trees as flat lists of files.

use std::collections::HashMap;

use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _};
use ropewalk_types::Digest;

use super::read::{Piece, segments};
use super::{Inner, Store, blocking};
use crate::error::StoreError;
use crate::index::Kind;
use crate::tree::{MAX_DEPTH, Tree, TreeEntry};

/// Trees may share trees, so that a few kilobytes could stand for any number of files.
pub(super) const MAX_FILES: usize = 16_000_000;
const READS_AT_ONCE: usize = 8;

/// A file of a tree or of one below it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TreeFile {
    /// Where it is in the outermost tree, `/`-separated.
    pub path: String,
    /// Its blob.
    pub digest: Digest,
    /// Its size in bytes.
    pub size: u64,
    /// Whether it may be executed.
    pub executable: bool,
}

impl Store {
    /// All files of the tree and of those below it, sorted by the bytes of their paths; at most 16 million.
    ///
    /// Directories without files do not show.
    pub async fn tree_files(&self, tree: &Digest) -> Result<Vec<TreeFile>, StoreError> {
        self.tree_files_bounded(tree, MAX_FILES).await
    }

    async fn tree_files_bounded(&self, tree: &Digest, limit: usize) -> Result<Vec<TreeFile>, StoreError> {
        Ok(self.tree_flat(tree, limit).await?.files)
    }

    /// The files of the tree and its directories, each sorted by path; at most `limit` together.
    pub(super) async fn tree_flat(&self, tree: &Digest, limit: usize) -> Result<Flat, StoreError> {
        let mut flat = Flat { files: Vec::new(), directories: Vec::new(), limit };
        let mut level = HashMap::from([(*tree, vec![String::new()])]);
        for _ in 0..=MAX_DEPTH {
            let digests: Vec<_> = level.keys().copied().collect();
            if digests.is_empty() {
                return blocking(move || Ok(flat.sorted())).await;
            }
            let mut below: HashMap<Digest, Vec<String>> = HashMap::new();
            let mut each = |digest, tree: &Tree| {
                level.get(&digest).into_iter().flatten().try_for_each(|path| flat.add(path, tree, &mut below))
            };
            self.inner.trees_each(&digests, &mut each).await?;
            level = below;
        }
        let reason = format!("its directories lie more than {MAX_DEPTH} deep");
        Err(StoreError::Malformed { what: "tree", reason })
    }

    /// What is at `path` in the tree, reading only the trees on the way; `None` for nothing.
    pub async fn tree_find(&self, tree: &Digest, path: &str) -> Result<Option<TreeEntry>, StoreError> {
        let mut found = TreeEntry::Directory { digest: *tree };
        for name in path.split('/') {
            let TreeEntry::Directory { digest } = found else { return Ok(None) };
            match self.tree_get(&digest).await?.get(name) {
                Some(entry) => found = *entry,
                None => return Ok(None),
            }
        }
        Ok(Some(found))
    }
}

impl Inner {
    /// Shows trees in any order, reading together what lies together in a pack.
    pub(super) async fn trees_each(
        &self,
        digests: &[Digest],
        each: &mut (dyn FnMut(Digest, &Tree) -> Result<(), StoreError> + Send),
    ) -> Result<(), StoreError> {
        let mut pieces = Vec::new();
        let mut others = Vec::new();
        self.index(|index| {
            for digest in digests {
                match index.find_readable(Kind::Chunk, digest) {
                    Some(location) => pieces.push(Piece { kind: Kind::Chunk, digest: *digest, location }),
                    None => others.push(*digest),
                }
            }
        });
        pieces.sort_by_key(|piece| (piece.location.pack, piece.location.offset));
        let reads = segments(pieces).into_iter().map(async |segment| {
            let names: Vec<_> = segment.pieces().map(|piece| piece.digest).collect();
            let contents = self.read_segment(segment).await?;
            blocking(move || names.into_iter().zip(contents).map(decode).collect::<Result<Vec<_>, _>>()).await
        });
        let mut reads = std::pin::pin!(futures::stream::iter(reads).buffer_unordered(READS_AT_ONCE));
        while let Some(trees) = reads.try_next().await? {
            trees.iter().try_for_each(|(digest, tree)| each(*digest, tree))?;
        }
        for digest in others {
            let bytes = self.get_bounded(&digest, Tree::MAX_ENCODED as u64, "the tree").await?;
            let (digest, tree) = blocking(move || decode((digest, bytes))).await?;
            each(digest, &tree)?;
        }
        Ok(())
    }
}

fn decode((digest, bytes): (Digest, Bytes)) -> Result<(Digest, Tree), StoreError> {
    Ok((digest, Tree::decode(&bytes)?))
}

/// A tree without its nesting.
pub(super) struct Flat {
    pub(super) files: Vec<TreeFile>,
    /// Their paths, also of those without a file.
    pub(super) directories: Vec<String>,
    limit: usize,
}

impl Flat {
    /// `path` is that of the tree, with a slash at its end, or empty.
    fn add(&mut self, path: &str, tree: &Tree, below: &mut HashMap<Digest, Vec<String>>) -> Result<(), StoreError> {
        check_count(self.directories.len() + self.files.len() + tree.len(), self.limit)?;
        for (name, entry) in tree.iter() {
            match *entry {
                TreeEntry::File { digest, size, executable } => {
                    self.files.push(TreeFile { path: format!("{path}{name}"), digest, size, executable });
                }
                TreeEntry::Directory { digest } => {
                    self.directories.push(format!("{path}{name}"));
                    below.entry(digest).or_default().push(format!("{path}{name}/"));
                }
            }
        }
        Ok(())
    }

    fn sorted(mut self) -> Self {
        self.files.sort_unstable_by(|a, b| a.path.cmp(&b.path));
        self.directories.sort_unstable();
        self
    }
}

fn check_count(count: usize, limit: usize) -> Result<(), StoreError> {
    if count <= limit {
        return Ok(());
    }
    let (size, limit) = (count as u64, limit as u64);
    Err(StoreError::TooLarge { what: "a tree".to_owned(), size, limit, unit: "files" })
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
            let found = store.tree_files_bounded(&digest, limit).await;
            assert_eq!(found.is_ok(), fits, "{limit}");
        }
        assert!(store.tree_files(&digest).await.unwrap().is_empty());
    }
}
