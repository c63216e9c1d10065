use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Classes of size: each holds inputs of up to twice as many bytes as the one before it.
const CLASSES: usize = 48;

/// A slow evaluation counts for this many times the estimate at most: a thread that lost its CPU is not a slow model.
const OUTLIER: u64 = 4;

/// How long evaluations of a model take: a moving estimate for each class of input size.
///
/// The size is that of the inputs in bytes, which grows with the rows, with every other open extent, and with texts.
#[derive(Debug)]
pub(crate) struct Costs {
    /// Nanoseconds; 0 where nothing is known.
    nanos: [AtomicU64; CLASSES],
}

impl Default for Costs {
    fn default() -> Self {
        Self { nanos: std::array::from_fn(|_| AtomicU64::new(0)) }
    }
}

impl Costs {
    /// What an evaluation of inputs of that many bytes will take; none before anything was measured. A size that was
    /// never met is taken to cost what the next smaller one costs, times the ratio of both.
    pub(crate) fn expected(&self, bytes: u64) -> Option<Duration> {
        let class = class(bytes);
        let known = |class: usize| self.nanos.get(class).map(|nanos| nanos.load(Ordering::Relaxed)).filter(|n| *n > 0);
        if let Some(nanos) = known(class) {
            return Some(Duration::from_nanos(nanos));
        }
        let smaller = (0..class).rev().find_map(|at| Some(known(at)?.saturating_mul(1 << (class - at).min(40))));
        smaller.or_else(|| (class..CLASSES).find_map(known)).map(Duration::from_nanos)
    }

    /// Takes one measurement into the estimate.
    pub(crate) fn learn(&self, bytes: u64, took: Duration) {
        let took = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX).max(1);
        if let Some(nanos) = self.nanos.get(class(bytes)) {
            // Two threads may overwrite each other's: an estimate loses little by it.
            let old = nanos.load(Ordering::Relaxed);
            nanos.store(moved(old, took), Ordering::Relaxed);
        }
    }
}

fn class(bytes: u64) -> usize {
    ((u64::BITS - bytes.leading_zeros()) as usize).min(CLASSES - 1)
}

fn moved(old: u64, took: u64) -> u64 {
    if old == 0 {
        took
    } else if took >= old {
        let took = took.min(old.saturating_mul(OUTLIER));
        old.saturating_add((took - old).div_ceil(8))
    } else {
        old - (old - took) / 4
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn micros(micros: u64) -> Duration {
        Duration::from_micros(micros)
    }

    #[test]
    fn a_size_never_met_costs_in_proportion() {
        let costs = Costs::default();
        assert_eq!(costs.expected(8), None);
        costs.learn(8, micros(10));
        assert_eq!(costs.expected(8 * 64), Some(micros(640)));
        assert_eq!(costs.expected(1), Some(micros(10)));
        costs.learn(8 * 64, micros(30));
        assert_eq!(costs.expected(8 * 64), Some(micros(30)));
        assert!(costs.expected(u64::MAX) > Some(micros(1_000_000)));
    }

    #[test]
    fn one_outlier_moves_little_and_a_change_is_followed() {
        let costs = Costs::default();
        costs.learn(8, micros(10));
        costs.learn(8, micros(10_000));
        assert!(costs.expected(8) < Some(micros(15)));
        for _ in 0..30 {
            costs.learn(8, micros(10_000));
        }
        assert!(costs.expected(8) > Some(micros(5_000)));
        for _ in 0..60 {
            costs.learn(8, micros(10));
        }
        assert!(costs.expected(8) < Some(micros(12)));
    }
}
