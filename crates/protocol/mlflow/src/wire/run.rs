use ropewalk_tracking::{Metric, Run, RunInfo};
use ropewalk_types::Timestamp;
use serde::{Deserialize, Serialize};

use super::number::{Double, Int64};
use super::{KeyValueOut, pairs};
use crate::MlflowError;

/// `RunInfo`.
#[derive(Debug, Serialize)]
pub(crate) struct RunInfoOut<'a> {
    run_id: String,
    run_uuid: String,
    run_name: &'a str,
    experiment_id: String,
    user_id: &'a str,
    status: &'static str,
    start_time: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    end_time: Option<i64>,
    artifact_uri: String,
    lifecycle_stage: &'static str,
}

/// Where a run's artifacts are, for a client: proxied by this server.
pub(crate) fn artifact_uri(run: &RunInfo) -> String {
    format!("mlflow-artifacts:/{}/{}/artifacts", run.experiment, run.id)
}

impl<'a> From<&'a RunInfo> for RunInfoOut<'a> {
    fn from(run: &'a RunInfo) -> Self {
        Self {
            run_id: run.id.to_string(),
            run_uuid: run.id.to_string(),
            run_name: &run.name,
            experiment_id: run.experiment.to_string(),
            user_id: &run.user,
            status: run.status.as_str(),
            start_time: run.start.0,
            end_time: run.end.map(Timestamp::millis),
            artifact_uri: artifact_uri(run),
            lifecycle_stage: if run.deleted { "deleted" } else { "active" },
        }
    }
}

/// `Run`.
#[derive(Debug, Serialize)]
pub(crate) struct RunOut<'a> {
    info: RunInfoOut<'a>,
    data: RunDataOut<'a>,
}

#[derive(Debug, Serialize)]
struct RunDataOut<'a> {
    metrics: Vec<MetricOut<'a>>,
    params: Vec<KeyValueOut<'a>>,
    tags: Vec<KeyValueOut<'a>>,
}

impl<'a> From<&'a Run> for RunOut<'a> {
    fn from(run: &'a Run) -> Self {
        let metrics = run.metrics.iter().map(MetricOut::from).collect();
        let data = RunDataOut { metrics, params: pairs(&run.params), tags: pairs(&run.tags) };
        Self { info: (&run.info).into(), data }
    }
}

/// `Metric`.
#[derive(Debug, Serialize)]
pub(crate) struct MetricOut<'a> {
    key: &'a str,
    value: Double,
    timestamp: i64,
    step: i64,
}

impl<'a> From<&'a Metric> for MetricOut<'a> {
    fn from(metric: &'a Metric) -> Self {
        Self { key: &metric.key, value: Double(metric.value), timestamp: metric.at.0, step: metric.step }
    }
}

/// `Metric` on the way in, and the same fields of `LogMetric`.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct MetricIn {
    key: Option<String>,
    value: Option<Double>,
    timestamp: Option<Int64>,
    step: Option<Int64>,
    model_id: Option<String>,
    dataset_name: Option<String>,
    dataset_digest: Option<String>,
}

impl MetricIn {
    pub(crate) fn metric(self) -> Result<Metric, MlflowError> {
        for (parameter, value) in [
            ("model_id", &self.model_id),
            ("dataset_name", &self.dataset_name),
            ("dataset_digest", &self.dataset_digest),
        ] {
            if value.as_deref().is_some_and(|value| !value.is_empty()) {
                let what = "metrics of logged models and of datasets".to_owned();
                return Err(MlflowError::Unsupported { parameter, what });
            }
        }
        let key = self.key.ok_or(MlflowError::Missing("key"))?;
        let Double(value) = self.value.ok_or(MlflowError::Missing("value"))?;
        let Int64(at) = self.timestamp.ok_or(MlflowError::Missing("timestamp"))?;
        Ok(Metric { key, value, step: self.step.map_or(0, |step| step.0), at: Timestamp(at) })
    }
}
