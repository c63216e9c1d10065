//! Arrow columns that are filled cell by cell, and say which cell they cannot hold.

mod decimal;
mod nested;

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryBuilder, BooleanBuilder, Decimal128Builder, Decimal256Builder, PrimitiveBuilder, StringBuilder,
};
use arrow::datatypes::{
    DataType, Date32Type, Field, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type,
    Time64MicrosecondType, TimeUnit, TimestampMicrosecondType, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};

use crate::ConnectorError;
use crate::cell::Cell;

use nested::{ListValues, StructValues};

pub(crate) use nested::arrange;

/// Metadata of a text field whose values had several types in the source: each is kept as JSON.
pub(crate) const MIXED: &str = "ropewalk.mixed";

/// Whole numbers up to here are the same as a double.
const EXACT_IN_FLOAT: u64 = 1 << 53;

const MICROS_OF_A_DAY: i64 = 86_400_000_000;

/// How many misfits of one row are listed: the row is set aside as a whole, whatever else is in it.
const LISTED_OF_A_ROW: usize = 100;

/// A cell that its column cannot hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Unfit {
    /// The column, with the path inside it.
    pub(crate) column: String,
    /// The value, as people read it.
    pub(crate) value: String,
    /// Why it does not fit.
    pub(crate) reason: String,
}

impl Unfit {
    /// Adds what `unfit` gives to the misfits of a row, of which the first are listed; the last says that there are more.
    pub(crate) fn list(row: &mut Vec<Self>, unfit: impl FnOnce() -> Self) {
        if row.len() < LISTED_OF_A_ROW {
            row.push(unfit());
        } else if row.len() == LISTED_OF_A_ROW {
            row.push(Self {
                reason: "it and others of this row, which are not listed, do not fit".to_owned(),
                ..unfit()
            });
        }
    }
}

/// A column under construction.
pub(crate) struct ColumnBuilder {
    /// Its name and, below lists and structs, the way to it.
    path: String,
    values: Values,
}

enum Values {
    Boolean(BooleanBuilder),
    Int8(PrimitiveBuilder<Int8Type>),
    Int16(PrimitiveBuilder<Int16Type>),
    Int32(PrimitiveBuilder<Int32Type>),
    Int64(PrimitiveBuilder<Int64Type>),
    UInt8(PrimitiveBuilder<UInt8Type>),
    UInt16(PrimitiveBuilder<UInt16Type>),
    UInt32(PrimitiveBuilder<UInt32Type>),
    UInt64(PrimitiveBuilder<UInt64Type>),
    Float32(PrimitiveBuilder<Float32Type>),
    Float64(PrimitiveBuilder<Float64Type>),
    Decimal128(Decimal128Builder, u8, i8),
    Decimal256(Decimal256Builder, u8, i8),
    Text { builder: StringBuilder, mixed: bool },
    Binary(BinaryBuilder),
    Date(PrimitiveBuilder<Date32Type>),
    Time(PrimitiveBuilder<Time64MicrosecondType>),
    Timestamp(PrimitiveBuilder<TimestampMicrosecondType>),
    List(ListValues),
    Struct(StructValues),
}

impl ColumnBuilder {
    /// An empty column for `field`; an error for types that no source here makes.
    pub(crate) fn new(field: &Field) -> Result<Self, ConnectorError> {
        Self::below("", field)
    }

    fn below(parent: &str, field: &Field) -> Result<Self, ConnectorError> {
        let path = if parent.is_empty() { field.name().clone() } else { format!("{parent}.{}", field.name()) };
        let values = match field.data_type() {
            DataType::Boolean => Values::Boolean(BooleanBuilder::new()),
            DataType::Int8 => Values::Int8(PrimitiveBuilder::new()),
            DataType::Int16 => Values::Int16(PrimitiveBuilder::new()),
            DataType::Int32 => Values::Int32(PrimitiveBuilder::new()),
            DataType::Int64 => Values::Int64(PrimitiveBuilder::new()),
            DataType::UInt8 => Values::UInt8(PrimitiveBuilder::new()),
            DataType::UInt16 => Values::UInt16(PrimitiveBuilder::new()),
            DataType::UInt32 => Values::UInt32(PrimitiveBuilder::new()),
            DataType::UInt64 => Values::UInt64(PrimitiveBuilder::new()),
            DataType::Float32 => Values::Float32(PrimitiveBuilder::new()),
            DataType::Float64 => Values::Float64(PrimitiveBuilder::new()),
            DataType::Decimal128(p, s) => {
                Values::Decimal128(Decimal128Builder::new().with_precision_and_scale(*p, *s)?, *p, *s)
            }
            DataType::Decimal256(p, s) => {
                Values::Decimal256(Decimal256Builder::new().with_precision_and_scale(*p, *s)?, *p, *s)
            }
            DataType::Utf8 => {
                Values::Text { builder: StringBuilder::new(), mixed: field.metadata().contains_key(MIXED) }
            }
            DataType::Binary => Values::Binary(BinaryBuilder::new()),
            DataType::Date32 => Values::Date(PrimitiveBuilder::new()),
            DataType::Time64(TimeUnit::Microsecond) => Values::Time(PrimitiveBuilder::new()),
            DataType::Timestamp(TimeUnit::Microsecond, zone) => {
                Values::Timestamp(PrimitiveBuilder::new().with_timezone_opt(zone.clone()))
            }
            DataType::List(item) => Values::List(ListValues::new(&path, item)?),
            DataType::Struct(fields) => Values::Struct(StructValues::new(&path, fields)?),
            other => {
                return Err(ConnectorError::Column { column: path, reason: format!("no source gives {other}") });
            }
        };
        Ok(Self { path, values })
    }

    /// Appends `cell`; what does not fit becomes null and is added to `unfit`.
    pub(crate) fn push(&mut self, cell: Cell<'_>, unfit: &mut Vec<Unfit>) {
        if matches!(cell, Cell::Null) {
            return self.push_null();
        }
        if let Err((value, reason)) = self.try_push(cell, unfit) {
            self.push_null();
            Unfit::list(unfit, || Unfit { column: self.path.clone(), value, reason });
        }
    }

    /// Appends a cell that is not null, or says how it is shown and why it does not fit.
    fn try_push(&mut self, cell: Cell<'_>, unfit: &mut Vec<Unfit>) -> Result<(), (String, String)> {
        let cell = match (&mut self.values, cell) {
            (_, Cell::Misfit(value, reason)) => return Err((value.into_owned(), reason.to_owned())),
            (Values::List(list), Cell::List(items)) => {
                list.push(items, unfit);
                return Ok(());
            }
            (Values::Struct(values), Cell::Struct(fields)) => {
                values.push(fields, unfit);
                return Ok(());
            }
            (_, cell) => cell,
        };
        if let Values::Text { builder, mixed: true } = &mut self.values {
            let text = cell.json().map_err(|(value, reason)| (value, reason.to_owned()))?;
            builder.append_value(text);
            return Ok(());
        }
        match self.values.push_scalar(&cell) {
            Some(()) => Ok(()),
            None => Err((cell.shown(), format!("the column holds {}", self.kind()))),
        }
    }

    fn push_null(&mut self) {
        match &mut self.values {
            Values::Boolean(builder) => builder.append_null(),
            Values::Int8(builder) => builder.append_null(),
            Values::Int16(builder) => builder.append_null(),
            Values::Int32(builder) => builder.append_null(),
            Values::Int64(builder) => builder.append_null(),
            Values::UInt8(builder) => builder.append_null(),
            Values::UInt16(builder) => builder.append_null(),
            Values::UInt32(builder) => builder.append_null(),
            Values::UInt64(builder) => builder.append_null(),
            Values::Float32(builder) => builder.append_null(),
            Values::Float64(builder) => builder.append_null(),
            Values::Decimal128(builder, ..) => builder.append_null(),
            Values::Decimal256(builder, ..) => builder.append_null(),
            Values::Text { builder, .. } => builder.append_null(),
            Values::Binary(builder) => builder.append_null(),
            Values::Date(builder) => builder.append_null(),
            Values::Time(builder) => builder.append_null(),
            Values::Timestamp(builder) => builder.append_null(),
            Values::List(list) => list.push_null(),
            Values::Struct(values) => values.push_null(),
        }
    }

    /// The column so far; the builder is empty afterwards.
    pub(crate) fn finish(&mut self) -> Result<ArrayRef, ConnectorError> {
        Ok(match &mut self.values {
            Values::Boolean(builder) => Arc::new(builder.finish()),
            Values::Int8(builder) => Arc::new(builder.finish()),
            Values::Int16(builder) => Arc::new(builder.finish()),
            Values::Int32(builder) => Arc::new(builder.finish()),
            Values::Int64(builder) => Arc::new(builder.finish()),
            Values::UInt8(builder) => Arc::new(builder.finish()),
            Values::UInt16(builder) => Arc::new(builder.finish()),
            Values::UInt32(builder) => Arc::new(builder.finish()),
            Values::UInt64(builder) => Arc::new(builder.finish()),
            Values::Float32(builder) => Arc::new(builder.finish()),
            Values::Float64(builder) => Arc::new(builder.finish()),
            Values::Decimal128(builder, ..) => Arc::new(builder.finish()),
            Values::Decimal256(builder, ..) => Arc::new(builder.finish()),
            Values::Text { builder, .. } => Arc::new(builder.finish()),
            Values::Binary(builder) => Arc::new(builder.finish()),
            Values::Date(builder) => Arc::new(builder.finish()),
            Values::Time(builder) => Arc::new(builder.finish()),
            Values::Timestamp(builder) => Arc::new(builder.finish()),
            Values::List(list) => list.finish()?,
            Values::Struct(values) => values.finish()?,
        })
    }

    fn kind(&self) -> String {
        match &self.values {
            Values::Boolean(_) => "true and false".to_owned(),
            Values::Decimal128(_, p, s) | Values::Decimal256(_, p, s) => {
                format!("numbers of {p} digits, {s} of them after the point")
            }
            Values::Int8(_) | Values::UInt8(_) => "whole numbers of 8 bits".to_owned(),
            Values::Int16(_) | Values::UInt16(_) => "whole numbers of 16 bits".to_owned(),
            Values::Int32(_) | Values::UInt32(_) => "whole numbers of 32 bits".to_owned(),
            Values::Int64(_) | Values::UInt64(_) => "whole numbers of 64 bits".to_owned(),
            Values::Float32(_) | Values::Float64(_) => "floating-point numbers".to_owned(),
            Values::Text { .. } => "text".to_owned(),
            Values::Binary(_) => "bytes".to_owned(),
            Values::Date(_) => "dates".to_owned(),
            Values::Time(_) => "times of a day".to_owned(),
            Values::Timestamp(_) => "timestamps".to_owned(),
            Values::List(_) => "lists".to_owned(),
            Values::Struct(_) => "documents".to_owned(),
        }
    }
}

impl Values {
    /// Appends a cell that is neither null, nor a list, nor a document; `None` when it does not fit.
    fn push_scalar(&mut self, cell: &Cell<'_>) -> Option<()> {
        match self {
            Self::Boolean(builder) => builder.append_value(boolean(cell)?),
            Self::Int8(builder) => builder.append_value(whole(cell)?),
            Self::Int16(builder) => builder.append_value(whole(cell)?),
            Self::Int32(builder) => builder.append_value(whole(cell)?),
            Self::Int64(builder) => builder.append_value(whole(cell)?),
            Self::UInt8(builder) => builder.append_value(whole(cell)?),
            Self::UInt16(builder) => builder.append_value(whole(cell)?),
            Self::UInt32(builder) => builder.append_value(whole(cell)?),
            Self::UInt64(builder) => builder.append_value(whole(cell)?),
            Self::Float32(builder) => builder.append_value(single(cell)?),
            Self::Float64(builder) => builder.append_value(double(cell)?),
            Self::Decimal128(builder, p, s) => builder.append_value(decimal(cell, *p, *s)?.to_i128()?),
            Self::Decimal256(builder, p, s) => builder.append_value(decimal(cell, *p, *s)?),
            Self::Text { builder, .. } => match cell {
                Cell::Text(text) | Cell::Decimal(text) => builder.append_value(text),
                _ => return None,
            },
            Self::Binary(builder) => match cell {
                Cell::Binary(bytes, _) => builder.append_value(bytes),
                _ => return None,
            },
            Self::Date(builder) => match cell {
                Cell::Date(days) => builder.append_value(*days),
                _ => return None,
            },
            Self::Time(builder) => match cell {
                Cell::Time(micros) if (0..MICROS_OF_A_DAY).contains(micros) => builder.append_value(*micros),
                _ => return None,
            },
            Self::Timestamp(builder) => match cell {
                Cell::Timestamp(micros) => builder.append_value(*micros),
                _ => return None,
            },
            Self::List(_) | Self::Struct(_) => return None,
        }
        Some(())
    }
}

fn boolean(cell: &Cell<'_>) -> Option<bool> {
    match cell {
        Cell::Boolean(value) => Some(*value),
        Cell::Integer(0) => Some(false),
        Cell::Integer(1) => Some(true),
        _ => None,
    }
}

fn whole<T: TryFrom<i128>>(cell: &Cell<'_>) -> Option<T> {
    let value = match cell {
        Cell::Integer(value) => i128::from(*value),
        Cell::Unsigned(value) => i128::from(*value),
        // JSON and SQLite write whole numbers as floating-point ones too.
        Cell::Float(value) if value.fract() == 0.0 && value.abs() <= EXACT_IN_FLOAT as f64 => *value as i128,
        _ => return None,
    };
    T::try_from(value).ok()
}

fn double(cell: &Cell<'_>) -> Option<f64> {
    match cell {
        Cell::Float(value) => Some(*value),
        Cell::Integer(value) if value.unsigned_abs() <= EXACT_IN_FLOAT => Some(*value as f64),
        _ => None,
    }
}

fn single(cell: &Cell<'_>) -> Option<f32> {
    let wide = double(cell)?;
    let narrow = wide as f32;
    (wide.is_nan() || f64::from(narrow).to_bits() == wide.to_bits()).then_some(narrow)
}

fn decimal(cell: &Cell<'_>, precision: u8, scale: i8) -> Option<arrow::datatypes::i256> {
    match cell {
        Cell::Decimal(text) => decimal::unscaled(text, precision, scale),
        Cell::Integer(value) => decimal::unscaled(&value.to_string(), precision, scale),
        Cell::Unsigned(value) => decimal::unscaled(&value.to_string(), precision, scale),
        // The shortest text that means this double: what was written when it was stored.
        Cell::Float(value) => decimal::unscaled(&value.to_string(), precision, scale),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
