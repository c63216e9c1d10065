//! Trains on a Parquet file and prints the figures as one line of JSON; `benches/compare/training` runs it.
//!
//! `train_parquet FEATURES.parquet SETTINGS [DIR]`: the settings are JSON. With `DIR` it leaves there `model.onnx`, and
//! `inputs.json` and `expected.json` with our engine's answers for every row, for `tests/python/check_onnx.py`.

use std::path::Path;
use std::time::Instant;

use anyhow::{Context, bail};
use arrow::array::{Array, AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float32Type};
use bytes::Bytes;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use ropewalk_inference::{ClassicalEngine, NamedTensor, Tensor, TensorData};
use ropewalk_store::files;
use ropewalk_training::{NoProgress, TrainSettings, Trained, train};
use ropewalk_types::ElementType;
use serde_json::{Map, Value, json};

#[expect(clippy::print_stdout, reason = "the figures are the output of this program")]
fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [table, settings, ..] = arguments.as_slice() else {
        bail!("usage: train_parquet FEATURES.parquet SETTINGS [DIR]");
    };
    let settings: TrainSettings = serde_json::from_str(settings).context("the settings are not as expected")?;
    let reader = ParquetRecordBatchReaderBuilder::try_new(files::open(Path::new(table))?)?.build()?;
    let batches = reader.collect::<Result<Vec<_>, _>>()?;

    let start = Instant::now();
    let trained = train(&settings, &batches, &NoProgress)?;
    let seconds = start.elapsed().as_secs_f64();
    if let Some(directory) = arguments.get(2) {
        write_answers(&trained, &batches, Path::new(directory))?;
    }
    let figures = json!({
        "seconds": seconds,
        "metrics": trained.metrics,
        "check": trained.check,
        "onnx_bytes": trained.onnx.len(),
        "importances": trained.importances,
        "iterations": trained.history.len(),
    });
    println!("{figures}");
    Ok(())
}

fn write_answers(trained: &Trained, batches: &[RecordBatch], directory: &Path) -> anyhow::Result<()> {
    let table = arrow::compute::concat_batches(&batches[0].schema(), batches)?;
    let mut tensors = Vec::new();
    let mut inputs = Map::new();
    for spec in &trained.signature.inputs {
        let column = table.column_by_name(&spec.name).context("the table has every input")?;
        let data = column_data(column, spec.datatype == ElementType::Bytes)?;
        inputs.insert(spec.name.clone(), as_json(&data));
        tensors.push(NamedTensor::new(spec.name.as_str(), Tensor::new(vec![table.num_rows(), 1], data)?));
    }
    let outputs = ClassicalEngine.load(&trained.onnx)?.predict(&tensors)?;
    let expected: Map<String, Value> = outputs
        .iter()
        .map(|output| {
            let flat = as_json(&output.tensor.data);
            let nested = match (&flat, output.tensor.shape.as_slice()) {
                (Value::Array(values), [_, width]) => values.chunks(*width).map(Value::from).collect(),
                _ => flat,
            };
            (output.name.clone(), nested)
        })
        .collect();
    files::write_atomic(&directory.join("model.onnx"), &trained.onnx)?;
    files::write_atomic(&directory.join("inputs.json"), &serde_json::to_vec(&inputs)?)?;
    files::write_atomic(&directory.join("expected.json"), &serde_json::to_vec(&expected)?)?;
    Ok(())
}

fn column_data(column: &dyn Array, words: bool) -> anyhow::Result<TensorData> {
    if words {
        let column = cast(column, &DataType::Utf8)?;
        let words = column.as_string::<i32>().iter().map(|word| Bytes::copy_from_slice(word.unwrap_or("").as_bytes()));
        return Ok(TensorData::Bytes(words.collect()));
    }
    let column = cast(column, &DataType::Float32)?;
    let numbers = column.as_primitive::<Float32Type>().iter().map(|number| number.unwrap_or(f32::NAN));
    Ok(TensorData::Fp32(numbers.collect()))
}

/// JSON has no NaN: it becomes null, which the check reads as NaN.
fn as_json(data: &TensorData) -> Value {
    match data {
        TensorData::Fp32(values) => values.iter().copied().map(Value::from).collect(),
        TensorData::Int64(values) => values.iter().copied().map(Value::from).collect(),
        TensorData::Bytes(values) => values.iter().map(|word| Value::from(String::from_utf8_lossy(word))).collect(),
        other => Value::from(format!("no output is of type {}", other.element_type())),
    }
}
