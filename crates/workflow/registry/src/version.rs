use std::collections::BTreeMap;

use ropewalk_catalog::{Connection, query};
use ropewalk_lineage::{Link, Relation, link};
use ropewalk_tracking::transaction::logged_model_version_record;
use ropewalk_types::{Alias, ModelName, Timestamp, Uri};

use crate::declared::gate_list;
use crate::limits::{tag_check, tags_check};
use crate::model::{counted, damaged, stored};
use crate::promotion::standing;
use crate::registered::{model_find, model_id, model_insert};
use crate::rows::{VersionRow, aliases, version_columns, version_tables, versions_from};
use crate::source::origin;
use crate::{DeclaredGate, ModelVersion, NewVersion, RegistryError, SourcedVersion, Stage};

/// Registers what a stage made, in the caller's transaction, and links `models:/N/V` to `runs:/RUN/ARTIFACT`.
///
/// The same model, run and digest give the version that is there already, unchanged: a stage that is run again
/// makes no second one.
pub async fn version_register(
    connection: &mut Connection,
    new: &NewVersion,
    at: Timestamp,
) -> Result<ModelVersion, RegistryError> {
    artifact_check(&new.artifact)?;
    let size = stored("the size", new.size)?;
    let model = match model_find(connection, &new.name).await? {
        Some(model) => model,
        None => model_insert(connection, &new.name, None, at).await?,
    };
    if let Some(there) = version_find(connection, model, new).await? {
        return Ok(there);
    }
    let version = number_next(connection, model, at).await?;
    let signature =
        serde_json::to_string(&new.signature).map_err(|error| damaged(new.name.as_str(), "signature", &error))?;
    let source = Uri::Run { run: new.run, path: new.artifact.clone() };
    query(
        "INSERT INTO model_version (model, version, source, storage, run, run_link, description, stage,
                                    artifact, digest, size, signature, dataset, created_at, updated_at)
         VALUES ($1, $2, $3, $3, $4, '', $5, 'None', $6, $7, $8, $9, $10, $11, $11)",
    )
    .bind(model)
    .bind(version)
    .bind(source.to_string())
    .bind(new.run.to_string())
    .bind(new.description.as_str())
    .bind(new.artifact.as_str())
    .bind(new.digest.to_string())
    .bind(size)
    .bind(signature)
    .bind(new.dataset.as_ref().map(Uri::to_string))
    .bind(at.millis())
    .execute(&mut *connection)
    .await?;
    registered(connection, &new.name, version, source, at).await
}

/// Registers what a client names by its source, in the caller's transaction; see [`SourcedVersion`].
///
/// The source must lie where its run or its logged model keeps its files. Where it is known what it came from, that
/// is linked in lineage; a logged model is told that it became a version.
///
/// Errors: [`RegistryError::ModelUnknown`], [`RegistryError::Source`], a tag that cannot be one.
pub async fn version_create(
    connection: &mut Connection,
    new: &SourcedVersion,
    at: Timestamp,
) -> Result<ModelVersion, RegistryError> {
    tags_check(&new.tags)?;
    let origin = origin(connection, new).await?;
    let model = model_id(connection, &new.name).await?;
    let version = number_next(connection, model, at).await?;
    query(
        "INSERT INTO model_version (model, version, source, storage, run, run_link, logged_model, user_name,
                                    description, stage, created_at, updated_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, 'None', $10, $10)",
    )
    .bind(model)
    .bind(version)
    .bind(origin.source.as_str())
    .bind(origin.storage.as_str())
    .bind(origin.run.as_deref())
    .bind(new.run_link.as_str())
    .bind(origin.logged_model.as_deref())
    .bind(new.user.as_deref())
    .bind(new.description.as_deref())
    .bind(at.millis())
    .execute(&mut *connection)
    .await?;
    for (key, value) in &new.tags {
        tag_write(connection, model, version, key, value).await?;
    }
    if let Some(Ok(id)) = origin.logged_model.as_deref().map(str::parse) {
        logged_model_version_record(connection, id, new.name.as_str(), version).await?;
    }
    if let Some(parent) = origin.parent {
        return registered(connection, &new.name, version, parent, at).await;
    }
    version_get(connection, &new.name, version.unsigned_abs()).await
}

/// Links a new version to what it was registered from, and reads it.
async fn registered(
    connection: &mut Connection,
    name: &ModelName,
    version: i64,
    parent: Uri,
    at: Timestamp,
) -> Result<ModelVersion, RegistryError> {
    let version = version.unsigned_abs();
    let child = Uri::ModelVersion { name: name.clone(), version };
    link(connection, &[Link { child, parent, relation: Relation::Registered }], at).await?;
    version_get(connection, name, version).await
}

/// The path becomes part of a URI and is looked up in a store: it must have one spelling and stay inside the run.
fn artifact_check(path: &str) -> Result<(), RegistryError> {
    let refuse = |reason| Err(RegistryError::Artifact { path: path.to_owned(), reason });
    if path.is_empty() {
        return refuse("it is empty");
    }
    if path.chars().any(char::is_control) {
        return refuse("it has control characters");
    }
    if path.split('/').any(|part| matches!(part, "" | "." | "..")) {
        return refuse("each part must be a name");
    }
    Ok(())
}

async fn version_find(
    connection: &mut Connection,
    model: i64,
    new: &NewVersion,
) -> Result<Option<ModelVersion>, RegistryError> {
    let sql = "SELECT version FROM model_version WHERE model = $1 AND run = $2 AND digest = $3";
    let found: Option<i64> = query(sql)
        .bind(model)
        .bind(new.run.to_string())
        .bind(new.digest.to_string())
        .fetch_optional(&mut *connection)
        .await?;
    match found {
        Some(version) => {
            let version = counted(new.name.as_str(), "version", version)?;
            version_get(connection, &new.name, version).await.map(Some)
        }
        None => Ok(None),
    }
}

async fn number_next(connection: &mut Connection, model: i64, at: Timestamp) -> Result<i64, RegistryError> {
    let sql = "UPDATE registered_model SET last_version = last_version + 1, updated_at = $2 WHERE id = $1
               RETURNING last_version";
    Ok(query(sql).bind(model).bind(at.millis()).fetch_one(connection).await?)
}

/// One version. Errors: [`RegistryError::ModelUnknown`], [`RegistryError::VersionUnknown`].
pub async fn version_get(
    connection: &mut Connection,
    name: &ModelName,
    version: u64,
) -> Result<ModelVersion, RegistryError> {
    let model = model_id(connection, name).await?;
    match version_read(connection, model, name, version).await? {
        Some(found) => Ok(found),
        None => Err(version_unknown(connection, model, name, version).await?),
    }
}

/// One version of a model that is there, if it is there.
pub(crate) async fn version_read(
    connection: &mut Connection,
    model: i64,
    name: &ModelName,
    version: u64,
) -> Result<Option<ModelVersion>, RegistryError> {
    let sql = concat!("SELECT ", version_columns!(), version_tables!(), "WHERE v.model = $1 AND v.version = $2");
    // A number that the catalogue cannot hold was never given.
    let number = i64::try_from(version).unwrap_or(i64::MAX);
    let rows: Vec<VersionRow> = query(sql).bind(model).bind(number).fetch_all(&mut *connection).await?;
    let aliases = aliases(connection, model, name).await?;
    Ok(versions_from(connection, rows, Some(&aliases)).await?.pop())
}

async fn version_unknown(
    connection: &mut Connection,
    model: i64,
    name: &ModelName,
    version: u64,
) -> Result<RegistryError, RegistryError> {
    let sql = "SELECT MAX(version) FROM model_version WHERE model = $1";
    let latest: Option<i64> = query(sql).bind(model).fetch_one(connection).await?;
    let latest = counted(name.as_str(), "version", latest.unwrap_or(0))?;
    Ok(RegistryError::VersionUnknown { name: name.clone(), version, latest })
}

/// The numbers by which the tables know a version. Errors: [`RegistryError::ModelUnknown`],
/// [`RegistryError::VersionUnknown`].
pub(crate) async fn version_key(
    connection: &mut Connection,
    name: &ModelName,
    version: u64,
) -> Result<(i64, i64), RegistryError> {
    let model = model_id(connection, name).await?;
    let number = i64::try_from(version).unwrap_or(i64::MAX);
    let sql = "SELECT version FROM model_version WHERE model = $1 AND version = $2";
    let found: Option<i64> = query(sql).bind(model).bind(number).fetch_optional(&mut *connection).await?;
    match found {
        Some(number) => Ok((model, number)),
        None => Err(version_unknown(connection, model, name, version).await?),
    }
}

/// All versions of a model, newest first. Errors: [`RegistryError::ModelUnknown`].
pub async fn version_list(connection: &mut Connection, name: &ModelName) -> Result<Vec<ModelVersion>, RegistryError> {
    let model = model_id(connection, name).await?;
    let sql = concat!("SELECT ", version_columns!(), version_tables!(), "WHERE v.model = $1 ORDER BY v.version DESC");
    let rows: Vec<VersionRow> = query(sql).bind(model).fetch_all(&mut *connection).await?;
    let aliases = aliases(connection, model, name).await?;
    versions_from(connection, rows, Some(&aliases)).await
}

/// The newest version of each of these stages, or of each stage if none is named, in the order of their numbers.
///
/// Errors: [`RegistryError::ModelUnknown`].
pub async fn version_latest(
    connection: &mut Connection,
    name: &ModelName,
    stages: &[Stage],
) -> Result<Vec<ModelVersion>, RegistryError> {
    let model = model_id(connection, name).await?;
    let sql = concat!(
        "SELECT ",
        version_columns!(),
        version_tables!(),
        "JOIN (SELECT MAX(version) AS version FROM model_version WHERE model = $1 GROUP BY stage) AS newest
           ON newest.version = v.version WHERE v.model = $1 ORDER BY v.version"
    );
    let rows: Vec<VersionRow> = query(sql).bind(model).fetch_all(&mut *connection).await?;
    let aliases: BTreeMap<Alias, u64> = aliases(connection, model, name).await?;
    let mut versions = versions_from(connection, rows, Some(&aliases)).await?;
    versions.retain(|version| stages.is_empty() || stages.contains(&version.stage));
    Ok(versions)
}

/// Describes a version anew; none takes the description away. Errors: as [`version_get`].
pub async fn version_update(
    connection: &mut Connection,
    name: &ModelName,
    version: u64,
    description: Option<&str>,
    at: Timestamp,
) -> Result<ModelVersion, RegistryError> {
    let (model, number) = version_key(connection, name, version).await?;
    query("UPDATE model_version SET description = $3, updated_at = $4 WHERE model = $1 AND version = $2")
        .bind(model)
        .bind(number)
        .bind(description)
        .bind(at.millis())
        .execute(&mut *connection)
        .await?;
    version_get(connection, name, version).await
}

/// Deletes a version and the aliases that point at it; its number is not used again, the history and lineage stay.
///
/// Errors: as [`version_get`]; [`RegistryError::Guarded`] for one with which a gate compares.
pub async fn version_delete(
    connection: &mut Connection,
    name: &ModelName,
    version: u64,
    at: Timestamp,
) -> Result<(), RegistryError> {
    let (model, number) = version_key(connection, name, version).await?;
    for DeclaredGate { target, .. } in gate_list(connection, name, false).await? {
        // Without it the next one would have nobody to be worse than.
        if standing(connection, model, name, &target).await? == Some(version) {
            return Err(RegistryError::Guarded {
                what: format!("models:/{name}/{version}"),
                name: name.clone(),
                target,
            });
        }
    }
    for sql in [
        "DELETE FROM model_alias WHERE model = $1 AND version = $2",
        "DELETE FROM model_version_tag WHERE model = $1 AND version = $2",
        "DELETE FROM model_approval WHERE model = $1 AND version = $2",
        "DELETE FROM model_version WHERE model = $1 AND version = $2",
    ] {
        query(sql).bind(model).bind(number).execute(&mut *connection).await?;
    }
    let touched = "UPDATE registered_model SET updated_at = $2 WHERE id = $1";
    query(touched).bind(model).bind(at.millis()).execute(connection).await?;
    Ok(())
}

async fn tag_write(
    connection: &mut Connection,
    model: i64,
    version: i64,
    key: &str,
    value: &str,
) -> Result<(), RegistryError> {
    query(
        "INSERT INTO model_version_tag (model, version, key, value) VALUES ($1, $2, $3, $4)
         ON CONFLICT (model, version, key) DO UPDATE SET value = excluded.value",
    )
    .bind(model)
    .bind(version)
    .bind(key)
    .bind(value)
    .execute(connection)
    .await?;
    Ok(())
}

/// Sets a tag of a version. Errors: as [`version_get`], a key or value that cannot be one.
pub async fn version_tag_set(
    connection: &mut Connection,
    name: &ModelName,
    version: u64,
    key: &str,
    value: &str,
) -> Result<(), RegistryError> {
    tag_check(key, value)?;
    let (model, number) = version_key(connection, name, version).await?;
    tag_write(connection, model, number, key, value).await
}

/// Takes a tag of a version away; one that is not there is fine. Errors: as [`version_get`].
pub async fn version_tag_delete(
    connection: &mut Connection,
    name: &ModelName,
    version: u64,
    key: &str,
) -> Result<(), RegistryError> {
    tag_check(key, "")?;
    let (model, number) = version_key(connection, name, version).await?;
    let sql = "DELETE FROM model_version_tag WHERE model = $1 AND version = $2 AND key = $3";
    query(sql).bind(model).bind(number).bind(key).execute(connection).await?;
    Ok(())
}

#[cfg(test)]
mod tests;
