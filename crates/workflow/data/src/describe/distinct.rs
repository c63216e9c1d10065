use std::collections::{HashMap, HashSet};
use std::fmt;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;

use arrow::array::{ArrayRef, UInt64Array};
use arrow::datatypes::{DataType, Field, Schema};
use datafusion::common::{DataFusionError, ScalarValue};
use datafusion::functions_aggregate::approx_distinct::approx_distinct_udaf;
use datafusion::logical_expr::Accumulator;
use datafusion::physical_expr::aggregate::AggregateExprBuilder;
use datafusion::physical_expr::expressions::Column;
use serde::{Deserialize, Serialize};

use crate::DataError;
use crate::sql::Translation;

/// How many different values there are, nulls left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Distinct {
    /// How many.
    pub count: u64,
    /// Whether they were counted one by one. Else it is the estimate of a HyperLogLog of 16,384 registers, as
    /// DataFusion's `approx_distinct` has it: a standard error of 0.8 % (Flajolet et al. 2007; Ertl 2017).
    pub exact: bool,
}

impl Distinct {
    /// The same, but no estimate beyond what is possible.
    pub(super) fn at_most(self, values: u64) -> Self {
        Self { count: self.count.min(values), ..self }
    }
}

/// Takes a value that is a good hash already as its own hash.
#[derive(Debug, Default)]
pub(super) struct Hashed(u64);

impl Hasher for Hashed {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}

pub(super) type HashedMap<V> = HashMap<u64, V, BuildHasherDefault<Hashed>>;

/// Counts different hashes: exactly up to a bound, then by a sketch of fixed size.
pub(super) struct DistinctSketch {
    exact: HashSet<u64, BuildHasherDefault<Hashed>>,
    bound: usize,
    sketch: Option<Box<dyn Accumulator>>,
}

impl fmt::Debug for DistinctSketch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DistinctSketch").field("exact", &self.exact.len()).finish_non_exhaustive()
    }
}

impl DistinctSketch {
    pub(super) fn new(bound: usize) -> Self {
        Self { exact: HashSet::default(), bound, sketch: None }
    }

    pub(super) fn add(&mut self, hashes: Vec<u64>) -> Result<(), DataError> {
        if let Some(sketch) = &mut self.sketch {
            return update(sketch.as_mut(), hashes);
        }
        self.exact.extend(hashes);
        if self.exact.len() > self.bound {
            let mut sketch = sketch().map_err(|error| says(&error))?;
            update(sketch.as_mut(), std::mem::take(&mut self.exact).into_iter().collect())?;
            self.sketch = Some(sketch);
        }
        Ok(())
    }

    pub(super) fn finish(&mut self) -> Result<Distinct, DataError> {
        let Some(sketch) = &mut self.sketch else {
            return Ok(Distinct { count: self.exact.len() as u64, exact: true });
        };
        match sketch.evaluate().map_err(|error| says(&error))? {
            ScalarValue::UInt64(Some(count)) => Ok(Distinct { count, exact: false }),
            other => Err(DataError::Execution(format!("an estimate of different values is {other}"))),
        }
    }
}

fn sketch() -> Result<Box<dyn Accumulator>, DataFusionError> {
    let schema = Arc::new(Schema::new(vec![Field::new("hash", DataType::UInt64, false)]));
    let column = Arc::new(Column::new("hash", 0));
    let builder = AggregateExprBuilder::new(approx_distinct_udaf(), vec![column]).schema(schema).alias("distinct");
    builder.build()?.create_accumulator()
}

fn update(sketch: &mut dyn Accumulator, hashes: Vec<u64>) -> Result<(), DataError> {
    let hashes: ArrayRef = Arc::new(UInt64Array::from(hashes));
    sketch.update_batch(&[hashes]).map_err(|error| says(&error))
}

fn says(error: &DataFusionError) -> DataError {
    Translation::UNLIMITED.error(error)
}
