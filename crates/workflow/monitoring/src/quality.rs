use std::collections::BTreeMap;

use chrono::{DateTime, Datelike};
use ropewalk_types::Timestamp;
use serde::{Deserialize, Serialize};

use crate::MonitoringError;

mod area;
mod measures;
mod verdict;

pub use area::{Auc, area_under_curve};
pub use measures::Measures;

/// One answered row: when, with what score, and the truth where it is known by now.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Observation {
    /// The time that decides on the period, UTC.
    pub at: Timestamp,
    /// The model's probability of the positive class, 0 to 1.
    pub score: f64,
    /// The truth; none while it has not come.
    pub label: Option<bool>,
}

/// The length of a period.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PeriodKind {
    /// A day, written `2013-10-31`.
    Day,
    /// A week of ISO 8601, written `2013-W44`.
    Week,
    /// A month, written `2013-10`.
    #[default]
    Month,
}

impl PeriodKind {
    /// The period of a moment (UTC), in a spelling that sorts by time; none for a moment beyond the calendar.
    pub fn period(self, at: Timestamp) -> Option<String> {
        let date = DateTime::from_timestamp_millis(at.millis())?.date_naive();
        Some(match self {
            Self::Day => date.format("%Y-%m-%d").to_string(),
            Self::Week => format!("{:04}-W{:02}", date.iso_week().year(), date.iso_week().week()),
            Self::Month => date.format("%Y-%m").to_string(),
        })
    }

    /// The word for one such period.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Day => "day",
            Self::Week => "week",
            Self::Month => "month",
        }
    }
}

/// What was measured when the model was trained, on rows that it had not seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TrainingMetrics {
    /// Area under the ROC curve.
    pub auc: Option<f64>,
    /// Log loss.
    pub log_loss: Option<f64>,
    /// Accuracy at a threshold of 0.5.
    pub accuracy: Option<f64>,
    /// Share of positive labels.
    pub positive_rate: Option<f64>,
}

/// When the model is worse than it was.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct QualitySettings {
    /// The length of the periods.
    pub period: PeriodKind,
    /// The model is degraded when the whole confidence interval of its AUC lies below the training's by more than this.
    pub auc_tolerance: f64,
    /// The model is degraded when its mean score is off the positive rate by this or more, and not by chance.
    pub calibration_tolerance: f64,
    /// Fewer labelled rows than this are measured but not judged.
    pub minimum_labelled: u64,
}

impl Default for QualitySettings {
    fn default() -> Self {
        Self { period: PeriodKind::Month, auc_tolerance: 0.01, calibration_tolerance: 0.05, minimum_labelled: 100 }
    }
}

impl QualitySettings {
    /// Whether every number is in its range.
    pub fn check(&self) -> Result<(), MonitoringError> {
        let shares = [("auc_tolerance", self.auc_tolerance), ("calibration_tolerance", self.calibration_tolerance)];
        for (setting, value) in shares {
            if !(0.0..=1.0).contains(&value) {
                let (setting, rule) = (setting.to_owned(), "use a number from 0 to 1");
                return Err(MonitoringError::Setting { setting, value: value.to_string(), rule });
            }
        }
        Ok(())
    }
}

/// The judgement on a model's quality.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum QualityStatus {
    /// As good as at training, as far as the rows can tell.
    Held,
    /// Worse than at training.
    Degraded,
    /// Too few labels, or nothing to compare with.
    Unknown,
}

impl QualityStatus {
    /// The judgement as it is written in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Held => "held",
            Self::Degraded => "degraded",
            Self::Unknown => "unknown",
        }
    }
}

/// One period.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PeriodQuality {
    /// The period, such as `2013-10`.
    pub period: String,
    /// What was measured.
    pub measures: Measures,
    /// The judgement on this period alone.
    pub status: QualityStatus,
}

/// A model's quality where the truth is known, by period.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Quality {
    /// The judgement on all rows, or `degraded` where the last judged period is.
    pub status: QualityStatus,
    /// Why, as sentences without a full stop.
    pub reasons: Vec<String>,
    /// All rows together.
    pub overall: Measures,
    /// By period, in order of time.
    pub periods: Vec<PeriodQuality>,
    /// Rows whose score is not a number from 0 to 1, or whose time is beyond the calendar; they take no part.
    pub refused: u64,
    /// What was measured at training.
    pub training: Option<TrainingMetrics>,
    /// The settings that were used.
    pub settings: QualitySettings,
}

/// Measures the model on `observations`, overall and by period, and judges it against `training`.
pub fn evaluate(
    observations: &[Observation],
    training: Option<TrainingMetrics>,
    settings: &QualitySettings,
) -> Result<Quality, MonitoringError> {
    settings.check()?;
    let mut by_period: BTreeMap<String, Vec<(f64, Option<bool>)>> = BTreeMap::new();
    let mut all = Vec::with_capacity(observations.len());
    let mut refused = 0;
    for observation in observations {
        match settings.period.period(observation.at) {
            Some(period) if (0.0..=1.0).contains(&observation.score) => {
                let row = (observation.score, observation.label);
                by_period.entry(period).or_default().push(row);
                all.push(row);
            }
            _ => refused += 1,
        }
    }
    let periods: Vec<PeriodQuality> = by_period
        .into_iter()
        .map(|(period, rows)| {
            let measures = Measures::of(&rows);
            let (status, _) = verdict::judge(&measures, training, settings);
            PeriodQuality { period, measures, status }
        })
        .collect();
    let overall = Measures::of(&all);
    let (status, reasons) = verdict::judge_all(&overall, &periods, training, settings);
    Ok(Quality { status, reasons, overall, periods, refused, training, settings: *settings })
}

#[cfg(test)]
mod tests;
