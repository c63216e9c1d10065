mod declaration;
mod evaluate;
mod expression;
mod parse;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use ropewalk_types::{Alias, Diagnose};
use serde::{Deserialize, Serialize};

pub(crate) use declaration::approved_by;
pub use declaration::{Approver, ApproverError, Better, GateDeclaration};
use expression::Rule;

/// Figures by name, as tracking keeps them.
pub type Metrics = BTreeMap<String, f64>;

/// What must hold before an alias may move, such as `auc >= 0.66 and auc >= champion.auc - 0.01`.
///
/// A part of SQL's expressions: `and`, `or`, `not`, `between`, the comparisons `<`, `<=`, `>`, `>=`, `=`, `<>`,
/// arithmetic `+ - * /`, numbers, parentheses, `METRIC` for the candidate's and `ALIAS.METRIC` for the metric of the
/// version that the alias points at now. Double quotes enclose a name that is not a plain word.
#[derive(Clone, Debug, PartialEq)]
pub struct Gate {
    text: String,
    rule: Rule,
}

impl Gate {
    /// Reads a gate; anything outside of the grammar is refused with its place.
    pub fn parse(text: &str) -> Result<Self, GateError> {
        let rule = parse::parse(text).map_err(|refusal| GateError {
            text: text.to_owned(),
            reason: refusal.reason,
            column: refusal.column,
        })?;
        Ok(Self { text: text.to_owned(), rule })
    }

    /// The text that was parsed.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The aliases whose metrics the gate names.
    pub fn aliases(&self) -> BTreeSet<Alias> {
        let mut aliases = BTreeSet::new();
        self.rule.visit(&mut |comparison| comparison.aliases(&mut aliases));
        aliases
    }

    /// Judges a candidate against the metrics of the versions that the aliases point at; an alias that points at
    /// none is absent from `incumbents`.
    ///
    /// - A comparison with an absent alias holds: there is nobody to be worse than.
    /// - A comparison with a figure that is missing or not a number does not hold, negated or not.
    ///
    /// Both are said in the condition's note.
    pub fn evaluate(&self, candidate: &Metrics, incumbents: &BTreeMap<Alias, Metrics>) -> GateOutcome {
        let mut conditions = Vec::new();
        let held = evaluate::rule(&self.rule, &evaluate::Figures { candidate, incumbents }, &mut conditions);
        GateOutcome { held, conditions }
    }
}

impl fmt::Display for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl FromStr for Gate {
    type Err = GateError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text)
    }
}

/// What a gate said about a candidate.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GateOutcome {
    /// Whether the alias may move.
    pub held: bool,
    /// Every condition of the gate, in its order.
    pub conditions: Vec<Condition>,
}

impl GateOutcome {
    /// Of a move without conditions.
    pub fn free() -> Self {
        Self { held: true, conditions: Vec::new() }
    }

    /// Both must hold.
    pub(crate) fn and(&mut self, other: Self) {
        self.held &= other.held;
        self.conditions.extend(other.conditions);
    }
}

/// Each condition with its two sides: `auc >= 0.66 (0.6123 and 0.66): no`.
impl fmt::Display for GateOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, condition) in self.conditions.iter().enumerate() {
            let mark = if index == 0 { "" } else { "; " };
            write!(f, "{mark}{condition}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let side = |value: Option<f64>| value.map_or_else(|| "nothing".to_owned(), |value| format!("{value:.6}"));
        f.write_str(&self.text)?;
        if self.left.is_some() || self.right.is_some() {
            write!(f, " ({} and {})", side(self.left), side(self.right))?;
        }
        f.write_str(if self.held { ": yes" } else { ": no" })?;
        match &self.note {
            Some(note) => write!(f, ", {note}"),
            None => Ok(()),
        }
    }
}

/// One condition of a gate and its figures.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Condition {
    /// The comparison, or another condition in words; a `not` before it is worked in, a `between` is two.
    pub text: String,
    /// The figure on the left, if it is known.
    pub left: Option<f64>,
    /// The figure on the right, if it is known.
    pub right: Option<f64>,
    /// Whether it holds.
    pub held: bool,
    /// What a reader should know besides the figures, such as `no champion yet`.
    pub note: Option<String>,
}

/// A text that is not a gate.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cannot read the gate `{text}`: {reason}{}", place(*column))]
pub struct GateError {
    /// The text.
    pub text: String,
    /// What is wrong with it.
    pub reason: String,
    /// Where: characters counted from 1, on the line where it begins.
    pub column: Option<u64>,
}

fn place(column: Option<u64>) -> String {
    column.map(|column| format!(" (at column {column})")).unwrap_or_default()
}

impl Diagnose for GateError {
    fn code(&self) -> &'static str {
        "registry.gate"
    }

    fn hint(&self) -> Option<String> {
        let example = "write comparisons of metrics, for example `auc >= 0.66 and auc >= champion.auc - 0.01`";
        Some(example.to_owned())
    }
}

#[cfg(test)]
mod tests;
