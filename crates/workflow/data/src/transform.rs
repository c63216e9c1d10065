use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::compute::BatchCoalescer;
use arrow::datatypes::SchemaRef;
use datafusion::logical_expr::LogicalPlan;
use futures::future::BoxFuture;
use ropewalk_ingest::{Column, Scratch, TableWriter, WrittenTable, blocking, publish};
use ropewalk_store::Store;
use ropewalk_types::Digest;
use tokio::sync::mpsc;

use crate::DataError;
use crate::query::{Planned, QueryTables, Refuse, TableSource, planned};
use crate::sql::{Joins, Order, Room, Running};
use crate::table::plain_schema;

/// Batches are cut anew before they are written, so that pages do not depend on how operators cut them. It divides the rows
/// of a part, so that parts end exactly there.
const WRITE_ROWS: usize = 8192;
const QUEUE: usize = 4;

/// How a transformation may run.
#[derive(Clone, Debug)]
pub struct TransformSettings {
    /// Bytes that joins, sorts and groups may hold before they spill to disk; a join that needs more is made again as
    /// a sort-merge join. What spills decides the order of rows that no ORDER BY orders: give the same limit to get the
    /// same bytes.
    pub memory_limit: usize,
    /// Directory for files of this run, removed when it ends.
    pub scratch: PathBuf,
}

impl TransformSettings {
    /// One gibibyte of memory.
    pub fn new(scratch: impl Into<PathBuf>) -> Self {
        Self { memory_limit: 1 << 30, scratch: scratch.into() }
    }
}

/// A dataset version that SQL made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transformed {
    /// Digest of its tree: the version.
    pub tree: Digest,
    /// How many rows it has.
    pub rows: u64,
    /// Its columns, in order.
    pub columns: Vec<Column>,
    /// Bytes of its files.
    pub bytes: u64,
}

/// Runs one SELECT over dataset versions, each a table by its name, and keeps the result as a dataset version.
///
/// The same SQL over the same inputs gives the same bytes (docs/adr/003-deterministic-sql.md): one partition, and
/// functions such as `random()` and `now()` are refused.
pub fn transform<'a>(
    sql: &'a str,
    inputs: &'a BTreeMap<String, Digest>,
    store: &'a Store,
    settings: &'a TransformSettings,
) -> BoxFuture<'a, Result<Transformed, DataError>> {
    Box::pin(async move {
        let scratch = Arc::new(Scratch::new(&settings.scratch)?);
        let path = scratch.path().to_owned();
        let room = Room { order: Order::Fixed, memory_limit: settings.memory_limit, scratch: &path };
        let mut tables = QueryTables::default();
        for (name, tree) in inputs {
            tables.insert(name.clone(), TableSource::Version(*tree));
        }
        let Planned { plan, .. } = planned(sql, &tables, store, room, Refuse::Changing).await?;
        unique_names(&plain_schema(plan.schema().as_arrow()))?;
        let mut joins = Joins::Hash;
        let written = loop {
            match written(&plan, room, joins, &scratch).await {
                Ok(written) => break written,
                // What was written goes with its scratch files.
                Err(error) => joins = joins.after(&error).ok_or(error)?,
            }
        };
        let mut blobs = Vec::with_capacity(written.parts.len());
        for part in &written.parts {
            blobs.push(store.put_file(part.path()).await?);
        }
        let (tree, bytes) = publish(store, &blobs, None, &written.report).await?;
        let columns = written.report.columns;
        let columns = columns.into_iter().map(|column| Column { name: column.name, data_type: column.data_type });
        Ok(Transformed { tree, rows: written.report.rows, columns: columns.collect(), bytes })
    })
}

/// Refuses columns of one name, which a table that is kept cannot have.
pub(crate) fn unique_names(schema: &SchemaRef) -> Result<(), DataError> {
    let mut names = BTreeSet::new();
    match schema.fields().iter().find(|field| !names.insert(field.name().as_str())) {
        None => Ok(()),
        Some(field) => Err(DataError::Sql {
            message: format!("two columns of the result are called `{}`", field.name()),
            place: None,
            suggestion: Some(format!("name one of them: … AS {}_2", field.name())),
        }),
    }
}

/// Encodes what the query answers on another thread, some batches behind.
async fn written(
    plan: &LogicalPlan,
    room: Room<'_>,
    joins: Joins,
    scratch: &Arc<Scratch>,
) -> Result<WrittenTable, DataError> {
    let mut running = Running::start_with(plan, room, joins).await?;
    let (sender, receiver) = mpsc::channel(QUEUE);
    let (schema, scratch) = (Arc::clone(running.schema()), Arc::clone(scratch));
    let writer = blocking(move || write_parts(receiver, schema, &scratch));
    let feed = async move {
        while let Some(batch) = running.next().await? {
            if sender.send(batch).await.is_err() {
                break;
            }
        }
        Ok(())
    };
    let (fed, written): (Result<(), DataError>, _) = futures::join!(feed, writer);
    fed?;
    written
}

fn write_parts(
    mut batches: mpsc::Receiver<RecordBatch>,
    schema: SchemaRef,
    scratch: &Scratch,
) -> Result<WrittenTable, DataError> {
    let mut parts = TableWriter::new(Arc::clone(&schema), scratch);
    let mut coalescer = BatchCoalescer::new(schema, WRITE_ROWS);
    let says = || DataError::arrow("cut a result into batches");
    while let Some(batch) = batches.blocking_recv() {
        coalescer.push_batch(batch).map_err(says())?;
        while let Some(batch) = coalescer.next_completed_batch() {
            parts.write(&batch)?;
        }
    }
    coalescer.finish_buffered_batch().map_err(says())?;
    while let Some(batch) = coalescer.next_completed_batch() {
        parts.write(&batch)?;
    }
    Ok(parts.finish()?)
}
