use ropewalk_types::ElementType;

use super::super::post_transform::PostTransform;
use super::super::{Built, Definition, Operator};
use super::aggregate::{Aggregate, Scores};
use super::attributes::EnsembleAttributes;
use super::forest::{Forest, Real};
use super::single::SingleTree;
use crate::Tensor;
use crate::classical::attributes::Attributes;
use crate::classical::fault::{Fault, checked_count};
use crate::classical::inputs::{Inputs, ML_NUMBERS, rows_and_columns};

#[derive(Debug)]
pub(super) struct TreeRegressor<W> {
    forest: Forest<W>,
    base: Vec<W>,
    aggregate: Aggregate,
    post_transform: PostTransform,
    targets: usize,
    single: Option<SingleTree>,
}

/// `TreeEnsembleRegressor`: [N, F] -> [N, targets].
pub(in super::super) fn tree_ensemble_regressor(definition: &mut Definition<'_>) -> Result<Built, Fault> {
    definition.input_count(1, 1)?;
    let input = definition.input_of(0, &ML_NUMBERS)?;
    let targets = targets(&mut definition.attributes)?;
    let aggregate = definition.attributes.text("aggregate_function")?.unwrap_or_else(|| "SUM".to_owned());
    let aggregate =
        Aggregate::parse(&aggregate).ok_or_else(|| Fault::unsupported(format!("aggregate function `{aggregate}`")))?;
    let attributes = EnsembleAttributes::read(definition, "target", targets)?;
    checked(&attributes, targets)?;
    let outputs = vec![ElementType::Fp32];
    Ok(if attributes.is_double() {
        Built::new(TreeRegressor::<f64>::new(&attributes, true, aggregate, targets)?, outputs)
    } else {
        let double = input == ElementType::Fp64;
        Built::new(TreeRegressor::<f32>::new(&attributes, double, aggregate, targets)?, outputs)
    })
}

pub(super) fn targets(attributes: &mut Attributes<'_>) -> Result<usize, Fault> {
    let targets = attributes.int("n_targets")?.and_then(|count| usize::try_from(count).ok());
    let targets = targets.filter(|count| (1..=1 << 20).contains(count));
    targets.ok_or_else(|| Fault::invalid("`n_targets` is missing or out of range"))
}

pub(super) fn checked(attributes: &EnsembleAttributes, targets: usize) -> Result<(), Fault> {
    let base = attributes.base_values.len();
    if base != 0 && base != targets {
        return Err(Fault::invalid(format!("{base} base values for {targets} targets")));
    }
    // The specification applies them; onnxruntime leaves the value as it is. Neither can be what the author checked
    // against both, so the model is refused.
    if targets == 1 && !matches!(attributes.post_transform, PostTransform::None | PostTransform::Probit) {
        return Err(Fault::unsupported("one target with a post_transform other than NONE or PROBIT"));
    }
    Ok(())
}

impl<W: Real> TreeRegressor<W> {
    pub(super) fn new(
        attributes: &EnsembleAttributes,
        double: bool,
        aggregate: Aggregate,
        targets: usize,
    ) -> Result<Self, Fault> {
        Ok(Self {
            forest: Forest::new(attributes, double, aggregate.is_sum())?,
            base: W::from_reals(&attributes.base_values),
            aggregate,
            post_transform: attributes.post_transform,
            targets,
            single: SingleTree::of(attributes, double, aggregate, targets),
        })
    }
}

impl<W: Real> Operator for TreeRegressor<W> {
    fn single_tree(&self) -> Option<&SingleTree> {
        self.single.as_ref()
    }

    fn cost(&self, inputs: Inputs<'_>) -> u64 {
        inputs.count_with_rows(self.forest.row_cost)
    }

    fn evaluate(&self, inputs: Inputs<'_>) -> Result<Vec<Tensor>, Fault> {
        let input = inputs.tensor(0)?;
        let (rows, columns) = rows_and_columns(&input.shape)?;
        self.forest.check_columns(columns)?;
        let shape = vec![rows, self.targets];
        checked_count(&shape)?;
        let mut scores =
            self.forest.scores(input, columns, Scores { width: self.targets, aggregate: self.aggregate })?;
        if !self.base.is_empty() {
            for row in scores.chunks_mut(self.targets) {
                row.iter_mut().zip(&self.base).for_each(|(score, base)| *score += *base);
            }
        }
        let mut values: Vec<f32> = scores.into_iter().map(Real::to_f32).collect();
        values.chunks_mut(self.targets).for_each(|row| self.post_transform.apply(row));
        Ok(vec![Tensor { shape, data: values.into() }])
    }
}
