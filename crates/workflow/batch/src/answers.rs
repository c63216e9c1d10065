//! What a model answers, as columns.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, FixedSizeListArray, Float16Array, Float32Array, Float64Array, Int8Array, Int16Array,
    Int32Array, Int64Array, ListArray, StringArray, UInt8Array, UInt16Array, UInt32Array, UInt64Array, new_empty_array,
};
use arrow::datatypes::{DataType, Field, FieldRef};
use ropewalk_inference::{Model, NamedTensor, TensorData};
use ropewalk_types::{ElementType, TensorSpec};

use crate::BatchError;

/// The key of a field's metadata that holds the labels of the entries of its vectors, as a JSON array.
const LABELS_KEY: &str = "ropewalk.labels";

/// One output as a column: its field and its values.
pub(crate) fn column(
    output: NamedTensor,
    name: &str,
    rows: usize,
    first: u64,
    model: &dyn Model,
) -> Result<(FieldRef, ArrayRef), BatchError> {
    let NamedTensor { name: output, tensor } = output;
    let shape = tensor.shape;
    // A model of one row may answer without a dimension for it.
    let alone = shape.is_empty() && rows == 1;
    let width: usize = shape.iter().skip(1).product();
    if !alone && shape.first() != Some(&rows) || tensor.data.len() != rows * width {
        return Err(BatchError::OutputShape { output, found: format!("{shape:?}"), rows });
    }
    let values = array(tensor.data, &output, first, width)?;
    let is_vector = width != 1;
    let array = if is_vector { vectors(values, width, rows)? } else { values };
    Ok((field(name, array.data_type().clone(), labels(model, &output, width)), array))
}

/// The column of an output of a table without rows, as far as the signature says what it is.
pub(crate) fn empty(output: &TensorSpec, name: &str, model: &dyn Model) -> (FieldRef, ArrayRef) {
    let item = data_type(output.datatype);
    let known: Option<i64> = output
        .shape
        .get(1..)
        .unwrap_or_default()
        .iter()
        .try_fold(1, |product: i64, extent| (*extent >= 0).then(|| product.saturating_mul(*extent)));
    let classes = model.class_labels(&output.name).map(TensorData::len);
    let width = known.and_then(|known| usize::try_from(known).ok()).or(classes);
    let data_type = match width {
        Some(1) => item,
        Some(width) => DataType::FixedSizeList(entry(item), i32::try_from(width).unwrap_or(i32::MAX)),
        None => DataType::List(entry(item)),
    };
    let labels = width.and_then(|width| labels(model, &output.name, width));
    (field(name, data_type.clone(), labels), new_empty_array(&data_type))
}

fn field(name: &str, data_type: DataType, labels: Option<String>) -> FieldRef {
    let field = Field::new(name, data_type, true);
    Arc::new(match labels {
        Some(labels) => field.with_metadata([(LABELS_KEY.to_owned(), labels)].into()),
        None => field,
    })
}

fn entry(item: DataType) -> FieldRef {
    Arc::new(Field::new("item", item, true))
}

/// The labels of a vector's entries, where the model names them all.
fn labels(model: &dyn Model, output: &str, width: usize) -> Option<String> {
    let labels = model.class_labels(output).filter(|labels| labels.len() == width)?;
    match labels {
        TensorData::Int64(labels) => serde_json::to_string(labels).ok(),
        TensorData::Bytes(labels) => {
            let texts: Vec<_> = labels.iter().map(|label| String::from_utf8_lossy(label)).collect();
            serde_json::to_string(&texts).ok()
        }
        _ => None,
    }
}

fn vectors(values: ArrayRef, width: usize, rows: usize) -> Result<ArrayRef, BatchError> {
    let item = entry(values.data_type().clone());
    if width == 0 {
        // Parquet has no vectors of no entry.
        let offsets = arrow::buffer::OffsetBuffer::from_lengths(std::iter::repeat_n(0, rows));
        return Ok(Arc::new(ListArray::new(item, offsets, values, None)));
    }
    let width = i32::try_from(width).map_err(|error| BatchError::Arrow(error.to_string()))?;
    let lists = FixedSizeListArray::try_new_with_length(item, width, values, None, rows);
    Ok(Arc::new(lists.map_err(|error| BatchError::Arrow(error.to_string()))?))
}

fn data_type(element: ElementType) -> DataType {
    match element {
        ElementType::Bool => DataType::Boolean,
        ElementType::Uint8 => DataType::UInt8,
        ElementType::Uint16 => DataType::UInt16,
        ElementType::Uint32 => DataType::UInt32,
        ElementType::Uint64 => DataType::UInt64,
        ElementType::Int8 => DataType::Int8,
        ElementType::Int16 => DataType::Int16,
        ElementType::Int32 => DataType::Int32,
        ElementType::Int64 => DataType::Int64,
        ElementType::Fp16 => DataType::Float16,
        // Arrow has no such type; every one of its numbers is an f32.
        ElementType::Bf16 | ElementType::Fp32 => DataType::Float32,
        ElementType::Fp64 => DataType::Float64,
        ElementType::Bytes => DataType::Utf8,
    }
}

fn array(data: TensorData, output: &str, first: u64, width: usize) -> Result<ArrayRef, BatchError> {
    Ok(match data {
        TensorData::Bool(values) => Arc::new(BooleanArray::from(values)),
        TensorData::Uint8(values) => Arc::new(UInt8Array::from(values)),
        TensorData::Uint16(values) => Arc::new(UInt16Array::from(values)),
        TensorData::Uint32(values) => Arc::new(UInt32Array::from(values)),
        TensorData::Uint64(values) => Arc::new(UInt64Array::from(values)),
        TensorData::Int8(values) => Arc::new(Int8Array::from(values)),
        TensorData::Int16(values) => Arc::new(Int16Array::from(values)),
        TensorData::Int32(values) => Arc::new(Int32Array::from(values)),
        TensorData::Int64(values) => Arc::new(Int64Array::from(values)),
        TensorData::Fp16(values) => Arc::new(Float16Array::from(values)),
        TensorData::Bf16(values) => Arc::new(Float32Array::from_iter_values(values.into_iter().map(f32::from))),
        TensorData::Fp32(values) => Arc::new(Float32Array::from(values)),
        TensorData::Fp64(values) => Arc::new(Float64Array::from(values)),
        TensorData::Bytes(values) => {
            let mut texts = Vec::with_capacity(values.len());
            for (element, value) in values.iter().enumerate() {
                let row = first + (element / width.max(1)) as u64;
                let text = std::str::from_utf8(value);
                texts.push(text.map_err(|_| BatchError::OutputText { output: output.to_owned(), row })?);
            }
            Arc::new(StringArray::from(texts))
        }
    })
}
