/// Standard deviations that are put down to chance. A trial is judged again and again, so it must be many.
const DEVIATIONS: f64 = 4.0;

/// So many of all.
#[derive(Clone, Copy, Debug)]
pub(super) struct Share {
    pub(super) count: u64,
    pub(super) all: u64,
}

impl Share {
    /// As it was counted.
    pub(super) fn value(self) -> f64 {
        if self.all == 0 { 0.0 } else { self.count as f64 / self.all as f64 }
    }

    /// What it is at least, whatever chance did: the lower bound of the score interval (E. B. Wilson, "Probable
    /// Inference, the Law of Succession, and Statistical Inference", 1927).
    pub(super) fn at_least(self) -> f64 {
        if self.count == 0 {
            return 0.0;
        }
        let (share, all) = (self.value(), self.all as f64);
        let square = DEVIATIONS * DEVIATIONS / all;
        let half = DEVIATIONS * (share * (1.0 - share) / all + square / (4.0 * all)).sqrt();
        ((share + square / 2.0 - half) / (1.0 + square)).max(0.0)
    }

    /// By how much it is above another. Never below 0.
    pub(super) fn above(self, other: Self) -> f64 {
        (self.value() - other.value()).max(0.0)
    }

    /// By how much it is above another, whatever chance did: the standard deviation of the difference is that of two
    /// samples of one, pooled share (J. L. Fleiss, "Statistical Methods for Rates and Proportions", 1973). Never below 0.
    pub(super) fn at_least_above(self, other: Self) -> f64 {
        if self.all == 0 || other.all == 0 {
            return 0.0;
        }
        let pooled = Self { count: self.count + other.count, all: self.all + other.all }.value();
        let chance = DEVIATIONS * deviation(pooled, self.all, other.all);
        (self.above(other) - chance).max(0.0)
    }
}

/// The levels at which samples of `n` and `m` values are to be compared so that the first, at its level, is above the
/// second, at its, only if the first's quantile is greater, whatever chance did.
///
/// Of a sample the share of values below a quantile is a binomial one (H. A. David and H. N. Nagaraja, "Order
/// Statistics", 2003): of two samples of one distribution these shares differ by less than four standard deviations.
/// So far apart are the levels, the smaller sample's the further from the quantile, as long as it is below 1.
pub(super) fn levels(quantile: f64, n: u64, m: u64) -> (f64, f64) {
    if n == 0 || m == 0 {
        return (0.0, 1.0);
    }
    let apart = DEVIATIONS * deviation(quantile, n, m);
    let up = (apart * n as f64 / (n + m) as f64).min(1.0 - quantile);
    (quantile - (apart - up), quantile + up)
}

/// Standard deviation of the difference of two shares of `n` and `m` that are the same but for chance.
fn deviation(share: f64, n: u64, m: u64) -> f64 {
    (share * (1.0 - share) * (1.0 / n as f64 + 1.0 / m as f64)).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn share(count: u64, all: u64) -> Share {
        Share { count, all }
    }

    fn near(found: f64, expected: f64) -> bool {
        (found - expected).abs() < 1e-9
    }

    #[test]
    fn what_chance_may_have_done_is_taken_off_a_share() {
        // At the bound the share is four standard deviations of the bound away: Wilson's equation.
        for (count, all) in [(1, 1), (8, 200), (30, 200), (200, 200), (3, 1_000_000)] {
            let bound = share(count, all).at_least();
            let deviation = (bound * (1.0 - bound) / all as f64).sqrt();
            assert!(near(share(count, all).value() - bound, 4.0 * deviation), "{count} of {all}: {bound}");
        }
        assert!(share(8, 200).at_least() > 0.01 && share(7, 200).at_least() < 0.01);
        // Not even what rounding makes of it: a limit may be 0.
        assert!((0..1000).all(|all| share(0, all).at_least().total_cmp(&0.0).is_eq()));
    }

    #[test]
    fn what_chance_may_have_done_is_taken_off_a_difference() {
        assert!(near(share(20, 200).above(share(10, 200)), 0.05));
        assert!(near(share(20, 200).at_least_above(share(10, 200)), 0.0));
        assert!(near(share(10, 200).at_least_above(share(200, 200)), 0.0));
        // 1 - 4 * sqrt(0.1 * 0.9 * (1 / 200 + 1 / 1800))
        assert!(near(share(200, 200).at_least_above(share(0, 1800)), 1.0 - 4.0 * 0.1 / 200_f64.sqrt() * 10_f64.sqrt()));
        assert!(near(share(0, 0).at_least_above(share(0, 0)), 0.0));
    }

    #[test]
    fn levels_are_apart_by_what_chance_may_have_done() {
        let apart = |n: f64, m: f64| 4.0 * (0.95 * 0.05 * (1.0 / n + 1.0 / m)).sqrt();
        for (n, m) in [(200, 1800), (1800, 200), (200, 200), (5, 5)] {
            let (low, high) = levels(0.95, n, m);
            assert!(near(high - low, apart(n as f64, m as f64)) && low < 0.95 && high <= 1.0, "{low} {high}");
        }
        let (low, high) = levels(0.95, 200, 1_000_000);
        assert!(0.95 - low > 1000.0 * (high - 0.95));
    }
}
