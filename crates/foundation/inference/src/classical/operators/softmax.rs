use super::number::{Number, REALS, for_any_number};
use super::{Built, Definition, Operator};
use crate::classical::fault::Fault;
use crate::classical::inputs::{Inputs, around, axis};
use crate::{Tensor, TensorData};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Softmax,
    LogSoftmax,
    Hardmax,
}

#[derive(Debug)]
struct Softmax {
    kind: Kind,
    axis: i64,
    /// Before version 13 the input is taken as a matrix, cut before the axis.
    as_matrix: bool,
}

/// `Softmax`, `LogSoftmax`, `Hardmax` along an axis: the last one from version 13 on, before that the second and all
/// after it.
pub(super) fn softmax(definition: &mut Definition<'_>) -> Result<Built, Fault> {
    definition.input_count(1, 1)?;
    let output = definition.input_of(0, &REALS)?;
    let kind = match definition.operator {
        "LogSoftmax" => Kind::LogSoftmax,
        "Hardmax" => Kind::Hardmax,
        _ => Kind::Softmax,
    };
    let as_matrix = definition.opset < 13;
    let axis = definition.attributes.int("axis")?.unwrap_or(if as_matrix { 1 } else { -1 });
    Ok(Built::new(Softmax { kind, axis, as_matrix }, vec![output]))
}

impl Kind {
    /// One line, in place.
    fn apply<T: Number>(self, line: &mut [T]) {
        let Some(largest) = line.iter().copied().reduce(|left, right| if right > left { right } else { left }) else {
            return;
        };
        if self == Self::Hardmax {
            let first = line.iter().position(|value| *value == largest);
            for (place, value) in line.iter_mut().enumerate() {
                *value = if Some(place) == first { T::ONE } else { T::ZERO };
            }
            return;
        }
        let shifted = |value: &T| value.to_f64() - largest.to_f64();
        let sum: f64 = line.iter().map(|value| shifted(value).exp()).sum();
        let log = sum.ln();
        for value in line {
            let result = if self == Self::LogSoftmax { shifted(value) - log } else { shifted(value).exp() / sum };
            *value = T::from_f64(result);
        }
    }

    /// Lines of `extent` values that lie `stride` apart.
    fn lines<T: Number>(self, elements: &[T], extent: usize, stride: usize) -> Vec<T> {
        let mut out = elements.to_vec();
        if stride == 1 {
            out.chunks_mut(extent.max(1)).for_each(|line| self.apply(line));
            return out;
        }
        let mut line = Vec::with_capacity(extent);
        for chunk in out.chunks_mut((extent * stride).max(1)) {
            for offset in 0..stride {
                line.clear();
                line.extend(chunk.iter().skip(offset).step_by(stride));
                self.apply(&mut line);
                chunk.iter_mut().skip(offset).step_by(stride).zip(&line).for_each(|(slot, value)| *slot = *value);
            }
        }
        out
    }
}

impl Operator for Softmax {
    fn evaluate(&self, inputs: Inputs<'_>) -> Result<Vec<Tensor>, Fault> {
        let input = inputs.tensor(0)?;
        let axis = axis(self.axis, input.shape.len())?;
        let (_, at, after) = around(&input.shape, axis);
        let (extent, stride) = if self.as_matrix { (at * after, 1) } else { (at, after) };
        let data: TensorData =
            for_any_number!(&input.data, elements => self.kind.lines(elements, extent, stride).into());
        Ok(vec![Tensor { shape: input.shape.clone(), data }])
    }
}
