use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use datafusion::common::DataFusionError;
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryLimit, MemoryPool, MemoryReservation};

use super::session::MERGE_SHARE;

/// The part of the memory that operators which can spill leave to those that cannot.
const KEPT_BACK: usize = 8;
/// The parts of the memory that merges, and what can spill, may hold together where merges may not hold all: each merge of
/// files takes as many as it is granted memory for.
const MERGED: usize = 2;
const SORTED: usize = 4;
/// What DataFusion calls the memory of such a merge.
const MERGE: &str = "ExternalSorterMerge";
/// The part of the memory that an operator is always granted: a count cannot spill and must not fail for a byte.
const TINY: usize = 256;

/// What merges of what was spilled may hold together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Merges {
    /// What is left: the fewest passes, and another sort may find nothing to begin with.
    WhatIsLeft,
    /// Half of the memory. What can spill then holds a quarter, since a merge of what a sort has in memory holds all of that
    /// once more, and fails where it may not.
    Half,
}

/// The memory of one query.
///
/// As DataFusion's `FairSpillPool`, operators that can spill share evenly what the others leave them. That pool lets
/// them take all, and the merge of two sorts or a count, which hold little but cannot spill, then fail for a few bytes:
/// here an eighth is kept back for these, and what is tiny is always granted.
#[derive(Debug)]
pub(crate) struct SpillPool {
    limit: usize,
    merges: Merges,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    spillers: usize,
    merges: usize,
    spillable: usize,
    unspillable: usize,
}

impl SpillPool {
    pub(crate) fn new(limit: usize, merges: Merges) -> Self {
        Self { limit, merges, state: Mutex::default() }
    }

    /// The counts stay right through a panic elsewhere: each is changed in one step.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl MemoryPool for SpillPool {
    fn name(&self) -> &'static str {
        "spill"
    }

    fn register(&self, consumer: &MemoryConsumer) {
        let mut state = self.state();
        state.spillers += usize::from(consumer.can_spill());
        state.merges += usize::from(is_merge(consumer));
    }

    fn unregister(&self, consumer: &MemoryConsumer) {
        let mut state = self.state();
        state.spillers = state.spillers.saturating_sub(usize::from(consumer.can_spill()));
        state.merges = state.merges.saturating_sub(usize::from(is_merge(consumer)));
    }

    fn grow(&self, reservation: &MemoryReservation, additional: usize) {
        let mut state = self.state();
        let held = state.held(reservation);
        *held = held.saturating_add(additional);
    }

    fn shrink(&self, reservation: &MemoryReservation, shrink: usize) {
        let mut state = self.state();
        let held = state.held(reservation);
        *held = held.saturating_sub(shrink);
    }

    fn try_grow(&self, reservation: &MemoryReservation, additional: usize) -> Result<(), DataFusionError> {
        let mut state = self.state();
        let available = if reservation.consumer().can_spill() {
            let all = match self.merges {
                Merges::WhatIsLeft => self.limit.saturating_sub(state.unspillable.max(self.limit / KEPT_BACK)),
                Merges::Half => self.limit / SORTED,
            };
            (all / state.spillers.max(1)).saturating_sub(reservation.size())
        } else {
            // Those who came early hold more than their share of now, so the sum can be past the limit for a while.
            let free = self.limit.saturating_sub(state.spillable).max(self.limit / KEPT_BACK);
            let tiny = (self.limit / TINY).saturating_sub(reservation.size());
            let free = free.saturating_sub(state.unspillable);
            let share = if self.merges == Merges::Half && is_merge(reservation.consumer()) {
                // What each sort keeps back for it is granted in any case.
                let share = (self.limit / MERGED / state.merges.max(1)).max(self.limit / MERGE_SHARE);
                share.saturating_sub(reservation.size())
            } else {
                free
            };
            free.min(share).max(tiny)
        };
        if additional > available {
            let name = reservation.consumer().name();
            let held = reservation.size();
            return Err(DataFusionError::ResourcesExhausted(format!(
                "{name} holds {held} bytes and asked for {additional} more, {available} are left for it"
            )));
        }
        *state.held(reservation) += additional;
        Ok(())
    }

    fn reserved(&self) -> usize {
        let state = self.state();
        state.spillable.saturating_add(state.unspillable)
    }

    fn memory_limit(&self) -> MemoryLimit {
        MemoryLimit::Finite(self.limit)
    }
}

fn is_merge(consumer: &MemoryConsumer) -> bool {
    consumer.name().starts_with(MERGE)
}

/// About what the limit has to be so that what was refused with this text is granted: as if all shares grew with it.
pub(super) fn least_limit(limit: usize, refusal: &str) -> Option<usize> {
    let (_, rest) = refusal.split_once(" holds ")?;
    let (held, rest) = rest.split_once(" bytes and asked for ")?;
    let (more, rest) = rest.split_once(" more, ")?;
    let (left, _) = rest.split_once(" are left for it")?;
    let number = |text: &str| text.parse::<u128>().ok();
    let (held, more, left) = (number(held)?, number(more)?, number(left)?);
    let least = (limit as u128 * (held + more)).checked_div(held + left)?;
    usize::try_from(least).ok()
}

impl State {
    fn held(&mut self, reservation: &MemoryReservation) -> &mut usize {
        if reservation.consumer().can_spill() { &mut self.spillable } else { &mut self.unspillable }
    }
}

impl fmt::Display for SpillPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.limit)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn what_cannot_spill_finds_something_left() {
        let pool: Arc<dyn MemoryPool> = Arc::new(SpillPool::new(6400, Merges::WhatIsLeft));
        let spiller = |name: &str| MemoryConsumer::new(name).with_can_spill(true).register(&pool);
        let (one, two) = (spiller("one"), spiller("two"));
        one.try_grow(2800).unwrap();
        assert!(one.try_grow(1).is_err());
        two.try_grow(2800).unwrap();
        let plain = |name: &str| MemoryConsumer::new(name).register(&pool);
        let (merge, count) = (plain("merge"), plain("count"));
        merge.try_grow(800).unwrap();
        let error = merge.try_grow(1).unwrap_err().to_string();
        assert!(error.contains("merge holds 800 bytes and asked for 1 more, 0 are left"), "{error}");
        count.try_grow(25).unwrap();
        assert!(count.try_grow(1).is_err());
        drop(two);
        merge.try_grow(2775).unwrap();
        assert_eq!(pool.reserved(), 6400);
        drop((one, count, merge));
        assert_eq!(pool.reserved(), 0);
    }

    #[test]
    fn merges_leave_something_to_the_sorts_after_them() {
        let pool: Arc<dyn MemoryPool> = Arc::new(SpillPool::new(6400, Merges::Half));
        let sort = || MemoryConsumer::new("ExternalSorter[0]").with_can_spill(true).register(&pool);
        let merge = || MemoryConsumer::new("ExternalSorterMerge[0]").register(&pool);
        let (one, two) = ((sort(), merge()), (sort(), merge()));
        one.1.try_grow(1600).unwrap();
        let error = one.1.try_grow(1).unwrap_err().to_string();
        assert!(error.contains("holds 1600 bytes and asked for 1 more, 0 are left for it"), "{error}");
        two.0.try_grow(800).unwrap();
        assert!(two.0.try_grow(1).is_err());
        two.1.try_grow(1600).unwrap();
        drop(one);
        two.1.try_grow(1600).unwrap();
    }

    #[test]
    fn a_refusal_says_what_would_be_enough() {
        let refusal = "ExternalSorter[0] holds 100 bytes and asked for 700 more, 300 are left for it";
        assert_eq!(least_limit(16_000, refusal), Some(32_000));
        assert_eq!(least_limit(16_000, "x holds 0 bytes and asked for 7 more, 0 are left for it"), None);
        assert_eq!(least_limit(16_000, "the disk is full"), None);
    }
}
