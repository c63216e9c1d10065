//! Rows of models and versions, and what stands beside them in other tables.

use std::collections::BTreeMap;

use ropewalk_catalog::{CatalogError, Connection, FromRow, Query, Row, query};
use ropewalk_types::{Alias, ModelName, Timestamp};

use crate::model::{ModelContent, Tags, counted, damaged, parsed};
use crate::{ModelVersion, RegisteredModel, RegistryError};

/// Things that one statement asks for at most.
const CHUNK: usize = 100;

/// What [`VersionRow`] reads, of `model_version v JOIN registered_model m`.
macro_rules! version_columns {
    () => {
        "m.name, v.model, v.version, v.source, v.storage, v.run, v.run_link, v.logged_model, v.user_name, \
         v.description, v.stage, v.artifact, v.digest, v.size, v.signature, v.dataset, v.created_at, v.updated_at"
    };
}
/// Where [`version_columns`] stand.
macro_rules! version_tables {
    () => {
        " FROM model_version v JOIN registered_model m ON m.id = v.model "
    };
}
pub(crate) use {version_columns, version_tables};

/// As stored.
pub(crate) struct VersionRow {
    pub(crate) model: i64,
    pub(crate) number: i64,
    name: String,
    texts: [String; 3],
    optional: [Option<String>; 4],
    stage: String,
    content: Option<(String, String, i64, String)>,
    dataset: Option<String>,
    created_at: i64,
    updated_at: i64,
}

impl FromRow for VersionRow {
    fn from_row(row: &Row<'_>) -> Result<Self, CatalogError> {
        let digest: Option<String> = row.get(12)?;
        let content = match digest {
            Some(digest) => Some((row.get(11)?, digest, row.get(13)?, row.get(14)?)),
            None => None,
        };
        Ok(Self {
            name: row.get(0)?,
            model: row.get(1)?,
            number: row.get(2)?,
            texts: [row.get(3)?, row.get(4)?, row.get(6)?],
            optional: [row.get(5)?, row.get(7)?, row.get(8)?, row.get(9)?],
            stage: row.get(10)?,
            content,
            dataset: row.get(15)?,
            created_at: row.get(16)?,
            updated_at: row.get(17)?,
        })
    }
}

impl VersionRow {
    fn version(self, tags: Tags, aliases: Vec<Alias>) -> Result<ModelVersion, RegistryError> {
        let model = self.name.as_str();
        let content = match self.content {
            Some((artifact, digest, size, signature)) => Some(ModelContent {
                artifact,
                digest: parsed(model, "digest", &digest)?,
                size: counted(model, "size", size)?,
                signature: serde_json::from_str(&signature).map_err(|error| damaged(model, "signature", &error))?,
            }),
            None => None,
        };
        let [source, storage, run_link] = self.texts;
        let [run, logged_model, user, description] = self.optional;
        Ok(ModelVersion {
            name: parsed(model, "name", model)?,
            version: counted(model, "version", self.number)?,
            source,
            storage,
            run,
            run_link,
            logged_model,
            user,
            description,
            stage: parsed(model, "stage", &self.stage)?,
            tags,
            content,
            dataset: self.dataset.map(|uri| parsed(model, "dataset", &uri)).transpose()?,
            created_at: Timestamp(self.created_at),
            updated_at: Timestamp(self.updated_at),
            aliases,
        })
    }
}

/// Versions with their tags; with their aliases too where `aliases` holds those of their model.
pub(crate) async fn versions_from(
    connection: &mut Connection,
    rows: Vec<VersionRow>,
    aliases: Option<&BTreeMap<Alias, u64>>,
) -> Result<Vec<ModelVersion>, RegistryError> {
    let mut tags = version_tags(connection, &rows).await?;
    let mut versions = Vec::with_capacity(rows.len());
    for row in rows {
        let tags = tags.remove(&(row.model, row.number)).unwrap_or_default();
        let mut version = row.version(tags, Vec::new())?;
        let pointing = aliases.into_iter().flatten().filter(|(_, number)| **number == version.version);
        version.aliases = pointing.map(|(alias, _)| alias.clone()).collect();
        versions.push(version);
    }
    Ok(versions)
}

async fn version_tags(
    connection: &mut Connection,
    rows: &[VersionRow],
) -> Result<BTreeMap<(i64, i64), Tags>, RegistryError> {
    let mut tags: BTreeMap<(i64, i64), Tags> = BTreeMap::new();
    for chunk in rows.chunks(CHUNK) {
        let which: Vec<String> = (0..chunk.len())
            .map(|index| format!("(model = ${} AND version = ${})", 2 * index + 1, 2 * index + 2))
            .collect();
        let sql = format!("SELECT model, version, key, value FROM model_version_tag WHERE {}", which.join(" OR "));
        let mut statement = query(sql);
        for row in chunk {
            statement = statement.bind(row.model).bind(row.number);
        }
        let found: Vec<(i64, i64, String, String)> = statement.fetch_all(&mut *connection).await?;
        for (model, version, key, value) in found {
            tags.entry((model, version)).or_default().insert(key, value);
        }
    }
    Ok(tags)
}

/// As stored: id, name, description, created, updated.
pub(crate) type ModelRow = (i64, String, Option<String>, i64, i64);

/// What [`ModelRow`] reads, of `registered_model m`.
macro_rules! model_columns {
    () => {
        "m.id, m.name, m.description, m.created_at, m.updated_at"
    };
}
pub(crate) use model_columns;

/// Models with all that stands beside them, in the order of `rows`.
pub(crate) async fn models_from(
    connection: &mut Connection,
    rows: Vec<ModelRow>,
) -> Result<Vec<RegisteredModel>, RegistryError> {
    let mut models = Vec::with_capacity(rows.len());
    let mut rest = rows.into_iter();
    loop {
        let chunk: Vec<ModelRow> = rest.by_ref().take(CHUNK).collect();
        if chunk.is_empty() {
            return Ok(models);
        }
        models.extend(chunk_from(connection, chunk).await?);
    }
}

async fn chunk_from(connection: &mut Connection, rows: Vec<ModelRow>) -> Result<Vec<RegisteredModel>, RegistryError> {
    let ids: Vec<i64> = rows.iter().map(|row| row.0).collect();
    let mut tags: BTreeMap<i64, Tags> = BTreeMap::new();
    let sql = format!("SELECT model, key, value FROM registered_model_tag WHERE model IN {}", list(&ids));
    let found: Vec<(i64, String, String)> = bound(query(sql), &ids).fetch_all(&mut *connection).await?;
    for (model, key, value) in found {
        tags.entry(model).or_default().insert(key, value);
    }
    let mut aliases: BTreeMap<i64, Vec<(String, i64)>> = BTreeMap::new();
    let sql = format!("SELECT model, alias, version FROM model_alias WHERE model IN {}", list(&ids));
    let found: Vec<(i64, String, i64)> = bound(query(sql), &ids).fetch_all(&mut *connection).await?;
    for (model, alias, version) in found {
        aliases.entry(model).or_default().push((alias, version));
    }
    let mut latest = latest_by_model(connection, &ids).await?;
    let mut models = Vec::with_capacity(rows.len());
    for (id, name, description, created_at, updated_at) in rows {
        let pairs = aliases.remove(&id).unwrap_or_default();
        let aliases = aliases_from(&name, pairs)?;
        models.push(RegisteredModel {
            name: parsed(&name, "name", &name)?,
            description,
            tags: tags.remove(&id).unwrap_or_default(),
            created_at: Timestamp(created_at),
            updated_at: Timestamp(updated_at),
            latest: latest.remove(&id).unwrap_or_default(),
            aliases,
        });
    }
    Ok(models)
}

/// The newest version of each stage of each model, in the order of their numbers; without their aliases.
async fn latest_by_model(
    connection: &mut Connection,
    ids: &[i64],
) -> Result<BTreeMap<i64, Vec<ModelVersion>>, RegistryError> {
    let sql = format!(
        "SELECT {}{}JOIN (SELECT model, MAX(version) AS version FROM model_version WHERE model IN {}
                          GROUP BY model, stage) AS newest
         ON newest.model = v.model AND newest.version = v.version ORDER BY v.model, v.version",
        version_columns!(),
        version_tables!(),
        list(ids)
    );
    let rows: Vec<VersionRow> = bound(query(sql), ids).fetch_all(&mut *connection).await?;
    let models: Vec<i64> = rows.iter().map(|row| row.model).collect();
    let versions = versions_from(connection, rows, None).await?;
    let mut latest: BTreeMap<i64, Vec<ModelVersion>> = BTreeMap::new();
    for (model, version) in models.into_iter().zip(versions) {
        latest.entry(model).or_default().push(version);
    }
    Ok(latest)
}

/// `($1, $2)` for two.
fn list(ids: &[i64]) -> String {
    let places: Vec<String> = (1..=ids.len()).map(|number| format!("${number}")).collect();
    format!("({})", places.join(", "))
}

fn bound(statement: Query, ids: &[i64]) -> Query {
    ids.iter().fold(statement, |statement, id| statement.bind(*id))
}

/// The aliases of a model and where they point.
pub(crate) async fn aliases(
    connection: &mut Connection,
    model: i64,
    name: &ModelName,
) -> Result<BTreeMap<Alias, u64>, RegistryError> {
    let rows: Vec<(String, i64)> =
        query("SELECT alias, version FROM model_alias WHERE model = $1").bind(model).fetch_all(connection).await?;
    aliases_from(name.as_str(), rows)
}

fn aliases_from(name: &str, rows: Vec<(String, i64)>) -> Result<BTreeMap<Alias, u64>, RegistryError> {
    rows.into_iter()
        .map(|(alias, version)| Ok((parsed(name, "alias", &alias)?, counted(name, "alias", version)?)))
        .collect()
}
