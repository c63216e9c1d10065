use std::collections::BTreeMap;

use ropewalk_store::{Store, StoreError, Tree, TreeEntry};
use ropewalk_types::Digest;

use super::{COMMIT_TRIES, KeptFile};
use crate::IngestError;

async fn commit(store: &Store, trees: &[Tree]) -> Result<(), StoreError> {
    let mut writer = store.writer();
    for tree in trees {
        writer.add_tree(tree).await?;
    }
    writer.commit().await
}

/// The folders that the paths of files make.
#[derive(Debug, Default)]
pub(super) struct FileTree {
    files: BTreeMap<String, TreeEntry>,
    folders: BTreeMap<String, FileTree>,
}

impl FileTree {
    /// The tree of files with `/`-separated paths.
    pub(super) fn new(kept: &[KeptFile]) -> Result<Self, IngestError> {
        let mut root = Self::default();
        for file in kept {
            let entry = TreeEntry::File { digest: file.stored.digest, size: file.stored.bytes, executable: false };
            let mut folder = &mut root;
            let (folders, name) = file.path.rsplit_once('/').unwrap_or(("", &file.path));
            for part in folders.split('/').filter(|part| !part.is_empty()) {
                folder = folder.folders.entry(part.to_owned()).or_default();
            }
            folder.files.insert(name.to_owned(), entry);
        }
        root.check("")?;
        Ok(root)
    }

    fn check(&self, above: &str) -> Result<(), IngestError> {
        for (name, folder) in &self.folders {
            let path = format!("{above}{name}");
            if self.files.contains_key(name) {
                let reason = "it is a file and a folder".to_owned();
                return Err(IngestError::SourceKind { file: path, reason });
            }
            folder.check(&format!("{path}/"))?;
        }
        Ok(())
    }

    /// Stores the trees of all folders at once; returns the digest of the root.
    pub(super) async fn put(self, store: &Store) -> Result<Digest, IngestError> {
        let mut trees = Vec::new();
        let root = self.encode(&mut trees)?;
        for _ in 1..COMMIT_TRIES {
            match commit(store, &trees).await {
                Err(StoreError::Collected { .. }) => {}
                committed => return Ok(committed.map(|()| root)?),
            }
        }
        commit(store, &trees).await?;
        Ok(root)
    }

    fn encode(self, trees: &mut Vec<Tree>) -> Result<Digest, IngestError> {
        let mut tree = Tree::new();
        for (name, entry) in self.files {
            tree.insert(name, entry)?;
        }
        for (name, folder) in self.folders {
            let digest = folder.encode(trees)?;
            tree.insert(name, TreeEntry::Directory { digest })?;
        }
        let digest = tree.digest();
        trees.push(tree);
        Ok(digest)
    }
}
