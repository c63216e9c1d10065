//! What need not be checked twice in one command.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::index::PackId;

/// A pull checks what it brings and lays it out at once; whoever reads later checks again.
const MOMENT: Duration = Duration::from_mins(1);

/// Packs that have come here whose pieces were all checked on the way, by this process.
#[derive(Debug, Default)]
pub(super) struct JustChecked {
    packs: Mutex<HashMap<PackId, Instant>>,
}

impl JustChecked {
    pub(super) fn note(&self, packs: impl Iterator<Item = PackId>) {
        let now = Instant::now();
        let mut known = self.packs.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|_, at| is_fresh(*at, now));
        known.extend(packs.map(|pack| (pack, now)));
    }

    /// Whether all pieces of the pack were checked less than a minute ago.
    pub(super) fn has(&self, pack: PackId) -> bool {
        let known = self.packs.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(&pack).is_some_and(|at| is_fresh(*at, Instant::now()))
    }
}

fn is_fresh(at: Instant, now: Instant) -> bool {
    now.saturating_duration_since(at) < MOMENT
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_passes() {
        let (checked, old, new, other) = (JustChecked::default(), PackId::random(), PackId::random(), PackId::random());
        checked.note([old].into_iter());
        assert!(checked.has(old) && !checked.has(other));
        let long_ago = Instant::now().checked_sub(MOMENT).unwrap();
        checked.packs.lock().unwrap().insert(old, long_ago);
        assert!(!checked.has(old));
        checked.note([new].into_iter());
        assert_eq!(checked.packs.lock().unwrap().keys().collect::<Vec<_>>(), [&new]);
    }
}
