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

/// Where the rows that fit go.
enum Rows<'a> {
    Part(Box<PartWriter>),
    Taker(&'a mut BatchTaker<'a>),
}

/// Takes the rows of a part in their order.
pub(crate) type BatchTaker<'a> = dyn FnMut(RecordBatch) -> Result<(), IngestError> + 'a;

/// Takes the rows of one file: those that fit go into its part, the others into quarantine.
pub(crate) struct PartSink<'a> {
    pub(crate) schema: &'a TableSchema,
    arrow: SchemaRef,
    file: &'a str,
    sheet: Option<&'a str>,
    /// Rows that may go to quarantine.
    limit: u64,
    rows: Rows<'a>,
    /// What becomes of misfits where they are not kept.
    aside: Option<Aside<'a>>,
    outcome: PartOutcome,
}

/// What becomes of misfits where only the rows are wanted: they are counted, or refused.
pub(crate) struct Aside<'a> {
    /// Hears how many rows are left out, with the first of them.
    counted: &'a dyn Fn(u64, &Misfit),
    /// From how many rows of each file at most the types were told, where those were not all of them.
    sampled: Option<u64>,
    first: Option<Misfit>,
    refused: Option<Misfit>,
}

impl<'a> Aside<'a> {
    /// With `sampled`, a value that does not fit its column is an error: had all rows been looked at, the column might
    /// have another type. What is no row at all never fits.
    pub(crate) fn new(counted: &'a dyn Fn(u64, &Misfit), sampled: Option<u64>) -> Self {
        Self { counted, sampled, first: None, refused: None }
    }

    fn put(&mut self, misfit: Misfit) {
        let place = if self.sampled.is_some() && misfit.column.is_some() { &mut self.refused } else { &mut self.first };
        place.get_or_insert(misfit);
    }

    fn count(&self, rows: u64) -> Result<(), IngestError> {
        if let (Some(rows), Some(refused)) = (self.sampled, &self.refused) {
            let place = refused.to_string();
            return Err(IngestError::Sampled { file: refused.file.clone(), place, rows });
        }
        if let (Some(first), 1..) = (&self.first, rows) {
            (self.counted)(rows, first);
        }
        Ok(())
    }
}

impl<'a> PartSink<'a> {
    pub(crate) fn new(
        schema: &'a TableSchema,
        file: &'a str,
        sheet: Option<&'a str>,
        limit: u64,
        target: File,
    ) -> Result<Self, IngestError> {
        let part = PartWriter::new(target, &schema.arrow())?;
        Ok(Self::with(schema, file, sheet, limit, Rows::Part(Box::new(part)), None))
    }

    /// Rows go to `take`, what does not fit is `aside`'s.
    pub(crate) fn taker(
        schema: &'a TableSchema,
        file: &'a str,
        sheet: Option<&'a str>,
        limit: u64,
        take: &'a mut BatchTaker<'a>,
        aside: Aside<'a>,
    ) -> Self {
        Self::with(schema, file, sheet, limit, Rows::Taker(take), Some(aside))
    }

    fn with(
        schema: &'a TableSchema,
        file: &'a str,
        sheet: Option<&'a str>,
        limit: u64,
        rows: Rows<'a>,
        aside: Option<Aside<'a>>,
    ) -> Self {
        let (arrow, width) = (schema.arrow(), schema.columns.len());
        let outcome = PartOutcome { nulls: vec![0; width], misfits: vec![0; width], ..PartOutcome::default() };
        Self { schema, arrow, file, sheet, limit, rows, aside, outcome }
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
        match &mut self.rows {
            Rows::Part(part) => part.write(&batch),
            Rows::Taker(take) => take(batch),
        }
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
        let misfit = Misfit { file, sheet, row, column, text, reason };
        match &mut self.aside {
            None => self.outcome.quarantine.push(misfit),
            Some(aside) => aside.put(misfit),
        }
    }

    /// Counts `rows` in quarantine; an error when they are too many.
    pub(crate) fn quarantined(&mut self, rows: u64) -> Result<(), IngestError> {
        self.outcome.quarantined += rows;
        if let Some(aside) = &mut self.aside {
            aside.count(rows)?;
        }
        if self.outcome.quarantined > self.limit {
            let last = self.aside.as_ref().map_or(self.outcome.quarantine.last(), |aside| aside.first.as_ref());
            let example = last.map(Misfit::to_string).unwrap_or_default();
            return Err(IngestError::QuarantineFull { limit: self.limit, file: self.file.to_owned(), example });
        }
        Ok(())
    }

    pub(crate) fn finish(mut self, empty_rows: u64) -> Result<PartOutcome, IngestError> {
        if let Rows::Part(part) = self.rows {
            part.finish()?;
        }
        self.outcome.empty_rows = empty_rows;
        Ok(self.outcome)
    }
}
