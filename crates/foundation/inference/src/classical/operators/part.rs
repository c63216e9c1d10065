//! Parts of a tensor: `Split`, `Compress`, `NonZero`.

use bytes::Bytes;
use ropewalk_types::ElementType;

use super::{Built, Definition, Operator};
use crate::classical::fault::Fault;
use crate::classical::inputs::{Inputs, around, axis, elements_at, values};
use crate::tensor::{Element, for_any_type};
use crate::{Tensor, TensorData};

#[derive(Debug)]
struct Split {
    axis: i64,
    parts: usize,
    /// Before version 13 the lengths stand in an attribute.
    lengths: Option<Vec<i64>>,
    /// From version 18 on, the last of equal parts may be shorter.
    last_may_differ: bool,
}

/// `Split`: parts of the given lengths along `axis`, or as many equal ones as there are outputs.
pub(super) fn split(definition: &mut Definition<'_>) -> Result<Built, Fault> {
    let output = definition.input(0)?;
    let axis = definition.attributes.int("axis")?.unwrap_or(0);
    let lengths = if definition.opset < 13 {
        definition.input_count(1, 1)?;
        definition.attributes.ints("split")?
    } else {
        definition.input_count(1, 2)?;
        definition.optional_input(1, ElementType::Int64)?;
        None
    };
    let parts = definition.outputs;
    let wanted = if definition.opset < 18 { None } else { definition.attributes.int("num_outputs")? };
    if wanted.is_some_and(|wanted| usize::try_from(wanted).ok() != Some(parts)) {
        return Err(Fault::invalid(format!("`num_outputs` is {wanted:?}, but there are {parts} outputs")));
    }
    let split = Split { axis, parts, lengths, last_may_differ: definition.opset >= 18 };
    Ok(Built::new(split, vec![output; parts]))
}

impl Split {
    fn lengths(&self, inputs: Inputs<'_>, extent: usize) -> Result<Vec<usize>, Fault> {
        let given = match inputs.optional(1) {
            Some(tensor) => Some(values::<i64>(tensor)?.to_vec()),
            None => self.lengths.clone(),
        };
        let misfit = || Fault::invalid(format!("{extent} entries in {} parts {:?}", self.parts, self.lengths));
        let Some(given) = given else {
            if self.parts == 0 || (!extent.is_multiple_of(self.parts) && !self.last_may_differ) {
                return Err(misfit());
            }
            let length = extent.div_ceil(self.parts);
            let start = |part: usize| (part * length).min(extent);
            return Ok((0..self.parts).map(|part| start(part + 1) - start(part)).collect());
        };
        let lengths: Result<Vec<usize>, _> = given.iter().map(|length| usize::try_from(*length)).collect();
        let lengths = lengths.map_err(|_| misfit())?;
        let total = lengths.iter().fold(0_usize, |total, length| total.saturating_add(*length));
        if lengths.len() != self.parts || total != extent {
            return Err(misfit());
        }
        Ok(lengths)
    }
}

impl Operator for Split {
    fn evaluate(&self, inputs: Inputs<'_>) -> Result<Vec<Tensor>, Fault> {
        let input = inputs.tensor(0)?;
        let axis = axis(self.axis, input.shape.len())?;
        let (before, extent, after) = around(&input.shape, axis);
        let mut start = 0;
        let mut parts = Vec::with_capacity(self.parts);
        for length in self.lengths(inputs, extent)? {
            let places = (0..before).flat_map(|outer| {
                let first = (outer * extent + start) * after;
                first..first + length * after
            });
            let data = for_any_type!(&input.data, elements => elements_at(elements, places))?;
            let mut shape = input.shape.clone();
            if let Some(extent) = shape.get_mut(axis) {
                *extent = length;
            }
            parts.push(Tensor { shape, data });
            start += length;
        }
        Ok(parts)
    }
}

#[derive(Debug)]
struct Compress {
    axis: Option<i64>,
}

/// `Compress`: the entries of `axis`, or of the flattened input, where the condition is true; a condition may be
/// shorter than what it selects from.
pub(super) fn compress(definition: &mut Definition<'_>) -> Result<Built, Fault> {
    definition.input_count(2, 2)?;
    let output = definition.input(0)?;
    definition.input_of(1, &[ElementType::Bool])?;
    let axis = definition.attributes.int("axis")?;
    Ok(Built::new(Compress { axis }, vec![output]))
}

impl Operator for Compress {
    fn evaluate(&self, inputs: Inputs<'_>) -> Result<Vec<Tensor>, Fault> {
        let (input, condition) = (inputs.tensor(0)?, values::<bool>(inputs.tensor(1)?)?);
        let flat = [input.data.len()];
        let (shape, dimension) = match self.axis {
            Some(given) => (input.shape.as_slice(), axis(given, input.shape.len())?),
            None => (flat.as_slice(), 0),
        };
        let (before, extent, after) = around(shape, dimension);
        let kept: Vec<usize> =
            condition.iter().enumerate().filter(|(_, keep)| **keep).map(|(place, _)| place).collect();
        if kept.iter().any(|place| *place >= extent) {
            return Err(Fault::invalid(format!("a condition of {} for {extent} entries", condition.len())));
        }
        let places = (0..before).flat_map(|outer| {
            kept.iter().flat_map(move |place| {
                let first = (outer * extent + place) * after;
                first..first + after
            })
        });
        let data = for_any_type!(&input.data, elements => elements_at(elements, places))?;
        let mut shape = shape.to_vec();
        if let Some(extent) = shape.get_mut(dimension) {
            *extent = kept.len();
        }
        Ok(vec![Tensor { shape, data }])
    }
}

#[derive(Debug)]
struct NonZero;

/// `NonZero`: the positions of all elements that are not zero, false or the empty text, as [rank, count].
pub(super) fn non_zero(definition: &mut Definition<'_>) -> Result<Built, Fault> {
    definition.input_count(1, 1)?;
    definition.input(0)?;
    Ok(Built::new(NonZero, vec![ElementType::Int64]))
}

fn differs<T: Element + PartialEq>(elements: &[T], zero: &T) -> Vec<usize> {
    elements.iter().enumerate().filter(|(_, element)| *element != zero).map(|(index, _)| index).collect()
}

impl Operator for NonZero {
    fn evaluate(&self, inputs: Inputs<'_>) -> Result<Vec<Tensor>, Fault> {
        use super::number::{Number, for_any_number};
        fn numbers<T: Number>(elements: &[T]) -> Vec<usize> {
            differs(elements, &T::ZERO)
        }
        let input = inputs.tensor(0)?;
        if input.shape.is_empty() {
            return Err(Fault::invalid("a scalar has no positions"));
        }
        let found = match &input.data {
            TensorData::Bool(elements) => differs(elements, &false),
            TensorData::Bytes(elements) => differs(elements, &Bytes::new()),
            data => for_any_number!(data, elements => numbers(elements)),
        };
        let mut positions = Vec::with_capacity(found.len() * input.shape.len());
        for (dimension, extent) in input.shape.iter().enumerate() {
            let stride: usize = input.shape.iter().skip(dimension + 1).product();
            positions.extend(found.iter().map(|index| (index / stride.max(1) % extent) as i64));
        }
        Ok(vec![Tensor { shape: vec![input.shape.len(), found.len()], data: positions.into() }])
    }
}
