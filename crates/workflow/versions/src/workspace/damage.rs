//! What the project's store has lost and the work tree still has.
//!
//! An index object of the store may name what its pack has lost. Whoever adds the same bytes trusts it, since reading all
//! that is stored would cost more than adding. So `verify` notes the names of what it found in `STATE/work/damaged`; as long
//! as that note is there, an addition looks at what of it the dataset needs, and writes it anew.

use std::collections::{BTreeSet, HashSet};
use std::path::PathBuf;

use ropewalk_store::{NewFile, Root, Store, StoreError, TreeFile, Verified, files};
use ropewalk_types::Digest;

use super::{Opened, Workspace};
use crate::discovery::{Place, Tracked};
use crate::error::{VersionsError, blocking};
use crate::index::{Index, IndexHead};
use crate::pointer::{Kind, Links, Pointer, PointerState};
use crate::work::{Data, Found, Work, kind_here, look};

const NOTE: &str = "damaged";
/// A note of a million names.
const LONGEST_NOTE: u64 = 64 << 20;

/// What a store lacks that files of the work tree may have.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// What is needed and not there.
    pub missing: &'a [Root],
    /// The sizes of the files of which something is damaged or missing; none where that cannot be told of all.
    pub sizes: Option<&'a BTreeSet<u64>>,
}

/// What a store got back from the work tree.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FromWorkTree {
    /// Files of which something was written anew.
    pub files: u64,
    /// Datasets whose files could not be looked at, files that could not be read, and why.
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
        self.note_write(damaged.map(|damage| damage.digest).collect()).await
    }

    async fn note_write(&self, names: BTreeSet<Digest>) -> Result<(), VersionsError> {
        let path = self.damage_path();
        blocking(move || {
            if names.is_empty() {
                files::remove_file(&path)?;
                return Ok(());
            }
            let names: Vec<String> = names.iter().map(Digest::to_string).collect();
            Ok(files::write_atomic(&path, (names.join("\n") + "\n").as_bytes())?)
        })
        .await
    }

    async fn note_read(&self) -> Result<BTreeSet<Digest>, VersionsError> {
        let path = self.damage_path();
        let text = blocking(move || match files::read_text(&path, LONGEST_NOTE) {
            Err(error) if error.is_not_found() => Ok(String::new()),
            text => Ok(text?),
        });
        Ok(text.await?.lines().filter_map(|line| line.parse().ok()).collect())
    }

    /// Takes out of the note what is whole again.
    async fn note_without(&self, whole: &HashSet<Digest>) -> Result<(), VersionsError> {
        if whole.is_empty() {
            return Ok(());
        }
        let mut noted = self.note_read().await?;
        noted.retain(|digest| !whole.contains(digest));
        self.note_write(noted).await
    }

    /// What was noted: of what the roots need, only what still is damaged; the rest as it was noted, without being read.
    /// Without a note the store is not asked.
    pub(super) async fn damage_noted(&self, roots: &[Root]) -> Result<Option<Verified>, VersionsError> {
        let noted = self.note_read().await?;
        if noted.is_empty() {
            return Ok(None);
        }
        let store = self.store().await?;
        let needed = store.needed_among(roots, &noted).await?;
        let read = store.verify_only(&needed).await?;
        let wrong: HashSet<Digest> = read.damaged.iter().map(|damage| damage.digest).collect();
        self.note_without(&needed.iter().filter(|digest| !wrong.contains(digest)).copied().collect()).await?;
        let others: Vec<Digest> = noted.into_iter().filter(|digest| needed.binary_search(digest).is_err()).collect();
        let mut found = store.suspected(&others).await?;
        found.damaged.extend(read.damaged);
        Ok((!found.damaged.is_empty()).then_some(found))
    }

    /// Lets what was written over damage take its place, and takes it out of the note.
    pub(super) async fn damage_replaced(&self, mut found: Verified) -> Result<(), VersionsError> {
        self.store().await?.heal_copies(&mut found).await?;
        let healed = found.damaged.iter().filter(|damage| damage.healed).map(|damage| damage.digest);
        self.note_without(&healed.collect()).await
    }

    /// Writes to the project's store, which is `store`, what was found there to be damaged or is missing and files of the work
    /// tree still have; notes in `found` what is healed.
    ///
    /// Only files are read that may have what is wanted, and of folders only what was laid out or added as a whole comes back.
    /// What cannot be read is in nobody's way.
    pub async fn heal_from_files(
        &self,
        store: &Store,
        found: &mut Verified,
        wanted: Wanted<'_>,
    ) -> Result<FromWorkTree, VersionsError> {
        let mut given = FromWorkTree::default();
        for Tracked { place, pointer } in self.discover().await? {
            let Ok(pointer) = pointer else { continue };
            let name = pointer.name.clone();
            if let Err(error) = Box::pin(self.heal_from(store, found, wanted, (place, pointer), &mut given)).await {
                given.unread.push(format!("the files of `{name}`: {error}"));
            }
        }
        store.heal_copies(found).await?;
        Ok(given)
    }

    /// Takes what one dataset has.
    async fn heal_from(
        &self,
        store: &Store,
        found: &Verified,
        wanted: Wanted<'_>,
        (place, pointer): (Place, Pointer),
        given: &mut FromWorkTree,
    ) -> Result<(), VersionsError> {
        let (this, sizes) = (self.clone(), wanted.sizes.cloned());
        let (looked, unread) = blocking(move || {
            let Opened { place, pointer, index } = this.with_index(place, pointer)?;
            let kind = kind_here(&place.data, pointer.kind)?;
            let data = Data::at(&place.data, kind).with_links(Links::Skipped);
            let mut work = look(&data, index.as_ref())?;
            let chosen = |file: &Found| sizes.as_ref().is_none_or(|sizes| sizes.contains(&file.stat.size));
            let unread = work.hash_each(chosen);
            Ok((Look { work, index, kind }, unread))
        })
        .await?;
        given.unread.extend(unread.iter().map(ToString::to_string));
        let added = looked.affected(store, found, wanted.missing).await?;
        let (added, unread) = blocking(move || Ok(readable(added))).await?;
        given.unread.extend(unread);
        let count = added.len() as u64;
        looked.give(store, found, added).await?;
        given.files += count;
        Ok(())
    }

    /// Lets a pointer whose version nobody has go on from `base`, so that the next commit makes a version of what lies there.
    pub(crate) async fn pointer_let_go(
        &self,
        place: Place,
        pointer: Pointer,
        version: Digest,
        base: Option<Digest>,
    ) -> Result<(), VersionsError> {
        let Opened { place, pointer, index } = self.with_index(place, pointer)?;
        let state = PointerState::Added { base };
        let pointer = Pointer { state, ..pointer };
        let index = index.filter(|index| index.head.state.ancestor() == Some(version)).map(|index| {
            let head = IndexHead { state, ..index.head.clone() };
            index.with_head(head)
        });
        // The pointer first: as long as it names the version, the index is what tells that it was here.
        self.write_down(&place, &pointer, None).await?;
        self.write_down(&place, &pointer, index).await
    }
}

/// The files that can be opened, and why others cannot: one that vanished would end the writing of all.
fn readable(all: Vec<NewFile>) -> (Vec<NewFile>, Vec<String>) {
    let (mut found, mut unread) = (Vec::with_capacity(all.len()), Vec::new());
    for file in all {
        match files::open(&file.path) {
            Ok(_) => found.push(file),
            Err(error) => unread.push(error.to_string()),
        }
    }
    (found, unread)
}

impl Look {
    /// The files that something is lost of.
    async fn affected(&self, store: &Store, found: &Verified, missing: &[Root]) -> Result<Vec<NewFile>, VersionsError> {
        let Self { work, index, .. } = self;
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
        Ok(added)
    }

    /// Adds these files, and the folders of what was laid out. With a writer of its own: what goes wrong ends this dataset.
    async fn give(&self, store: &Store, found: &Verified, added: Vec<NewFile>) -> Result<(), VersionsError> {
        let mut writer = store.writer_over(found);
        writer.add_files(added).await?;
        let all_known = self.index.is_some() || self.work.files.iter().all(|file| file.digest.is_some());
        if self.kind == Kind::Folder && all_known {
            let files = self.index.as_ref().map_or_else(|| self.work.tree_files(), tree_files);
            match writer.add_tree_of(&files).await {
                // Not all of it is here.
                Err(StoreError::NotFound { .. }) => {}
                added => {
                    added?;
                }
            }
        }
        writer.commit().await?;
        Ok(())
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
