//! What no store and no work tree has, let go (ADR 014).
//!
//! A ref that names a version nobody has would be named by every verification, and stand in the way of every collection. It
//! is let go only where that was asked for: what is lost here may be on a machine that cannot be seen from here.

use std::collections::BTreeSet;
use std::fmt;
use std::slice;

use futures::future::BoxFuture;
use ropewalk_store::{RefName, Root, Store};
use ropewalk_types::{DatasetName, Digest, TagName};

use super::damaged::{find_readable, is_of_content};
use super::names::in_order;
use super::{
    Part, Read, Refs, Removal, Tips, head_ref, names, ref_at, ref_remove, ref_text, refs, refs_read, removal_put,
};
use super::{tag_delete, tags, tip_ref, version_in};
use crate::error::VersionsError;
use crate::examine::behind;
use crate::remote::content_root;
use crate::trail::Act;
use crate::workspace::Workspace;

/// Why a version has a tombstone that nobody has.
const WHY: &str = "nobody has it any more: given up by `ropewalk data verify --heal --give-up`";

/// Of which store what is to be let go.
#[derive(Clone, Copy, Debug)]
pub struct GiveUp<'a> {
    /// The store.
    pub store: &'a Store,
    /// Where else it was looked for: what one of these has is not lost.
    pub others: &'a [&'a Store],
    /// Versions of which something is in none of them.
    pub hurt: &'a BTreeSet<(DatasetName, Digest)>,
    /// Who lets go of it.
    pub who: &'a str,
    /// Whether it is the project's own store, which pointers of the work tree go with.
    pub own: bool,
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
    /// This tag is deleted.
    Tag(TagName),
    /// A version beside the head is kept no longer.
    Tip,
    /// The version is listed still, as one that was removed.
    Removed,
    /// The pointer of the data at this path names it no longer; what lies there is to be committed again.
    Pointer(String),
}

impl fmt::Display for LetGo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Head(Some(to)) => write!(f, "the latest version is {} now", to.short()),
            Self::Head(None) => f.write_str("there is no latest version any more"),
            Self::Tag(tag) => write!(f, "the tag `{tag}` is deleted"),
            Self::Tip => f.write_str("the version beside the latest is kept no longer"),
            Self::Removed => f.write_str("the version counts as removed"),
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
    /// Lets go of what nobody has: a head goes back to the newest version that is whole, tags are deleted, and versions
    /// behind others count as removed. Each is in the trail before it is done.
    pub fn give_up<'a>(&'a self, job: GiveUp<'a>) -> BoxFuture<'a, Result<Vec<GivenUp>, VersionsError>> {
        Box::pin(async move {
            let _lock = self.lock().await?;
            let pointed = if job.own { self.pointed_versions().await? } else { Vec::new() };
            let mut given_up = Vec::new();
            for name in names(job.store).await? {
                let stores = std::iter::once(job.store).chain(job.others.iter().copied()).collect();
                let mut letting = Letting { workspace: self, job, name: &name, stores, given_up: &mut given_up };
                Box::pin(letting.run(&pointed)).await?;
            }
            if job.own {
                let lost: Vec<_> = given_up.iter().filter_map(|one| Some((one.name.clone(), one.version?))).collect();
                for (name, version, path) in self.pointers_let_go(job.store, &lost).await? {
                    given_up.push(GivenUp { name, version: Some(version), what: LetGo::Pointer(path) });
                }
            }
            Ok(given_up)
        })
    }
}

/// One dataset of which things are let go.
struct Letting<'a> {
    workspace: &'a Workspace,
    job: GiveUp<'a>,
    name: &'a DatasetName,
    /// The store, and the others.
    stores: Vec<&'a Store>,
    given_up: &'a mut Vec<GivenUp>,
}

impl Letting<'_> {
    async fn run(&mut self, pointed: &[(DatasetName, Digest)]) -> Result<(), VersionsError> {
        let (store, name) = (self.job.store, self.name);
        let (mut found, reads) = refs_read(store, slice::from_ref(name), Tips::Read).await?;
        let mut known = found.remove(name).unwrap_or_default();
        let mut unreadable = Vec::new();
        for Read { part, found, .. } in reads {
            match found {
                Ok(found) => known.take(part, found),
                Err(error) if is_of_content(&error) => unreadable.push(part),
                Err(error) => return Err(error),
            }
        }
        known.settle();
        self.tags(&known, &unreadable).await?;
        self.head(&known, &unreadable, pointed).await?;
        for tip in &known.tips {
            if self.is_lost(tip).await? {
                self.announce(Some(*tip), LetGo::Tip).await?;
                ref_remove(store, &tip_ref(name, tip)?).await?;
            }
        }
        self.behind().await
    }

    async fn tags(&mut self, known: &Refs, unreadable: &[Part]) -> Result<(), VersionsError> {
        let (store, name) = (self.job.store, self.name);
        for (tag, at) in &known.tags {
            let hurt = self.is_hurt(&at.version) && !known.removed.contains_key(&at.version);
            if hurt || self.is_lost(&at.version).await? {
                self.announce(Some(at.version), LetGo::Tag(tag.clone())).await?;
                tag_delete(store, name, tag).await?;
            }
        }
        for part in unreadable {
            if let Part::Tag(tag) = part {
                self.announce(None, LetGo::Tag(tag.clone())).await?;
                tags::unreadable_delete(store, name, tag).await?;
            }
        }
        Ok(())
    }

    async fn head(
        &mut self,
        known: &Refs,
        unreadable: &[Part],
        pointed: &[(DatasetName, Digest)],
    ) -> Result<(), VersionsError> {
        let lost = match &known.head {
            Some(head) => self.is_lost(&head.version).await?,
            None => unreadable.contains(&Part::Head),
        };
        if !lost {
            return Ok(());
        }
        let (store, reference) = (self.job.store, head_ref(self.name)?);
        let to = self.newest(known, &reference, pointed).await?;
        self.announce(known.head.map(|head| head.version), LetGo::Head(to)).await?;
        let Some(history) = store.ref_history(&reference).await? else { return Ok(()) };
        match to {
            Some(to) => {
                store.ref_set(&reference, Some(history.generation), ref_text(&to)).await?;
            }
            None => store.ref_delete(&reference, history.generation).await?,
        }
        Ok(())
    }

    /// The newest version in the store that is known, there or elsewhere, and whole, else the newest whose object is there.
    async fn newest(
        &self,
        known: &Refs,
        reference: &RefName,
        pointed: &[(DatasetName, Digest)],
    ) -> Result<Option<Digest>, VersionsError> {
        let mut start: BTreeSet<Digest> = known.named().collect();
        start.extend(pointed.iter().filter(|(of, _)| of == self.name).map(|(_, version)| *version));
        let before = self.job.store.ref_history(reference).await?;
        let before = before.into_iter().flat_map(|history| history.values);
        start.extend(before.filter_map(|value| version_in(&value.bytes)));
        for other in self.job.others {
            match ref_at(other, reference).await {
                Err(error) if is_of_content(&error) => {}
                head => start.extend(head?.map(|head| head.version)),
            }
        }
        let (found, _) = behind(&[self.job.store], &start).await?;
        let mut there = None;
        for (digest, version) in in_order(found) {
            if known.removed.contains_key(&digest) || version.name != *self.name {
                continue;
            }
            there = there.or(Some(digest));
            if !self.is_hurt(&digest) && self.has(&content_root(version.kind, version.root)).await? {
                return Ok(Some(digest));
            }
        }
        Ok(there)
    }

    /// What is lost of versions that refs lead to after all that.
    async fn behind(&mut self) -> Result<(), VersionsError> {
        let (store, name) = (self.job.store, self.name);
        let known = refs(store, name).await?;
        let (found, mut lost) = behind(&self.stores, &known.named().collect()).await?;
        lost.extend(found.into_iter().map(|(digest, _)| digest).filter(|digest| self.is_hurt(digest)));
        for version in lost.into_iter().filter(|version| !known.removed.contains_key(version)) {
            self.announce(Some(version), LetGo::Removed).await?;
            let at = self.workspace.ambient().now();
            let removal = Removal { at, who: self.job.who.to_owned(), why: WHY.to_owned() };
            removal_put(store, name, &version, &removal).await?;
        }
        Ok(())
    }

    /// Tells the trail, and notes for the report, what is about to be let go.
    async fn announce(&mut self, version: Option<Digest>, what: LetGo) -> Result<(), VersionsError> {
        let act = Act::GiveUp { what: what.to_string(), place: self.job.store.place().to_owned() };
        self.workspace.announce(self.name, version, act).await?;
        self.given_up.push(GivenUp { name: self.name.clone(), version, what });
        Ok(())
    }

    /// Whether nobody has the object of a version.
    async fn is_lost(&self, version: &Digest) -> Result<bool, VersionsError> {
        Ok(find_readable(&self.stores, version).await?.is_none())
    }

    /// Whether something of a version was found to be missing or damaged, and could not be healed.
    fn is_hurt(&self, version: &Digest) -> bool {
        self.job.hurt.contains(&(self.name.clone(), *version))
    }

    async fn has(&self, content: &Root) -> Result<bool, VersionsError> {
        for store in &self.stores {
            if store.contains(content.digest()).await? {
                return Ok(true);
            }
        }
        Ok(false)
    }
}
