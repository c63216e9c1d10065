use ropewalk_types::ElementType;

use super::layout::Axes;
use super::{Built, Definition, Operator};
use crate::classical::fault::Fault;
use crate::classical::inputs::{Inputs, around, axis, values};
use crate::tensor::Element;
use crate::{Tensor, TensorData};

const NUMBERS: [ElementType; 4] = [ElementType::Fp32, ElementType::Fp64, ElementType::Int32, ElementType::Int64];

#[derive(Debug)]
struct ArgMax {
    axis: i64,
    keep: bool,
    last: bool,
}

/// `ArgMax`: the index of the largest value along `axis`, the first or the last of equals.
pub(super) fn arg_max(definition: &mut Definition<'_>) -> Result<Built, Fault> {
    definition.input_count(1, 1)?;
    definition.input_of(0, &NUMBERS)?;
    let attributes = &mut definition.attributes;
    let operator = ArgMax {
        axis: attributes.int("axis")?.unwrap_or(0),
        keep: attributes.flag("keepdims", true)?,
        last: attributes.flag("select_last_index", false)?,
    };
    Ok(Built::new(operator, vec![ElementType::Int64]))
}

impl ArgMax {
    fn indices<T: Element + Copy + PartialOrd>(&self, input: &Tensor, axis: usize) -> Result<Vec<i64>, Fault> {
        let (before, extent, after) = around(&input.shape, axis);
        if extent == 0 {
            return Err(Fault::invalid(format!("no value along axis {axis}")));
        }
        let elements = values::<T>(input)?;
        let places = (0..before).flat_map(|outer| (0..after).map(move |inner| outer * extent * after + inner));
        Ok(places.map(|start| self.along(elements.iter().skip(start).step_by(after).take(extent))).collect())
    }

    fn along<'a, T: PartialOrd + 'a>(&self, line: impl Iterator<Item = &'a T>) -> i64 {
        let mut best: Option<(usize, &T)> = None;
        for (index, value) in line.enumerate() {
            if best.is_none_or(|(_, largest)| value > largest || (self.last && value == largest)) {
                best = Some((index, value));
            }
        }
        best.map_or(0, |(index, _)| index as i64)
    }
}

/// A shape with the given axes at 1 or left out.
fn reduced(shape: &[usize], axes: &[usize], keep: bool) -> Vec<usize> {
    let extents = shape.iter().enumerate();
    extents
        .filter_map(|(dimension, extent)| match (axes.contains(&dimension), keep) {
            (false, _) => Some(*extent),
            (true, true) => Some(1),
            (true, false) => None,
        })
        .collect()
}

impl Operator for ArgMax {
    fn evaluate(&self, inputs: Inputs<'_>) -> Result<Vec<Tensor>, Fault> {
        let input = inputs.tensor(0)?;
        let axis = axis(self.axis, input.shape.len())?;
        let indices = match &input.data {
            TensorData::Fp32(_) => self.indices::<f32>(input, axis)?,
            TensorData::Fp64(_) => self.indices::<f64>(input, axis)?,
            TensorData::Int32(_) => self.indices::<i32>(input, axis)?,
            _ => self.indices::<i64>(input, axis)?,
        };
        Ok(vec![Tensor { shape: reduced(&input.shape, &[axis], self.keep), data: indices.into() }])
    }
}

#[derive(Debug)]
struct ReduceSum {
    axes: Axes,
    keep: bool,
    nothing_without_axes: bool,
}

/// `ReduceSum`: the sum along the given axes, or along all.
pub(super) fn reduce_sum(definition: &mut Definition<'_>) -> Result<Built, Fault> {
    let output = definition.input_of(0, &NUMBERS)?;
    let axes = Axes::read(definition, false)?;
    let operator = ReduceSum {
        axes,
        keep: definition.attributes.flag("keepdims", true)?,
        nothing_without_axes: definition.attributes.flag("noop_with_empty_axes", false)?,
    };
    Ok(Built::new(operator, vec![output]))
}

/// For each element of `shape`, the index of its sum when `axes` are reduced to 1.
fn sum_index(shape: &[usize], axes: &[usize], element: usize) -> usize {
    let (mut left, mut index, mut stride) = (element, 0, 1);
    for (dimension, extent) in shape.iter().enumerate().rev() {
        let position = left % extent;
        left /= extent;
        if !axes.contains(&dimension) {
            index += position * stride;
            stride *= extent;
        }
    }
    index
}

fn sums<T: Element + Copy + Default>(
    input: &Tensor,
    axes: &[usize],
    add: impl Fn(T, T) -> T,
) -> Result<TensorData, Fault> {
    let count = reduced(&input.shape, axes, false).iter().product();
    let mut sums = vec![T::default(); count];
    for (element, value) in values::<T>(input)?.iter().enumerate() {
        if let Some(sum) = sums.get_mut(sum_index(&input.shape, axes, element)) {
            *sum = add(*sum, *value);
        }
    }
    Ok(T::wrap(sums))
}

impl Operator for ReduceSum {
    fn evaluate(&self, inputs: Inputs<'_>) -> Result<Vec<Tensor>, Fault> {
        let input = inputs.tensor(0)?;
        let rank = input.shape.len();
        let axes = match self.axes.resolve(inputs, rank)?.filter(|axes| !axes.is_empty()) {
            Some(axes) => axes,
            None if self.nothing_without_axes => return Ok(vec![input.clone()]),
            None => (0..rank).collect(),
        };
        let data = match &input.data {
            TensorData::Fp32(_) => sums(input, &axes, |sum: f32, value| sum + value)?,
            TensorData::Fp64(_) => sums(input, &axes, |sum: f64, value| sum + value)?,
            TensorData::Int32(_) => sums(input, &axes, i32::wrapping_add)?,
            _ => sums(input, &axes, i64::wrapping_add)?,
        };
        Ok(vec![Tensor { shape: reduced(&input.shape, &axes, self.keep), data }])
    }
}
