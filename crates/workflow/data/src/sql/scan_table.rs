use std::ops::Range;
use std::sync::Arc;

use arrow::array::{RecordBatch, UInt64Array};
use arrow::compute::take_record_batch;
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::DataFusionError;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::{Expr, TableType};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::stream::RecordBatchReceiverStream;
use datafusion::physical_plan::streaming::{PartitionStream, StreamingTableExec};
use ropewalk_ingest::FileScan;

use super::session::Order;

/// Batches that wait to be asked for.
const QUEUE: usize = 2;

/// Files that are read as an import reads them, as a table.
#[derive(Debug)]
pub(crate) struct ScanTable {
    scan: Arc<FileScan>,
    order: Order,
}

impl ScanTable {
    pub(crate) fn new(scan: Arc<FileScan>, order: Order) -> Self {
        Self { scan, order }
    }

    /// Which files are read one after the other, at the same time as others.
    fn ranges(&self) -> Vec<Range<usize>> {
        let parts = self.scan.parts();
        let each = match self.order {
            Order::Fixed => parts,
            Order::Free(partitions) => parts.div_ceil(partitions.get()),
        };
        let each = each.max(1);
        (0..parts.max(1)).step_by(each).map(|from| from..(from + each).min(parts)).collect()
    }
}

#[async_trait]
impl TableProvider for ScanTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(self.scan.schema())
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        _state: &dyn Session,
        projection: Option<&Vec<usize>>,
        _filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>, DataFusionError> {
        let partition =
            |parts| -> Arc<dyn PartitionStream> { Arc::new(Partition { scan: Arc::clone(&self.scan), parts }) };
        let partitions = self.ranges().into_iter().map(partition).collect();
        let nothing = std::iter::empty();
        let plan = StreamingTableExec::try_new(self.schema(), partitions, projection, nothing, false, limit)?;
        Ok(Arc::new(plan))
    }
}

/// Some of the files, one after the other.
#[derive(Debug)]
struct Partition {
    scan: Arc<FileScan>,
    parts: Range<usize>,
}

impl PartitionStream for Partition {
    fn schema(&self) -> &SchemaRef {
        self.scan.schema()
    }

    fn execute(&self, context: Arc<TaskContext>) -> SendableRecordBatchStream {
        let rows = context.session_config().batch_size();
        let mut builder = RecordBatchReceiverStream::builder(Arc::clone(self.scan.schema()), QUEUE);
        let (sender, scan, parts) = (builder.tx(), Arc::clone(&self.scan), self.parts.clone());
        builder.spawn_blocking(move || {
            let mut wanted = true;
            for part in parts {
                let read = scan.read(part, &mut |batch| {
                    wanted = cut(batch, rows).into_iter().all(|batch| sender.blocking_send(batch).is_ok());
                    wanted
                });
                read.map_err(|error| DataFusionError::External(Box::new(Arc::new(error))))?;
                if !wanted {
                    break;
                }
            }
            Ok(())
        });
        builder.build()
    }
}

/// The batch in pieces of at most `rows` rows, each with bytes of its own: a slice holds those of the whole.
fn cut(batch: RecordBatch, rows: usize) -> Vec<Result<RecordBatch, DataFusionError>> {
    let all = batch.num_rows();
    if all <= rows {
        return vec![Ok(batch)];
    }
    let pieces = (0..all).step_by(rows.max(1)).map(|from| {
        let places = UInt64Array::from_iter_values(from as u64..(from + rows).min(all) as u64);
        take_record_batch(&batch, &places).map_err(DataFusionError::from)
    });
    pieces.collect()
}
