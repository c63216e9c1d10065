//! What comes from another store: all at once, and what is wrong with one dataset is in no other's way.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use ropewalk_store::{Root, Store, TransferProgress};
use ropewalk_types::{DatasetName, Digest};

use super::fetch::Fetched;
use super::lost::{Lost, lost_leave};
use super::removals::{removals_carry, tags_of_there};
use super::transfer::{How, transfer};
use super::{RefusedTag, content_root, has, lacking, of};
use crate::error::{VersionsError, not_whole};
use crate::history::{self, Advance, History, Refs, RefsEach, Resolved};
use crate::pointer::Pointer;
use crate::trail::Adopting;
use crate::workspace::{Problem, Workspace};

/// Whose content comes along with the versions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    /// Of none.
    Nothing,
    /// Of what pointers name; of the head where there is no pointer.
    Pointers,
    /// Also of the head.
    Heads,
    /// Also of the versions beside the head.
    Tips,
    /// Of every version.
    Everything,
}

impl Wanted {
    /// Whether the content of the head is wanted of a dataset with these pointers.
    fn head(self, pointers: &[&Pointer]) -> bool {
        match self {
            Self::Nothing => false,
            Self::Pointers => pointers.is_empty(),
            Self::Heads | Self::Tips | Self::Everything => true,
        }
    }
}

/// What was brought of some datasets, and of which it was not all.
pub(super) struct Brought {
    pub(super) fetched: Fetched,
    /// The names that were meant.
    pub(super) names: Vec<DatasetName>,
    /// What all pointers of the project name.
    pub(super) pointers: Vec<Pointer>,
    /// Those of which something that is wanted did not come. What else a remote has lost is reported only.
    pub(super) failing: BTreeSet<DatasetName>,
    /// What the remote names and has lost.
    pub(super) lost: Vec<Lost>,
}

/// What a dataset needs of another store.
#[derive(Clone, Debug)]
struct Need {
    root: Root,
    /// The version that it is of, if that is known.
    version: Option<Digest>,
    /// Whether it is the object of that version, and not its content.
    history: bool,
}

/// What a remote has of a dataset.
struct Found {
    /// What is to be brought.
    needs: Vec<Need>,
    /// What neither store has.
    lost: Vec<Need>,
    /// Whether it has anything, or nothing is needed.
    known: bool,
}

impl Need {
    fn content(root: Root, version: Option<Digest>) -> Self {
        Self { root, version, history: false }
    }

    fn history(version: Digest) -> Self {
        Self { root: Root::Blob(version), version: Some(version), history: true }
    }

    /// The error of what neither store has.
    fn absence(&self, name: &DatasetName) -> VersionsError {
        VersionsError::ContentMissing { name: name.clone(), root: *self.root.digest() }
    }
}

/// What comes of some datasets, and what is wrong with others.
#[derive(Default)]
struct Bringing {
    needed: BTreeMap<Root, Vec<(DatasetName, Need)>>,
    failed: Vec<Problem>,
    /// Of these, something that is wanted does not come.
    failing: BTreeSet<DatasetName>,
    /// Of these, refs stay as they are, too: what they would name is not whole.
    barred: BTreeSet<DatasetName>,
}

impl Bringing {
    /// Notes what of one dataset does not come; an error that concerns all is given back.
    fn note(&mut self, name: &DatasetName, version: Option<Digest>, error: VersionsError) -> Result<(), VersionsError> {
        if !error.concerns_one() {
            return Err(error);
        }
        self.failing.insert(name.clone());
        self.failed.push(Problem { path: name.to_string(), error: Box::new(error.about(name, version)) });
        Ok(())
    }

    /// Notes it, and lets the refs of the dataset be.
    fn bar(&mut self, name: &DatasetName, version: Option<Digest>, error: VersionsError) -> Result<(), VersionsError> {
        self.barred.insert(name.clone());
        self.note(name, version, error)
    }

    fn take(&mut self, name: &DatasetName, found: Found) -> Result<(), VersionsError> {
        for need in found.lost {
            let error = need.absence(name);
            self.note(name, need.version, error)?;
        }
        for need in found.needs {
            self.needed.entry(need.root).or_default().push((name.clone(), need));
        }
        Ok(())
    }

    /// Notes what could not be brought for all that need it.
    fn lose(&mut self, root: &Root, error: VersionsError) {
        let cause = Arc::new(error);
        for (name, need) in self.needed.remove(root).unwrap_or_default() {
            let error = not_whole(&name, need.version, Arc::clone(&cause));
            self.failed.push(Problem { path: name.to_string(), error: Box::new(error) });
            if need.history {
                self.barred.insert(name.clone());
            }
            self.failing.insert(name);
        }
    }
}

impl Workspace {
    /// Brings what is wanted and moves refs. What is wrong with a dataset is among what failed, and the others are brought.
    pub(super) async fn bring(
        &self,
        remote: &Store,
        names: &[DatasetName],
        wanted: Wanted,
        progress: &dyn TransferProgress,
    ) -> Result<Brought, VersionsError> {
        let store = self.store().await?;
        let pointers = self.pointers().await?;
        let names: Vec<_> = match names {
            [] => pointers.iter().map(|pointer| pointer.name.clone()).collect::<BTreeSet<_>>().into_iter().collect(),
            names => names.to_vec(),
        };
        let (ours, theirs) = futures::try_join!(history::refs_each(store, &names), history::refs_each(remote, &names))?;
        let (RefsEach { found: ours, wrong: here }, RefsEach { found: mut theirs, wrong: there }) = (ours, theirs);
        let (mut bringing, mut lost) = (Bringing::default(), Vec::new());
        for (name, refs) in &mut theirs {
            lost.extend(lost_leave(store, remote, name, refs).await?);
        }
        for (name, error) in there.into_iter().chain(here) {
            bringing.bar(&name, None, error)?;
        }
        let mut fetched = Fetched::default();
        for name in &names {
            if bringing.barred.contains(name) {
                continue;
            }
            let pointers: Vec<_> = pointers.iter().filter(|pointer| pointer.name == *name).collect();
            if wanted.head(&pointers) && lost.iter().any(|lost| lost.is_head_of(name)) {
                bringing.failing.insert(name.clone());
            }
            match self.wanted(remote, &of(&ours, name), &of(&theirs, name), &pointers, wanted).await {
                Ok(found) => {
                    if !found.known {
                        fetched.missing.push(name.clone());
                    }
                    bringing.take(name, found)?;
                }
                Err(error) => {
                    let version = pointers.iter().find_map(|pointer| pointer.version());
                    bringing.bar(name, version, error)?;
                }
            }
        }
        let needed = bringing.needed.keys().copied().collect();
        let (transferred, failed) = transfer(remote, store, How::Linked, needed, progress).await?;
        for (root, error) in failed {
            bringing.lose(&root, error);
        }
        fetched.transferred = transferred;
        for name in &names {
            if bringing.barred.contains(name) {
                continue;
            }
            let (ours, theirs) = (of(&ours, name), of(&theirs, name));
            if let Err(error) = self.refs_bring(remote, name, &ours, &theirs, &mut fetched).await {
                bringing.bar(name, None, error)?;
            }
        }
        fetched.failed = bringing.failed;
        fetched.failed.extend(lost.iter().map(Lost::problem));
        Ok(Brought { fetched, names, pointers, failing: bringing.failing, lost })
    }

    async fn wanted(
        &self,
        remote: &Store,
        ours: &Refs,
        theirs: &Refs,
        pointers: &[&Pointer],
        wanted: Wanted,
    ) -> Result<Found, VersionsError> {
        let store = self.store().await?;
        let history = History { stores: &[store, remote] };
        let mut versions: BTreeMap<_, _> = lacking(history, theirs, ours).await?.into_iter().collect();
        let mut found = Found { needs: Vec::new(), lost: Vec::new(), known: !theirs.versions().is_empty() };
        let gone = |version: &Digest| ours.removed.contains_key(version) || theirs.removed.contains_key(version);
        let known: HashSet<_> = ours.versions().into_iter().collect();
        for pointer in pointers {
            let root = content_root(pointer.kind, pointer.digest);
            let (here, there) = (has(store, &root).await?, has(remote, &root).await?);
            found.known |= here || there;
            let wanted_here = wanted != Wanted::Nothing && !pointer.version().is_some_and(|version| gone(&version));
            if wanted_here && !here {
                let need = Need::content(root, pointer.version());
                if there {
                    found.needs.push(need);
                } else if wanted != Wanted::Heads {
                    found.lost.push(need);
                }
            }
            // A version that only the pointer names, with those behind it.
            if let Some(version) = pointer.ancestor().filter(|version| !versions.contains_key(version)) {
                versions.extend(history.ancestors(&[version], &known).await?);
            }
        }
        for digest in self.named(remote, ours, theirs, pointers, wanted).await?.into_iter().filter(|one| !gone(one)) {
            if let Some(version) = history.find(&digest).await? {
                let need = Need::content(content_root(version.kind, version.root), Some(digest));
                if has(store, &need.root).await? {
                    continue;
                }
                if has(remote, &need.root).await? {
                    found.needs.push(need);
                } else if matches!(wanted, Wanted::Tips | Wanted::Everything) {
                    found.lost.push(need);
                }
            }
        }
        for digest in versions.into_keys() {
            let need = Need::history(digest);
            if !has(store, &need.root).await? && has(remote, &need.root).await? {
                found.needs.push(need);
            }
        }
        found.lost.dedup_by_key(|need| need.root);
        Ok(found)
    }

    /// The versions of a remote whose content is wanted, beside what pointers name.
    async fn named(
        &self,
        remote: &Store,
        ours: &Refs,
        theirs: &Refs,
        pointers: &[&Pointer],
        wanted: Wanted,
    ) -> Result<BTreeSet<Digest>, VersionsError> {
        let store = self.store().await?;
        let history = History { stores: &[store, remote] };
        let mut named = BTreeSet::new();
        if let Some(head) = theirs.head.filter(|_| wanted.head(pointers)) {
            let mut removed = theirs.removed.clone();
            removed.extend(ours.removed.clone());
            let both = Refs { removed, ..Refs::default() };
            named.extend(history.remaining(&both, &head.version).await?);
        }
        if wanted == Wanted::Tips {
            named.extend(theirs.tips.iter().copied());
        }
        if wanted == Wanted::Everything {
            named.extend(
                history.ancestors(&theirs.versions(), &HashSet::new()).await?.into_iter().map(|(digest, _)| digest),
            );
        }
        Ok(named)
    }

    /// Moves the refs of a dataset, once what they name is here.
    async fn refs_bring(
        &self,
        remote: &Store,
        name: &DatasetName,
        ours: &Refs,
        theirs: &Refs,
        fetched: &mut Fetched,
    ) -> Result<(), VersionsError> {
        let told = Adopting { workspace: self, place: remote.place() };
        self.removals_fetch(name, ours, theirs, told, fetched).await?;
        refs_fetch(self.store().await?, name, ours, theirs, fetched).await
    }

    /// Takes over tags, those that were deleted, and versions that were removed; whole files of those leave the cache. The
    /// trail hears of each before it is to be seen.
    async fn removals_fetch(
        &self,
        name: &DatasetName,
        ours: &Refs,
        theirs: &Refs,
        told: Adopting<'_>,
        fetched: &mut Fetched,
    ) -> Result<(), VersionsError> {
        let store = self.store().await?;
        let (tags, gone) = tags_of_there(theirs, ours);
        let carried = history::tags_adopt(&tags, store, name, ours, told).await?;
        fetched.tags += carried.set;
        fetched.deleted_tags.extend(carried.deleted.into_iter().map(|tag| (name.clone(), tag)));
        for (tag, local) in carried.refused.into_iter().chain(gone) {
            let remote = theirs.tags.get(&tag).map_or(local, |at| at.version);
            fetched.refused_tags.push(RefusedTag { name: name.clone(), tag, local, remote });
        }
        let removed = removals_carry(theirs, store, name, &mut fetched.refused_removals, Some(told)).await?;
        let history = History { stores: &[store] };
        for version in removed {
            if let Some(object) = history.find(&version).await? {
                self.uncache(name, &[Resolved { digest: version, version: object }]).await?;
            }
            fetched.removed.push((name.clone(), version));
        }
        Ok(())
    }
}

async fn refs_fetch(
    store: &Store,
    name: &DatasetName,
    ours: &Refs,
    theirs: &Refs,
    fetched: &mut Fetched,
) -> Result<(), VersionsError> {
    let history = History { stores: &[store] };
    if let Some(head) = theirs.head.filter(|head| ours.head.is_none_or(|ours| ours.version != head.version)) {
        match history::advance(store, history, name, &head.version).await? {
            // Of a head that was removed, there is nothing to tell.
            Advance::Moved if theirs.removed.contains_key(&head.version) => {}
            Advance::Moved => fetched.moved.push((name.clone(), head.version)),
            Advance::Beside(_) => fetched.diverged.push((name.clone(), head.version)),
            Advance::Present => {}
        }
    }
    for tip in theirs.tips.difference(&ours.tips) {
        history::advance(store, history, name, tip).await?;
    }
    Ok(())
}
