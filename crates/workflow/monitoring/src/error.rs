use ropewalk_types::Diagnose;

/// What can go wrong in monitoring: always something about the data or the settings that were handed in.
#[derive(Debug, thiserror::Error)]
pub enum MonitoringError {
    /// A column changed between numbers and categories from one batch, or profile, to the next.
    #[error("column `{column}` was {was} and is now {is}: its rows cannot be summed up together")]
    KindChanged {
        /// The column.
        column: String,
        /// Kind in the profile so far.
        was: &'static str,
        /// Kind in what was to be added.
        is: &'static str,
    },
    /// Two columns of one batch have the same name.
    #[error("the batch has two columns named `{column}`")]
    DuplicateColumn {
        /// The name.
        column: String,
    },
    /// More columns than a profile may have.
    #[error("the table has {columns} columns, more than the {limit} that a profile may have")]
    TooManyColumns {
        /// Columns found.
        columns: usize,
        /// The limit.
        limit: usize,
    },
    /// Arrow could not read a column as the kind that its type says.
    #[error("column `{column}` cannot be read: {source}")]
    Column {
        /// The column.
        column: String,
        /// Arrow's reason.
        source: arrow::error::ArrowError,
    },
    /// A setting outside of its range.
    #[error("setting `{setting}` is {value}: {rule}")]
    Setting {
        /// The setting's name, with the column where it is a column's.
        setting: String,
        /// What was given.
        value: String,
        /// What would be right.
        rule: &'static str,
    },
    /// A text that is not a profile, or a report, of a format that this version reads.
    #[error("the text is not a {what} that this version reads: {source}")]
    Format {
        /// `profile` or `monitoring report`.
        what: &'static str,
        /// Where and why.
        source: serde_json::Error,
    },
}

impl Diagnose for MonitoringError {
    fn code(&self) -> &'static str {
        match self {
            Self::KindChanged { .. } => "monitoring.kind-changed",
            Self::DuplicateColumn { .. } => "monitoring.duplicate-column",
            Self::TooManyColumns { .. } => "monitoring.too-many-columns",
            Self::Column { .. } => "monitoring.column",
            Self::Setting { .. } => "monitoring.setting",
            Self::Format { .. } => "monitoring.format",
        }
    }

    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::KindChanged { column, .. } => format!("give `{column}` one type in every batch, or profile it apart"),
            Self::DuplicateColumn { column } => format!("rename one of the columns `{column}`"),
            Self::TooManyColumns { .. } => "choose the columns that the model reads".to_owned(),
            Self::Column { column, .. } => format!("cast `{column}` to a number or a text"),
            Self::Setting { rule, .. } => (*rule).to_owned(),
            Self::Format { what, .. } => format!("make the {what} anew with this version"),
        })
    }
}
