use std::collections::BTreeMap;
use std::fmt::Display;
use std::str::FromStr;

use ropewalk_types::{Alias, Digest, ModelName, RunId, Signature, Timestamp, Uri};
use serde::{Deserialize, Serialize};
use sqlx::Row;
use sqlx::any::AnyRow;

use crate::RegistryError;

/// What is to be registered.
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

/// One version of a registered model. All but `aliases` is fixed for ever.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelVersion {
    /// The registered model.
    pub name: ModelName,
    /// Counted from 1; a number is never used again.
    pub version: u64,
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
    /// The dataset version that it was trained on.
    pub dataset: Option<Uri>,
    /// For people.
    pub description: String,
    /// When it was registered.
    pub created_at: Timestamp,
    /// The aliases that point here, in order.
    pub aliases: Vec<Alias>,
}

impl ModelVersion {
    /// `models:/NAME/VERSION`.
    pub fn uri(&self) -> Uri {
        Uri::ModelVersion { name: self.name.clone(), version: self.version }
    }
}

/// A registered model.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RegisteredModel {
    /// Its name.
    pub name: ModelName,
    /// When its first version was registered.
    pub created_at: Timestamp,
    /// Its newest version.
    pub latest: ModelVersion,
    /// Each alias and the version that it points at.
    pub aliases: BTreeMap<Alias, u64>,
}

/// The columns that [`version_from`] reads, of `model_version`.
macro_rules! version_columns {
    () => {
        "model_version.model, model_version.version, model_version.run, model_version.artifact, \
         model_version.digest, model_version.size, model_version.signature, model_version.dataset, \
         model_version.description, model_version.created_at"
    };
}
pub(crate) use version_columns;

/// Reads a row of `model_version`; its aliases stand in another table.
pub(crate) fn version_from(row: &AnyRow) -> Result<ModelVersion, RegistryError> {
    let model: String = row.try_get("model")?;
    let text = |column: &str| row.try_get::<String, _>(column);
    let signature = text("signature")?;
    let signature = serde_json::from_str(&signature).map_err(|error| damaged(&model, "signature", &error))?;
    let dataset: Option<String> = row.try_get("dataset")?;
    Ok(ModelVersion {
        name: parsed(&model, "model", &model)?,
        version: counted(&model, "version", row.try_get("version")?)?,
        run: parsed(&model, "run", &text("run")?)?,
        artifact: text("artifact")?,
        digest: parsed(&model, "digest", &text("digest")?)?,
        size: counted(&model, "size", row.try_get("size")?)?,
        signature,
        dataset: dataset.map(|uri| parsed(&model, "dataset", &uri)).transpose()?,
        description: text("description")?,
        created_at: Timestamp(row.try_get("created_at")?),
        aliases: Vec::new(),
    })
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
