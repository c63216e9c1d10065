use arrow::array::RecordBatch;
use ropewalk_types::Timestamp;
use serde::Serialize;

use super::settings::Severity;

/// How one check ended.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CheckOutcome {
    /// The check's name.
    pub check: String,
    /// What it means when it is broken.
    pub severity: Severity,
    /// Whether it holds.
    pub passed: bool,
    /// Rows that break it; 0 for a rule about the table as a whole.
    pub offending: u64,
    /// What was found, in one clause.
    pub message: String,
    /// The last moment at which the same rows pass, for a rule about their age; none for what time does not change.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
    /// The first offending rows: their number in the table, counted from 1, then all columns. For a custom SELECT, its
    /// own columns. None where no row offends.
    #[serde(skip)]
    pub sample: Option<RecordBatch>,
}

/// How all checks of a dataset ended, in the order of their declaration.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CheckReport {
    /// One for each check.
    pub outcomes: Vec<CheckOutcome>,
}

impl CheckReport {
    /// Whether no check of severity `error` is broken.
    pub fn passed(&self) -> bool {
        !self.broken(Severity::Error).any(|_| true)
    }

    /// The last moment for which the report stands: after it, or where it is past, the same rows may be told otherwise.
    pub fn stands_until(&self) -> Option<Timestamp> {
        self.outcomes.iter().filter_map(|outcome| outcome.until).min()
    }

    /// The broken checks of one severity.
    pub fn broken(&self, severity: Severity) -> impl Iterator<Item = &CheckOutcome> {
        self.outcomes.iter().filter(move |outcome| !outcome.passed && outcome.severity == severity)
    }
}
