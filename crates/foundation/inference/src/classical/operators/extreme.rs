//! The places of the largest and smallest values: `ArgMax`, `ArgMin`, `TopK`.

use std::cmp::Ordering;

use ropewalk_types::ElementType;

use super::number::{NUMBERS, Number, for_any_number};
use super::reduce::reduced;
use super::{Built, Definition, Operator};
use crate::classical::fault::{Fault, checked_count};
use crate::classical::inputs::{Inputs, around, axis, values};
use crate::{Tensor, TensorData};

#[derive(Debug)]
struct ArgExtreme {
    axis: i64,
    keep: bool,
    last: bool,
    smallest: bool,
}

/// `ArgMax`, `ArgMin`: the index of the largest or smallest value along `axis`, the first or the last of equals.
pub(super) fn arg_extreme(definition: &mut Definition<'_>) -> Result<Built, Fault> {
    definition.input_count(1, 1)?;
    definition.input_of(0, &NUMBERS)?;
    let smallest = definition.operator == "ArgMin";
    let attributes = &mut definition.attributes;
    let operator = ArgExtreme {
        axis: attributes.int("axis")?.unwrap_or(0),
        keep: attributes.flag("keepdims", true)?,
        last: attributes.flag("select_last_index", false)?,
        smallest,
    };
    Ok(Built::new(operator, vec![ElementType::Int64]))
}

/// The first element of each line along an axis; the others follow at distances of `after`.
fn line_starts(before: usize, extent: usize, after: usize) -> impl Iterator<Item = usize> {
    (0..before).flat_map(move |outer| (0..after).map(move |inner| outer * extent * after + inner))
}

impl ArgExtreme {
    fn along<T: Number>(&self, line: impl Iterator<Item = T>) -> i64 {
        let mut best: Option<(usize, T)> = None;
        for (index, value) in line.enumerate() {
            let wins = |other: T| if self.smallest { value < other } else { value > other };
            if best.is_none_or(|(_, other)| wins(other) || (self.last && value == other)) {
                best = Some((index, value));
            }
        }
        best.map_or(0, |(index, _)| index as i64)
    }
}

impl Operator for ArgExtreme {
    fn evaluate(&self, inputs: Inputs<'_>) -> Result<Vec<Tensor>, Fault> {
        let input = inputs.tensor(0)?;
        let axis = axis(self.axis, input.shape.len())?;
        let (before, extent, after) = around(&input.shape, axis);
        if extent == 0 {
            return Err(Fault::invalid(format!("no value along axis {axis}")));
        }
        let starts = line_starts(before, extent, after);
        let indices: Vec<i64> = for_any_number!(&input.data, elements => {
            let line = |start: usize| elements.iter().skip(start).step_by(after).take(extent).copied();
            starts.map(|start| self.along(line(start))).collect()
        });
        Ok(vec![Tensor { shape: reduced(&input.shape, &[axis], self.keep), data: indices.into() }])
    }
}

#[derive(Debug)]
struct TopK {
    axis: i64,
    /// Before version 10 the number stands in an attribute.
    count: Option<i64>,
    largest: bool,
}

/// `TopK`: the largest (or smallest) values along `axis` and their indices, best first, the lower index first among
/// equals. `sorted` 0 leaves the order open, so it is the same here. NaN is larger than all others.
pub(super) fn top_k(definition: &mut Definition<'_>) -> Result<Built, Fault> {
    let output = definition.input_of(0, &NUMBERS)?;
    let count = if definition.opset < 10 {
        definition.input_count(1, 1)?;
        Some(definition.attributes.int("k")?.ok_or_else(|| Fault::invalid("attribute `k` is missing"))?)
    } else {
        definition.input_count(2, 2)?;
        definition.input_of(1, &[ElementType::Int64])?;
        None
    };
    let attributes = &mut definition.attributes;
    attributes.int("sorted")?;
    let largest = attributes.flag("largest", true)?;
    let axis = attributes.int("axis")?.unwrap_or(-1);
    Ok(Built::new(TopK { axis, count, largest }, vec![output, ElementType::Int64]))
}

/// Total order in which NaN comes last.
fn ascending<T: Number>(left: T, right: T) -> Ordering {
    left.partial_cmp(&right).unwrap_or_else(|| left.is_missing().cmp(&right.is_missing()))
}

impl TopK {
    fn count(&self, inputs: Inputs<'_>, extent: usize) -> Result<usize, Fault> {
        let count = match (self.count, inputs.optional(1)) {
            (Some(count), _) => count,
            (None, Some(tensor)) => match values::<i64>(tensor)? {
                [count] => *count,
                _ => return Err(Fault::invalid("`K` is not one number")),
            },
            (None, None) => return Err(Fault::invalid("`K` is missing")),
        };
        let fitting = usize::try_from(count).ok().filter(|count| *count <= extent);
        fitting.ok_or_else(|| Fault::invalid(format!("the best {count} of {extent} values")))
    }

    /// The indices of the best along one line.
    fn best<T: Number>(&self, line: &[T], count: usize) -> Vec<usize> {
        let value = |index: usize| line.get(index).copied().unwrap_or(T::ZERO);
        let order = |left: &usize, right: &usize| {
            let ordering = ascending(value(*left), value(*right));
            let better = if self.largest { ordering.reverse() } else { ordering };
            better.then(left.cmp(right))
        };
        let mut indices: Vec<usize> = (0..line.len()).collect();
        if count < indices.len() && count > 0 {
            indices.select_nth_unstable_by(count - 1, order);
        }
        indices.truncate(count);
        indices.sort_unstable_by(order);
        indices
    }
}

impl Operator for TopK {
    fn evaluate(&self, inputs: Inputs<'_>) -> Result<Vec<Tensor>, Fault> {
        let input = inputs.tensor(0)?;
        let axis = axis(self.axis, input.shape.len())?;
        let (before, extent, after) = around(&input.shape, axis);
        let count = self.count(inputs, extent)?;
        let mut shape = input.shape.clone();
        if let Some(extent) = shape.get_mut(axis) {
            *extent = count;
        }
        let total = checked_count(&shape)?;
        let mut indices = vec![0_i64; total];
        let data: TensorData = for_any_number!(&input.data, elements => {
            let mut best = elements.get(..total.min(elements.len())).unwrap_or_default().to_vec();
            for (line, start) in line_starts(before, extent, after).enumerate() {
                let along: Vec<_> = elements.iter().skip(start).step_by(after.max(1)).take(extent).copied().collect();
                let base = line / after.max(1) * count * after + line % after.max(1);
                for (rank, index) in self.best(&along, count).into_iter().enumerate() {
                    let target = base + rank * after;
                    if let (Some(slot), Some(value), Some(cell)) =
                        (indices.get_mut(target), along.get(index), best.get_mut(target))
                    {
                        *slot = index as i64;
                        *cell = *value;
                    }
                }
            }
            best.into()
        });
        Ok(vec![Tensor { shape: shape.clone(), data }, Tensor { shape, data: indices.into() }])
    }
}
