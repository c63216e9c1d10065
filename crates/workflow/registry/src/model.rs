use std::collections::BTreeMap;
use std::fmt::Display;
use std::str::FromStr;

use ropewalk_types::{Alias, Digest, ModelName, RunId, Signature, Timestamp, Uri};
use serde::{Deserialize, Serialize};

use crate::{RegistryError, Stage};

/// The tag by which MLflow tells a prompt from a registered model (`mlflow/prompt/constants.py`).
pub const PROMPT_TAG: &str = "mlflow.prompt.is_prompt";

/// Tags by key.
pub type Tags = BTreeMap<String, String>;

/// What a stage registers: a model whose bytes are in the store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewVersion {
    /// The registered model; made with its first version.
    pub name: ModelName,
    /// The run that made the model.
    pub run: RunId,
    /// The model's path inside the run's artifacts.
    pub artifact: String,
    /// The digest of the model's bytes.
    pub digest: Digest,
    /// The model's bytes, counted.
    pub size: u64,
    /// What the model takes and gives.
    pub signature: Signature,
    /// The dataset version that it was trained on: the reference for monitoring.
    pub dataset: Option<Uri>,
    /// For people.
    pub description: String,
}

/// What a client registers: a place where a model lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourcedVersion {
    /// The registered model, which must be there.
    pub name: ModelName,
    /// `runs:/RUN/PATH`, `models:/m-ID`, `models:/NAME/VERSION`, `mlflow-artifacts:/…`, `s3://…`.
    pub source: String,
    /// The run that made the model, as the client names it.
    pub run: Option<String>,
    /// The logged model that is registered.
    pub logged_model: Option<String>,
    /// Where a person can look at the run.
    pub run_link: String,
    /// For people.
    pub description: Option<String>,
    /// Of two with one key the last one counts.
    pub tags: Vec<(String, String)>,
    /// Who registers it, where that is known.
    pub user: Option<String>,
}

/// What is known of a version whose bytes are in the store: those that a stage registered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelContent {
    /// The model's path inside the run's artifacts.
    pub artifact: String,
    /// The digest of the model's bytes.
    pub digest: Digest,
    /// The model's bytes, counted.
    pub size: u64,
    /// What the model takes and gives.
    pub signature: Signature,
}

/// One version of a registered model. Where it came from is fixed for ever.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelVersion {
    /// The registered model.
    pub name: ModelName,
    /// Counted from 1; a number is never used again.
    pub version: u64,
    /// Where it came from, as it was registered.
    pub source: String,
    /// Where a client finds its files.
    pub storage: String,
    /// The run that made the model, as it was named.
    pub run: Option<String>,
    /// Where a person can look at the run; may be empty.
    pub run_link: String,
    /// The logged model that it was registered from.
    pub logged_model: Option<String>,
    /// Who registered it, where that is known.
    pub user: Option<String>,
    /// For people.
    pub description: Option<String>,
    /// Its stage.
    pub stage: Stage,
    /// Its tags.
    pub tags: Tags,
    /// Its bytes, where they are in the store.
    #[serde(flatten)]
    pub content: Option<ModelContent>,
    /// The dataset version that it was trained on.
    pub dataset: Option<Uri>,
    /// When it was registered.
    pub created_at: Timestamp,
    /// When something of it changed last.
    pub updated_at: Timestamp,
    /// The aliases that point here, in order; empty in what a search finds.
    pub aliases: Vec<Alias>,
}

impl ModelVersion {
    /// `models:/NAME/VERSION`.
    pub fn uri(&self) -> Uri {
        Uri::ModelVersion { name: self.name.clone(), version: self.version }
    }

    /// Its bytes. Errors: [`RegistryError::Unknown`] for a version that no stage registered.
    pub fn content(&self) -> Result<&ModelContent, RegistryError> {
        self.content.as_ref().ok_or_else(|| self.unknown("content"))
    }

    /// The run that made it. Errors: [`RegistryError::Unknown`] where no run of ours was named.
    pub fn run_id(&self) -> Result<RunId, RegistryError> {
        self.run.as_deref().and_then(|run| run.parse().ok()).ok_or_else(|| self.unknown("run"))
    }

    fn unknown(&self, what: &'static str) -> RegistryError {
        RegistryError::Unknown { what, name: self.name.clone(), version: self.version }
    }
}

/// A registered model.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RegisteredModel {
    /// Its name.
    pub name: ModelName,
    /// For people.
    pub description: Option<String>,
    /// Its tags.
    pub tags: Tags,
    /// When it was registered.
    pub created_at: Timestamp,
    /// When it was changed last, or got a version.
    pub updated_at: Timestamp,
    /// The newest version of each stage, in the order of their numbers; without their aliases.
    pub latest: Vec<ModelVersion>,
    /// Each alias and the version that it points at.
    pub aliases: BTreeMap<Alias, u64>,
}

impl RegisteredModel {
    /// Its newest version, if it has one.
    pub fn newest(&self) -> Option<&ModelVersion> {
        self.latest.last()
    }

    /// Whether MLflow keeps a prompt in it.
    pub fn is_prompt(&self) -> bool {
        says_prompt(self.tags.get(PROMPT_TAG).map(String::as_str))
    }
}

/// Whether this value of [`PROMPT_TAG`] makes a prompt.
pub(crate) fn says_prompt(value: Option<&str>) -> bool {
    value.is_some_and(|value| value.eq_ignore_ascii_case("true"))
}

pub(crate) fn parsed<T: FromStr<Err: Display>>(model: &str, column: &str, text: &str) -> Result<T, RegistryError> {
    text.parse().map_err(|error: T::Err| damaged(model, column, &error))
}

pub(crate) fn counted(model: &str, column: &str, value: i64) -> Result<u64, RegistryError> {
    u64::try_from(value).map_err(|_| damaged(model, column, &format!("{value} is negative")))
}

pub(crate) fn damaged(model: &str, column: &str, reason: &dyn Display) -> RegistryError {
    RegistryError::Damaged { model: model.to_owned(), reason: format!("{column}: {reason}") }
}

/// For the catalogue, whose whole numbers are signed.
pub(crate) fn stored(what: &'static str, value: u64) -> Result<i64, RegistryError> {
    i64::try_from(value).map_err(|_| RegistryError::TooLarge { what, value })
}
