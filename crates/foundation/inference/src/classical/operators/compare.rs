use bytes::Bytes;
use ropewalk_types::ElementType;

use super::broadcast::{Broadcast, broadcast_shape, pairwise};
use super::number::{NUMBERS, Number, for_any_number};
use super::{Built, Definition, Operator};
use crate::classical::fault::{Fault, checked_count};
use crate::classical::inputs::{Inputs, values};
use crate::tensor::{Element, for_any_type};
use crate::{Tensor, TensorData};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Comparison {
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    Equal,
}

/// `Less`, `LessOrEqual`, `Greater`, `GreaterOrEqual`, `Equal` with broadcasting.
pub(super) fn comparison(definition: &mut Definition<'_>) -> Result<Built, Fault> {
    definition.input_count(2, 2)?;
    let operator = match definition.operator {
        "Less" => Comparison::Less,
        "LessOrEqual" => Comparison::LessOrEqual,
        "Greater" => Comparison::Greater,
        "GreaterOrEqual" => Comparison::GreaterOrEqual,
        _ => Comparison::Equal,
    };
    let input = match definition.input(0)? {
        found @ (ElementType::Bool | ElementType::Bytes) if operator == Comparison::Equal => {
            definition.same_inputs(&[found])?
        }
        _ => definition.same_inputs(&NUMBERS)?,
    };
    if input == ElementType::Bytes && definition.opset < 19 {
        return Err(Fault::unsupported("strings are compared from version 19 on"));
    }
    Ok(Built::new(operator, vec![ElementType::Bool]))
}

impl Comparison {
    fn compared<T: Number>(self, _type: &[T], left: &Tensor, right: &Tensor) -> Result<Tensor, Fault> {
        pairwise(left, right, |left: T, right: T| self.holds(left, right))
    }

    fn holds<T: PartialOrd + Copy>(self, left: T, right: T) -> bool {
        match self {
            Self::Less => left < right,
            Self::LessOrEqual => left <= right,
            Self::Greater => left > right,
            Self::GreaterOrEqual => left >= right,
            Self::Equal => left == right,
        }
    }
}

impl Operator for Comparison {
    fn evaluate(&self, inputs: Inputs<'_>) -> Result<Vec<Tensor>, Fault> {
        let (left, right) = (inputs.tensor(0)?, inputs.tensor(1)?);
        let result = match &left.data {
            TensorData::Bool(_) => pairwise(left, right, |left: bool, right| self.holds(left, right)),
            TensorData::Bytes(_) => equal_strings(left, right),
            data => for_any_number!(data, elements => self.compared(elements, left, right)),
        };
        Ok(vec![result?])
    }
}

fn equal_strings(left: &Tensor, right: &Tensor) -> Result<Tensor, Fault> {
    let shape = broadcast_shape(&[&left.shape, &right.shape])?;
    checked_count(&shape)?;
    let (lefts, rights) = (values::<Bytes>(left)?, values::<Bytes>(right)?);
    let indices = Broadcast::new(&left.shape, &shape).zip(Broadcast::new(&right.shape, &shape));
    let equal: Vec<bool> = indices.map(|(left, right)| lefts.get(left) == rights.get(right)).collect();
    Ok(Tensor { shape, data: equal.into() })
}

#[derive(Clone, Copy, Debug)]
enum Connective {
    And,
    Or,
    Xor,
}

/// `And`, `Or`, `Xor` with broadcasting.
pub(super) fn connective(definition: &mut Definition<'_>) -> Result<Built, Fault> {
    definition.input_count(2, 2)?;
    definition.same_inputs(&[ElementType::Bool])?;
    let operator = match definition.operator {
        "And" => Connective::And,
        "Or" => Connective::Or,
        _ => Connective::Xor,
    };
    Ok(Built::new(operator, vec![ElementType::Bool]))
}

impl Operator for Connective {
    fn evaluate(&self, inputs: Inputs<'_>) -> Result<Vec<Tensor>, Fault> {
        let (left, right) = (inputs.tensor(0)?, inputs.tensor(1)?);
        Ok(vec![match self {
            Self::And => pairwise(left, right, |left: bool, right: bool| left & right)?,
            Self::Or => pairwise(left, right, |left: bool, right: bool| left | right)?,
            Self::Xor => pairwise(left, right, |left: bool, right: bool| left ^ right)?,
        }])
    }
}

#[derive(Debug)]
struct Choice;

/// `Where`: from the second input where the first is true, else from the third, with broadcasting.
pub(super) fn choice(definition: &mut Definition<'_>) -> Result<Built, Fault> {
    definition.input_count(3, 3)?;
    definition.input_of(0, &[ElementType::Bool])?;
    let (chosen, other) = (definition.input(1)?, definition.input(2)?);
    if chosen != other {
        return Err(Fault::invalid(format!("a choice between {chosen} and {other}")));
    }
    Ok(Built::new(Choice, vec![chosen]))
}

impl Operator for Choice {
    fn evaluate(&self, inputs: Inputs<'_>) -> Result<Vec<Tensor>, Fault> {
        let (condition, chosen, other) = (inputs.tensor(0)?, inputs.tensor(1)?, inputs.tensor(2)?);
        let shape = broadcast_shape(&[&condition.shape, &chosen.shape, &other.shape])?;
        checked_count(&shape)?;
        let conditions = values::<bool>(condition)?;
        let indices = Broadcast::new(&condition.shape, &shape)
            .zip(Broadcast::new(&chosen.shape, &shape).zip(Broadcast::new(&other.shape, &shape)));
        let picks =
            indices.map(|(condition, (chosen, other))| (conditions.get(condition) == Some(&true), chosen, other));
        let data = for_any_type!(&chosen.data, elements => chosen_elements(elements, values(other)?, picks));
        let data = data.ok_or_else(|| Fault::invalid("an element is out of range"))?;
        Ok(vec![Tensor { shape, data }])
    }
}

/// For each pick, the element of `chosen` at the first index, or of `others` at the second.
fn chosen_elements<T: Element>(
    chosen: &[T],
    others: &[T],
    picks: impl Iterator<Item = (bool, usize, usize)>,
) -> Option<TensorData> {
    let elements = picks.map(|(first, left, right)| if first { chosen.get(left) } else { others.get(right) }.cloned());
    elements.collect::<Option<Vec<T>>>().map(T::wrap)
}
