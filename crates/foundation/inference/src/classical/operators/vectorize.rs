use ropewalk_types::ElementType;

use super::{Built, Definition, Operator};
use crate::Tensor;
use crate::classical::fault::{Fault, checked_count};
use crate::classical::inputs::{Inputs, ML_NUMBERS, as_f32};

/// The width that each input gets in the output.
#[derive(Debug)]
struct FeatureVectorizer {
    widths: Vec<usize>,
}

/// `FeatureVectorizer`: inputs [N, C] (or [C]) side by side as f32, each cut or filled with zeros to its declared width.
pub(super) fn feature_vectorizer(definition: &mut Definition<'_>) -> Result<Built, Fault> {
    definition.same_inputs(&ML_NUMBERS)?;
    let widths = definition.attributes.ints("inputdimensions")?.unwrap_or_default();
    if widths.is_empty() || widths.len() != definition.inputs.len() {
        return Err(Fault::invalid(format!(
            "{} input dimensions for {} inputs",
            widths.len(),
            definition.inputs.len()
        )));
    }
    let widths = widths.iter().map(|width| usize::try_from(*width)).collect::<Result<Vec<_>, _>>();
    let widths = widths.map_err(|_| Fault::invalid("an input dimension is negative"))?;
    Ok(Built::new(FeatureVectorizer { widths }, vec![ElementType::Fp32]))
}

fn rows_and_width(shape: &[usize]) -> (usize, usize) {
    match shape {
        [] => (1, 1),
        [width] => (1, *width),
        [rows, inner @ ..] => (*rows, inner.iter().product()),
    }
}

impl Operator for FeatureVectorizer {
    fn evaluate(&self, inputs: Inputs<'_>) -> Result<Vec<Tensor>, Fault> {
        let tensors = inputs.tensors()?;
        let (rows, _) = rows_and_width(&inputs.tensor(0)?.shape);
        let total = self.widths.iter().fold(0_usize, |total, width| total.saturating_add(*width));
        let shape = vec![rows, total];
        let mut out = vec![0.0_f32; checked_count(&shape)?];
        let mut start = 0;
        for (tensor, width) in tensors.iter().zip(&self.widths) {
            let (other, found) = rows_and_width(&tensor.shape);
            if other != rows {
                return Err(Fault::invalid(format!("inputs of {rows} and of {other} rows")));
            }
            let values = as_f32(tensor)?;
            for (target, source) in out.chunks_mut(total.max(1)).zip(values.chunks(found.max(1))) {
                let cells = target.iter_mut().skip(start).take(*width);
                cells.zip(source).for_each(|(cell, value)| *cell = *value);
            }
            start += width;
        }
        Ok(vec![Tensor { shape, data: out.into() }])
    }
}
