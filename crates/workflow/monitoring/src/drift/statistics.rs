//! The statistics, on plain shares and points. The constants in the tests come from scipy 1.17.1; the command that made
//! them is beside each.

use crate::profile::Point;

/// Shares below this are taken as this much in the population stability index, which would otherwise be infinite.
const LEAST_SHARE: f64 = 1e-4;

/// Wasserstein's distance of order 1 (the earth mover's) between two sets of weighted points sorted by value: the area
/// between their cumulative distributions, in the unit of the values. 0 where a side is empty.
///
/// Source: Vallender, "Calculation of the Wasserstein distance between probability distributions on the line" (1974).
pub fn wasserstein(left: &[Point], right: &[Point]) -> f64 {
    let total = |points: &[Point]| points.iter().map(|point| point.weight).sum::<u64>() as f64;
    let (left_total, right_total) = (total(left), total(right));
    if left_total <= 0.0 || right_total <= 0.0 {
        return 0.0;
    }
    let mut steps: Vec<(f64, f64)> = left.iter().map(|p| (p.value, p.weight as f64 / left_total)).collect();
    steps.extend(right.iter().map(|p| (p.value, -(p.weight as f64) / right_total)));
    steps.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mut gap = 0.0_f64;
    let mut area = 0.0;
    for pair in steps.windows(2) {
        if let [(here, step), (next, _)] = pair {
            gap += step;
            area += gap.abs() * (next - here);
        }
    }
    area
}

/// What Wasserstein's distance comes to on average between two samples of `left` and `right` rows that are both drawn
/// from the distribution of `points`: `√(2/π) · √(1/left + 1/right) · ∫ √(F(1-F)) dx`.
///
/// Source: the mean of the limit in del Barrio, Giné and Matrán, "Central limit theorems for the Wasserstein distance
/// between the empirical and the true distributions" (1999).
pub(crate) fn wasserstein_by_chance(points: &[Point], left: u64, right: u64) -> f64 {
    let total = points.iter().map(|point| point.weight).sum::<u64>() as f64;
    let mut below = 0.0;
    let mut spread = 0.0;
    for pair in points.windows(2) {
        if let [here, next] = pair {
            below += here.weight as f64 / total;
            spread += (below * (1.0 - below)).max(0.0).sqrt() * (next.value - here.value);
        }
    }
    (2.0 / std::f64::consts::PI).sqrt() * inverse_rows(left, right).sqrt() * spread
}

/// The Jensen-Shannon distance to the base 2 between pairs of shares of the same value, 0 to 1: the square root of the
/// Jensen-Shannon divergence.
///
/// Sources: Lin, "Divergence measures based on the Shannon entropy" (1991); that its root is a metric: Endres and
/// Schindelin, "A new metric for probability distributions" (2003).
pub fn jensen_shannon(shares: &[(f64, f64)]) -> f64 {
    let part = |share: f64, middle: f64| if share > 0.0 { share * (share / middle).log2() } else { 0.0 };
    let divergence: f64 = shares
        .iter()
        .map(|&(left, right)| {
            let middle = f64::midpoint(left, right);
            f64::midpoint(part(left, middle), part(right, middle))
        })
        .sum();
    // Rounding can leave a little less than nothing between equal shares.
    divergence.max(0.0).sqrt()
}

/// A Jensen-Shannon distance that chance reaches about once in a hundred times between samples of `left` and `right`
/// rows over `values` values of one distribution.
///
/// `8 ln 2 · divergence / (1/left + 1/right)` goes to chi-square with `values - 1` degrees of freedom `k`; taken is its
/// mean and three standard deviations, `k + 3√(2k)`. Source: Grosse et al., "Analysis of symbolic sequences using the
/// Jensen-Shannon divergence" (2002), section III.
pub(crate) fn jensen_shannon_by_chance(values: usize, left: u64, right: u64) -> f64 {
    let freedom = values.saturating_sub(1) as f64;
    let quantile = freedom + 3.0 * (2.0 * freedom).sqrt();
    (quantile * inverse_rows(left, right) / (8.0 * std::f64::consts::LN_2)).sqrt()
}

fn inverse_rows(left: u64, right: u64) -> f64 {
    1.0 / left.max(1) as f64 + 1.0 / right.max(1) as f64
}

/// The population stability index between pairs of shares of the same bin: `Σ (live - reference) · ln(live / reference)`,
/// each share at least 0.0001. By custom, 0.1 is worth a look and 0.25 is a shift.
///
/// Source: Siddiqi, "Credit risk scorecards" (2006); its statistics: Yurdakul and Naranjo, "Statistical properties of
/// the population stability index" (2020).
pub fn population_stability(shares: &[(f64, f64)]) -> f64 {
    let floor = |share: f64| share.max(LEAST_SHARE);
    shares.iter().map(|&(left, right)| (floor(right) - floor(left)) * (floor(right) / floor(left)).ln()).sum()
}

/// z of the difference between two shares, each given as (rows that count, all rows), with the pooled variance; positive
/// where the second is the greater, 0 where neither has rows or both shares are 0 or 1.
///
/// Source: Fleiss, Levin and Paik, "Statistical methods for rates and proportions" (2003), chapter 3.
pub fn two_proportion_z(left: (u64, u64), right: (u64, u64)) -> f64 {
    let ((hits, rows), (more_hits, more_rows)) = (left, right);
    if rows == 0 || more_rows == 0 {
        return 0.0;
    }
    let pooled = (hits + more_hits) as f64 / (rows + more_rows) as f64;
    let deviation = (pooled * (1.0 - pooled) * inverse_rows(rows, more_rows)).sqrt();
    let difference = more_hits as f64 / more_rows as f64 - hits as f64 / rows as f64;
    if deviation > 0.0 { difference / deviation } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(found: f64, wanted: f64) {
        assert!((found - wanted).abs() < 1e-12, "{found} is not {wanted}");
    }

    fn points(pairs: &[(f64, u64)]) -> Vec<Point> {
        pairs.iter().map(|&(value, weight)| Point { value, weight }).collect()
    }

    #[test]
    fn wasserstein_is_scipys() {
        // scipy.stats.wasserstein_distance([0, 1, 3], [5, 6, 8])
        near(wasserstein(&points(&[(0.0, 1), (1.0, 1), (3.0, 1)]), &points(&[(5.0, 1), (6.0, 1), (8.0, 1)])), 5.0);
        let left = points(&[(0.5, 3), (1.0, 1), (2.5, 4), (9.0, 2)]);
        let right = points(&[(0.5, 1), (2.0, 5), (3.0, 3)]);
        // scipy.stats.wasserstein_distance([.5, 1, 2.5, 9], [.5, 2, 3], [3, 1, 4, 2], [1, 5, 3])
        near(wasserstein(&left, &right), 1.783_333_333_333_333);
        near(wasserstein(&right, &left), 1.783_333_333_333_333);
        near(wasserstein(&left, &left), 0.0);
        near(wasserstein(&left, &[]), 0.0);
    }

    #[test]
    fn jensen_shannon_is_scipys() {
        // scipy.spatial.distance.jensenshannon([.5, .3, .2, 0], [.1, .3, .2, .4], 2)
        near(jensen_shannon(&[(0.5, 0.1), (0.3, 0.3), (0.2, 0.2), (0.0, 0.4)]), 0.552_261_960_943_802_2);
        near(jensen_shannon(&[(1.0, 0.0), (0.0, 1.0)]), 1.0);
        near(jensen_shannon(&[(0.25, 0.25), (0.75, 0.75)]), 0.0);
    }

    #[test]
    fn stability_index_is_the_symmetric_divergence() {
        // p, q = [.5, .3, .2], [.1, .3, .6]; scipy.stats.entropy(p, q) + scipy.stats.entropy(q, p)
        near(population_stability(&[(0.5, 0.1), (0.3, 0.3), (0.2, 0.6)]), 1.083_220_080_440_883_8);
        assert!(population_stability(&[(0.0, 0.5), (1.0, 0.5)]).is_finite());
    }

    #[test]
    fn z_is_that_of_the_chi_square() {
        // scipy.stats.chi2_contingency([[10, 190], [45, 255]], correction=False).statistic ** .5
        near(two_proportion_z((10, 200), (45, 300)), 3.501_057_770_993_287);
        near(two_proportion_z((45, 300), (10, 200)), -3.501_057_770_993_287);
        near(two_proportion_z((0, 200), (0, 300)), 0.0);
        near(two_proportion_z((0, 0), (3, 300)), 0.0);
    }

    #[test]
    fn chance_is_that_of_a_simulation() {
        let even: Vec<Point> = (0..1000).map(|i| Point { value: (f64::from(i) + 0.5) / 1000.0, weight: 1 }).collect();
        let found = wasserstein_by_chance(&even, 200, 20_000);
        // g = numpy.random.default_rng(1); mean of 4,000 scipy.stats.wasserstein_distance(g.random(200), g.random(20000))
        assert!((found / 0.022_133 - 1.0).abs() < 0.04, "{found}");
        let found = jensen_shannon_by_chance(12, 500, 100_000);
        // 99 % quantile of 8,000 jensenshannon(g.multinomial(500, p) / 500, g.multinomial(100000, p) / 1e5, 2), p = 1 / 12
        assert!((found / 0.0949 - 1.0).abs() < 0.03, "{found}");
    }
}
