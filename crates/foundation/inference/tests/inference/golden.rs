//! Models exported by the real libraries and the answers of the real onnxruntime (`tests/python/onnx_zoo.py`).

use std::path::{Path, PathBuf};

use ropewalk_inference::{ClassicalEngine, NamedTensor, Tensor, TensorData};
use serde_json::Value;

use crate::record::{TOLERANCE, compare, models, nan_or_larger, read, tensor};

/// The committed fixtures; `zoo.rs` has the freshly made models.
fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

fn rows(tensor: &Tensor, start: usize, count: usize) -> Tensor {
    fn part<T: Clone>(values: &[T], width: usize, start: usize, count: usize) -> Vec<T> {
        values[start * width..(start + count) * width].to_vec()
    }
    let mut shape = tensor.shape.clone();
    shape[0] = count;
    let width = tensor.shape[1..].iter().product();
    let data: TensorData = match &tensor.data {
        TensorData::Fp32(values) => part(values, width, start, count).into(),
        TensorData::Fp64(values) => part(values, width, start, count).into(),
        TensorData::Int64(values) => part(values, width, start, count).into(),
        TensorData::Bytes(values) => part(values, width, start, count).into(),
        other => panic!("{:?}", other.element_type()),
    };
    Tensor::new(shape, data).unwrap()
}

/// Compares one model with its record and says by how much they differ at most.
fn check(path: &Path) -> f64 {
    let name = path.file_stem().unwrap().to_string_lossy();
    let model = ClassicalEngine.load(&read(path)).unwrap_or_else(|error| panic!("{name}: {error}"));
    let largest = check_answers(&*model, path);
    let record: Value = serde_json::from_slice(&read(&path.with_extension("json"))).unwrap();
    let inputs: Vec<NamedTensor> = record["inputs"].as_array().unwrap().iter().map(tensor).collect();
    assert_same_in_parts(&*model, &inputs, &model.predict(&inputs).unwrap(), &name);
    largest
}

/// Compares a loaded model with the record beside `path` and says by how much they differ at most.
pub(crate) fn check_answers(model: &dyn ropewalk_inference::Model, path: &Path) -> f64 {
    let name = path.file_stem().unwrap().to_string_lossy();
    let record: Value = serde_json::from_slice(&read(&path.with_extension("json"))).unwrap();
    let inputs: Vec<NamedTensor> = record["inputs"].as_array().unwrap().iter().map(tensor).collect();
    let outputs = model.predict(&inputs).unwrap_or_else(|error| panic!("{name}: {error}"));
    let expected = record["outputs"].as_array().unwrap();
    assert_eq!(outputs.len(), expected.len(), "{name}");
    let mut largest = 0.0;
    for ((output, expected), spec) in outputs.iter().zip(expected).zip(&model.signature().outputs) {
        let expected = tensor(expected);
        let place = format!("{name}, output {}", output.name);
        assert_eq!(output.name, expected.name, "{place}");
        assert_eq!(output.tensor.element_type(), spec.datatype, "{place}");
        let shape: Vec<i64> = output.tensor.shape.iter().map(|extent| *extent as i64).collect();
        assert!(spec.accepts(&shape), "{place}: {spec} does not accept {shape:?}");
        largest = nan_or_larger(largest, compare(&output.tensor, &expected.tensor, &place));
        let labels = record["class_labels"][&output.name].as_array();
        assert_eq!(model.class_labels(&output.name).map(TensorData::len), labels.map(Vec::len), "{place}");
    }
    largest
}

/// A row's answer does not depend on its batch, bit for bit.
fn assert_same_in_parts(
    model: &dyn ropewalk_inference::Model,
    inputs: &[NamedTensor],
    whole: &[NamedTensor],
    name: &str,
) {
    let count = inputs[0].tensor.shape[0];
    for row in 0..count {
        let one: Vec<NamedTensor> =
            inputs.iter().map(|input| NamedTensor::new(&*input.name, rows(&input.tensor, row, 1))).collect();
        for (found, whole) in model.predict(&one).unwrap().iter().zip(whole) {
            if whole.tensor.shape.first() == Some(&count) && !matches!(whole.tensor.data, TensorData::Bool(_)) {
                let expected = rows(&whole.tensor, row, 1);
                assert_eq!(format!("{:?}", found.tensor), format!("{expected:?}"), "{name}, row {row}, {}", found.name);
            }
        }
    }
}

#[test]
fn answers_are_those_of_onnxruntime() {
    let mut count = 0;
    for path in models(&fixtures()) {
        let largest = check(&path);
        println!("{:<28} {largest:.1e}", path.file_stem().unwrap().to_string_lossy());
        assert!(largest <= TOLERANCE, "{}: {largest}", path.display());
        count += 1;
    }
    assert!(count >= 20, "only {count} fixtures");
}
