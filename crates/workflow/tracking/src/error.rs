use ropewalk_catalog::CatalogError;
use ropewalk_store::StoreError;
use ropewalk_types::{Diagnose, ExperimentId, RunId};

use crate::{ArtifactPathError, CursorError, TraceError};

/// What went wrong in tracking.
#[derive(Debug, thiserror::Error)]
pub enum TrackingError {
    /// No experiment has this id.
    #[error("there is no experiment {0}")]
    ExperimentAbsent(ExperimentId),
    /// No experiment has this name.
    #[error("there is no experiment named `{0}`")]
    ExperimentNameAbsent(String),
    /// The name is taken.
    #[error("an experiment named `{0}` exists already")]
    ExperimentExists(String),
    /// No run has this id.
    #[error("there is no run {0}")]
    RunAbsent(RunId),
    /// The run was deleted: it can be read and restored, not written.
    #[error("run {0} is deleted and cannot be written")]
    RunDeleted(RunId),
    /// The run's name was given twice, differently.
    #[error("the run is named `{name}`, but its tag `mlflow.runName` says `{tag}`")]
    RunNameDiffers {
        /// The name as such.
        name: String,
        /// The name in the tag.
        tag: String,
    },
    /// The run has no such tag.
    #[error("run {run} has no tag `{key}`")]
    TagAbsent {
        /// The run.
        run: RunId,
        /// The tag's key.
        key: String,
    },
    /// The run has no such artifact.
    #[error("run {run} has no artifact `{path}`")]
    ArtifactAbsent {
        /// The run.
        run: RunId,
        /// The artifact's path.
        path: String,
    },
    /// A file lies where a folder is needed, or a folder where a file is.
    #[error("artifact `{path}` of run {run} cannot be written: `{existing}` is a {kind}")]
    ArtifactInTheWay {
        /// The run.
        run: RunId,
        /// The path that was to be written.
        path: String,
        /// The path that is in the way.
        existing: String,
        /// `file` or `folder`.
        kind: &'static str,
    },
    /// The store does not hold the artifact's bytes.
    #[error("artifact `{path}` of run {run} cannot be recorded: the store does not hold {digest}")]
    ArtifactBytesAbsent {
        /// The run.
        run: RunId,
        /// The artifact's path.
        path: String,
        /// The digest of the bytes.
        digest: ropewalk_types::Digest,
    },
    /// The artifact's path breaks a rule.
    #[error(transparent)]
    ArtifactPath(#[from] ArtifactPathError),
    /// A param has a value already.
    #[error("param `{key}` of run {run} is `{old}` and cannot become `{new}`: params never change")]
    ParamChanged {
        /// The run.
        run: RunId,
        /// The param's key.
        key: String,
        /// The value that stands.
        old: String,
        /// The value that was refused.
        new: String,
    },
    /// One batch gives a param twice.
    #[error("param `{0}` is given more than once in one batch")]
    ParamRepeated(String),
    /// A name breaks a rule.
    #[error("`{name}` is not a {kind}: {rule}")]
    Name {
        /// What the name is of.
        kind: &'static str,
        /// The name, shortened.
        name: String,
        /// The rule.
        rule: String,
    },
    /// A metric cannot be.
    #[error("metric `{key}` has the timestamp {at}: milliseconds since 1970, not negative, are expected")]
    MetricTime {
        /// The metric's key.
        key: String,
        /// The timestamp.
        at: i64,
    },
    /// More in one batch than is taken.
    #[error("the batch holds {count} {kind}: at most {limit} are taken at once")]
    BatchTooLarge {
        /// What there is too much of.
        kind: &'static str,
        /// How many.
        count: usize,
        /// How many are taken.
        limit: usize,
    },
    /// A page token is not one of ours.
    #[error(transparent)]
    Cursor(#[from] CursorError),
    /// The catalogue holds what this version cannot have written.
    #[error("table {table} holds `{value}`, which is not a {expected}")]
    Damaged {
        /// The table.
        table: &'static str,
        /// What it holds.
        value: String,
        /// What was expected.
        expected: &'static str,
    },
    /// Something with a trace.
    #[error(transparent)]
    Trace(#[from] TraceError),
    /// The catalogue failed.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Whose fault an error is, for a protocol to choose its status by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// What was asked for does not exist.
    Absent,
    /// What was to be created exists.
    Exists,
    /// The request breaks a rule.
    Invalid,
    /// The request may be right; we failed.
    Internal,
}

impl TrackingError {
    /// Whose fault it is.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::ExperimentAbsent(_)
            | Self::ExperimentNameAbsent(_)
            | Self::RunAbsent(_)
            | Self::TagAbsent { .. }
            | Self::ArtifactAbsent { .. } => ErrorKind::Absent,
            Self::ExperimentExists(_) => ErrorKind::Exists,
            Self::Damaged { .. } | Self::Catalog(_) | Self::Store(_) | Self::ArtifactBytesAbsent { .. } => {
                ErrorKind::Internal
            }
            Self::Trace(error) => error.kind(),
            _ => ErrorKind::Invalid,
        }
    }
}

impl From<sqlx::Error> for TrackingError {
    fn from(error: sqlx::Error) -> Self {
        Self::Catalog(error.into())
    }
}

impl Diagnose for TrackingError {
    fn code(&self) -> &'static str {
        match self {
            Self::ExperimentAbsent(_) | Self::ExperimentNameAbsent(_) => "tracking.experiment_absent",
            Self::ExperimentExists(_) => "tracking.experiment_exists",
            Self::RunAbsent(_) => "tracking.run_absent",
            Self::RunDeleted(_) => "tracking.run_deleted",
            Self::RunNameDiffers { .. } => "tracking.run_name_differs",
            Self::TagAbsent { .. } => "tracking.tag_absent",
            Self::ArtifactAbsent { .. } => "tracking.artifact_absent",
            Self::ArtifactInTheWay { .. } => "tracking.artifact_in_the_way",
            Self::ArtifactBytesAbsent { .. } => "tracking.artifact_bytes_absent",
            Self::ArtifactPath(_) => "tracking.artifact_path",
            Self::ParamChanged { .. } => "tracking.param_changed",
            Self::ParamRepeated(_) => "tracking.param_repeated",
            Self::Name { .. } => "tracking.name",
            Self::MetricTime { .. } => "tracking.metric_time",
            Self::BatchTooLarge { .. } => "tracking.batch_too_large",
            Self::Cursor(_) => "tracking.cursor",
            Self::Damaged { .. } => "tracking.damaged",
            Self::Trace(error) => error.code(),
            Self::Catalog(error) => error.code(),
            Self::Store(error) => error.code(),
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::ParamChanged { .. } => {
                Some("log the other value in a run of its own, a nested one if they belong together".to_owned())
            }
            Self::RunDeleted(_) => Some("restore the run first".to_owned()),
            Self::BatchTooLarge { .. } => Some("split the batch".to_owned()),
            Self::Catalog(error) => error.hint(),
            Self::Store(error) => error.hint(),
            _ => None,
        }
    }
}
