use ropewalk_types::ElementType;

use super::{Built, Definition, Operator};
use crate::classical::fault::{Fault, checked_count};
use crate::classical::inputs::{Inputs, axis, elements_at, values};
use crate::tensor::for_any_type;
use crate::{Tensor, TensorData};

/// Bounds that stand in attributes (before version 10); from then on they are inputs.
#[derive(Debug, Default)]
struct Slice {
    starts: Vec<i64>,
    ends: Vec<i64>,
    axes: Option<Vec<i64>>,
}

/// `Slice`: along each given axis, from start to before end by step, counted as in Python.
pub(super) fn slice(definition: &mut Definition<'_>) -> Result<Built, Fault> {
    let output = definition.input(0)?;
    if definition.opset < 10 {
        definition.input_count(1, 1)?;
        let attributes = &mut definition.attributes;
        let missing = || Fault::invalid("attribute `starts` or `ends` is missing");
        let slice = Slice {
            starts: attributes.ints("starts")?.ok_or_else(missing)?,
            ends: attributes.ints("ends")?.ok_or_else(missing)?,
            axes: attributes.ints("axes")?,
        };
        return Ok(Built::new(slice, vec![output]));
    }
    definition.input_count(3, 5)?;
    for index in 1..definition.inputs.len() {
        if index < 3 || definition.inputs.get(index).is_some_and(Option::is_some) {
            definition.input_of(index, &[ElementType::Int64, ElementType::Int32])?;
        }
    }
    Ok(Built::new(Slice::default(), vec![output]))
}

pub(super) fn integers(tensor: &Tensor) -> Result<Vec<i64>, Fault> {
    Ok(match &tensor.data {
        TensorData::Int32(values) => values.iter().map(|value| i64::from(*value)).collect(),
        _ => values::<i64>(tensor)?.to_vec(),
    })
}

/// The places of an axis that a slice keeps.
fn kept(start: i64, end: i64, step: i64, extent: usize) -> Result<Vec<usize>, Fault> {
    let extent = extent as i64;
    let counted = |at: i64| if at < 0 { at.saturating_add(extent) } else { at };
    let stride = usize::try_from(step.unsigned_abs()).unwrap_or(usize::MAX);
    match step {
        0 => Err(Fault::invalid("a slice by a step of 0")),
        1.. => {
            let (start, end) = (counted(start).clamp(0, extent), counted(end).clamp(0, extent));
            Ok((start as usize..end as usize).step_by(stride).collect())
        }
        _ => {
            let (start, end) = (counted(start).clamp(-1, extent - 1), counted(end).clamp(-1, extent - 1));
            Ok(((end + 1) as usize..(start + 1) as usize).rev().step_by(stride).collect())
        }
    }
}

impl Slice {
    /// For each dimension, the places kept.
    fn places(&self, inputs: Inputs<'_>, shape: &[usize]) -> Result<Vec<Vec<usize>>, Fault> {
        let given = |index: usize| inputs.optional(index).map(integers).transpose();
        let starts = given(1)?.unwrap_or_else(|| self.starts.clone());
        let ends = given(2)?.unwrap_or_else(|| self.ends.clone());
        let axes = given(3)?.or_else(|| self.axes.clone());
        let axes = axes.unwrap_or_else(|| (0..starts.len() as i64).collect());
        let steps = given(4)?.unwrap_or_else(|| vec![1; starts.len()]);
        if [ends.len(), axes.len(), steps.len()] != [starts.len(); 3] {
            return Err(Fault::invalid("starts, ends, axes and steps differ in length"));
        }
        let mut places: Vec<Vec<usize>> = shape.iter().map(|extent| (0..*extent).collect()).collect();
        let mut cut = vec![false; shape.len()];
        for (((start, end), step), one) in starts.iter().zip(&ends).zip(&steps).zip(&axes) {
            let dimension = axis(*one, shape.len())?;
            if cut.get_mut(dimension).is_none_or(|flag| std::mem::replace(flag, true)) {
                return Err(Fault::invalid(format!("axis {one} is cut twice")));
            }
            if let Some(slot) = places.get_mut(dimension) {
                *slot = kept(*start, *end, *step, slot.len())?;
            }
        }
        Ok(places)
    }
}

/// The indices of the elements at all combinations of `places`, in order.
fn combined(places: &[Vec<usize>], shape: &[usize]) -> Vec<usize> {
    let mut indices = vec![0];
    for (places, extent) in places.iter().zip(shape) {
        indices = indices.iter().flat_map(|index| places.iter().map(move |place| index * extent + place)).collect();
    }
    indices
}

impl Operator for Slice {
    fn evaluate(&self, inputs: Inputs<'_>) -> Result<Vec<Tensor>, Fault> {
        let input = inputs.tensor(0)?;
        let places = self.places(inputs, &input.shape)?;
        let shape: Vec<usize> = places.iter().map(Vec::len).collect();
        checked_count(&shape)?;
        let indices = combined(&places, &input.shape);
        let data = for_any_type!(&input.data, elements => elements_at(elements, indices.into_iter()))?;
        Ok(vec![Tensor { shape, data }])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_count_as_in_python() {
        assert_eq!(kept(1, i64::MAX, 2, 6).unwrap(), [1, 3, 5]);
        assert_eq!(kept(-2, 100, 1, 5).unwrap(), [3, 4]);
        assert_eq!(kept(-1, i64::MIN, -1, 3).unwrap(), [2, 1, 0]);
        assert_eq!(kept(4, 1, -2, 5).unwrap(), [4, 2]);
        assert!(kept(3, 1, 1, 5).unwrap().is_empty());
        assert!(kept(0, 5, 1, 0).unwrap().is_empty());
        assert!(kept(0, 1, 0, 5).is_err());
    }
}
