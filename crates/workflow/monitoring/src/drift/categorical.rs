use super::shares::TextShare;
use super::statistics::{jensen_shannon, jensen_shannon_by_chance, population_stability};
use super::{Outcome, Shares, Test};
use crate::profile::{CategoricalSummary, VALUES_LIMIT};

pub(super) fn compare(reference: &CategoricalSummary, live: &CategoricalSummary) -> Outcome {
    for (side, summary) in [("the reference has", reference), ("the live rows have", live)] {
        if summary.count() == 0 {
            return Outcome::not_run(format!("{side} no value"));
        }
    }
    let texts = text_shares(reference, live);
    let mut pairs: Vec<(f64, f64)> = texts.iter().map(|(_, left, right)| (*left, *right)).collect();
    let share = |summary: &CategoricalSummary| summary.other() as f64 / summary.count() as f64;
    if reference.other() + live.other() > 0 {
        pairs.push((share(reference), share(live)));
    }
    Outcome {
        test: Test::JensenShannon,
        statistic: Some(jensen_shannon(&pairs)),
        noise: Some(jensen_shannon_by_chance(pairs.len(), reference.count(), live.count())),
        psi: Some(population_stability(&pairs)),
        shares: Some(Shares::of_texts(reference, live, &texts)),
        notes: notes(reference, live),
    }
}

fn text_shares<'t>(reference: &'t CategoricalSummary, live: &'t CategoricalSummary) -> Vec<TextShare<'t>> {
    let share = |summary: &CategoricalSummary, value: &str| {
        summary.values().get(value).copied().unwrap_or(0) as f64 / summary.count() as f64
    };
    let new = live.values().keys().filter(|value| !reference.values().contains_key(*value));
    let all = reference.values().keys().chain(new);
    all.map(|value| (value.as_str(), share(reference, value), share(live, value))).collect()
}

fn notes(reference: &CategoricalSummary, live: &CategoricalSummary) -> Vec<String> {
    let mut notes = Vec::new();
    if reference.is_exact() && live.is_exact() {
        let unseen = live.values().iter().filter(|(value, _)| !reference.values().contains_key(*value));
        let (values, rows) = unseen.fold((0_u64, 0_u64), |(values, sum), (_, rows)| (values + 1, sum + rows));
        if values > 0 {
            notes.push(format!("values that the reference does not have: {values}, in {rows} live rows"));
        }
    } else {
        notes.push(format!("more than {VALUES_LIMIT} different values: the commonest are compared, the rest as one"));
    }
    notes
}
