use ropewalk_catalog::CatalogError;
use ropewalk_store::StoreError;
use ropewalk_types::{Diagnose, ExperimentId, RunId};

use crate::filter::FilterError;
use crate::filter::token::TokenError;
use crate::{ArtifactPathError, CursorError, LoggedModelError, TraceError};

/// What went wrong in tracking.
#[derive(Debug, thiserror::Error)]
pub enum TrackingError {
    /// No experiment has this id.
    #[error("No Experiment with id={0} exists")]
    ExperimentAbsent(ExperimentId),
    /// No experiment has this name.
    #[error("Could not find experiment with name '{0}'")]
    ExperimentNameAbsent(String),
    /// The experiment was deleted: it can be read and restored, not written.
    #[error("The experiment {0} must be in the 'active' state. Current state is deleted.")]
    ExperimentDeleted(ExperimentId),
    /// The experiment was deleted and keeps its name.
    #[error("Cannot rename experiment {0}: it is deleted, not active")]
    ExperimentRenameDeleted(ExperimentId),
    /// The experiment has no such tag.
    #[error("No tag with name: {key} in experiment with id {experiment}")]
    ExperimentTagAbsent {
        /// The experiment.
        experiment: ExperimentId,
        /// The tag's key.
        key: String,
    },
    /// The name is taken.
    #[error("Experiment(name={0}) already exists.")]
    ExperimentExists(String),
    /// No run has this id.
    #[error("Run with id={0} not found")]
    RunAbsent(RunId),
    /// The run was deleted: it can be read and restored, not written.
    #[error("The run {0} must be in the 'active' state. Current state is deleted.")]
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
    #[error("No tag with name: {key} in run with id {run}")]
    TagAbsent {
        /// The run.
        run: RunId,
        /// The tag's key.
        key: String,
    },
    /// There is no such artifact.
    #[error("there is no artifact `{path}`")]
    ArtifactAbsent {
        /// Its whole path.
        path: String,
    },
    /// A folder has no bytes.
    #[error("artifact `{path}` is a folder, not a file")]
    ArtifactIsFolder {
        /// Its whole path.
        path: String,
    },
    /// A file lies where a folder is needed, or a folder where a file is.
    #[error("artifact `{path}` cannot be written: `{existing}` is a {kind}")]
    ArtifactInTheWay {
        /// The whole path that was to be written.
        path: String,
        /// The whole path that is in the way.
        existing: String,
        /// `file` or `folder`.
        kind: &'static str,
    },
    /// The store does not hold the artifact's bytes.
    #[error("artifact `{path}` cannot be recorded: the store does not hold {digest}")]
    ArtifactBytesAbsent {
        /// The artifact's path.
        path: String,
        /// The digest of the bytes.
        digest: ropewalk_types::Digest,
    },
    /// The experiment of the run has a place for artifacts that is not ours.
    #[error("the artifacts of run {run} lie at `{uri}`, which this server neither reads nor writes")]
    ArtifactsElsewhere {
        /// The run.
        run: RunId,
        /// Where they lie.
        uri: String,
    },
    /// The artifact's path breaks a rule.
    #[error(transparent)]
    ArtifactPath(#[from] ArtifactPathError),
    /// A param has a value already.
    #[error(
        "Changing param values is not allowed. Param with key='{key}' was already logged with value='{old}' \
         for run ID='{run}'. Attempted logging new value '{new}'."
    )]
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
    #[error("Duplicate parameter keys have been submitted: `{0}` is given more than once in one batch")]
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
    /// A text is longer than is taken.
    #[error("'{what}' exceeds the maximum length of {limit} characters")]
    TooLong {
        /// What is too long.
        what: &'static str,
        /// How many characters are taken.
        limit: usize,
    },
    /// A metric cannot be.
    #[error("Invalid value {at} for parameter 'timestamp' supplied: metric '{key}' needs milliseconds since 1970")]
    MetricTime {
        /// The metric's key.
        key: String,
        /// The timestamp.
        at: i64,
    },
    /// More in one batch than is taken.
    #[error("A batch logging request can contain at most {limit} {kind}. Got {count} {kind}.")]
    BatchTooLarge {
        /// What there is too much of.
        kind: &'static str,
        /// How many.
        count: usize,
        /// How many are taken.
        limit: usize,
    },
    /// More in one search than is taken.
    #[error("at most {limit} {kind} can be searched at once, not {count}")]
    SearchTooWide {
        /// What there is too much of.
        kind: &'static str,
        /// How many.
        count: usize,
        /// How many are taken.
        limit: usize,
    },
    /// It is about a logged model.
    #[error(transparent)]
    LoggedModel(#[from] LoggedModelError),
    /// A page token is not one of ours.
    #[error(transparent)]
    Cursor(#[from] CursorError),
    /// A filter or an order cannot be taken.
    #[error(transparent)]
    Filter(#[from] FilterError),
    /// A page token cannot be used here.
    #[error(transparent)]
    PageToken(#[from] TokenError),
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
    /// What is to be changed is in a state that does not allow it.
    State,
    /// The catalogue cannot be reached or is held by others; later it may be.
    Unavailable,
    /// There is no room for what was to be kept.
    DiskFull,
    /// The request may be right; we failed.
    Internal,
}

impl ErrorKind {
    /// Whose fault a failure of the catalogue is.
    pub fn of_catalog(error: &CatalogError) -> Self {
        match error.root() {
            CatalogError::Nul | CatalogError::Pattern(_) | CatalogError::Slow(_) => Self::Invalid,
            CatalogError::Locked(_) | CatalogError::CannotConnect(_) | CatalogError::Busy | CatalogError::Closed => {
                Self::Unavailable
            }
            CatalogError::DiskFull(_) => Self::DiskFull,
            _ => Self::Internal,
        }
    }

    /// Whose fault a failure of the store is.
    pub fn of_store(error: &StoreError) -> Self {
        if error.is_disk_full() { Self::DiskFull } else { Self::Internal }
    }
}

impl TrackingError {
    /// Whose fault it is.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::ExperimentAbsent(_)
            | Self::ExperimentNameAbsent(_)
            | Self::ExperimentTagAbsent { .. }
            | Self::RunAbsent(_)
            | Self::TagAbsent { .. }
            | Self::ArtifactAbsent { .. } => ErrorKind::Absent,
            Self::ExperimentExists(_) => ErrorKind::Exists,
            Self::ExperimentRenameDeleted(_) => ErrorKind::State,
            Self::Catalog(error) => ErrorKind::of_catalog(error),
            Self::Store(error) => ErrorKind::of_store(error),
            Self::Damaged { .. } | Self::ArtifactBytesAbsent { .. } => ErrorKind::Internal,
            Self::LoggedModel(error) => error.kind(),
            Self::Trace(error) => error.kind(),
            _ => ErrorKind::Invalid,
        }
    }
}

impl Diagnose for TrackingError {
    fn code(&self) -> &'static str {
        match self {
            Self::ExperimentAbsent(_) | Self::ExperimentNameAbsent(_) => "tracking.experiment_absent",
            Self::ExperimentExists(_) => "tracking.experiment_exists",
            Self::ExperimentDeleted(_) | Self::ExperimentRenameDeleted(_) => "tracking.experiment_deleted",
            Self::ExperimentTagAbsent { .. } => "tracking.experiment_tag_absent",
            Self::TooLong { .. } => "tracking.too_long",
            Self::RunAbsent(_) => "tracking.run_absent",
            Self::RunDeleted(_) => "tracking.run_deleted",
            Self::RunNameDiffers { .. } => "tracking.run_name_differs",
            Self::TagAbsent { .. } => "tracking.tag_absent",
            Self::ArtifactAbsent { .. } => "tracking.artifact_absent",
            Self::ArtifactIsFolder { .. } => "tracking.artifact_is_folder",
            Self::ArtifactInTheWay { .. } => "tracking.artifact_in_the_way",
            Self::ArtifactsElsewhere { .. } => "tracking.artifacts_elsewhere",
            Self::ArtifactBytesAbsent { .. } => "tracking.artifact_bytes_absent",
            Self::ArtifactPath(_) => "tracking.artifact_path",
            Self::ParamChanged { .. } => "tracking.param_changed",
            Self::ParamRepeated(_) => "tracking.param_repeated",
            Self::Name { .. } => "tracking.name",
            Self::MetricTime { .. } => "tracking.metric_time",
            Self::BatchTooLarge { .. } => "tracking.batch_too_large",
            Self::SearchTooWide { .. } => "tracking.search_too_wide",
            Self::LoggedModel(error) => error.code(),
            Self::Cursor(_) => "tracking.cursor",
            Self::Filter(_) => "tracking.filter",
            Self::PageToken(_) => "tracking.page_token",
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
            Self::ArtifactIsFolder { .. } => Some("list it, and name a file in it".to_owned()),
            Self::ArtifactsElsewhere { .. } => Some("use a client that can reach that place".to_owned()),
            Self::ExperimentDeleted(_) | Self::ExperimentRenameDeleted(_) => {
                Some("restore the experiment first".to_owned())
            }
            Self::BatchTooLarge { .. } => Some("split the batch".to_owned()),
            Self::Catalog(error) => error.hint(),
            Self::Store(error) => error.hint(),
            _ => None,
        }
    }
}
