use serde::{Deserialize, Serialize};

/// Compression of the t-digest: a merged point holds at most `2π / COMPRESSION · √(q(1-q))` of all rows.
const COMPRESSION: f64 = 500.0;
/// So many different values are kept one by one.
pub(crate) const EXACT_LIMIT: usize = 500;
/// No distribution has more points; the greedy merge below stays near 500.
pub(crate) const POINTS_LIMIT: usize = 1_000;

/// Some rows with the same value, or with values close together whose mean this is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    /// The value, or the mean of the values.
    pub value: f64,
    /// Number of rows.
    pub weight: u64,
}

/// How the values of a numeric column lie, in at most 1,000 points: a merging t-digest.
///
/// Source: Dunning and Ertl, "Computing extremely accurate quantiles using t-digests" (2019), merging variant.
/// Up to 500 different values are counted exactly. Beyond that neighbours are merged while a point holds at most
/// `2π/500 · √(q(1-q))` of the rows (`q`: the share of rows below its middle): 0.63 % of them at the median, less towards
/// the ends. A share read from the curve is off by at most that when the points do not overlap, which merging makes them
/// do a little; the tests hold evenly spread values to 0.4 % and hostile ones (hundreds of powers of ten
/// in one point), merged, to 3 %. A value that is commoner than a point may be stays a point of its own. The limit is written with a square root, not the paper's
/// arcsine, because a square root has the same bits on every machine.
///
/// Why not a crate: `datasketches` 0.6 (Apache) has a sound t-digest but does not show its points, which Wasserstein's
/// distance and a step at a repeated value need, and its KLL draws unseeded random bits; `tdigests` and `tdigest` merge
/// by copying; DDSketch bounds the relative error of values, not of ranks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "StoredDistribution", into = "StoredDistribution")]
pub struct Distribution {
    points: Vec<Point>,
    exact: bool,
}

impl Default for Distribution {
    fn default() -> Self {
        Self { points: Vec::new(), exact: true }
    }
}

impl Distribution {
    /// Points by ascending value.
    pub fn points(&self) -> &[Point] {
        &self.points
    }

    /// Whether every point is one value that occurred, with its count.
    pub fn is_exact(&self) -> bool {
        self.exact
    }

    /// Number of rows.
    pub fn weight(&self) -> u64 {
        self.points.iter().map(|point| point.weight).sum()
    }

    /// Takes in finite values, sorted ascending.
    pub(crate) fn absorb_sorted(&mut self, values: &[f64]) {
        let mut counted: Vec<Point> = Vec::with_capacity(values.len());
        for &value in values {
            push(&mut counted, Point { value, weight: 1 });
        }
        self.absorb(&counted, true);
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        self.absorb(&other.points, other.exact);
    }

    fn absorb(&mut self, other: &[Point], exact: bool) {
        let all = merged(&self.points, other);
        self.exact = self.exact && exact && all.len() <= EXACT_LIMIT;
        self.points = if self.exact { all } else { compressed(&all) };
    }

    /// The distribution as a curve between `minimum` and `maximum`, for shares and quantiles.
    pub(crate) fn curve(&self, minimum: f64, maximum: f64) -> Curve {
        let total = self.weight();
        let mut below = 0;
        let mut segments = Vec::with_capacity(self.points.len());
        for (position, point) in self.points.iter().enumerate() {
            let middle = (below as f64 + point.weight as f64 / 2.0) / total as f64;
            let heavy = point.weight as f64 > limit(middle, total) * (1.0 + 1e-9);
            let neighbour =
                |other: Option<&Point>, end: f64| other.map_or(end, |o| f64::midpoint(o.value, point.value));
            let (low, high) = if self.exact || point.weight == 1 || heavy {
                (point.value, point.value)
            } else {
                let before = position.checked_sub(1).and_then(|at| self.points.get(at));
                (neighbour(before, minimum), neighbour(self.points.get(position + 1), maximum))
            };
            segments.push(Segment { low, high, weight: point.weight as f64 });
            below += point.weight;
        }
        Curve { segments, total: total as f64 }
    }
}

/// Appends a point, or adds its weight to the last one where the value is the same.
fn push(points: &mut Vec<Point>, point: Point) {
    match points.last_mut() {
        Some(last) if last.value.total_cmp(&point.value).is_eq() => last.weight += point.weight,
        _ => points.push(point),
    }
}

fn merged(left: &[Point], right: &[Point]) -> Vec<Point> {
    let mut all = Vec::with_capacity(left.len() + right.len());
    let (mut left, mut right) = (left.iter().peekable(), right.iter().peekable());
    loop {
        let next = match (left.peek(), right.peek()) {
            (Some(a), Some(b)) if a.value <= b.value => left.next(),
            (Some(_), None) => left.next(),
            _ => right.next(),
        };
        let Some(point) = next else { return all };
        push(&mut all, *point);
    }
}

/// The most rows that a merged point may hold whose middle has the share `middle` of `total` rows below it.
fn limit(middle: f64, total: u64) -> f64 {
    std::f64::consts::TAU / COMPRESSION * (middle * (1.0 - middle)).sqrt() * total as f64
}

fn compressed(points: &[Point]) -> Vec<Point> {
    let total: u64 = points.iter().map(|point| point.weight).sum();
    let mut kept = Vec::with_capacity(EXACT_LIMIT);
    let mut points = points.iter();
    let Some(mut current) = points.next().copied() else { return kept };
    let mut below = 0;
    for next in points {
        let together = current.weight + next.weight;
        let middle = (below as f64 + together as f64 / 2.0) / total as f64;
        if together as f64 <= limit(middle, total) {
            let share = next.weight as f64 / together as f64;
            // Rounding must not carry a mean beyond the values that it is the mean of.
            current.value = (current.value + (next.value - current.value) * share).min(next.value);
            current.weight = together;
        } else {
            below += current.weight;
            kept.push(current);
            current = *next;
        }
    }
    kept.push(current);
    kept
}

#[derive(Clone, Copy, Debug)]
struct Segment {
    low: f64,
    high: f64,
    weight: f64,
}

/// A distribution read as a curve: a merged point is spread evenly between its neighbours, a single value is a step.
#[derive(Clone, Debug)]
pub struct Curve {
    segments: Vec<Segment>,
    total: f64,
}

impl Curve {
    /// The share of rows with a value of at most `value`, 0 to 1; 0 where there are no rows.
    pub fn share_up_to(&self, value: f64) -> f64 {
        let mut below = 0.0;
        for segment in &self.segments {
            if segment.high <= value {
                below += segment.weight;
            } else if segment.low < value {
                below += segment.weight * (value - segment.low) / (segment.high - segment.low);
            }
        }
        if self.total > 0.0 { below / self.total } else { 0.0 }
    }

    /// The value that the share `share` of the rows does not exceed; none where there are no rows.
    pub fn quantile(&self, share: f64) -> Option<f64> {
        let target = share.clamp(0.0, 1.0) * self.total;
        let mut below = 0.0;
        for segment in &self.segments {
            if below + segment.weight >= target {
                let part = ((target - below) / segment.weight).clamp(0.0, 1.0);
                return Some(segment.low + (segment.high - segment.low) * part);
            }
            below += segment.weight;
        }
        self.segments.last().map(|segment| segment.high)
    }
}

/// A distribution as it is written: values and weights side by side.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StoredDistribution {
    exact: bool,
    values: Vec<f64>,
    weights: Vec<u64>,
}

impl From<Distribution> for StoredDistribution {
    fn from(distribution: Distribution) -> Self {
        let (values, weights) = distribution.points.iter().map(|point| (point.value, point.weight)).unzip();
        Self { exact: distribution.exact, values, weights }
    }
}

impl TryFrom<StoredDistribution> for Distribution {
    type Error = String;

    fn try_from(stored: StoredDistribution) -> Result<Self, String> {
        let StoredDistribution { exact, values, weights } = stored;
        if values.len() != weights.len() || values.len() > POINTS_LIMIT {
            return Err(format!("{} values and {} weights are not a distribution", values.len(), weights.len()));
        }
        if values.iter().any(|value| !super::numeric::in_range(*value)) || !values.is_sorted() {
            return Err("the values of a distribution are not finite and ascending".to_owned());
        }
        if weights.contains(&0) || weights.iter().try_fold(0_u64, |sum, weight| sum.checked_add(*weight)).is_none() {
            return Err("the weights of a distribution are zero or too large".to_owned());
        }
        let points = values.into_iter().zip(weights).map(|(value, weight)| Point { value, weight }).collect();
        Ok(Self { points, exact })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(values: &[f64]) -> (Distribution, Curve) {
        let mut distribution = Distribution::default();
        for chunk in values.chunks(1000) {
            let mut chunk = chunk.to_vec();
            chunk.sort_unstable_by(f64::total_cmp);
            distribution.absorb_sorted(&chunk);
        }
        let least = values.iter().copied().fold(f64::INFINITY, f64::min);
        let greatest = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let curve = distribution.curve(least, greatest);
        (distribution, curve)
    }

    /// The values of (0, 1) in an order that visits the whole range early and late (multiples of the golden ratio).
    fn spread(count: u32) -> Vec<f64> {
        (1..=count).map(|i| (f64::from(i) * 0.618_033_988_749_894_9).fract()).collect()
    }

    #[test]
    fn few_values_are_counted_one_by_one() {
        let months: Vec<f64> = (0..12_000).map(|i| f64::from(i % 12 + 1)).collect();
        let (distribution, curve) = of(&months);
        assert!(distribution.is_exact());
        assert_eq!(distribution.points().len(), 12);
        assert!(distribution.points().iter().all(|point| point.weight == 1000));
        assert!((curve.share_up_to(3.0) - 0.25).abs() < 1e-12);
        assert!((curve.share_up_to(3.9) - 0.25).abs() < 1e-12);
        assert_eq!(curve.quantile(0.5), Some(6.0));
    }

    #[test]
    fn many_values_stay_small_and_keep_their_ranks() {
        let (distribution, curve) = of(&spread(200_000));
        assert!(!distribution.is_exact());
        assert!(distribution.points().len() <= 550, "{}", distribution.points().len());
        assert_eq!(distribution.weight(), 200_000);
        for percent in 0..=100 {
            let share = f64::from(percent) / 100.0;
            let found = curve.share_up_to(share);
            assert!((found - share).abs() < 0.004, "{share}: {found}");
            let quantile = curve.quantile(share).expect("rows");
            assert!((quantile - share).abs() < 0.004, "{share}: {quantile}");
        }
    }

    #[test]
    fn a_common_value_stays_a_step() {
        let values: Vec<f64> = spread(100_000).iter().map(|v| if *v < 0.7 { 0.0 } else { *v }).collect();
        let (distribution, curve) = of(&values);
        assert!(!distribution.is_exact());
        assert!((curve.share_up_to(0.0) - 0.7).abs() < 0.001, "{}", curve.share_up_to(0.0));
        assert!(curve.share_up_to(-1e-9).abs() < 1e-12);
        assert_eq!(curve.quantile(0.5), Some(0.0));
    }

    #[test]
    fn sorted_input_keeps_the_bound() {
        let mut values = spread(100_000);
        values.sort_unstable_by(f64::total_cmp);
        let (distribution, curve) = of(&values);
        assert!(distribution.points().len() <= 550);
        for percent in 0..=100 {
            let share = f64::from(percent) / 100.0;
            assert!((curve.share_up_to(share) - share).abs() < 0.008, "{share}");
        }
    }

    #[test]
    fn nothing_has_no_quantile() {
        let curve = Distribution::default().curve(0.0, 0.0);
        assert_eq!(curve.quantile(0.5), None);
        assert!(curve.share_up_to(1.0).abs() < f64::EPSILON);
    }

    #[test]
    fn stored_nonsense_is_refused() {
        for text in [
            r#"{"exact":true,"values":[1.0],"weights":[]}"#,
            r#"{"exact":true,"values":[2.0,1.0],"weights":[1,1]}"#,
            r#"{"exact":true,"values":[1.0],"weights":[0]}"#,
            r#"{"exact":true,"values":[1e300],"weights":[1]}"#,
            r#"{"exact":true,"values":[1.0,2.0],"weights":[18446744073709551615,1]}"#,
        ] {
            assert!(serde_json::from_str::<Distribution>(text).is_err(), "{text}");
        }
    }
}
