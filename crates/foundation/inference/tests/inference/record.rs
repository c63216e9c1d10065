//! What `tests/python/onnx_zoo.py` records beside a model: inputs, and the answers of the real onnxruntime.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use ropewalk_inference::{NamedTensor, Tensor, TensorData};
use serde_json::Value;

/// The largest difference allowed, relative to the value where that is above 1.
pub(crate) const TOLERANCE: f64 = 1e-5;

pub(crate) fn read(path: &Path) -> Vec<u8> {
    std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The models of a folder, by name.
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

/// A recorded tensor.
pub(crate) fn tensor(value: &Value) -> NamedTensor {
    let elements = value["data"].as_array().unwrap();
    let data: TensorData = match value["datatype"].as_str().unwrap() {
        "FP32" => elements.iter().map(parsed::<f32>).collect::<Vec<_>>().into(),
        "FP64" => elements.iter().map(parsed::<f64>).collect::<Vec<_>>().into(),
        "INT64" => elements.iter().map(parsed::<i64>).collect::<Vec<_>>().into(),
        "INT32" => elements.iter().map(parsed::<i32>).collect::<Vec<_>>().into(),
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
pub(crate) fn compare(found: &Tensor, expected: &Tensor, place: &str) -> f64 {
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
pub(crate) fn nan_or_larger(left: f64, right: f64) -> f64 {
    if left.is_nan() || left > right { left } else { right }
}
