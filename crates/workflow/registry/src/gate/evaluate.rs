use std::collections::BTreeMap;

use ropewalk_types::Alias;

use super::expression::{Comparison, Figure, Rule};
use super::{Condition, Metrics};

pub(super) struct Figures<'a> {
    pub(super) candidate: &'a Metrics,
    pub(super) incumbents: &'a BTreeMap<Alias, Metrics>,
}

/// Why a figure is not known.
enum Unknown {
    /// The alias points at no version.
    NoIncumbent(Alias),
    /// The version has no usable metric of that name.
    Missing(String),
}

/// Judges every comparison, also where the outcome is already clear, so that a reader sees all figures.
pub(super) fn rule(rule: &Rule, figures: &Figures<'_>, conditions: &mut Vec<Condition>) -> bool {
    match rule {
        Rule::Compare(comparison) => {
            let condition = compare(comparison, figures);
            let held = condition.held;
            conditions.push(condition);
            held
        }
        Rule::All(rules) => each(rules, figures, conditions).into_iter().all(|held| held),
        Rule::Any(rules) => each(rules, figures, conditions).into_iter().any(|held| held),
    }
}

fn each(rules: &[Rule], figures: &Figures<'_>, conditions: &mut Vec<Condition>) -> Vec<bool> {
    rules.iter().map(|one| rule(one, figures, conditions)).collect()
}

fn compare(comparison: &Comparison, figures: &Figures<'_>) -> Condition {
    let (left, right) = (figures.value(&comparison.left), figures.value(&comparison.right));
    let (held, note) = match (&left, &right) {
        (Ok(left), Ok(right)) if left.is_nan() || right.is_nan() => {
            (false, Some("the arithmetic gives no number".to_owned()))
        }
        (Ok(left), Ok(right)) => (comparison.order.holds(*left, *right), infinite(*left, *right)),
        // A figure that should be there fails the gate also when another one may be absent.
        (Err(Unknown::Missing(note)), _) | (_, Err(Unknown::Missing(note))) => (false, Some(note.clone())),
        (Err(Unknown::NoIncumbent(alias)), _) | (_, Err(Unknown::NoIncumbent(alias))) => {
            (true, Some(format!("no {alias} yet")))
        }
    };
    let known = |side: Result<f64, Unknown>| side.ok().filter(|figure| figure.is_finite());
    Condition { text: comparison.to_string(), left: known(left), right: known(right), held, note }
}

fn infinite(left: f64, right: f64) -> Option<String> {
    match (left.is_infinite(), right.is_infinite()) {
        (false, false) => None,
        (true, false) => Some(format!("the left side is {left}")),
        (false, true) => Some(format!("the right side is {right}")),
        (true, true) => Some(format!("the sides are {left} and {right}")),
    }
}

impl Figures<'_> {
    fn value(&self, figure: &Figure) -> Result<f64, Unknown> {
        match figure {
            Figure::Number(number) => Ok(*number),
            Figure::Metric(metric) => usable(self.candidate, metric, "the candidate"),
            Figure::Incumbent { alias, metric } => match self.incumbents.get(alias) {
                Some(metrics) => usable(metrics, metric, alias.as_str()),
                None => Err(Unknown::NoIncumbent(alias.clone())),
            },
            Figure::Negative(figure) => self.value(figure).map(|figure| -figure),
            Figure::Arithmetic { left, operation, right } => match (self.value(left), self.value(right)) {
                // A missing figure is said before an absent incumbent.
                (Err(Unknown::NoIncumbent(_)), Err(unknown)) => Err(unknown),
                (left, right) => Ok(operation.apply(left?, right?)),
            },
        }
    }
}

fn usable(metrics: &Metrics, metric: &str, whose: &str) -> Result<f64, Unknown> {
    match metrics.get(metric) {
        Some(figure) if figure.is_nan() => Err(Unknown::Missing(format!("{whose}'s `{metric}` is not a number"))),
        Some(figure) => Ok(*figure),
        None => Err(Unknown::Missing(format!("{whose} has no metric `{metric}`"))),
    }
}
