use serde::{Deserialize, Serialize};

use super::categorical::{CategoricalColumn, CategoricalSummary};
use super::numeric::{NumericColumn, NumericSummary};
use super::values::{Reading, Texts};
use crate::MonitoringError;

/// Arrow's name of the type of a column that has no value at all.
const UNDECIDED: &str = "Null";

/// How the values of a column are summed up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ColumnKind {
    /// By moments and quantiles.
    Numeric,
    /// By counting each value: texts and booleans.
    Categorical,
    /// Only present or missing: times, lists, bytes and what else has neither order nor few values.
    Other,
}

impl ColumnKind {
    /// The kind as it is written in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Numeric => "numeric",
            Self::Categorical => "categorical",
            Self::Other => "other",
        }
    }
}

/// One column of a profile.
#[derive(Clone, Debug, PartialEq)]
pub enum Column {
    /// Numbers.
    Numeric(NumericColumn),
    /// Texts and booleans.
    Categorical(CategoricalColumn),
    /// Values that are only counted.
    Other {
        /// Arrow's name of the type.
        data_type: String,
        /// Rows with a value.
        count: u64,
    },
}

impl Column {
    /// The column's kind.
    pub fn kind(&self) -> ColumnKind {
        match self {
            Self::Numeric(_) => ColumnKind::Numeric,
            Self::Categorical(_) => ColumnKind::Categorical,
            Self::Other { .. } => ColumnKind::Other,
        }
    }

    /// Rows with a value.
    pub fn present(&self) -> u64 {
        match self {
            Self::Numeric(column) => column.present(),
            Self::Categorical(column) => column.present(),
            Self::Other { count, .. } => *count,
        }
    }

    /// The summary of a numeric column.
    pub fn numeric(&self) -> Option<NumericSummary> {
        if let Self::Numeric(column) = self { Some(column.summary()) } else { None }
    }

    /// The summary of a categorical column.
    pub fn categorical(&self) -> Option<CategoricalSummary> {
        if let Self::Categorical(column) = self { Some(column.summary()) } else { None }
    }

    /// Whether nothing but Arrow's `Null` type was seen, so that any kind may follow.
    pub(crate) fn is_undecided(&self) -> bool {
        matches!(self, Self::Other { data_type, .. } if data_type == UNDECIDED)
    }

    /// Whether values of the kind `kind` may be added; an undecided side goes with every kind.
    pub(crate) fn check(&self, name: &str, kind: ColumnKind, undecided: bool) -> Result<(), MonitoringError> {
        if self.kind() == kind || undecided || self.is_undecided() {
            return Ok(());
        }
        Err(MonitoringError::KindChanged { column: name.to_owned(), was: self.kind().as_str(), is: kind.as_str() })
    }

    /// Adds values that [`Self::check`] let pass.
    pub(crate) fn take(&mut self, reading: Reading) {
        if self.is_undecided() {
            *self = Self::of(reading);
            return;
        }
        match (self, reading) {
            (Self::Numeric(column), Reading::Numbers(values)) => column.take(values.iter().flatten()),
            (Self::Categorical(column), Reading::Texts(texts)) => take_texts(column, &texts),
            (Self::Other { count, .. }, Reading::Other { present, .. }) => *count += present,
            // What is left is an undecided reading: there is nothing in it.
            (_, _) => {}
        }
    }

    /// Adds a column that [`Self::check`] let pass.
    pub(crate) fn merge(&mut self, other: &Self) {
        if self.is_undecided() {
            *self = other.clone();
            return;
        }
        match (self, other) {
            (Self::Numeric(column), Self::Numeric(other)) => column.merge(other),
            (Self::Categorical(column), Self::Categorical(other)) => column.merge(other),
            (Self::Other { count, .. }, Self::Other { count: more, .. }) => *count += more,
            (_, _) => {}
        }
    }

    /// A column that holds only `reading`.
    pub(crate) fn of(reading: Reading) -> Self {
        match reading {
            Reading::Numbers(values) => {
                let mut column = NumericColumn::default();
                column.take(values.iter().flatten());
                Self::Numeric(column)
            }
            Reading::Texts(texts) => {
                let mut column = CategoricalColumn::default();
                take_texts(&mut column, &texts);
                Self::Categorical(column)
            }
            Reading::Other { data_type, present } => Self::Other { data_type, count: present },
        }
    }
}

fn take_texts(column: &mut CategoricalColumn, texts: &Texts) {
    match texts {
        Texts::Plain(values) => values.iter().flatten().for_each(|value| column.take(value, 1)),
        Texts::Counted(counted) => counted.iter().for_each(|(value, rows)| column.take(value, *rows)),
    }
}
