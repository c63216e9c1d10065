//! The ONNX operator specification's own examples (`tests/python/onnx_specification.py`).

use std::path::{Path, PathBuf};

use bytes::Bytes;
use half::{bf16, f16};
use ropewalk_inference::{ClassicalEngine, InferenceError, NamedTensor, Tensor, TensorData};
use serde_json::Value;

/// What is refused at load, and a part of the reason. An example that is refused and not listed here fails, and so
/// does one that is listed and loads.
const REFUSED: [(&str, &str); 4] = [
    ("test_not_2d", "versions 7 to 25 of the domain"),
    ("test_not_3d", "versions 7 to 25 of the domain"),
    ("test_not_4d", "versions 7 to 25 of the domain"),
    ("test_scan_sum", "version 8, which has a batch of its own"),
];

fn read(path: &Path) -> Vec<u8> {
    std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The committed selection, and all examples if `ROPEWALK_ONNX_SPECIFICATION` names their folder.
fn models() -> Vec<PathBuf> {
    let committed = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/specification");
    let folders = std::iter::once(committed).chain(std::env::var_os("ROPEWALK_ONNX_SPECIFICATION").map(PathBuf::from));
    let entries = folders.flat_map(|folder| std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()));
    let mut models: Vec<PathBuf> = entries.filter(|path| path.extension().is_some_and(|one| one == "onnx")).collect();
    models.sort();
    models
}

fn parsed<T: std::str::FromStr>(value: &Value) -> T {
    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    text.parse().unwrap_or_else(|_| panic!("`{text}`"))
}

fn tensor(value: &Value) -> NamedTensor {
    fn all<T: std::str::FromStr>(elements: &[Value]) -> Vec<T> {
        elements.iter().map(parsed).collect()
    }
    let elements = value["data"].as_array().unwrap();
    let data: TensorData = match value["datatype"].as_str().unwrap() {
        "FP16" => all::<f32>(elements).into_iter().map(f16::from_f32).collect::<Vec<_>>().into(),
        "BF16" => all::<f32>(elements).into_iter().map(bf16::from_f32).collect::<Vec<_>>().into(),
        "FP32" => all::<f32>(elements).into(),
        "FP64" => all::<f64>(elements).into(),
        "INT8" => all::<i8>(elements).into(),
        "INT16" => all::<i16>(elements).into(),
        "INT32" => all::<i32>(elements).into(),
        "INT64" => all::<i64>(elements).into(),
        "UINT8" => all::<u8>(elements).into(),
        "UINT16" => all::<u16>(elements).into(),
        "UINT32" => all::<u32>(elements).into(),
        "UINT64" => all::<u64>(elements).into(),
        "BOOL" => all::<bool>(elements).into(),
        "BYTES" => elements.iter().map(|one| Bytes::from(one.as_str().unwrap().to_owned())).collect::<Vec<_>>().into(),
        other => panic!("{other}"),
    };
    let shape = value["shape"].as_array().unwrap().iter().map(parsed::<usize>).collect();
    NamedTensor::new(value["name"].as_str().unwrap(), Tensor::new(shape, data).unwrap())
}

/// Real elements, and by how much two of them may differ, relative to those above 1; none if they must be equal.
fn reals(data: &TensorData) -> Option<(Vec<f64>, f64)> {
    Some(match data {
        TensorData::Fp16(values) => (values.iter().map(|value| value.to_f64()).collect(), 2e-3),
        TensorData::Bf16(values) => (values.iter().map(|value| value.to_f64()).collect(), 1e-2),
        TensorData::Fp32(values) => (values.iter().map(|value| f64::from(*value)).collect(), 1e-5),
        TensorData::Fp64(values) => (values.clone(), 1e-7),
        _ => return None,
    })
}

#[expect(clippy::float_cmp, reason = "infinities are equal or not")]
fn is_near(found: f64, expected: f64, tolerance: f64) -> bool {
    let both_missing = found.is_nan() && expected.is_nan();
    found == expected || both_missing || (found - expected).abs() <= tolerance * expected.abs().max(1.0)
}

/// What differs, if anything.
fn difference(found: &Tensor, expected: &Tensor) -> Option<String> {
    let (type_found, type_expected) = (found.element_type(), expected.element_type());
    if (type_found, &found.shape) != (type_expected, &expected.shape) {
        return Some(format!("{type_found}{:?}, expected {type_expected}{:?}", found.shape, expected.shape));
    }
    let same = match (reals(&found.data), reals(&expected.data)) {
        (Some((found, tolerance)), Some((expected, _))) => {
            found.iter().zip(&expected).all(|(found, expected)| is_near(*found, *expected, tolerance))
        }
        _ => found.data == expected.data,
    };
    (!same).then(|| format!("{:?}, expected {:?}", found.data, expected.data))
}

/// What is wrong with one example; `Ok(false)` if it is refused as it should be.
fn check(path: &Path) -> Result<bool, String> {
    let name = path.file_stem().unwrap().to_string_lossy();
    let record: Value = serde_json::from_slice(&read(&path.with_extension("json"))).unwrap();
    let inputs: Vec<NamedTensor> = record["inputs"].as_array().unwrap().iter().map(tensor).collect();
    let refusal = REFUSED.iter().find(|(refused, _)| *refused == name);
    let model = match (ClassicalEngine.load(&read(path)), refusal) {
        (Ok(model), None) => model,
        (Ok(_), Some(_)) => return Err("it loads, but is listed as refused".to_owned()),
        (Err(error @ InferenceError::Unsupported { .. }), Some((_, reason))) if error.to_string().contains(reason) => {
            return Ok(false);
        }
        (Err(error), _) => return Err(format!("it does not load: {error}")),
    };
    let outputs = model.predict(&inputs).map_err(|error| error.to_string())?;
    for (output, expected) in outputs.iter().zip(record["outputs"].as_array().unwrap()) {
        let expected = tensor(expected);
        assert_eq!(output.name, expected.name, "{name}");
        if let Some(difference) = difference(&output.tensor, &expected.tensor) {
            return Err(format!("`{}` is {difference:.900}", output.name));
        }
    }
    Ok(true)
}

#[test]
fn operators_do_what_the_specification_shows() {
    let (mut passed, mut wrong) = (0, Vec::new());
    for path in models() {
        match check(&path) {
            Ok(true) => passed += 1,
            Ok(false) => {}
            Err(reason) => wrong.push(format!("{}: {reason}", path.file_stem().unwrap().to_string_lossy())),
        }
    }
    println!("{passed} examples");
    assert!(wrong.is_empty(), "{} of {} are wrong:\n{}", wrong.len(), wrong.len() + passed, wrong.join("\n"));
    assert!(passed >= 40, "only {passed} examples");
}
