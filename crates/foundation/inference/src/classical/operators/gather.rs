//! Elements by index, in more than one dimension: `GatherElements`, `GatherND`.

use ropewalk_types::ElementType;

use super::number::INDICES;
use super::select::places;
use super::{Built, Definition, Operator};
use crate::Tensor;
use crate::classical::fault::{Fault, checked_count};
use crate::classical::inputs::{Inputs, axis, elements_at, values};
use crate::tensor::for_any_type;

#[derive(Debug)]
struct GatherElements {
    axis: i64,
}

/// `GatherElements`: for each index, the element at its own place but with the index along `axis`.
pub(super) fn gather_elements(definition: &mut Definition<'_>) -> Result<Built, Fault> {
    definition.input_count(2, 2)?;
    let output = definition.input(0)?;
    definition.input_of(1, &INDICES)?;
    let axis = definition.attributes.int("axis")?.unwrap_or(0);
    Ok(Built::new(GatherElements { axis }, vec![output]))
}

/// For each element of `indices` in order, where its place in a tensor of `shape` is when its position along `axis` is
/// the index.
pub(super) fn element_places(shape: &[usize], indices: &Tensor, axis: usize) -> Result<Vec<usize>, Fault> {
    let fits = |(dimension, (one, other)): (usize, (&usize, &usize))| dimension == axis || one <= other;
    if indices.shape.len() != shape.len() || !indices.shape.iter().zip(shape).enumerate().all(fits) {
        return Err(Fault::invalid(format!("indices of shape {:?} into {shape:?}", indices.shape)));
    }
    let along = places(indices, shape.get(axis).copied().unwrap_or(0), true)?;
    let place = |(index, along): (usize, usize)| {
        let (mut left, mut place, mut stride) = (index, 0, 1);
        for (dimension, (extent, whole)) in indices.shape.iter().zip(shape).enumerate().rev() {
            let position = if dimension == axis { along } else { left % extent };
            left /= extent;
            place += position * stride;
            stride *= whole;
        }
        place
    };
    Ok(along.into_iter().enumerate().map(place).collect())
}

impl Operator for GatherElements {
    fn cost(&self, inputs: Inputs<'_>) -> u64 {
        inputs.count_after_first()
    }

    fn evaluate(&self, inputs: Inputs<'_>) -> Result<Vec<Tensor>, Fault> {
        let (input, indices) = (inputs.tensor(0)?, inputs.tensor(1)?);
        let axis = axis(self.axis, input.shape.len())?;
        let places = element_places(&input.shape, indices, axis)?;
        let data = for_any_type!(&input.data, elements => elements_at(elements, places.into_iter()))?;
        Ok(vec![Tensor { shape: indices.shape.clone(), data }])
    }
}

#[derive(Debug)]
struct GatherNd {
    batch: i64,
}

/// `GatherND`: the slices that the tuples in the last dimension of the indices point to.
pub(super) fn gather_nd(definition: &mut Definition<'_>) -> Result<Built, Fault> {
    definition.input_count(2, 2)?;
    let output = definition.input(0)?;
    definition.input_of(1, &[ElementType::Int64])?;
    let batch = definition.attributes.int("batch_dims")?.unwrap_or(0);
    Ok(Built::new(GatherNd { batch }, vec![output]))
}

/// The start of the slice that each tuple of indices points to, and the elements of a slice. The first `batch`
/// dimensions of both are shared.
pub(super) fn slice_starts(shape: &[usize], indices: &Tensor, batch: usize) -> Result<(Vec<usize>, usize), Fault> {
    let misfit = || Fault::invalid(format!("indices of shape {:?} into {shape:?}", indices.shape));
    let (depth, outer) = indices.shape.split_last().ok_or_else(misfit)?;
    let pointed = shape.get(batch..batch.saturating_add(*depth)).ok_or_else(misfit)?;
    let shared = shape.get(..batch).ok_or_else(misfit)?;
    if outer.get(..batch) != Some(shared) || *depth == 0 {
        return Err(misfit());
    }
    let width: usize = shape.iter().skip(batch + depth).product();
    let whole = pointed.iter().product::<usize>() * width;
    let per_batch = outer.iter().skip(batch).product::<usize>().max(1);
    let mut starts = Vec::with_capacity(outer.iter().product());
    for (tuple, index) in values::<i64>(indices)?.chunks(*depth).enumerate() {
        let mut start = 0;
        for (value, extent) in index.iter().zip(pointed) {
            start = start * extent + axis(*value, *extent).map_err(|_| outside(*value, *extent))?;
        }
        starts.push(tuple / per_batch * whole + start * width);
    }
    Ok((starts, width))
}

fn outside(index: i64, extent: usize) -> Fault {
    Fault::invalid(format!("index {index} is outside of extent {extent}"))
}

impl Operator for GatherNd {
    fn cost(&self, inputs: Inputs<'_>) -> u64 {
        inputs.count_after_first()
    }

    fn evaluate(&self, inputs: Inputs<'_>) -> Result<Vec<Tensor>, Fault> {
        let (input, indices) = (inputs.tensor(0)?, inputs.tensor(1)?);
        let batch = usize::try_from(self.batch).map_err(|_| Fault::invalid("a negative `batch_dims`"))?;
        let (starts, width) = slice_starts(&input.shape, indices, batch)?;
        let depth = indices.shape.last().copied().unwrap_or(0);
        let outer = indices.shape.iter().take(indices.shape.len().saturating_sub(1));
        let shape: Vec<usize> = outer.chain(input.shape.iter().skip(batch + depth)).copied().collect();
        checked_count(&shape)?;
        let places = starts.into_iter().flat_map(|start| start..start + width);
        let data = for_any_type!(&input.data, elements => elements_at(elements, places))?;
        Ok(vec![Tensor { shape, data }])
    }
}
