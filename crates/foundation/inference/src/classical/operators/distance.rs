use ropewalk_types::ElementType;

use super::number::Number;
use super::{Built, Definition, Operator};
use crate::Tensor;
use crate::classical::fault::{Fault, checked_count};
use crate::classical::inputs::{Inputs, values};

/// The distances that onnxruntime knows.
#[derive(Clone, Copy, Debug)]
enum CDist {
    Euclidean,
    SquaredEuclidean,
}

/// `CDist` (com.microsoft): the distance of each row of the first matrix from each of the second, [N, F] and [M, F] to
/// [N, M].
///
/// Summed as differences in f64. onnxruntime computes |a|² + |b|² - 2ab, which is less exact for near rows; its other
/// metrics it refuses, and so are they here.
pub(super) fn cdist(definition: &mut Definition<'_>) -> Result<Built, Fault> {
    definition.input_count(2, 2)?;
    let output = definition.same_inputs(&[ElementType::Fp32, ElementType::Fp64])?;
    let operator = match definition.attributes.text("metric")?.as_deref() {
        None | Some("sqeuclidean") => CDist::SquaredEuclidean,
        Some("euclidean") => CDist::Euclidean,
        Some(other) => return Err(Fault::unsupported(format!("metric `{other}`"))),
    };
    Ok(Built::new(operator, vec![output]))
}

impl CDist {
    fn between<T: Number>(self, left: &[T], right: &[T]) -> T {
        let squares = left.iter().zip(right).map(|(left, right)| {
            let difference = left.to_f64() - right.to_f64();
            difference * difference
        });
        let sum: f64 = squares.sum();
        T::from_f64(match self {
            Self::Euclidean => sum.sqrt(),
            Self::SquaredEuclidean => sum,
        })
    }

    fn table<T: Number>(self, left: &Tensor, right: &Tensor) -> Result<Tensor, Fault> {
        let (&[rows, width], &[others, other_width]) = (left.shape.as_slice(), right.shape.as_slice()) else {
            return Err(Fault::invalid(format!("distances of {:?} and {:?}", left.shape, right.shape)));
        };
        if width != other_width || width == 0 {
            return Err(Fault::invalid(format!("rows of {width} and of {other_width} values")));
        }
        let shape = vec![rows, others];
        let mut distances = Vec::with_capacity(checked_count(&shape)?);
        let (left, right) = (values::<T>(left)?, values::<T>(right)?);
        for row in left.chunks(width) {
            distances.extend(right.chunks(width).map(|other| self.between(row, other)));
        }
        Ok(Tensor { shape, data: T::wrap(distances) })
    }
}

impl Operator for CDist {
    fn cost(&self, inputs: Inputs<'_>) -> u64 {
        // Each row of the first with each of the second.
        let elements = inputs.optional(0).map_or(0, |tensor| tensor.data.len() as u64);
        let rows = inputs.optional(1).and_then(|tensor| tensor.shape.first()).map_or(0, |rows| *rows as u64);
        inputs.count().saturating_add(elements.saturating_mul(rows))
    }

    fn evaluate(&self, inputs: Inputs<'_>) -> Result<Vec<Tensor>, Fault> {
        let (left, right) = (inputs.tensor(0)?, inputs.tensor(1)?);
        let single = left.element_type() == ElementType::Fp32;
        Ok(vec![if single { self.table::<f32>(left, right)? } else { self.table::<f64>(left, right)? }])
    }
}
