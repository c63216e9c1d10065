use std::fs::File;
use std::sync::Arc;

use arrow::array::{
    Array as _, ArrayRef, BooleanArray, BooleanBuilder, Date32Builder, Float64Builder, Int64Builder, RecordBatch,
    StringBuilder, TimestampMicrosecondBuilder, new_null_array,
};
use arrow::compute::filter_record_batch;
use arrow::datatypes::SchemaRef;

use super::column_buffer::LooseColumn;
use super::piece::{Chunk, PieceReader};
use super::quarantine::Misfit;
use super::schema::TableSchema;
use crate::DataError;
use crate::column::ColumnType;
use crate::part::PartWriter;

/// What casting one file's piece gave, beside the part itself.
#[derive(Debug)]
pub(crate) struct CastOutcome {
    pub(crate) rows: u64,
    pub(crate) quarantined: u64,
    /// By column of the table.
    pub(crate) nulls: Vec<u64>,
    /// By column of the table.
    pub(crate) misfits: Vec<u64>,
    pub(crate) quarantine: Vec<Misfit>,
}

/// One file to cast.
#[derive(Debug)]
pub(crate) struct CastJob<'a> {
    pub(crate) file: &'a str,
    pub(crate) sheet: Option<&'a str>,
    pub(crate) schema: &'a TableSchema,
    pub(crate) arrow: SchemaRef,
    pub(crate) places: Vec<Option<usize>>,
    /// Rows that may go to quarantine.
    pub(crate) quarantine_limit: u64,
}

impl CastJob<'_> {
    /// Casts every chunk of a piece and writes the rows that fit to `target` as a part.
    pub(crate) fn run(&self, mut piece: PieceReader, target: File) -> Result<CastOutcome, DataError> {
        let width = self.schema.columns.len();
        let mut outcome = CastOutcome {
            rows: 0,
            quarantined: 0,
            nulls: vec![0; width],
            misfits: vec![0; width],
            quarantine: Vec::new(),
        };
        let mut part = PartWriter::new(target, &self.arrow)?;
        let damaged = |reason| DataError::Encoding { action: "read a piece back", reason };
        while let Some(chunk) = piece.chunk_next().map_err(damaged)? {
            let batch = self.chunk(&chunk, &mut outcome)?;
            for (nulls, array) in outcome.nulls.iter_mut().zip(batch.columns()) {
                *nulls += array.null_count() as u64;
            }
            outcome.rows += batch.num_rows() as u64;
            part.write(&batch)?;
        }
        part.finish()?;
        Ok(outcome)
    }

    fn chunk(&self, chunk: &Chunk, outcome: &mut CastOutcome) -> Result<RecordBatch, DataError> {
        let rows = chunk.rows();
        let mut bad: Vec<(usize, usize)> = Vec::new();
        let mut arrays = Vec::with_capacity(self.places.len());
        for (column, (place, wanted)) in self.places.iter().zip(&self.schema.columns).enumerate() {
            let loose = place.map_or(&LooseColumn::Null, |place| chunk.column(place));
            let (array, misfits) = cast(loose, rows, wanted.column_type);
            bad.extend(misfits.into_iter().map(|row| (row, column)));
            arrays.push(array);
        }
        let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(rows));
        let batch = RecordBatch::try_new_with_options(Arc::clone(&self.arrow), arrays, &options)
            .map_err(DataError::arrow("cast a chunk"))?;
        bad.sort_unstable();
        let keep = self.quarantine(chunk, &bad, outcome)?;
        match keep {
            None => Ok(batch),
            Some(keep) => filter_record_batch(&batch, &keep).map_err(DataError::arrow("cast a chunk")),
        }
    }

    /// Lists the misfits of a chunk; returns which rows stay, none when all do.
    fn quarantine(
        &self,
        chunk: &Chunk,
        bad: &[(usize, usize)],
        outcome: &mut CastOutcome,
    ) -> Result<Option<BooleanArray>, DataError> {
        let mut keep = vec![true; chunk.rows()];
        for (row, column) in bad {
            let wanted = &self.schema.columns[*column];
            let loose = self.places[*column].map_or(&LooseColumn::Null, |place| chunk.column(place));
            let text = loose.cell(*row).text().map(|text| shortened(&text));
            let reason = format!("not a value of type {}", wanted.column_type);
            outcome.misfits[*column] += 1;
            keep[*row] = false;
            outcome.quarantine.push(self.misfit(chunk.numbers.value(*row), Some(&wanted.name), text, reason));
        }
        if chunk.has_rejects() {
            for (row, keep) in keep.iter_mut().enumerate() {
                if let Some((text, reason)) = chunk.reject(row) {
                    *keep = false;
                    outcome.quarantine.push(self.misfit(chunk.numbers.value(row), None, Some(text), reason));
                }
            }
        }
        let lost = keep.iter().filter(|keep| !**keep).count() as u64;
        outcome.quarantined += lost;
        if outcome.quarantined > self.quarantine_limit {
            let example = outcome.quarantine.last().map(Misfit::to_string).unwrap_or_default();
            let (limit, file) = (self.quarantine_limit, self.file.to_owned());
            return Err(DataError::QuarantineFull { limit, file, example });
        }
        Ok((lost > 0).then(|| BooleanArray::from(keep)))
    }

    fn misfit(&self, row: u64, column: Option<&str>, text: Option<String>, reason: String) -> Misfit {
        Misfit {
            file: self.file.to_owned(),
            sheet: self.sheet.map(str::to_owned),
            row,
            column: column.map(str::to_owned),
            text,
            reason,
        }
    }
}

fn shortened(text: &str) -> String {
    let end = text.floor_char_boundary(1000);
    if end < text.len() { format!("{}…", &text[..end]) } else { text.to_owned() }
}

/// The column as an array of type `wanted`, null where a cell does not fit, and the rows of those cells.
fn cast(column: &LooseColumn, rows: usize, wanted: ColumnType) -> (ArrayRef, Vec<usize>) {
    match (column, wanted) {
        (LooseColumn::Null, _) => return (new_null_array(&wanted.data_type(), rows), Vec::new()),
        (LooseColumn::Number(array), ColumnType::Float64) => return (Arc::new(array.clone()), Vec::new()),
        (LooseColumn::Boolean(array), ColumnType::Boolean) => return (Arc::new(array.clone()), Vec::new()),
        (LooseColumn::Instant(array), ColumnType::Timestamp) => return (Arc::new(array.clone()), Vec::new()),
        (LooseColumn::Text(array), ColumnType::Text) => return (Arc::new(array.clone()), Vec::new()),
        _ => {}
    }
    let mut misfits = Vec::new();
    macro_rules! cells {
        ($builder:expr, $read:ident) => {{
            let mut builder = $builder;
            for row in 0..rows {
                let cell = column.cell(row);
                let value = cell.$read();
                if value.is_none() && cell != super::cell::Cell::Null {
                    misfits.push(row);
                }
                builder.append_option(value);
            }
            Arc::new(builder.finish()) as ArrayRef
        }};
    }
    let array = match wanted {
        ColumnType::Int64 => cells!(Int64Builder::with_capacity(rows), integer),
        ColumnType::Float64 => cells!(Float64Builder::with_capacity(rows), float),
        ColumnType::Boolean => cells!(BooleanBuilder::with_capacity(rows), boolean),
        ColumnType::Timestamp => cells!(TimestampMicrosecondBuilder::with_capacity(rows), timestamp),
        ColumnType::Date => cells!(Date32Builder::with_capacity(rows), date),
        ColumnType::Text => cells!(StringBuilder::new(), text),
    };
    (array, misfits)
}
