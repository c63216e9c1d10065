use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::MonitoringError;
use crate::profile::ColumnKind;

/// When a difference is drift.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DriftSettings {
    /// Wasserstein's distance in standard deviations of the reference, from which a numeric column drifted.
    pub numeric_threshold: f64,
    /// Jensen-Shannon distance, from which a categorical column drifted.
    pub categorical_threshold: f64,
    /// Difference between the shares of missing values, from which it can be drift.
    pub missing_effect: f64,
    /// z from which such a difference is not chance; 3.29 is one in a thousand (two-sided).
    pub missing_z: f64,
    /// Fewer rows than this on a side are not tested.
    pub minimum_rows: u64,
    /// Share of drifted columns from which the table as a whole drifted.
    pub dataset_share: f64,
    /// The column of the model's answers, reported apart from its inputs.
    pub prediction: Option<String>,
    /// Exceptions by column.
    pub columns: BTreeMap<String, ColumnSettings>,
}

/// What is different for one column.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ColumnSettings {
    /// Its threshold, in place of its kind's.
    pub threshold: Option<f64>,
}

impl Default for DriftSettings {
    fn default() -> Self {
        Self {
            numeric_threshold: 0.1,
            categorical_threshold: 0.1,
            missing_effect: 0.02,
            missing_z: 3.29,
            minimum_rows: 100,
            dataset_share: 0.5,
            prediction: None,
            columns: BTreeMap::new(),
        }
    }
}

impl DriftSettings {
    /// The threshold of a column.
    pub fn threshold(&self, column: &str, kind: ColumnKind) -> f64 {
        let of_kind = match kind {
            ColumnKind::Categorical => self.categorical_threshold,
            ColumnKind::Numeric | ColumnKind::Other => self.numeric_threshold,
        };
        self.columns.get(column).and_then(|own| own.threshold).unwrap_or(of_kind)
    }

    /// Whether every number is in its range.
    pub fn check(&self) -> Result<(), MonitoringError> {
        let own =
            self.columns.iter().filter_map(|(name, own)| Some((format!("columns.{name}.threshold"), own.threshold?)));
        let thresholds = [
            ("numeric_threshold", self.numeric_threshold),
            ("categorical_threshold", self.categorical_threshold),
            ("missing_z", self.missing_z),
        ];
        for (setting, value) in thresholds.map(|(name, value)| (name.to_owned(), value)).into_iter().chain(own) {
            if !(value.is_finite() && value > 0.0) {
                let rule = "use a number greater than 0";
                return Err(MonitoringError::Setting { setting, value: value.to_string(), rule });
            }
        }
        for (setting, value) in [("missing_effect", self.missing_effect), ("dataset_share", self.dataset_share)] {
            if !(0.0..=1.0).contains(&value) {
                let (setting, rule) = (setting.to_owned(), "use a share from 0 to 1");
                return Err(MonitoringError::Setting { setting, value: value.to_string(), rule });
            }
        }
        Ok(())
    }
}
