use super::fill::integers;
use super::number::{INDICES, NUMBERS, Number, for_any_number};
use super::{Built, Definition, Operator};
use crate::Tensor;
use crate::classical::fault::Fault;
use crate::classical::inputs::{Inputs, around, axis};

#[derive(Debug)]
struct CumSum {
    exclusive: bool,
    reverse: bool,
}

/// `CumSum`: sums along an axis up to each element, or up to before it; from the end if `reverse`.
pub(super) fn cumulative_sum(definition: &mut Definition<'_>) -> Result<Built, Fault> {
    definition.input_count(2, 2)?;
    let output = definition.input_of(0, &NUMBERS)?;
    definition.input_of(1, &INDICES)?;
    let exclusive = definition.attributes.flag("exclusive", false)?;
    let reverse = definition.attributes.flag("reverse", false)?;
    Ok(Built::new(CumSum { exclusive, reverse }, vec![output]))
}

impl CumSum {
    fn sums<T: Number>(&self, elements: &[T], extent: usize, after: usize) -> Vec<T> {
        let mut out = elements.to_vec();
        for chunk in out.chunks_mut((extent * after).max(1)) {
            for offset in 0..after {
                let mut sum = T::ZERO;
                for step in 0..extent {
                    let along = if self.reverse { extent - 1 - step } else { step };
                    if let Some(slot) = chunk.get_mut(offset + along * after) {
                        let before = sum;
                        sum = sum.plus(*slot);
                        *slot = if self.exclusive { before } else { sum };
                    }
                }
            }
        }
        out
    }
}

impl Operator for CumSum {
    fn evaluate(&self, inputs: Inputs<'_>) -> Result<Vec<Tensor>, Fault> {
        let input = inputs.tensor(0)?;
        let &[along] = integers(inputs.tensor(1)?)?.as_slice() else {
            return Err(Fault::invalid("the axis is not one number"));
        };
        let axis = axis(along, input.shape.len())?;
        let (_, extent, after) = around(&input.shape, axis);
        let data = for_any_number!(&input.data, elements => self.sums(elements, extent, after).into());
        Ok(vec![Tensor { shape: input.shape.clone(), data }])
    }
}
