use serde::{Deserialize, Serialize};

/// Number of bins of [`calibration`].
pub const CALIBRATION_BINS: usize = 10;

/// Probabilities are kept this far from 0 and 1 in [`log_loss`], so that one sure mistake does not make it infinite.
const CLIP: f64 = 1e-15;

/// Area under the ROC curve: the chance that a positive row scores above a negative one, ties counting half
/// (Mann and Whitney 1947; Hanley and McNeil 1982). NaN if a class is missing.
///
/// `labels` and `scores` are of equal length; scores are not NaN.
#[expect(clippy::float_cmp, reason = "scores tie when they are equal, not when they are near")]
pub fn auc(labels: &[bool], scores: &[f32]) -> f64 {
    let mut order: Vec<(f32, bool)> = scores.iter().copied().zip(labels.iter().copied()).collect();
    order.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
    let (mut negatives, mut positives, mut doubled_wins) = (0_u64, 0_u64, 0_u128);
    for tied in order.chunk_by(|a, b| a.0 == b.0) {
        let positive = tied.iter().filter(|(_, label)| *label).count() as u64;
        let negative = tied.len() as u64 - positive;
        doubled_wins += u128::from(positive) * u128::from(2 * negatives + negative);
        negatives += negative;
        positives += positive;
    }
    doubled_wins as f64 / (2.0 * negatives as f64 * positives as f64)
}

/// Mean negative log likelihood in nats; probabilities are clipped to `[1e-15, 1 - 1e-15]`.
pub fn log_loss(labels: &[bool], probabilities: &[f32]) -> f64 {
    mean(labels, probabilities, |label, probability| {
        let clipped = probability.clamp(CLIP, 1.0 - CLIP);
        if label { -clipped.ln() } else { -(1.0 - clipped).ln() }
    })
}

/// Mean squared difference between probability and outcome (Brier 1950).
pub fn brier_score(labels: &[bool], probabilities: &[f32]) -> f64 {
    mean(labels, probabilities, |label, probability| (probability - f64::from(u8::from(label))).powi(2))
}

/// Share of rows on whose side of one half the probability lies; a probability of exactly one half says 0.
pub fn accuracy(labels: &[bool], probabilities: &[f32]) -> f64 {
    mean(labels, probabilities, |label, probability| f64::from(u8::from((probability > 0.5) == label)))
}

fn mean(labels: &[bool], probabilities: &[f32], value: impl Fn(bool, f64) -> f64) -> f64 {
    let rows = labels.iter().zip(probabilities);
    rows.map(|(label, probability)| value(*label, f64::from(*probability))).sum::<f64>() / labels.len() as f64
}

/// The rows whose probability lies in one interval.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct CalibrationBin {
    /// Lower end, included.
    pub lower: f64,
    /// Upper end, included in the last bin only.
    pub upper: f64,
    /// Rows in the bin.
    pub rows: u64,
    /// Mean probability of these rows; 0 if there is none.
    pub predicted: f64,
    /// Share of positives among these rows; 0 if there is none.
    pub observed: f64,
}

/// The probabilities in [`CALIBRATION_BINS`] bins of equal width over `[0, 1]`, empty ones included.
pub fn calibration(labels: &[bool], probabilities: &[f32]) -> Vec<CalibrationBin> {
    let mut sums = [(0_u64, 0.0_f64, 0_u64); CALIBRATION_BINS];
    for (label, probability) in labels.iter().zip(probabilities) {
        let probability = f64::from(*probability);
        let position = ((probability * CALIBRATION_BINS as f64) as usize).min(CALIBRATION_BINS - 1);
        if let Some((rows, total, positives)) = sums.get_mut(position) {
            *rows += 1;
            *total += probability;
            *positives += u64::from(*label);
        }
    }
    let width = 1.0 / CALIBRATION_BINS as f64;
    let bins = sums.into_iter().enumerate().map(|(position, (rows, total, positives))| {
        let count = rows.max(1) as f64;
        CalibrationBin {
            lower: position as f64 * width,
            upper: (position + 1) as f64 * width,
            rows,
            predicted: total / count,
            observed: positives as f64 / count,
        }
    });
    bins.collect()
}

/// Expected calibration error: the mean distance between predicted and observed over the bins, weighted by their rows
/// (Naeini, Cooper and Hauskrecht 2015; bins of equal width as in Guo et al. 2017).
pub fn calibration_error(bins: &[CalibrationBin]) -> f64 {
    let rows: u64 = bins.iter().map(|bin| bin.rows).sum();
    let weighted = bins.iter().map(|bin| bin.rows as f64 * (bin.predicted - bin.observed).abs());
    weighted.sum::<f64>() / rows.max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    // The figures below are those of scikit-learn 1.9.1 on the same rows: roc_auc_score, log_loss, brier_score_loss,
    // accuracy_score, and for the calibration error a sum over its calibration_curve's equal-width bins
    // (benches/compare/training/metrics_reference.py prints them).
    const LABELS: [u8; 20] = [0, 0, 1, 0, 1, 1, 0, 1, 0, 0, 1, 1, 0, 1, 0, 0, 0, 1, 0, 1];
    const PROBABILITIES: [f32; 20] = [
        0.125, 0.25, 0.25, 0.375, 0.875, 0.75, 0.0625, 0.5, 0.5, 0.3125, 0.625, 0.9375, 0.4375, 0.375, 0.6875, 0.1875,
        0.03125, 0.8125, 0.25, 0.25,
    ];

    fn labels() -> Vec<bool> {
        LABELS.iter().map(|label| *label == 1).collect()
    }

    fn close(found: f64, expected: f64) {
        assert!((found - expected).abs() < 1e-12, "{found} is not {expected}");
    }

    #[test]
    fn the_figures_are_those_of_scikit_learn() {
        close(auc(&labels(), &PROBABILITIES), 0.818_181_818_181_818_1);
        close(log_loss(&labels(), &PROBABILITIES), 0.494_957_073_588_206_2);
        close(brier_score(&labels(), &PROBABILITIES), 0.167_822_265_625);
        close(accuracy(&labels(), &PROBABILITIES), 0.75);
        close(calibration_error(&calibration(&labels(), &PROBABILITIES)), 0.142_187_5);
    }

    #[test]
    fn auc_knows_order_reversal_and_ties() {
        let labels = [false, false, true, true];
        close(auc(&labels, &[0.1, 0.2, 0.3, 0.4]), 1.0);
        close(auc(&labels, &[0.4, 0.3, 0.2, 0.1]), 0.0);
        close(auc(&labels, &[0.5; 4]), 0.5);
        close(auc(&labels, &[-0.0, 0.0, 0.0, 1.0]), 0.75);
        assert!(auc(&[true, true], &[0.1, 0.2]).is_nan());
    }

    #[test]
    fn a_sure_mistake_costs_much_but_not_everything() {
        let loss = log_loss(&[true, false], &[0.0, 0.0]);
        assert!(loss > 17.0 && loss.is_finite(), "{loss}");
    }

    #[test]
    fn the_ends_of_the_bins_are_where_they_are_said_to_be() {
        let bins = calibration(&[true, false, true, false], &[1.0, 0.0, 0.5, 0.4999]);
        assert_eq!(bins.iter().map(|bin| bin.rows).collect::<Vec<_>>(), [1, 0, 0, 0, 1, 1, 0, 0, 0, 1]);
        assert_eq!(bins.len(), CALIBRATION_BINS);
        close(calibration_error(&bins), (f64::from(0.4999_f32) + 0.5) / 4.0);
    }
}
