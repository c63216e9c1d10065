use std::path::PathBuf;

use ropewalk_inference::InferenceError;
use ropewalk_store::files::FileError;
use ropewalk_types::Diagnose;

/// What can go wrong between a table and its scores.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BatchError {
    /// No column has the name of an input.
    #[error("the model's input `{input}` has no column: there are {}", columns.join(", "))]
    MissingColumn {
        /// The input, or the column that was asked for.
        input: String,
        /// The columns that there are.
        columns: Vec<String>,
    },
    /// The columns are not as many as the model takes.
    #[error("the model's input `{input}` takes {wanted} numbers a row, and {} columns are numbers: {}", columns.len(), columns.join(", "))]
    Width {
        /// The input.
        input: String,
        /// Its width.
        wanted: i64,
        /// The columns that would be it.
        columns: Vec<String>,
    },
    /// A column is of a type from which the input cannot be made.
    #[error("column `{column}` is {found}, and the model's input `{input}` takes {wanted}")]
    ColumnType {
        /// The column.
        column: String,
        /// Its type.
        found: String,
        /// The input.
        input: String,
        /// The type of the input.
        wanted: String,
    },
    /// A value is not exactly one of the input's type.
    #[error("column `{column}`, row {row}: {value} is no {wanted}")]
    Value {
        /// The column.
        column: String,
        /// The row, counted from 1.
        row: u64,
        /// The value as text; `null` for an absent one.
        value: String,
        /// The type of the input.
        wanted: String,
    },
    /// An input that no column can be.
    #[error("the model's input {input} cannot be made of columns")]
    InputShape {
        /// The input with type and shape.
        input: String,
    },
    /// A new column has the name of one that is there.
    #[error("the model's output `{0}` has the name of a column that is kept")]
    TakenName(String),
    /// The model answered something else than one entry for each row.
    #[error("the model's output `{output}` is {found} for {rows} rows: not a fixed number of values for each row")]
    OutputShape {
        /// The output.
        output: String,
        /// Its shape.
        found: String,
        /// Rows that were asked.
        rows: usize,
    },
    /// The model answered text that is no text.
    #[error("the model's output `{output}` is not UTF-8 in row {row}")]
    OutputText {
        /// The output.
        output: String,
        /// The row, counted from 1.
        row: u64,
    },
    /// The model could not answer.
    #[error("rows {first} to {last} cannot be scored: {problem}")]
    Model {
        /// The first row of the batch, counted from 1.
        first: u64,
        /// The last one.
        last: u64,
        /// What the engine says.
        problem: InferenceError,
    },
    /// A file of a kind that is not read or written.
    #[error("{} has no ending of a table that can be {verb}", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// `read` or `written`.
        verb: &'static str,
    },
    /// A place holds no table.
    #[error("there is no table at {}", .0.display())]
    NoInput(PathBuf),
    /// Inputs and outputs do not go together.
    #[error("{what}")]
    Places {
        /// What is wrong.
        what: String,
        /// What to do.
        hint: String,
    },
    /// A file is damaged, or cannot be written.
    #[error("cannot {action} {}: {reason}", path.display())]
    Table {
        /// What was being done.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
    /// Tables that go into one file have other columns.
    #[error("{} has other columns than {}", other.display(), first.display())]
    OtherColumns {
        /// The first file.
        first: PathBuf,
        /// The one that differs.
        other: PathBuf,
    },
    /// A file was written while it was read.
    #[error("{} was changed while it was read", .0.display())]
    Changed(PathBuf),
    /// Arrow refused; that would be our own mistake.
    #[error("cannot put the scores beside the rows: {0}")]
    Arrow(String),
    /// A thread ended before its work did.
    #[error("a thread that scores broke; what it was about to say is above")]
    Broken,
    /// It was told to stop.
    #[error("scoring was stopped")]
    Stopped,
    /// The disk refused.
    #[error(transparent)]
    File(#[from] FileError),
}

impl Diagnose for BatchError {
    fn code(&self) -> &'static str {
        match self {
            Self::MissingColumn { .. } => "batch.missing_column",
            Self::Width { .. } => "batch.width",
            Self::ColumnType { .. } => "batch.column_type",
            Self::Value { .. } => "batch.value",
            Self::InputShape { .. } => "batch.input_shape",
            Self::TakenName(_) => "batch.taken_name",
            Self::OutputShape { .. } => "batch.output_shape",
            Self::OutputText { .. } => "batch.output_text",
            Self::Model { .. } => "batch.model",
            Self::Format { .. } => "batch.format",
            Self::NoInput(_) => "batch.no_input",
            Self::Places { .. } => "batch.places",
            Self::Table { .. } => "batch.table",
            Self::OtherColumns { .. } => "batch.other_columns",
            Self::Changed(_) => "batch.changed",
            Self::Arrow(_) => "batch.arrow",
            Self::Broken => "batch.broken",
            Self::Stopped => "batch.stopped",
            Self::File(error) => error.code(),
        }
    }

    fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::MissingColumn { .. } => "rename a column in SQL before, or say with `columns` which are the input's",
            Self::Width { .. } => "say with `columns` which are the input's, in the model's order",
            Self::ColumnType { .. } | Self::Value { .. } => "cast the column, or fill it, before it is scored",
            Self::InputShape { .. } => "only one value or one vector for each row is made of columns",
            Self::TakenName(_) => "keep other columns, or give what is new a prefix",
            Self::OutputShape { .. } => "such an output has no place in a table",
            Self::Format { verb: "read", .. } => {
                "use .parquet, .csv, .tsv, .ndjson, .jsonl, .arrow, .feather or .arrows"
            }
            Self::Format { .. } => "write .parquet, or name a folder",
            Self::NoInput(_) => "name a file, a folder with tables in it, or FOLDER/*.parquet",
            Self::Places { hint, .. } => return Some(hint.clone()),
            Self::OtherColumns { .. } => "write to a folder: then each file has an output of its own",
            Self::Changed(_) => "score it again when nobody writes to it",
            Self::Model { problem, .. } => return problem.hint(),
            Self::File(error) => return error.hint(),
            _ => return None,
        };
        Some(hint.to_owned())
    }
}
