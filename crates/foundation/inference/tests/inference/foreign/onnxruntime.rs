use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use ropewalk_inference::onnx::{Attribute, GraphBuilder};
use ropewalk_inference::{
    EmbeddedEngine, Engine, EngineName, Engines, InferenceError, LoadOptions, Model, ModelSource, NamedTensor,
    OnnxRuntimeEngine, OnnxRuntimeSearch, Tensor, TensorData,
};
use ropewalk_types::{Diagnose, ElementType};

use super::python;
use crate::golden;
use crate::record;

pub(crate) fn engine() -> OnnxRuntimeEngine {
    let library = python().parent().unwrap().parent().unwrap().join("lib");
    let pythons = std::fs::read_dir(library).unwrap().map(|entry| entry.unwrap().path().join("site-packages"));
    OnnxRuntimeEngine::new(OnnxRuntimeSearch { pythons: pythons.collect(), ..OnnxRuntimeSearch::default() })
}

fn load(bytes: impl Into<Bytes>) -> Result<Arc<dyn Model>, InferenceError> {
    engine().load(&ModelSource::Onnx { bytes: bytes.into(), folder: None }, &LoadOptions::default())
}

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

#[test]
fn every_fixture_is_answered_as_recorded() {
    let version = engine().available().unwrap();
    assert!(version.starts_with("1.") && version.contains("libonnxruntime"), "{version}");
    let mut count = 0;
    for path in record::models(&fixture("")) {
        let model = load(std::fs::read(&path).unwrap()).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        assert_eq!(model.engine(), EngineName::OnnxRuntime);
        let largest = golden::check_answers(&*model, &path);
        assert!(largest <= 1e-6, "{}: {largest}", path.display());
        count += 1;
    }
    assert!(count >= 20, "only {count} fixtures");
}

#[test]
fn a_library_that_is_not_there_is_looked_for_where_it_is_said() {
    // In a process of its own: one that has loaded the library keeps it.
    let engine = OnnxRuntimeEngine::new(OnnxRuntimeSearch { path: Some("/no/such".into()), ..Default::default() });
    match engine.available() {
        Ok(loaded) => assert!(loaded.contains("libonnxruntime"), "{loaded}"),
        Err(error) => {
            assert_eq!(error.code(), "inference.engine_absent");
            assert!(error.to_string().contains("/no/such: not there"), "{error}");
        }
    }
}

#[test]
fn a_request_is_checked_before_the_library_sees_it() {
    let model = load(std::fs::read(fixture("logistic_three_zipmap.onnx")).unwrap()).unwrap();
    let name = model.signature().inputs[0].name.clone();
    let refusal = |tensor: Tensor| model.predict(&[NamedTensor::new(&*name, tensor)]).unwrap_err();
    let error = refusal(Tensor::new(vec![1, 77], vec![0.0_f32; 77]).unwrap());
    assert_eq!(error.code(), "inference.invalid_input");
    assert!(error.to_string().contains("found FP32[1, 77]"), "{error}");
    assert!(refusal(Tensor::new(vec![1, 4], vec![0_i64; 4]).unwrap()).to_string().contains("found INT64[1, 4]"));
    assert!(model.predict(&[]).unwrap_err().to_string().ends_with("found nothing"));
}

fn convolution(kernel: &str) -> Vec<u8> {
    let weights = Tensor::new(vec![1, 1, 2, 2], vec![0.5_f32; 4]).unwrap();
    GraphBuilder::new("convolution")
        .opset("", 16)
        .initializer("weights", &weights)
        .input("x", ElementType::Fp32, &[-1, 1, 4, 4])
        .node("", "Conv", &["x", kernel], &["y"], vec![])
        .output("y", ElementType::Fp32, &[-1, 1, 3, 3])
        .encode()
}

#[test]
fn convolutions_come_here_unless_another_engine_is_asked_for() {
    let engines = Engines::new(vec![Arc::new(EmbeddedEngine), Arc::new(engine())]);
    let load = |bytes: Vec<u8>, wanted| {
        engines.load(&Bytes::from(bytes).into(), wanted, &LoadOptions::default()).map(|model| model.engine())
    };
    assert_eq!(load(convolution("weights"), None).unwrap(), EngineName::OnnxRuntime);
    assert_eq!(load(convolution("weights"), Some(EngineName::Embedded)).unwrap(), EngineName::Embedded);
    assert_eq!(load(passing(ElementType::Fp32), None).unwrap(), EngineName::Embedded);
    // What it cannot load is told by the engine that comes first by itself.
    let error = load(convolution("absent"), None).unwrap_err();
    let embedded = load(convolution("absent"), Some(EngineName::Embedded)).unwrap_err();
    assert_eq!(error.to_string(), embedded.to_string());
}

fn passing(element_type: ElementType) -> Vec<u8> {
    GraphBuilder::new("identity")
        .opset("", 16)
        .input("x", element_type, &[-1])
        .node("", "Identity", &["x"], &["y"], vec![])
        .output("y", element_type, &[-1])
        .encode()
}

#[test]
fn every_type_goes_in_and_comes_out() {
    let all: Vec<TensorData> = vec![
        vec![true, false].into(),
        vec![1_u8, 255].into(),
        vec![1_u16, u16::MAX].into(),
        vec![1_u32, u32::MAX].into(),
        vec![1_u64, u64::MAX].into(),
        vec![-1_i8, 3].into(),
        vec![-1_i16, 3].into(),
        vec![-1_i32, 3].into(),
        vec![i64::MIN, 3].into(),
        vec![half::f16::from_f32(1.5), half::f16::NEG_ONE].into(),
        vec![half::bf16::from_f32(1.5), half::bf16::NEG_ONE].into(),
        vec![1.5_f32, f32::INFINITY].into(),
        vec![1.5_f64, f64::MIN].into(),
        vec![Bytes::from("Tauwerk"), Bytes::from("ö")].into(),
    ];
    for data in all {
        let model = load(passing(data.element_type())).unwrap();
        let input = [NamedTensor::new("x", Tensor::new(vec![2], data.clone()).unwrap())];
        assert_eq!(model.predict(&input).unwrap()[0].tensor.data, data);
    }
    let empty = [NamedTensor::new("x", Tensor::new(vec![0], Vec::<f32>::new()).unwrap())];
    assert_eq!(load(passing(ElementType::Fp32)).unwrap().predict(&empty).unwrap()[0].tensor.shape, [0]);
    for bad in [&b"\xff"[..], b"a\0b"] {
        let input = [NamedTensor::new("x", Tensor::new(vec![1], vec![Bytes::from_static(bad)]).unwrap())];
        let error = load(passing(ElementType::Bytes)).unwrap().predict(&input).unwrap_err();
        assert_eq!(error.code(), "inference.invalid_input");
    }
}

#[test]
fn faults_are_told_apart() {
    assert_eq!(load(&b"\xffrope"[..]).unwrap_err().code(), "inference.malformed");
    let unknown = GraphBuilder::new("unknown")
        .opset("", 16)
        .opset("com.example", 1)
        .input("x", ElementType::Fp32, &[-1])
        .node("com.example", "Rope", &["x"], &["y"], vec![])
        .output("y", ElementType::Fp32, &[-1])
        .encode();
    let error = load(unknown).unwrap_err();
    assert_eq!(error.code(), "inference.unsupported");
    assert!(error.to_string().contains("com.example.Rope"), "{error}");
    let cast = GraphBuilder::new("cast")
        .opset("", 16)
        .input("x", ElementType::Bytes, &[-1])
        .node("", "Cast", &["x"], &["y"], vec![Attribute::new("to", 1_i64)])
        .output("y", ElementType::Fp32, &[-1])
        .encode();
    let seven = [NamedTensor::new("x", Tensor::new(vec![1], vec![Bytes::from("seven")]).unwrap())];
    let error = load(cast).unwrap().predict(&seven).unwrap_err();
    assert_eq!(error.code(), "inference.evaluation", "{error}");
}

#[test]
fn requests_at_once_get_their_own_answers() {
    let model = load(passing(ElementType::Int64)).unwrap();
    std::thread::scope(|scope| {
        for thread in 0..8_i64 {
            let model = &model;
            scope.spawn(move || {
                for round in 0..200 {
                    let data: TensorData = vec![thread, round].into();
                    let input = [NamedTensor::new("x", Tensor::new(vec![2], data.clone()).unwrap())];
                    assert_eq!(model.predict(&input).unwrap()[0].tensor.data, data);
                }
            });
        }
    });
}

/// Prints what a request costs, for comparison with `session.run` of Python; `cargo test -- --nocapture` shows it.
#[test]
fn a_row_costs_microseconds() {
    let model = load(std::fs::read(fixture("logistic_scaled.onnx")).unwrap()).unwrap();
    let spec = &model.signature().inputs[0];
    let width = usize::try_from(spec.shape[1]).unwrap();
    let input = [NamedTensor::new(&*spec.name, Tensor::new(vec![1, width], vec![0.5_f32; width]).unwrap())];
    let start = Instant::now();
    for _ in 0..2000 {
        model.predict(&input).unwrap();
    }
    let each = start.elapsed().as_secs_f64() / 2000.0 * 1e6;
    println!("one row: {each:.1} µs");
    assert!(each < 20_000.0);
}
