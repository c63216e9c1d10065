use ropewalk_types::ElementType;

use super::{Built, Definition, Operator};
use crate::classical::fault::{Fault, checked_count};
use crate::classical::inputs::{Inputs, around, axis, values};
use crate::tensor::for_any_type;
use crate::{Tensor, TensorData};

/// Indices within an extent; negative ones count from the end if `wrapping`.
pub(super) fn places(indices: &Tensor, extent: usize, wrapping: bool) -> Result<Vec<usize>, Fault> {
    let place = |index: i64| {
        let counted = if index < 0 && wrapping { index.saturating_add(extent as i64) } else { index };
        let place = usize::try_from(counted).ok().filter(|place| *place < extent);
        place.ok_or_else(|| Fault::invalid(format!("index {index} is outside of extent {extent}")))
    };
    match &indices.data {
        TensorData::Int32(indices) => indices.iter().map(|index| place(i64::from(*index))).collect(),
        _ => values::<i64>(indices)?.iter().map(|index| place(*index)).collect(),
    }
}

/// For each of `before` places, the pieces of `length` elements at `places` of an axis of `extent`.
fn picked(data: &TensorData, before: usize, extent: usize, length: usize, places: &[usize]) -> Option<TensorData> {
    for_any_type!(data, elements => {
        let mut out = Vec::with_capacity(before * places.len() * length);
        for place in 0..before {
            for pick in places {
                let start = (place * extent + pick) * length;
                out.extend_from_slice(elements.get(start..start + length)?);
            }
        }
        Some(out.into())
    })
}

#[derive(Debug)]
struct Gather {
    axis: i64,
}

/// `Gather`: the entries of `axis` at the given indices, which may have any shape.
pub(super) fn gather(definition: &mut Definition<'_>) -> Result<Built, Fault> {
    definition.input_count(2, 2)?;
    let output = definition.input(0)?;
    definition.input_of(1, &[ElementType::Int64, ElementType::Int32])?;
    let axis = definition.attributes.int("axis")?.unwrap_or(0);
    Ok(Built::new(Gather { axis }, vec![output]))
}

impl Operator for Gather {
    fn cost(&self, inputs: Inputs<'_>) -> u64 {
        inputs.count_after_first()
    }

    fn evaluate(&self, inputs: Inputs<'_>) -> Result<Vec<Tensor>, Fault> {
        let (input, indices) = (inputs.tensor(0)?, inputs.tensor(1)?);
        let axis = axis(self.axis, input.shape.len())?;
        let (before, extent, after) = around(&input.shape, axis);
        let places = places(indices, extent, true)?;
        let head = input.shape.iter().take(axis);
        let tail = input.shape.iter().skip(axis + 1);
        let shape: Vec<usize> = head.chain(&indices.shape).chain(tail).copied().collect();
        checked_count(&shape)?;
        let data = picked(&input.data, before, extent, after, &places);
        let data = data.ok_or_else(|| Fault::invalid("an element is out of range"))?;
        Ok(vec![Tensor { shape, data }])
    }
}

const EXTRACTED: [ElementType; 5] =
    [ElementType::Fp32, ElementType::Fp64, ElementType::Int32, ElementType::Int64, ElementType::Bytes];

#[derive(Debug)]
struct ArrayFeatureExtractor;

/// `ArrayFeatureExtractor`: the columns at the given indices; a vector is one row.
pub(super) fn array_feature_extractor(definition: &mut Definition<'_>) -> Result<Built, Fault> {
    definition.input_count(2, 2)?;
    let output = definition.input_of(0, &EXTRACTED)?;
    definition.input_of(1, &[ElementType::Int64])?;
    Ok(Built::new(ArrayFeatureExtractor, vec![output]))
}

impl Operator for ArrayFeatureExtractor {
    fn cost(&self, inputs: Inputs<'_>) -> u64 {
        inputs.count_after_first()
    }

    fn evaluate(&self, inputs: Inputs<'_>) -> Result<Vec<Tensor>, Fault> {
        let (input, indices) = (inputs.tensor(0)?, inputs.tensor(1)?);
        let Some((extent, stack)) = input.shape.split_last() else {
            return Err(Fault::invalid("cannot select columns of a scalar"));
        };
        let places = places(indices, *extent, false)?;
        if places.is_empty() {
            return Err(Fault::invalid("no column is selected"));
        }
        let mut shape = if stack.is_empty() { vec![1] } else { stack.to_vec() };
        shape.push(places.len());
        checked_count(&shape)?;
        let data = picked(&input.data, stack.iter().product(), *extent, 1, &places);
        let data = data.ok_or_else(|| Fault::invalid("an element is out of range"))?;
        Ok(vec![Tensor { shape, data }])
    }
}
