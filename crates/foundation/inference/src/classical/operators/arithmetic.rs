//! Arithmetic on two or more tensors with broadcasting.

use ropewalk_types::ElementType;

use super::broadcast::{Broadcast, broadcast_shape, pairwise, try_pairwise};
use super::number::{NUMBERS, Number, REALS, for_any_number};
use super::{Built, Definition, Operator};
use crate::Tensor;
use crate::classical::fault::{Fault, checked_count};
use crate::classical::inputs::Inputs;

/// The four operations; integers wrap, and only division by zero has no result.
#[derive(Clone, Copy, Debug)]
enum Arithmetic {
    Add,
    Sub,
    Mul,
    Div,
}

/// `Add`, `Sub`, `Mul`, `Div` with broadcasting.
pub(super) fn arithmetic(definition: &mut Definition<'_>) -> Result<Built, Fault> {
    definition.input_count(2, 2)?;
    let output = definition.same_inputs(&NUMBERS)?;
    let operator = match definition.operator {
        "Add" => Arithmetic::Add,
        "Sub" => Arithmetic::Sub,
        "Mul" => Arithmetic::Mul,
        _ => Arithmetic::Div,
    };
    Ok(Built::new(operator, vec![output]))
}

impl Arithmetic {
    fn apply<T: Number>(self, _type: &[T], left: &Tensor, right: &Tensor) -> Result<Tensor, Fault> {
        match self {
            Self::Add => pairwise(left, right, T::plus),
            Self::Sub => pairwise(left, right, T::minus),
            Self::Mul => pairwise(left, right, T::times),
            Self::Div => try_pairwise(left, right, "integer division by zero", T::over),
        }
    }
}

impl Operator for Arithmetic {
    fn evaluate(&self, inputs: Inputs<'_>) -> Result<Vec<Tensor>, Fault> {
        let (left, right) = (inputs.tensor(0)?, inputs.tensor(1)?);
        Ok(vec![for_any_number!(&left.data, elements => self.apply(elements, left, right)?)])
    }
}

/// What becomes of the values of all inputs.
#[derive(Clone, Copy, Debug)]
enum Variadic {
    Max,
    Min,
    Sum,
    Mean,
}

/// `Max`, `Min`, `Sum`, `Mean` of any number of tensors, with broadcasting; a missing value stays one.
pub(super) fn variadic(definition: &mut Definition<'_>) -> Result<Built, Fault> {
    definition.input_count(1, usize::MAX)?;
    let (operator, types) = match definition.operator {
        "Max" => (Variadic::Max, NUMBERS.as_slice()),
        "Min" => (Variadic::Min, NUMBERS.as_slice()),
        "Sum" => (Variadic::Sum, REALS.as_slice()),
        _ => (Variadic::Mean, REALS.as_slice()),
    };
    let output = definition.same_inputs(types)?;
    Ok(Built::new(operator, vec![output]))
}

impl Variadic {
    fn apply<T: Number>(self, _type: &[T], tensors: &[&Tensor]) -> Result<Tensor, Fault> {
        let combine = |left: T, right: T| match self {
            Self::Max if left.is_missing() || left > right => left,
            Self::Min if left.is_missing() || left < right => left,
            Self::Max | Self::Min => right,
            Self::Sum | Self::Mean => left.plus(right),
        };
        let (first, others) = tensors.split_first().ok_or_else(|| Fault::invalid("no input"))?;
        let combined = others.iter().try_fold((*first).clone(), |left, right| pairwise(&left, right, combine))?;
        if !matches!(self, Self::Mean) {
            return Ok(combined);
        }
        let count = Tensor { shape: Vec::new(), data: T::wrap(vec![T::from_f64(tensors.len() as f64)]) };
        try_pairwise(&combined, &count, "no mean", T::over)
    }
}

impl Operator for Variadic {
    fn evaluate(&self, inputs: Inputs<'_>) -> Result<Vec<Tensor>, Fault> {
        let tensors = inputs.tensors()?;
        Ok(vec![for_any_number!(&inputs.tensor(0)?.data, elements => self.apply(elements, &tensors)?)])
    }
}

#[derive(Debug)]
struct Mod {
    /// The sign of the dividend, as C's `fmod`, not that of the divisor.
    as_in_c: bool,
}

/// `Mod` with broadcasting. Reals need `fmod`, as the specification says.
pub(super) fn modulo(definition: &mut Definition<'_>) -> Result<Built, Fault> {
    definition.input_count(2, 2)?;
    let output = definition.same_inputs(&NUMBERS)?;
    let as_in_c = definition.attributes.flag("fmod", false)?;
    if REALS.contains(&output) && !as_in_c {
        return Err(Fault::invalid("reals without `fmod`"));
    }
    Ok(Built::new(Mod { as_in_c }, vec![output]))
}

impl Mod {
    fn apply<T: Number>(&self, _type: &[T], left: &Tensor, right: &Tensor) -> Result<Tensor, Fault> {
        try_pairwise(left, right, "integer division by zero", |left: T, right: T| {
            let rest = left.remainder(right)?;
            let other_sign = (rest < T::ZERO) != (right < T::ZERO);
            Some(if !self.as_in_c && rest != T::ZERO && other_sign { rest.plus(right) } else { rest })
        })
    }
}

impl Operator for Mod {
    fn evaluate(&self, inputs: Inputs<'_>) -> Result<Vec<Tensor>, Fault> {
        let (left, right) = (inputs.tensor(0)?, inputs.tensor(1)?);
        Ok(vec![for_any_number!(&left.data, elements => self.apply(elements, left, right)?)])
    }
}

#[derive(Debug)]
struct Pow;

/// `Pow`: the base's type is the result's; an integer base by a real exponent is computed as f64 and cut, as
/// onnxruntime does.
pub(super) fn power(definition: &mut Definition<'_>) -> Result<Built, Fault> {
    definition.input_count(2, 2)?;
    let output = definition.input_of(0, &NUMBERS)?;
    let exponent = definition.input_of(1, &NUMBERS)?;
    if definition.opset < 12 && exponent != output {
        return Err(Fault::invalid(format!("{output} to the power of {exponent} before version 12")));
    }
    Ok(Built::new(Pow, vec![output]))
}

/// Both as integers give an integer, wrapped; else as f64, or as f32 where both are f32.
fn raised<T: Number, U: Number>(base: T, exponent: U) -> T {
    match u32::try_from(exponent.to_i128()) {
        Ok(whole) if !T::REAL && !U::REAL => whole_power(base, whole),
        _ if T::TYPE == ElementType::Fp32 => {
            let (base, exponent) = (base.to_f64() as f32, exponent.to_f64());
            let result = match exponent {
                2.0 => base * base,
                3.0 => base * base * base,
                _ => base.powf(exponent as f32),
            };
            T::from_f64(f64::from(result))
        }
        _ => T::from_f64(base.to_f64().powf(exponent.to_f64())),
    }
}

fn whole_power<T: Number>(base: T, exponent: u32) -> T {
    let (mut result, mut square, mut left) = (T::ONE, base, exponent);
    while left > 0 {
        if left & 1 == 1 {
            result = result.times(square);
        }
        square = square.times(square);
        left >>= 1;
    }
    result
}

fn powers<T: Number, U: Number>(bases: &[T], exponents: &[U], left: &Tensor, right: &Tensor) -> Result<Tensor, Fault> {
    let shape = broadcast_shape(&[&left.shape, &right.shape])?;
    checked_count(&shape)?;
    let indices = Broadcast::new(&left.shape, &shape).zip(Broadcast::new(&right.shape, &shape));
    let raise = |(base, exponent)| Some(raised(*bases.get(base)?, *exponents.get(exponent)?));
    let result: Option<Vec<T>> = indices.map(raise).collect();
    let result = result.ok_or_else(|| Fault::invalid("an element is out of range"))?;
    Ok(Tensor { shape, data: T::wrap(result) })
}

impl Operator for Pow {
    fn evaluate(&self, inputs: Inputs<'_>) -> Result<Vec<Tensor>, Fault> {
        let (left, right) = (inputs.tensor(0)?, inputs.tensor(1)?);
        let result = for_any_number!(&left.data, bases => {
            for_any_number!(&right.data, exponents => powers(bases, exponents, left, right)?)
        });
        Ok(vec![result])
    }
}
