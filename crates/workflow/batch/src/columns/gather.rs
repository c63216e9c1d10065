use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, BooleanArray, FixedSizeListArray, Float32Array, Float64Array, Int64Array,
    StringArray, UInt64Array,
};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Float32Type, Float64Type, Int64Type, UInt64Type};
use arrow::util::display::array_value_to_string;
use bytes::Bytes;
use half::{bf16, f16};
use ropewalk_inference::TensorData;
use ropewalk_types::{ElementType, TensorSpec};

use super::exact::Exact;
use super::is_list;
use crate::BatchError;

/// Where values come from, for errors.
pub(super) struct Source<'a> {
    pub(super) column: &'a str,
    pub(super) input: &'a TensorSpec,
    /// The table's row that is the first of the batch, counted from 1.
    pub(super) first: u64,
}

/// The elements of one column, row-major.
pub(super) struct Gathered {
    pub(super) data: TensorData,
    /// Elements of a row.
    pub(super) width: usize,
    /// How many were rounded.
    pub(super) rounded: u64,
}

pub(super) fn is_number(data_type: &DataType) -> bool {
    match data_type {
        DataType::Dictionary(_, values) => is_number(values),
        DataType::FixedSizeList(item, _) | DataType::List(item) | DataType::LargeList(item) => {
            is_number(item.data_type())
        }
        DataType::Boolean => true,
        other => other.is_integer() || other.is_floating(),
    }
}

pub(super) fn is_text(data_type: &DataType) -> bool {
    match data_type {
        DataType::Dictionary(_, values) => is_text(values),
        other => other.is_string() || matches!(other, DataType::Binary | DataType::LargeBinary | DataType::BinaryView),
    }
}

/// Refuses a column that can never be the input.
pub(super) fn check(field: &Field, input: &TensorSpec) -> Result<(), BatchError> {
    let data_type = field.data_type();
    let fits = match input.datatype {
        ElementType::Bytes => is_text(data_type),
        ElementType::Bool => is_number(data_type) && !data_type.is_floating(),
        _ => is_number(data_type),
    };
    // A column in which nothing stands has no type yet.
    if fits || data_type.is_null() {
        return Ok(());
    }
    Err(wrong_type(field.name(), data_type, input))
}

fn wrong_type(column: &str, found: &DataType, input: &TensorSpec) -> BatchError {
    BatchError::ColumnType {
        column: column.to_owned(),
        found: found.to_string(),
        input: input.name.clone(),
        wanted: input.datatype.to_string(),
    }
}

/// The column as elements of the input's type.
pub(super) fn gather(array: &ArrayRef, source: &Source<'_>) -> Result<Gathered, BatchError> {
    let array = match array.data_type() {
        DataType::Dictionary(_, values) => widened(array, values)?,
        _ => ArrayRef::clone(array),
    };
    if !is_list(array.data_type()) {
        let (data, rounded) = elements(&array, source, 1)?;
        return Ok(Gathered { data, width: 1, rounded });
    }
    let lists = fixed(&array, source)?;
    let width = usize::try_from(lists.value_length()).unwrap_or_default();
    if let Some(row) = (0..lists.len()).find(|row| lists.is_null(*row)) {
        return Err(source.value(row, "null".to_owned()));
    }
    let values = lists.values().slice(lists.value_offset(0) as usize, lists.len() * width);
    let (data, rounded) = elements(&values, source, width)?;
    Ok(Gathered { data, width, rounded })
}

/// Lists of one length; that of the first row where the type does not say it.
fn fixed(array: &ArrayRef, source: &Source<'_>) -> Result<FixedSizeListArray, BatchError> {
    if let Some(lists) = array.as_fixed_size_list_opt() {
        return Ok(lists.clone());
    }
    let large = cast(array, &large_list(array.data_type())).map_err(|error| BatchError::Arrow(error.to_string()))?;
    let lists = large.as_list::<i64>();
    let width = if lists.is_empty() { 0 } else { lists.value_length(0) };
    let odd = (0..lists.len()).find(|row| lists.is_null(*row) || lists.value_length(*row) != width);
    if let Some(row) = odd {
        let value =
            if lists.is_null(row) { "null".to_owned() } else { format!("a list of {}", lists.value_length(row)) };
        return Err(source.value(row, value));
    }
    let begin = lists.value_offsets().first().copied().unwrap_or_default() as usize;
    let values = lists.values().slice(begin, lists.len() * width as usize);
    let field = Field::new("item", values.data_type().clone(), true);
    FixedSizeListArray::try_new_with_length(field.into(), width as i32, values, None, lists.len())
        .map_err(|error| BatchError::Arrow(error.to_string()))
}

fn large_list(data_type: &DataType) -> DataType {
    match data_type {
        DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) => {
            DataType::LargeList(item.clone())
        }
        other => other.clone(),
    }
}

fn widened(array: &ArrayRef, to: &DataType) -> Result<ArrayRef, BatchError> {
    cast(array, to).map_err(|error| BatchError::Arrow(error.to_string()))
}

impl Source<'_> {
    fn value(&self, row: usize, value: String) -> BatchError {
        BatchError::Value {
            column: self.column.to_owned(),
            row: self.first + row as u64,
            value,
            wanted: self.input.datatype.to_string(),
        }
    }

    fn refused(&self, array: &dyn Array, element: usize, width: usize) -> BatchError {
        let value = if array.is_null(element) {
            "null".to_owned()
        } else {
            array_value_to_string(array, element).unwrap_or_else(|_| "a value".to_owned())
        };
        self.value(element / width.max(1), value)
    }
}

/// Elements as the input's type, and how many were rounded; `width` of them make a row.
fn elements(array: &ArrayRef, source: &Source<'_>, width: usize) -> Result<(TensorData, u64), BatchError> {
    macro_rules! numbers {
        ($variant:ident, $type:ty) => {
            numbers::<$type>(array, source, width).map(|(values, rounded)| (TensorData::$variant(values), rounded))
        };
    }
    match source.input.datatype {
        ElementType::Bool => numbers!(Bool, bool),
        ElementType::Uint8 => numbers!(Uint8, u8),
        ElementType::Uint16 => numbers!(Uint16, u16),
        ElementType::Uint32 => numbers!(Uint32, u32),
        ElementType::Uint64 => numbers!(Uint64, u64),
        ElementType::Int8 => numbers!(Int8, i8),
        ElementType::Int16 => numbers!(Int16, i16),
        ElementType::Int32 => numbers!(Int32, i32),
        ElementType::Int64 => numbers!(Int64, i64),
        ElementType::Fp16 => numbers!(Fp16, f16),
        ElementType::Bf16 => numbers!(Bf16, bf16),
        ElementType::Fp32 => numbers!(Fp32, f32),
        ElementType::Fp64 => numbers!(Fp64, f64),
        ElementType::Bytes => texts(array, source, width).map(|values| (TensorData::Bytes(values), 0)),
    }
}

fn numbers<T: Exact>(array: &ArrayRef, source: &Source<'_>, width: usize) -> Result<(Vec<T>, u64), BatchError> {
    let refused = |element: usize| source.refused(array, element, width);
    let mut rounded = 0;
    let mut float = |value: f64| {
        let (value, lost) = T::float(value)?;
        rounded += u64::from(lost);
        Some(value)
    };
    let values = match array.data_type() {
        DataType::Null => vec![T::ABSENT; array.len()],
        DataType::Boolean => {
            let array: &BooleanArray = array.as_boolean();
            array.iter().map(|value| value.map_or(T::ABSENT, |value| T::whole(value.into()))).collect()
        }
        DataType::UInt64 => {
            let array: &UInt64Array = array.as_primitive::<UInt64Type>();
            array.iter().map(|value| value.map_or(T::ABSENT, |value| T::whole(value.into()))).collect()
        }
        DataType::Float64 => {
            let array: &Float64Array = array.as_primitive::<Float64Type>();
            array.iter().map(|value| value.map_or(T::ABSENT, &mut float)).collect()
        }
        other if other.is_floating() => {
            let wide = widened(array, &DataType::Float32)?;
            let wide: &Float32Array = wide.as_primitive::<Float32Type>();
            wide.iter().map(|value| value.map_or(T::ABSENT, |value| float(value.into()))).collect()
        }
        other if other.is_integer() => {
            let wide = widened(array, &DataType::Int64)?;
            let wide: &Int64Array = wide.as_primitive::<Int64Type>();
            wide.iter().map(|value| value.map_or(T::ABSENT, |value| T::whole(value.into()))).collect::<Vec<_>>()
        }
        other => return Err(wrong_type(source.column, other, source.input)),
    };
    let values = values.into_iter().enumerate().map(|(element, value)| value.ok_or_else(|| refused(element)));
    let values = values.collect::<Result<_, _>>()?;
    Ok((values, rounded))
}

fn texts(array: &ArrayRef, source: &Source<'_>, width: usize) -> Result<Vec<Bytes>, BatchError> {
    let refused = |element: usize| source.refused(array, element, width);
    if array.data_type().is_string() {
        let wide = widened(array, &DataType::Utf8)?;
        let wide: &StringArray = wide.as_string();
        let texts = wide.iter().enumerate().map(|(element, text)| {
            text.map(|text| Bytes::copy_from_slice(text.as_bytes())).ok_or_else(|| refused(element))
        });
        return texts.collect();
    }
    if !is_text(array.data_type()) && !array.data_type().is_null() {
        return Err(wrong_type(source.column, array.data_type(), source.input));
    }
    let wide = widened(array, &DataType::Binary)?;
    let wide: &BinaryArray = wide.as_binary();
    let texts = wide.iter().enumerate();
    texts.map(|(element, bytes)| bytes.map(Bytes::copy_from_slice).ok_or_else(|| refused(element))).collect()
}

/// Columns, each with its width, side by side, row-major.
pub(super) fn interleaved(mut parts: Vec<(TensorData, usize)>, rows: usize) -> Result<TensorData, BatchError> {
    if parts.len() == 1
        && let Some((data, _)) = parts.pop()
    {
        return Ok(data);
    }
    macro_rules! weave {
        ($($variant:ident),*) => {
            match parts.first() {
                $(Some((TensorData::$variant(_), _)) => {
                    let columns = parts.iter().filter_map(|(data, width)| match data {
                        TensorData::$variant(values) => Some((values.as_slice(), *width)),
                        _ => None,
                    });
                    TensorData::$variant(woven(&columns.collect::<Vec<_>>(), rows))
                })*
                None => return Err(BatchError::Arrow("an input has no column".to_owned())),
            }
        };
    }
    Ok(weave!(Bool, Uint8, Uint16, Uint32, Uint64, Int8, Int16, Int32, Int64, Fp16, Bf16, Fp32, Fp64, Bytes))
}

fn woven<T: Clone>(columns: &[(&[T], usize)], rows: usize) -> Vec<T> {
    let width: usize = columns.iter().map(|(_, width)| width).sum();
    let mut all = Vec::with_capacity(rows * width);
    for row in 0..rows {
        for (values, width) in columns {
            // Every column has `rows` rows of its width.
            all.extend_from_slice(values.get(row * width..(row + 1) * width).unwrap_or_default());
        }
    }
    all
}
