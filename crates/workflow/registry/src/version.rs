use std::collections::BTreeMap;

use ropewalk_lineage::{Link, Relation, link};
use ropewalk_types::{Alias, ModelName, Timestamp, Uri};
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, Row};

use crate::model::{counted, damaged, parsed, stored, version_columns, version_from};
use crate::{ModelVersion, NewVersion, RegisteredModel, RegistryError};

/// Registers a version, in the caller's transaction, and links `models:/N/V` to `runs:/RUN/ARTIFACT`.
///
/// The same model, run and digest give the version that is there already, unchanged: a stage that is run again
/// makes no second one.
pub async fn version_register(
    connection: &mut AnyConnection,
    new: &NewVersion,
    at: Timestamp,
) -> Result<ModelVersion, RegistryError> {
    artifact_check(&new.artifact)?;
    if let Some(there) = version_find(connection, new).await? {
        return Ok(there);
    }
    let version = number_next(connection, &new.name, at).await?;
    version_insert(connection, new, version, at).await?;
    let link_to_run = Link {
        child: Uri::ModelVersion { name: new.name.clone(), version: version.unsigned_abs() },
        parent: Uri::Run { run: new.run, path: new.artifact.clone() },
        relation: Relation::Registered,
    };
    link(connection, &[link_to_run], at).await?;
    version_get(connection, &new.name, version.unsigned_abs()).await
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

async fn version_find(connection: &mut AnyConnection, new: &NewVersion) -> Result<Option<ModelVersion>, RegistryError> {
    let sql = "SELECT version FROM model_version WHERE model = $1 AND run = $2 AND digest = $3";
    let found: Option<i64> = sqlx::query_scalar(sql)
        .bind(new.name.as_str())
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

async fn number_next(connection: &mut AnyConnection, name: &ModelName, at: Timestamp) -> Result<i64, RegistryError> {
    let sql = "INSERT INTO registered_model (name, last_version, created_at) VALUES ($1, 1, $2)
               ON CONFLICT (name) DO UPDATE SET last_version = registered_model.last_version + 1
               RETURNING last_version";
    Ok(sqlx::query_scalar(sql).bind(name.as_str()).bind(at.millis()).fetch_one(connection).await?)
}

async fn version_insert(
    connection: &mut AnyConnection,
    new: &NewVersion,
    version: i64,
    at: Timestamp,
) -> Result<(), RegistryError> {
    let signature =
        serde_json::to_string(&new.signature).map_err(|error| damaged(new.name.as_str(), "signature", &error))?;
    sqlx::query(
        "INSERT INTO model_version
         (model, version, run, artifact, digest, size, signature, dataset, description, created_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
    )
    .bind(new.name.as_str())
    .bind(version)
    .bind(new.run.to_string())
    .bind(new.artifact.as_str())
    .bind(new.digest.to_string())
    .bind(stored("the size", new.size)?)
    .bind(signature)
    .bind(new.dataset.as_ref().map(Uri::to_string))
    .bind(new.description.as_str())
    .bind(at.millis())
    .execute(connection)
    .await?;
    Ok(())
}

/// One version. Errors: [`RegistryError::ModelUnknown`], [`RegistryError::VersionUnknown`].
pub async fn version_get(
    connection: &mut AnyConnection,
    name: &ModelName,
    version: u64,
) -> Result<ModelVersion, RegistryError> {
    let sql = concat!("SELECT ", version_columns!(), " FROM model_version WHERE model = $1 AND version = $2");
    // A number that the catalogue cannot hold was never given.
    let number = i64::try_from(version).unwrap_or(i64::MAX);
    let row = sqlx::query(sql).bind(name.as_str()).bind(number).fetch_optional(&mut *connection).await?;
    let Some(row) = row else {
        let latest = latest(connection, name).await?;
        return Err(RegistryError::VersionUnknown { name: name.clone(), version, latest });
    };
    let mut found = version_from(&row)?;
    let aliases = aliases(connection, name).await?;
    found.aliases = aliases.into_iter().filter(|(_, at)| *at == version).map(|(alias, _)| alias).collect();
    Ok(found)
}

/// The number of the newest version; an error if there is no such model.
async fn latest(connection: &mut AnyConnection, name: &ModelName) -> Result<u64, RegistryError> {
    let sql = "SELECT MAX(version) AS latest FROM model_version WHERE model = $1";
    let latest: Option<i64> = sqlx::query_scalar(sql).bind(name.as_str()).fetch_one(&mut *connection).await?;
    match latest {
        Some(latest) => counted(name.as_str(), "version", latest),
        None => Err(model_unknown(connection, name).await?),
    }
}

async fn model_unknown(connection: &mut AnyConnection, name: &ModelName) -> Result<RegistryError, RegistryError> {
    let rows: Vec<String> =
        sqlx::query_scalar("SELECT name FROM registered_model ORDER BY name").fetch_all(connection).await?;
    let mut known: Vec<ModelName> = rows.iter().map(|text| parsed(text, "name", text)).collect::<Result<_, _>>()?;
    let similarity = |one: &ModelName| strsim::jaro_winkler(name.as_str(), one.as_str());
    known.sort_by(|left, right| similarity(right).total_cmp(&similarity(left)));
    Ok(RegistryError::ModelUnknown { name: name.clone(), known })
}

async fn aliases(connection: &mut AnyConnection, name: &ModelName) -> Result<BTreeMap<Alias, u64>, RegistryError> {
    let rows: Vec<(String, i64)> = sqlx::query_as("SELECT alias, version FROM model_alias WHERE model = $1")
        .bind(name.as_str())
        .fetch_all(connection)
        .await?;
    let model = name.as_str();
    rows.into_iter()
        .map(|(alias, version)| Ok((parsed(model, "alias", &alias)?, counted(model, "alias", version)?)))
        .collect()
}

/// All versions of a model, newest first. Errors: [`RegistryError::ModelUnknown`].
pub async fn version_list(
    connection: &mut AnyConnection,
    name: &ModelName,
) -> Result<Vec<ModelVersion>, RegistryError> {
    let sql = concat!("SELECT ", version_columns!(), " FROM model_version WHERE model = $1 ORDER BY version DESC");
    let rows = sqlx::query(sql).bind(name.as_str()).fetch_all(&mut *connection).await?;
    if rows.is_empty() {
        return Err(model_unknown(connection, name).await?);
    }
    let mut versions: Vec<ModelVersion> = rows.iter().map(version_from).collect::<Result<_, _>>()?;
    for (alias, number) in aliases(connection, name).await? {
        if let Some(version) = versions.iter_mut().find(|version| version.version == number) {
            version.aliases.push(alias);
        }
    }
    Ok(versions)
}

/// All registered models by name, each with its newest version and its aliases.
pub async fn model_list(connection: &mut AnyConnection) -> Result<Vec<RegisteredModel>, RegistryError> {
    let sql = concat!(
        "SELECT registered_model.created_at AS model_created_at, ",
        version_columns!(),
        " FROM registered_model JOIN model_version ON model_version.model = registered_model.name
          WHERE model_version.version =
              (SELECT MAX(other.version) FROM model_version AS other WHERE other.model = registered_model.name)
          ORDER BY registered_model.name"
    );
    let rows = sqlx::query(sql).fetch_all(&mut *connection).await?;
    let mut aliases = aliases_by_model(connection).await?;
    rows.iter().map(|row| model_from(row, &mut aliases)).collect()
}

type AliasesByModel = BTreeMap<String, BTreeMap<Alias, u64>>;

async fn aliases_by_model(connection: &mut AnyConnection) -> Result<AliasesByModel, RegistryError> {
    let rows: Vec<(String, String, i64)> =
        sqlx::query_as("SELECT model, alias, version FROM model_alias").fetch_all(connection).await?;
    let mut models = AliasesByModel::new();
    for (model, alias, version) in rows {
        let (alias, version) = (parsed(&model, "alias", &alias)?, counted(&model, "alias", version)?);
        models.entry(model).or_default().insert(alias, version);
    }
    Ok(models)
}

fn model_from(row: &AnyRow, aliases: &mut AliasesByModel) -> Result<RegisteredModel, RegistryError> {
    let mut latest = version_from(row)?;
    let aliases = aliases.remove(latest.name.as_str()).unwrap_or_default();
    latest.aliases = aliases.iter().filter(|(_, at)| **at == latest.version).map(|(alias, _)| alias.clone()).collect();
    let created_at = Timestamp(row.try_get("model_created_at")?);
    Ok(RegisteredModel { name: latest.name.clone(), created_at, latest, aliases })
}

/// The version that an alias points at; none when the model or the alias is not there.
pub async fn alias_get(
    connection: &mut AnyConnection,
    name: &ModelName,
    alias: &Alias,
) -> Result<Option<ModelVersion>, RegistryError> {
    let version: Option<i64> = sqlx::query_scalar("SELECT version FROM model_alias WHERE model = $1 AND alias = $2")
        .bind(name.as_str())
        .bind(alias.as_str())
        .fetch_optional(&mut *connection)
        .await?;
    match version {
        Some(version) => version_get(connection, name, counted(name.as_str(), "alias", version)?).await.map(Some),
        None => Ok(None),
    }
}

/// The version that a `models:` URI names.
///
/// Errors: [`RegistryError::NotAModel`] for another kind of URI; else what is unknown, with what was perhaps meant.
pub async fn resolve(connection: &mut AnyConnection, uri: &Uri) -> Result<ModelVersion, RegistryError> {
    match uri {
        Uri::ModelVersion { name, version } => version_get(connection, name, *version).await,
        Uri::ModelAlias { name, alias } => {
            if let Some(version) = alias_get(connection, name, alias).await? {
                return Ok(version);
            }
            // First the error that the model itself is unknown.
            latest(connection, name).await?;
            let known = aliases(connection, name).await?.into_keys().collect();
            Err(RegistryError::AliasUnknown { name: name.clone(), alias: alias.clone(), known })
        }
        other => Err(RegistryError::NotAModel(other.clone())),
    }
}

#[cfg(test)]
mod tests;
