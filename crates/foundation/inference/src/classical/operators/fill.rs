//! Tensors made from a shape or from bounds: `ConstantOfShape`, `Range`, `EyeLike`, `Expand`, `Tile`, `OneHot`.

use ropewalk_types::ElementType;

use super::broadcast::{Broadcast, broadcast_shape};
use super::number::{NUMBERS, Number, for_any_number};
use super::{Built, Definition, Operator};
use crate::classical::fault::{Fault, checked_count};
use crate::classical::inputs::{Inputs, axis, elements_at, values};
use crate::onnx::element_type_of;
use crate::tensor::{Element, for_any_type};
use crate::{Tensor, TensorData};

/// A tensor of extents as a shape.
fn shape_in(tensor: &Tensor) -> Result<Vec<usize>, Fault> {
    let extents = values::<i64>(tensor)?;
    let shape: Result<Vec<usize>, _> = extents.iter().map(|extent| usize::try_from(*extent)).collect();
    shape.map_err(|_| Fault::invalid(format!("a negative extent in {extents:?}")))
}

/// The one element of a tensor.
fn single<T: Element + Copy>(tensor: &Tensor, name: &str) -> Result<T, Fault> {
    match values::<T>(tensor)? {
        [value] => Ok(*value),
        _ => Err(Fault::invalid(format!("`{name}` of shape {:?}, expected one value", tensor.shape))),
    }
}

#[derive(Debug)]
struct ConstantOfShape(Tensor);

/// `ConstantOfShape`: the one element of `value` (0 as f32 by default) everywhere.
pub(super) fn constant_of_shape(definition: &mut Definition<'_>) -> Result<Built, Fault> {
    definition.input_count(1, 1)?;
    definition.input_of(0, &[ElementType::Int64])?;
    let zero = || Tensor { shape: vec![1], data: vec![0.0_f32].into() };
    let value = definition.attributes.tensor("value")?.unwrap_or_else(zero);
    if value.data.len() != 1 {
        return Err(Fault::invalid(format!("`value` has {} elements, expected 1", value.data.len())));
    }
    let output = value.element_type();
    Ok(Built::new(ConstantOfShape(value), vec![output]))
}

impl Operator for ConstantOfShape {
    fn evaluate(&self, inputs: Inputs<'_>) -> Result<Vec<Tensor>, Fault> {
        let shape = shape_in(inputs.tensor(0)?)?;
        let count = checked_count(&shape)?;
        let data = for_any_type!(&self.0.data, values => elements_at(values, std::iter::repeat_n(0, count)))?;
        Ok(vec![Tensor { shape, data }])
    }
}

#[derive(Debug)]
struct Range;

/// `Range`: from start to before limit by delta.
pub(super) fn range(definition: &mut Definition<'_>) -> Result<Built, Fault> {
    definition.input_count(3, 3)?;
    let output = definition.same_inputs(&NUMBERS)?;
    Ok(Built::new(Range, vec![output]))
}

fn steps<T: Number>(_type: &[T], inputs: Inputs<'_>) -> Result<Tensor, Fault> {
    let start = single::<T>(inputs.tensor(0)?, "start")?;
    let limit = single::<T>(inputs.tensor(1)?, "limit")?;
    let delta = single::<T>(inputs.tensor(2)?, "delta")?;
    let length = if T::REAL {
        ((limit.to_f64() - start.to_f64()) / delta.to_f64()).ceil()
    } else {
        let (width, delta) = (limit.to_i128() - start.to_i128(), delta.to_i128());
        if delta == 0 {
            f64::NAN
        } else {
            (width / delta + i128::from(width % delta != 0 && (width < 0) == (delta < 0))) as f64
        }
    };
    if length.is_nan() {
        return Err(Fault::invalid("a range by steps of 0 or NaN"));
    }
    let count = checked_count(&[length.max(0.0) as usize])?;
    let values = if T::REAL {
        (0..count).map(|index| start.plus(delta.times(T::from_f64(index as f64)))).collect()
    } else {
        // A narrow type cannot hold each index. Each value lies before the limit, so none wraps.
        std::iter::successors(Some(start), |value| Some(value.plus(delta))).take(count).collect()
    };
    Ok(Tensor { shape: vec![count], data: T::wrap(values) })
}

impl Operator for Range {
    fn evaluate(&self, inputs: Inputs<'_>) -> Result<Vec<Tensor>, Fault> {
        Ok(vec![for_any_number!(&inputs.tensor(0)?.data, elements => steps(elements, inputs)?)])
    }
}

#[derive(Debug)]
struct EyeLike {
    diagonal: i64,
    output: ElementType,
}

/// `EyeLike`: a matrix of the input's shape with ones on the diagonal `k`.
pub(super) fn eye_like(definition: &mut Definition<'_>) -> Result<Built, Fault> {
    definition.input_count(1, 1)?;
    let input = definition.input(0)?;
    let output = match definition.attributes.int("dtype")? {
        None => input,
        Some(dtype) => {
            let known = i32::try_from(dtype).ok().and_then(element_type_of);
            known.ok_or_else(|| Fault::unsupported(format!("data type {dtype}")))?
        }
    };
    if output == ElementType::Bytes {
        return Err(Fault::unsupported("a matrix of strings"));
    }
    let diagonal = definition.attributes.int("k")?.unwrap_or(0);
    Ok(Built::new(EyeLike { diagonal, output }, vec![output]))
}

impl Operator for EyeLike {
    fn evaluate(&self, inputs: Inputs<'_>) -> Result<Vec<Tensor>, Fault> {
        let shape = &inputs.tensor(0)?.shape;
        let [rows, columns] = shape.as_slice() else {
            return Err(Fault::invalid(format!("expected a matrix, found shape {shape:?}")));
        };
        checked_count(shape)?;
        let place = |index: usize| (index % columns) as i64 == ((index / columns) as i64).saturating_add(self.diagonal);
        let ones: Vec<u8> = (0..rows * columns).map(|index| u8::from(place(index))).collect();
        Ok(vec![Tensor { shape: shape.clone(), data: super::cast::converted(&ones.into(), self.output)? }])
    }
}

#[derive(Debug)]
struct Expand;

/// `Expand`: the input broadcast with a shape; each may stretch the other.
pub(super) fn expand(definition: &mut Definition<'_>) -> Result<Built, Fault> {
    definition.input_count(2, 2)?;
    let output = definition.input(0)?;
    definition.input_of(1, &[ElementType::Int64])?;
    Ok(Built::new(Expand, vec![output]))
}

impl Operator for Expand {
    fn evaluate(&self, inputs: Inputs<'_>) -> Result<Vec<Tensor>, Fault> {
        let input = inputs.tensor(0)?;
        let shape = broadcast_shape(&[&input.shape, &shape_in(inputs.tensor(1)?)?])?;
        checked_count(&shape)?;
        let walk = Broadcast::new(&input.shape, &shape);
        let data = for_any_type!(&input.data, elements => elements_at(elements, walk))?;
        Ok(vec![Tensor { shape, data }])
    }
}

#[derive(Debug)]
struct Tile;

/// `Tile`: the input repeated along each dimension.
pub(super) fn tile(definition: &mut Definition<'_>) -> Result<Built, Fault> {
    definition.input_count(2, 2)?;
    let output = definition.input(0)?;
    definition.input_of(1, &[ElementType::Int64])?;
    Ok(Built::new(Tile, vec![output]))
}

impl Operator for Tile {
    fn evaluate(&self, inputs: Inputs<'_>) -> Result<Vec<Tensor>, Fault> {
        let input = inputs.tensor(0)?;
        let repeats = shape_in(inputs.tensor(1)?)?;
        if repeats.len() != input.shape.len() {
            return Err(Fault::invalid(format!("{} repeats for shape {:?}", repeats.len(), input.shape)));
        }
        let shape: Vec<usize> =
            input.shape.iter().zip(&repeats).map(|(extent, times)| extent.saturating_mul(*times)).collect();
        checked_count(&shape)?;
        // Each dimension as two: how often, and within the input.
        let extents: Vec<usize> =
            repeats.iter().zip(&input.shape).flat_map(|(times, extent)| [*times, *extent]).collect();
        let strides = (0..input.shape.len())
            .flat_map(|dimension| [0, input.shape.iter().skip(dimension + 1).product()])
            .collect();
        let walk = Broadcast::with_strides(&extents, strides);
        let data = for_any_type!(&input.data, elements => elements_at(elements, walk))?;
        Ok(vec![Tensor { shape, data }])
    }
}

#[derive(Debug)]
struct OneHot {
    axis: i64,
}

/// `OneHot`: a new dimension of `depth` with the second of `values` at the index and the first elsewhere; an index
/// outside of the depth has no place.
pub(super) fn one_hot(definition: &mut Definition<'_>) -> Result<Built, Fault> {
    definition.input_count(3, 3)?;
    definition.input_of(0, &NUMBERS)?;
    definition.input_of(1, &NUMBERS)?;
    let output = definition.input(2)?;
    let axis = definition.attributes.int("axis")?.unwrap_or(-1);
    Ok(Built::new(OneHot { axis }, vec![output]))
}

pub(super) fn integers(tensor: &Tensor) -> Result<Vec<i64>, Fault> {
    Ok(for_any_number!(&tensor.data, values => {
        values.iter().map(|value| i64::try_from(value.to_i128()).unwrap_or(i64::MAX)).collect()
    }))
}

impl Operator for OneHot {
    fn evaluate(&self, inputs: Inputs<'_>) -> Result<Vec<Tensor>, Fault> {
        let (indices, values) = (inputs.tensor(0)?, inputs.tensor(2)?);
        let &[depth] = integers(inputs.tensor(1)?)?.as_slice() else {
            return Err(Fault::invalid("`depth` is not one number"));
        };
        let extent = usize::try_from(depth).map_err(|_| Fault::invalid(format!("a depth of {depth}")))?;
        if values.data.len() != 2 {
            return Err(Fault::invalid(format!("{} values, expected 2", values.data.len())));
        }
        let place = axis(self.axis, indices.shape.len() + 1)?;
        let mut shape = indices.shape.clone();
        shape.insert(place, extent);
        checked_count(&shape)?;
        let after: usize = indices.shape.iter().skip(place).product();
        let wanted: Vec<i64> = integers(indices)?
            .iter()
            .map(|index| if *index < 0 { index.saturating_add(depth) } else { *index })
            .collect();
        let before = wanted.len() / after.max(1);
        let hot = (0..before).flat_map(|outer| {
            let wanted = &wanted;
            (0..extent).flat_map(move |level| {
                (0..after).map(move |inner| usize::from(wanted.get(outer * after + inner) == Some(&(level as i64))))
            })
        });
        let data: TensorData = for_any_type!(&values.data, pair => elements_at(pair, hot))?;
        Ok(vec![Tensor { shape, data }])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ranged(bounds: [TensorData; 3]) -> TensorData {
        let bounds = bounds.map(|data| Tensor { shape: Vec::new(), data });
        Range.evaluate(Inputs(&bounds.each_ref().map(Some))).unwrap().remove(0).data
    }

    #[test]
    fn a_range_of_narrow_integers_may_have_more_values_than_the_largest_of_them() {
        let all = |start: i16, limit: i16, delta: i16| ranged([start, limit, delta].map(|one| vec![one].into()));
        assert_eq!(all(i16::MIN, i16::MAX, 1), (i16::MIN..i16::MAX).collect::<Vec<_>>().into());
        assert_eq!(all(i16::MAX, i16::MIN, -32_767), vec![i16::MAX, 0, -32_767].into());
        let bytes = ranged([vec![0_u8].into(), vec![u8::MAX].into(), vec![100_u8].into()]);
        assert_eq!(bytes, vec![0_u8, 100, 200].into());
    }
}
