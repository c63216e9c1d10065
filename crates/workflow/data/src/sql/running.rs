use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::{ExecutionPlan, execute_stream};
use futures::StreamExt as _;

use super::{Joins, Order, Translation, session};
use crate::DataError;
use crate::table::{plain_batch, plain_schema};

/// What a query wrote to disk because its memory did not suffice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Spilled {
    /// Files.
    pub files: u64,
    /// Bytes of them.
    pub bytes: u64,
}

/// Where a query runs and how much it may hold.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Room<'a> {
    pub(crate) order: Order,
    pub(crate) memory_limit: usize,
    pub(crate) scratch: &'a Path,
}

impl Room<'_> {
    pub(crate) fn translation(&self) -> Translation {
        Translation { memory_limit: self.memory_limit }
    }
}

/// A query on its way: its plan, which knows what was spilled, and the batches that it has yet to give.
pub(crate) struct Running {
    schema: SchemaRef,
    plan: Arc<dyn ExecutionPlan>,
    first: Option<RecordBatch>,
    stream: SendableRecordBatchStream,
    translation: Translation,
}

impl std::fmt::Debug for Running {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Running").field("schema", &self.schema).finish_non_exhaustive()
    }
}

impl Running {
    /// Starts a plan and waits for its first batch.
    ///
    /// Joins are hash joins on all cores. Where that is too much for the memory, the plan starts again with sort-merge
    /// joins on one core, in smaller and smaller batches: a hash join cannot spill, and neither can the merge of what
    /// several cores sorted. What cannot spill takes in all of an input before it gives a row, so it fails before there is
    /// a batch.
    pub(crate) async fn start(plan: &LogicalPlan, room: Room<'_>) -> Result<Self, DataError> {
        let mut joins = Joins::Hash;
        loop {
            let order = match (room.order, joins) {
                (Order::Free(_), Joins::SortMerge { .. }) => Order::Free(NonZeroUsize::MIN),
                (order, _) => order,
            };
            match Self::start_with(plan, Room { order, ..room }, joins).await {
                Err(error) => joins = joins.after(&error).ok_or(error)?,
                running => return running,
            }
        }
    }

    /// Starts a plan with one kind of join and waits for its first batch.
    pub(crate) async fn start_with(plan: &LogicalPlan, room: Room<'_>, joins: Joins) -> Result<Self, DataError> {
        let translation = room.translation();
        let says = |error| translation.error(&error);
        let session = session(room.order, room.memory_limit, room.scratch, joins)?;
        let schema = plain_schema(plan.schema().as_arrow());
        let plan = session.state().create_physical_plan(plan).await.map_err(says)?;
        let stream = execute_stream(Arc::clone(&plan), session.task_ctx()).map_err(says)?;
        let mut running = Self { schema, plan, first: None, stream, translation };
        running.first = running.next().await?;
        Ok(running)
    }

    /// The schema of every batch; text is `Utf8`, and any column may be null.
    pub(crate) fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// The next rows; none at the end.
    pub(crate) async fn next(&mut self) -> Result<Option<RecordBatch>, DataError> {
        if let Some(first) = self.first.take() {
            return Ok(Some(first));
        }
        match self.stream.next().await {
            Some(batch) => {
                let batch = batch.map_err(|error| self.translation.error(&error))?;
                plain_batch(&batch, &self.schema).map(Some)
            }
            None => Ok(None),
        }
    }

    /// What was spilled so far.
    pub(crate) fn spilled(&self) -> Spilled {
        let mut spilled = Spilled::default();
        add_spilled(self.plan.as_ref(), &mut spilled);
        spilled
    }
}

fn add_spilled(plan: &dyn ExecutionPlan, spilled: &mut Spilled) {
    if let Some(metrics) = plan.metrics() {
        spilled.files += metrics.spill_count().unwrap_or_default() as u64;
        spilled.bytes += metrics.spilled_bytes().unwrap_or_default() as u64;
    }
    for child in plan.children() {
        add_spilled(child.as_ref(), spilled);
    }
}
