use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::compute::BatchCoalescer;
use arrow::datatypes::SchemaRef;
use datafusion::logical_expr::LogicalPlan;
use futures::future::BoxFuture;
use ropewalk_ingest::{
    Column, ColumnReport, IngestError, PartWriter, REPORT_FORMAT, Scratch, TableReport, blocking, publish,
};
use ropewalk_store::Store;
use ropewalk_types::Digest;
use tempfile::NamedTempFile;
use tokio::sync::mpsc;

use crate::DataError;
use crate::query::{Planned, QueryTables, Refuse, TableSource, planned};
use crate::sql::{Joins, Order, Room, Running};
use crate::table::plain_schema;

/// Rows of a part: eight row groups.
const PART_ROWS: usize = 1 << 20;
/// Batches are cut anew before they are written, so that pages do not depend on how operators cut them.
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

struct Written {
    parts: Vec<NamedTempFile>,
    report: TableReport,
}

/// Encodes what the query answers on another thread, some batches behind.
async fn written(
    plan: &LogicalPlan,
    room: Room<'_>,
    joins: Joins,
    scratch: &Arc<Scratch>,
) -> Result<Written, DataError> {
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
) -> Result<Written, DataError> {
    let mut parts = Parts::new(Arc::clone(&schema), scratch);
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
    parts.finish()
}

/// Parts of at most [`PART_ROWS`] rows; a table without rows has one that holds its schema.
struct Parts<'a> {
    schema: SchemaRef,
    scratch: &'a Scratch,
    open: Option<(NamedTempFile, PartWriter, usize)>,
    done: Vec<NamedTempFile>,
    nulls: Vec<u64>,
    rows: u64,
}

impl<'a> Parts<'a> {
    fn new(schema: SchemaRef, scratch: &'a Scratch) -> Self {
        let nulls = vec![0; schema.fields().len()];
        Self { schema, scratch, open: None, done: Vec::new(), nulls, rows: 0 }
    }

    fn begin(&self) -> Result<(NamedTempFile, PartWriter, usize), DataError> {
        let file = self.scratch.file()?;
        let output = file.as_file().try_clone().map_err(IngestError::stream("write a part"))?;
        Ok((file, PartWriter::new(output, &self.schema)?, 0))
    }

    fn write(&mut self, batch: &RecordBatch) -> Result<(), DataError> {
        for (nulls, array) in self.nulls.iter_mut().zip(batch.columns()) {
            *nulls += array.null_count() as u64;
        }
        self.rows += batch.num_rows() as u64;
        let (file, mut writer, rows) = match self.open.take() {
            Some(open) => open,
            None => self.begin()?,
        };
        writer.write(batch)?;
        // Batches are of WRITE_ROWS, which divides PART_ROWS, so parts end exactly there.
        if rows + batch.num_rows() >= PART_ROWS {
            writer.finish()?;
            self.done.push(file);
        } else {
            self.open = Some((file, writer, rows + batch.num_rows()));
        }
        Ok(())
    }

    fn finish(mut self) -> Result<Written, DataError> {
        if self.done.is_empty() && self.open.is_none() {
            self.open = Some(self.begin()?);
        }
        if let Some((file, writer, _)) = self.open.take() {
            writer.finish()?;
            self.done.push(file);
        }
        let columns = self.schema.fields().iter().zip(&self.nulls).map(|(field, nulls)| {
            let Column { name, data_type } = Column::of(field);
            ColumnReport { name, data_type, nulls: *nulls, misfits: 0, notes: Vec::new() }
        });
        let report = TableReport {
            format: REPORT_FORMAT,
            rows: self.rows,
            columns: columns.collect(),
            notes: Vec::new(),
            files: Vec::new(),
            skipped: Vec::new(),
            quarantined: 0,
            empty_rows: 0,
            error_cells: 0,
            kept_files: None,
            origin: None,
        };
        Ok(Written { parts: self.done, report })
    }
}
