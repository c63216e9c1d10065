use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use tempfile::NamedTempFile;

use crate::{Column, ColumnReport, IngestError, PartWriter, REPORT_FORMAT, Scratch, TableReport};

/// Rows of a part: eight row groups.
const PART_ROWS: usize = 1 << 20;

/// Writes the parts of a table that is made of other tables; one without rows has a part that holds its schema.
///
/// A part ends with the batch that brings it to 1,048,576 rows.
pub struct TableWriter<'a> {
    schema: SchemaRef,
    scratch: &'a Scratch,
    open: Option<(NamedTempFile, PartWriter, usize)>,
    done: Vec<NamedTempFile>,
    nulls: Vec<u64>,
    rows: u64,
}

/// The parts of a table, in their order, and its report; [`publish`](crate::publish) makes a version of them.
#[derive(Debug)]
pub struct WrittenTable {
    /// Files that go when they are dropped.
    pub parts: Vec<NamedTempFile>,
    /// Rows and columns.
    pub report: TableReport,
}

impl<'a> TableWriter<'a> {
    /// A table of these columns, whose files lie in `scratch`.
    pub fn new(schema: SchemaRef, scratch: &'a Scratch) -> Self {
        let nulls = vec![0; schema.fields().len()];
        Self { schema, scratch, open: None, done: Vec::new(), nulls, rows: 0 }
    }

    fn begin(&self) -> Result<(NamedTempFile, PartWriter, usize), IngestError> {
        let file = self.scratch.file()?;
        let output = file.as_file().try_clone().map_err(IngestError::stream("write a part"))?;
        Ok((file, PartWriter::new(output, &self.schema)?, 0))
    }

    /// Adds rows.
    ///
    /// # Errors
    /// They cannot be encoded or written.
    pub fn write(&mut self, batch: &RecordBatch) -> Result<(), IngestError> {
        for (nulls, array) in self.nulls.iter_mut().zip(batch.columns()) {
            *nulls += array.null_count() as u64;
        }
        self.rows += batch.num_rows() as u64;
        let (file, mut writer, rows) = match self.open.take() {
            Some(open) => open,
            None => self.begin()?,
        };
        writer.write(batch)?;
        if rows + batch.num_rows() >= PART_ROWS {
            writer.finish()?;
            self.done.push(file);
        } else {
            self.open = Some((file, writer, rows + batch.num_rows()));
        }
        Ok(())
    }

    /// Ends the last part.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn finish(mut self) -> Result<WrittenTable, IngestError> {
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
        Ok(WrittenTable { parts: self.done, report })
    }
}

impl std::fmt::Debug for TableWriter<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TableWriter").field("rows", &self.rows).field("parts", &self.done.len()).finish_non_exhaustive()
    }
}
