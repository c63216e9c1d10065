use std::collections::HashSet;

use futures::future::BoxFuture;
use ropewalk_store::{Root, Store};
use ropewalk_types::{DatasetName, Digest};
use serde::Serialize;

use super::{Content, Workspace};
use crate::error::{VersionsError, blocking};
use crate::examine::behind;
use crate::history::{self, LogEntry, Refs, Removal, Resolved};
use crate::index::Index;
use crate::pointer::Pointer;
use crate::remote::content_root;
use crate::trail::Act;

/// A version that was removed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RemovedVersion {
    /// The dataset.
    pub name: DatasetName,
    /// The version.
    pub version: Digest,
    /// Who removed it, when and why.
    pub removal: Removal,
    /// What it held; none where its object is lost, so that nobody knows.
    #[serde(skip)]
    pub content: Option<Root>,
}

impl Workspace {
    /// Puts a tombstone on a version: it is named and listed still, nothing reads it any more, and a collection removes
    /// of its content what nothing else needs. Whole files of it leave the cache at once.
    ///
    /// What of it is damaged or missing is in nobody's way: also a version whose object is lost can be removed, by its digest,
    /// if others came after it.
    ///
    /// Refused while the version has a tag ([`VersionsError::Tagged`]) or is the one of the work tree
    /// ([`VersionsError::InWorkTree`]), without a name or a reason, and of one that was removed already.
    pub fn remove_version<'a>(
        &'a self,
        name: &'a DatasetName,
        spec: &'a str,
        who: &'a str,
        why: &'a str,
    ) -> BoxFuture<'a, Result<RemovedVersion, VersionsError>> {
        Box::pin(async move {
            let removal = Removal { at: self.ambient().now(), who: who.to_owned(), why: why.to_owned() };
            removal.check()?;
            let _lock = self.lock().await?;
            let store = self.store().await?;
            let (digest, found) = match history::recorded(store, name, spec).await {
                Ok(found) => (found.digest, Some(found)),
                Err(error) => match lost_behind(store, name, spec).await? {
                    Some(lost) => (lost, None),
                    None => return Err(error),
                },
            };
            self.announce(name, Some(digest), Act::Remove { why: why.to_owned() }).await?;
            let refs = history::refs(store, name).await?;
            check_removable(&refs, &self.in_work_tree(name).await?, name, &digest)?;
            // Killed after it, the version can be removed again.
            self.uncache(name, found.as_slice()).await?;
            if !history::removal_put(store, name, &digest, &removal).await? {
                history::check_there(store, name, &digest).await?;
            }
            let content = found.map(|found| content_root(found.version.kind, found.version.root));
            if content.is_none() {
                // What is damaged of it is named no longer: histories end there, and what came before is kept by itself.
                history::histories_end(store, name, &[digest]).await?;
            }
            Ok(RemovedVersion { name: name.clone(), version: digest, removal, content })
        })
    }

    /// Those of these versions that cannot be removed now, each with the error that says why.
    pub async fn unremovable(
        &self,
        name: &DatasetName,
        versions: &[Digest],
    ) -> Result<Vec<(Digest, VersionsError)>, VersionsError> {
        let refs = history::refs(self.store().await?, name).await?;
        let in_work_tree = self.in_work_tree(name).await?;
        let check = |version: &Digest| Some((*version, check_removable(&refs, &in_work_tree, name, version).err()?));
        Ok(versions.iter().filter_map(check).collect())
    }

    /// The versions of a dataset that pointers name or that are laid out, and where.
    async fn in_work_tree(&self, name: &DatasetName) -> Result<Vec<(Digest, String)>, VersionsError> {
        let mut found = Vec::new();
        for tracked in self.discover().await? {
            let sides = tracked.sides().into_iter().filter(|side| side.name == *name);
            found.extend(sides.filter_map(|side| Some((side.version()?, tracked.place.path.clone()))));
        }
        let index_path = self.index_path(name);
        if let Some(index) = blocking(move || Index::load(&index_path)).await? {
            found.extend(index.head.state.version().map(|version| (version, index.head.path)));
        }
        Ok(found)
    }

    /// Refuses a version that was removed.
    pub async fn check_there(&self, name: &DatasetName, version: &Digest) -> Result<(), VersionsError> {
        history::check_there(self.store().await?, name, version).await
    }

    /// What a pointer names, unless that version was removed.
    pub(crate) async fn pointed(&self, pointer: &Pointer) -> Result<Content, VersionsError> {
        if let Some(version) = pointer.version() {
            self.check_there(&pointer.name, &version).await?;
        }
        Ok(Content::of(pointer))
    }

    /// Removes the files of versions from the cache of whole files, but those that are laid out now.
    pub(crate) async fn uncache(&self, name: &DatasetName, versions: &[Resolved]) -> Result<(), VersionsError> {
        let (folder, store) = (self.work_folder(), self.store().await?);
        let laid_out = blocking(move || laid_out(&folder)).await?;
        for found in versions {
            if !store.contains(&found.version.root).await? {
                continue;
            }
            let content = Content::of_version(found);
            let files = match self.files_here(name, &content, found.version.file_name()).await {
                // Nobody can tell which files it had.
                Err(error) if error.is_of_content() => continue,
                files => files?,
            };
            let gone = files.into_iter().map(|file| file.digest).filter(|digest| !laid_out.contains(digest));
            store.uncache(gone.collect()).await?;
        }
        Ok(())
    }

    /// The contents that removed versions had and no other version of that dataset has.
    pub fn removed_contents(&self) -> BoxFuture<'_, Result<HashSet<Digest>, VersionsError>> {
        Box::pin(async move {
            let store = self.store().await?;
            let mut found = HashSet::new();
            for name in history::names(store).await? {
                let (gone, there): (Vec<_>, Vec<_>) = history::log(store, &name).await?.into_iter().partition(is_gone);
                let there: HashSet<_> = there.into_iter().map(|entry| entry.version.root).collect();
                found.extend(gone.into_iter().map(|entry| entry.version.root).filter(|root| !there.contains(root)));
            }
            Ok(found)
        })
    }
}

/// The version whose digest begins with `spec`, if only those that came after it know of it: its object is lost. What a ref
/// names is let go by a verification.
async fn lost_behind(store: &Store, name: &DatasetName, spec: &str) -> Result<Option<Digest>, VersionsError> {
    if !history::begins_digest(spec) {
        return Ok(None);
    }
    let named = history::refs(store, name).await?.named().collect();
    let (_, mut lost) = behind(&[store], &named).await?;
    lost.retain(|digest| !named.contains(digest) && digest.to_string().starts_with(spec));
    Ok(match lost.as_slice() {
        [only] => Some(*only),
        _ => None,
    })
}

fn check_removable(
    refs: &Refs,
    in_work_tree: &[(Digest, String)],
    name: &DatasetName,
    version: &Digest,
) -> Result<(), VersionsError> {
    refs.check_there(name, version)?;
    let tags = refs.tags_of(version);
    if !tags.is_empty() {
        return Err(VersionsError::Tagged { name: name.clone(), version: *version, tags });
    }
    match in_work_tree.iter().find(|(found, _)| found == version) {
        Some((_, path)) => Err(VersionsError::InWorkTree { name: name.clone(), version: *version, path: path.clone() }),
        None => Ok(()),
    }
}

/// Whether nothing names a version any more but its tombstone.
fn is_gone(entry: &LogEntry) -> bool {
    entry.removed.is_some() && entry.tags.is_empty()
}

/// The files that lie in work trees, by digest.
fn laid_out(folder: &std::path::Path) -> Result<HashSet<Digest>, VersionsError> {
    let mut found = HashSet::new();
    for index in crate::roots::indexes(folder)? {
        found.extend(index.iter().filter(|entry| !entry.absent).map(|entry| entry.digest));
    }
    Ok(found)
}
