use std::borrow::Cow;

use ropewalk_types::ElementType;

use super::fault::Fault;
use super::work::units;
use crate::tensor::Element;
use crate::{Tensor, TensorData};

/// The tensors that a node is evaluated on; none where an optional input is left out.
#[derive(Clone, Copy, Debug)]
pub(super) struct Inputs<'a>(pub(super) &'a [Option<&'a Tensor>]);

impl<'a> Inputs<'a> {
    pub(super) fn optional(&self, index: usize) -> Option<&'a Tensor> {
        self.0.get(index).copied().flatten()
    }

    pub(super) fn tensor(&self, index: usize) -> Result<&'a Tensor, Fault> {
        self.optional(index).ok_or_else(|| Fault::invalid(format!("input {index} is missing")))
    }

    /// The first `count`, and the values from outside that follow them.
    pub(super) fn split(self, count: usize) -> (Self, &'a [Option<&'a Tensor>]) {
        let (own, around) = self.0.split_at_checked(count).unwrap_or((self.0, &[]));
        (Self(own), around)
    }

    /// How many elements and bytes of text there are, and one more for each input.
    pub(super) fn count(&self) -> u64 {
        self.0.iter().map(|one| one.map_or(0, units) + 1).sum()
    }

    /// The same, and so much more for each row of the first.
    pub(super) fn count_with_rows(&self, of_row: u64) -> u64 {
        // A shape that is not right is told when the node is evaluated.
        let shape = self.optional(0).and_then(|tensor| rows_and_columns(&tensor.shape).ok());
        let rows = shape.map_or(0, |(rows, _)| rows as u64);
        self.count().saturating_add(rows.saturating_mul(of_row))
    }

    /// The same without the first, for who only looks up in that what it makes.
    pub(super) fn count_after_first(&self) -> u64 {
        Self(self.0.get(1..).unwrap_or_default()).count()
    }

    pub(super) fn tensors(&self) -> Result<Vec<&'a Tensor>, Fault> {
        (0..self.0.len()).map(|index| self.tensor(index)).collect()
    }
}

/// The elements of `tensor` as `T`; the types were settled when the model was loaded.
pub(super) fn values<T: Element>(tensor: &Tensor) -> Result<&[T], Fault> {
    T::slice(&tensor.data)
        .ok_or_else(|| Fault::invalid(format!("expected {}, found {}", T::TYPE, tensor.element_type())))
}

/// The numeric types that `ai.onnx.ml` operators take.
pub(super) const ML_NUMBERS: [ElementType; 4] =
    [ElementType::Fp32, ElementType::Fp64, ElementType::Int32, ElementType::Int64];

/// The elements of a tensor of one of [`ML_NUMBERS`] as f32, which is what onnxruntime converts them to.
pub(super) fn as_f32(tensor: &Tensor) -> Result<Cow<'_, [f32]>, Fault> {
    Ok(match &tensor.data {
        TensorData::Fp32(values) => Cow::Borrowed(values.as_slice()),
        TensorData::Fp64(values) => values.iter().map(|value| *value as f32).collect(),
        TensorData::Int32(values) => values.iter().map(|value| *value as f32).collect(),
        TensorData::Int64(values) => values.iter().map(|value| *value as f32).collect(),
        other => return Err(Fault::invalid(format!("expected numbers, found {}", other.element_type()))),
    })
}

/// The elements of a tensor of one of [`ML_NUMBERS`] as f64.
pub(super) fn as_f64(tensor: &Tensor) -> Result<Cow<'_, [f64]>, Fault> {
    Ok(match &tensor.data {
        TensorData::Fp32(values) => values.iter().map(|value| f64::from(*value)).collect(),
        TensorData::Fp64(values) => Cow::Borrowed(values.as_slice()),
        TensorData::Int32(values) => values.iter().map(|value| f64::from(*value)).collect(),
        TensorData::Int64(values) => values.iter().map(|value| *value as f64).collect(),
        other => return Err(Fault::invalid(format!("expected numbers, found {}", other.element_type()))),
    })
}

/// Rows and columns of what `ai.onnx.ml` calls `[C]` or `[N, C]`.
pub(super) fn rows_and_columns(shape: &[usize]) -> Result<(usize, usize), Fault> {
    match shape {
        [columns] => Ok((1, *columns)),
        [rows, columns] => Ok((*rows, *columns)),
        _ => Err(Fault::invalid(format!("expected a tensor of rank 1 or 2, found shape {shape:?}"))),
    }
}

/// An axis counted from the end if negative.
pub(super) fn axis(axis: i64, rank: usize) -> Result<usize, Fault> {
    let positive = if axis < 0 { axis.saturating_add(rank as i64) } else { axis };
    usize::try_from(positive)
        .ok()
        .filter(|axis| *axis < rank)
        .ok_or_else(|| Fault::invalid(format!("axis {axis} is outside of rank {rank}")))
}

/// The elements at `indices`.
pub(super) fn elements_at<T: Element>(
    elements: &[T],
    indices: impl Iterator<Item = usize>,
) -> Result<TensorData, Fault> {
    let picked: Option<Vec<T>> = indices.map(|index| elements.get(index).cloned()).collect();
    picked.map(T::wrap).ok_or_else(|| Fault::invalid("an element is out of range"))
}

/// The products of the extents before, at and after an axis.
pub(super) fn around(shape: &[usize], axis: usize) -> (usize, usize, usize) {
    let before = shape.iter().take(axis).product();
    let at = shape.get(axis).copied().unwrap_or(1);
    let after = shape.iter().skip(axis + 1).product();
    (before, at, after)
}
