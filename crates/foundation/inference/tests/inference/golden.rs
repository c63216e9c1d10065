//! Models exported by the real libraries and the answers of the real onnxruntime (`tests/python/onnx_zoo.py`).

use std::path::{Path, PathBuf};

use bytes::Bytes;
use ropewalk_inference::{ClassicalEngine, NamedTensor, Tensor, TensorData};
use serde_json::Value;

/// The largest difference allowed, relative to the value where that is above 1.
const TOLERANCE: f64 = 1e-5;

fn read(path: &Path) -> Vec<u8> {
    std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Committed fixtures, and a freshly made zoo if `ROPEWALK_ONNX_ZOO` names its folder.
fn folders() -> Vec<PathBuf> {
    let committed = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    std::iter::once(committed).chain(std::env::var_os("ROPEWALK_ONNX_ZOO").map(PathBuf::from)).collect()
}

pub(crate) fn models(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut models: Vec<PathBuf> = entries.filter(|path| path.extension().is_some_and(|one| one == "onnx")).collect();
    models.sort();
    models
}

fn parsed<T: std::str::FromStr>(value: &Value) -> T {
    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    text.parse().unwrap_or_else(|_| panic!("`{text}`"))
}

fn tensor(value: &Value) -> NamedTensor {
    let elements = value["data"].as_array().unwrap();
    let data: TensorData = match value["datatype"].as_str().unwrap() {
        "FP32" => elements.iter().map(parsed::<f32>).collect::<Vec<_>>().into(),
        "FP64" => elements.iter().map(parsed::<f64>).collect::<Vec<_>>().into(),
        "INT64" => elements.iter().map(parsed::<i64>).collect::<Vec<_>>().into(),
        "BOOL" => elements.iter().map(parsed::<bool>).collect::<Vec<_>>().into(),
        "BYTES" => elements.iter().map(|one| Bytes::from(one.as_str().unwrap().to_owned())).collect::<Vec<_>>().into(),
        other => panic!("{other}"),
    };
    let shape = value["shape"].as_array().unwrap().iter().map(parsed::<usize>).collect();
    NamedTensor::new(value["name"].as_str().unwrap(), Tensor::new(shape, data).unwrap())
}

#[expect(clippy::float_cmp, reason = "infinities are equal or not")]
fn difference(found: f64, expected: f64) -> f64 {
    if found == expected || (found.is_nan() && expected.is_nan()) {
        return 0.0;
    }
    (found - expected).abs() / expected.abs().max(1.0)
}

/// The largest difference between two tensors; whatever is not a real number must be equal.
fn compare(found: &Tensor, expected: &Tensor, place: &str) -> f64 {
    assert_eq!(found.shape, expected.shape, "{place}");
    match (&found.data, &expected.data) {
        (TensorData::Fp32(found), TensorData::Fp32(expected)) => {
            let pairs = found.iter().zip(expected);
            pairs.map(|(found, expected)| difference(f64::from(*found), f64::from(*expected))).fold(0.0, nan_or_larger)
        }
        (found, expected) => {
            assert_eq!(found, expected, "{place}");
            0.0
        }
    }
}

/// Unlike `f64::max`, keeps NaN.
fn nan_or_larger(left: f64, right: f64) -> f64 {
    if left.is_nan() || left > right { left } else { right }
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
    for path in folders().iter().flat_map(|folder| models(folder)) {
        let largest = check(&path);
        println!("{:<28} {largest:.1e}", path.file_stem().unwrap().to_string_lossy());
        assert!(largest <= TOLERANCE, "{}: {largest}", path.display());
        count += 1;
    }
    assert!(count >= 20, "only {count} fixtures");
}
