use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow::array::{AsArray as _, Float32Array};
use arrow::datatypes::{Float32Type, SchemaRef};
use ropewalk_inference::{InferenceError, Model, NamedTensor, Tensor, TensorData};
use ropewalk_types::{ElementType, Signature, TensorSpec};

use super::*;
use crate::ColumnChoice;

/// Answers twice the input; breaks or fails at a value.
#[derive(Debug)]
struct Doubling {
    signature: Signature,
    fails_at: f32,
    breaks_at: f32,
}

impl Model for Doubling {
    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn predict(&self, inputs: &[NamedTensor]) -> Result<Vec<NamedTensor>, InferenceError> {
        let TensorData::Fp32(values) = &inputs[0].tensor.data else { panic!("{inputs:?}") };
        assert!(!values.contains(&self.breaks_at));
        if values.contains(&self.fails_at) {
            return Err(InferenceError::Malformed { reason: "seven".to_owned() });
        }
        let doubled: Vec<f32> = values.iter().map(|value| value * 2.0).collect();
        Ok(vec![NamedTensor::new("y", Tensor::new(vec![doubled.len()], doubled)?)])
    }
}

fn scorer(fails_at: f32, breaks_at: f32) -> Scorer {
    let spec = |name: &str| TensorSpec { name: name.to_owned(), datatype: ElementType::Fp32, shape: vec![-1] };
    let signature = Signature { inputs: vec![spec("x")], outputs: vec![spec("y")] };
    let model = Doubling { signature, fails_at, breaks_at };
    Scorer::new(Arc::new(model), &schema(), &ColumnChoice::default(), None, "").unwrap()
}

fn schema() -> SchemaRef {
    batch(0, 1).schema()
}

fn batch(begin: u16, rows: u16) -> RecordBatch {
    let values: Float32Array = (begin..begin + rows).map(f32::from).collect();
    RecordBatch::try_from_iter([("x", Arc::new(values) as _)]).unwrap()
}

/// Counts rows, and ends at so many.
struct Until(u64, AtomicU64);

impl Progress for Until {
    fn rows(&self, rows: u64) -> ControlFlow<()> {
        let all = self.1.fetch_add(rows, Ordering::Relaxed) + rows;
        if all >= self.0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
}

fn run(scorer: &Scorer, batches: u16, workers: usize, until: u64) -> (Result<u64, BatchError>, Vec<f32>, u64) {
    let taken = AtomicU64::new(0);
    let asked = (0..batches).map(|number| {
        taken.fetch_add(1, Ordering::Relaxed);
        Ok(batch(number * 10, 10))
    });
    let mut scores = Vec::new();
    let sink = |batch: &RecordBatch| {
        scores.extend_from_slice(batch.column_by_name("y").unwrap().as_primitive::<Float32Type>().values());
        Ok::<_, BatchError>(())
    };
    let done = score(asked, scorer, workers, &Until(until, AtomicU64::new(0)), sink);
    (done.map(|(rows, _)| rows), scores, taken.into_inner())
}

#[test]
fn the_order_is_kept_however_many_work() {
    let doubled: Vec<f32> = (0_u16..1000).map(|row| f32::from(row) * 2.0).collect();
    for workers in [1, 2, 7] {
        let (rows, scores, _) = run(&scorer(-1.0, -1.0), 100, workers, u64::MAX);
        assert_eq!(rows.unwrap(), 1000);
        assert_eq!(scores, doubled);
    }
}

#[test]
fn the_first_failure_ends_it_with_the_rows_that_it_is_in() {
    let (done, scores, taken) = run(&scorer(57.0, -1.0), 1000, 2, u64::MAX);
    assert_eq!(done.unwrap_err().to_string(), "rows 51 to 60 cannot be scored: cannot decode the model as ONNX: seven");
    assert_eq!(scores.len(), 50);
    assert!(taken < 30, "only a bounded number of batches is ahead: {taken}");
}

#[test]
fn a_thread_that_breaks_is_not_the_end_of_the_table() {
    let (done, ..) = run(&scorer(-1.0, 57.0), 1000, 2, u64::MAX);
    assert!(matches!(done, Err(BatchError::Broken)), "{done:?}");
}

#[test]
fn it_stops_when_it_is_told_to() {
    let (done, scores, taken) = run(&scorer(-1.0, -1.0), 1000, 2, 100);
    assert!(matches!(done, Err(BatchError::Stopped)), "{done:?}");
    assert!(scores.len() == 100 && taken < 40, "{taken}");
}
