use serde::{Deserialize, Serialize};

use super::area::{Auc, area_under_curve};

/// Scores are kept this far from 0 and 1 in the log loss: the spacing of 64-bit numbers at 1, as scikit-learn does.
const LEAST: f64 = f64::EPSILON;

/// What some rows say of a model of two classes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Measures {
    /// Rows.
    pub rows: u64,
    /// Rows whose label is known; the following are about these alone, except `mean_score`.
    pub labelled: u64,
    /// Area under the ROC curve; none where a class is missing.
    pub auc: Option<Auc>,
    /// Mean of `-ln` of the probability given to what came true.
    pub log_loss: Option<f64>,
    /// Share of rows on the right side of 0.5.
    pub accuracy: Option<f64>,
    /// Share of positive labels.
    pub positive_rate: Option<f64>,
    /// Mean score of the labelled rows: calibrated in the large where it is the positive rate.
    pub mean_score_labelled: Option<f64>,
    /// z of the difference between positives and expected positives, `Σ(y-s) / √Σ s(1-s)`.
    ///
    /// Source: the calibration-in-the-large part of Spiegelhalter, "Probabilistic prediction in patient management and
    /// clinical trials" (1986).
    pub calibration_z: Option<f64>,
    /// Mean score of all rows.
    pub mean_score: Option<f64>,
}

impl Measures {
    /// The measures of pairs of a score (0 to 1) and a label where it is known.
    pub(crate) fn of(rows: &[(f64, Option<bool>)]) -> Self {
        let known: Vec<(f64, bool)> = rows.iter().filter_map(|(score, label)| Some((*score, (*label)?))).collect();
        let mean = |sum: f64, count: usize| (count > 0).then(|| sum / count as f64);
        let over_known =
            |value: &dyn Fn(f64, bool) -> f64| known.iter().map(|(score, label)| value(*score, *label)).sum();
        let positives = over_known(&|_, label| f64::from(u8::from(label)));
        let expected = over_known(&|score, _| score);
        let variance: f64 = over_known(&|score, _| score * (1.0 - score));
        Self {
            rows: rows.len() as u64,
            labelled: known.len() as u64,
            auc: area_under_curve(&known),
            log_loss: mean(over_known(&loss), known.len()),
            accuracy: mean(over_known(&|score, label| f64::from(u8::from((score >= 0.5) == label))), known.len()),
            positive_rate: mean(positives, known.len()),
            mean_score_labelled: mean(expected, known.len()),
            calibration_z: (variance > 0.0).then(|| (positives - expected) / variance.sqrt()),
            mean_score: mean(rows.iter().map(|(score, _)| score).sum(), rows.len()),
        }
    }
}

fn loss(score: f64, label: bool) -> f64 {
    let of_truth = if label { score } else { 1.0 - score };
    -of_truth.clamp(LEAST, 1.0 - LEAST).ln()
}
