use serde::{Deserialize, Serialize};

use crate::profile::{CategoricalSummary, Curve, NumericSummary};

/// Bars of a histogram.
const BINS: usize = 28;
/// Numeric columns with at most this many different values are drawn value by value.
const VALUES: usize = 31;
/// Values of a categorical column that are drawn.
const CATEGORIES: usize = 10;

/// The distributions of a column on both sides, as shares of the rows with a value; small enough to draw.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "by", rename_all = "snake_case", deny_unknown_fields)]
pub enum Shares {
    /// By range: bin `i` is from `edges[i]` to `edges[i + 1]`; the first and the last also hold what lies beyond.
    Range {
        /// One more than there are bins, ascending.
        edges: Vec<f64>,
        /// Shares of the reference.
        reference: Vec<f64>,
        /// Shares of the live rows.
        live: Vec<f64>,
    },
    /// By number, for columns with few different ones.
    Number {
        /// The numbers, ascending.
        values: Vec<f64>,
        /// Shares of the reference.
        reference: Vec<f64>,
        /// Shares of the live rows.
        live: Vec<f64>,
    },
    /// By text, the commonest first.
    Text {
        /// The texts.
        values: Vec<String>,
        /// Shares of the reference.
        reference: Vec<f64>,
        /// Shares of the live rows.
        live: Vec<f64>,
        /// Number of further texts, where all are known.
        other_values: Option<u64>,
        /// Their share in the reference.
        other_reference: f64,
        /// Their share in the live rows.
        other_live: f64,
    },
}

impl Shares {
    pub(crate) fn of_numbers(reference: &NumericSummary, live: &NumericSummary) -> Option<Self> {
        if reference.count() == 0 || live.count() == 0 {
            return None;
        }
        Self::by_number(reference, live).or_else(|| Self::by_range(&reference.curve(), &live.curve()))
    }

    fn by_number(reference: &NumericSummary, live: &NumericSummary) -> Option<Self> {
        let (left, right) = (reference.distribution(), live.distribution());
        if !left.is_exact() || !right.is_exact() || left.points().len().max(right.points().len()) > VALUES {
            return None;
        }
        let mut values: Vec<f64> = left.points().iter().chain(right.points()).map(|point| point.value).collect();
        values.sort_unstable_by(f64::total_cmp);
        values.dedup_by(|a, b| a.total_cmp(b).is_eq());
        let share = |summary: &NumericSummary, value: f64| {
            let points = summary.distribution().points();
            let at = points.binary_search_by(|point| point.value.total_cmp(&value)).ok();
            at.and_then(|at| points.get(at)).map_or(0.0, |point| point.weight as f64 / summary.count() as f64)
        };
        let of = |summary| values.iter().map(|&value| share(summary, value)).collect();
        (values.len() <= VALUES).then(|| Self::Number {
            reference: of(reference),
            live: of(live),
            values: values.clone(),
        })
    }

    /// Bins of equal width over the middle 99 % of both sides, so that a few far values do not flatten the rest.
    fn by_range(reference: &Curve, live: &Curve) -> Option<Self> {
        let low = reference.quantile(0.005)?.min(live.quantile(0.005)?);
        let high = reference.quantile(0.995)?.max(live.quantile(0.995)?);
        let width = (high - low) / BINS as f64;
        if width <= 0.0 {
            return None;
        }
        let edges: Vec<f64> = (0..=BINS).map(|edge| low + width * edge as f64).collect();
        Some(Self::Range { reference: in_bins(reference, &edges), live: in_bins(live, &edges), edges })
    }

    pub(crate) fn of_texts(reference: &CategoricalSummary, live: &CategoricalSummary, pairs: &[TextShare<'_>]) -> Self {
        let mut order: Vec<&TextShare<'_>> = pairs.iter().collect();
        order.sort_by(|a, b| (b.1 + b.2).total_cmp(&(a.1 + a.2)).then(a.0.cmp(b.0)));
        // Leaving out a single value would save no room: `other` takes a row too.
        let kept = if order.len() == CATEGORIES + 1 { order.len() } else { CATEGORIES };
        let (drawn, rest) = order.split_at(kept.min(order.len()));
        let unlisted = |summary: &CategoricalSummary| summary.other() as f64 / summary.count().max(1) as f64;
        Self::Text {
            values: drawn.iter().map(|(value, _, _)| (*value).to_owned()).collect(),
            reference: drawn.iter().map(|(_, share, _)| *share).collect(),
            live: drawn.iter().map(|(_, _, share)| *share).collect(),
            other_values: (reference.is_exact() && live.is_exact()).then_some(rest.len() as u64),
            other_reference: rest.iter().map(|(_, share, _)| share).sum::<f64>() + unlisted(reference),
            other_live: rest.iter().map(|(_, _, share)| share).sum::<f64>() + unlisted(live),
        }
    }
}

/// A text with its share in the reference and in the live rows.
pub(crate) type TextShare<'t> = (&'t str, f64, f64);

/// Shares between neighbouring edges; the first and the last bin also take what lies beyond.
pub(crate) fn in_bins(curve: &Curve, edges: &[f64]) -> Vec<f64> {
    let bins = edges.len().saturating_sub(1);
    let mut below = 0.0;
    let mut shares = Vec::with_capacity(bins);
    for (bin, edge) in edges.iter().skip(1).enumerate() {
        let up_to = if bin + 1 == bins { 1.0 } else { curve.share_up_to(*edge) };
        shares.push((up_to - below).max(0.0));
        below = up_to;
    }
    shares
}
