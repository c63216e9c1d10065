use hessboost::error::HessboostError;
use ropewalk_inference::InferenceError;
use ropewalk_types::Diagnose;

use crate::Part;

/// Why no model was made.
#[derive(Debug, thiserror::Error)]
pub enum TrainingError {
    /// A setting is out of its bounds.
    #[error("`{parameter}` is {value}, expected {expected}")]
    Parameter {
        /// The setting, as it is written in the project file.
        parameter: &'static str,
        /// What was given.
        value: String,
        /// What is allowed.
        expected: &'static str,
    },
    /// The table has no row.
    #[error("the table has no row to train on")]
    EmptyTable,
    /// Two batches of the table differ in their columns.
    #[error("batch {batch} of the table has other columns or types than the first")]
    UnlikeBatches {
        /// The first batch that differs, counted from 0.
        batch: usize,
    },
    /// A column that the settings name is not there.
    #[error("the table has no column `{column}` ({role}); it has {available}")]
    MissingColumn {
        /// The column asked for.
        column: String,
        /// What it was wanted for.
        role: &'static str,
        /// The columns that are there.
        available: String,
    },
    /// A column cannot be a feature because of its name.
    #[error("column `{column}` cannot be an input of the model: {reason}")]
    ColumnName {
        /// The column.
        column: String,
        /// Why not.
        reason: &'static str,
    },
    /// A feature is neither a number nor a string.
    #[error("column `{column}` is of type {data_type}, which is neither a number nor a string")]
    UnsupportedType {
        /// The column.
        column: String,
        /// Its Arrow type.
        data_type: String,
    },
    /// A feature has no value in the training part.
    #[error("column `{column}` has no value in any row of the training part")]
    AllNull {
        /// The column.
        column: String,
    },
    /// A string column has too many different values to be a category.
    #[error("column `{column}` has {distinct} different values, the limit for a category is {limit}")]
    TooManyCategories {
        /// The column.
        column: String,
        /// Different values in the training part.
        distinct: usize,
        /// The most that are allowed.
        limit: usize,
    },
    /// A number that 32-bit floating point cannot hold.
    #[error("column `{column}`, row {row}: {value} is not a finite 32-bit number")]
    NotFinite {
        /// The column.
        column: String,
        /// The row, counted from 1.
        row: usize,
        /// The number.
        value: f64,
    },
    /// A target that is neither 0 nor 1.
    #[error("target `{column}`, row {row}: expected 0 or 1, found {value}")]
    Target {
        /// The column.
        column: String,
        /// The row, counted from 1.
        row: usize,
        /// What stands there.
        value: String,
    },
    /// A row that belongs to no part.
    #[error("split `{column}`, row {row}: expected `train`, `validation` or `test`, found {value}")]
    Split {
        /// The column.
        column: String,
        /// The row, counted from 1.
        row: usize,
        /// What stands there.
        value: String,
    },
    /// A part that is needed has no row.
    #[error("no row belongs to the {part} part")]
    EmptyPart {
        /// The part.
        part: Part,
    },
    /// A part in which every row has the same target: nothing can be learned from or measured on it.
    #[error("every row of the {part} part has the target {class}")]
    OneClass {
        /// The part.
        part: Part,
        /// The only value met.
        class: u8,
    },
    /// No column is left to learn from.
    #[error("no feature is left: every column is the target, the split or ignored")]
    NoFeatures,
    /// The caller asked to stop.
    #[error("training was stopped after {iterations} iterations")]
    Stopped {
        /// Iterations that had been done.
        iterations: u32,
    },
    /// The boosting library refused its input.
    #[error("gradient boosting failed: {0}")]
    Boosting(#[from] HessboostError),
    /// The exported model could not be loaded or evaluated.
    #[error("the exported model cannot be evaluated: {0}")]
    Export(#[from] InferenceError),
    /// The exported model gives no probability.
    #[error("the exported model gave {found} probabilities for {rows} rows")]
    ExportShape {
        /// Rows asked.
        rows: usize,
        /// Numbers answered.
        found: usize,
    },
    /// The exported model does not give the trainer's predictions.
    #[error(
        "the exported model differs from the trainer by {difference:e} in engine `{engine}`, the limit is {limit:e}"
    )]
    ExportDiffers {
        /// Largest absolute difference of two probabilities.
        difference: f64,
        /// Largest difference allowed.
        limit: f64,
        /// The engine that was asked.
        engine: &'static str,
    },
    /// A column could not be converted.
    #[error("column `{column}` cannot be read: {source}")]
    Arrow {
        /// The column.
        column: String,
        /// What Arrow says.
        source: arrow::error::ArrowError,
    },
}

impl Diagnose for TrainingError {
    fn code(&self) -> &'static str {
        match self {
            Self::Parameter { .. } => "training.parameter",
            Self::EmptyTable => "training.empty_table",
            Self::UnlikeBatches { .. } => "training.unlike_batches",
            Self::MissingColumn { .. } => "training.missing_column",
            Self::ColumnName { .. } => "training.column_name",
            Self::UnsupportedType { .. } => "training.unsupported_type",
            Self::AllNull { .. } => "training.all_null",
            Self::TooManyCategories { .. } => "training.too_many_categories",
            Self::NotFinite { .. } => "training.not_finite",
            Self::Target { .. } => "training.target",
            Self::Split { .. } => "training.split",
            Self::EmptyPart { .. } => "training.empty_part",
            Self::OneClass { .. } => "training.one_class",
            Self::NoFeatures => "training.no_features",
            Self::Stopped { .. } => "training.stopped",
            Self::Boosting(_) => "training.boosting",
            Self::Export(_) | Self::ExportShape { .. } => "training.export",
            Self::ExportDiffers { .. } => "training.export_differs",
            Self::Arrow { .. } => "training.arrow",
        }
    }

    fn hint(&self) -> Option<String> {
        let text = match self {
            Self::Parameter { parameter, expected, .. } => format!("set `{parameter}` to {expected}"),
            Self::EmptyTable => "look at the rows of the stage before, for example with `ropewalk sql`".to_owned(),
            Self::MissingColumn { .. } => "correct the name, or add the column to the query".to_owned(),
            Self::ColumnName { .. } => "rename the column in the query".to_owned(),
            Self::UnsupportedType { column, .. } => {
                format!("turn `{column}` into numbers or strings in the query, or list it under `ignore`")
            }
            Self::AllNull { column } => format!("list `{column}` under `ignore`, or look at where it comes from"),
            Self::TooManyCategories { column, .. } => {
                format!("list `{column}` under `ignore` if it is a key, or group its values in the query")
            }
            Self::NotFinite { column, .. } => format!("make it null, or bound `{column}`, in the query"),
            Self::Target { .. } => "make the target 0 or 1 in the query, and leave out rows without one".to_owned(),
            Self::Split { .. } => "give every row one of the three words in the query".to_owned(),
            Self::EmptyPart { part: Part::Validation } => {
                "give some rows to it, or set `early_stopping_rounds` to 0".to_owned()
            }
            Self::EmptyPart { .. } => "look at the split column of the query".to_owned(),
            Self::OneClass { .. } => "look at the target and the split of the query".to_owned(),
            Self::NoFeatures => "take columns out of `ignore`, or add some to the query".to_owned(),
            Self::Export(_) | Self::ExportShape { .. } | Self::ExportDiffers { .. } => {
                "this is a defect of Ropewalk: please report it with the settings and the types of the columns"
                    .to_owned()
            }
            Self::UnlikeBatches { .. } | Self::Stopped { .. } | Self::Boosting(_) | Self::Arrow { .. } => return None,
        };
        Some(text)
    }
}
