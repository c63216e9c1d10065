use ropewalk_catalog::{Connection, query};
use ropewalk_types::{Alias, ModelName, Uri};

use crate::model::counted;
use crate::registered::{model_find, model_id};
use crate::rows::aliases;
use crate::version::{version_get, version_read};
use crate::{ModelVersion, RegistryError};

/// The version that an alias points at; none when the model or the alias is not there.
pub async fn alias_get(
    connection: &mut Connection,
    name: &ModelName,
    alias: &Alias,
) -> Result<Option<ModelVersion>, RegistryError> {
    let Some(model) = model_find(connection, name).await? else { return Ok(None) };
    match alias_points(connection, model, name, alias).await? {
        Some(version) => version_read(connection, model, name, version).await,
        None => Ok(None),
    }
}

/// The number of the version that an alias points at.
pub(crate) async fn alias_points(
    connection: &mut Connection,
    model: i64,
    name: &ModelName,
    alias: &Alias,
) -> Result<Option<u64>, RegistryError> {
    let sql = "SELECT version FROM model_alias WHERE model = $1 AND alias = $2";
    let version: Option<i64> = query(sql).bind(model).bind(alias.as_str()).fetch_optional(connection).await?;
    version.map(|version| counted(name.as_str(), "alias", version)).transpose()
}

/// The version that a `models:` URI names.
///
/// Errors: [`RegistryError::NotAModel`] for another kind of URI; else what is unknown, with what was perhaps meant.
pub async fn resolve(connection: &mut Connection, uri: &Uri) -> Result<ModelVersion, RegistryError> {
    match uri {
        Uri::ModelVersion { name, version } => version_get(connection, name, *version).await,
        Uri::ModelAlias { name, alias } => by_alias(connection, name, alias).await,
        other => Err(RegistryError::NotAModel(other.clone())),
    }
}

/// The version that an alias points at. Errors: [`RegistryError::ModelUnknown`], [`RegistryError::AliasUnknown`].
pub async fn by_alias(
    connection: &mut Connection,
    name: &ModelName,
    alias: &Alias,
) -> Result<ModelVersion, RegistryError> {
    let model = model_id(connection, name).await?;
    if let Some(version) = alias_points(connection, model, name, alias).await? {
        return version_get(connection, name, version).await;
    }
    let known = aliases(connection, model, name).await?.into_keys().collect();
    Err(RegistryError::AliasUnknown { name: name.clone(), alias: alias.clone(), known })
}
