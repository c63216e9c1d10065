use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array};
use arrow::datatypes::DataType;
use datafusion::common::{DataFusionError, ScalarValue};
use datafusion::functions_aggregate::approx_percentile_cont::ApproxPercentileAccumulator;
use datafusion::logical_expr::Accumulator as _;
use serde::{Deserialize, Serialize};

use crate::DataError;
use crate::sql::Translation;

/// The values below which a quarter, a half and three quarters of the values lie.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Quantiles {
    /// A quarter.
    pub q25: serde_json::Value,
    /// A half: the median.
    pub q50: serde_json::Value,
    /// Three quarters.
    pub q75: serde_json::Value,
    /// Whether all values were sorted, and the quantiles interpolated between neighbours. Else they are estimates of a
    /// t-digest, as DataFusion's `approx_percentile_cont` has it (Dunning and Ertl 2019).
    pub exact: bool,
}

/// Keeps values up to a bound, then a t-digest of fixed size.
#[derive(Debug)]
pub(super) struct QuantileSketch {
    kept: Vec<f64>,
    bound: usize,
    digest: Option<ApproxPercentileAccumulator>,
}

impl QuantileSketch {
    pub(super) fn new(bound: usize) -> Self {
        Self { kept: Vec::new(), bound, digest: None }
    }

    pub(super) fn add(&mut self, values: &[f64]) -> Result<(), DataError> {
        self.kept.extend_from_slice(values);
        if self.kept.len() > self.bound { self.digest() } else { Ok(()) }
    }

    fn digest(&mut self) -> Result<(), DataError> {
        let digest = self.digest.get_or_insert_with(|| accumulator(0.5));
        let values: ArrayRef = Arc::new(Float64Array::from(std::mem::take(&mut self.kept)));
        digest.update_batch(&[values]).map_err(|error| says(&error))
    }

    /// The three quantiles and whether they are exact; none without a value.
    pub(super) fn finish(mut self) -> Result<Option<([f64; 3], bool)>, DataError> {
        const SHARES: [f64; 3] = [0.25, 0.5, 0.75];
        if self.digest.is_none() {
            self.kept.sort_by(f64::total_cmp);
            let kept = &self.kept;
            return Ok(if kept.is_empty() { None } else { Some((SHARES.map(|share| between(kept, share)), true)) });
        }
        self.digest()?;
        let Some(mut digest) = self.digest else { return Ok(None) };
        let state = digest.state().map_err(|error| says(&error))?;
        let state: Result<Vec<ArrayRef>, _> = state.iter().map(ScalarValue::to_array).collect();
        let state = state.map_err(|error| says(&error))?;
        let mut quantiles = [0.0; 3];
        for (quantile, share) in quantiles.iter_mut().zip(SHARES) {
            let mut one = accumulator(share);
            one.merge_batch(&state).map_err(|error| says(&error))?;
            if let ScalarValue::Float64(Some(value)) = one.evaluate().map_err(|error| says(&error))? {
                *quantile = value;
            }
        }
        Ok(Some((quantiles, false)))
    }
}

fn accumulator(share: f64) -> ApproxPercentileAccumulator {
    ApproxPercentileAccumulator::new(share, DataType::Float64)
}

fn says(error: &DataFusionError) -> DataError {
    Translation::UNLIMITED.error(error)
}

/// Linear interpolation between the two nearest ranks (type 7 of Hyndman and Fan 1996).
fn between(sorted: &[f64], share: f64) -> f64 {
    let place = share * (sorted.len() - 1) as f64;
    let at = |index: usize| sorted.get(index).copied().unwrap_or_default();
    let (low, high) = (at(place.floor() as usize), at(place.ceil() as usize));
    low + (high - low) * place.fract()
}
