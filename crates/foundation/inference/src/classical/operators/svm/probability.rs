//! From the scores of pairs of classes to probabilities of classes.

use super::super::post_transform::PostTransform;

/// Rounds after which the iteration stops, as in LIBSVM.
pub(super) const ROUNDS: usize = 100;

/// Platt's sigmoid: the probability that the first class of a pair wins.
pub(super) fn pair_probability(score: f32, slope: f32, offset: f32) -> f32 {
    (1.0 - PostTransform::logistic(score * slope + offset)).clamp(1e-7, 1.0 - 1e-7)
}

/// The probabilities of classes from those of pairs, `pairs` [classes, classes] row-major: the second method of T.-F.
/// Wu, C.-J. Lin, R. C. Weng, "Probability Estimates for Multi-class Classification by Pairwise Coupling", 2004, with
/// LIBSVM's stopping rule, in f32 as onnxruntime has it.
pub(super) fn coupled(pairs: &[f32], classes: usize) -> Vec<f32> {
    let pair = |one: usize, other: usize| pairs.get(one * classes + other).copied().unwrap_or(0.0);
    let entry = |one: usize, other: usize| {
        if one != other {
            return -pair(other, one) * pair(one, other);
        }
        (0..classes).filter(|class| *class != one).map(|class| pair(class, one) * pair(class, one)).sum()
    };
    let matrix: Vec<f32> = (0..classes).flat_map(|one| (0..classes).map(move |other| entry(one, other))).collect();
    let mut probabilities = vec![1.0 / classes as f32; classes];
    let tolerance = 0.005 / classes as f32;
    for _ in 0..ROUNDS {
        let mut products: Vec<f32> = matrix.chunks(classes).map(|line| dot(line, &probabilities)).collect();
        let mut total = dot(&products, &probabilities);
        let error = products.iter().map(|product| (product - total).abs()).fold(0.0, f32::max);
        if error < tolerance {
            break;
        }
        for class in 0..classes {
            let line = matrix.get(class * classes..(class + 1) * classes).unwrap_or_default();
            let (Some(diagonal), Some(product)) = (line.get(class).copied(), products.get(class).copied()) else {
                break;
            };
            let step = (total - product) / diagonal;
            if let Some(probability) = probabilities.get_mut(class) {
                *probability += step;
            }
            total = (total + step * (step * diagonal + 2.0 * product)) / (1.0 + step) / (1.0 + step);
            for (product, entry) in products.iter_mut().zip(line) {
                *product = (*product + step * entry) / (1.0 + step);
            }
            for probability in &mut probabilities {
                *probability /= 1.0 + step;
            }
        }
    }
    probabilities
}

fn dot(left: &[f32], right: &[f32]) -> f32 {
    left.iter().zip(right).map(|(left, right)| left * right).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probabilities_of_two_classes_are_those_of_the_pair() {
        let found = coupled(&[0.0, 0.8, 0.2, 0.0], 2);
        assert!((found[0] - 0.8).abs() < 1e-2, "{found:?}");
    }

    #[test]
    fn probabilities_add_up_to_one() {
        let pairs = [0.0, 0.9, 0.7, 0.1, 0.0, 0.4, 0.3, 0.6, 0.0];
        let found = coupled(&pairs, 3);
        assert!((found.iter().sum::<f32>() - 1.0).abs() < 1e-5, "{found:?}");
        assert!(found[0] > found[2] && found[2] > found[1], "{found:?}");
    }
}
