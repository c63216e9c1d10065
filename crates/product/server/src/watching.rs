use std::collections::HashMap;

use ropewalk_config::Monitor;
use ropewalk_monitoring::{
    DriftSettings, LiveWindow, MonitoringReport, Observation, Profile, QualitySettings, TrainingMetrics, compare,
    evaluate,
};
use ropewalk_monitoring::{ReferenceTable, ReportFormat};
use ropewalk_predictions::PredictionFilter;
use ropewalk_registry::ModelVersion;
use ropewalk_types::{PredictionId, Timestamp};

use crate::{OpenProject, ServerError};

mod labels;
mod live;
mod reference;

use labels::Label;
use live::Live;

/// The column in which profiles hold the model's score.
const SCORE: &str = "prediction";

impl OpenProject {
    /// Compares what the model was asked and answered with what it was trained on, and with the labels that came later.
    ///
    /// # Errors
    /// There is no `[monitor]`, the model is not registered, or it has answered nothing yet.
    pub async fn monitor(&self) -> Result<MonitoringReport, ServerError> {
        let monitor = self.monitor_settings()?;
        let version = self.registry.resolve(&monitor.model).await?;
        let live = self.live(&version, &monitor.score).await?;
        let reference = self.reference(&version, &monitor.score).await?;
        let mut profile = Profile::new();
        for batch in &live.batches {
            profile.update(batch)?;
        }
        let settings = DriftSettings { prediction: Some(SCORE.to_owned()), ..DriftSettings::default() };
        let drift = compare(&reference.profile, &profile, &settings)?;
        let labels = self.labels(monitor).await?;
        let training = self.training_metrics(&version).await?;
        let quality = evaluate(&observations(&live, &labels), Some(training), &QualitySettings::default())?;
        Ok(MonitoringReport {
            format: ReportFormat::default(),
            model: version.name.clone(),
            version: version.version,
            reference: ReferenceTable { name: reference.name, rows: reference.profile.rows() },
            live: LiveWindow { rows: profile.rows(), from: live.from, to: live.to },
            drift,
            quality: Some(quality),
            generated_at: self.ambient.now(),
        })
    }

    /// How many answers the monitored model's version has in the log.
    pub async fn prediction_count(&self) -> Result<u64, ServerError> {
        let version = self.registry.resolve(&self.monitor_settings()?.model).await?;
        self.answer_count(&version).await
    }

    /// The first answer of the monitored model's version.
    pub async fn prediction_sample(&self) -> Result<PredictionId, ServerError> {
        let version = self.registry.resolve(&self.monitor_settings()?.model).await?;
        let model = Some((version.name.clone(), Some(version.version)));
        let filter = PredictionFilter { model, ..PredictionFilter::default() };
        let page = self.predictions().prediction_list(&filter, None, 1).await?;
        page.records.first().map(|record| record.prediction).ok_or_else(|| nothing_answered(&version))
    }

    fn monitor_settings(&self) -> Result<&Monitor, ServerError> {
        self.file.monitor.as_ref().ok_or_else(|| ServerError::Unknown {
            what: "the project file does not say what to monitor".to_owned(),
            hint: "write a [monitor] table: model, labels, key, target".to_owned(),
        })
    }

    /// The figures of the run on rows that it had not learnt from.
    async fn training_metrics(&self, version: &ModelVersion) -> Result<TrainingMetrics, ServerError> {
        let run = self.tracking.run_get(version.run_id()?).await?;
        let of = |key: &str| run.metric(key).map(|metric| metric.value);
        Ok(TrainingMetrics { auc: of("auc"), log_loss: of("log_loss"), accuracy: of("accuracy"), positive_rate: None })
    }
}

fn nothing_answered(version: &ModelVersion) -> ServerError {
    ServerError::Unknown {
        what: format!("{} has not answered anything yet", version.uri()),
        hint: "serve it and send requests first".to_owned(),
    }
}

/// Every answered row with its truth, where the truth is known by now.
fn observations(live: &Live, labels: &HashMap<String, Label>) -> Vec<Observation> {
    let observation = |row: &live::Row| {
        let label = row.request.as_ref().and_then(|request| labels.get(request));
        let at: Timestamp = label.and_then(|label| label.at).unwrap_or(row.at);
        Observation { at, score: row.score, label: label.and_then(|label| label.truth) }
    };
    live.rows.iter().map(observation).collect()
}
