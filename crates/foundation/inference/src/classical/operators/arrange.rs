//! Elements in another order: `Transpose`, `Concat`.

use super::broadcast::Broadcast;
use super::{Built, Definition, Operator};
use crate::classical::fault::{Fault, checked_count};
use crate::classical::inputs::{Inputs, around, axis, elements_at, values};
use crate::tensor::for_any_type;
use crate::{Tensor, TensorData};

#[derive(Debug)]
struct Transpose {
    order: Option<Vec<i64>>,
}

/// `Transpose`: dimensions in the order of `perm`, or reversed.
pub(super) fn transpose(definition: &mut Definition<'_>) -> Result<Built, Fault> {
    definition.input_count(1, 1)?;
    let output = definition.input(0)?;
    let order = definition.attributes.ints("perm")?;
    Ok(Built::new(Transpose { order }, vec![output]))
}

impl Operator for Transpose {
    fn evaluate(&self, inputs: Inputs<'_>) -> Result<Vec<Tensor>, Fault> {
        let input = inputs.tensor(0)?;
        let rank = input.shape.len();
        let order: Vec<usize> = match &self.order {
            None => (0..rank).rev().collect(),
            Some(order) => order.iter().map(|one| axis(*one, rank)).collect::<Result<_, _>>()?,
        };
        let is_permutation = order.len() == rank && (0..rank).all(|dimension| order.contains(&dimension));
        if !is_permutation {
            return Err(Fault::invalid(format!("{:?} is no order of {rank} dimensions", self.order)));
        }
        let extents: Vec<usize> = order.iter().filter_map(|from| input.shape.get(*from).copied()).collect();
        let strides = order.iter().map(|from| input.shape.iter().skip(from + 1).product()).collect();
        let walk = Broadcast::with_strides(&extents, strides);
        let data = for_any_type!(&input.data, elements => elements_at(elements, walk))?;
        Ok(vec![Tensor { shape: extents, data }])
    }
}

#[derive(Debug)]
struct Concat {
    axis: i64,
}

/// `Concat`: tensors of one type one after another along `axis`.
pub(super) fn concat(definition: &mut Definition<'_>) -> Result<Built, Fault> {
    definition.input_count(1, usize::MAX)?;
    let first = definition.input(0)?;
    let output = definition.same_inputs(&[first])?;
    let axis = definition.attributes.int("axis")?.ok_or_else(|| Fault::invalid("attribute `axis` is missing"))?;
    if definition.inputs.len() == 1 {
        return Ok(Built::unchanged(Concat { axis }, output));
    }
    Ok(Built::new(Concat { axis }, vec![output]))
}

impl Operator for Concat {
    fn evaluate(&self, inputs: Inputs<'_>) -> Result<Vec<Tensor>, Fault> {
        let tensors = inputs.tensors()?;
        let first = inputs.tensor(0)?;
        let axis = axis(self.axis, first.shape.len())?;
        let mut shape = first.shape.clone();
        let mut total: usize = 0;
        for tensor in &tensors {
            let extents = tensor.shape.iter().zip(&shape).enumerate();
            let fits = extents.into_iter().all(|(dimension, (one, other))| dimension == axis || one == other);
            if tensor.shape.len() != shape.len() || !fits {
                let reason = format!("cannot join {:?} and {:?} along axis {axis}", first.shape, tensor.shape);
                return Err(Fault::invalid(reason));
            }
            total = total.saturating_add(tensor.shape.get(axis).copied().unwrap_or(0));
        }
        if let Some(extent) = shape.get_mut(axis) {
            *extent = total;
        }
        let count = checked_count(&shape)?;
        let (before, ..) = around(&shape, axis);
        let data = for_any_type!(&first.data, elements => joined(elements, &tensors, before, axis, count)?);
        Ok(vec![Tensor { shape, data }])
    }
}

/// The elements of `tensors` interleaved in pieces, one piece of each for each of `before` places.
fn joined<T: crate::tensor::Element>(
    _type: &[T],
    tensors: &[&Tensor],
    before: usize,
    axis: usize,
    count: usize,
) -> Result<TensorData, Fault> {
    let pieces = tensors
        .iter()
        .map(|tensor| {
            let (_, at, after) = around(&tensor.shape, axis);
            Ok((values::<T>(tensor)?, at * after))
        })
        .collect::<Result<Vec<_>, Fault>>()?;
    let mut out = Vec::with_capacity(count);
    for place in 0..before {
        for (elements, length) in &pieces {
            out.extend_from_slice(elements.get(place * length..(place + 1) * length).unwrap_or_default());
        }
    }
    Ok(T::wrap(out))
}
