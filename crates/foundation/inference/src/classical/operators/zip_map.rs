use ropewalk_types::ElementType;

use super::{Built, Definition, Operator};
use crate::Tensor;
use crate::classical::fault::Fault;
use crate::classical::inputs::{Inputs, rows_and_columns};

#[derive(Debug)]
struct ZipMap {
    classes: usize,
}

/// `ZipMap`: the specification's sequence of maps has no place among tensors, so the scores pass through as [N, C] and
/// the keys become the labels of their columns.
pub(super) fn zip_map(definition: &mut Definition<'_>) -> Result<Built, Fault> {
    definition.input_count(1, 1)?;
    definition.input_of(0, &[ElementType::Fp32])?;
    let labels = definition.attributes.class_labels("classlabels_int64s", "classlabels_strings")?;
    let mut built = Built::new(ZipMap { classes: labels.len() }, vec![ElementType::Fp32]);
    built.class_labels = Some(labels);
    Ok(built)
}

impl Operator for ZipMap {
    fn evaluate(&self, inputs: Inputs<'_>) -> Result<Vec<Tensor>, Fault> {
        let input = inputs.tensor(0)?;
        let (rows, columns) = rows_and_columns(&input.shape)?;
        if columns != self.classes {
            return Err(Fault::invalid(format!("{columns} columns for {} class labels", self.classes)));
        }
        Ok(vec![Tensor { shape: vec![rows, columns], data: input.data.clone() }])
    }
}
