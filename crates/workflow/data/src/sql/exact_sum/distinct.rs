use std::collections::HashMap;

use arrow::array::{ArrayRef, AsArray as _};
use arrow::datatypes::{DataType, Decimal128Type};
use datafusion::common::{DataFusionError, ScalarValue};
use datafusion::logical_expr::Accumulator;

use super::{DIGITS, Narrow, one};

/// The sum of the different values of the rows in a window, of types that 64 bits hold.
#[derive(Debug)]
pub(super) struct SlidingDistinct {
    narrow: Narrow,
    /// How often each value is in the window.
    times: HashMap<i128, u64>,
    sum: i128,
}

impl SlidingDistinct {
    pub(super) fn new(narrow: Narrow) -> Self {
        Self { narrow, times: HashMap::new(), sum: 0 }
    }

    fn add(&mut self, values: &ArrayRef) {
        for value in values.as_primitive::<Decimal128Type>().iter().flatten() {
            let times = self.times.entry(value).or_default();
            if *times == 0 {
                self.sum += value;
            }
            *times += 1;
        }
    }
}

impl Accumulator for SlidingDistinct {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<(), DataFusionError> {
        let [values] = self.narrow.widen(values)?;
        self.add(&values);
        Ok(())
    }

    fn evaluate(&mut self) -> Result<ScalarValue, DataFusionError> {
        let sum = (!self.times.is_empty()).then_some(self.sum);
        self.narrow.narrow_value(&ScalarValue::Decimal128(sum, DIGITS, 0))
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.times.capacity() * size_of::<(i128, u64)>()
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>, DataFusionError> {
        let values = self.times.keys().map(|value| ScalarValue::Decimal128(Some(*value), DIGITS, 0));
        let values: Vec<ScalarValue> = values.collect();
        let list = ScalarValue::new_list_nullable(&values, &DataType::Decimal128(DIGITS, 0));
        Ok(vec![ScalarValue::List(list)])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<(), DataFusionError> {
        for values in one(states)?.as_list::<i32>().iter().flatten() {
            self.add(&values);
        }
        Ok(())
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<(), DataFusionError> {
        let [values] = self.narrow.widen(values)?;
        for value in values.as_primitive::<Decimal128Type>().iter().flatten() {
            let Some(times) = self.times.get_mut(&value) else { continue };
            *times -= 1;
            if *times == 0 {
                self.times.remove(&value);
                self.sum -= value;
            }
        }
        Ok(())
    }

    fn supports_retract_batch(&self) -> bool {
        true
    }
}
