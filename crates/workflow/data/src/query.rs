use futures::future::BoxFuture;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow::util::pretty::pretty_format_batches_with_schema;
use datafusion::common::TableReference;
use datafusion::datasource::MemTable;
use futures::StreamExt as _;
use ropewalk_store::Store;
use ropewalk_types::Digest;

use crate::DataError;
use crate::scratch::Scratch;
use crate::sql::{Order, PartsTable, Translation, select_plan, session};
use crate::table::{plain_batch, plain_schema};

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
    /// Rows of the answer; a longer one is an error.
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

/// Answers one SELECT over dataset versions and tables in memory, on several cores; it can only read.
///
/// An `extra` table without a batch has no schema, and so is no table.
pub fn query<'a>(
    sql: &'a str,
    tables: &'a [NamedTable],
    extra: &'a [(String, Vec<RecordBatch>)],
    store: &'a Store,
    limits: &'a QueryLimits,
) -> BoxFuture<'a, Result<QueryResult, DataError>> {
    Box::pin(async move {
        let scratch = Scratch::new(&limits.scratch)?;
        let order = Order::Free(limits.parallelism);
        let session = session(order, limits.memory_limit, scratch.path())?;
        let translation = Translation { memory_limit: limits.memory_limit };
        let says = |error| translation.error(&error);
        for table in tables {
            let parts = PartsTable::open(store, &table.tree, order).await?;
            session.register_table(TableReference::bare(table.name.as_str()), Arc::new(parts)).map_err(says)?;
        }
        for (name, batches) in extra {
            let Some(first) = batches.first() else { continue };
            let table = MemTable::try_new(first.schema(), vec![batches.clone()]).map_err(says)?;
            session.register_table(TableReference::bare(name.as_str()), Arc::new(table)).map_err(says)?;
        }
        let plan = select_plan(&session, sql, translation).await?;
        let schema = plain_schema(plan.schema().as_arrow());
        let frame = session.execute_logical_plan(plan).await.map_err(says)?;
        let mut stream = frame.execute_stream().await.map_err(says)?;
        let (mut batches, mut rows) = (Vec::new(), 0);
        while let Some(batch) = stream.next().await {
            let batch = batch.map_err(says)?;
            rows += batch.num_rows();
            if rows > limits.rows {
                return Err(DataError::TooManyRows { limit: limits.rows });
            }
            batches.push(plain_batch(&batch)?);
        }
        Ok(QueryResult { schema, batches })
    })
}

impl QueryResult {
    /// How many rows the answer has.
    pub fn rows(&self) -> usize {
        self.batches.iter().map(RecordBatch::num_rows).sum()
    }

    /// The answer as a table for a terminal.
    pub fn format_table(&self) -> Result<String, DataError> {
        let table = pretty_format_batches_with_schema(Arc::clone(&self.schema), &self.batches);
        Ok(table.map_err(DataError::arrow("draw a table"))?.to_string())
    }

    /// The answer as CSV with a header (RFC 4180); a null is an empty field.
    pub fn write_csv(&self) -> Result<Vec<u8>, DataError> {
        let mut writer = arrow::csv::WriterBuilder::new().with_header(true).build(Vec::new());
        let header = RecordBatch::new_empty(Arc::clone(&self.schema));
        for batch in std::iter::once(&header).chain(&self.batches) {
            writer.write(batch).map_err(DataError::arrow("write CSV"))?;
        }
        Ok(writer.into_inner())
    }

    /// The answer as a JSON array of objects, one for each row, with nulls.
    pub fn write_json(&self) -> Result<Vec<u8>, DataError> {
        let builder = arrow::json::WriterBuilder::new().with_explicit_nulls(true);
        let mut writer = builder.build::<_, arrow::json::writer::JsonArray>(Vec::new());
        for batch in &self.batches {
            writer.write(batch).map_err(DataError::arrow("write JSON"))?;
        }
        writer.finish().map_err(DataError::arrow("write JSON"))?;
        let bytes = writer.into_inner();
        // Arrow writes nothing at all when it saw no batch.
        Ok(if bytes.is_empty() { b"[]".to_vec() } else { bytes })
    }
}
