//! What the project's store has lost and the work tree still has.
//!
//! An index object of the store may name what its pack has lost. Whoever adds the same bytes trusts it, since reading all
//! that is stored would cost more than adding. So `verify` notes the names of what it found in `STATE/work/damaged`; as long
//! as that note is there, an addition looks at what it names, and writes it anew.

use std::collections::{BTreeSet, HashSet};
use std::path::PathBuf;

use ropewalk_store::{NewFile, Root, Store, StoreError, TreeFile, Verified, Writer, files};
use ropewalk_types::{DatasetName, Digest};

use super::{Opened, Workspace};
use crate::discovery::Tracked;
use crate::error::{VersionsError, blocking};
use crate::history;
use crate::index::{Index, IndexHead};
use crate::pointer::{Kind, Links, Pointer, PointerState};
use crate::work::{Data, Work, kind_here, look};

const NOTE: &str = "damaged";
/// A note of a million names.
const LONGEST_NOTE: u64 = 64 << 20;

/// What a store got back from the work tree.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FromWorkTree {
    /// Files of which something was written anew.
    pub files: u64,
    /// Datasets whose files could not be looked at, and why.
    pub unread: Vec<String>,
}

/// The files of a dataset, and what was laid out.
struct Look {
    work: Work,
    index: Option<Index>,
    kind: Kind,
}

impl Workspace {
    fn damage_path(&self) -> PathBuf {
        self.work_folder().join(NOTE)
    }

    /// Notes what was found to be damaged in the project's store and is not healed, for the next [`Workspace::add`].
    pub async fn damage_note(&self, found: &Verified) -> Result<(), VersionsError> {
        let damaged = found.damaged.iter().filter(|damage| !damage.healed && !damage.is_index());
        let names: BTreeSet<String> = damaged.map(|damage| damage.digest.to_string()).collect();
        let path = self.damage_path();
        blocking(move || {
            if names.is_empty() {
                files::remove_file(&path)?;
                return Ok(());
            }
            let names: Vec<String> = names.into_iter().collect();
            Ok(files::write_atomic(&path, (names.join("\n") + "\n").as_bytes())?)
        })
        .await
    }

    /// What was noted and still is damaged. Without a note the store is not asked.
    pub(super) async fn damage_noted(&self) -> Result<Option<Verified>, VersionsError> {
        let path = self.damage_path();
        let text = blocking(move || match files::read_text(&path, LONGEST_NOTE) {
            Err(error) if error.is_not_found() => Ok(None),
            text => Ok(Some(text?)),
        })
        .await?;
        let Some(text) = text else { return Ok(None) };
        let digests: Vec<Digest> = text.lines().filter_map(|line| line.parse().ok()).collect();
        let found = self.store().await?.verify_only(&digests).await?;
        if found.damaged.is_empty() {
            self.damage_note(&found).await?;
            return Ok(None);
        }
        Ok(Some(found))
    }

    /// Writes to the project's store, which is `store`, what was found there to be damaged or `missing` and files of the work
    /// tree still have; notes in `found` what is healed.
    ///
    /// Only files that something is lost of are read, and of folders only what was laid out or added as a whole comes back.
    pub async fn heal_from_files(
        &self,
        store: &Store,
        found: &mut Verified,
        missing: &[Root],
    ) -> Result<FromWorkTree, VersionsError> {
        let (mut writer, mut given) = (store.writer_over(found), FromWorkTree::default());
        for Tracked { place, pointer } in self.discover().await? {
            let Ok(pointer) = pointer else { continue };
            let Opened { place, pointer, index } = self.with_index(place, pointer)?;
            let looked = blocking(move || {
                let kind = kind_here(&place.data, pointer.kind)?;
                let data = Data::at(&place.data, kind).with_links(Links::Skipped);
                let mut work = look(&data, index.as_ref())?;
                work.hash(|_| true)?;
                Ok(Look { work, index, kind })
            });
            match looked.await {
                Ok(looked) => given.files += Box::pin(looked.give(store, &mut writer, found, missing)).await?,
                // What cannot be looked at gives nothing.
                Err(error) => given.unread.push(format!("the files of `{}`: {error}", pointer.name)),
            }
        }
        writer.commit().await?;
        store.heal_copies(found).await?;
        Ok(given)
    }
}

impl Workspace {
    /// Lets pointers that name these versions, whose objects nobody has, name the head of `store` as what their data was
    /// made from, so that the next commit makes a version of it; gives the dataset, the version and the data of each.
    pub(crate) async fn pointers_let_go(
        &self,
        store: &Store,
        lost: &[(DatasetName, Digest)],
    ) -> Result<Vec<(DatasetName, Digest, String)>, VersionsError> {
        let mut changed = Vec::new();
        for Tracked { place, pointer } in self.discover().await? {
            let Ok(pointer) = pointer else { continue };
            let Some(version) = pointer.ancestor() else { continue };
            if !lost.contains(&(pointer.name.clone(), version)) || store.contains(&version).await? {
                continue;
            }
            let Opened { place, pointer, index } = self.with_index(place, pointer)?;
            let base = history::ref_at(store, &history::head_ref(&pointer.name)?).await?.map(|head| head.version);
            let state = PointerState::Added { base };
            let pointer = Pointer { state, ..pointer };
            let index = index.filter(|index| index.head.state.ancestor() == Some(version)).map(|index| {
                let head = IndexHead { state, ..index.head.clone() };
                index.with_head(head)
            });
            self.write_down(&place, &pointer, index).await?;
            changed.push((pointer.name, version, place.path));
        }
        Ok(changed)
    }
}

impl Look {
    /// Adds the files that something is lost of, and the folders of what was laid out; says how many files they are.
    async fn give(
        &self,
        store: &Store,
        writer: &mut Writer,
        found: &Verified,
        missing: &[Root],
    ) -> Result<u64, VersionsError> {
        let Self { work, index, kind } = self;
        let known: Vec<_> = work.files.iter().filter_map(|file| Some((file, file.digest?))).collect();
        let groups: Vec<_> = known.iter().map(|(_, digest)| vec![Root::Blob(*digest)]).collect();
        let lacking = store.lacking(&groups, found).await?;
        let absent: HashSet<&Digest> = lacking.missing.iter().map(Root::digest).collect();
        let missing: HashSet<&Digest> = missing.iter().map(Root::digest).collect();
        let mut added = Vec::new();
        for ((file, digest), affected) in known.iter().zip(&lacking.affected) {
            let laid_out = file.at.and_then(|at| index.as_ref()?.get(at)).is_some_and(|entry| entry.digest == *digest);
            // What the store has never had is a change that nobody has added yet.
            if *affected && (laid_out || missing.contains(digest) || !absent.contains(digest)) {
                added.push(NewFile { path: work.directory.join(&file.path), size: file.stat.size });
            }
        }
        let count = added.len() as u64;
        writer.add_files(added).await?;
        if *kind == Kind::Folder {
            let files = index.as_ref().map_or_else(|| work.tree_files(), tree_files);
            match writer.add_tree_of(&files).await {
                // Not all of it is here.
                Err(StoreError::NotFound { .. }) => {}
                added => {
                    added?;
                }
            }
        }
        Ok(count)
    }
}

/// All files of the content that was laid out, also those that were left out.
fn tree_files(index: &Index) -> Vec<TreeFile> {
    let file = |entry: crate::index::IndexEntry<'_>| {
        let crate::index::Stat { size, executable, .. } = entry.stat;
        TreeFile { path: entry.path.to_owned(), digest: entry.digest, size, executable }
    };
    index.iter().map(file).collect()
}
