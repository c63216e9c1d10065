//! Batch scoring: the rows of a table go through a model, and what it answers is beside them.
//!
//! A [`Scorer`] knows which columns become which inputs of a model and scores one batch of rows; [`score`] does so for a
//! stream of batches on several threads, in order, with a bounded number of batches in memory; [`score_files`] does it from
//! files to Parquet files that appear whole or not at all, and that are not made again while model and input are the same.
//!
//! This crate opens no socket and resolves no model: it is given one that is loaded. It never guesses: a column that is not
//! there, a value that the model's type cannot hold and an absent value that is no number are errors with column and row.
//! What is rounded is counted.

mod answers;
mod columns;
mod error;
mod files;
mod scorer;
mod stream;

pub use columns::{ColumnChoice, Mapping, Rounded};
pub use error::BatchError;
pub use files::{
    FileTask, INPUT_KEY, MODEL_KEY, ScoreSettings, ScoredFile, TableFile, TableFormat, batches, score_files, tasks,
};
pub use scorer::{Scored, Scorer};
pub use stream::{Progress, score};
