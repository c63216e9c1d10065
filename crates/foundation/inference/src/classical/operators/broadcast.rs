//! Multidirectional broadcasting (ONNX, "Broadcasting in ONNX"), which is NumPy's.

use crate::Tensor;
use crate::classical::fault::{Fault, checked_count};
use crate::classical::inputs::values;
use crate::tensor::Element;

/// The shape that all of `shapes` are stretched to.
pub(super) fn broadcast_shape(shapes: &[&[usize]]) -> Result<Vec<usize>, Fault> {
    let rank = shapes.iter().map(|shape| shape.len()).max().unwrap_or(0);
    let mut stretched = vec![1; rank];
    for shape in shapes {
        for (common, extent) in stretched.iter_mut().rev().zip(shape.iter().rev()) {
            match (*common, *extent) {
                (_, 1) => {}
                (1, extent) => *common = extent,
                (common, extent) if common == extent => {}
                _ => return Err(Fault::invalid(format!("shapes {shapes:?} cannot be broadcast"))),
            }
        }
    }
    Ok(stretched)
}

/// For each element of a tensor of shape `to`, in order, the index of the element that stands for it in one of shape
/// `from`.
#[derive(Debug)]
pub(super) struct Broadcast {
    extents: Vec<usize>,
    strides: Vec<usize>,
    position: Vec<usize>,
    index: usize,
    left: usize,
}

impl Broadcast {
    /// `from` broadcasts to `to`, as [`broadcast_shape`] has found.
    pub(super) fn new(from: &[usize], to: &[usize]) -> Self {
        let mut strides = vec![0; to.len()];
        let mut product = 1;
        for (stride, extent) in strides.iter_mut().rev().zip(from.iter().rev()) {
            *stride = if *extent == 1 { 0 } else { product };
            product *= extent;
        }
        Self::with_strides(to, strides)
    }

    /// Walks `extents` in order with a step in each dimension.
    pub(super) fn with_strides(extents: &[usize], strides: Vec<usize>) -> Self {
        Self {
            left: extents.iter().product(),
            position: vec![0; extents.len()],
            extents: extents.to_vec(),
            strides,
            index: 0,
        }
    }
}

impl Iterator for Broadcast {
    type Item = usize;

    fn next(&mut self) -> Option<usize> {
        self.left = self.left.checked_sub(1)?;
        let index = self.index;
        let dimensions = self.position.iter_mut().zip(&self.extents).zip(&self.strides).rev();
        for ((position, extent), stride) in dimensions {
            *position += 1;
            self.index += stride;
            if *position < *extent {
                break;
            }
            self.index -= *position * stride;
            *position = 0;
        }
        Some(index)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

/// Applies `apply` to each pair of elements of two tensors; none refuses the values with `refusal`.
pub(super) fn try_pairwise<T: Element + Copy, U: Element>(
    left: &Tensor,
    right: &Tensor,
    refusal: &str,
    apply: impl Fn(T, T) -> Option<U>,
) -> Result<Tensor, Fault> {
    let (left_values, right_values) = (values::<T>(left)?, values::<T>(right)?);
    let shape = broadcast_shape(&[&left.shape, &right.shape])?;
    let count = checked_count(&shape)?;
    let result: Option<Vec<U>> = if left.shape == right.shape {
        left_values.iter().zip(right_values).map(|(left, right)| apply(*left, *right)).collect()
    } else if let ([right], true) = (right_values, count == left_values.len()) {
        left_values.iter().map(|left| apply(*left, *right)).collect()
    } else {
        let indices = Broadcast::new(&left.shape, &shape).zip(Broadcast::new(&right.shape, &shape));
        indices.map(|(left, right)| apply(*left_values.get(left)?, *right_values.get(right)?)).collect()
    };
    let result = result.ok_or_else(|| Fault::invalid(refusal))?;
    Ok(Tensor { shape, data: U::wrap(result) })
}

/// Applies `apply` to each pair of elements of two tensors.
pub(super) fn pairwise<T: Element + Copy, U: Element>(
    left: &Tensor,
    right: &Tensor,
    apply: impl Fn(T, T) -> U,
) -> Result<Tensor, Fault> {
    try_pairwise(left, right, "a value is out of range", |left, right| Some(apply(left, right)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_stretch_from_the_right() {
        assert_eq!(broadcast_shape(&[&[2, 1], &[3]]).unwrap(), [2, 3]);
        assert_eq!(broadcast_shape(&[&[], &[4, 5]]).unwrap(), [4, 5]);
        assert_eq!(broadcast_shape(&[&[0, 3], &[1, 3]]).unwrap(), [0, 3]);
        assert!(broadcast_shape(&[&[2], &[3]]).is_err());
    }

    #[test]
    fn indices_repeat_along_stretched_dimensions() {
        assert_eq!(Broadcast::new(&[2, 1], &[2, 3]).collect::<Vec<_>>(), [0, 0, 0, 1, 1, 1]);
        assert_eq!(Broadcast::new(&[3], &[2, 3]).collect::<Vec<_>>(), [0, 1, 2, 0, 1, 2]);
        assert_eq!(Broadcast::new(&[], &[2]).collect::<Vec<_>>(), [0, 0]);
        assert_eq!(Broadcast::new(&[], &[]).collect::<Vec<_>>(), [0]);
    }
}
