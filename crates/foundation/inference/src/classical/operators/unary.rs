//! Functions of one tensor, element by element.

use half::{bf16, f16};
use ropewalk_types::ElementType;

use super::number::{INTEGERS, NUMBERS, Number, REALS, for_any_number};
use super::{Built, Definition, Operator};
use crate::classical::fault::Fault;
use crate::classical::inputs::{Inputs, values};
use crate::tensor::Element;
use crate::{Tensor, TensorData};

/// Applies `apply` to each element.
pub(super) fn map<T: Element + Copy, U: Element>(input: &Tensor, apply: impl Fn(T) -> U) -> Result<Vec<Tensor>, Fault> {
    let mapped = values::<T>(input)?.iter().map(|value| apply(*value)).collect();
    Ok(vec![Tensor { shape: input.shape.clone(), data: U::wrap(mapped) }])
}

/// Applies a function of reals to each element; half precision is computed as f32.
pub(super) fn map_reals(
    input: &Tensor,
    single: impl Fn(f32) -> f32,
    double: impl Fn(f64) -> f64,
) -> Result<Vec<Tensor>, Fault> {
    match &input.data {
        TensorData::Fp64(_) => map(input, double),
        TensorData::Fp16(_) => map(input, |value: f16| f16::from_f32(single(value.to_f32()))),
        TensorData::Bf16(_) => map(input, |value: bf16| bf16::from_f32(single(value.to_f32()))),
        _ => map(input, single),
    }
}

/// A function in both precisions.
#[derive(Clone, Copy, Debug)]
struct Function {
    single: fn(f32) -> f32,
    double: fn(f64) -> f64,
}

macro_rules! function {
    ($value:ident => $body:expr) => {
        Function { single: |$value: f32| $body, double: |$value: f64| $body }
    };
}

/// `Exp`, `Log`, `Sigmoid`, `Sqrt`, `Tanh`, `Reciprocal`, `Erf`, the trigonometric and hyperbolic functions,
/// `Softplus`, `Softsign`, `Floor`, `Ceil`, `Round` (halves to even).
pub(super) fn real(definition: &mut Definition<'_>) -> Result<Built, Fault> {
    definition.input_count(1, 1)?;
    let output = definition.input_of(0, &REALS)?;
    let function = match definition.operator {
        "Exp" => function!(value => value.exp()),
        "Log" => function!(value => value.ln()),
        "Sqrt" => function!(value => value.sqrt()),
        "Reciprocal" => function!(value => 1.0 / value),
        "Tanh" => function!(value => value.tanh()),
        "Sin" => function!(value => value.sin()),
        "Cos" => function!(value => value.cos()),
        "Tan" => function!(value => value.tan()),
        "Asin" => function!(value => value.asin()),
        "Acos" => function!(value => value.acos()),
        "Atan" => function!(value => value.atan()),
        "Sinh" => function!(value => value.sinh()),
        "Cosh" => function!(value => value.cosh()),
        "Asinh" => function!(value => value.asinh()),
        "Acosh" => function!(value => value.acosh()),
        "Atanh" => function!(value => value.atanh()),
        "Softsign" => function!(value => value / (1.0 + value.abs())),
        // max(x, 0) + ln(1 + e^-|x|), which cannot overflow.
        "Softplus" => function!(value => value.max(0.0) + (-value.abs()).exp().ln_1p()),
        "Floor" => function!(value => value.floor()),
        "Ceil" => function!(value => value.ceil()),
        "Round" => function!(value => value.round_ties_even()),
        "Erf" => Function { single: libm::erff, double: libm::erf },
        // On the side where the exponential cannot overflow.
        _ => function!(value => {
            let half = 1.0 / (1.0 + (-value.abs()).exp());
            if value < 0.0 { 1.0 - half } else { half }
        }),
    };
    Ok(Built::new(function, vec![output]))
}

impl Operator for Function {
    fn evaluate(&self, inputs: Inputs<'_>) -> Result<Vec<Tensor>, Fault> {
        map_reals(inputs.tensor(0)?, self.single, self.double)
    }
}

#[derive(Clone, Copy, Debug)]
enum Signed {
    Abs,
    Neg,
    Relu,
    Sign,
}

/// `Abs`, `Neg`, `Relu`, `Sign`; a missing value stays one.
pub(super) fn signed(definition: &mut Definition<'_>) -> Result<Built, Fault> {
    definition.input_count(1, 1)?;
    let output = definition.input_of(0, &NUMBERS)?;
    let operator = match definition.operator {
        "Abs" => Signed::Abs,
        "Neg" => Signed::Neg,
        "Relu" => Signed::Relu,
        _ => Signed::Sign,
    };
    Ok(Built::new(operator, vec![output]))
}

impl Signed {
    fn apply<T: Number>(self, _type: &[T], input: &Tensor) -> Result<Vec<Tensor>, Fault> {
        let negated = |value: T| if T::REAL { value.times(T::from_f64(-1.0)) } else { T::ZERO.minus(value) };
        match self {
            Self::Abs => map(input, |value: T| if value.to_f64().is_sign_negative() { negated(value) } else { value }),
            Self::Neg => map(input, negated),
            Self::Relu => map(input, |value: T| if value < T::ZERO { T::ZERO } else { value }),
            Self::Sign => map(input, |value: T| match value.partial_cmp(&T::ZERO) {
                Some(std::cmp::Ordering::Less) => negated(T::ONE),
                Some(std::cmp::Ordering::Greater) => T::ONE,
                Some(std::cmp::Ordering::Equal) => T::ZERO,
                None => value,
            }),
        }
    }
}

impl Operator for Signed {
    fn evaluate(&self, inputs: Inputs<'_>) -> Result<Vec<Tensor>, Fault> {
        let input = inputs.tensor(0)?;
        for_any_number!(&input.data, elements => self.apply(elements, input))
    }
}

#[derive(Debug)]
struct IsNan;

/// `IsNaN`.
pub(super) fn is_nan(definition: &mut Definition<'_>) -> Result<Built, Fault> {
    definition.input_count(1, 1)?;
    definition.input_of(0, &REALS)?;
    Ok(Built::new(IsNan, vec![ElementType::Bool]))
}

impl Operator for IsNan {
    fn evaluate(&self, inputs: Inputs<'_>) -> Result<Vec<Tensor>, Fault> {
        let input = inputs.tensor(0)?;
        let missing: Vec<bool> =
            for_any_number!(&input.data, values => values.iter().map(|value| value.is_missing()).collect());
        Ok(vec![Tensor { shape: input.shape.clone(), data: missing.into() }])
    }
}

#[derive(Debug)]
struct IsInf {
    negative: bool,
    positive: bool,
}

/// `IsInf`: infinities of the signs that are looked for.
pub(super) fn is_inf(definition: &mut Definition<'_>) -> Result<Built, Fault> {
    definition.input_count(1, 1)?;
    definition.input_of(0, &REALS)?;
    let negative = definition.attributes.flag("detect_negative", true)?;
    let positive = definition.attributes.flag("detect_positive", true)?;
    Ok(Built::new(IsInf { negative, positive }, vec![ElementType::Bool]))
}

impl Operator for IsInf {
    fn evaluate(&self, inputs: Inputs<'_>) -> Result<Vec<Tensor>, Fault> {
        let input = inputs.tensor(0)?;
        let is_infinite = |value: f64| value.is_infinite() && if value < 0.0 { self.negative } else { self.positive };
        let found: Vec<bool> =
            for_any_number!(&input.data, values => values.iter().map(|value| is_infinite(value.to_f64())).collect());
        Ok(vec![Tensor { shape: input.shape.clone(), data: found.into() }])
    }
}

#[derive(Debug)]
struct Not;

/// `Not`.
pub(super) fn not(definition: &mut Definition<'_>) -> Result<Built, Fault> {
    definition.input_count(1, 1)?;
    definition.input_of(0, &[ElementType::Bool])?;
    Ok(Built::new(Not, vec![ElementType::Bool]))
}

impl Operator for Not {
    fn evaluate(&self, inputs: Inputs<'_>) -> Result<Vec<Tensor>, Fault> {
        map(inputs.tensor(0)?, |value: bool| !value)
    }
}

/// Bounds that stand in attributes (before version 11); from then on they are inputs.
#[derive(Debug)]
struct Clip {
    least: Option<f32>,
    most: Option<f32>,
}

/// `Clip`: no less than the least, then no more than the most, if given.
pub(super) fn clip(definition: &mut Definition<'_>) -> Result<Built, Fault> {
    let output = definition.input_of(0, &NUMBERS)?;
    if INTEGERS.contains(&output) && definition.opset < 12 {
        return Err(Fault::invalid(format!("{output} before version 12")));
    }
    if definition.opset < 11 {
        definition.input_count(1, 1)?;
        let attributes = &mut definition.attributes;
        let clip = Clip { least: attributes.float("min")?, most: attributes.float("max")? };
        return Ok(Built::new(clip, vec![output]));
    }
    definition.input_count(1, 3)?;
    definition.optional_input(1, output)?;
    definition.optional_input(2, output)?;
    Ok(Built::new(Clip { least: None, most: None }, vec![output]))
}

impl Clip {
    fn clipped<T: Number>(&self, _type: &[T], inputs: Inputs<'_>) -> Result<Vec<Tensor>, Fault> {
        let bound = |index: usize| match inputs.optional(index) {
            None => Ok(None),
            Some(tensor) => match values::<T>(tensor)? {
                [bound] => Ok(Some(*bound)),
                _ => Err(Fault::invalid(format!("a bound of shape {:?}, expected one value", tensor.shape))),
            },
        };
        let widened = |bound: f32| T::from_f64(f64::from(bound));
        let least = bound(1)?.or(self.least.map(widened));
        let most = bound(2)?.or(self.most.map(widened));
        map(inputs.tensor(0)?, |value: T| {
            let raised = least.filter(|least| value < *least).unwrap_or(value);
            most.filter(|most| raised > *most).unwrap_or(raised)
        })
    }
}

impl Operator for Clip {
    fn evaluate(&self, inputs: Inputs<'_>) -> Result<Vec<Tensor>, Fault> {
        for_any_number!(&inputs.tensor(0)?.data, elements => self.clipped(elements, inputs))
    }
}
