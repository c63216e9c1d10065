//! Parquet as `pandas.DataFrame.to_parquet` writes it.

mod footer;
mod pages;
mod pandas;
mod thrift;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Float64Array, Int64Array, RecordBatch, StringViewArray, UInt64Array,
};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Fields, Schema};
use bytes::Bytes;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder};
use parquet::basic::Type;
use parquet::schema::types::ColumnDescriptor;

use crate::cells::Reading;
use crate::json::Json;
use crate::table::{Table, within};
use crate::{ScoringError, ScoringLimits};

/// Rows that are decoded at once.
const BATCH: usize = 4096;
/// Bytes of a value of fixed length: a decimal of 256 bits.
const FIXED: i32 = 32;

pub(super) fn read(body: Bytes, limits: &ScoringLimits) -> Result<Table, ScoringError> {
    // The `parquet` crate asserts some of what damaged data breaks, such as the width of a dictionary's indices; that is the
    // file's mistake.
    let reading = catch_unwind(AssertUnwindSafe(|| read_file(body, limits)));
    reading.unwrap_or_else(|_| Err(wrong(&"its data is damaged")))
}

fn read_file(body: Bytes, limits: &ScoringLimits) -> Result<Table, ScoringError> {
    let metadata = bounded_metadata(&body, limits)?;
    let index = pandas::index_columns(metadata.metadata())?;
    let names: Vec<String> = metadata.schema().fields().iter().map(|field| field.name().clone()).collect();
    let mut columns: Vec<Vec<Json>> = names.iter().map(|_| Vec::new()).collect();
    let builder = ParquetRecordBatchReaderBuilder::new_with_metadata(body, metadata);
    let reader = builder.with_batch_size(BATCH).build().map_err(|problem| wrong(&problem))?;
    let mut room = Room { left: limits.cells, limit: limits.cells };
    let mut read = 0;
    for batch in reader {
        let batch: RecordBatch = batch.map_err(|problem| wrong(&problem))?;
        read += batch.num_rows();
        within(read, names.len(), limits)?;
        for ((name, array), column) in names.iter().zip(batch.columns()).zip(&mut columns) {
            if !index.contains(name) {
                push_cells(array, name, column, &mut room)?;
            }
        }
    }
    let named = names.into_iter().zip(columns).filter(|(name, _)| !index.contains(name)).collect();
    Table::new(named, Reading::Cast, limits)
}

/// What the file says of itself, after all that bounds its decoding has been looked at.
fn bounded_metadata(body: &Bytes, limits: &ScoringLimits) -> Result<ArrowReaderMetadata, ScoringError> {
    footer::check(body, limits)?;
    // Arrow's own schema is a flatbuffer, in which many fields may share one long name, and may name types that arrow-ipc
    // does not know, at which it panics. Of what is read here it says nothing that Parquet's does not.
    let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
    let found = ArrowReaderMetadata::load(body, options).map_err(|problem| wrong(&problem))?;
    let file = found.metadata().file_metadata();
    let rows = usize::try_from(file.num_rows()).unwrap_or(usize::MAX);
    within(rows, found.schema().fields().len(), limits)?;
    let fields: Fields = found.schema().fields().iter().map(|field| plain(field)).collect::<Result<_, _>>()?;
    // Each column is one value or lists of it.
    for (column, field) in file.schema_descr().columns().iter().zip(&fields) {
        check_width(column, field)?;
    }
    pages::check(body, found.metadata(), limits)?;
    let options = ArrowReaderOptions::new().with_schema(Arc::new(Schema::new(fields)));
    ArrowReaderMetadata::try_new(Arc::clone(found.metadata()), options).map_err(|problem| wrong(&problem))
}

/// The field in the type in which it takes the least room: a text that stands once in a page is not repeated for each row, and
/// a missing list of fixed length has no elements.
fn plain(field: &Field) -> Result<Field, ScoringError> {
    let Some(data_type) = plain_type(field.data_type()) else {
        let (name, other) = (field.name(), field.data_type());
        return Err(wrong(&format!("column `{name}` has type {other}: numbers, booleans, texts and lists are read")));
    };
    Ok(typed(field, data_type))
}

fn typed(field: &Field, data_type: DataType) -> Field {
    Field::new(field.name(), data_type, field.is_nullable()).with_metadata(field.metadata().clone())
}

fn plain_type(data_type: &DataType) -> Option<DataType> {
    match data_type {
        DataType::Null
        | DataType::Boolean
        | DataType::Float16
        | DataType::Float32
        | DataType::Float64
        | DataType::Decimal128(..)
        | DataType::Decimal256(..) => Some(data_type.clone()),
        integer if integer.is_integer() => Some(integer.clone()),
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => Some(DataType::Utf8View),
        DataType::Dictionary(_, value) => plain_type(value),
        DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) => {
            Some(DataType::List(Arc::new(typed(item, plain_type(item.data_type())?))))
        }
        _ => None,
    }
}

/// Refuses values that may each be as long as a page and would be repeated for each row: numbers as byte arrays of any length.
fn check_width(column: &ColumnDescriptor, field: &Field) -> Result<(), ScoringError> {
    let mut inner = field.data_type();
    while let DataType::List(item) = inner {
        inner = item.data_type();
    }
    let is_wide = match column.physical_type() {
        Type::BYTE_ARRAY => *inner != DataType::Utf8View,
        Type::FIXED_LEN_BYTE_ARRAY => column.type_length() > FIXED,
        _ => false,
    };
    if is_wide {
        return Err(wrong(&format!("column `{}` has numbers as byte arrays of any length", field.name())));
    }
    Ok(())
}

fn wrong(problem: &impl ToString) -> ScoringError {
    ScoringError::malformed("Parquet", problem)
}

/// How many values and bytes of text may still come.
struct Room {
    left: usize,
    limit: usize,
}

impl Room {
    fn take(&mut self, amount: usize) -> Result<(), ScoringError> {
        let over = ScoringError::TooManyCells { what: "values and bytes of text", limit: self.limit };
        self.left = self.left.checked_sub(amount).ok_or(over)?;
        Ok(())
    }
}

fn push_cells(array: &ArrayRef, name: &str, cells: &mut Vec<Json>, room: &mut Room) -> Result<(), ScoringError> {
    room.take(array.len())?;
    let as_type = |target: &DataType| cast(array, target).map_err(|problem| wrong(&problem));
    match array.data_type() {
        DataType::Null => cells.extend((0..array.len()).map(|_| Json::Null)),
        DataType::Boolean => {
            let values: &BooleanArray = array.as_boolean();
            cells.extend(values.iter().map(|value| value.map_or(Json::Null, Json::Bool)));
        }
        DataType::Int8 | DataType::Int16 | DataType::Int32 | DataType::Int64 => {
            let values: Int64Array = as_type(&DataType::Int64)?.as_primitive().clone();
            cells.extend(values.iter().map(|value| value.map_or(Json::Null, Json::Int)));
        }
        DataType::UInt8 | DataType::UInt16 | DataType::UInt32 | DataType::UInt64 => {
            let values: UInt64Array = as_type(&DataType::UInt64)?.as_primitive().clone();
            cells.extend(values.iter().map(|value| value.map_or(Json::Null, Json::Uint)));
        }
        DataType::Float16
        | DataType::Float32
        | DataType::Float64
        | DataType::Decimal128(..)
        | DataType::Decimal256(..) => {
            let values: Float64Array = as_type(&DataType::Float64)?.as_primitive().clone();
            cells.extend(values.iter().map(|value| value.map_or(Json::Null, Json::Float)));
        }
        DataType::Utf8View => push_texts(array.as_string_view(), cells, room)?,
        DataType::List(_) => push_lists(array, name, cells, room)?,
        other => return Err(wrong(&format!("column `{name}` is read as {other}"))),
    }
    Ok(())
}

fn push_texts(values: &StringViewArray, cells: &mut Vec<Json>, room: &mut Room) -> Result<(), ScoringError> {
    for value in values {
        room.take(value.map_or(0, str::len))?;
        cells.push(value.map_or(Json::Null, |value| Json::Text(value.to_owned())));
    }
    Ok(())
}

fn push_lists(array: &ArrayRef, name: &str, cells: &mut Vec<Json>, room: &mut Room) -> Result<(), ScoringError> {
    for list in array.as_list::<i32>().iter() {
        let Some(list) = list else {
            cells.push(Json::Null);
            continue;
        };
        let mut values = Vec::new();
        push_cells(&list, name, &mut values, room)?;
        cells.push(Json::List(values));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
