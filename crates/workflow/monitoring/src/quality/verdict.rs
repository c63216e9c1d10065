use super::{Measures, PeriodQuality, QualitySettings, QualityStatus, TrainingMetrics};

/// A calibration gap is not chance from this z (one in a thousand, two-sided).
const CALIBRATION_Z: f64 = 3.29;

/// The judgement on some rows, with its reasons.
pub(super) fn judge(
    measures: &Measures,
    training: Option<TrainingMetrics>,
    settings: &QualitySettings,
) -> (QualityStatus, Vec<String>) {
    if measures.labelled < settings.minimum_labelled {
        let (labelled, needed) = (measures.labelled, settings.minimum_labelled);
        return (
            QualityStatus::Unknown,
            vec![format!("{labelled} labelled rows: at least {needed} are needed to judge")],
        );
    }
    let calibration = calibration(measures, settings);
    let (ranking, mut reasons) = ranking(measures, training.and_then(|training| training.auc), settings);
    let status = if calibration.is_some() { QualityStatus::Degraded } else { ranking };
    reasons.extend(calibration);
    (status, reasons)
}

/// The judgement on all rows; a degraded last period is not averaged away by the good ones before it.
pub(super) fn judge_all(
    overall: &Measures,
    periods: &[PeriodQuality],
    training: Option<TrainingMetrics>,
    settings: &QualitySettings,
) -> (QualityStatus, Vec<String>) {
    let (status, mut reasons) = judge(overall, training, settings);
    let judged = periods.iter().rev().find(|period| period.measures.labelled >= settings.minimum_labelled);
    match judged {
        Some(last) if status != QualityStatus::Degraded && last.status == QualityStatus::Degraded => {
            let (_, why) = judge(&last.measures, training, settings);
            reasons = why.into_iter().map(|why| format!("in {}: {why}", last.period)).collect();
            (QualityStatus::Degraded, reasons)
        }
        _ => (status, reasons),
    }
}

fn ranking(measures: &Measures, training: Option<f64>, settings: &QualitySettings) -> (QualityStatus, Vec<String>) {
    let (auc, trained) = match (measures.auc, training) {
        (Some(auc), Some(trained)) => (auc, trained),
        (None, _) => return (QualityStatus::Unknown, vec!["the labels are all of one class: no AUC".to_owned()]),
        (_, None) => return (QualityStatus::Unknown, vec!["no AUC from training to compare with".to_owned()]),
    };
    let (Some(low), Some(high)) = (auc.low, auc.high) else {
        return (
            QualityStatus::Unknown,
            vec!["a class has a single row: no confidence interval for the AUC".to_owned()],
        );
    };
    let tolerance = settings.auc_tolerance;
    let found = format!("AUC {:.3} (95 % interval {low:.3} to {high:.3})", auc.value);
    if high < trained - tolerance {
        (
            QualityStatus::Degraded,
            vec![format!("{found} is below the {trained:.3} of training by more than {tolerance}")],
        )
    } else {
        (
            QualityStatus::Held,
            vec![format!("{found} is not below the {trained:.3} of training by more than {tolerance}")],
        )
    }
}

fn calibration(measures: &Measures, settings: &QualitySettings) -> Option<String> {
    let (rate, score) = (measures.positive_rate?, measures.mean_score_labelled?);
    let off = (score - rate).abs() >= settings.calibration_tolerance && measures.calibration_z?.abs() >= CALIBRATION_Z;
    off.then(|| {
        format!("the mean score {score:.3} is off the positive rate {rate:.3}: the scores are no longer calibrated")
    })
}
