use serde::{Deserialize, Serialize};

/// Half the width of a 95 % interval, in standard errors: `scipy.stats.norm.ppf(0.975)`.
const NINETY_FIVE: f64 = 1.959_963_984_540_054;

/// The area under the ROC curve with its 95 % confidence interval.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Auc {
    /// The share of pairs of a positive and a negative row in which the positive has the higher score; ties count half.
    pub value: f64,
    /// Lower end of the interval; none with fewer than two rows of a class.
    pub low: Option<f64>,
    /// Upper end of the interval.
    pub high: Option<f64>,
}

/// Rows with one and the same score.
struct Tie {
    positives: f64,
    negatives: f64,
}

/// The AUC of pairs of score and label; none where a class is missing or a score is NaN.
///
/// The interval is DeLong's: DeLong, DeLong and Clarke-Pearson, "Comparing the areas under two or more correlated
/// receiver operating characteristic curves" (1988), computed from ranks in `n log n` steps as in Sun and Xu, "Fast
/// implementation of DeLong's algorithm" (2014), and cut to 0..1.
pub fn area_under_curve(rows: &[(f64, bool)]) -> Option<Auc> {
    if rows.iter().any(|(score, _)| score.is_nan()) {
        return None;
    }
    let ties = ties(rows);
    let positives: f64 = ties.iter().map(|tie| tie.positives).sum();
    let negatives: f64 = ties.iter().map(|tie| tie.negatives).sum();
    if positives < 1.0 || negatives < 1.0 {
        return None;
    }
    // For each positive row the share of negatives below it, for each negative row the share of positives above it.
    let mut of_positives = Vec::with_capacity(ties.len());
    let mut of_negatives = Vec::with_capacity(ties.len());
    let (mut positives_below, mut negatives_below) = (0.0, 0.0);
    for tie in &ties {
        of_positives.push(((negatives_below + tie.negatives / 2.0) / negatives, tie.positives));
        let above = positives - positives_below - tie.positives;
        of_negatives.push(((above + tie.positives / 2.0) / positives, tie.negatives));
        positives_below += tie.positives;
        negatives_below += tie.negatives;
    }
    let value = of_positives.iter().map(|(share, weight)| share * weight).sum::<f64>() / positives;
    let error = variance(&of_positives, value, positives)
        .zip(variance(&of_negatives, value, negatives))
        .map(|(left, right)| (left / positives + right / negatives).sqrt());
    let end = |sign: f64| error.map(|error| (value + sign * NINETY_FIVE * error).clamp(0.0, 1.0));
    Some(Auc { value, low: end(-1.0), high: end(1.0) })
}

/// Rows by ascending score, those of one score together.
fn ties(rows: &[(f64, bool)]) -> Vec<Tie> {
    let mut sorted: Vec<(f64, bool)> = rows.iter().map(|&(score, label)| (score + 0.0, label)).collect();
    sorted.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
    sorted
        .chunk_by(|a, b| a.0.total_cmp(&b.0).is_eq())
        .map(|tie| {
            let positives = tie.iter().filter(|(_, label)| *label).count();
            Tie { positives: positives as f64, negatives: (tie.len() - positives) as f64 }
        })
        .collect()
}

/// Sample variance of weighted values; none for fewer than two rows.
fn variance(values: &[(f64, f64)], mean: f64, rows: f64) -> Option<f64> {
    let squares: f64 = values.iter().map(|(value, weight)| weight * (value - mean) * (value - mean)).sum();
    (rows >= 2.0).then(|| squares / (rows - 1.0))
}
