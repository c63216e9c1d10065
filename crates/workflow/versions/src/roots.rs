//! What a collection of garbage must keep.

use std::collections::{BTreeSet, HashSet};

use futures::future::BoxFuture;
use ropewalk_store::files::{self, EntryKind};
use ropewalk_store::{Root, Store};
use ropewalk_types::{DatasetName, Digest};

use crate::error::{VersionsError, blocking};
use crate::git;
use crate::history::{self, History};
use crate::index::Index;
use crate::pointer::{EXTENSION, Kind};
use crate::remote::content_root;
use crate::workspace::Workspace;

impl Workspace {
    /// Everything in the project's store that some dataset needs: all versions that a ref names and those behind them,
    /// what pointers and indexes of the work tree name, and what pointers in any commit of git ever named.
    ///
    /// Only what the store holds as a whole.
    pub fn roots(&self) -> BoxFuture<'_, Result<Vec<Root>, VersionsError>> {
        Box::pin(async move {
            let store = self.store().await?;
            let mut wanted = Wanted::default();
            let names = history::names(store).await?;
            for refs in history::refs_of(store, &names).await?.into_values() {
                wanted.versions.extend(refs.versions());
            }
            for pointer in self.pointers().await? {
                wanted.roots.insert(content_root(pointer.kind, pointer.digest));
                wanted.versions.extend(pointer.ancestor());
            }
            let folder = self.work_folder();
            wanted.roots.extend(blocking(move || index_roots(&folder, Trees::All)).await?);
            for text in git::texts_ever(self.root(), EXTENSION).await? {
                wanted.read(&text);
            }
            wanted.in_store(store).await
        })
    }

    /// What must be in the project's store: the versions that refs name, and what the work tree was laid out from or added
    /// as. The content of other versions may lie in a remote only.
    pub fn expected(&self) -> BoxFuture<'_, Result<Vec<Root>, VersionsError>> {
        Box::pin(async move {
            let store = self.store().await?;
            let names = history::names(store).await?;
            let mut roots: BTreeSet<Root> = BTreeSet::new();
            for refs in history::refs_of(store, &names).await?.into_values() {
                roots.extend(refs.versions().into_iter().map(Root::Blob));
            }
            let folder = self.work_folder();
            roots.extend(blocking(move || index_roots(&folder, Trees::OfWhole)).await?);
            Ok(roots.into_iter().collect())
        })
    }

    /// What a version needs: for the count of what it costs.
    pub async fn version_roots(&self, name: &DatasetName, spec: &str) -> Result<Vec<Root>, VersionsError> {
        let found = self.resolve(name, spec).await?;
        Ok(vec![Root::Blob(found.digest), content_root(found.version.kind, found.version.root)])
    }
}

/// What the refs of a remote need, for a collection there.
pub async fn store_roots(store: &Store) -> Result<Vec<Root>, VersionsError> {
    let mut wanted = Wanted::default();
    let names = history::names(store).await?;
    for refs in history::refs_of(store, &names).await?.into_values() {
        wanted.versions.extend(refs.versions());
    }
    wanted.in_store(store).await
}

#[derive(Default)]
struct Wanted {
    versions: BTreeSet<Digest>,
    roots: BTreeSet<Root>,
}

impl Wanted {
    /// Takes what pointers name, one after the other in a text.
    fn read(&mut self, text: &str) {
        let mut digest: Option<Digest> = None;
        for line in text.lines() {
            match line.split_once(' ') {
                Some(("digest", value)) => digest = value.parse().ok(),
                Some(("kind", kind)) => {
                    let kind = if kind == Kind::Folder.as_str() { Kind::Folder } else { Kind::File };
                    self.roots.extend(digest.take().map(|digest| content_root(kind, digest)));
                }
                Some(("base" | "version", value)) => self.versions.extend(value.parse::<Digest>()),
                _ => {}
            }
        }
    }

    /// All versions behind, and what of all that the store has.
    async fn in_store(self, store: &Store) -> Result<Vec<Root>, VersionsError> {
        let Self { versions, mut roots } = self;
        let versions: Vec<_> = versions.into_iter().collect();
        let history = History { stores: &[store] };
        for (digest, version) in history.ancestors(&versions, &HashSet::new()).await? {
            roots.insert(Root::Blob(digest));
            roots.insert(content_root(version.kind, version.root));
        }
        Ok(store.whole(roots).await?)
    }
}

/// Of which work trees the content is meant as a whole; what is laid out in part may be whole in a remote only.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Trees {
    All,
    OfWhole,
}

/// What work trees were laid out from: the content as a whole, and of one that is laid out in part the files of that part.
fn index_roots(folder: &std::path::Path, trees: Trees) -> Result<Vec<Root>, VersionsError> {
    if files::kind(folder)? != Some(EntryKind::Directory) {
        return Ok(Vec::new());
    }
    let mut roots = Vec::new();
    for entry in files::list(folder)?.into_iter().filter(|entry| entry.name.strip_suffix(".index").is_some()) {
        let Some(index) = Index::load(&entry.path)? else { continue };
        let in_part = index.iter().any(|entry| entry.absent);
        if in_part {
            roots.extend(index.iter().filter(|entry| !entry.absent).map(|entry| Root::Blob(entry.digest)));
        }
        if !in_part || trees == Trees::All {
            roots.push(content_root(index.head.kind, index.head.root));
        }
    }
    Ok(roots)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pointers_are_read_one_after_the_other() {
        let (tree, blob, version) = (Digest::of(b"tree"), Digest::of(b"blob"), Digest::of(b"version"));
        let text = format!(
            "# comment\nbytes 1\ndigest {tree}\nkind folder\nversion {version}\n# comment\nbase {version}\ndigest {blob}\nkind file\n<<<<<<< x\ndigest nonsense\nkind folder\n"
        );
        let mut wanted = Wanted::default();
        wanted.read(&text);
        assert_eq!(wanted.versions, BTreeSet::from([version]));
        assert_eq!(wanted.roots, BTreeSet::from([Root::Tree(tree), Root::Blob(blob)]));
    }
}
