//! The ONNX operator specification's own examples on this engine alone: each is answered rightly or refused.

use std::path::{Path, PathBuf};

use half::f16;
use ropewalk_store::files;
use serde_json::Value;

use crate::onnx::decode_model;
use crate::{LoadOptions, NamedTensor, Tensor, TensorData};

fn models() -> Vec<PathBuf> {
    let committed = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/specification");
    let folders = std::iter::once(committed).chain(std::env::var_os("ROPEWALK_ONNX_SPECIFICATION").map(PathBuf::from));
    let files = folders.flat_map(|folder| files::list(&folder).unwrap()).map(|entry| entry.path);
    files.filter(|path| path.extension().is_some_and(|one| one == "onnx")).collect()
}

/// A tensor of a type that the engine takes.
fn tensor(value: &Value) -> Option<NamedTensor> {
    fn all<T: std::str::FromStr>(value: &Value) -> Option<Vec<T>> {
        let text = |one: &Value| one.as_str().map_or_else(|| one.to_string(), str::to_owned);
        value["data"].as_array()?.iter().map(|one| text(one).parse().ok()).collect()
    }
    let data: TensorData = match value["datatype"].as_str()? {
        "FP16" => all::<f32>(value)?.into_iter().map(f16::from_f32).collect::<Vec<_>>().into(),
        "FP32" => all::<f32>(value)?.into(),
        "INT8" => all::<i8>(value)?.into(),
        "INT32" => all::<i32>(value)?.into(),
        "INT64" => all::<i64>(value)?.into(),
        "UINT8" => all::<u8>(value)?.into(),
        "BOOL" => all::<bool>(value)?.into(),
        _ => return None,
    };
    let shape = value["shape"].as_array()?.iter().map(|one| usize::try_from(one.as_u64()?).ok());
    let shape = shape.collect::<Option<Vec<_>>>()?;
    Some(NamedTensor::new(value["name"].as_str()?, Tensor::new(shape, data).ok()?))
}

fn reals(data: &TensorData) -> Option<(Vec<f32>, f32)> {
    match data {
        TensorData::Fp16(values) => Some((values.iter().map(|value| value.to_f32()).collect(), 2e-3)),
        TensorData::Fp32(values) => Some((values.clone(), 1e-4)),
        _ => None,
    }
}

#[expect(clippy::float_cmp, reason = "infinities are equal or not")]
fn is_same(found: &Tensor, expected: &Tensor) -> bool {
    if found.shape != expected.shape || found.element_type() != expected.element_type() {
        return false;
    }
    let near = |(one, other): (&f32, &f32), tolerance: f32| {
        one == other || (one.is_nan() && other.is_nan()) || (one - other).abs() <= tolerance * other.abs().max(1.0)
    };
    match (reals(&found.data), reals(&expected.data)) {
        (Some((found, tolerance)), Some((expected, _))) => {
            found.iter().zip(&expected).all(|pair| near(pair, tolerance))
        }
        _ => found.data == expected.data,
    }
}

/// What is wrong with an example; whether it is answered.
fn check(path: &Path) -> Result<bool, String> {
    let bytes = files::read(path).unwrap();
    let record: Value = serde_json::from_slice(&files::read(&path.with_extension("json")).unwrap()).unwrap();
    let Ok(model) = super::load(&decode_model(&bytes).unwrap(), &bytes, &LoadOptions::default()) else {
        return Ok(false);
    };
    let read = |kind: &str| record[kind].as_array().unwrap().iter().map(tensor).collect::<Option<Vec<_>>>();
    let (Some(inputs), Some(expected)) = (read("inputs"), read("outputs")) else {
        return Err("it loads with a type that the engine does not have".to_owned());
    };
    // An error is no wrong answer.
    let Ok(found) = model.predict(&inputs) else { return Ok(false) };
    let wrong = found.iter().zip(&expected).find(|(found, expected)| !is_same(&found.tensor, &expected.tensor));
    wrong.map_or(Ok(true), |(found, expected)| {
        Err(format!("`{}` is {:.300?}, expected {:.300?}", found.name, found.tensor, expected.tensor))
    })
}

#[test]
fn what_is_taken_is_answered_as_the_specification_shows() {
    let (mut right, mut wrong) = (0, Vec::new());
    for path in models() {
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        match check(&path) {
            Ok(answered) => right += usize::from(answered),
            Err(reason) => wrong.push(format!("{name}: {reason}")),
        }
    }
    assert!(wrong.is_empty(), "{} wrong, {right} right:\n{}", wrong.len(), wrong.join("\n"));
    assert!(right >= 10, "only {right} examples");
}
