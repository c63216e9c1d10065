//! What a collection of garbage must keep.

use std::collections::BTreeSet;

use futures::future::BoxFuture;
use ropewalk_store::files::{self, EntryKind};
use ropewalk_store::{Root, Store, StoreError};
use ropewalk_types::{DatasetName, Digest};

use crate::error::{VersionsError, blocking};
use crate::git;
use crate::history::{self, History, Refs, Resolved};
use crate::index::Index;
use crate::pointer::{EXTENSION, Kind, MAX_BYTES};
use crate::remote::content_root;
use crate::workspace::{Content, Workspace};

/// A version and what it needs of the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// The dataset.
    pub name: DatasetName,
    /// The version.
    pub version: Digest,
    /// Size of all its files, here or not.
    pub bytes: u64,
    /// What it needs; some of it may not be here.
    pub roots: Vec<Root>,
}

impl Workspace {
    /// Everything in the project's store that some dataset needs: all versions that a ref names and those behind them,
    /// what pointers and indexes of the work tree name, and what pointers in any commit of git ever named.
    ///
    /// Only what the store holds as a whole. Of versions that were removed not the content, unless something else of this
    /// has the same; what a commit of git names does not count as that.
    pub fn roots(&self) -> BoxFuture<'_, Result<Vec<Root>, VersionsError>> {
        Box::pin(async move {
            let store = self.store().await?;
            let mut wanted = Wanted::default();
            let names = history::names(store).await?;
            for refs in history::refs_of(store, &names).await?.into_values() {
                wanted.take(&refs);
            }
            for pointer in self.pointers().await? {
                wanted.roots.insert(content_root(pointer.kind, pointer.digest));
                wanted.versions.extend(pointer.ancestor());
            }
            let folder = self.work_folder();
            wanted.roots.extend(blocking(move || index_roots(&folder, Trees::All)).await?);
            git::texts_ever(self.root(), EXTENSION, MAX_BYTES as usize, &mut |text| wanted.read(text)).await?;
            wanted.in_store(store).await
        })
    }

    /// All versions of all datasets but those that were removed, each with what it needs of the project's store: for the
    /// count of what it costs.
    ///
    /// Of one whose tree is in a remote only, and which is laid out in part, the blobs of its files.
    pub fn held(&self) -> BoxFuture<'_, Result<Vec<Held>, VersionsError>> {
        Box::pin(async move {
            let store = self.store().await?;
            let mut held = Vec::new();
            for name in self.names().await? {
                let path = self.index_path(&name);
                let laid_out = blocking(move || Index::load(&path)).await?.map(|index| index.head.root);
                for entry in self.log(&name).await?.into_iter().filter(|entry| entry.removed.is_none()) {
                    let content = Content::of_version(&Resolved { digest: entry.digest, version: entry.version });
                    let mut roots = vec![Root::Blob(entry.digest), content_root(content.kind, content.root)];
                    if laid_out == Some(content.root) && !store.contains(&content.root).await? {
                        let files = self.files_known(&name, &content).await?;
                        roots.extend(files.into_iter().flatten().map(|file| Root::Blob(file.digest)));
                    }
                    held.push(Held { name: name.clone(), version: entry.digest, bytes: content.bytes, roots });
                }
            }
            Ok(held)
        })
    }
}

/// Whether a pointer in any commit of git names this content, so that a collection keeps it.
pub(crate) async fn is_named_in_git(root: &std::path::Path, content: &Root) -> Result<bool, VersionsError> {
    let mut named = Wanted::default();
    git::texts_ever(root, EXTENSION, MAX_BYTES as usize, &mut |text| named.read(text)).await?;
    Ok(named.in_git.iter().any(|(_, root)| root == content))
}

/// What the refs of a remote need, for a collection there.
///
/// A head or tag whose version is not there is damage: nobody can tell what it would need.
pub async fn store_roots(store: &Store) -> Result<Vec<Root>, VersionsError> {
    let mut wanted = Wanted::default();
    let names = history::names(store).await?;
    for (name, refs) in history::refs_of(store, &names).await? {
        let tagged = refs.tags.values().map(|at| at.version);
        for version in refs.head.iter().map(|head| head.version).chain(tagged) {
            if !refs.removed.contains_key(&version) && !store.contains(&version).await? {
                let object = format!("the refs of `{name}` in {}", store.place());
                let reason = "this version is named there, and its object is lost".to_owned();
                return Err(StoreError::Damaged { digest: version, object, reason }.into());
            }
        }
        wanted.take(&refs);
    }
    wanted.in_store(store).await
}

/// Whether a store has the tombstone of any version.
pub async fn has_removed(store: &Store) -> Result<bool, VersionsError> {
    history::has_removed(store).await
}

#[derive(Default)]
struct Wanted {
    versions: BTreeSet<Digest>,
    roots: BTreeSet<Root>,
    /// Versions with a tombstone and without a tag.
    removed: BTreeSet<Digest>,
    /// What commits of git name, with the name of the dataset, which is empty where a pointer is damaged.
    in_git: BTreeSet<(String, Root)>,
}

impl Wanted {
    fn take(&mut self, refs: &Refs) {
        // Not what lies behind a version that only its tombstone names: that of a dataset that was forgotten, for one.
        self.versions.extend(refs.named());
        let tagged = |version: &Digest| refs.tags.values().any(|at| at.version == *version);
        self.removed.extend(refs.removed.keys().filter(|version| !tagged(version)));
    }

    /// Takes what pointers name, one after the other in a text.
    fn read(&mut self, text: &str) {
        let (mut digests, mut roots): (Vec<Digest>, Vec<Root>) = (Vec::new(), Vec::new());
        for line in text.lines() {
            match line.split_once(' ') {
                Some(("#", _)) => self.in_git.extend(roots.drain(..).map(|root| (String::new(), root))),
                Some(("digest", value)) => digests.extend(value.parse::<Digest>()),
                Some(("kind", kind)) => {
                    let kind = if kind == Kind::Folder.as_str() { Kind::Folder } else { Kind::File };
                    roots.extend(digests.drain(..).map(|digest| content_root(kind, digest)));
                }
                Some(("name", name)) => self.in_git.extend(roots.drain(..).map(|root| (name.to_owned(), root))),
                Some(("base" | "version", value)) => self.versions.extend(value.parse::<Digest>()),
                _ => {}
            }
        }
        self.in_git.extend(roots.into_iter().map(|root| (String::new(), root)));
    }

    /// All versions behind, and what of all that the store has.
    async fn in_store(self, store: &Store) -> Result<Vec<Root>, VersionsError> {
        let Self { versions, mut roots, removed, mut in_git } = self;
        let versions: Vec<_> = versions.into_iter().collect();
        let history = History { stores: &[store] };
        let mut found = history.ancestors_strictly(&versions).await?;
        let behind: BTreeSet<_> = found.iter().map(|(digest, _)| *digest).collect();
        // The object of a removed version stays, so that lineage can name it.
        for digest in removed.difference(&behind) {
            found.extend(history.find_strictly(digest).await?.map(|version| (*digest, version)));
        }
        for (digest, version) in found {
            roots.insert(Root::Blob(digest));
            let content = content_root(version.kind, version.root);
            if removed.contains(&digest) {
                in_git.remove(&(version.name.to_string(), content));
            } else {
                roots.insert(content);
            }
        }
        roots.extend(in_git.into_iter().map(|(_, root)| root));
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
    let mut roots = Vec::new();
    for index in indexes(folder)? {
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

/// What work trees were laid out from as a whole.
pub(crate) fn laid_out_whole(folder: &std::path::Path) -> Result<Vec<Root>, VersionsError> {
    index_roots(folder, Trees::OfWhole)
}

/// The indexes of all work trees.
pub(crate) fn indexes(folder: &std::path::Path) -> Result<Vec<Index>, VersionsError> {
    if files::kind(folder)? != Some(EntryKind::Directory) {
        return Ok(Vec::new());
    }
    let mut found = Vec::new();
    for entry in files::list(folder)?.into_iter().filter(|entry| entry.name.strip_suffix(".index").is_some()) {
        found.extend(Index::load(&entry.path)?);
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pointers_are_read_one_after_the_other() {
        let (tree, blob, version) = (Digest::of(b"tree"), Digest::of(b"blob"), Digest::of(b"version"));
        let text = format!(
            "# comment\nbytes 1\ndigest {tree}\nkind folder\nname a\nversion {version}\n# comment\nbase {version}\ndigest {blob}\nkind file\n# comment\n<<<<<<< x\ndigest nonsense\ndigest {blob}\n=======\ndigest {tree}\n>>>>>>> y\nkind folder\nname b\n"
        );
        let mut wanted = Wanted::default();
        wanted.read(&text);
        assert_eq!(wanted.versions, BTreeSet::from([version]));
        let named = |name: &str, root| (name.to_owned(), root);
        let both_sides = [named("b", Root::Tree(blob)), named("b", Root::Tree(tree))];
        let expected = [named("a", Root::Tree(tree)), named("", Root::Blob(blob))].into_iter().chain(both_sides);
        assert_eq!(wanted.in_git, expected.collect());
    }
}
