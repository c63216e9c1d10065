use super::broadcast::{pairwise, try_pairwise};
use super::{Built, Definition, Operator};
use crate::classical::fault::Fault;
use crate::classical::inputs::Inputs;
use crate::{Tensor, TensorData};
use ropewalk_types::ElementType;

/// The four operations; integers wrap, and only division by zero has no result.
#[derive(Clone, Copy, Debug)]
enum Arithmetic {
    Add,
    Sub,
    Mul,
    Div,
}

const TYPES: [ElementType; 10] = [
    ElementType::Fp32,
    ElementType::Fp64,
    ElementType::Int32,
    ElementType::Int64,
    ElementType::Uint8,
    ElementType::Uint16,
    ElementType::Uint32,
    ElementType::Uint64,
    ElementType::Int8,
    ElementType::Int16,
];

/// `Add`, `Sub`, `Mul`, `Div` with broadcasting.
pub(super) fn arithmetic(definition: &mut Definition<'_>) -> Result<Built, Fault> {
    definition.input_count(2, 2)?;
    let output = definition.same_inputs(&TYPES)?;
    let operator = match definition.operator {
        "Add" => Arithmetic::Add,
        "Sub" => Arithmetic::Sub,
        "Mul" => Arithmetic::Mul,
        _ => Arithmetic::Div,
    };
    Ok(Built::new(operator, vec![output]))
}

macro_rules! of_integers {
    ($operator:expr, $left:expr, $right:expr, $type:ty) => {
        match $operator {
            Arithmetic::Add => pairwise($left, $right, <$type>::wrapping_add),
            Arithmetic::Sub => pairwise($left, $right, <$type>::wrapping_sub),
            Arithmetic::Mul => pairwise($left, $right, <$type>::wrapping_mul),
            Arithmetic::Div => try_pairwise($left, $right, "integer division by zero", |left: $type, right: $type| {
                (right != 0).then(|| left.wrapping_div(right))
            }),
        }
    };
}

macro_rules! of_reals {
    ($operator:expr, $left:expr, $right:expr, $type:ty) => {
        match $operator {
            Arithmetic::Add => pairwise($left, $right, |left: $type, right: $type| left + right),
            Arithmetic::Sub => pairwise($left, $right, |left: $type, right: $type| left - right),
            Arithmetic::Mul => pairwise($left, $right, |left: $type, right: $type| left * right),
            Arithmetic::Div => pairwise($left, $right, |left: $type, right: $type| left / right),
        }
    };
}

impl Operator for Arithmetic {
    fn evaluate(&self, inputs: Inputs<'_>) -> Result<Vec<Tensor>, Fault> {
        let (left, right) = (inputs.tensor(0)?, inputs.tensor(1)?);
        let result = match &left.data {
            TensorData::Fp32(_) => of_reals!(self, left, right, f32),
            TensorData::Fp64(_) => of_reals!(self, left, right, f64),
            TensorData::Int32(_) => of_integers!(self, left, right, i32),
            TensorData::Int64(_) => of_integers!(self, left, right, i64),
            TensorData::Uint8(_) => of_integers!(self, left, right, u8),
            TensorData::Uint16(_) => of_integers!(self, left, right, u16),
            TensorData::Uint32(_) => of_integers!(self, left, right, u32),
            TensorData::Uint64(_) => of_integers!(self, left, right, u64),
            TensorData::Int8(_) => of_integers!(self, left, right, i8),
            TensorData::Int16(_) => of_integers!(self, left, right, i16),
            other => Err(Fault::invalid(format!("no arithmetic on {}", other.element_type()))),
        };
        Ok(vec![result?])
    }
}
