use ropewalk_types::ElementType;

use super::{Built, Definition, Operator};
use crate::classical::fault::Fault;
use crate::classical::inputs::{Inputs, values};
use crate::tensor::Element;
use crate::{Tensor, TensorData};

const REALS: [ElementType; 2] = [ElementType::Fp32, ElementType::Fp64];
const SIGNED: [ElementType; 4] = [ElementType::Fp32, ElementType::Fp64, ElementType::Int32, ElementType::Int64];

fn map<T: Element + Copy, U: Element>(input: &Tensor, apply: impl Fn(T) -> U) -> Result<Vec<Tensor>, Fault> {
    let mapped = values::<T>(input)?.iter().map(|value| apply(*value)).collect();
    Ok(vec![Tensor { shape: input.shape.clone(), data: U::wrap(mapped) }])
}

#[derive(Clone, Copy, Debug)]
enum Function {
    Exp,
    Log,
    Sigmoid,
    Sqrt,
    Tanh,
}

/// `Exp`, `Log`, `Sigmoid`, `Sqrt`, `Tanh`.
pub(super) fn real(definition: &mut Definition<'_>) -> Result<Built, Fault> {
    definition.input_count(1, 1)?;
    let output = definition.input_of(0, &REALS)?;
    let operator = match definition.operator {
        "Exp" => Function::Exp,
        "Log" => Function::Log,
        "Sigmoid" => Function::Sigmoid,
        "Sqrt" => Function::Sqrt,
        _ => Function::Tanh,
    };
    Ok(Built::new(operator, vec![output]))
}

macro_rules! function_of {
    ($function:expr, $input:expr, $type:ident) => {
        match $function {
            Function::Exp => map($input, $type::exp),
            Function::Log => map($input, $type::ln),
            Function::Sqrt => map($input, $type::sqrt),
            Function::Tanh => map($input, $type::tanh),
            Function::Sigmoid => map($input, |value: $type| {
                // On the side where the exponential cannot overflow.
                let half = 1.0 / (1.0 + (-value.abs()).exp());
                if value < 0.0 { 1.0 - half } else { half }
            }),
        }
    };
}

impl Operator for Function {
    fn evaluate(&self, inputs: Inputs<'_>) -> Result<Vec<Tensor>, Fault> {
        let input = inputs.tensor(0)?;
        match &input.data {
            TensorData::Fp64(_) => function_of!(self, input, f64),
            _ => function_of!(self, input, f32),
        }
    }
}

#[derive(Clone, Copy, Debug)]
enum Signed {
    Abs,
    Neg,
    Relu,
}

/// `Abs`, `Neg`, `Relu`.
pub(super) fn signed(definition: &mut Definition<'_>) -> Result<Built, Fault> {
    definition.input_count(1, 1)?;
    let output = definition.input_of(0, &SIGNED)?;
    let operator = match definition.operator {
        "Abs" => Signed::Abs,
        "Neg" => Signed::Neg,
        _ => Signed::Relu,
    };
    Ok(Built::new(operator, vec![output]))
}

macro_rules! signed_of_real {
    ($operator:expr, $input:expr, $type:ident) => {
        match $operator {
            Signed::Abs => map($input, $type::abs),
            Signed::Neg => map($input, |value: $type| -value),
            // A missing value stays one.
            Signed::Relu => map($input, |value: $type| if value < 0.0 { 0.0 } else { value }),
        }
    };
}

macro_rules! signed_of_integer {
    ($operator:expr, $input:expr, $type:ident) => {
        match $operator {
            Signed::Abs => map($input, $type::wrapping_abs),
            Signed::Neg => map($input, $type::wrapping_neg),
            Signed::Relu => map($input, |value: $type| value.max(0)),
        }
    };
}

impl Operator for Signed {
    fn evaluate(&self, inputs: Inputs<'_>) -> Result<Vec<Tensor>, Fault> {
        let input = inputs.tensor(0)?;
        match &input.data {
            TensorData::Fp32(_) => signed_of_real!(self, input, f32),
            TensorData::Fp64(_) => signed_of_real!(self, input, f64),
            TensorData::Int32(_) => signed_of_integer!(self, input, i32),
            _ => signed_of_integer!(self, input, i64),
        }
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
        match &input.data {
            TensorData::Fp64(_) => map(input, f64::is_nan),
            _ => map(input, f32::is_nan),
        }
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
    let output = definition.input_of(0, if definition.opset < 12 { &REALS } else { &SIGNED })?;
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
    fn clipped<T: Element + Copy + PartialOrd>(
        &self,
        inputs: Inputs<'_>,
        widen: impl Fn(f32) -> Option<T>,
    ) -> Result<Vec<Tensor>, Fault> {
        let bound = |index: usize| match inputs.optional(index) {
            None => Ok(None),
            Some(tensor) => match values::<T>(tensor)? {
                [bound] => Ok(Some(*bound)),
                _ => Err(Fault::invalid(format!("a bound of shape {:?}, expected one value", tensor.shape))),
            },
        };
        let least = bound(1)?.or(self.least.and_then(&widen));
        let most = bound(2)?.or(self.most.and_then(&widen));
        map(inputs.tensor(0)?, |value: T| {
            let raised = least.filter(|least| value < *least).unwrap_or(value);
            most.filter(|most| raised > *most).unwrap_or(raised)
        })
    }
}

impl Operator for Clip {
    fn evaluate(&self, inputs: Inputs<'_>) -> Result<Vec<Tensor>, Fault> {
        match &inputs.tensor(0)?.data {
            TensorData::Fp32(_) => self.clipped::<f32>(inputs, Some),
            TensorData::Fp64(_) => self.clipped::<f64>(inputs, |bound| Some(f64::from(bound))),
            TensorData::Int32(_) => self.clipped::<i32>(inputs, |_| None),
            _ => self.clipped::<i64>(inputs, |_| None),
        }
    }
}
