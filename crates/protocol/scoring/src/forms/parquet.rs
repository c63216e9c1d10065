//! Parquet as `pandas.DataFrame.to_parquet` writes it.

use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind};

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Float64Array, Int64Array, LargeStringArray, RecordBatch, UInt64Array,
};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use bytes::Bytes;
use parquet::arrow::arrow_reader::{ArrowReaderOptions, ParquetRecordBatchReaderBuilder};
use parquet::file::metadata::RowGroupMetaData;

use crate::cells::Reading;
use crate::json::Json;
use crate::table::{Table, within};
use crate::{ScoringError, ScoringLimits};

/// Rows that are decompressed at once.
const BATCH: usize = 4096;

pub(super) fn read(body: Bytes, limits: &ScoringLimits) -> Result<Table, ScoringError> {
    // arrow-ipc panics where a file's own schema names a type that it does not know; that is the file's mistake.
    let reading = catch_unwind(AssertUnwindSafe(|| read_file(body, limits)));
    reading.unwrap_or_else(|_| Err(wrong(&"its schema or data is damaged")))
}

fn read_file(body: Bytes, limits: &ScoringLimits) -> Result<Table, ScoringError> {
    // A fuzzer ends at the panic above, and would look no further.
    let options = ArrowReaderOptions::new().with_skip_arrow_metadata(cfg!(fuzzing));
    let builder = ParquetRecordBatchReaderBuilder::try_new_with_options(body, options);
    let builder = builder.map_err(|problem| wrong(&problem))?;
    let rows = usize::try_from(builder.metadata().file_metadata().num_rows()).unwrap_or(usize::MAX);
    within(rows, builder.schema().fields().len(), limits)?;
    let sizes = builder.metadata().row_groups().iter().flat_map(RowGroupMetaData::columns);
    let size = sizes
        .fold(0_u64, |size, column| size.saturating_add(u64::try_from(column.uncompressed_size()).unwrap_or(u64::MAX)));
    if size > limits.parquet_bytes as u64 {
        return Err(ScoringError::TooManyCells { what: "bytes without compression", limit: limits.parquet_bytes });
    }
    let index = index_columns(&builder);
    let names: Vec<String> = builder.schema().fields().iter().map(|field| field.name().clone()).collect();
    let mut columns: Vec<Vec<Json>> = names.iter().map(|_| Vec::new()).collect();
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

fn wrong(problem: &impl ToString) -> ScoringError {
    ScoringError::malformed("Parquet", problem)
}

/// The columns that hold a DataFrame's index and are none of its own (pandas metadata, `index_columns`).
fn index_columns(builder: &ParquetRecordBatchReaderBuilder<Bytes>) -> HashSet<String> {
    let pairs = builder.metadata().file_metadata().key_value_metadata();
    let pandas = pairs.and_then(|pairs| pairs.iter().find(|pair| pair.key == "pandas")?.value.as_deref());
    let read: Option<serde_json::Value> = pandas.and_then(|text| serde_json::from_str(text).ok());
    let index = read.as_ref().and_then(|read| read.get("index_columns")?.as_array());
    index.into_iter().flatten().filter_map(|name| name.as_str().map(str::to_owned)).collect()
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
    let plain = |target: &DataType| cast(array, target).map_err(|problem| wrong(&problem));
    match array.data_type() {
        DataType::Null => cells.extend((0..array.len()).map(|_| Json::Null)),
        DataType::Boolean => {
            let values: &BooleanArray = array.as_boolean();
            cells.extend(values.iter().map(|value| value.map_or(Json::Null, Json::Bool)));
        }
        DataType::Int8 | DataType::Int16 | DataType::Int32 | DataType::Int64 => {
            let values: Int64Array = plain(&DataType::Int64)?.as_primitive().clone();
            cells.extend(values.iter().map(|value| value.map_or(Json::Null, Json::Int)));
        }
        DataType::UInt8 | DataType::UInt16 | DataType::UInt32 | DataType::UInt64 => {
            let values: UInt64Array = plain(&DataType::UInt64)?.as_primitive().clone();
            cells.extend(values.iter().map(|value| value.map_or(Json::Null, Json::Uint)));
        }
        DataType::Float16
        | DataType::Float32
        | DataType::Float64
        | DataType::Decimal128(..)
        | DataType::Decimal256(..) => {
            let values: Float64Array = plain(&DataType::Float64)?.as_primitive().clone();
            cells.extend(values.iter().map(|value| value.map_or(Json::Null, Json::Float)));
        }
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => push_texts(array, cells, room)?,
        DataType::Dictionary(_, value) => {
            push_cells(&plain(value)?, name, cells, room)?;
        }
        DataType::List(_) | DataType::LargeList(_) | DataType::FixedSizeList(..) => {
            push_lists(array, name, cells, room)?;
        }
        other => {
            let problem = format!("column `{name}` has type {other}: numbers, booleans, texts and lists are read");
            return Err(ScoringError::Malformed { form: "Parquet", problem });
        }
    }
    Ok(())
}

fn push_texts(array: &ArrayRef, cells: &mut Vec<Json>, room: &mut Room) -> Result<(), ScoringError> {
    let values = cast(array, &DataType::LargeUtf8).map_err(|problem| wrong(&problem))?;
    let values: &LargeStringArray = values.as_string();
    for value in values {
        room.take(value.map_or(0, str::len))?;
        cells.push(value.map_or(Json::Null, |value| Json::Text(value.to_owned())));
    }
    Ok(())
}

fn push_lists(array: &ArrayRef, name: &str, cells: &mut Vec<Json>, room: &mut Room) -> Result<(), ScoringError> {
    let one = |row: usize| match array.data_type() {
        DataType::List(_) => array.as_list::<i32>().value(row),
        DataType::LargeList(_) => array.as_list::<i64>().value(row),
        _ => array.as_fixed_size_list().value(row),
    };
    for row in 0..array.len() {
        if array.is_null(row) {
            cells.push(Json::Null);
            continue;
        }
        let mut values = Vec::new();
        push_cells(&one(row), name, &mut values, room)?;
        cells.push(Json::List(values));
    }
    Ok(())
}
