//! From files to files.

mod output;
mod read;
mod task;

use std::path::PathBuf;
use std::sync::Arc;

use ropewalk_inference::Model;
use ropewalk_types::Digest;
use serde::Serialize;
use serde_json::json;

use crate::{BatchError, ColumnChoice, Progress, Rounded, Scorer, score};
use output::Output;
pub use read::{TableFile, TableFormat, batches};
pub use task::{FileTask, tasks};

/// The key of a Parquet file's metadata that holds the digest of the model.
pub const MODEL_KEY: &str = "ropewalk.model";
/// The key of a Parquet file's metadata that holds the digest of the input.
pub const INPUT_KEY: &str = "ropewalk.input";
/// The key of a Parquet file's metadata that holds the digest of how it was scored.
const SETTINGS_KEY: &str = "ropewalk.settings";

/// Raised when the same model and input give another file.
const REVISION: u32 = 1;

/// How files are scored.
#[derive(Clone, Debug)]
pub struct ScoreSettings {
    /// Which columns are the inputs.
    pub choice: ColumnChoice,
    /// The columns that stay beside the scores; none for all.
    pub kept: Option<Vec<String>>,
    /// What the names of the outputs begin with.
    pub prefix: String,
    /// Rows of a batch.
    pub batch_rows: usize,
    /// Threads that score.
    pub workers: usize,
    /// Whether files are made again that are there already, of the same model and input.
    pub again: bool,
}

impl ScoreSettings {
    /// What of it decides what comes out.
    fn digest(&self) -> Digest {
        Digest::of_json(&json!({
            "revision": REVISION, "columns": self.choice.columns, "kept": self.kept, "prefix": self.prefix,
        }))
    }
}

/// What became of one output.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ScoredFile {
    /// The tables that were read.
    pub inputs: Vec<PathBuf>,
    /// The file.
    pub output: PathBuf,
    /// Its rows.
    pub rows: u64,
    /// Its bytes.
    pub bytes: u64,
    /// Digest of what was read.
    pub input: Digest,
    /// Whether it was there already, made by the same model of the same input.
    pub known: bool,
    /// How many values of each column were rounded on their way into the model.
    pub rounded: Rounded,
}

/// Scores the tables of one task into its output, which appears when it is whole. Blocks.
///
/// `digest` is that of the model: an output that says that it was made of it and of the same input is left as it is.
///
/// # Errors
/// What keeps a table from being read, scored or written; the output is then what it was before.
pub fn score_files(
    task: &FileTask,
    model: &Arc<dyn Model>,
    digest: &Digest,
    settings: &ScoreSettings,
    progress: &dyn Progress,
) -> Result<ScoredFile, BatchError> {
    let tables = task.inputs.iter().map(|path| TableFile::open(path)).collect::<Result<Vec<_>, _>>()?;
    let input = input_digest(&tables)?;
    let facts = [
        (MODEL_KEY, digest.to_string()),
        (INPUT_KEY, input.to_string()),
        (SETTINGS_KEY, settings.digest().to_string()),
    ];
    let inputs = task.inputs.clone();
    if !settings.again
        && let Some((rows, bytes)) = output::known(&task.output, &facts)?
    {
        let output = task.output.clone();
        return Ok(ScoredFile { inputs, output, rows, bytes, input, known: true, rounded: Rounded::new() });
    }
    let schema = same_schema(&tables)?;
    let kept = settings.kept.as_deref();
    let scorer = Scorer::new(Arc::clone(model), &schema, &settings.choice, kept, &settings.prefix)?;
    let batches = read::batches(&tables, settings.batch_rows);
    let mut output = Output::new(&task.output, &facts);
    let (rows, rounded) = score(batches, &scorer, settings.workers, progress, |batch| output.write(batch))?;
    if rows == 0 {
        output.write(&scorer.empty(&schema)?.batch)?;
    }
    // What was read must be what its digest names.
    tables.iter().try_for_each(TableFile::unchanged)?;
    let bytes = output.commit()?;
    Ok(ScoredFile { inputs, output: task.output.clone(), rows, bytes, input, known: false, rounded })
}

/// Of one file the digest of its bytes; of several the digest of theirs, in their order.
fn input_digest(tables: &[TableFile]) -> Result<Digest, BatchError> {
    let digests = tables.iter().map(TableFile::digest).collect::<Result<Vec<_>, _>>()?;
    match digests.as_slice() {
        [one] => Ok(*one),
        several => Ok(Digest::of_json(&json!(several))),
    }
}

fn same_schema(tables: &[TableFile]) -> Result<arrow::datatypes::SchemaRef, BatchError> {
    let Some((first, others)) = tables.split_first() else { return Err(BatchError::NoInput(PathBuf::new())) };
    let schema = first.schema()?;
    for other in others {
        // What a file says beside its columns, such as the index of pandas, may differ.
        if other.schema()?.fields() != schema.fields() {
            let (first, other) = (first.path().to_owned(), other.path().to_owned());
            return Err(BatchError::OtherColumns { first, other });
        }
    }
    Ok(schema)
}

#[cfg(test)]
mod tests;
