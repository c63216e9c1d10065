use std::sync::Arc;

use arrow::array::{
    Array as _, ArrayRef, BooleanArray, BooleanBuilder, Date32Builder, Float64Builder, Int64Builder, RecordBatch,
    StringBuilder, TimestampMicrosecondBuilder, new_null_array,
};
use arrow::datatypes::DataType;
use arrow::util::display::{ArrayFormatter, FormatOptions};

use super::cell::Cell;
use super::column_buffer::LooseColumn;
use super::json::{JsonBatch, JsonReject, JsonSink};
use super::part_sink::PartSink;
use super::piece::{Chunk, PieceReader};
use super::quarantine::shortened;
use super::schema::TableSchema;
use super::widen::{lost, widen};
use crate::IngestError;
use crate::column::ColumnType;

/// Casts every chunk of a piece of cells and gives the rows to `sink`; `places` says which column of the chunks each
/// column of the table is.
pub(crate) fn cells_cast(
    mut piece: PieceReader,
    places: &[Option<usize>],
    sink: &mut PartSink<'_>,
) -> Result<(), IngestError> {
    let damaged = |reason| IngestError::Encoding { action: "read a piece back", reason };
    while let Some(chunk) = piece.chunk_next().map_err(damaged)? {
        chunk_cast(&chunk, places, sink)?;
    }
    Ok(())
}

/// Casts one chunk; see [`cells_cast`].
pub(crate) fn chunk_cast(chunk: &Chunk, places: &[Option<usize>], sink: &mut PartSink<'_>) -> Result<(), IngestError> {
    let rows = chunk.rows();
    let mut bad: Vec<(usize, usize)> = Vec::new();
    let mut arrays = Vec::with_capacity(places.len());
    for (column, (place, wanted)) in places.iter().zip(&sink.schema.columns).enumerate() {
        let Some(place) = place else {
            arrays.push(new_null_array(&wanted.data_type, rows));
            continue;
        };
        if wanted.cells == ColumnType::Text && !holds_text(&wanted.data_type) {
            // Texts met no other type, so all that such a column has may be null.
            arrays.push(new_null_array(&wanted.data_type, rows));
            continue;
        }
        let (array, misfits) = cast(chunk.column(*place), rows, wanted.cells);
        bad.extend(misfits.into_iter().map(|row| (row, column)));
        let (array, misfits) = fitted(&array, &wanted.data_type)?;
        bad.extend(misfits.into_iter().map(|row| (row, column)));
        arrays.push(array);
    }
    bad.sort_unstable();
    let keep = chunk_quarantine(chunk, places, &bad, sink)?;
    sink.rows(arrays, keep.as_ref(), rows)
}

fn holds_text(data_type: &DataType) -> bool {
    use DataType::{Dictionary, LargeUtf8, Utf8, Utf8View};
    matches!(data_type, Utf8 | LargeUtf8 | Utf8View | Dictionary(..))
}

/// Lists the misfits of a chunk; returns which rows stay, none when all do.
fn chunk_quarantine(
    chunk: &Chunk,
    places: &[Option<usize>],
    bad: &[(usize, usize)],
    sink: &mut PartSink<'_>,
) -> Result<Option<BooleanArray>, IngestError> {
    if bad.is_empty() && !chunk.has_rejects() {
        return Ok(None);
    }
    let mut keep = vec![true; chunk.rows()];
    for (row, column) in bad {
        let loose = places[*column].map_or(&LooseColumn::Null, |place| chunk.column(place));
        let text = loose.cell(*row).text().map(|text| shortened(&text));
        let reason = format!("not a value of type {}", type_name(&sink.schema.columns[*column].data_type));
        sink.misfit(chunk.numbers.value(*row), *column, text, reason);
        keep[*row] = false;
    }
    for (row, keep) in keep.iter_mut().enumerate() {
        if let Some((text, reason)) = chunk.reject(row) {
            *keep = false;
            sink.reject(chunk.numbers.value(row), None, text, reason);
        }
    }
    kept(keep, sink)
}

fn kept(keep: Vec<bool>, sink: &mut PartSink<'_>) -> Result<Option<BooleanArray>, IngestError> {
    let lost = keep.iter().filter(|keep| !**keep).count() as u64;
    sink.quarantined(lost)?;
    Ok((lost > 0).then(|| BooleanArray::from(keep)))
}

fn type_name(data_type: &DataType) -> String {
    crate::column::type_name(data_type)
}

/// The array in the table's type, and the rows that lose a value by it.
fn fitted(array: &ArrayRef, wanted: &DataType) -> Result<(ArrayRef, Vec<usize>), IngestError> {
    if array.data_type() == wanted {
        return Ok((Arc::clone(array), Vec::new()));
    }
    let wide = widen(array, wanted).map_err(IngestError::arrow("cast rows to the table's types"))?;
    let rows = match lost(array, &wide) {
        None => Vec::new(),
        Some(lost) => lost.iter().enumerate().filter(|(_, lost)| *lost == Some(true)).map(|(row, _)| row).collect(),
    };
    Ok((wide, rows))
}

/// Gives the rows of `batch`, matched by name, to `sink`; `numbers` says which row of its file each is.
pub(crate) fn batch_cast(
    batch: &RecordBatch,
    numbers: impl Fn(usize) -> u64,
    sink: &mut PartSink<'_>,
) -> Result<(), IngestError> {
    let rows = batch.num_rows();
    let (arrays, bad) = batch_columns(batch, sink.schema)?;
    let mut keep = vec![true; rows];
    for (row, column) in &bad {
        let name = sink.schema.columns[*column].name.clone();
        let text = batch.column_by_name(&name).and_then(|array| display(array, *row));
        let reason =
            format!("the value does not fit {} without loss", type_name(&sink.schema.columns[*column].data_type));
        sink.misfit(numbers(*row), *column, text, reason);
        keep[*row] = false;
    }
    let keep = if bad.is_empty() { None } else { kept(keep, sink)? };
    sink.rows(arrays, keep.as_ref(), rows)
}

/// The columns of the table from those of `batch` with their names, and the rows and columns that lose a value by it,
/// sorted.
pub(crate) fn batch_columns(batch: &RecordBatch, schema: &TableSchema) -> Result<Columns, IngestError> {
    let mut arrays = Vec::with_capacity(schema.columns.len());
    let mut bad: Vec<(usize, usize)> = Vec::new();
    for (column, wanted) in schema.columns.iter().enumerate() {
        let Some(found) = batch.column_by_name(&wanted.name) else {
            arrays.push(new_null_array(&wanted.data_type, batch.num_rows()));
            continue;
        };
        let (array, misfits) = fitted(found, &wanted.data_type)?;
        bad.extend(misfits.into_iter().map(|row| (row, column)));
        arrays.push(array);
    }
    bad.sort_unstable();
    Ok((arrays, bad))
}

type Columns = (Vec<ArrayRef>, Vec<(usize, usize)>);

fn display(array: &ArrayRef, row: usize) -> Option<String> {
    let options = FormatOptions::default();
    let formatter = ArrayFormatter::try_new(array, &options).ok()?;
    Some(shortened(&formatter.value(row).to_string()))
}

impl JsonSink for PartSink<'_> {
    fn batch(&mut self, batch: JsonBatch) -> Result<(), IngestError> {
        let line = |row: usize| batch.lines.get(row).copied().unwrap_or_default();
        batch_cast(&batch.rows, line, self)
    }

    fn reject(&mut self, reject: JsonReject) -> Result<(), IngestError> {
        PartSink::reject(self, reject.line, reject.column, reject.text, reject.reason);
        self.quarantined(1)
    }
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
                if value.is_none() && !matches!(cell, Cell::Null | Cell::TextOrNull(_)) {
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
