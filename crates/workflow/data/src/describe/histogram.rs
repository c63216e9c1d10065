use serde::{Deserialize, Serialize};

/// Bins that are counted, and that are reported at most.
const FINE: i64 = 1024;
const SHOWN: i64 = 20;
/// Bits below the first value at which the bins of numbers begin.
const DEPTH: i32 = 30;
/// Whole numbers up to this many bits are exact as floating point.
const LARGEST: f64 = 4_503_599_627_370_496.0;

/// How values are spread: `counts[i]` of them are at least `edges[i]` and less than `edges[i + 1]`.
///
/// At most 20 bins of one width, which is a power of two of the column's unit; the counts are exact.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Histogram {
    /// One more than there are counts.
    pub edges: Vec<serde_json::Value>,
    /// How many values are in each bin.
    pub counts: Vec<u64>,
}

/// Counts in bins whose width doubles whenever the values spread further than 1,024 of them.
#[derive(Debug)]
pub(super) struct Bins {
    /// The width is two to this power.
    exponent: Option<i32>,
    least: i32,
    /// Which multiple of the width the first count begins at.
    first: i64,
    counts: Vec<u64>,
}

impl Bins {
    /// Bins that are never narrower than two to the power `least`.
    pub(super) fn new(least: i32) -> Self {
        Self { exponent: None, least, first: 0, counts: Vec::new() }
    }

    pub(super) fn add(&mut self, value: f64) {
        let mut exponent = *self.exponent.get_or_insert_with(|| beginning(value).max(self.least));
        loop {
            let place = (value * two_to(-exponent)).floor();
            if place.abs() < LARGEST && self.reach(place as i64) {
                return;
            }
            self.widen();
            exponent += 1;
            self.exponent = Some(exponent);
        }
    }

    /// Counts a value in the bin `index`, unless that is too far from the others.
    fn reach(&mut self, index: i64) -> bool {
        if self.counts.is_empty() {
            self.first = index;
        }
        let last = self.first + self.counts.len() as i64 - 1;
        if last.max(index) - self.first.min(index) >= FINE {
            return false;
        }
        if index < self.first {
            let zeros = std::iter::repeat_n(0, (self.first - index) as usize);
            self.counts.splice(0..0, zeros);
            self.first = index;
        }
        let place = (index - self.first) as usize;
        if place >= self.counts.len() {
            self.counts.resize(place + 1, 0);
        }
        if let Some(count) = self.counts.get_mut(place) {
            *count += 1;
        }
        true
    }

    fn widen(&mut self) {
        (self.first, self.counts) = folded(self.first, &self.counts, 1);
    }

    /// The edges in the column's unit and the counts; none without a value.
    pub(super) fn finish(self) -> Option<(Vec<f64>, Vec<u64>)> {
        let exponent = self.exponent?;
        let last = self.first + self.counts.len() as i64 - 1;
        let mut wider = 0;
        while (last >> wider) - (self.first >> wider) >= SHOWN {
            wider += 1;
        }
        let (first, counts) = folded(self.first, &self.counts, wider);
        let width = two_to(exponent + wider);
        // The outermost edges of the largest numbers would be infinite.
        let edge = |bin: i64| ((first + bin) as f64 * width).clamp(f64::MIN, f64::MAX);
        let edges = (0..=counts.len() as i64).map(edge).collect();
        Some((edges, counts))
    }
}

/// The same counts in bins that are two to the power `wider` times as wide.
fn folded(first: i64, counts: &[u64], wider: i32) -> (i64, Vec<u64>) {
    let start = first >> wider;
    let mut folded = Vec::new();
    for (index, count) in (first..).zip(counts) {
        let place = ((index >> wider) - start) as usize;
        folded.resize(folded.len().max(place + 1), 0);
        if let Some(slot) = folded.get_mut(place) {
            *slot += count;
        }
    }
    (start, folded)
}

fn beginning(value: f64) -> i32 {
    if value == 0.0 { -DEPTH } else { (value.abs().log2().floor() as i32 - DEPTH).max(-1000) }
}

fn two_to(power: i32) -> f64 {
    2.0_f64.powi(power)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::Bins;

    fn spread(values: &[f64], least: i32) -> (Vec<f64>, Vec<u64>) {
        let mut bins = Bins::new(least);
        for value in values {
            bins.add(*value);
        }
        bins.finish().unwrap()
    }

    #[test]
    fn whole_numbers_have_whole_bins() {
        let (edges, counts) = spread(&[3.0, 1.0, 2.0, 2.0, 5.0], 0);
        assert_eq!(edges, [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
        assert_eq!(counts, [1, 2, 1, 0, 1]);
        assert_eq!(spread(&[0.0], 0), (vec![0.0, 1.0], vec![1]));
        assert!(Bins::new(0).finish().is_none());
    }

    #[test]
    fn the_farthest_numbers_fit() {
        let (edges, counts) = spread(&[f64::MIN, 1e-300, 0.0, f64::MAX, -1.0], -1022);
        assert_eq!(counts.iter().sum::<u64>(), 5);
        assert!(edges.len() <= 21 && edges[0].is_finite());
    }

    proptest! {
        #[test]
        fn every_value_is_in_its_bin(values in prop::collection::vec(-1e9_f64..1e9, 1..300), least in -20_i32..4) {
            let (edges, counts) = spread(&values, least);
            prop_assert!(counts.len() <= 20 && edges.len() == counts.len() + 1);
            for (edge, count) in edges.windows(2).zip(&counts) {
                let inside = values.iter().filter(|value| **value >= edge[0] && **value < edge[1]).count();
                prop_assert_eq!(inside as u64, *count);
            }
        }
    }
}
