use serde::{Deserialize, Serialize};

use super::distinct::HashedMap;

/// Values that are reported.
const SHOWN: usize = 10;
/// Bytes of a text that are kept of it.
const TEXT_BYTES: usize = 200;

/// The most frequent values.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Frequent {
    /// At most ten, with how often each was met; texts are cut after 200 bytes.
    pub values: Vec<(String, u64)>,
    /// By how much a count may be too small: 0 where every value was counted. Beyond a bound of different values the
    /// rare ones are forgotten again (Misra and Gries 1982).
    pub missed: u64,
}

/// Counts values by their hashes, the frequent ones at least, in bounded memory.
#[derive(Debug)]
pub(super) struct FrequentSketch {
    counts: HashedMap<(String, u64)>,
    bound: usize,
    missed: u64,
}

impl FrequentSketch {
    pub(super) fn new(bound: usize) -> Self {
        Self { counts: HashedMap::default(), bound, missed: 0 }
    }

    pub(super) fn add(&mut self, hash: u64, text: &str) {
        let slot = self.counts.entry(hash).or_insert_with(|| (cut(text).to_owned(), 0));
        slot.1 += 1;
        if self.counts.len() > 2 * self.bound {
            self.forget();
        }
    }

    /// Takes from every count that of the first value past the bound, and forgets those that have none left.
    fn forget(&mut self) {
        let mut counts: Vec<u64> = self.counts.values().map(|(_, count)| *count).collect();
        let (_, taken, _) = counts.select_nth_unstable_by(self.bound, |a, b| b.cmp(a));
        let taken = *taken;
        self.missed += taken;
        self.counts.retain(|_, (_, count)| {
            *count = count.saturating_sub(taken);
            *count > 0
        });
    }

    pub(super) fn finish(self) -> Frequent {
        let mut values: Vec<(String, u64)> = self.counts.into_values().collect();
        values.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        values.truncate(SHOWN);
        Frequent { values, missed: self.missed }
    }
}

fn cut(text: &str) -> &str {
    text.get(..text.floor_char_boundary(TEXT_BYTES)).unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::FrequentSketch;

    #[test]
    fn the_frequent_are_kept_and_the_error_is_said() {
        let mut sketch = FrequentSketch::new(16);
        for number in 0..10_000_u64 {
            sketch.add(number.wrapping_mul(0x9e37_79b9_7f4a_7c15), &format!("rare {number}"));
            if number % 4 == 0 {
                sketch.add(1, "often");
            }
            if number % 10 == 0 {
                sketch.add(2, "sometimes");
            }
        }
        let found = sketch.finish();
        assert_eq!((found.values[0].0.as_str(), found.values[1].0.as_str()), ("often", "sometimes"));
        assert!(found.missed > 0 && found.values[0].1 + found.missed >= 2500 && found.values[0].1 <= 2500);
        assert!(found.values.len() == 10);
    }
}
