use ropewalk_types::ElementType;

use super::super::classes::{labels_at, top_class};
use super::super::post_transform::PostTransform;
use super::super::{Built, Definition, Operator};
use super::aggregate::{Aggregate, Scores};
use super::attributes::{EnsembleAttributes, VoteRow};
use super::forest::{Forest, Real};
use crate::classical::fault::{Fault, checked_count};
use crate::classical::inputs::{Inputs, ML_NUMBERS, rows_and_columns};
use crate::{Tensor, TensorData};

/// How sums of votes become a label and a score for each class.
///
/// Where the specification is clear and onnxruntime 1.32 does something else, we follow the specification:
/// two classes with votes for both get the label of the larger sum and each its own base value (onnxruntime answers 1
/// whenever the second sum is positive, and overwrites one score), and with LOGISTIC the label is that of the larger
/// probability also if no weight is negative (onnxruntime compares the untransformed sum with 0.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rule {
    /// A sum for each class.
    PerClass,
    /// Two classes, all votes on the first id: the sum is the score of the second class. The specification does not
    /// describe this form, though every exporter writes it; it is read as onnxruntime does.
    OneWeight { none_negative: bool },
}

impl Rule {
    fn of(attributes: &EnsembleAttributes, classes: usize) -> Result<Self, Fault> {
        let mut columns = attributes.votes.iter().map(|vote: &VoteRow| vote.column);
        let first = columns.next().ok_or_else(|| Fault::invalid("no leaf votes"))?;
        if classes != 2 || columns.any(|column| column != first) {
            return Self::PerClass.checked_base(attributes, classes);
        }
        if first != 0 {
            return Err(Fault::unsupported(
                "two classes with votes only for the second; one weight stands on class id 0",
            ));
        }
        if !matches!(attributes.post_transform, PostTransform::None | PostTransform::Logistic) {
            return Err(Fault::unsupported(
                "two classes with one weight and a post_transform other than NONE or LOGISTIC",
            ));
        }
        let none_negative = attributes.weights.widened().iter().all(|weight| *weight >= 0.0);
        Self::OneWeight { none_negative }.checked_base(attributes, 1)
    }

    fn checked_base(self, attributes: &EnsembleAttributes, expected: usize) -> Result<Self, Fault> {
        match attributes.base_values.len() {
            0 => Ok(self),
            found if found == expected => Ok(self),
            found => Err(Fault::unsupported(format!("{found} base values where {expected} are summed"))),
        }
    }

    /// Number of sums for each row.
    fn width(self, classes: usize) -> usize {
        match self {
            Self::PerClass => classes,
            Self::OneWeight { .. } => 1,
        }
    }
}

#[derive(Debug)]
struct TreeClassifier<W> {
    forest: Forest<W>,
    base: Vec<W>,
    rule: Rule,
    post_transform: PostTransform,
    labels: TensorData,
}

/// `TreeEnsembleClassifier`: [N, F] -> labels [N], scores [N, E].
pub(in super::super) fn tree_ensemble_classifier(definition: &mut Definition<'_>) -> Result<Built, Fault> {
    definition.input_count(1, 1)?;
    let input = definition.input_of(0, &ML_NUMBERS)?;
    let labels = definition.attributes.class_labels("classlabels_int64s", "classlabels_strings")?;
    if labels.len() < 2 {
        return Err(Fault::unsupported("a classifier of one class"));
    }
    let attributes = EnsembleAttributes::read(definition, "class", labels.len())?;
    let rule = Rule::of(&attributes, labels.len())?;
    let outputs = vec![labels.element_type(), ElementType::Fp32];
    Ok(if attributes.is_double() {
        Built::new(TreeClassifier::<f64>::new(&attributes, true, rule, labels)?, outputs)
    } else {
        let double = input == ElementType::Fp64;
        Built::new(TreeClassifier::<f32>::new(&attributes, double, rule, labels)?, outputs)
    })
}

impl<W: Real> TreeClassifier<W> {
    fn new(attributes: &EnsembleAttributes, double: bool, rule: Rule, labels: TensorData) -> Result<Self, Fault> {
        Ok(Self {
            forest: Forest::new(attributes, double, true)?,
            base: W::from_reals(&attributes.base_values),
            rule,
            post_transform: attributes.post_transform,
            labels,
        })
    }

    /// The index of the second class's label, and both scores, from the one sum.
    fn two_classes(&self, sum: W, none_negative: bool, scores: &mut [f32]) -> usize {
        let half = none_negative && self.post_transform == PostTransform::None;
        let positive = if half { sum.to_f64() > 0.5 } else { sum.to_f64() > 0.0 };
        let second = sum.to_f32();
        let pair = match self.post_transform {
            PostTransform::Logistic => [PostTransform::logistic(-second), PostTransform::logistic(second)],
            _ if none_negative => [1.0 - second, second],
            _ => [-second, second],
        };
        scores.copy_from_slice(&pair);
        usize::from(positive)
    }

    fn row(&self, sums: &mut [W], scores: &mut [f32]) -> usize {
        for (sum, base) in sums.iter_mut().zip(&self.base) {
            *sum += *base;
        }
        if let (Rule::OneWeight { none_negative }, [sum]) = (self.rule, &*sums) {
            return self.two_classes(*sum, none_negative, scores);
        }
        let top = top_class(sums);
        for (score, sum) in scores.iter_mut().zip(sums) {
            *score = sum.to_f32();
        }
        self.post_transform.apply(scores);
        top
    }
}

impl<W: Real> Operator for TreeClassifier<W> {
    fn cost(&self, inputs: Inputs<'_>) -> u64 {
        inputs.count_with_rows(self.forest.row_cost)
    }

    fn evaluate(&self, inputs: Inputs<'_>) -> Result<Vec<Tensor>, Fault> {
        let input = inputs.tensor(0)?;
        let (rows, columns) = rows_and_columns(&input.shape)?;
        self.forest.check_columns(columns)?;
        let classes = self.labels.len();
        let width = self.rule.width(classes);
        let mut scores = vec![0.0_f32; checked_count(&[rows, classes])?];
        let mut sums = self.forest.scores(input, columns, Scores { width, aggregate: Aggregate::Sum })?;
        let rows_of = sums.chunks_mut(width).zip(scores.chunks_mut(classes));
        let tops: Vec<usize> = rows_of.map(|(sums, scores)| self.row(sums, scores)).collect();
        let labels = labels_at(&self.labels, &tops)?;
        Ok(vec![Tensor { shape: vec![rows], data: labels }, Tensor { shape: vec![rows, classes], data: scores.into() }])
    }
}
