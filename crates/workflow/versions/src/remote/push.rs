use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures::future::BoxFuture;
use ropewalk_store::{Root, Store, TransferProgress, Transferred};
use ropewalk_types::{DatasetName, Digest, TagName};
use serde::Serialize;

use super::removals::{RefusedRemoval, removals_carry, tags_of_there};
use super::transfer::{How, transfer};
use super::{RefusedTag, content_root, has, lacking, of};
use crate::error::{LostHead, VersionsError, not_whole};
use crate::history::{self, Advance, History, Refs, RefsEach};
use crate::pointer::Pointer;
use crate::trail::Act;
use crate::workspace::{Problem, Workspace};

/// How to push.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PushOptions {
    /// Whether tags of the remote that name other versions are moved.
    pub move_tags: bool,
    /// What the project calls the remote, for the trail.
    pub remote: String,
}

/// What became of a dataset in the remote.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "head")]
pub enum PushedHead {
    /// The remote had it.
    UpToDate,
    /// Its head was moved here.
    Moved {
        /// What it is now.
        version: Digest,
    },
    /// The remote is further: its head descends from ours.
    Behind {
        /// What the remote has.
        version: Digest,
    },
    /// Nothing was ever committed.
    Nothing,
    /// What the pointer names was never brought here, nor any other version.
    NotHere {
        /// What it names.
        version: Digest,
    },
}

/// What was pushed.
#[derive(Debug, Default, Serialize)]
pub struct Pushed {
    /// What became of each dataset.
    pub heads: Vec<(DatasetName, PushedHead)>,
    /// Tags that are new in the remote.
    pub tags: u64,
    /// Tags that were deleted here, and are in the remote no longer.
    pub deleted_tags: Vec<(DatasetName, TagName)>,
    /// Tags that name other versions there, or versions that were removed there.
    pub refused_tags: Vec<RefusedTag>,
    /// Tags that were deleted in the remote, of which was not known here; they were not set there.
    pub gone_tags: Vec<(DatasetName, TagName)>,
    /// Versions that were removed here, and now are in the remote.
    pub removed: Vec<(DatasetName, Digest)>,
    /// Versions that were removed here, and have a tag in the remote.
    pub refused_removals: Vec<RefusedRemoval>,
    /// Datasets whose pointer names content that is in no version; it was pushed, but a collection may remove it.
    pub uncommitted: Vec<DatasetName>,
    /// Datasets that stay here, and the remote's as they were: they went another way there, or are not whole.
    #[serde(skip)]
    pub failed: Vec<Problem>,
    /// What travelled.
    #[serde(skip)]
    pub transferred: Transferred,
}

impl Pushed {
    /// Notes why one dataset stays here; an error that concerns all is given back.
    fn fail(&mut self, name: &DatasetName, error: VersionsError) -> Result<(), VersionsError> {
        if !matches!(error, VersionsError::Diverged { .. }) && !error.concerns_one() {
            return Err(error);
        }
        self.failed.push(Problem { path: name.to_string(), error: Box::new(error) });
        Ok(())
    }
}

/// The datasets that are pushed, and what of each has to travel.
#[derive(Default)]
struct Going {
    names: Vec<DatasetName>,
    needed: BTreeMap<Root, BTreeSet<DatasetName>>,
}

impl Going {
    fn needs(&mut self, name: &DatasetName, roots: Vec<Root>) {
        for root in roots {
            self.needed.entry(root).or_default().insert(name.clone());
        }
    }

    /// Moves what is needed. Datasets of which something cannot be read here go no further: none of their refs is moved.
    async fn transfer(
        &mut self,
        store: &Store,
        remote: &Store,
        pushed: &mut Pushed,
        progress: &dyn TransferProgress,
    ) -> Result<(), VersionsError> {
        if self.needed.is_empty() {
            return Ok(());
        }
        let roots = self.needed.keys().copied().collect();
        let (transferred, failed) = Box::pin(transfer(store, remote, How::Copied, roots, progress)).await?;
        pushed.transferred = transferred;
        for (root, error) in failed {
            let cause = Arc::new(error);
            for name in self.needed.remove(&root).unwrap_or_default() {
                // What is wrong with it is said once.
                if self.names.contains(&name) {
                    self.names.retain(|going| *going != name);
                    pushed.uncommitted.retain(|added| *added != name);
                    pushed.fail(&name, not_whole(&name, None, Arc::clone(&cause)))?;
                }
            }
        }
        Ok(())
    }
}

impl Workspace {
    /// Sends versions, tags and content to another store: of these datasets, or of all that are tracked.
    ///
    /// Only what is missing travels. The remote's head is only ever moved to a version that descends from it, by
    /// compare-and-swap: if another push was faster in another direction, nothing of that dataset is moved and
    /// [`VersionsError::Diverged`] says so, which of several datasets is among what [`Pushed::failed`], as what is damaged or
    /// missing here of one of them is. Content of versions
    /// that were removed, here or there, stays where it is.
    pub fn push<'a>(
        &'a self,
        remote: &'a Store,
        names: &'a [DatasetName],
        options: PushOptions,
        progress: &'a dyn TransferProgress,
    ) -> BoxFuture<'a, Result<Pushed, VersionsError>> {
        Box::pin(async move {
            let store = self.store().await?;
            let pointers = self.pointers().await?;
            let names = match names {
                [] => pointers.iter().map(|pointer| pointer.name.clone()).collect(),
                names => names.to_vec(),
            };
            let (ours, theirs) =
                futures::try_join!(history::refs_each(store, &names), history::refs_each(remote, &names))?;
            let (RefsEach { found: ours, wrong: here }, RefsEach { found: theirs, wrong: there }) = (ours, theirs);
            let alone = names.iter().all(|name| names.first() == Some(name));
            let mut pushed = Pushed::default();
            let mut going = Going::default();
            let mut wrong: BTreeMap<_, _> = there.into_iter().chain(here).collect();
            for name in names {
                let (ours, theirs) = (of(&ours, &name), of(&theirs, &name));
                let needed = match wrong.remove(&name) {
                    Some(error) => Err(error),
                    None => needed(store, remote, &name, &ours, &theirs, &options.remote).await,
                };
                match needed {
                    Ok(needed) => going.needs(&name, needed),
                    Err(error) => {
                        pushed.fail(&name, error)?;
                        continue;
                    }
                }
                let added = pointers.iter().filter(|pointer| pointer.name == name && pointer.version().is_none());
                going.needs(&name, added_roots(added, store, remote, &mut pushed.uncommitted).await?);
                going.names.push(name);
            }
            for name in &going.names {
                let (ours, theirs) = (of(&ours, name), of(&theirs, name));
                if differ(&ours, &theirs) || pushed.uncommitted.contains(name) {
                    let act = Act::Push { remote: options.remote.clone() };
                    self.announce(name, ours.head.map(|head| head.version), act).await?;
                }
            }
            going.transfer(store, remote, &mut pushed, progress).await?;
            for name in going.names {
                let (ours, theirs) = (of(&ours, &name), of(&theirs, &name));
                tags_push(remote, &name, &ours, &theirs, &options, &mut pushed).await?;
                // Before the head: nobody is to take what was removed for the latest.
                let removed = removals_carry(&ours, remote, &name, &mut pushed.refused_removals, None).await?;
                pushed.removed.extend(removed.into_iter().map(|version| (name.clone(), version)));
                match refs_push(store, remote, &name, &ours, &theirs).await {
                    Ok(PushedHead::Nothing) => {
                        let head = headless(store, &name, &pointers).await?;
                        pushed.heads.push((name, head));
                    }
                    Ok(head) => pushed.heads.push((name, head)),
                    Err(error) => pushed.fail(&name, error)?,
                }
            }
            // Of one alone, what is wrong with it is what is wrong.
            if let Some(problem) = pushed.failed.pop_if(|_| alone) {
                return Err(*problem.error);
            }
            Ok(pushed)
        })
    }

    /// What all pointers name; of one with conflict markers, both sides.
    pub(crate) async fn pointers(&self) -> Result<Vec<Pointer>, VersionsError> {
        Ok(self.discover().await?.iter().flat_map(crate::discovery::Tracked::sides).collect())
    }
}

/// Whether there is anything to be told to another store.
fn differ(ours: &Refs, theirs: &Refs) -> bool {
    let head = |refs: &Refs| refs.head.map(|head| head.version);
    head(ours) != head(theirs)
        || (&ours.tags, &ours.untagged) != (&theirs.tags, &theirs.untagged)
        || !ours.removed.keys().all(|version| theirs.removed.contains_key(version))
        || !ours.tips.is_subset(&theirs.tips)
}

/// What the remote lacks of a dataset that has not gone another way there.
async fn needed(
    store: &Store,
    remote: &Store,
    name: &DatasetName,
    ours: &Refs,
    theirs: &Refs,
    called: &str,
) -> Result<Vec<Root>, VersionsError> {
    check_forward(store, remote, name, ours, theirs, called).await?;
    missing(store, remote, name, ours, theirs).await
}

/// Fails before anything travels if the head of the remote, which is `called` so, went another way or leads nowhere.
async fn check_forward(
    store: &Store,
    remote: &Store,
    name: &DatasetName,
    ours: &Refs,
    theirs: &Refs,
    called: &str,
) -> Result<(), VersionsError> {
    let (Some(ours), Some(theirs)) = (ours.head, theirs.head) else { return Ok(()) };
    let history = History { stores: &[store, remote] };
    let (ours, theirs) = (ours.version, theirs.version);
    if history.descends(&ours, &theirs).await? {
        return Ok(());
    }
    if history::find_readable(&[store, remote], &theirs).await?.is_none() {
        let lost = LostHead { name: name.clone(), version: theirs, remote: called.to_owned() };
        return Err(VersionsError::LostHead(Box::new(lost)));
    }
    if history.descends(&theirs, &ours).await? {
        return Ok(());
    }
    Err(VersionsError::Diverged { name: name.clone(), local: ours, remote: theirs })
}

/// Versions that the remote lacks, and their content.
async fn missing(
    store: &Store,
    remote: &Store,
    name: &DatasetName,
    ours: &Refs,
    theirs: &Refs,
) -> Result<Vec<Root>, VersionsError> {
    let mut roots = Vec::new();
    for (digest, version) in lacking(History { stores: &[store, remote] }, ours, theirs).await? {
        let content = content_root(version.kind, version.root);
        if ours.removed.contains_key(&digest) || theirs.removed.contains_key(&digest) {
            // It may be gone, and is nobody's business.
        } else if has(store, &content).await? {
            roots.push(content);
        } else if !has(remote, &content).await? {
            return Err(VersionsError::ContentMissing { name: name.clone(), root: version.root });
        }
        if has(store, &Root::Blob(digest)).await? {
            roots.push(Root::Blob(digest));
        }
    }
    roots.extend(lost(store, remote, ours, theirs).await?);
    Ok(roots)
}

/// What the remote has lost of versions that its refs and ours name: what its index no longer shows. Whether that is all,
/// and whether what it shows can be read, only a verification tells.
async fn lost(store: &Store, remote: &Store, ours: &Refs, theirs: &Refs) -> Result<Vec<Root>, VersionsError> {
    let named: BTreeSet<Digest> = theirs.named().collect();
    let both: BTreeSet<Digest> = ours.named().filter(|version| named.contains(version)).collect();
    let mut lost = Vec::new();
    for digest in both {
        let Some(version) = history::find_readable(&[store, remote], &digest).await? else { continue };
        let removed = ours.removed.contains_key(&digest) || theirs.removed.contains_key(&digest);
        let content = (!removed).then(|| content_root(version.kind, version.root));
        for root in [Some(Root::Blob(digest)), content].into_iter().flatten() {
            if !has(remote, &root).await? && has(store, &root).await? {
                lost.push(root);
            }
        }
    }
    Ok(lost)
}

/// Content that was added and not committed, so that whoever has the pointer can pull it.
async fn added_roots(
    pointers: impl Iterator<Item = &Pointer>,
    store: &Store,
    remote: &Store,
    uncommitted: &mut Vec<DatasetName>,
) -> Result<Vec<Root>, VersionsError> {
    let mut roots = Vec::new();
    for pointer in pointers {
        uncommitted.push(pointer.name.clone());
        let root = content_root(pointer.kind, pointer.digest);
        if !has(remote, &root).await? && has(store, &root).await? {
            roots.push(root);
        }
    }
    Ok(roots)
}

/// Moves the head and keeps the versions beside it.
async fn refs_push(
    store: &Store,
    remote: &Store,
    name: &DatasetName,
    ours: &Refs,
    theirs: &Refs,
) -> Result<PushedHead, VersionsError> {
    let history = History { stores: &[store, remote] };
    let head = match (ours.head, theirs.head) {
        (None, _) => PushedHead::Nothing,
        (Some(ours), Some(theirs)) if ours.version == theirs.version => PushedHead::UpToDate,
        (Some(ours), _) => head_push(remote, history, name, &ours.version).await?,
    };
    let named = theirs.versions();
    for tip in ours.tips.iter().filter(|tip| !named.contains(tip)) {
        history::advance(remote, history, name, tip).await?;
    }
    Ok(head)
}

/// What there is to be said of a dataset that has no head here.
async fn headless(store: &Store, name: &DatasetName, pointers: &[Pointer]) -> Result<PushedHead, VersionsError> {
    for pointer in pointers {
        if pointer.name == *name
            && let Some(version) = pointer.version()
            && !store.contains(&version).await?
        {
            return Ok(PushedHead::NotHere { version });
        }
    }
    Ok(PushedHead::Nothing)
}

async fn head_push(
    remote: &Store,
    history: History<'_>,
    name: &DatasetName,
    version: &Digest,
) -> Result<PushedHead, VersionsError> {
    match history::advance_only(remote, history, name, version).await? {
        Advance::Moved => Ok(PushedHead::Moved { version: *version }),
        Advance::Present => match history::ref_at(remote, &history::head_ref(name)?).await? {
            Some(head) if head.version != *version => Ok(PushedHead::Behind { version: head.version }),
            _ => Ok(PushedHead::UpToDate),
        },
        Advance::Beside(found) => Err(VersionsError::Diverged { name: name.clone(), local: *version, remote: found }),
    }
}

async fn tags_push(
    remote: &Store,
    name: &DatasetName,
    ours: &Refs,
    theirs: &Refs,
    options: &PushOptions,
    pushed: &mut Pushed,
) -> Result<(), VersionsError> {
    let (ours, gone) = tags_of_there(ours, theirs);
    let carried = history::tags_carry(&ours, remote, name, theirs, options.move_tags).await?;
    pushed.tags += carried.set;
    pushed.deleted_tags.extend(carried.deleted.into_iter().map(|tag| (name.clone(), tag)));
    pushed.gone_tags.extend(carried.gone.into_iter().map(|tag| (name.clone(), tag)));
    let refused = |(tag, there): (TagName, Digest), local| RefusedTag { name: name.clone(), tag, local, remote: there };
    for (tag, there) in carried.refused {
        let local = ours.tags.get(&tag).map_or(there, |at| at.version);
        pushed.refused_tags.push(refused((tag, there), local));
    }
    pushed.refused_tags.extend(gone.into_iter().map(|(tag, version)| refused((tag, version), version)));
    Ok(())
}
