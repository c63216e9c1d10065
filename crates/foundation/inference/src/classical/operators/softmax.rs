use ropewalk_types::ElementType;

use super::{Built, Definition, Operator};
use crate::classical::fault::Fault;
use crate::classical::inputs::{Inputs, around, axis, values};
use crate::tensor::Element;
use crate::{Tensor, TensorData};

#[derive(Debug)]
struct Softmax {
    axis: i64,
    /// Before version 13 the input is taken as a matrix, cut before the axis.
    as_matrix: bool,
}

/// `Softmax` along an axis: the last one from version 13 on, before that the second and all after it.
pub(super) fn softmax(definition: &mut Definition<'_>) -> Result<Built, Fault> {
    definition.input_count(1, 1)?;
    let output = definition.input_of(0, &[ElementType::Fp32, ElementType::Fp64])?;
    let as_matrix = definition.opset < 13;
    let axis = definition.attributes.int("axis")?.unwrap_or(if as_matrix { 1 } else { -1 });
    Ok(Built::new(Softmax { axis, as_matrix }, vec![output]))
}

trait Exponential: Element + Copy + PartialOrd + Default + std::ops::DivAssign + std::ops::AddAssign {
    fn exponential_of_difference(self, largest: Self) -> Self;
}
impl Exponential for f32 {
    fn exponential_of_difference(self, largest: Self) -> Self {
        (self - largest).exp()
    }
}
impl Exponential for f64 {
    fn exponential_of_difference(self, largest: Self) -> Self {
        (self - largest).exp()
    }
}

/// Normalizes each line of `extent` values that lie `stride` apart.
fn normalized<T: Exponential>(elements: &[T], extent: usize, stride: usize) -> Vec<T> {
    let mut out = elements.to_vec();
    for chunk in out.chunks_mut((extent * stride).max(1)) {
        for offset in 0..stride {
            let line = || (offset..extent * stride).step_by(stride);
            let largest = line().filter_map(|at| chunk.get(at).copied());
            let Some(largest) = largest.reduce(|left, right| if right > left { right } else { left }) else { continue };
            let mut sum = T::default();
            for at in line() {
                if let Some(value) = chunk.get_mut(at) {
                    *value = value.exponential_of_difference(largest);
                    sum += *value;
                }
            }
            for at in line() {
                if let Some(value) = chunk.get_mut(at) {
                    *value /= sum;
                }
            }
        }
    }
    out
}

impl Operator for Softmax {
    fn evaluate(&self, inputs: Inputs<'_>) -> Result<Vec<Tensor>, Fault> {
        let input = inputs.tensor(0)?;
        let axis = axis(self.axis, input.shape.len())?;
        let (_, at, after) = around(&input.shape, axis);
        let (extent, stride) = if self.as_matrix { (at * after, 1) } else { (at, after) };
        let data: TensorData = match &input.data {
            TensorData::Fp64(_) => normalized(values::<f64>(input)?, extent, stride).into(),
            _ => normalized(values::<f32>(input)?, extent, stride).into(),
        };
        Ok(vec![Tensor { shape: input.shape.clone(), data }])
    }
}
