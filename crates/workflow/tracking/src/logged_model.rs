//! Logged models: what MLflow 3 keeps of a model apart from the run that made it.

mod error;
mod id;
mod read;
mod search;
#[cfg(test)]
mod tests;
mod versions;
mod write;

use std::collections::BTreeMap;
use std::fmt;

use ropewalk_types::{ExperimentId, RunId, Timestamp};
use serde::Serialize;

pub use error::LoggedModelError;
pub use id::LoggedModelId;
pub use search::{DatasetChoice, LOGGED_MODELS, LoggedModelOrder, LoggedModelPage, LoggedModelSearch};
pub use versions::{MODEL_VERSIONS_TAG, logged_model_version_record};
pub use write::logged_model_put;
pub(crate) use write::metrics_write;

use crate::limits::{self, name_error};
use crate::run::name;
use crate::tracking::{reading, transaction};
use crate::{Param, Tag, Tracking, TrackingError};

/// Logged models in one page of a search unless said otherwise; MLflow's `SEARCH_LOGGED_MODEL_MAX_RESULTS_DEFAULT`.
pub const LOGGED_MODEL_PAGE: usize = 100;
/// Most logged models in one page of a search.
pub const LOGGED_MODEL_PAGE_MOST: usize = 10_000;
/// Longest key of a logged model's param or tag; the width of MLflow's column.
pub const LOGGED_MODEL_KEY_CHARACTERS: usize = 255;
/// Longest name and type of a logged model; the width of MLflow's columns.
pub const LOGGED_MODEL_NAME_CHARACTERS: usize = 500;

/// Longest part of a refused text that an error repeats.
const SHOWN_CHARACTERS: usize = 80;

/// How far a logged model is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum LoggedModelStatus {
    /// Its files are still being written.
    Pending,
    /// Its files are whole.
    Ready,
    /// Its files could not be written.
    Failed,
}

impl LoggedModelStatus {
    /// All, in MLflow's order: the first has the number 1.
    pub const ALL: [Self; 3] = [Self::Pending, Self::Ready, Self::Failed];

    /// The spelling used in the catalogue, in filters and in MLflow's Python.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "PENDING",
            Self::Ready => "READY",
            Self::Failed => "FAILED",
        }
    }

    /// The spelling on MLflow's wire (`LoggedModelStatus` of `service.proto`).
    pub const fn wire(self) -> &'static str {
        match self {
            Self::Pending => "LOGGED_MODEL_PENDING",
            Self::Ready => "LOGGED_MODEL_READY",
            Self::Failed => "LOGGED_MODEL_UPLOAD_FAILED",
        }
    }

    /// The status of this name in either spelling, or of this number.
    pub fn of(text: &str) -> Option<Self> {
        let number = |position: usize| (position + 1).to_string();
        let mut all = Self::ALL.into_iter().enumerate();
        let found = all.find(|(position, one)| one.as_str() == text || one.wire() == text || number(*position) == text);
        found.map(|(_, one)| one)
    }
}

impl fmt::Display for LoggedModelStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A model that was logged.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LoggedModel {
    /// Its id.
    pub id: LoggedModelId,
    /// The experiment that it belongs to.
    pub experiment: ExperimentId,
    /// Its name; several may have the same.
    pub name: String,
    /// What kind of model it is, in the client's words; empty if it was not said.
    pub model_type: String,
    /// The run that made it.
    pub source_run: Option<RunId>,
    /// Where its files are, as clients are told.
    pub artifact_uri: String,
    /// How far it is.
    pub status: LoggedModelStatus,
    /// Why it failed; empty if nothing was said.
    pub status_message: String,
    /// When it was created.
    pub created: Timestamp,
    /// When its status last changed.
    pub updated: Timestamp,
    /// Whether it was deleted: it is no longer found, but can be read by its id.
    pub deleted: bool,
    /// Its params, by key.
    pub params: BTreeMap<String, String>,
    /// Its tags, by key.
    pub tags: BTreeMap<String, String>,
    /// What was measured of it, by key, then time, then step.
    pub metrics: Vec<LoggedModelMetric>,
}

/// One point of a metric of a logged model.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LoggedModelMetric {
    /// The metric's key.
    pub key: String,
    /// Its value; NaN is kept.
    pub value: f64,
    /// Where in the run it stands.
    pub step: i64,
    /// When it was measured.
    pub at: Timestamp,
    /// The run that measured it.
    pub run: RunId,
    /// Name and digest of the dataset that it was measured on.
    pub dataset: Option<(String, String)>,
}

/// A logged model to create, in state PENDING.
#[derive(Clone, Debug)]
pub struct NewLoggedModel {
    /// The experiment that it belongs to.
    pub experiment: ExperimentId,
    /// Its name; without one it gets a name such as `tarred-hawser-417`.
    pub name: Option<String>,
    /// What kind of model it is; may be empty.
    pub model_type: String,
    /// The run that makes it. It need not be of this catalogue.
    pub source_run: Option<RunId>,
    /// Its first params, each key once.
    pub params: Vec<Param>,
    /// Its first tags; of two with one key the last counts.
    pub tags: Vec<Tag>,
}

impl NewLoggedModel {
    /// One without name, params and tags.
    pub fn new(experiment: ExperimentId) -> Self {
        Self {
            experiment,
            name: None,
            model_type: String::new(),
            source_run: None,
            params: Vec::new(),
            tags: Vec::new(),
        }
    }

    fn check(&self) -> Result<(), TrackingError> {
        if let Some(name) = &self.name {
            name_check(name)?;
        }
        if self.model_type.chars().count() > LOGGED_MODEL_NAME_CHARACTERS {
            let rule = format!("at most {LOGGED_MODEL_NAME_CHARACTERS} characters are allowed");
            return Err(name_error("type of a logged model", &self.model_type, &rule));
        }
        params_check(&self.params)?;
        tags_check(&self.tags)
    }
}

fn name_check(name: &str) -> Result<(), TrackingError> {
    let refuse = |rule: &str| Err(name_error("logged model's name", name, rule));
    if name.is_empty() || name.contains(['/', ':', '.', '%', '"', '\'']) {
        return refuse("it must not be empty nor hold `/`, `:`, `.`, `%` or quotes");
    }
    if name.chars().count() > LOGGED_MODEL_NAME_CHARACTERS {
        return refuse(&format!("at most {LOGGED_MODEL_NAME_CHARACTERS} characters are allowed"));
    }
    Ok(())
}

fn params_check(params: &[Param]) -> Result<(), TrackingError> {
    let mut keys: Vec<&str> = params.iter().map(|param| param.key.as_str()).collect();
    keys.iter().try_for_each(|key| key_check("param key", key))?;
    keys.sort_unstable();
    let repeated = keys.windows(2).find_map(|pair| match pair {
        [one, next] if one == next => Some(*one),
        _ => None,
    });
    match repeated {
        Some(key) => Err(TrackingError::ParamRepeated(key.to_owned())),
        None => Ok(()),
    }
}

fn tags_check(tags: &[Tag]) -> Result<(), TrackingError> {
    tags.iter().try_for_each(|tag| key_check("tag key", &tag.key))
}

/// MLflow takes any key here, since none becomes a path; what its own column cannot hold is refused.
fn key_check(kind: &'static str, key: &str) -> Result<(), TrackingError> {
    if key.is_empty() || key.contains('\0') {
        return Err(name_error(kind, key, "it must not be empty nor hold a NUL character"));
    }
    if key.chars().count() > LOGGED_MODEL_KEY_CHARACTERS {
        let rule = format!("at most {LOGGED_MODEL_KEY_CHARACTERS} characters are allowed");
        return Err(name_error(kind, key, &rule));
    }
    Ok(())
}

/// A text from outside as an error repeats it.
fn shown(text: &str) -> String {
    limits::cut(text, SHOWN_CHARACTERS).0.escape_debug().to_string()
}

impl Tracking {
    /// Creates a logged model, in state PENDING.
    pub async fn logged_model_create(&self, new: NewLoggedModel) -> Result<LoggedModel, TrackingError> {
        let id = LoggedModelId::new(&*self.ambient);
        let (drawn, at) = (name::from_id(RunId::new(&*self.ambient)), self.ambient.now());
        transaction!(self, |connection| write::create(connection, id, drawn, new, at))
    }

    /// A logged model and what was logged to it; a deleted one only if `deleted_too`.
    pub async fn logged_model_get(&self, id: LoggedModelId, deleted_too: bool) -> Result<LoggedModel, TrackingError> {
        reading!(self, |connection| read::get(connection, id, deleted_too))
    }

    /// At most `limit` logged models of all experiments, deleted ones too, in the order in which they came here,
    /// beginning after `after` if that is given: for an export.
    pub async fn logged_model_list(
        &self,
        after: Option<LoggedModelId>,
        limit: usize,
    ) -> Result<Vec<LoggedModel>, TrackingError> {
        reading!(self, |connection| read::list(connection, after, limit))
    }

    /// Says how far a logged model is.
    pub async fn logged_model_finalize(
        &self,
        id: LoggedModelId,
        status: LoggedModelStatus,
    ) -> Result<LoggedModel, TrackingError> {
        let at = self.ambient.now();
        transaction!(self, |connection| write::finalize(connection, id, status, at))
    }

    /// Marks a logged model as deleted: it is no longer found; its files stay.
    pub async fn logged_model_delete(&self, id: LoggedModelId) -> Result<(), TrackingError> {
        let at = self.ambient.now();
        transaction!(self, |connection| write::delete(connection, id, at))
    }

    /// Logs params of a logged model, all or none: the same value again is nothing, another is an error.
    pub async fn logged_model_params_log(&self, id: LoggedModelId, params: Vec<Param>) -> Result<(), TrackingError> {
        transaction!(self, |connection| write::params_log(connection, id, &params))
    }

    /// Sets tags of a logged model, in place of those that have their keys; of two with one key the last counts.
    pub async fn logged_model_tags_set(&self, id: LoggedModelId, tags: Vec<Tag>) -> Result<(), TrackingError> {
        transaction!(self, |connection| write::tags_set(connection, id, &tags))
    }

    /// Deletes a tag of a logged model.
    pub async fn logged_model_tag_delete(&self, id: LoggedModelId, key: &str) -> Result<(), TrackingError> {
        let key = key.to_owned();
        transaction!(self, |connection| write::tag_delete(connection, id, &key))
    }

    /// Notes in the logged model's tag [`MODEL_VERSIONS_TAG`] that it became a version of a registered model.
    pub async fn logged_model_version_record(
        &self,
        id: LoggedModelId,
        registered_model: &str,
        version: i64,
    ) -> Result<(), TrackingError> {
        let registered_model = registered_model.to_owned();
        transaction!(self, |connection| versions::logged_model_version_record(
            connection,
            id,
            &registered_model,
            version
        ))
    }

    /// A page of the logged models that are asked for.
    pub async fn logged_model_search(&self, search: LoggedModelSearch) -> Result<LoggedModelPage, TrackingError> {
        let question = search.parse()?;
        reading!(self, |connection| search::run(connection, &question))
    }
}
