use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray as _, BooleanArray};
use arrow::compute::cast;
use arrow::datatypes::{
    DataType, Decimal32Type, Decimal64Type, Decimal128Type, Decimal256Type, FieldRef, Int64Type, TimeUnit, UInt64Type,
    i256,
};
use arrow::error::ArrowError;
use datafusion::common::{DataFusionError, ScalarValue};
use datafusion::functions_aggregate::sum::Sum;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::AggregateOrderSensitivity;
use datafusion::logical_expr::{
    Accumulator, AggregateUDFImpl, EmitTo, GroupsAccumulator, ReversedUDAF, SetMonotonicity, Signature,
};

mod checked;
mod distinct;

use checked::{checked_sum, is_widest};
use distinct::SlidingDistinct;

/// Digits of the widest decimals of 128 and of 256 bits.
const DIGITS: u8 = 38;
const WIDE_DIGITS: u8 = 76;

/// SQL's `sum` with the result types of DataFusion's, which wraps around: whole numbers and decimals are added up in a
/// type that holds any sum of them, and a sum that does not fit into the result type is an error. Of the widest type, and of
/// intervals, each step is checked.
#[derive(Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct ExactSum {
    inner: Sum,
}

impl AggregateUDFImpl for ExactSum {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn signature(&self) -> &Signature {
        self.inner.signature()
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType, DataFusionError> {
        self.inner.return_type(arguments)
    }

    fn accumulator(&self, arguments: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>, DataFusionError> {
        match Narrow::of(arguments.return_type()) {
            Some(narrow) => {
                let inner = self.inner.accumulator(widened(&arguments, narrow))?;
                Ok(Box::new(Exact { inner, narrow }))
            }
            None if is_widest(arguments.return_type()) => checked_sum(countable(&arguments)?),
            None => self.inner.accumulator(arguments),
        }
    }

    fn state_fields(&self, arguments: StateFieldsArgs<'_>) -> Result<Vec<FieldRef>, DataFusionError> {
        match Narrow::of(arguments.return_type()) {
            Some(narrow) => {
                let return_field = narrow.widened_field(&arguments.return_field);
                self.inner.state_fields(StateFieldsArgs { return_field, ..arguments })
            }
            None => self.inner.state_fields(arguments),
        }
    }

    fn groups_accumulator_supported(&self, arguments: AccumulatorArgs<'_>) -> bool {
        !is_widest(arguments.return_type()) && self.inner.groups_accumulator_supported(arguments)
    }

    fn create_groups_accumulator(
        &self,
        arguments: AccumulatorArgs<'_>,
    ) -> Result<Box<dyn GroupsAccumulator>, DataFusionError> {
        match Narrow::of(arguments.return_type()) {
            Some(narrow) => {
                let inner = self.inner.create_groups_accumulator(widened(&arguments, narrow))?;
                Ok(Box::new(Exact { inner, narrow }))
            }
            None => self.inner.create_groups_accumulator(arguments),
        }
    }

    fn create_sliding_accumulator(
        &self,
        arguments: AccumulatorArgs<'_>,
    ) -> Result<Box<dyn Accumulator>, DataFusionError> {
        match Narrow::of(arguments.return_type()) {
            Some(narrow) if arguments.is_distinct && !matches!(narrow, Narrow::Decimal(..)) => {
                Ok(Box::new(SlidingDistinct::new(narrow)))
            }
            Some(narrow) if !arguments.is_distinct => {
                let inner = self.inner.create_sliding_accumulator(widened(&arguments, narrow))?;
                Ok(Box::new(Exact { inner, narrow }))
            }
            None if is_widest(arguments.return_type()) => checked_sum(countable(&arguments)?),
            // DataFusion says that it has no such sums.
            _ => self.inner.create_sliding_accumulator(arguments),
        }
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        self.inner.order_sensitivity()
    }

    fn reverse_expr(&self) -> ReversedUDAF {
        self.inner.reverse_expr()
    }

    fn set_monotonicity(&self, data_type: &DataType) -> SetMonotonicity {
        self.inner.set_monotonicity(data_type)
    }
}

fn widened<'a>(arguments: &AccumulatorArgs<'a>, narrow: Narrow) -> AccumulatorArgs<'a> {
    let return_field = narrow.widened_field(&arguments.return_field);
    AccumulatorArgs { return_field, ..*arguments }
}

/// The type of a sum of all values, which each step can check; of the different ones, none does.
fn countable<'a>(arguments: &'a AccumulatorArgs<'_>) -> Result<&'a DataType, DataFusionError> {
    let data_type = arguments.return_type();
    if arguments.is_distinct {
        return Err(DataFusionError::NotImplemented(format!("sum(DISTINCT …) of {data_type}")));
    }
    Ok(data_type)
}

/// The only argument of `sum`.
fn one(values: &[ArrayRef]) -> Result<&ArrayRef, DataFusionError> {
    match values {
        [values] => Ok(values),
        _ => Err(DataFusionError::Internal("sum takes one value".to_owned())),
    }
}

/// A type of sums for which there is a wider one.
#[derive(Clone, Copy, Debug)]
enum Narrow {
    Signed,
    Unsigned,
    Decimal32(u8, i8),
    Decimal64(u8, i8),
    Decimal(u8, i8),
    Duration(TimeUnit),
}

impl Narrow {
    fn of(data_type: &DataType) -> Option<Self> {
        match data_type {
            DataType::Int64 => Some(Self::Signed),
            DataType::UInt64 => Some(Self::Unsigned),
            DataType::Decimal32(precision, scale) => Some(Self::Decimal32(*precision, *scale)),
            DataType::Decimal64(precision, scale) => Some(Self::Decimal64(*precision, *scale)),
            DataType::Decimal128(precision, scale) => Some(Self::Decimal(*precision, *scale)),
            DataType::Duration(unit) => Some(Self::Duration(*unit)),
            _ => None,
        }
    }

    fn data_type(self) -> DataType {
        match self {
            Self::Signed => DataType::Int64,
            Self::Unsigned => DataType::UInt64,
            Self::Decimal32(precision, scale) => DataType::Decimal32(precision, scale),
            Self::Decimal64(precision, scale) => DataType::Decimal64(precision, scale),
            Self::Decimal(precision, scale) => DataType::Decimal128(precision, scale),
            Self::Duration(unit) => DataType::Duration(unit),
        }
    }

    fn widened_field(self, field: &FieldRef) -> FieldRef {
        let wide = match self {
            Self::Signed | Self::Unsigned | Self::Duration(_) => DataType::Decimal128(DIGITS, 0),
            Self::Decimal32(_, scale) | Self::Decimal64(_, scale) => DataType::Decimal128(DIGITS, scale),
            Self::Decimal(_, scale) => DataType::Decimal256(WIDE_DIGITS, scale),
        };
        Arc::new(field.as_ref().clone().with_data_type(wide))
    }

    /// The values to be added, in the wider type.
    fn widen(self, values: &[ArrayRef]) -> Result<[ArrayRef; 1], DataFusionError> {
        let values = one(values)?;
        let wide: ArrayRef = match self {
            Self::Signed => {
                let wide = values.as_primitive::<Int64Type>().unary::<_, Decimal128Type>(i128::from);
                Arc::new(wide.with_precision_and_scale(DIGITS, 0)?)
            }
            Self::Unsigned => {
                let wide = values.as_primitive::<UInt64Type>().unary::<_, Decimal128Type>(i128::from);
                Arc::new(wide.with_precision_and_scale(DIGITS, 0)?)
            }
            Self::Duration(_) => return Self::Signed.widen(&[cast(values, &DataType::Int64)?]),
            Self::Decimal32(_, scale) | Self::Decimal64(_, scale) => {
                cast(values, &DataType::Decimal128(DIGITS, scale))?
            }
            Self::Decimal(_, scale) => {
                let wide = values.as_primitive::<Decimal128Type>().unary::<_, Decimal256Type>(i256::from_i128);
                Arc::new(wide.with_precision_and_scale(WIDE_DIGITS, scale)?)
            }
        };
        Ok([wide])
    }

    /// Sums of groups in the type of the result.
    fn narrow(self, sums: &ArrayRef) -> Result<ArrayRef, DataFusionError> {
        let narrow: ArrayRef = match self {
            Self::Signed => {
                let sums = sums.as_primitive::<Decimal128Type>();
                Arc::new(sums.try_unary::<_, Int64Type, ArrowError>(|sum| self.signed(sum))?)
            }
            Self::Unsigned => {
                let sums = sums.as_primitive::<Decimal128Type>();
                Arc::new(sums.try_unary::<_, UInt64Type, ArrowError>(|sum| self.unsigned(sum))?)
            }
            Self::Duration(_) => {
                let sums = sums.as_primitive::<Decimal128Type>();
                let sums = sums.try_unary::<_, Int64Type, ArrowError>(|sum| self.signed(sum))?;
                cast(&sums, &self.data_type())?
            }
            Self::Decimal32(precision, scale) => {
                let sums = sums.as_primitive::<Decimal128Type>();
                let sums = sums.try_unary::<_, Decimal32Type, ArrowError>(|sum| self.digits(sum, precision))?;
                Arc::new(sums.with_precision_and_scale(precision, scale)?)
            }
            Self::Decimal64(precision, scale) => {
                let sums = sums.as_primitive::<Decimal128Type>();
                let sums = sums.try_unary::<_, Decimal64Type, ArrowError>(|sum| self.digits(sum, precision))?;
                Arc::new(sums.with_precision_and_scale(precision, scale)?)
            }
            Self::Decimal(precision, scale) => {
                let sums = sums.as_primitive::<Decimal256Type>();
                let sums = sums.try_unary::<_, Decimal128Type, ArrowError>(|sum| self.decimal(sum))?;
                Arc::new(sums.with_precision_and_scale(precision, scale)?)
            }
        };
        Ok(narrow)
    }

    /// One sum in the type of the result.
    fn narrow_value(self, sum: &ScalarValue) -> Result<ScalarValue, DataFusionError> {
        Ok(match (self, sum) {
            (Self::Signed, ScalarValue::Decimal128(sum, ..)) => {
                ScalarValue::Int64(sum.map(|sum| self.signed(sum)).transpose()?)
            }
            (Self::Unsigned, ScalarValue::Decimal128(sum, ..)) => {
                ScalarValue::UInt64(sum.map(|sum| self.unsigned(sum)).transpose()?)
            }
            (Self::Decimal(precision, scale), ScalarValue::Decimal256(sum, ..)) => {
                ScalarValue::Decimal128(sum.map(|sum| self.decimal(sum)).transpose()?, precision, scale)
            }
            (Self::Decimal32(..) | Self::Decimal64(..) | Self::Duration(_), ScalarValue::Decimal128(..)) => {
                ScalarValue::try_from_array(&self.narrow(&sum.to_array()?)?, 0)?
            }
            (_, other) => return Err(DataFusionError::Internal(format!("{other} is not a sum"))),
        })
    }

    fn signed(self, sum: i128) -> Result<i64, ArrowError> {
        i64::try_from(sum).map_err(|_| self.misfit(&sum.to_string()))
    }

    fn unsigned(self, sum: i128) -> Result<u64, ArrowError> {
        u64::try_from(sum).map_err(|_| self.misfit(&sum.to_string()))
    }

    fn decimal(self, sum: i256) -> Result<i128, ArrowError> {
        let fits = |sum: &i128| sum.unsigned_abs() < 10_u128.pow(u32::from(DIGITS));
        sum.to_i128().filter(fits).ok_or_else(|| self.misfit("a number of more than 38 digits"))
    }

    fn digits<T: TryFrom<i128>>(self, sum: i128, digits: u8) -> Result<T, ArrowError> {
        let fits = sum.unsigned_abs() < 10_u128.pow(u32::from(digits));
        let narrow = T::try_from(sum).ok().filter(|_| fits);
        narrow.ok_or_else(|| self.misfit(&format!("a number of more than {digits} digits")))
    }

    fn misfit(self, found: &str) -> ArrowError {
        let data_type = self.data_type();
        ArrowError::ArithmeticOverflow(format!("sum() gives {found}, which is out of the range of {data_type}"))
    }
}

/// An accumulator of the wider type that takes and gives values of the narrow one.
#[derive(Debug)]
struct Exact<A> {
    inner: A,
    narrow: Narrow,
}

impl Accumulator for Exact<Box<dyn Accumulator>> {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<(), DataFusionError> {
        self.inner.update_batch(&self.narrow.widen(values)?)
    }

    fn evaluate(&mut self) -> Result<ScalarValue, DataFusionError> {
        self.narrow.narrow_value(&self.inner.evaluate()?)
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.inner.size()
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>, DataFusionError> {
        self.inner.state()
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<(), DataFusionError> {
        self.inner.merge_batch(states)
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<(), DataFusionError> {
        self.inner.retract_batch(&self.narrow.widen(values)?)
    }

    fn supports_retract_batch(&self) -> bool {
        self.inner.supports_retract_batch()
    }
}

impl GroupsAccumulator for Exact<Box<dyn GroupsAccumulator>> {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        group_indices: &[usize],
        filter: Option<&BooleanArray>,
        groups: usize,
    ) -> Result<(), DataFusionError> {
        self.inner.update_batch(&self.narrow.widen(values)?, group_indices, filter, groups)
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef, DataFusionError> {
        self.narrow.narrow(&self.inner.evaluate(emit_to)?)
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>, DataFusionError> {
        self.inner.state(emit_to)
    }

    fn merge_batch(
        &mut self,
        states: &[ArrayRef],
        group_indices: &[usize],
        groups: usize,
    ) -> Result<(), DataFusionError> {
        self.inner.merge_batch(states, group_indices, groups)
    }

    fn convert_to_state(
        &self,
        values: &[ArrayRef],
        filter: Option<&BooleanArray>,
    ) -> Result<Vec<ArrayRef>, DataFusionError> {
        self.inner.convert_to_state(&self.narrow.widen(values)?, filter)
    }

    fn size(&self) -> usize {
        self.inner.size()
    }
}
