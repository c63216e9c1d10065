use ropewalk_types::ElementType;

use super::super::classes::{labels_at, top_class};
use super::super::post_transform::PostTransform;
use super::super::{Built, Definition, Operator};
use super::kernel::Kernel;
use super::probability::{ROUNDS, coupled, pair_probability};
use crate::classical::fault::{Fault, checked_count};
use crate::classical::inputs::{Inputs, ML_NUMBERS, as_f32, rows_and_columns};
use crate::{Tensor, TensorData};

/// The most classes: their pairs are counted.
const CLASSES_LIMIT: usize = 4096;

#[derive(Debug)]
struct SvmClassifier {
    kernel: Kernel,
    /// [classes - 1, vectors], row-major.
    coefficients: Vec<f32>,
    vectors: usize,
    /// First support vector of each class, and their number.
    blocks: Vec<(usize, usize)>,
    /// One for each pair of classes.
    rho: Vec<f32>,
    /// Slope and offset of the probability of each pair, or none.
    platt: Vec<(f32, f32)>,
    labels: TensorData,
    post_transform: PostTransform,
}

/// `SVMClassifier`: [N, F] -> labels [N], scores. Each pair of classes votes; the class with the most votes, the first
/// of equals, is the label, whatever the probabilities say.
///
/// The specification leaves the scores open; they are onnxruntime's: [N, classes] probabilities with `prob_a` and
/// `prob_b`, else [N, pairs] sums, and [-sum, sum] of the one pair of two classes. Refused are models without support
/// vectors, whose label onnxruntime chooses by the signs of the coefficients, and two classes without probabilities
/// but with a `post_transform`.
pub(in super::super) fn svm_classifier(definition: &mut Definition<'_>) -> Result<Built, Fault> {
    definition.input_count(1, 1)?;
    definition.input_of(0, &ML_NUMBERS)?;
    let attributes = &mut definition.attributes;
    let labels = attributes.class_labels("classlabels_ints", "classlabels_strings")?;
    let coefficients = attributes.floats("coefficients")?.unwrap_or_default();
    let rho = attributes.floats("rho")?.unwrap_or_default();
    let slopes = attributes.floats("prob_a")?.unwrap_or_default();
    let offsets = attributes.floats("prob_b")?.unwrap_or_default();
    let post_transform = PostTransform::read(attributes)?;
    let counts = attributes.ints("vectors_per_class")?.unwrap_or_default();
    let classes = labels.len();
    let blocks = blocks(&counts)?;
    let vectors = blocks.last().map_or(0, |(start, count)| start + count);
    if vectors == 0 {
        return Err(Fault::unsupported("no support vectors: coefficients of features"));
    }
    let kernel = Kernel::read(definition, vectors)?;
    if !(2..=CLASSES_LIMIT).contains(&classes) || blocks.len() != classes {
        return Err(Fault::invalid(format!("{classes} class labels for {} lists of support vectors", blocks.len())));
    }
    let pairs = classes * (classes - 1) / 2;
    let expect = |name: &str, found: usize, expected: usize| {
        if found == expected { Ok(()) } else { Err(Fault::invalid(format!("{found} `{name}`, expected {expected}"))) }
    };
    expect("coefficients", coefficients.len(), (classes - 1) * vectors)?;
    expect("rho", rho.len(), pairs)?;
    expect("prob_b", offsets.len(), slopes.len())?;
    if !slopes.is_empty() {
        expect("prob_a", slopes.len(), pairs)?;
    } else if classes == 2 && post_transform != PostTransform::None {
        return Err(Fault::unsupported("two classes without probabilities and a post_transform"));
    }
    let outputs = vec![labels.element_type(), ElementType::Fp32];
    let platt = slopes.into_iter().zip(offsets).collect();
    let classifier = SvmClassifier { kernel, coefficients, vectors, blocks, rho, platt, labels, post_transform };
    Ok(Built::new(classifier, outputs))
}

/// Start and length of the support vectors of each class.
fn blocks(counts: &[i64]) -> Result<Vec<(usize, usize)>, Fault> {
    let mut start = 0_usize;
    let mut blocks = Vec::with_capacity(counts.len());
    for count in counts {
        let count = usize::try_from(*count).ok().filter(|count| *count < 1 << 40);
        let count = count.ok_or_else(|| Fault::invalid("`vectors_per_class` has a number out of range"))?;
        blocks.push((start, count));
        start = start.saturating_add(count);
    }
    Ok(blocks)
}

impl SvmClassifier {
    fn classes(&self) -> usize {
        self.labels.len()
    }

    /// All pairs of classes, in the order of `rho`.
    fn pairs(&self) -> impl Iterator<Item = (usize, usize)> + use<> {
        let classes = self.classes();
        (0..classes).flat_map(move |one| (one + 1..classes).map(move |other| (one, other)))
    }

    /// Part of the sum of a pair: the support vectors of `class` with line `line` of the coefficients.
    fn part(&self, kernels: &[f32], class: usize, line: usize) -> f64 {
        let (start, count) = self.blocks.get(class).copied().unwrap_or_default();
        let first = line * self.vectors + start;
        let coefficients = self.coefficients.get(first..first + count).unwrap_or_default();
        let kernels = kernels.get(start..start + count).unwrap_or_default();
        coefficients.iter().zip(kernels).map(|(left, right)| f64::from(left * right)).sum()
    }

    /// The scores of one row into `scores`, and the class with the most votes.
    fn row(&self, kernels: &[f32], scores: &mut Vec<f32>) -> usize {
        let mut votes = vec![0_usize; self.classes()];
        let mut sums = Vec::with_capacity(self.rho.len());
        for ((one, other), rho) in self.pairs().zip(&self.rho) {
            let sum = self.part(kernels, one, other - 1) + self.part(kernels, other, one) + f64::from(*rho);
            if let Some(votes) = votes.get_mut(if sum > 0.0 { one } else { other }) {
                *votes += 1;
            }
            sums.push(sum as f32);
        }
        let start = scores.len();
        match (self.platt.is_empty(), sums.as_slice()) {
            (true, [sum]) => scores.extend([-sum, *sum]),
            (true, sums) => scores.extend(sums),
            (false, sums) => scores.extend(self.probabilities(sums)),
        }
        self.post_transform.apply(scores.get_mut(start..).unwrap_or_default());
        top_class(&votes)
    }

    fn probabilities(&self, sums: &[f32]) -> Vec<f32> {
        let classes = self.classes();
        let mut matrix = vec![0.0; classes * classes];
        for (((one, other), sum), (slope, offset)) in self.pairs().zip(sums).zip(&self.platt) {
            let probability = pair_probability(*sum, *slope, *offset);
            for (place, value) in [(one * classes + other, probability), (other * classes + one, 1.0 - probability)] {
                if let Some(cell) = matrix.get_mut(place) {
                    *cell = value;
                }
            }
        }
        coupled(&matrix, classes)
    }
}

impl Operator for SvmClassifier {
    fn cost(&self, inputs: Inputs<'_>) -> u64 {
        let coupling = if self.platt.is_empty() { 0 } else { ROUNDS * self.classes() * self.classes() };
        inputs.count_with_rows(self.kernel.products() + (self.coefficients.len() + coupling) as u64)
    }

    fn evaluate(&self, inputs: Inputs<'_>) -> Result<Vec<Tensor>, Fault> {
        let input = inputs.tensor(0)?;
        let (rows, columns) = rows_and_columns(&input.shape)?;
        let kernels = self.kernel.compare(&as_f32(input)?, columns)?;
        let width = match (self.platt.is_empty(), self.rho.len()) {
            (true, 1) => 2,
            (true, pairs) => pairs,
            (false, _) => self.classes(),
        };
        let mut scores = Vec::with_capacity(checked_count(&[rows, width])?);
        let tops: Vec<usize> = kernels.chunks(self.vectors).map(|line| self.row(line, &mut scores)).collect();
        let labels = Tensor { shape: vec![rows], data: labels_at(&self.labels, &tops)? };
        Ok(vec![labels, Tensor { shape: vec![rows, width], data: scores.into() }])
    }
}
