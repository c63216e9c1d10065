use chrono::{DateTime, SecondsFormat};
use ropewalk_types::{ModelName, Timestamp};
use serde::{Deserialize, Serialize};

use crate::{DriftReport, MonitoringError, Quality, QualityStatus};

mod distribution_chart;
mod format;
mod html;
mod quality_chart;
mod svg;
mod terminal;

/// The format of a report's JSON. Fields may be added to it; a change of meaning is a new format.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum ReportFormat {
    /// The first.
    #[default]
    #[serde(rename = "ropewalk.monitoring-report/1")]
    V1,
}

/// What live rows are compared with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReferenceTable {
    /// Its name for people, such as `data:features@3f2a` or `training rows`.
    pub name: String,
    /// Its rows.
    pub rows: u64,
}

/// The live rows that the report is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LiveWindow {
    /// Their number.
    pub rows: u64,
    /// The time of the first, where it is known.
    pub from: Option<Timestamp>,
    /// The time of the last.
    pub to: Option<Timestamp>,
}

/// How a served model is doing: drift of what it is asked, and quality where the truth is known.
///
/// As JSON it is the stable form: an object with `format`, the fields below in this order, times as milliseconds since
/// the Unix epoch, shares from 0 to 1, and `null` for what is not known. It holds all that the page draws, so that
/// [`Self::html`] of a report that was read back is the same page.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MonitoringReport {
    /// The format of the JSON.
    pub format: ReportFormat,
    /// The model.
    pub model: ModelName,
    /// Its version.
    pub version: u64,
    /// What live rows are compared with.
    pub reference: ReferenceTable,
    /// The live rows.
    pub live: LiveWindow,
    /// Drift by column.
    pub drift: DriftReport,
    /// Quality by period; none where no scores were handed in.
    pub quality: Option<Quality>,
    /// When the report was made.
    pub generated_at: Timestamp,
}

impl MonitoringReport {
    /// The report as JSON on one line.
    pub fn to_json(&self) -> Result<String, MonitoringError> {
        serde_json::to_string(self).map_err(|source| MonitoringError::Format { what: "monitoring report", source })
    }

    /// Reads a report from JSON.
    pub fn from_json(text: &str) -> Result<Self, MonitoringError> {
        serde_json::from_str(text).map_err(|source| MonitoringError::Format { what: "monitoring report", source })
    }

    /// The report as one HTML page that needs nothing else: no script, no font, no address. All foreign text is escaped.
    pub fn html(&self) -> String {
        html::page(self)
    }

    /// The report as text of at most 100 columns. Control characters in foreign text are replaced.
    pub fn terminal(&self) -> String {
        terminal::text(self)
    }

    /// The report in a sentence without a full stop.
    pub fn headline(&self) -> String {
        let drift = &self.drift;
        let of_columns = format!("{} of {} columns drifted", drift.drifted, drift.compared);
        let of_quality = match self.quality.as_ref().map(|quality| quality.status) {
            Some(QualityStatus::Held) => "quality held",
            Some(QualityStatus::Degraded) => "quality degraded",
            Some(QualityStatus::Unknown) => "quality not known",
            None => "quality not measured",
        };
        format!("{of_columns}; {of_quality}")
    }

    /// Live rows and their time in words.
    fn live_words(&self) -> String {
        let rows = format::count(self.live.rows);
        match (self.live.from, self.live.to) {
            (Some(from), Some(to)) => format!("{rows} rows, {} to {}", date(from), date(to)),
            (Some(from), None) => format!("{rows} rows since {}", date(from)),
            (None, Some(to)) => format!("{rows} rows until {}", date(to)),
            (None, None) => format!("{rows} rows"),
        }
    }
}

fn date(at: Timestamp) -> String {
    let known = DateTime::from_timestamp_millis(at.millis());
    known.map_or_else(|| format!("{} ms", at.millis()), |time| time.format("%Y-%m-%d").to_string())
}

fn moment(at: Timestamp) -> String {
    let known = DateTime::from_timestamp_millis(at.millis());
    known.map_or_else(|| format!("{} ms", at.millis()), |time| time.to_rfc3339_opts(SecondsFormat::Secs, true))
}

#[cfg(test)]
mod tests;
