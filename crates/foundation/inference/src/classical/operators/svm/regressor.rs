use ropewalk_types::ElementType;

use super::super::{Built, Definition, Operator};
use super::kernel::Kernel;
use crate::Tensor;
use crate::classical::fault::Fault;
use crate::classical::inputs::{Inputs, ML_NUMBERS, as_f32, rows_and_columns};

#[derive(Debug)]
struct SvmRegressor {
    /// None if the coefficients are those of the features.
    kernel: Option<Kernel>,
    coefficients: Vec<f32>,
    offset: f32,
    one_class: bool,
}

/// `SVMRegressor`: [N, F] -> [N, 1], the coefficients times the kernels, plus `rho`; 1 or -1 by its sign if
/// `one_class`.
///
/// The specification has a `post_transform` that onnxruntime ignores; anything but NONE is refused.
pub(in super::super) fn svm_regressor(definition: &mut Definition<'_>) -> Result<Built, Fault> {
    definition.input_count(1, 1)?;
    definition.input_of(0, &ML_NUMBERS)?;
    let attributes = &mut definition.attributes;
    let coefficients = attributes.floats("coefficients")?.unwrap_or_default();
    let rho = attributes.floats("rho")?.unwrap_or_default();
    let one_class = attributes.flag("one_class", false)?;
    let supports = attributes.int("n_supports")?.unwrap_or(0);
    let post_transform = attributes.text("post_transform")?;
    if post_transform.as_deref().is_some_and(|name| name != "NONE") {
        return Err(Fault::unsupported("a post_transform other than NONE"));
    }
    let &[offset] = rho.as_slice() else {
        return Err(Fault::invalid(format!("{} values of `rho`, expected 1", rho.len())));
    };
    let supports = usize::try_from(supports).map_err(|_| Fault::invalid("`n_supports` is negative"))?;
    let kernel = if supports > 0 { Some(Kernel::read(definition, supports)?) } else { None };
    if kernel.is_none() {
        definition.attributes.text("kernel_type")?;
        definition.attributes.floats("kernel_params")?;
    }
    if coefficients.is_empty() || (kernel.is_some() && coefficients.len() != supports) {
        let reason = format!("{} coefficients for {supports} support vectors", coefficients.len());
        return Err(Fault::invalid(reason));
    }
    let regressor = SvmRegressor { kernel, coefficients, offset, one_class };
    Ok(Built::new(regressor, vec![ElementType::Fp32]))
}

impl Operator for SvmRegressor {
    fn cost(&self, inputs: Inputs<'_>) -> u64 {
        let products = self.kernel.as_ref().map_or(0, Kernel::products);
        inputs.count_with_rows(products + self.coefficients.len() as u64)
    }

    fn evaluate(&self, inputs: Inputs<'_>) -> Result<Vec<Tensor>, Fault> {
        let input = inputs.tensor(0)?;
        let (rows, columns) = rows_and_columns(&input.shape)?;
        let values = as_f32(input)?;
        let compared = match &self.kernel {
            Some(kernel) => kernel.compare(&values, columns)?.into(),
            None if columns == self.coefficients.len() => values,
            None => {
                return Err(Fault::invalid(format!("{} coefficients for {columns} columns", self.coefficients.len())));
            }
        };
        let targets = compared.chunks(self.coefficients.len()).map(|line| {
            let products = line.iter().zip(&self.coefficients);
            let sum: f64 = products.map(|(kernel, coefficient)| f64::from(*kernel) * f64::from(*coefficient)).sum();
            let target = (sum + f64::from(self.offset)) as f32;
            match self.one_class {
                false => target,
                true if target > 0.0 => 1.0,
                true => -1.0,
            }
        });
        Ok(vec![Tensor { shape: vec![rows, 1], data: targets.collect::<Vec<f32>>().into() }])
    }
}
