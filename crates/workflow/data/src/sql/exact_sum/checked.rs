use arrow::array::{ArrayRef, ArrowNativeTypeOp as _, ArrowNumericType, AsArray as _};
use arrow::datatypes::{
    DECIMAL256_MAX_PRECISION, DataType, Decimal256Type, DecimalType as _, IntervalDayTime, IntervalDayTimeType,
    IntervalMonthDayNano, IntervalMonthDayNanoType, IntervalUnit, IntervalYearMonthType, i256,
};
use arrow::error::ArrowError;
use datafusion::common::{DataFusionError, ScalarValue};
use datafusion::logical_expr::Accumulator;

use super::one;

/// Whether sums of this type are added up one by one, with a look at each step: nothing is wider. Decimals of fewer digits
/// than the most have room for ten digits of rows.
pub(super) fn is_widest(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Decimal256(DECIMAL256_MAX_PRECISION, _) | DataType::Interval(_))
}

/// The accumulator of sums of a type that [`is_widest`].
pub(super) fn checked_sum(data_type: &DataType) -> Result<Box<dyn Accumulator>, DataFusionError> {
    Ok(match data_type {
        DataType::Decimal256(..) => Box::new(CheckedSum::<Decimal256Type>::new(data_type, |sum| {
            Decimal256Type::is_valid_decimal_precision(sum, DECIMAL256_MAX_PRECISION)
        })),
        DataType::Interval(IntervalUnit::YearMonth) => {
            Box::new(CheckedSum::<IntervalYearMonthType>::new(data_type, |_| true))
        }
        DataType::Interval(IntervalUnit::DayTime) => {
            Box::new(CheckedSum::<IntervalDayTimeType>::new(data_type, |_| true))
        }
        DataType::Interval(IntervalUnit::MonthDayNano) => {
            Box::new(CheckedSum::<IntervalMonthDayNanoType>::new(data_type, |_| true))
        }
        other => return Err(DataFusionError::Internal(format!("sums of {other} have a wider type"))),
    })
}

/// Values with a look at whether the result fits. Arrow's own trait has that too, but for intervals it does not look.
trait Steps: Sized {
    fn plus(self, other: Self) -> Option<Self>;
    fn minus(self, other: Self) -> Option<Self>;
}

macro_rules! steps {
    ($($native:ty),*) => {$(
        impl Steps for $native {
            fn plus(self, other: Self) -> Option<Self> {
                self.checked_add(other)
            }

            fn minus(self, other: Self) -> Option<Self> {
                self.checked_sub(other)
            }
        }
    )*};
}

steps!(i256, i32, IntervalDayTime, IntervalMonthDayNano);

/// A sum, also of rows in a window, that is an error as soon as it leaves its type.
struct CheckedSum<T: ArrowNumericType> {
    sum: T::Native,
    values: usize,
    data_type: DataType,
    fits: fn(T::Native) -> bool,
}

impl<T: ArrowNumericType> std::fmt::Debug for CheckedSum<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CheckedSum").field("data_type", &self.data_type).finish_non_exhaustive()
    }
}

impl<T: ArrowNumericType> CheckedSum<T> {
    fn new(data_type: &DataType, fits: fn(T::Native) -> bool) -> Self {
        Self { sum: T::Native::ZERO, values: 0, data_type: data_type.clone(), fits }
    }

    fn value(&self) -> Result<ScalarValue, DataFusionError> {
        ScalarValue::new_primitive::<T>((self.values > 0).then_some(self.sum), &self.data_type)
    }

    fn misfit(&self) -> ArrowError {
        ArrowError::ArithmeticOverflow(format!("sum() is out of the range of {}", self.data_type))
    }
}

impl<T: ArrowNumericType> Accumulator for CheckedSum<T>
where
    T::Native: Steps,
{
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<(), DataFusionError> {
        for value in one(values)?.as_primitive::<T>().iter().flatten() {
            self.sum = self.sum.plus(value).ok_or_else(|| self.misfit())?;
            self.values += 1;
        }
        Ok(())
    }

    fn evaluate(&mut self) -> Result<ScalarValue, DataFusionError> {
        if !(self.fits)(self.sum) {
            return Err(self.misfit().into());
        }
        self.value()
    }

    fn size(&self) -> usize {
        size_of_val(self)
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>, DataFusionError> {
        Ok(vec![self.value()?])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<(), DataFusionError> {
        self.update_batch(states)
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<(), DataFusionError> {
        for value in one(values)?.as_primitive::<T>().iter().flatten() {
            self.sum = self.sum.minus(value).ok_or_else(|| self.misfit())?;
            self.values = self.values.saturating_sub(1);
        }
        Ok(())
    }

    fn supports_retract_batch(&self) -> bool {
        true
    }
}
