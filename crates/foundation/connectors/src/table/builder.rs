use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::datatypes::SchemaRef;

use crate::ConnectorError;
use crate::cell::Cell;
use crate::column::{ColumnBuilder, Unfit};

use super::{Batch, BatchSender, Misfit, MisfitCounter};

/// A batch is closed when its values take about this many bytes, however few its rows are.
const BATCH_BYTES: usize = 32 << 20;

/// Makes batches of rows.
pub(crate) struct TableBuilder {
    schema: SchemaRef,
    columns: Vec<ColumnBuilder>,
    misfits: Vec<Misfit>,
    unfit: Vec<Unfit>,
    counter: MisfitCounter,
    batch_rows: usize,
    rows: usize,
    bytes: usize,
    /// Rows of all batches.
    row: u64,
}

impl TableBuilder {
    pub(crate) fn new(schema: &SchemaRef, batch_rows: usize, counter: MisfitCounter) -> Result<Self, ConnectorError> {
        let columns = schema.fields().iter().map(|field| ColumnBuilder::new(field)).collect::<Result<_, _>>()?;
        Ok(Self {
            schema: SchemaRef::clone(schema),
            columns,
            misfits: Vec::new(),
            unfit: Vec::new(),
            counter,
            batch_rows: batch_rows.max(1),
            rows: 0,
            bytes: 0,
            row: 0,
        })
    }

    /// Appends a row with one cell for each column.
    pub(crate) fn push<'a>(&mut self, cells: impl Iterator<Item = Cell<'a>>) -> Result<(), ConnectorError> {
        for (column, cell) in self.columns.iter_mut().zip(cells) {
            self.bytes += cell.weight();
            column.push(cell, &mut self.unfit);
        }
        self.end_row()
    }

    /// Appends a document, whose fields are the columns.
    pub(crate) fn push_document(&mut self, cell: Cell<'_>) -> Result<(), ConnectorError> {
        self.bytes += cell.weight();
        let cells = match cell {
            Cell::Struct(fields) => crate::column::arrange(self.schema.fields(), fields, "", &mut self.unfit),
            other => {
                let reason = "the item is not a document".to_owned();
                self.unfit.push(Unfit { column: String::new(), value: other.shown(), reason });
                vec![Cell::Null; self.columns.len()]
            }
        };
        for (column, cell) in self.columns.iter_mut().zip(cells) {
            column.push(cell, &mut self.unfit);
        }
        self.end_row()
    }

    fn end_row(&mut self) -> Result<(), ConnectorError> {
        self.rows += 1;
        self.row += 1;
        for (place, Unfit { column, value, reason }) in self.unfit.drain(..).enumerate() {
            let misfit = Misfit { row: self.row, column, value, reason };
            if place == 0 {
                self.counter.count(&misfit)?;
            }
            self.bytes += size_of::<Misfit>() + misfit.column.len() + misfit.value.len() + misfit.reason.len();
            self.misfits.push(misfit);
        }
        Ok(())
    }

    /// Hands the batch over when it is full; `false` when nobody reads any more.
    pub(crate) async fn send_full(&mut self, sender: &BatchSender) -> Result<bool, ConnectorError> {
        if self.rows < self.batch_rows && self.bytes < BATCH_BYTES {
            return Ok(true);
        }
        let batch = self.finish()?;
        Ok(sender.send(batch).await.is_ok())
    }

    /// Hands the last rows over.
    pub(crate) async fn send_rest(mut self, sender: &BatchSender) -> Result<(), ConnectorError> {
        if self.rows > 0 {
            let batch = self.finish()?;
            // A reader that has gone needs no rows.
            let _ = sender.send(batch).await;
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<Batch, ConnectorError> {
        let arrays = self.columns.iter_mut().map(ColumnBuilder::finish).collect::<Result<Vec<_>, _>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(self.rows));
        let records = RecordBatch::try_new_with_options(SchemaRef::clone(&self.schema), arrays, &options)?;
        (self.rows, self.bytes) = (0, 0);
        Ok(Batch { records, misfits: std::mem::take(&mut self.misfits) })
    }
}
