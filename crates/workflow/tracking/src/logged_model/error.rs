use super::LoggedModelId;
use crate::ErrorKind;

/// What went wrong with a logged model.
#[derive(Debug, thiserror::Error)]
pub enum LoggedModelError {
    /// No logged model has this id, or it is deleted.
    #[error("there is no logged model {0}")]
    Absent(LoggedModelId),
    /// The text is not an id; nothing is named by it.
    #[error("there is no logged model `{0}`: its id is `m-` and 32 lower-case hexadecimal digits")]
    Id(String),
    /// The logged model has no such tag.
    #[error("logged model {model} has no tag `{key}`")]
    TagAbsent {
        /// The logged model.
        model: LoggedModelId,
        /// The tag's key.
        key: String,
    },
    /// A param has a value already.
    #[error(
        "param `{key}` of logged model {model} is `{}` and cannot become `{}`: params never change",
        .values.0, .values.1
    )]
    ParamChanged {
        /// The logged model.
        model: LoggedModelId,
        /// The param's key.
        key: String,
        /// The value that stands and the one that was refused, both shortened.
        values: Box<(String, String)>,
    },
    /// A metric is about a logged model that is not there.
    #[error("metric `{key}` is about the logged model `{model}`, which does not exist")]
    MetricModelAbsent {
        /// The metric's key.
        key: String,
        /// What should be the logged model's id.
        model: String,
    },
    /// A search cannot be ordered like that.
    #[error("logged models cannot be ordered by `{field}`: {reason}")]
    Order {
        /// The field as it was given, shortened.
        field: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A dataset of a search is not named.
    #[error("a dataset in a search for logged models has no name")]
    DatasetUnnamed,
    /// A filter compares the status with what is none.
    #[error("`{0}` is not the status of a logged model: use `PENDING`, `READY` or `FAILED`")]
    Status(String),
    /// The tag that lists the versions of a logged model holds something else.
    #[error("tag `mlflow.modelVersions` of logged model {0} is not a list of model versions")]
    VersionsTag(LoggedModelId),
}

impl LoggedModelError {
    /// Whose fault it is.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Absent(_) | Self::Id(_) | Self::TagAbsent { .. } => ErrorKind::Absent,
            _ => ErrorKind::Invalid,
        }
    }

    /// The stable code of [`Diagnose`](ropewalk_types::Diagnose).
    pub(crate) fn code(&self) -> &'static str {
        match self {
            Self::Absent(_) | Self::Id(_) => "tracking.logged_model_absent",
            Self::TagAbsent { .. } => "tracking.logged_model_tag_absent",
            Self::ParamChanged { .. } => "tracking.logged_model_param_changed",
            Self::MetricModelAbsent { .. } => "tracking.metric_model_absent",
            Self::Order { .. } => "tracking.logged_model_order",
            Self::DatasetUnnamed => "tracking.logged_model_dataset",
            Self::Status(_) => "tracking.logged_model_status",
            Self::VersionsTag(_) => "tracking.logged_model_versions_tag",
        }
    }
}
