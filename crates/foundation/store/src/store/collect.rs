//! The collection of garbage, safe beside writers, transfers and other collectors.
//!
//! A writer does not write what it finds visible, so that a collector that removed at once what nothing refers to would
//! take it from under a commit on its way. Two steps, and a time of grace between them, prevent that:
//!
//! 1. What no root needs is *condemned*: one object in the folder `index` lists it, which hides all of it at once. It can
//!    be read as before, but is visible to nobody: whoever needs it writes it again. A [`Writer`](crate::Writer) or a
//!    transfer that had found it visible before looks again after its own pieces are visible, and writes (or transfers) what
//!    is hidden again, as long as it can be read. One that had looked before the object was written has the time of grace to set the
//!    ref that makes a root of what it wrote.
//! 2. A collector that comes after the time of grace walks from the roots of then. What they need is *restored*, by
//!    removing it from the list. What they do not need is *removed*: it goes from the index, packs with nothing else go
//!    from the store, those of which less than two thirds are left are written anew, the others keep their gaps.
//!
//! Every commit leaves a pack, however small. Many small packs are *merged* in the same two steps: what is needed of
//! them is written to large packs and made visible there, and only then the copies in the small ones are condemned, so
//! that whoever reads there goes on reading there for a time of grace. Small index objects become one at the same time,
//! and generations of refs go that are long out of date.
//!
//! Three rules make that whole:
//! - Packs younger than the time of grace are left alone, with all that their recipes and trees need: a long transfer
//!   makes leaves visible that nothing refers to yet.
//! - A tree that is visible is taken to be whole. It can come to be visible while something below it is condemned, when
//!   its writer died before it looked again. So nothing is removed that a visible or just condemned recipe or tree
//!   needs; that goes after they have gone.
//! - What was removed stays listed until a later collector finds no index object that names it: a merger of index
//!   objects that was stopped half-way could bring it back.
//!
//! Data that has to be gone is erased: then packs with gaps are written anew too (`erase.rs`).
//!
//! Every step writes before it removes, and none depends on the one before having ended: a collector that is killed
//! leaves a whole store, and the next goes on.

mod apply;
mod erase;
mod plan;

use std::collections::HashSet;
use std::time::{Duration, SystemTime};

use futures::TryStreamExt as _;
use object_store::ObjectMeta;
use object_store::path::Path;
use ropewalk_types::Digest;

use super::reach::{Gaps, Reached, Root};
use super::sweep::PACKS;
use super::{Inner, Store, blocking, failed};
use crate::error::StoreError;
use crate::index::{Kind, PackId};

use plan::{Plan, State};

/// Each time round, another process must have merged index objects while we read them.
const MAX_ROUNDS: usize = 16;

/// How [`Store::collect`] is to be done.
#[derive(Clone, Copy, Debug)]
pub struct CollectSettings {
    /// The present time.
    pub now: SystemTime,
    /// How long condemned pieces are kept: longer than it takes from a writer's commit to the ref that needs it, clocks
    /// that differ included. Zero removes at once, and is for a store with which nobody else works:
    /// see [`Store::with_lock`](super::Store::with_lock).
    pub grace: Duration,
    /// Only count.
    pub dry_run: bool,
}

/// Some pieces.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Amount {
    /// How many.
    pub pieces: u64,
    /// Their bytes, as they are stored.
    pub bytes: u64,
}

/// What [`Store::collect`] has done, or would do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Collected {
    /// What the roots need, and what is too young to tell.
    pub kept: Amount,
    /// What nothing needs, as was found now.
    pub condemned: Amount,
    /// What was condemned before, and is needed again.
    pub restored: Amount,
    /// What was condemned before, and is still in its time of grace.
    pub waiting: Amount,
    /// What went.
    pub removed: Amount,
    /// Of the kept, what was written from small packs to large ones.
    pub merged: Amount,
    /// The small packs from which that was; they go a time of grace later.
    pub merged_packs: u64,
    /// Further copies of what is kept, such as merging leaves: condemned, waiting or removed.
    pub copies: Amount,
    /// Bytes by which the packs became smaller; the removed pieces of packs that stay are gaps in them until less than
    /// two thirds are left.
    pub freed: u64,
    /// Packs that went, those that were written anew among them.
    pub freed_packs: u64,
    /// Roots that are not in this store.
    pub absent_roots: u64,
}

impl CollectSettings {
    fn is_young(&self, written: SystemTime) -> bool {
        written.checked_add(self.grace).is_none_or(|end| end > self.now)
    }
}

impl Amount {
    fn add(&mut self, bytes: u32) {
        self.pieces += 1;
        self.bytes += u64::from(bytes);
    }
}

impl Store {
    /// Collects what none of `roots` needs: garbage found for the first time is condemned, that found a time of grace ago
    /// is removed; the module comment of `collect.rs` says why others may write at the same time.
    ///
    /// `roots` are all that is to stay, read from their refs just before. A root that is not in the store is counted;
    /// anything below one that is not there is an error before anything has been changed, because nobody can tell what it
    /// would need.
    pub async fn collect(&self, roots: &[Root], settings: &CollectSettings) -> Result<Collected, StoreError> {
        self.collect_as(roots, settings, false).await
    }

    /// Like [`Store::collect`], for data that has to be gone: of what is removed nothing is left in gaps of packs, which are
    /// written anew however much of them is in use.
    pub async fn collect_erasing(&self, roots: &[Root], settings: &CollectSettings) -> Result<Collected, StoreError> {
        self.collect_as(roots, settings, true).await
    }

    async fn collect_as(
        &self,
        roots: &[Root],
        settings: &CollectSettings,
        erases: bool,
    ) -> Result<Collected, StoreError> {
        let state = self.inner.collect_state(settings).await?;
        // From here on the index knows at least what the state knows.
        self.inner.refresh().await?;
        let live = self.inner.reach(roots, Gaps::Refused, &|_, _| false).await?;
        let mut plan = self.inner.collect_plan(state, &live, settings).await?;
        if erases {
            plan.erase();
        }
        plan.report.absent_roots = live.absent.len() as u64;
        if settings.dry_run {
            (plan.report.freed, plan.report.freed_packs) = plan.freed();
            return Ok(plan.report);
        }
        let report = self.inner.collect_apply(plan).await?;
        self.inner.refresh().await?;
        self.refs_settle(settings.now, settings.grace).await?;
        Ok(report)
    }
}

impl Inner {
    /// All index objects as they are at one time, and which packs are young.
    async fn collect_state(&self, settings: &CollectSettings) -> Result<State, StoreError> {
        for _ in 0..MAX_ROUNDS {
            let listed = self.index_objects().await?;
            let times: Vec<SystemTime> = listed.iter().map(|(_, meta)| meta.last_modified.into()).collect();
            if let Some(objects) = self.load_all(listed).await? {
                let old = |time: SystemTime| settings.grace.is_zero() || !settings.is_young(time);
                let objects = objects.into_iter().zip(times).map(|((name, object), time)| (name, object, old(time)));
                // After the objects, so that no pack that they name is missing here.
                let young = self.young_packs(settings).await?;
                return Ok(State::new(objects.collect(), young));
            }
        }
        let reason = "index objects vanish as fast as they are read".to_owned();
        Err(StoreError::Malformed { what: "store", reason })
    }

    async fn young_packs(&self, settings: &CollectSettings) -> Result<HashSet<PackId>, StoreError> {
        let folder = Path::from(PACKS);
        let listed: Vec<_> = self.backend.list(Some(&folder)).try_collect().await.map_err(failed("list", &folder))?;
        let young = |meta: &&ObjectMeta| !settings.grace.is_zero() && settings.is_young(meta.last_modified.into());
        let packs = listed.iter().filter(young);
        Ok(packs.filter_map(|meta| PackId::of_path(&meta.location)).collect())
    }

    async fn collect_plan(&self, state: State, live: &Reached, settings: &CollectSettings) -> Result<Plan, StoreError> {
        let live: HashSet<_> = live.pieces().collect();
        let spared = self.reach(&state.young_tops(&live), Gaps::Accepted, &|_, _| false).await?;
        let needed: HashSet<_> = live.iter().copied().chain(spared.pieces()).collect();
        let grace = !settings.grace.is_zero();
        let protected = if grace {
            self.reach(&state.condemned_tops(&needed), Gaps::Accepted, &|_, _| false).await?
        } else {
            Reached::default()
        };
        let protected: HashSet<(Kind, Digest)> = protected.pieces().collect();
        blocking(move || Ok(Plan::new(state, &needed, &protected, grace))).await
    }
}
