//! The exported model must be the one that was trained: both are asked for every row of a part.

use bytes::Bytes;
use ropewalk_inference::{ClassicalEngine, InferenceError, Model, NamedTensor, Tensor, TensorData};
use ropewalk_types::Signature;

use crate::export::PROBABILITY;
use crate::table::{Column, Table, Values};
use crate::{ExportCheck, TrainingError};

/// Largest difference of two probabilities that the order of 32-bit additions explains.
const LIMIT: f64 = 1e-5;

/// Rows asked at once: bounds the memory.
const BATCH_ROWS: usize = 8_192;

/// Loads `onnx` in the engine that will serve it and compares its probabilities of class 1 with `expected`, row by row.
pub(crate) fn compare(
    onnx: &[u8],
    table: &Table,
    rows: &[usize],
    expected: &[f32],
) -> Result<(Signature, ExportCheck), TrainingError> {
    let engine = ClassicalEngine;
    let model = engine.load(onnx)?;
    let mut difference = 0.0_f64;
    for (rows, expected) in rows.chunks(BATCH_ROWS).zip(expected.chunks(BATCH_ROWS)) {
        let found = probabilities(model.as_ref(), table, rows)?;
        for (found, expected) in found.iter().zip(expected) {
            let distance = f64::from((found - expected).abs());
            // `max` would pass over a NaN.
            difference = if distance.is_nan() { f64::INFINITY } else { difference.max(distance) };
        }
    }
    if difference > LIMIT {
        return Err(TrainingError::ExportDiffers { difference, limit: LIMIT, engine: ClassicalEngine::NAME });
    }
    let rows = rows.len() as u64;
    let check = ExportCheck { rows, max_abs_difference: difference, engine: ClassicalEngine::NAME.to_owned() };
    Ok((model.signature().clone(), check))
}

fn probabilities(model: &dyn Model, table: &Table, rows: &[usize]) -> Result<Vec<f32>, TrainingError> {
    let inputs = table.columns.iter().map(|column| raw(column, rows)).collect::<Result<Vec<_>, _>>()?;
    let outputs = model.predict(&inputs)?;
    let found = outputs.iter().find(|output| output.name == PROBABILITY).map(|output| &output.tensor.data);
    match found {
        Some(TensorData::Fp32(values)) if values.len() == 2 * rows.len() => {
            Ok(values.iter().skip(1).step_by(2).copied().collect())
        }
        other => Err(TrainingError::ExportShape { rows: rows.len(), found: other.map_or(0, TensorData::len) }),
    }
}

/// The column as a request would carry it.
fn raw(column: &Column, rows: &[usize]) -> Result<NamedTensor, InferenceError> {
    let shape = vec![rows.len(), 1];
    let tensor = match &column.values {
        Values::Numeric(values) => {
            let values = rows.iter().map(|row| values.get(*row).copied().unwrap_or(f32::NAN));
            Tensor::new(shape, values.collect::<Vec<f32>>())
        }
        Values::Text(values) => {
            use arrow::array::Array;
            let text = |row: usize| if values.is_valid(row) { values.value(row) } else { "" };
            let values = rows.iter().map(|row| Bytes::copy_from_slice(text(*row).as_bytes()));
            Tensor::new(shape, values.collect::<Vec<Bytes>>())
        }
    };
    Ok(NamedTensor::new(column.name.clone(), tensor?))
}
