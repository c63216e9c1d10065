use ropewalk_types::ElementType;

use super::classes::{labels_at, top_class};
use super::matrix::affine;
use super::post_transform::PostTransform;
use super::{Built, Definition, Operator};
use crate::classical::fault::{Fault, checked_count};
use crate::classical::inputs::{Inputs, ML_NUMBERS, as_f32, rows_and_columns};
use crate::{Tensor, TensorData};

/// Coefficients [targets, features], row-major, and an intercept for each target.
#[derive(Debug)]
struct Linear {
    coefficients: Vec<f32>,
    intercepts: Vec<f32>,
    features: usize,
    post_transform: PostTransform,
}

impl Linear {
    fn new(definition: &mut Definition<'_>, targets: usize, intercepts: Vec<f32>) -> Result<Self, Fault> {
        let coefficients = definition.attributes.floats("coefficients")?.unwrap_or_default();
        let post_transform = PostTransform::read(&mut definition.attributes)?;
        let features = coefficients.len() / targets;
        if features == 0 || features * targets != coefficients.len() {
            return Err(Fault::invalid(format!("{} coefficients for {targets} targets", coefficients.len())));
        }
        let intercepts = if intercepts.is_empty() { vec![0.0; targets] } else { intercepts };
        if intercepts.len() != targets {
            return Err(Fault::invalid(format!("{} intercepts for {targets} targets", intercepts.len())));
        }
        Ok(Self { coefficients, intercepts, features, post_transform })
    }

    fn targets(&self) -> usize {
        self.intercepts.len()
    }

    /// Rows and their scores before the transform, `targets` for each.
    fn scores(&self, input: &Tensor) -> Result<(usize, Vec<f32>), Fault> {
        let (rows, columns) = rows_and_columns(&input.shape)?;
        if columns != self.features {
            return Err(Fault::invalid(format!("{} coefficients for {columns} columns", self.features)));
        }
        checked_count(&[rows, self.targets()])?;
        Ok((rows, affine(&as_f32(input)?, &self.coefficients, &self.intercepts, columns)))
    }
}

#[derive(Debug)]
struct LinearRegressor(Linear);

/// `LinearRegressor`: [N, F] -> [N, targets].
pub(super) fn linear_regressor(definition: &mut Definition<'_>) -> Result<Built, Fault> {
    definition.input_count(1, 1)?;
    definition.input_of(0, &ML_NUMBERS)?;
    let targets = definition.attributes.int("targets")?.unwrap_or(1);
    let targets = usize::try_from(targets).ok().filter(|targets| *targets > 0);
    let targets = targets.ok_or_else(|| Fault::invalid("`targets` is not a positive number"))?;
    let intercepts = definition.attributes.floats("intercepts")?.unwrap_or_default();
    let linear = Linear::new(definition, targets, intercepts)?;
    // The specification applies them; onnxruntime does not. See the tree regressor.
    if targets == 1 && !matches!(linear.post_transform, PostTransform::None | PostTransform::Probit) {
        return Err(Fault::unsupported("one target with a post_transform other than NONE or PROBIT"));
    }
    Ok(Built::new(LinearRegressor(linear), vec![ElementType::Fp32]))
}

impl Operator for LinearRegressor {
    fn cost(&self, inputs: Inputs<'_>) -> u64 {
        inputs.count().saturating_mul(self.0.targets() as u64)
    }

    fn evaluate(&self, inputs: Inputs<'_>) -> Result<Vec<Tensor>, Fault> {
        let (rows, mut scores) = self.0.scores(inputs.tensor(0)?)?;
        let targets = self.0.targets();
        scores.chunks_mut(targets).for_each(|row| self.0.post_transform.apply(row));
        Ok(vec![Tensor { shape: vec![rows, targets], data: scores.into() }])
    }
}

#[derive(Debug)]
struct LinearClassifier {
    linear: Linear,
    labels: TensorData,
}

/// `LinearClassifier`: [N, F] -> labels [N], scores [N, E]. `multi_class` only records how the model was trained.
pub(super) fn linear_classifier(definition: &mut Definition<'_>) -> Result<Built, Fault> {
    definition.input_count(1, 1)?;
    definition.input_of(0, &ML_NUMBERS)?;
    definition.attributes.int("multi_class")?;
    let labels = definition.attributes.class_labels("classlabels_ints", "classlabels_strings")?;
    let intercepts = definition.attributes.floats("intercepts")?.unwrap_or_default();
    let targets = if intercepts.is_empty() { labels.len() } else { intercepts.len() };
    let linear = Linear::new(definition, targets, intercepts)?;
    match (targets, labels.len()) {
        (1, 2) if linear.post_transform != PostTransform::None => {
            return Err(Fault::unsupported("two classes with one line of coefficients and a post_transform"));
        }
        (1, 2) => {}
        (targets, classes) if targets == classes && classes > 1 => {}
        (targets, classes) => {
            return Err(Fault::unsupported(format!("{targets} lines of coefficients for {classes} classes")));
        }
    }
    let outputs = vec![labels.element_type(), ElementType::Fp32];
    Ok(Built::new(LinearClassifier { linear, labels }, outputs))
}

impl LinearClassifier {
    fn row(&self, sums: &[f32], scores: &mut [f32]) -> usize {
        if let [sum] = sums {
            scores.copy_from_slice(&[1.0 - sum, *sum]);
            return usize::from(*sum > 0.0);
        }
        scores.copy_from_slice(sums);
        self.linear.post_transform.apply(scores);
        top_class(sums)
    }
}

impl Operator for LinearClassifier {
    fn cost(&self, inputs: Inputs<'_>) -> u64 {
        inputs.count().saturating_mul(self.linear.targets() as u64)
    }

    fn evaluate(&self, inputs: Inputs<'_>) -> Result<Vec<Tensor>, Fault> {
        let (rows, sums) = self.linear.scores(inputs.tensor(0)?)?;
        let classes = self.labels.len();
        let mut scores = vec![0.0_f32; checked_count(&[rows, classes])?];
        let rows_of = sums.chunks(self.linear.targets()).zip(scores.chunks_mut(classes));
        let tops: Vec<usize> = rows_of.map(|(sums, scores)| self.row(sums, scores)).collect();
        let labels = Tensor { shape: vec![rows], data: labels_at(&self.labels, &tops)? };
        Ok(vec![labels, Tensor { shape: vec![rows, classes], data: scores.into() }])
    }
}
