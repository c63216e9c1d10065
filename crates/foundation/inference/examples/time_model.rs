//! Times one model on one engine: `time_model ENGINE MODEL.onnx BATCH[,BATCH…] [ROWS.raw [ANSWERS.raw]]`.
//!
//! `ENGINE` is `embedded`, or the path of a library of ONNX Runtime. Each evaluates with one thread.
//! `ROWS.raw` holds, for each input in turn, as many rows as the largest batch, little-endian (FP32, FP64, INT32 or
//! INT64); without it the rows are made up. Into `ANSWERS.raw` go the outputs of the largest batch that are FP32 or INT64, as
//! f32. Prints one JSON line: the CPU microseconds of this process for one call at each batch size.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ropewalk_inference::{
    EmbeddedEngine, Engine, InferenceError, LoadOptions, Model, ModelSource, NamedTensor, OnnxRuntimeEngine,
    OnnxRuntimeSearch, Tensor, TensorData,
};
use ropewalk_types::{ElementType, TensorSpec};
use rustix::time::{ClockId, clock_gettime};

type Failure = Box<dyn std::error::Error>;

/// CPU time to spend at each batch size.
const BUDGET: Duration = Duration::from_millis(300);
/// The most calls between two looks at the clock.
const CALLS: u32 = 16;

/// CPU time of this process so far.
fn cpu_time() -> Duration {
    let now = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(now.tv_sec.unsigned_abs(), u32::try_from(now.tv_nsec).unwrap_or(0))
}

/// Little-endian bytes of numbers from -2 to 2, the same in each run.
fn made_up(element_type: ElementType, count: usize) -> Vec<u8> {
    let step =
        |state: &u64| Some(state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407));
    let numbers = std::iter::successors(Some(1_u64), step).skip(1);
    let numbers = numbers.map(|state| f64::from((state >> 40) as u32) / f64::from(1 << 22) - 2.0).take(count);
    match element_type {
        ElementType::Fp64 => numbers.flat_map(f64::to_le_bytes).collect(),
        ElementType::Int64 => numbers.flat_map(|number| (number as i64).to_le_bytes()).collect(),
        ElementType::Int32 => numbers.flat_map(|number| (number as i32).to_le_bytes()).collect(),
        _ => numbers.flat_map(|number| (number as f32).to_le_bytes()).collect(),
    }
}

fn tensor_data(element_type: ElementType, bytes: &[u8]) -> Result<TensorData, Failure> {
    Ok(match element_type {
        ElementType::Fp32 => bytes.as_chunks().0.iter().map(|one| f32::from_le_bytes(*one)).collect::<Vec<_>>().into(),
        ElementType::Fp64 => bytes.as_chunks().0.iter().map(|one| f64::from_le_bytes(*one)).collect::<Vec<_>>().into(),
        ElementType::Int64 => bytes.as_chunks().0.iter().map(|one| i64::from_le_bytes(*one)).collect::<Vec<_>>().into(),
        ElementType::Int32 => bytes.as_chunks().0.iter().map(|one| i32::from_le_bytes(*one)).collect::<Vec<_>>().into(),
        other => return Err(format!("inputs of type {other} are not made here").into()),
    })
}

/// The extent of an input in its other dimensions, an open one being 1.
fn row_shape(spec: &TensorSpec) -> Vec<usize> {
    spec.shape.iter().skip(1).map(|extent| usize::try_from(*extent).unwrap_or(1)).collect()
}

/// The inputs for the first `rows` rows of `all`, which has `most` rows of each input.
fn inputs(specs: &[TensorSpec], all: Option<&[u8]>, most: usize, rows: usize) -> Result<Vec<NamedTensor>, Failure> {
    let mut left = all;
    let named = specs.iter().map(|spec| {
        let shape = row_shape(spec);
        let size = if matches!(spec.datatype, ElementType::Fp32 | ElementType::Int32) { 4 } else { 8 };
        let width = shape.iter().product::<usize>();
        let bytes = match &mut left {
            Some(left) => {
                let (mine, rest) = left.split_at_checked(most * width * size).ok_or("the file of rows is too short")?;
                *left = rest;
                mine.get(..rows * width * size).unwrap_or_default().to_vec()
            }
            None => made_up(spec.datatype, rows * width),
        };
        let shape = std::iter::once(rows).chain(shape).collect();
        Ok(NamedTensor::new(&*spec.name, Tensor::new(shape, tensor_data(spec.datatype, &bytes)?)?))
    });
    named.collect()
}

fn answers(outputs: &[NamedTensor]) -> Vec<u8> {
    let bytes = outputs.iter().map(|output| match &output.tensor.data {
        TensorData::Fp32(values) => values.iter().flat_map(|value| value.to_le_bytes()).collect(),
        TensorData::Int64(values) => values.iter().flat_map(|value| (*value as f32).to_le_bytes()).collect(),
        _ => Vec::new(),
    });
    bytes.collect::<Vec<Vec<u8>>>().concat()
}

/// The engine that is asked for.
fn engine(name: &str) -> Box<dyn Engine> {
    if name == "embedded" {
        return Box::new(EmbeddedEngine);
    }
    Box::new(OnnxRuntimeEngine::new(OnnxRuntimeSearch { path: Some(name.into()), ..OnnxRuntimeSearch::default() }))
}

/// CPU microseconds for one call.
fn time(model: &Arc<dyn Model>, inputs: &[NamedTensor]) -> Result<f64, InferenceError> {
    let once = cpu_time();
    model.predict(inputs)?;
    let at_once = if cpu_time().saturating_sub(once) > BUDGET / CALLS { 1 } else { CALLS };
    let (start, mut calls) = (cpu_time(), 0_u32);
    while cpu_time().saturating_sub(start) < BUDGET {
        for _ in 0..at_once {
            std::hint::black_box(model.predict(std::hint::black_box(inputs))?);
        }
        calls += at_once;
    }
    Ok(cpu_time().saturating_sub(start).as_secs_f64() * 1e6 / f64::from(calls))
}

#[expect(clippy::print_stdout, reason = "the figures are the output of this program")]
fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [name, path, batches, files @ ..] = arguments.as_slice() else {
        return Err("usage: time_model ENGINE MODEL.onnx BATCH[,BATCH…] [ROWS.raw [ANSWERS.raw]]".into());
    };
    let batches = batches.split(',').map(str::parse).collect::<Result<Vec<usize>, _>>()?;
    let most = batches.iter().copied().max().unwrap_or(1);
    let source = ModelSource::from(Bytes::from(std::fs::read(path)?));
    let model = engine(name).load(&source, &LoadOptions::default())?;
    let rows = files.first().map(std::fs::read).transpose()?;
    let mut figures = BTreeMap::new();
    for batch in batches {
        let inputs = inputs(&model.signature().inputs, rows.as_deref(), most, batch)?;
        let outputs = model.predict(&inputs)?;
        if let (Some(file), true) = (files.get(1), batch == most) {
            std::fs::write(file, answers(&outputs))?;
        }
        figures.insert(batch.to_string(), time(&model, &inputs)?);
    }
    println!("{}", serde_json::to_string(&figures)?);
    Ok(())
}
