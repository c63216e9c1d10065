//! Refs that name what no store has, let go (ADR 014).
//!
//! A ref that names a version whose object nobody has would be named by every verification, and stand in the way of every
//! collection. It is let go only where that was asked for: what is lost here may be on a machine that cannot be seen from
//! here. Each ref is changed by compare-and-swap from what was judged: whoever was faster has mended it.

use std::collections::{BTreeSet, HashSet};
use std::fmt;
use std::slice;

use futures::future::BoxFuture;
use ropewalk_store::{RefName, Root, Store};
use ropewalk_types::{DatasetName, Digest, TagName};

use super::damaged::{Search, find_readable};
use super::names::in_order;
use super::{Found, Part, Read, Refs, Tips, found_at, head_ref, lost_race, names, ref_at, ref_text, refs, refs_read};
use super::{tags, tip_keep, tip_ref, version_in};
use crate::discovery::Tracked;
use crate::error::VersionsError;
use crate::examine::behind;
use crate::pointer::Pointer;
use crate::remote::content_root;
use crate::trail::Act;
use crate::version::{MAX_BYTES, Version};
use crate::workspace::Workspace;

/// Of which store what is to be let go.
#[derive(Clone, Copy, Debug)]
pub struct GiveUp<'a> {
    /// The store.
    pub store: &'a Store,
    /// Where else it was looked for: what one of these has is not lost.
    pub others: &'a [&'a Store],
    /// Whether it is the project's own store, which pointers of the work tree go with.
    pub own: bool,
}

/// What was let go, and where that failed.
#[derive(Debug, Default)]
pub struct Released {
    /// What was let go.
    pub given_up: Vec<GivenUp>,
    /// Versions that nobody has and pointers name still, since they were never here, or their content is not: whoever made
    /// them may not have pushed them.
    pub left: Vec<(DatasetName, Digest)>,
    /// Datasets of which not all was looked at, and why.
    pub failed: Vec<(DatasetName, VersionsError)>,
}

/// Something that was let go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GivenUp {
    /// The dataset.
    pub name: DatasetName,
    /// The version that nobody has; none where nobody knows what a ref held.
    pub version: Option<Digest>,
    /// What named it, and what became of that.
    pub what: LetGo,
}

/// What named a version that nobody has, and what became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LetGo {
    /// The head names this version now; none: there is no head any more.
    Head(Option<Digest>),
    /// This tag is there no longer; that does not count as a deletion, so that who has the version keeps it.
    Tag(TagName),
    /// A version beside the head is kept no longer.
    Tip,
    /// The pointer of the data at this path names it no longer; what lies there is to be committed again.
    Pointer(String),
}

impl fmt::Display for LetGo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Head(Some(to)) => write!(f, "the latest version is {} now", to.short()),
            Self::Head(None) => f.write_str("there is no latest version any more"),
            Self::Tag(tag) => write!(f, "the tag `{tag}` is let go"),
            Self::Tip => f.write_str("the version beside the latest is kept no longer"),
            Self::Pointer(path) => write!(f, "the `.dataset` file of `{path}` names it no longer: commit it again"),
        }
    }
}

impl fmt::Display for GivenUp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, version, what } = self;
        match version {
            Some(version) => write!(f, "{name} {}: {what}", version.short()),
            None => write!(f, "{name}: {what}"),
        }
    }
}

impl Workspace {
    /// Lets go of refs that name what nobody has, and of those of which nobody can tell what they held: a head goes back to
    /// a version that is there, tags and tips go. Each is in the trail before it is done.
    pub fn give_up<'a>(&'a self, job: GiveUp<'a>) -> BoxFuture<'a, Result<Released, VersionsError>> {
        Box::pin(async move {
            // Before anything is judged.
            let _lock = self.lock().await?;
            let tracked = if job.own { self.discover().await? } else { Vec::new() };
            let pointers: Vec<Pointer> = tracked.iter().flat_map(Tracked::sides).collect();
            let mut all: BTreeSet<DatasetName> = names(job.store).await?.into_iter().collect();
            all.extend(pointers.iter().map(|pointer| pointer.name.clone()));
            let stores: Vec<&Store> = std::iter::once(job.store).chain(job.others.iter().copied()).collect();
            let mut released = Released::default();
            for name in &all {
                let pointed = pointers.iter().filter(|pointer| pointer.name == *name);
                let pointed = pointed.filter_map(Pointer::ancestor).collect();
                let (given_up, left) = (&mut released.given_up, &mut released.left);
                let (workspace, stores, cut) = (self, stores.as_slice(), Vec::new());
                let mut letting = Letting { workspace, job, name, stores, pointed, given_up, left, cut };
                if let Err(error) = Box::pin(letting.run(&tracked)).await {
                    released.failed.push((name.clone(), error));
                }
            }
            Ok(released)
        })
    }
}

/// One dataset of which refs are let go.
struct Letting<'a> {
    workspace: &'a Workspace,
    job: GiveUp<'a>,
    name: &'a DatasetName,
    /// The store, and the others.
    stores: &'a [&'a Store],
    /// The versions that pointers of the work tree go on from.
    pointed: Vec<Digest>,
    given_up: &'a mut Vec<GivenUp>,
    left: &'a mut Vec<(DatasetName, Digest)>,
    /// Versions that nobody has and nothing needs any more; their bytes may be there, and damaged.
    cut: Vec<Digest>,
}

/// A ref that cannot be read, and of which nobody can tell what it held.
struct Unknown {
    part: Part,
    name: RefName,
    generation: u64,
}

impl Letting<'_> {
    async fn run(&mut self, tracked: &[Tracked]) -> Result<(), VersionsError> {
        let done = Box::pin(self.refs(tracked)).await;
        // Also of what was let go before something went wrong.
        let cut = Box::pin(self.cut()).await;
        done.and(cut)
    }

    async fn refs(&mut self, tracked: &[Tracked]) -> Result<(), VersionsError> {
        let (mut found, reads) = refs_read(self.job.store, slice::from_ref(self.name), Tips::Read).await?;
        let mut known = found.remove(self.name).unwrap_or_default();
        let mut wrong = Vec::new();
        for Read { part, name, found, .. } in reads {
            match found {
                Ok(found) => known.take(part, found),
                Err(error) if error.is_of_content() => wrong.push((part, name)),
                Err(error) => return Err(error),
            }
        }
        known.settle();
        let mut unknown = Vec::new();
        for (part, name) in wrong {
            unknown.extend(self.unknown(part, name).await?);
        }
        self.tags(&known, &unknown).await?;
        self.head(&known, &unknown).await?;
        self.tips(&known).await?;
        self.removed(&known).await?;
        self.pointers(tracked).await
    }

    /// Lets histories end at removed versions whose objects are damaged: nobody reads these, and that they cannot be read
    /// would bar every collection.
    async fn removed(&mut self, known: &Refs) -> Result<(), VersionsError> {
        for version in known.removed.keys() {
            // What no index names bars nothing, and was seen to when it was let go.
            if self.job.store.contains(version).await? && self.is_lost(version).await? {
                self.cut.push(*version);
            }
        }
        Ok(())
    }

    /// Lets histories end at what was let go.
    async fn cut(&self) -> Result<(), VersionsError> {
        if self.cut.is_empty() { Ok(()) } else { histories_end(self.job.store, self.name, &self.cut).await }
    }

    /// A ref that could not be read, if it still cannot be and nothing tells what it held that somebody has: else it is to be
    /// set again.
    async fn unknown(&self, part: Part, name: RefName) -> Result<Option<Unknown>, VersionsError> {
        let GiveUp { store, others, .. } = self.job;
        // The generation comes before the search: whoever sets the ref meanwhile is not overwritten.
        let Some(history) = store.ref_history(&name).await? else { return Ok(None) };
        match found_at(store, &part, &name).await {
            Err(error) if error.is_of_content() => {}
            Err(error) => return Err(error),
            Ok(_) => return Ok(None),
        }
        let now = self.workspace.ambient().now();
        let search = Search { store, others, name: &name, part: &part, now };
        let version = match search.run(self.pointed.clone(), None).await? {
            Some(Found::Version(at)) => Some(at.version),
            Some(Found::Tag(at)) => Some(at.version),
            Some(_) => return Ok(None),
            None => None,
        };
        let lost = match version {
            Some(version) => self.is_lost(&version).await?,
            None => true,
        };
        Ok(lost.then_some(Unknown { part, name, generation: history.generation }))
    }

    async fn tags(&mut self, known: &Refs, unknown: &[Unknown]) -> Result<(), VersionsError> {
        for (tag, at) in &known.tags {
            if !self.is_lost(&at.version).await? {
                continue;
            }
            let what = LetGo::Tag(tag.clone());
            self.announce(Some(at.version), &what).await?;
            if self.is_lost_still(&at.version).await? && tags::tag_let_go(self.job.store, self.name, tag, *at).await? {
                self.done(Some(at.version), what);
            }
        }
        for one in unknown {
            if let Part::Tag(tag) = &one.part {
                let what = LetGo::Tag(tag.clone());
                self.announce(None, &what).await?;
                if self.swap(&one.name, one.generation, None).await? {
                    self.done(None, what);
                }
            }
        }
        Ok(())
    }

    async fn head(&mut self, known: &Refs, unknown: &[Unknown]) -> Result<(), VersionsError> {
        let unreadable = unknown.iter().find(|one| one.part == Part::Head).map(|one| one.generation);
        let (lost, generation) = match (known.head, unreadable) {
            (Some(head), _) => (Some(head.version), head.generation),
            (None, Some(generation)) => (None, generation),
            (None, None) => return Ok(()),
        };
        if let Some(lost) = &lost
            && !self.is_lost(lost).await?
        {
            return Ok(());
        }
        let reference = head_ref(self.name)?;
        let (to, beside) = self.successor(known, &reference).await?;
        let what = LetGo::Head(to);
        self.announce(lost, &what).await?;
        // Before the head moves: nothing is out of reach at any time.
        for version in &beside {
            tip_keep(self.job.store, self.name, version).await?;
        }
        if let Some(lost) = &lost
            && !self.is_lost_still(lost).await?
        {
            return Ok(());
        }
        if self.swap(&reference, generation, to.as_ref()).await? {
            self.done(lost, what);
        }
        Ok(())
    }

    /// Where the head goes, and which versions no ref would lead to then.
    ///
    /// It goes to the newest version that is whole: of its own line, which its generations before and the pointers tell, else
    /// of the heads of other stores, else of those that tags and tips name; where none is whole, to the first of these.
    async fn successor(
        &self,
        known: &Refs,
        reference: &RefName,
    ) -> Result<(Option<Digest>, Vec<Digest>), VersionsError> {
        let mut line = held_before(self.job.store, reference).await?;
        line.extend(&self.pointed);
        let line = self.there(known, line).await?;
        let named = self.there(known, known.named().collect()).await?;
        let mut heads = BTreeSet::new();
        for other in self.job.others {
            match ref_at(other, reference).await {
                Err(error) if error.is_of_content() => {}
                head => heads.extend(head?.map(|head| head.version)),
            }
        }
        let heads = self.there(known, heads).await?;
        let mut to = None;
        for (digest, version) in line.iter().chain(&heads).chain(&named) {
            if self.has(&content_root(version.kind, version.root)).await? {
                to = Some(*digest);
                break;
            }
        }
        let to = to.or_else(|| line.iter().chain(&heads).chain(&named).map(|(digest, _)| *digest).next());

        let stay = known.tags.values().map(|at| at.version).chain(known.tips.iter().copied()).chain(to);
        let beside = unreached(self.job.store, stay.collect(), &line).await?;
        Ok((to, beside))
    }

    async fn there(&self, known: &Refs, start: BTreeSet<Digest>) -> Result<Vec<(Digest, Version)>, VersionsError> {
        there(self.job.store, self.name, known, start).await
    }

    async fn tips(&mut self, known: &Refs) -> Result<(), VersionsError> {
        for tip in &known.tips {
            if !self.is_lost(tip).await? {
                continue;
            }
            let reference = tip_ref(self.name, tip)?;
            let Some(history) = self.job.store.ref_history(&reference).await? else { continue };
            self.announce(Some(*tip), &LetGo::Tip).await?;
            if self.is_lost_still(tip).await? && self.swap(&reference, history.generation, None).await? {
                self.done(Some(*tip), LetGo::Tip);
            }
        }
        Ok(())
    }

    /// Lets pointers that name what nobody has go on from the head, if that is good. So it is done also where an earlier
    /// letting go was killed after the head was set. One that this project never had, or whose content is not here to be
    /// committed again, stays as it is.
    async fn pointers(&mut self, tracked: &[Tracked]) -> Result<(), VersionsError> {
        let reference = head_ref(self.name)?;
        let head = match ref_at(self.job.store, &reference).await {
            Err(error) if error.is_of_content() => return Ok(()),
            head => head?.map(|head| head.version),
        };
        let good = match &head {
            Some(head) => !self.is_lost(head).await?,
            // There was one; without, the dataset was never fetched.
            None => self.job.store.ref_history(&reference).await?.is_some(),
        };
        for Tracked { place, pointer } in tracked.iter().filter(|_| good) {
            let Ok(pointer) = pointer else { continue };
            let Some(version) = pointer.ancestor().filter(|_| pointer.name == *self.name) else { continue };
            if !self.is_lost(&version).await? {
                continue;
            }
            if self.workspace.was_had(self.job.store, pointer, version).await? {
                let what = LetGo::Pointer(place.path.clone());
                self.announce(Some(version), &what).await?;
                self.workspace.pointer_let_go(place.clone(), pointer.clone(), version, head).await?;
                self.done(Some(version), what);
            } else {
                self.left.push((self.name.clone(), version));
            }
        }
        Ok(())
    }

    /// Tells the trail what is about to be let go.
    async fn announce(&self, version: Option<Digest>, what: &LetGo) -> Result<(), VersionsError> {
        let act = Act::GiveUp { what: what.to_string(), place: self.job.store.place().to_owned() };
        self.workspace.announce(self.name, version, act).await
    }

    /// Notes for the report what was let go.
    fn done(&mut self, version: Option<Digest>, what: LetGo) {
        self.given_up.push(GivenUp { name: self.name.clone(), version, what });
        self.cut.extend(version);
    }

    /// Sets a ref to a version, or deletes it, if it is at this generation; says whether it was.
    async fn swap(&self, reference: &RefName, generation: u64, to: Option<&Digest>) -> Result<bool, VersionsError> {
        let store = self.job.store;
        let swapped = match to {
            Some(to) => store.ref_set(reference, Some(generation), ref_text(to)).await.map(drop),
            None => store.ref_delete(reference, generation).await,
        };
        match swapped {
            // Whoever was faster has mended it.
            Err(error) if lost_race(&error) => Ok(false),
            swapped => Ok(swapped.map(|()| true)?),
        }
    }

    /// Whether nobody has the object of a version.
    async fn is_lost(&self, version: &Digest) -> Result<bool, VersionsError> {
        Ok(find_readable(self.stores, version).await?.is_none())
    }

    /// The same, after a look at what others have written meanwhile.
    async fn is_lost_still(&self, version: &Digest) -> Result<bool, VersionsError> {
        for store in self.stores {
            store.refresh().await?;
        }
        self.is_lost(version).await
    }

    async fn has(&self, content: &Root) -> Result<bool, VersionsError> {
        for store in self.stores {
            if store.contains(content.digest()).await? {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// Lets no index name the damaged bytes of versions that nobody has: histories end there. What lies behind them is kept by
/// itself before.
pub(crate) async fn histories_end(store: &Store, name: &DatasetName, versions: &[Digest]) -> Result<(), VersionsError> {
    line_keep(store, name).await?;
    Ok(store.let_go_damaged(versions).await?)
}

/// Keeps as tips what no ref leads to: what lies behind a version that is lost. Only a few of the versions that the head
/// named before can be told from its ref, so all version objects of the store are looked through.
async fn line_keep(store: &Store, name: &DatasetName) -> Result<(), VersionsError> {
    let known = refs(store, name).await?;
    let mut before = held_before(store, &head_ref(name)?).await?;
    let of_this =
        |digest: &Digest, bytes: &[u8]| Version::decode(digest, bytes).is_ok_and(|version| version.name == *name);
    before.extend(Box::pin(store.small_blobs(MAX_BYTES as u32, &of_this)).await?);
    let line = there(store, name, &known, before).await?;
    for version in unreached(store, known.named().collect(), &line).await? {
        tip_keep(store, name, &version).await?;
    }
    Ok(())
}

/// The versions that a ref holds and held before, as far as its generations are there.
async fn held_before(store: &Store, reference: &RefName) -> Result<BTreeSet<Digest>, VersionsError> {
    let history = store.ref_history(reference).await?;
    let values = history.into_iter().flat_map(|history| history.values);
    Ok(values.filter_map(|value| version_in(&value.bytes)).collect())
}

/// These versions and those behind them, as far as the store has them and they were not removed, the newest first.
async fn there(
    store: &Store,
    name: &DatasetName,
    known: &Refs,
    start: BTreeSet<Digest>,
) -> Result<Vec<(Digest, Version)>, VersionsError> {
    let (found, _) = behind(&[store], &start).await?;
    let mut found = in_order(found);
    found.retain(|(digest, version)| version.name == *name && !known.removed.contains_key(digest));
    Ok(found)
}

/// Those of the versions, of which children come first, that are not among `stay` or behind these, nor behind one another.
async fn unreached(
    store: &Store,
    stay: BTreeSet<Digest>,
    line: &[(Digest, Version)],
) -> Result<Vec<Digest>, VersionsError> {
    let (found, _) = behind(&[store], &stay).await?;
    let mut reached: HashSet<Digest> = found.into_iter().map(|(digest, _)| digest).collect();
    let mut beside = Vec::new();
    for (digest, _) in line {
        if !reached.contains(digest) {
            let (found, _) = behind(&[store], &BTreeSet::from([*digest])).await?;
            reached.extend(found.into_iter().map(|(digest, _)| digest));
            beside.push(*digest);
        }
    }
    Ok(beside)
}
