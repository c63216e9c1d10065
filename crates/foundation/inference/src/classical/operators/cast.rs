#![expect(clippy::cast_lossless, reason = "one rule for all pairs of number types")]

use bytes::Bytes;
use half::{bf16, f16};
use ropewalk_types::ElementType;

use super::number_text::{parse_integer, parse_real, real_text};
use super::{Built, Definition, Operator};
use crate::classical::fault::Fault;
use crate::classical::inputs::Inputs;
use crate::onnx::element_type_of;
use crate::{Tensor, TensorData};

/// `CastLike`: `Cast` to the type of the second input.
pub(super) fn cast_like(definition: &mut Definition<'_>) -> Result<Built, Fault> {
    definition.input_count(2, 2)?;
    let (from, to) = (definition.input(0)?, definition.input(1)?);
    built(definition, from, to)
}

#[derive(Debug)]
struct Cast {
    to: ElementType,
}

/// `Cast` between booleans, integers, reals, and text of numbers.
///
/// Reals lose their fraction on the way to integers; what does not fit an integer type has no meaning in the
/// specification and becomes the nearest value here. `saturate` and `round_mode` concern 8-bit floats only.
pub(super) fn cast(definition: &mut Definition<'_>) -> Result<Built, Fault> {
    definition.input_count(1, 1)?;
    let from = definition.input(0)?;
    let to = definition.attributes.int("to")?.ok_or_else(|| Fault::invalid("attribute `to` is missing"))?;
    let to = i32::try_from(to).ok().and_then(element_type_of);
    let to = to.ok_or_else(|| Fault::unsupported("a cast to a type that is not a tensor data type here"))?;
    built(definition, from, to)
}

fn built(definition: &mut Definition<'_>, from: ElementType, to: ElementType) -> Result<Built, Fault> {
    definition.attributes.int("saturate")?;
    definition.attributes.text("round_mode")?;
    let text = |one, other| {
        one == ElementType::Bytes && matches!(other, ElementType::Bool | ElementType::Fp16 | ElementType::Bf16)
    };
    if text(from, to) || text(to, from) {
        return Err(Fault::unsupported(format!("a cast from {from} to {to}")));
    }
    if from == to {
        return Ok(Built::unchanged(Cast { to }, to));
    }
    Ok(Built::new(Cast { to }, vec![to]))
}

macro_rules! numbers {
    ($values:expr, $to:expr, $value:ident, $native:expr, $real:expr, $nonzero:expr) => {
        match $to {
            ElementType::Bool => $values.iter().map(|$value| $nonzero).collect::<Vec<bool>>().into(),
            ElementType::Uint8 => $values.iter().map(|$value| $native as u8).collect::<Vec<_>>().into(),
            ElementType::Uint16 => $values.iter().map(|$value| $native as u16).collect::<Vec<_>>().into(),
            ElementType::Uint32 => $values.iter().map(|$value| $native as u32).collect::<Vec<_>>().into(),
            ElementType::Uint64 => $values.iter().map(|$value| $native as u64).collect::<Vec<_>>().into(),
            ElementType::Int8 => $values.iter().map(|$value| $native as i8).collect::<Vec<_>>().into(),
            ElementType::Int16 => $values.iter().map(|$value| $native as i16).collect::<Vec<_>>().into(),
            ElementType::Int32 => $values.iter().map(|$value| $native as i32).collect::<Vec<_>>().into(),
            ElementType::Int64 => $values.iter().map(|$value| $native as i64).collect::<Vec<_>>().into(),
            ElementType::Fp16 => $values.iter().map(|$value| f16::from_f64($real as f64)).collect::<Vec<_>>().into(),
            ElementType::Bf16 => $values.iter().map(|$value| bf16::from_f64($real as f64)).collect::<Vec<_>>().into(),
            ElementType::Fp32 => $values.iter().map(|$value| $real as f32).collect::<Vec<_>>().into(),
            ElementType::Fp64 => $values.iter().map(|$value| $real as f64).collect::<Vec<_>>().into(),
            ElementType::Bytes => $values.iter().map(|$value| Text::text($real)).collect::<Vec<Bytes>>().into(),
        }
    };
}

/// How a number is written.
trait Text {
    fn text(self) -> Bytes;
}

macro_rules! integers_as_text {
    ($($type:ty),*) => {
        $(impl Text for $type {
            fn text(self) -> Bytes {
                Bytes::from(self.to_string())
            }
        })*
    };
}
integers_as_text!(u8, u16, u32, u64, i8, i16, i32, i64);

impl Text for f32 {
    fn text(self) -> Bytes {
        Bytes::from(real_text(f64::from(self), 8))
    }
}

impl Text for f64 {
    fn text(self) -> Bytes {
        Bytes::from(real_text(self, 17))
    }
}

macro_rules! same {
    ($values:expr, $to:expr) => {
        numbers!($values, $to, value, *value, *value, *value != 0)
    };
}

impl Operator for Cast {
    fn evaluate(&self, inputs: Inputs<'_>) -> Result<Vec<Tensor>, Fault> {
        let input = inputs.tensor(0)?;
        Ok(vec![Tensor { shape: input.shape.clone(), data: converted(&input.data, self.to)? }])
    }
}

/// The elements as another type.
pub(super) fn converted(data: &TensorData, to: ElementType) -> Result<TensorData, Fault> {
    Ok(match data {
        data if data.element_type() == to => data.clone(),
        TensorData::Bool(values) => numbers!(values, to, value, u8::from(*value), u8::from(*value), *value),
        TensorData::Uint8(values) => same!(values, to),
        TensorData::Uint16(values) => same!(values, to),
        TensorData::Uint32(values) => same!(values, to),
        TensorData::Uint64(values) => same!(values, to),
        TensorData::Int8(values) => same!(values, to),
        TensorData::Int16(values) => same!(values, to),
        TensorData::Int32(values) => same!(values, to),
        TensorData::Int64(values) => same!(values, to),
        TensorData::Fp16(values) => {
            numbers!(values, to, value, value.to_f32(), value.to_f32(), value.to_f32() != 0.0)
        }
        TensorData::Bf16(values) => {
            numbers!(values, to, value, value.to_f32(), value.to_f32(), value.to_f32() != 0.0)
        }
        TensorData::Fp32(values) => numbers!(values, to, value, *value, *value, *value != 0.0),
        TensorData::Fp64(values) => numbers!(values, to, value, *value, *value, *value != 0.0),
        TensorData::Bytes(values) => from_text(values, to)?,
    })
}

fn from_text(values: &[Bytes], to: ElementType) -> Result<TensorData, Fault> {
    fn integers<T: TryFrom<i128>>(values: &[Bytes], to: ElementType) -> Result<Vec<T>, Fault> {
        let parsed = values.iter().map(|value| {
            let number = parse_integer(value).and_then(|number| T::try_from(number).ok());
            number.ok_or_else(|| Fault::invalid(format!("`{}` is no {to}", String::from_utf8_lossy(value))))
        });
        parsed.collect()
    }
    let real = |value: &Bytes| {
        let number = parse_real(value);
        number.ok_or_else(|| Fault::invalid(format!("`{}` is no number", String::from_utf8_lossy(value))))
    };
    Ok(match to {
        ElementType::Uint8 => integers::<u8>(values, to)?.into(),
        ElementType::Uint16 => integers::<u16>(values, to)?.into(),
        ElementType::Uint32 => integers::<u32>(values, to)?.into(),
        ElementType::Uint64 => integers::<u64>(values, to)?.into(),
        ElementType::Int8 => integers::<i8>(values, to)?.into(),
        ElementType::Int16 => integers::<i16>(values, to)?.into(),
        ElementType::Int32 => integers::<i32>(values, to)?.into(),
        ElementType::Int64 => integers::<i64>(values, to)?.into(),
        ElementType::Fp32 => {
            values.iter().map(|value| real(value).map(|real| real as f32)).collect::<Result<Vec<_>, _>>()?.into()
        }
        ElementType::Fp64 => values.iter().map(real).collect::<Result<Vec<_>, _>>()?.into(),
        ElementType::Bool | ElementType::Fp16 | ElementType::Bf16 | ElementType::Bytes => {
            return Err(Fault::invalid(format!("no cast from text to {to}")));
        }
    })
}
