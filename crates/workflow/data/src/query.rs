use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use futures::future::BoxFuture;
use ropewalk_ingest::Scratch;
use ropewalk_store::Store;
use ropewalk_types::Digest;

use crate::DataError;
use crate::sql::{Order, Room, Running, Spilled};

mod files;
mod output;
mod planning;
mod read_files;
mod tables;

pub use files::FileAccess;
pub use output::{Answer, AnswerFormat, write_answer};
pub(crate) use planning::{Planned, Refuse, planned};
pub(crate) use read_files::ReadFiles;
pub use tables::{QueryTables, TableSource};

/// A dataset version under the name that SQL has for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedTable {
    /// The table's name.
    pub name: String,
    /// The dataset version.
    pub tree: Digest,
}

/// What a question may cost.
#[derive(Clone, Debug)]
pub struct QueryLimits {
    /// Bytes that joins, sorts and groups may hold before they spill to disk.
    pub memory_limit: usize,
    /// Rows of an answer that is held in memory; a longer one is an error. [`query_stream`] has no such limit.
    pub rows: usize,
    /// How many cores may work on it.
    pub parallelism: NonZeroUsize,
    /// Directory for files of this run, removed when it ends.
    pub scratch: PathBuf,
}

impl QueryLimits {
    /// One gibibyte, a million rows, all cores.
    pub fn new(scratch: impl Into<PathBuf>) -> Self {
        let parallelism = std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
        Self { memory_limit: 1 << 30, rows: 1_000_000, parallelism, scratch: scratch.into() }
    }
}

/// The answer to a question.
#[derive(Clone, Debug)]
pub struct QueryResult {
    /// Its columns.
    pub schema: SchemaRef,
    /// Its rows; without ORDER BY in no promised order.
    pub batches: Vec<RecordBatch>,
}

/// The answer to a question as it comes: never more than a few batches in memory.
#[derive(Debug)]
pub struct QueryStream {
    running: Running,
    files: ReadFiles,
    /// Holds what was spilled until the last batch is read.
    _scratch: Scratch,
}

impl QueryStream {
    /// The columns of every batch.
    pub fn schema(&self) -> &SchemaRef {
        self.running.schema()
    }

    /// The next rows; none at the end.
    pub fn next_batch(&mut self) -> BoxFuture<'_, Result<Option<RecordBatch>, DataError>> {
        Box::pin(async move {
            match self.running.next().await {
                Err(error) => Err(self.files.explained(error).await),
                next => next,
            }
        })
    }

    /// What a reader of the rows so far should know: rows of files that do not fit and were left out, with the reason.
    pub fn notes(&self) -> Vec<String> {
        self.files.notes()
    }

    /// What was spilled to disk so far.
    pub fn spilled(&self) -> Spilled {
        self.running.spilled()
    }
}

/// Begins to answer one SELECT, on several cores; it can only read.
///
/// Tables are those of `tables`, datasets by [`QueryTables::resolve`], and files as `'PATH'` where `tables` allows it, read as an
/// import reads them: the same names, types and rows. The types of long texts are told from their first rows alone, and a
/// value that does not fit them is an error; what is no row at all is left out and in [`QueryStream::notes`].
///
/// Joins, sorts and groups that need more than the limit spill to `limits.scratch`: hash joins become sort-merge joins,
/// sorts with a large LIMIT full sorts.
/// What cannot spill answers [`DataError::Memory`]: window functions over one huge partition, `NOT IN` over a huge
/// list that may hold nulls, and aggregates that collect values (`array_agg`, `median`, several `count(DISTINCT …)`).
pub fn query_stream<'a>(
    sql: &'a str,
    tables: &'a QueryTables,
    store: &'a Store,
    limits: &'a QueryLimits,
) -> BoxFuture<'a, Result<QueryStream, DataError>> {
    Box::pin(async move {
        let scratch = Scratch::new(&limits.scratch)?;
        let order = Order::Free(limits.parallelism);
        let room = Room { order, memory_limit: limits.memory_limit, scratch: scratch.path() };
        let Planned { plan, files } = planned(sql, tables, store, room, Refuse::Writing).await?;
        match Running::start(&plan, room).await {
            Ok(running) => Ok(QueryStream { running, files, _scratch: scratch }),
            Err(error) => Err(files.explained(error).await),
        }
    })
}

/// Answers one SELECT over dataset versions and tables in memory, and holds the answer.
///
/// An `extra` table without a batch has no schema, and so is no table. Errors: [`DataError::TooManyRows`].
pub fn query<'a>(
    sql: &'a str,
    tables: &'a [NamedTable],
    extra: &'a [(String, Vec<RecordBatch>)],
    store: &'a Store,
    limits: &'a QueryLimits,
) -> BoxFuture<'a, Result<QueryResult, DataError>> {
    Box::pin(async move {
        let mut all = QueryTables::default();
        for table in tables {
            all.insert(table.name.clone(), TableSource::Version(table.tree));
        }
        for (name, batches) in extra {
            let Some(first) = batches.first() else { continue };
            all.insert(name.clone(), TableSource::Batches { schema: first.schema(), batches: batches.clone() });
        }
        query_stream(sql, &all, store, limits).await?.collect(limits.rows).await
    })
}

impl QueryStream {
    /// The whole answer, which may have at most `limit` rows.
    pub fn collect(mut self, limit: usize) -> BoxFuture<'static, Result<QueryResult, DataError>> {
        Box::pin(async move {
            let (mut batches, mut rows) = (Vec::new(), 0);
            while let Some(batch) = self.next_batch().await? {
                rows += batch.num_rows();
                if rows > limit {
                    return Err(DataError::TooManyRows { limit });
                }
                batches.push(batch);
            }
            Ok(QueryResult { schema: Arc::clone(self.schema()), batches })
        })
    }
}

impl QueryResult {
    /// How many rows the answer has.
    pub fn rows(&self) -> usize {
        self.batches.iter().map(RecordBatch::num_rows).sum()
    }

    /// The answer as a table for a terminal.
    pub fn format_table(&self) -> Result<String, DataError> {
        output::drawn_table(&self.schema, &self.batches)
    }

    /// The answer as CSV with a header (RFC 4180); a null is an empty field.
    pub fn write_csv(&self) -> Result<Vec<u8>, DataError> {
        self.encode(AnswerFormat::Csv)
    }

    /// The answer as a JSON array of objects, one for each row, with nulls.
    pub fn write_json(&self) -> Result<Vec<u8>, DataError> {
        self.encode(AnswerFormat::Json)
    }

    /// The answer in any form but a table.
    pub fn encode(&self, format: AnswerFormat) -> Result<Vec<u8>, DataError> {
        let mut bytes = Vec::new();
        let mut writer = output::Encoder::new(format, &self.schema, &mut bytes)?;
        for batch in &self.batches {
            writer.write(batch)?;
        }
        writer.finish()?;
        Ok(bytes)
    }
}
