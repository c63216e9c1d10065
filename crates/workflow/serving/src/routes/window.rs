use std::collections::VecDeque;

use super::chance::Share;
use super::outputs::BINS;

/// Parts of a window; the oldest goes as a whole.
const SLOTS: i64 = 10;
/// Buckets of latency: eight to each doubling from 1 us to 67 s, so that a percentile is off by 9 % at most.
const BUCKETS: usize = 208;
const PER_DOUBLING: f64 = 8.0;

/// How one request went.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Went {
    /// It was answered after so many microseconds.
    Answered(u64),
    /// The caller was wrong.
    Refused,
    /// The version failed it: an error of the engine, no worker, a full queue, a deadline.
    Failed,
    /// The client went away before there was an answer.
    Abandoned,
}

/// What went on in a stretch of time, in a fixed size.
#[derive(Clone, Debug)]
pub(super) struct Totals {
    pub(super) requests: u64,
    pub(super) failed: u64,
    pub(super) refused: u64,
    pub(super) abandoned: u64,
    latencies: Box<[u32; BUCKETS]>,
    pub(super) outputs: [u32; BINS],
}

impl Default for Totals {
    fn default() -> Self {
        let latencies = Box::new([0; BUCKETS]);
        Self { requests: 0, failed: 0, refused: 0, abandoned: 0, latencies, outputs: [0; BINS] }
    }
}

impl Totals {
    fn count(&mut self, went: Went) {
        self.requests += 1;
        match went {
            Went::Refused => self.refused += 1,
            Went::Failed => self.failed += 1,
            Went::Abandoned => self.abandoned += 1,
            Went::Answered(micros) => {
                let bucket = (PER_DOUBLING * (micros.max(1) as f64).log2()) as usize;
                add(self.latencies.as_mut_slice(), bucket.min(BUCKETS - 1));
            }
        }
    }

    fn take_off(&mut self, old: &Self) {
        self.requests -= old.requests;
        self.failed -= old.failed;
        self.refused -= old.refused;
        self.abandoned -= old.abandoned;
        let pairs = self.latencies.iter_mut().zip(old.latencies.iter());
        for (count, gone) in pairs.chain(self.outputs.iter_mut().zip(&old.outputs)) {
            *count = count.saturating_sub(*gone);
        }
    }

    /// The quantile at `level` of the answers' latency in microseconds: the upper bound of its bucket.
    pub(super) fn latency_us(&self, level: f64) -> Option<f64> {
        let rank = ((level * self.answered() as f64).ceil() as u64).max(1);
        let mut seen = 0;
        let bucket = self.latencies.iter().position(|count| {
            seen += u64::from(*count);
            seen >= rank
        })?;
        Some(((bucket + 1) as f64 / PER_DOUBLING).exp2())
    }

    pub(super) fn answered(&self) -> u64 {
        self.latencies.iter().copied().map(u64::from).sum()
    }

    pub(super) fn share(&self, count: u64) -> Share {
        Share { count, all: self.requests }
    }

    /// Values of which the outputs' distribution consists.
    pub(super) fn observed(&self) -> u64 {
        self.outputs.iter().copied().map(u64::from).sum()
    }
}

fn add(counts: &mut [u32], at: usize) {
    if let Some(count) = counts.get_mut(at) {
        *count = count.saturating_add(1);
    }
}

/// The totals of the last so many milliseconds, give or take a tenth.
#[derive(Debug)]
pub(super) struct Window {
    slot_ms: i64,
    /// By number, ascending.
    slots: VecDeque<(i64, Totals)>,
    total: Totals,
}

impl Window {
    pub(super) fn new(window_ms: i64) -> Self {
        Self { slot_ms: (window_ms / SLOTS).max(1), slots: VecDeque::new(), total: Totals::default() }
    }

    pub(super) fn count(&mut self, at_ms: i64, went: Went) {
        self.change(at_ms, |totals| totals.count(went));
    }

    /// Counts an output in that bin.
    pub(super) fn observe(&mut self, at_ms: i64, bin: usize) {
        self.change(at_ms, |totals| add(&mut totals.outputs, bin));
    }

    /// What went on up to that moment.
    pub(super) fn total(&mut self, at_ms: i64) -> &Totals {
        let oldest = at_ms.div_euclid(self.slot_ms) - SLOTS;
        while let Some((_, gone)) = self.slots.pop_front_if(|(number, _)| *number <= oldest) {
            self.total.take_off(&gone);
        }
        &self.total
    }

    /// What was last counted, also if it is old by now.
    pub(super) fn last(&self) -> &Totals {
        &self.total
    }

    /// Changes the sum and the present slot; a clock that was set back counts in the last one.
    fn change(&mut self, at_ms: i64, change: impl Fn(&mut Totals)) {
        self.total(at_ms);
        let number = at_ms.div_euclid(self.slot_ms);
        if self.slots.back().is_none_or(|(last, _)| *last < number) {
            self.slots.push_back((number, Totals::default()));
        }
        change(&mut self.total);
        if let Some((_, slot)) = self.slots.back_mut() {
            change(slot);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_older_than_the_window_is_forgotten() {
        let mut window = Window::new(1000);
        for at in 0..2000 {
            let old = if at % 2 == 0 { Went::Failed } else { Went::Abandoned };
            window.count(at, if at < 1000 { old } else { Went::Answered(100) });
            window.observe(at, 3);
        }
        let total = window.total(1999);
        assert_eq!((total.requests, total.failed, total.abandoned, total.observed()), (1000, 0, 0, 1000));
        assert_eq!(window.total(2899).requests, 100);
        assert_eq!(window.total(1_000_000).requests, 0);
        assert_eq!(window.slots.len(), 0);
    }

    #[test]
    fn a_clock_set_back_loses_nothing() {
        let mut window = Window::new(1000);
        window.count(5000, Went::Refused);
        window.count(1000, Went::Answered(1));
        assert_eq!((window.total(5000).requests, window.slots.len()), (2, 1));
    }

    #[test]
    fn a_percentile_is_off_by_nine_percent_at_most() {
        let mut window = Window::new(1000);
        for micros in 1..=1000 {
            window.count(0, Went::Answered(micros));
        }
        for (level, exact) in [(0.95, 950.0), (1.0, 1000.0), (0.0, 1.0)] {
            let found = window.total(0).latency_us(level).unwrap();
            assert!((exact..=exact * 1.0906).contains(&found), "{level}: {found}");
        }
        assert_eq!(Totals::default().latency_us(0.95), None);
    }
}
