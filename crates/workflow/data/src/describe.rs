//! What a table holds, column by column, in one pass and bounded memory.

use std::sync::Arc;

use arrow::array::RecordBatch;
use datafusion::common::TableReference;
use datafusion::logical_expr::LogicalPlan;
use futures::future::BoxFuture;
use ropewalk_ingest::{Scratch, blocking};
use ropewalk_store::Store;
use ropewalk_types::Digest;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use crate::DataError;
use crate::query::{Planned, QueryLimits, QueryTables, Refuse, planned};
use crate::sql::{Joins, Order, PartsTable, Room, Running, session};

mod column;
mod distinct;
mod frequent;
mod histogram;
mod moments;
mod quantiles;
mod value;

use column::ColumnSketch;
pub use distinct::Distinct;
pub use frequent::Frequent;
pub use histogram::Histogram;
pub use quantiles::Quantiles;

/// Batches that wait for a worker.
const QUEUE: usize = 4;
/// Values that all columns together keep exactly, and the bounds of what one column keeps.
const EXACT_VALUES: usize = 4 << 20;
const EXACT_MOST: usize = 16 << 10;
const EXACT_LEAST: usize = 1 << 10;

/// What a table holds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Description {
    /// Its rows.
    pub rows: u64,
    /// Its columns, in order.
    pub columns: Vec<ColumnDescription>,
    /// What a reader should know of the files that were read.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// What one column holds. Figures are JSON numbers, of times and dates they are texts in ISO 8601; the ends of decimals are
/// texts too, with every digit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ColumnDescription {
    /// Its name.
    pub name: String,
    /// Its type, as `ropewalk_ingest::Column` calls it.
    #[serde(rename = "type")]
    pub data_type: String,
    /// Rows without a value.
    pub nulls: u64,
    /// Values that are NaN or infinite; all figures but `distinct` leave them out.
    pub not_finite: u64,
    /// How many different values there are; never more than there are values.
    pub distinct: Distinct,
    /// The smallest value; none for lists and structs.
    pub min: Option<serde_json::Value>,
    /// The largest value.
    pub max: Option<serde_json::Value>,
    /// The mean of numbers, times and dates.
    pub mean: Option<serde_json::Value>,
    /// The standard deviation of numbers, of a sample (divided by n - 1).
    pub standard_deviation: Option<f64>,
    /// The quartiles of numbers, times and dates.
    pub quantiles: Option<Quantiles>,
    /// The most frequent texts or truth values, the most frequent first.
    pub frequent: Option<Frequent>,
    /// How numbers, times and dates are spread.
    pub histogram: Option<Histogram>,
}

/// Describes a dataset version; the same version always gives the same description.
pub fn describe<'a>(
    tree: &'a Digest,
    store: &'a Store,
    limits: &'a QueryLimits,
) -> BoxFuture<'a, Result<Description, DataError>> {
    Box::pin(async move {
        let scratch = Scratch::new(&limits.scratch)?;
        let room = Room { order: Order::Fixed, memory_limit: limits.memory_limit, scratch: scratch.path() };
        let session = session(room.order, room.memory_limit, room.scratch, Joins::Hash)?;
        let table = Arc::new(PartsTable::open(store, tree, room.order).await?);
        let says = |error| room.translation().error(&error);
        session.register_table(TableReference::bare("described"), table).map_err(says)?;
        let table = session.table(TableReference::bare("described")).await.map_err(says)?;
        described(&table.into_unoptimized_plan(), room, limits).await
    })
}

/// Describes the answer to one SELECT; see [`crate::query_stream`] for what it may name.
pub fn describe_query<'a>(
    sql: &'a str,
    tables: &'a QueryTables,
    store: &'a Store,
    limits: &'a QueryLimits,
) -> BoxFuture<'a, Result<Description, DataError>> {
    Box::pin(async move {
        let scratch = Scratch::new(&limits.scratch)?;
        let room = Room { order: Order::Fixed, memory_limit: limits.memory_limit, scratch: scratch.path() };
        let Planned { plan, files } = planned(sql, tables, store, room, Refuse::Writing).await?;
        match described(&plan, room, limits).await {
            Ok(description) => Ok(Description { notes: files.notes(), ..description }),
            Err(error) => Err(files.explained(error).await),
        }
    })
}

/// Feeds the batches to as many workers as there are cores, each with some of the columns.
async fn described(plan: &LogicalPlan, room: Room<'_>, limits: &QueryLimits) -> Result<Description, DataError> {
    let mut running = Running::start(plan, room).await?;
    let schema = Arc::clone(running.schema());
    let count = schema.fields().len();
    let exact = (EXACT_VALUES / count.max(1)).clamp(EXACT_LEAST, EXACT_MOST);
    let workers = limits.parallelism.get().min(count.max(1));
    let mut senders = Vec::with_capacity(workers);
    let mut tasks = Vec::with_capacity(workers);
    for worker in 0..workers {
        let (sender, mut receiver) = mpsc::channel::<RecordBatch>(QUEUE);
        let fields = schema.fields().iter().enumerate().skip(worker).step_by(workers);
        let mut sketches: Vec<(usize, ColumnSketch)> = fields
            .map(|(index, field)| Ok((index, ColumnSketch::new(field, exact)?)))
            .collect::<Result<_, DataError>>()?;
        tasks.push(blocking(move || {
            while let Some(batch) = receiver.blocking_recv() {
                for (index, sketch) in &mut sketches {
                    sketch.update(batch.column(*index))?;
                }
            }
            sketches.into_iter().map(|(index, sketch)| Ok((index, sketch.finish()?))).collect()
        }));
        senders.push(sender);
    }
    let feed = async move {
        let mut rows = 0;
        while let Some(batch) = running.next().await? {
            rows += batch.num_rows() as u64;
            for sender in &senders {
                // A worker that went away has an error to tell.
                let _ = sender.send(batch.clone()).await;
            }
        }
        Ok(rows)
    };
    let (rows, done) = futures::join!(feed, futures::future::join_all(tasks));
    let rows: Result<u64, DataError> = rows;
    let mut columns: Vec<(usize, ColumnDescription)> = Vec::with_capacity(count);
    for part in done {
        let part: Result<Vec<_>, DataError> = part;
        columns.extend(part?);
    }
    columns.sort_by_key(|(index, _)| *index);
    Ok(Description { rows: rows?, columns: columns.into_iter().map(|(_, column)| column).collect(), notes: Vec::new() })
}

#[cfg(test)]
mod tests;
