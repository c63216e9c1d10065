use std::fs::File;
use std::sync::Arc;

use arrow::array::{Array as _, ArrayRef, BooleanArray, RecordBatch, RecordBatchOptions};
use arrow::compute::filter_record_batch;
use arrow::datatypes::SchemaRef;
use serde::{Deserialize, Serialize};

use super::quarantine::Misfit;
use super::schema::TableSchema;
use crate::IngestError;
use crate::part::PartWriter;

/// What writing one file's part gave, beside the part itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PartOutcome {
    pub(crate) rows: u64,
    pub(crate) quarantined: u64,
    /// By column of the table.
    pub(crate) nulls: Vec<u64>,
    /// By column of the table.
    pub(crate) misfits: Vec<u64>,
    /// Rows without anything, where only reading them all tells.
    pub(crate) empty_rows: u64,
    pub(crate) quarantine: Vec<Misfit>,
}

/// Takes the rows of one file: those that fit go into its part, the others into quarantine.
pub(crate) struct PartSink<'a> {
    pub(crate) schema: &'a TableSchema,
    arrow: SchemaRef,
    file: &'a str,
    sheet: Option<&'a str>,
    /// Rows that may go to quarantine.
    limit: u64,
    part: PartWriter,
    outcome: PartOutcome,
}

impl<'a> PartSink<'a> {
    pub(crate) fn new(
        schema: &'a TableSchema,
        file: &'a str,
        sheet: Option<&'a str>,
        limit: u64,
        target: File,
    ) -> Result<Self, IngestError> {
        let (arrow, width) = (schema.arrow(), schema.columns.len());
        let part = PartWriter::new(target, &arrow)?;
        let outcome = PartOutcome { nulls: vec![0; width], misfits: vec![0; width], ..PartOutcome::default() };
        Ok(Self { schema, arrow, file, sheet, limit, part, outcome })
    }

    /// Adds rows, a column of the table each, without those that are not kept.
    pub(crate) fn rows(
        &mut self,
        columns: Vec<ArrayRef>,
        keep: Option<&BooleanArray>,
        rows: usize,
    ) -> Result<(), IngestError> {
        let encode = || IngestError::arrow("cast rows to the table's types");
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        let mut batch =
            RecordBatch::try_new_with_options(Arc::clone(&self.arrow), columns, &options).map_err(encode())?;
        if let Some(keep) = keep {
            batch = filter_record_batch(&batch, keep).map_err(encode())?;
        }
        for (nulls, array) in self.outcome.nulls.iter_mut().zip(batch.columns()) {
            *nulls += array.logical_null_count() as u64;
        }
        self.outcome.rows += batch.num_rows() as u64;
        self.part.write(&batch)
    }

    /// Lists a cell that does not fit.
    pub(crate) fn misfit(&mut self, row: u64, column: usize, text: Option<String>, reason: String) {
        self.outcome.misfits[column] += 1;
        let name = self.schema.columns[column].name.clone();
        self.listed(row, Some(name), text, reason);
    }

    /// Lists a row that is none of the table, with the place in it where that is known.
    pub(crate) fn reject(&mut self, row: u64, column: Option<String>, text: String, reason: String) {
        if let Some(name) = &column {
            let top = name.split('.').next().unwrap_or(name);
            if let Some(place) = self.schema.columns.iter().position(|column| column.name == top) {
                self.outcome.misfits[place] += 1;
            }
        }
        self.listed(row, column, Some(text), reason);
    }

    fn listed(&mut self, row: u64, column: Option<String>, text: Option<String>, reason: String) {
        let (file, sheet) = (self.file.to_owned(), self.sheet.map(str::to_owned));
        self.outcome.quarantine.push(Misfit { file, sheet, row, column, text, reason });
    }

    /// Counts `rows` in quarantine; an error when they are too many.
    pub(crate) fn quarantined(&mut self, rows: u64) -> Result<(), IngestError> {
        self.outcome.quarantined += rows;
        if self.outcome.quarantined > self.limit {
            let example = self.outcome.quarantine.last().map(Misfit::to_string).unwrap_or_default();
            return Err(IngestError::QuarantineFull { limit: self.limit, file: self.file.to_owned(), example });
        }
        Ok(())
    }

    pub(crate) fn finish(mut self, empty_rows: u64) -> Result<PartOutcome, IngestError> {
        self.part.finish()?;
        self.outcome.empty_rows = empty_rows;
        Ok(self.outcome)
    }
}
