use std::fmt;

use ropewalk_tracking::{DatasetInput, Metric, MetricSubject, ModelOutput, Run, RunInfo};
use ropewalk_types::{ExperimentId, RunId, Timestamp};
use serde::{Deserialize, Serialize, Serializer};

use super::number::{Double, Int64};
use super::{PairsOut, TagsOut, Text, lifecycle_stage};
use crate::MlflowError;

/// `RunInfo`.
#[derive(Debug, Serialize)]
pub(crate) struct RunInfoOut<'a> {
    run_id: RunId,
    run_uuid: RunId,
    run_name: &'a str,
    experiment_id: Text<ExperimentId>,
    user_id: &'a str,
    status: &'static str,
    start_time: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    end_time: Option<i64>,
    artifact_uri: Text<ArtifactUri<'a>>,
    lifecycle_stage: &'static str,
}

/// Where a run's artifacts are, for a client: proxied by this server, unless the experiment keeps them elsewhere.
#[derive(Debug)]
struct ArtifactUri<'a>(&'a RunInfo);

impl fmt::Display for ArtifactUri<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(run) = self;
        match &run.artifact_location {
            Some(location) => write!(f, "{}/{}/artifacts", location.trim_end_matches('/'), run.id),
            None => write!(f, "mlflow-artifacts:/{}/{}/artifacts", run.experiment, run.id),
        }
    }
}

/// The same as a text.
pub(crate) fn artifact_uri(run: &RunInfo) -> String {
    ArtifactUri(run).to_string()
}

impl<'a> From<&'a RunInfo> for RunInfoOut<'a> {
    fn from(run: &'a RunInfo) -> Self {
        Self {
            run_id: run.id,
            run_uuid: run.id,
            run_name: &run.name,
            experiment_id: Text(run.experiment),
            user_id: &run.user,
            status: run.status.as_str(),
            start_time: run.start.0,
            end_time: run.end.map(Timestamp::millis),
            artifact_uri: Text(ArtifactUri(run)),
            lifecycle_stage: lifecycle_stage(run.deleted),
        }
    }
}

/// `Run`. Borrows everything.
#[derive(Debug, Serialize)]
pub(crate) struct RunOut<'a> {
    info: RunInfoOut<'a>,
    data: RunDataOut<'a>,
    inputs: InputsOut<'a>,
    outputs: OutputsOut<'a>,
}

#[derive(Debug, Serialize)]
struct RunDataOut<'a> {
    metrics: MetricsOut<'a>,
    params: PairsOut<'a>,
    tags: PairsOut<'a>,
}

impl<'a> From<&'a Run> for RunOut<'a> {
    fn from(run: &'a Run) -> Self {
        Self {
            info: (&run.info).into(),
            data: RunDataOut {
                metrics: MetricsOut(&run.metrics),
                params: PairsOut(&run.params),
                tags: PairsOut(&run.tags),
            },
            inputs: InputsOut {
                dataset_inputs: DatasetsOut(&run.datasets),
                model_inputs: ModelsReadOut(&run.models_read),
            },
            outputs: OutputsOut { model_outputs: ModelsMadeOut(&run.models_made) },
        }
    }
}

/// Runs, written one after the other.
#[derive(Debug)]
pub(crate) struct RunsOut<'a>(pub(crate) &'a [Run]);

impl Serialize for RunsOut<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().map(RunOut::from))
    }
}

/// `RunInputs`.
#[derive(Debug, Serialize)]
struct InputsOut<'a> {
    #[serde(skip_serializing_if = "DatasetsOut::is_empty")]
    dataset_inputs: DatasetsOut<'a>,
    #[serde(skip_serializing_if = "ModelsReadOut::is_empty")]
    model_inputs: ModelsReadOut<'a>,
}

/// `RunOutputs`.
#[derive(Debug, Serialize)]
struct OutputsOut<'a> {
    #[serde(skip_serializing_if = "ModelsMadeOut::is_empty")]
    model_outputs: ModelsMadeOut<'a>,
}

#[derive(Debug)]
struct DatasetsOut<'a>(&'a [DatasetInput]);

#[derive(Debug)]
struct ModelsReadOut<'a>(&'a [String]);

#[derive(Debug)]
struct ModelsMadeOut<'a>(&'a [ModelOutput]);

impl DatasetsOut<'_> {
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl ModelsReadOut<'_> {
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl ModelsMadeOut<'_> {
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// `DatasetInput`.
#[derive(Debug, Serialize)]
struct DatasetInputOut<'a> {
    #[serde(skip_serializing_if = "TagsOut::is_empty")]
    tags: TagsOut<'a>,
    dataset: DatasetOut<'a>,
}

/// `Dataset`.
#[derive(Debug, Serialize)]
struct DatasetOut<'a> {
    name: &'a str,
    digest: &'a str,
    source_type: &'a str,
    source: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    schema: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    profile: Option<&'a str>,
}

/// `ModelInput`.
#[derive(Debug, Serialize)]
struct ModelInputOut<'a> {
    model_id: &'a str,
}

/// `ModelOutput`.
#[derive(Debug, Serialize)]
struct ModelOutputOut<'a> {
    model_id: &'a str,
    step: i64,
}

impl<'a> From<&'a DatasetInput> for DatasetInputOut<'a> {
    fn from(input: &'a DatasetInput) -> Self {
        let dataset = DatasetOut {
            name: &input.name,
            digest: &input.digest,
            source_type: &input.source_type,
            source: &input.source,
            schema: input.schema.as_deref(),
            profile: input.profile.as_deref(),
        };
        Self { tags: TagsOut(&input.tags), dataset }
    }
}

impl Serialize for DatasetsOut<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().map(DatasetInputOut::from))
    }
}

impl Serialize for ModelsReadOut<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().map(|model| ModelInputOut { model_id: model }))
    }
}

impl Serialize for ModelsMadeOut<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().map(|one| ModelOutputOut { model_id: &one.model, step: one.step }))
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

/// Points of metrics, written one after the other.
#[derive(Debug)]
pub(crate) struct MetricsOut<'a>(pub(crate) &'a [Metric]);

impl Serialize for MetricsOut<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().map(MetricOut::from))
    }
}

/// `Metric` on the way in.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct MetricIn {
    pub(crate) key: Option<String>,
    pub(crate) value: Option<Double>,
    pub(crate) timestamp: Option<Int64>,
    pub(crate) step: Option<Int64>,
    pub(crate) model_id: Option<String>,
    pub(crate) dataset_name: Option<String>,
    pub(crate) dataset_digest: Option<String>,
}

impl MetricIn {
    pub(crate) fn metric(self) -> Result<Metric, MlflowError> {
        let subject = self.subject()?;
        let key = self.key.filter(|key| !key.is_empty()).ok_or(MlflowError::Missing("key"))?;
        let Double(value) = self.value.ok_or(MlflowError::Missing("value"))?;
        let Int64(at) = self.timestamp.ok_or(MlflowError::Missing("timestamp"))?;
        let mut metric = Metric::new(key, value, self.step.map_or(0, |step| step.0), Timestamp(at));
        metric.subject = subject;
        Ok(metric)
    }

    /// One of a list; what it lacks is said with its place.
    pub(crate) fn metric_at(self, place: usize) -> Result<Metric, MlflowError> {
        self.metric().map_err(|error| match error {
            MlflowError::Missing(field) => MlflowError::MissingIn { list: "metrics", place, field },
            other => other,
        })
    }

    /// What the metric is about. A dataset is named by both its name and its digest, or not at all.
    fn subject(&self) -> Result<Option<Box<MetricSubject>>, MlflowError> {
        let given = |text: Option<&str>| text.filter(|text| !text.is_empty()).map(str::to_owned);
        let model = given(self.model_id.as_deref());
        let dataset = match (given(self.dataset_name.as_deref()), given(self.dataset_digest.as_deref())) {
            (Some(name), Some(digest)) => Some((name, digest)),
            (None, None) => None,
            (Some(_), None) => return Err(MlflowError::invalid("dataset_digest", &"a dataset_name needs one")),
            (None, Some(_)) => return Err(MlflowError::invalid("dataset_name", &"a dataset_digest needs one")),
        };
        Ok((model.is_some() || dataset.is_some()).then(|| Box::new(MetricSubject { model, dataset })))
    }
}
