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

/// The places of an axis that a slice keeps: counted, not listed, because an axis of a tensor without elements may be of any
/// length.
#[derive(Clone, Copy, Debug)]
struct Kept {
    start: usize,
    stride: usize,
    backward: bool,
    length: usize,
}

impl Kept {
    fn all(extent: usize) -> Self {
        Self { start: 0, stride: 1, backward: false, length: extent }
    }

    fn new(start: i64, end: i64, step: i64, extent: usize) -> Result<Self, Fault> {
        let extent = i64::try_from(extent).unwrap_or(i64::MAX);
        let counted = |at: i64| if at < 0 { at.saturating_add(extent) } else { at };
        let stride = usize::try_from(step.unsigned_abs()).unwrap_or(usize::MAX);
        let (start, between) = match step {
            0 => return Err(Fault::invalid("a slice by a step of 0")),
            1.. => {
                let (start, end) = (counted(start).clamp(0, extent), counted(end).clamp(0, extent));
                (start, end - start)
            }
            _ => {
                let (start, end) = (counted(start).clamp(-1, extent - 1), counted(end).clamp(-1, extent - 1));
                (start, start - end)
            }
        };
        let length = usize::try_from(between).unwrap_or(0).div_ceil(stride);
        Ok(Self { start: usize::try_from(start).unwrap_or(0), stride, backward: step < 0, length })
    }

    fn places(self) -> impl Iterator<Item = usize> {
        let Self { start, stride, backward, length } = self;
        (0..length).map(move |turn| if backward { start - turn * stride } else { start + turn * stride })
    }
}

impl Slice {
    /// For each dimension, the places kept.
    fn kept(&self, inputs: Inputs<'_>, shape: &[usize]) -> Result<Vec<Kept>, Fault> {
        let given = |index: usize| inputs.optional(index).map(integers).transpose();
        let starts = given(1)?.unwrap_or_else(|| self.starts.clone());
        let ends = given(2)?.unwrap_or_else(|| self.ends.clone());
        let axes = given(3)?.or_else(|| self.axes.clone());
        let axes = axes.unwrap_or_else(|| (0..starts.len() as i64).collect());
        let steps = given(4)?.unwrap_or_else(|| vec![1; starts.len()]);
        if [ends.len(), axes.len(), steps.len()] != [starts.len(); 3] {
            return Err(Fault::invalid("starts, ends, axes and steps differ in length"));
        }
        let mut kept: Vec<Kept> = shape.iter().map(|extent| Kept::all(*extent)).collect();
        let mut cut = vec![false; shape.len()];
        for (((start, end), step), one) in starts.iter().zip(&ends).zip(&steps).zip(&axes) {
            let dimension = axis(*one, shape.len())?;
            if cut.get_mut(dimension).is_none_or(|flag| std::mem::replace(flag, true)) {
                return Err(Fault::invalid(format!("axis {one} is cut twice")));
            }
            if let Some(slot) = kept.get_mut(dimension) {
                *slot = Kept::new(*start, *end, *step, slot.length)?;
            }
        }
        Ok(kept)
    }
}

/// The indices of the elements at all combinations of the places kept, in order. None where there is no element: what comes
/// together on the way is then bounded by nothing.
fn combined(kept: &[Kept], shape: &[usize]) -> Vec<usize> {
    if kept.iter().any(|kept| kept.length == 0) {
        return Vec::new();
    }
    let mut indices = vec![0];
    for (kept, extent) in kept.iter().zip(shape) {
        indices = indices.iter().flat_map(|index| kept.places().map(move |place| index * extent + place)).collect();
    }
    indices
}

impl Operator for Slice {
    fn cost(&self, inputs: Inputs<'_>) -> u64 {
        inputs.count_after_first()
    }

    fn evaluate(&self, inputs: Inputs<'_>) -> Result<Vec<Tensor>, Fault> {
        let input = inputs.tensor(0)?;
        let kept = self.kept(inputs, &input.shape)?;
        let shape: Vec<usize> = kept.iter().map(|kept| kept.length).collect();
        checked_count(&shape)?;
        let indices = combined(&kept, &input.shape);
        let data = for_any_type!(&input.data, elements => elements_at(elements, indices.into_iter()))?;
        Ok(vec![Tensor { shape, data }])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_count_as_in_python() {
        let kept = |start, end, step, extent| Kept::new(start, end, step, extent).unwrap().places().collect::<Vec<_>>();
        assert_eq!(kept(1, i64::MAX, 2, 6), [1, 3, 5]);
        assert_eq!(kept(-2, 100, 1, 5), [3, 4]);
        assert_eq!(kept(-1, i64::MIN, -1, 3), [2, 1, 0]);
        assert_eq!(kept(4, 1, -2, 5), [4, 2]);
        assert_eq!(kept(4, 0, i64::MIN, 5), [4]);
        assert!(kept(3, 1, 1, 5).is_empty());
        assert!(kept(1, 3, -1, 5).is_empty());
        assert!(kept(0, 5, 1, 0).is_empty());
        assert!(kept(0, -5, -1, 0).is_empty());
        assert!(Kept::new(0, 1, 0, 5).is_err());
    }

    #[test]
    fn the_places_of_no_elements_are_not_written_out() {
        let input = Tensor::new(vec![0, 1 << 31], Vec::<f32>::new()).unwrap();
        let bounds = [0_i64, i64::MAX, 1, 2].map(|value| Tensor::new(vec![1], vec![value]).unwrap());
        let inputs = [&input, &bounds[0], &bounds[1], &bounds[2], &bounds[3]].map(Some);
        let made = Slice::default().evaluate(Inputs(&inputs)).unwrap();
        assert_eq!(made, [Tensor::new(vec![0, 1 << 30], Vec::<f32>::new()).unwrap()]);
    }
}
