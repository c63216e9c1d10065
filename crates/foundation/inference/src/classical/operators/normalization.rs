use super::number::{Number, REALS, for_any_number};
use super::{Built, Definition, Operator};
use crate::classical::fault::Fault;
use crate::classical::inputs::{Inputs, around, axis};
use crate::{Tensor, TensorData};

#[derive(Debug)]
struct LpNormalization {
    axis: i64,
    squares: bool,
}

/// `LpNormalization`: each line along `axis` divided by its L1 or L2 norm; a line of norm 0 becomes zeros.
pub(super) fn lp_normalization(definition: &mut Definition<'_>) -> Result<Built, Fault> {
    definition.input_count(1, 1)?;
    let output = definition.input_of(0, &REALS)?;
    let axis = definition.attributes.int("axis")?.unwrap_or(-1);
    let squares = match definition.attributes.int("p")? {
        Some(1) => false,
        None | Some(2) => true,
        Some(other) => return Err(Fault::invalid(format!("norm {other}"))),
    };
    Ok(Built::new(LpNormalization { axis, squares }, vec![output]))
}

impl LpNormalization {
    fn normalized<T: Number>(&self, elements: &[T], extent: usize, after: usize) -> Vec<T> {
        let mut out = elements.to_vec();
        for chunk in out.chunks_mut((extent * after).max(1)) {
            for offset in 0..after {
                let along = || chunk.iter().skip(offset).step_by(after).map(|value| value.to_f64());
                let norm = if self.squares {
                    along().map(|value| value * value).sum::<f64>().sqrt()
                } else {
                    along().map(f64::abs).sum()
                };
                for value in chunk.iter_mut().skip(offset).step_by(after) {
                    *value = if norm == 0.0 { T::ZERO } else { T::from_f64(value.to_f64() / norm) };
                }
            }
        }
        out
    }
}

impl Operator for LpNormalization {
    fn evaluate(&self, inputs: Inputs<'_>) -> Result<Vec<Tensor>, Fault> {
        let input = inputs.tensor(0)?;
        let axis = axis(self.axis, input.shape.len())?;
        let (_, extent, after) = around(&input.shape, axis);
        let data: TensorData =
            for_any_number!(&input.data, elements => self.normalized(elements, extent, after).into());
        Ok(vec![Tensor { shape: input.shape.clone(), data }])
    }
}
