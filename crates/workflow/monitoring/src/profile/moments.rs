use serde::{Deserialize, Serialize};

/// Count, mean and the sum of squared deviations from the mean.
///
/// Parts are joined by Chan, Golub and LeVeque, "Updating formulae and a pairwise algorithm for computing sample
/// variances" (1979), which loses no digits to a large mean.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Moments {
    pub(crate) count: u64,
    pub(crate) mean: f64,
    pub(crate) squares: f64,
}

impl Moments {
    /// The moments of `values`, in two passes.
    pub(crate) fn of(values: &[f64]) -> Self {
        if values.is_empty() {
            return Self::default();
        }
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        let squares = values.iter().map(|value| (value - mean) * (value - mean)).sum();
        Self { count: values.len() as u64, mean, squares }
    }

    pub(crate) fn merge(self, other: Self) -> Self {
        if self.count == 0 {
            return other;
        }
        if other.count == 0 {
            return self;
        }
        let count = self.count + other.count;
        let gap = other.mean - self.mean;
        let part = other.count as f64 / count as f64;
        Self {
            count,
            mean: self.mean + gap * part,
            squares: self.squares + other.squares + gap * gap * self.count as f64 * part,
        }
    }

    /// Variance of the values themselves (divided by the count, as `numpy.var`).
    pub(crate) fn variance(self) -> f64 {
        if self.count == 0 { 0.0 } else { self.squares / self.count as f64 }
    }
}

#[cfg(test)]
mod tests {
    use super::Moments;

    #[test]
    fn a_large_mean_costs_no_digits() {
        let values: Vec<f64> = (0..1000).map(|i| 1e9 + f64::from(i % 10)).collect();
        let halves = Moments::of(&values[..333]).merge(Moments::of(&values[333..]));
        assert!((halves.variance() - 8.25).abs() < 1e-7, "{}", halves.variance());
        assert!((halves.mean - 1_000_000_004.5).abs() < 1e-6);
        assert_eq!(halves.count, 1000);
    }

    #[test]
    fn nothing_is_neutral() {
        let some = Moments::of(&[1.0, 3.0]);
        assert_eq!(some.merge(Moments::default()), some);
        assert_eq!(Moments::default().merge(some), some);
        assert!(Moments::of(&[]).variance().abs() < f64::EPSILON);
    }
}
