use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray as _, Int64Array};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type, Int64Type};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use serde_json::Value;

use crate::DataError;

/// What can be computed with the values of a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Whole numbers.
    Whole,
    /// Other numbers.
    Number,
    /// Times, dates and durations: whole numbers of their unit.
    Time,
    /// Texts and truth values: they can be counted.
    Word,
    /// Bytes: smallest and largest.
    Ordered,
    /// Lists, structs, maps.
    Nested,
}

impl Kind {
    pub(super) fn of(data_type: &DataType) -> Self {
        match data_type {
            DataType::Boolean | DataType::Utf8 => Self::Word,
            DataType::Timestamp(..)
            | DataType::Date32
            | DataType::Date64
            | DataType::Time32(_)
            | DataType::Time64(_)
            | DataType::Duration(_) => Self::Time,
            whole if whole.is_integer() => Self::Whole,
            number if number.is_numeric() => Self::Number,
            DataType::Binary => Self::Ordered,
            _ => Self::Nested,
        }
    }

    /// Whether the values are numbers or stand for some.
    pub(super) fn counts(self) -> bool {
        matches!(self, Self::Whole | Self::Number | Self::Time)
    }
}

/// The values of a column that [`Kind::counts`] as numbers of its unit.
pub(super) fn numbers(array: &ArrayRef, kind: Kind) -> Result<Vec<f64>, DataError> {
    let says = || DataError::arrow("read a column as numbers");
    let plain = match (kind, array.data_type()) {
        // Only types of the same width can be cast to one another.
        (Kind::Time, DataType::Date32 | DataType::Time32(_)) => cast(array, &DataType::Int32).map_err(says())?,
        (Kind::Time, _) => cast(array, &DataType::Int64).map_err(says())?,
        _ => Arc::clone(array),
    };
    let numbers = cast(&plain, &DataType::Float64).map_err(says())?;
    Ok(numbers.as_primitive::<Float64Type>().iter().flatten().collect())
}

/// A figure in the unit of a column, as JSON: a number, or the text of a time.
pub(super) fn figure(number: f64, kind: Kind, data_type: &DataType) -> Value {
    if kind != Kind::Time {
        return Value::from(number);
    }
    let whole: ArrayRef = Arc::new(Int64Array::from(vec![number.round() as i64]));
    let narrow = matches!(data_type, DataType::Date32 | DataType::Time32(_));
    let plain = if narrow { cast(&whole, &DataType::Int32) } else { Ok(whole) };
    plain.and_then(|plain| cast(&plain, data_type)).map_or(Value::Null, |array| first(&array))
}

/// The first value of an array as JSON; none where it is null or has no text.
pub(super) fn first(array: &ArrayRef) -> Value {
    if array.is_empty() || array.is_null(0) {
        return Value::Null;
    }
    match array.data_type() {
        DataType::Boolean => Value::from(array.as_boolean().value(0)),
        DataType::UInt64 => Value::from(array.as_primitive::<arrow::datatypes::UInt64Type>().value(0)),
        whole if whole.is_integer() => match cast(array, &DataType::Int64) {
            Ok(array) => Value::from(array.as_primitive::<Int64Type>().value(0)),
            Err(_) => Value::Null,
        },
        _ => {
            let options = FormatOptions::default();
            let text = ArrayFormatter::try_new(array, &options).map(|formatter| formatter.value(0).to_string());
            text.map_or(Value::Null, Value::from)
        }
    }
}
