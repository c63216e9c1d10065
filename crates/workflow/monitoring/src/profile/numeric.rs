use super::distribution::{Curve, Distribution};
use super::moments::Moments;

/// Rows that are gathered before they are sorted into the distribution.
const PENDING: usize = 4_096;
/// Beyond this a square, or the sum of some billions of them, is no longer a number.
const LARGEST: f64 = 1e140;

/// Whether a value can be summed up.
pub(crate) fn in_range(value: f64) -> bool {
    value.abs() <= LARGEST
}

/// A numeric column while rows are still coming.
///
/// Values wait in a buffer of a fixed size, so that the summary depends on their order alone, not on how the rows were
/// cut into batches.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct NumericColumn {
    settled: NumericSummary,
    pending: Vec<f64>,
}

/// What is known of a numeric column.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct NumericSummary {
    pub(crate) moments: Moments,
    pub(crate) beyond: u64,
    pub(crate) range: Option<(f64, f64)>,
    pub(crate) distribution: Distribution,
}

impl NumericSummary {
    /// Rows with a number that takes part in the figures.
    pub fn count(&self) -> u64 {
        self.moments.count
    }

    /// Rows with an infinite number, or one beyond ±1e140: they are present but take part in no figure.
    pub fn beyond(&self) -> u64 {
        self.beyond
    }

    /// The least value.
    pub fn minimum(&self) -> Option<f64> {
        self.range.map(|(least, _)| least)
    }

    /// The greatest value.
    pub fn maximum(&self) -> Option<f64> {
        self.range.map(|(_, greatest)| greatest)
    }

    /// The mean.
    pub fn mean(&self) -> Option<f64> {
        (self.moments.count > 0).then_some(self.moments.mean)
    }

    /// The variance, divided by the count (as `numpy.var`).
    pub fn variance(&self) -> Option<f64> {
        (self.moments.count > 0).then(|| self.moments.variance())
    }

    /// The square root of the variance.
    pub fn standard_deviation(&self) -> Option<f64> {
        self.variance().map(f64::sqrt)
    }

    /// The points of the distribution.
    pub fn distribution(&self) -> &Distribution {
        &self.distribution
    }

    /// The distribution as a curve, for shares and quantiles.
    pub fn curve(&self) -> Curve {
        let (least, greatest) = self.range.unwrap_or_default();
        self.distribution.curve(least, greatest)
    }

    fn take(&mut self, values: &mut [f64]) {
        values.sort_unstable_by(f64::total_cmp);
        let (Some(&least), Some(&greatest)) = (values.first(), values.last()) else { return };
        self.widen(least, greatest);
        self.moments = self.moments.merge(Moments::of(values));
        self.distribution.absorb_sorted(values);
    }

    fn widen(&mut self, least: f64, greatest: f64) {
        self.range = Some(self.range.map_or((least, greatest), |(l, g)| (l.min(least), g.max(greatest))));
    }

    fn merge(&mut self, other: &Self) {
        if let Some((least, greatest)) = other.range {
            self.widen(least, greatest);
        }
        self.moments = self.moments.merge(other.moments);
        self.beyond += other.beyond;
        self.distribution.merge(&other.distribution);
    }
}

impl NumericColumn {
    /// The column's summary, with the rows that still wait.
    pub fn summary(&self) -> NumericSummary {
        let mut summary = self.settled.clone();
        summary.take(&mut self.pending.clone());
        summary
    }

    pub(crate) fn present(&self) -> u64 {
        self.settled.moments.count + self.settled.beyond + self.pending.len() as u64
    }

    pub(crate) fn from_summary(settled: NumericSummary) -> Self {
        Self { settled, pending: Vec::new() }
    }

    /// Takes in values; NaN is missing and counts for nothing here.
    pub(crate) fn take(&mut self, values: impl Iterator<Item = f64>) {
        for value in values {
            if in_range(value) {
                // Adding zero makes one zero of the two.
                self.pending.push(value + 0.0);
                if self.pending.len() == PENDING {
                    self.settle();
                }
            } else if !value.is_nan() {
                self.settled.beyond += 1;
            }
        }
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        self.settle();
        self.settled.merge(&other.summary());
    }

    fn settle(&mut self) {
        self.settled.take(&mut self.pending);
        self.pending.clear();
    }
}
