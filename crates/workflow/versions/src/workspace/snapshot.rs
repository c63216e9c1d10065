//! What lies in the work tree, taken into the store.

use std::path::PathBuf;

use ropewalk_store::{NewFile, Root, Store, TreeFile, Verified, Writer};
use ropewalk_types::{DatasetName, Digest};

use super::{Workspace, tree_commit};
use crate::discovery::{Place, untrackable};
use crate::error::{VersionsError, blocking};
use crate::index::{Index, IndexEntry, IndexHead};
use crate::pointer::{Kind, Links, PointerState};
use crate::remote::content_root;
use crate::work::{Data, Work, clock, look};

/// The content of a work tree, which the store holds.
pub(super) struct Snapshot {
    pub(super) root: Digest,
    pub(super) kind: Kind,
    pub(super) bytes: u64,
    pub(super) files: u64,
    /// How many files were read.
    pub(super) read: u64,
    /// Symbolic links that are no part of it.
    pub(super) links: Vec<String>,
    /// The index that goes with it; what it was made from is filled in later.
    pub(super) index: Index,
}

/// A work tree held against its index.
struct Looked {
    work: Work,
    index: Option<Index>,
    settled: i64,
}

impl Workspace {
    /// Stores what is new or changed at `place`, in one commit, and gives the whole content.
    ///
    /// Files that were not to be laid out count as unchanged. What is known to be damaged in the store is written anew.
    pub(super) async fn snapshot(
        &self,
        name: &DatasetName,
        place: &Place,
        folder: bool,
        links: Links,
        index: Option<Index>,
    ) -> Result<Snapshot, VersionsError> {
        let data = Data::at(&place.data, if folder { Kind::Folder } else { Kind::File }).with_links(links);
        let (clock_folder, data) = (self.work_folder(), data);
        let mut looked = blocking(move || {
            // The clock first: what changes from now on is not trusted.
            let settled = clock(&clock_folder)?;
            let work = look(&data, index.as_ref())?;
            Ok(Looked { work, index, settled })
        })
        .await?;
        let damaged = Box::pin(self.damage_noted(&looked.known_roots())).await?;
        let hurt = match &damaged {
            Some(found) => Box::pin(looked.forget_what_is_damaged(self.store().await?, found)).await?,
            None => false,
        };
        if let Some(snapshot) = looked.unchanged().filter(|_| !hurt) {
            return Ok(snapshot);
        }
        let store = self.store().await?;
        looked.forget_what_the_store_lacks(store).await?;
        // A tree must not be visible before all that it names is.
        if self.lacks(&looked.left_out()).await? {
            return Err(VersionsError::LaidOutInPart { name: name.clone() });
        }
        let mut writer = damaged.as_ref().map_or_else(|| store.writer(), |found| store.writer_over(found));
        let read = looked.add(&mut writer).await?;
        let links = std::mem::take(&mut looked.work.links);
        let (files, index) = looked.list(place)?;
        let (bytes, count) = (files.iter().map(|file| file.size).sum(), files.len() as u64);
        let (root, kind) = match (folder, files.as_slice()) {
            (true, _) => (tree_commit(writer, &files).await?, Kind::Folder),
            (false, [file]) => {
                writer.commit().await?;
                (file.digest, Kind::of_file(file.executable))
            }
            (false, _) => return Err(untrackable(&place.path, "the file is gone", "check the path")),
        };
        if let Some(found) = damaged {
            self.damage_replaced(found).await?;
        }
        let head = IndexHead { root, kind, ..index.head.clone() };
        Ok(Snapshot { root, kind, bytes, files: count, read, links, index: index.with_head(head) })
    }
}

impl Looked {
    /// The content as the index has it, if the metadata says that nothing changed.
    fn unchanged(&self) -> Option<Snapshot> {
        let index = self.index.as_ref()?;
        let same = |file: &crate::work::Found| file.at.is_some() && file.digest.is_some();
        if !self.work.missing.is_empty() || !self.work.files.iter().all(same) {
            return None;
        }
        let IndexHead { root, kind, .. } = index.head;
        let bytes = index.iter().map(|entry| entry.stat.size).sum();
        let (files, links) = (index.len() as u64, self.work.links.clone());
        Some(Snapshot { root, kind, bytes, files, read: 0, links, index: index.clone() })
    }

    /// An index may speak of blobs that a lost or another store had: then all is read again.
    async fn forget_what_the_store_lacks(&mut self, store: &Store) -> Result<(), VersionsError> {
        for file in &self.work.files {
            if let Some(digest) = &file.digest
                && !store.contains(digest).await?
            {
                self.work.files.iter_mut().for_each(|file| file.digest = None);
                return Ok(());
            }
        }
        Ok(())
    }

    /// What the content needs, as far as that is known without reading files.
    fn known_roots(&self) -> Vec<Root> {
        let files = self.work.files.iter().filter_map(|file| file.digest).map(Root::Blob);
        files.chain(self.index.iter().map(|index| content_root(index.head.kind, index.head.root))).collect()
    }

    /// What is damaged in the store is read again where it is here; says whether anything of the content is.
    async fn forget_what_is_damaged(&mut self, store: &Store, found: &Verified) -> Result<bool, VersionsError> {
        let groups: Vec<_> = self.known_roots().into_iter().map(|root| vec![root]).collect();
        let affected = store.lacking(&groups, found).await?.affected;
        let known = self.work.files.iter_mut().filter(|file| file.digest.is_some());
        for (file, _) in known.zip(&affected).filter(|(_, affected)| **affected) {
            file.digest = None;
        }
        Ok(affected.contains(&true))
    }

    /// The files that belong to the content and were not to be laid out.
    fn left_out(&self) -> Vec<TreeFile> {
        let absent = self.index.iter().flat_map(Index::iter);
        let absent = absent.filter(|entry| entry.absent && self.work.find(entry.path).is_none());
        let file = |entry: IndexEntry<'_>| {
            let crate::index::Stat { size, executable, .. } = entry.stat;
            TreeFile { path: entry.path.to_owned(), digest: entry.digest, size, executable }
        };
        absent.map(file).collect()
    }

    /// Adds the files whose content is not known and says how many they are.
    async fn add(&mut self, writer: &mut Writer) -> Result<u64, VersionsError> {
        let unknown = self.work.files.iter().filter(|file| file.digest.is_none());
        let new = |file: &crate::work::Found| -> NewFile {
            let path: PathBuf = self.work.directory.join(&file.path);
            NewFile { path, size: file.stat.size }
        };
        let added: Vec<_> = unknown.map(new).collect();
        let count = added.len() as u64;
        let mut blobs = writer.add_files(added).await?.into_iter();
        for file in self.work.files.iter_mut().filter(|file| file.digest.is_none()) {
            file.digest = blobs.next().map(|blob| blob.digest);
        }
        Ok(count)
    }

    /// The files of the content and the index that goes with them.
    fn list(self, place: &Place) -> Result<(Vec<TreeFile>, Index), VersionsError> {
        let left_out = self.left_out();
        let Self { work, index: old, settled } = self;
        let selection = old.as_ref().and_then(|old| old.head.selection.clone());
        let (nothing, state) = (Digest::of(b""), PointerState::Added { base: None });
        let path = place.path.clone();
        let head = IndexHead { root: nothing, kind: Kind::Folder, state, path, selection, settled };
        let mut index = Index::new(head);
        let mut files = work.tree_files();
        files.extend(left_out);
        files.sort_by(|a, b| a.path.as_bytes().cmp(b.path.as_bytes()));
        for file in &files {
            let found = work.find(&file.path);
            let unknown = crate::index::Stat { size: file.size, executable: file.executable, ..Default::default() };
            let stat = found.map_or(unknown, |found| found.stat);
            let entry = IndexEntry { path: &file.path, stat, digest: file.digest, absent: found.is_none() };
            if !index.push(entry) {
                return Err(untrackable(&place.path, "it holds more than 16 million files", "split it"));
            }
        }
        Ok((files, index))
    }
}
