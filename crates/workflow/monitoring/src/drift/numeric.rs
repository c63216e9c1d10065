use super::shares::in_bins;
use super::statistics::{
    jensen_shannon, jensen_shannon_by_chance, population_stability, wasserstein, wasserstein_by_chance,
};
use super::{Outcome, Shares, Test};
use crate::profile::NumericSummary;

/// Bins of the population stability index: tenths of the reference.
const TENTHS: u32 = 10;

pub(super) fn compare(reference: &NumericSummary, live: &NumericSummary) -> Outcome {
    let Some(deviation) = reference.standard_deviation() else {
        return Outcome::not_run("the reference has no value".to_owned());
    };
    if live.count() == 0 {
        return Outcome::not_run("the live rows have no value".to_owned());
    }
    let mut outcome = match (reference.minimum(), reference.maximum()) {
        (Some(least), Some(greatest)) if least < greatest && deviation > 0.0 => {
            by_wasserstein(reference, live, deviation)
        }
        (Some(constant), _) => by_constant(constant, live, reference.count()),
        (None, _) => return Outcome::not_run("the reference has no value".to_owned()),
    };
    outcome.shares = Shares::of_numbers(reference, live);
    for (side, beyond) in [("reference", reference.beyond()), ("live", live.beyond())] {
        if beyond > 0 {
            outcome.notes.push(format!("{beyond} {side} values are infinite or beyond ±1e140 and left out"));
        }
    }
    outcome
}

fn by_wasserstein(reference: &NumericSummary, live: &NumericSummary, deviation: f64) -> Outcome {
    let (left, right) = (reference.distribution().points(), live.distribution().points());
    let chance = wasserstein_by_chance(left, reference.count(), live.count());
    Outcome {
        test: Test::WassersteinNormalized,
        statistic: Some(wasserstein(left, right) / deviation),
        // Its standard deviation is some 0.4 of its mean, so that twice the mean is rarely reached by chance.
        noise: Some(2.0 * chance / deviation),
        psi: Some(stability(reference, live)),
        shares: None,
        notes: Vec::new(),
    }
}

/// A reference without spread has no unit to measure a distance in: what counts is how many rows left its one value.
fn by_constant(constant: f64, live: &NumericSummary, rows: u64) -> Outcome {
    let points = live.distribution().points().iter();
    let same: u64 = points.filter(|point| point.value.total_cmp(&constant).is_eq()).map(|point| point.weight).sum();
    let share = same as f64 / live.count() as f64;
    let shares = [(1.0, share), (0.0, 1.0 - share)];
    Outcome {
        test: Test::JensenShannon,
        statistic: Some(jensen_shannon(&shares)),
        noise: Some(jensen_shannon_by_chance(2, rows, live.count())),
        psi: Some(population_stability(&shares)),
        shares: None,
        notes: vec![format!("the reference is always {constant}: compared is the share of rows with this value")],
    }
}

fn stability(reference: &NumericSummary, live: &NumericSummary) -> f64 {
    let (left, right) = (reference.curve(), live.curve());
    let inner = (1..TENTHS).filter_map(|tenth| left.quantile(f64::from(tenth) / f64::from(TENTHS)));
    let mut edges: Vec<f64> = std::iter::once(f64::NEG_INFINITY).chain(inner).collect();
    edges.dedup_by(|a, b| a.total_cmp(b).is_eq());
    edges.push(f64::INFINITY);
    let pairs: Vec<_> = in_bins(&left, &edges).into_iter().zip(in_bins(&right, &edges)).collect();
    population_stability(&pairs)
}
