//! Registered models of another registry become ours, with the numbers that their versions have there.
//!
//! What is here already stays as it is, and no gate is asked: nothing is promoted, it stands where it stood.

use std::collections::BTreeMap;

use ropewalk_catalog::{Connection, Value, query, rows_insert};
use ropewalk_types::{ModelName, Timestamp};

use crate::registered::{model_find, model_insert};
use crate::{Registry, RegistryError};

/// What is here stays as it is.
const KEPT: &str = "ON CONFLICT DO NOTHING";

/// A registered model, or a prompt, of another registry.
#[derive(Clone, Debug)]
pub struct TakenModel {
    /// Its name.
    pub name: ModelName,
    /// What it is for.
    pub description: Option<String>,
    /// When it was created.
    pub created: Timestamp,
    /// When it was last changed.
    pub updated: Timestamp,
    /// Its tags.
    pub tags: BTreeMap<String, String>,
    /// Its versions, without those that were deleted.
    pub versions: Vec<TakenVersion>,
    /// The version of each alias.
    pub aliases: BTreeMap<String, u32>,
    /// The highest number that was ever given, also to a version that was deleted.
    pub last_version: u32,
}

/// A version of it.
#[derive(Clone, Debug)]
pub struct TakenVersion {
    /// Its number.
    pub version: u32,
    /// What it was registered from.
    pub source: String,
    /// Where its files are.
    pub storage: String,
    /// The run that made it.
    pub run: Option<String>,
    /// A link to that run, if it is elsewhere; may be empty.
    pub run_link: String,
    /// The logged model that it is.
    pub logged_model: Option<String>,
    /// Who registered it.
    pub user: Option<String>,
    /// What it is.
    pub description: Option<String>,
    /// Its stage, in MLflow's words.
    pub stage: String,
    /// When it was registered.
    pub created: Timestamp,
    /// When it was last changed.
    pub updated: Timestamp,
    /// Its tags.
    pub tags: BTreeMap<String, String>,
}

/// How much of a model was not here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TakenModelCount {
    /// Whether the model was not.
    pub model: bool,
    /// How many of its versions were not.
    pub versions: u64,
}

impl Registry {
    /// Takes a registered model over with all its versions.
    pub async fn model_take_over(&self, taken: TakenModel) -> Result<TakenModelCount, RegistryError> {
        let work = self.catalog.write(move |connection| Box::pin(async move { model(connection, &taken).await }));
        work.await
    }

    /// All registered models and prompts with all their versions, by name: for an export.
    pub async fn models_give(&self) -> Result<Vec<TakenModel>, RegistryError> {
        self.catalog.read(move |connection| Box::pin(async move { give(connection).await })).await
    }
}

async fn give(connection: &mut Connection) -> Result<Vec<TakenModel>, RegistryError> {
    type Row = (i64, String, Option<String>, i64, i64, i64);
    let select =
        "SELECT id, name, description, last_version, created_at, updated_at FROM registered_model ORDER BY name";
    let rows: Vec<Row> = query(select).fetch_all(connection).await?;
    let mut found = Vec::with_capacity(rows.len());
    for (id, name, description, last, created, updated) in rows {
        let tags = "SELECT key, value FROM registered_model_tag WHERE model = $1";
        let tags: Vec<(String, String)> = query(tags).bind(id).fetch_all(connection).await?;
        let aliases = "SELECT alias, version FROM model_alias WHERE model = $1";
        let aliases: Vec<(String, i64)> = query(aliases).bind(id).fetch_all(connection).await?;
        // A name that is kept keeps to the rules; one that does not could not be asked for either.
        let Ok(name) = ModelName::new(name) else { continue };
        found.push(TakenModel {
            name,
            description,
            created: Timestamp(created),
            updated: Timestamp(updated),
            tags: tags.into_iter().collect(),
            versions: versions_give(connection, id).await?,
            aliases: aliases.into_iter().map(|(alias, version)| (alias, small(version))).collect(),
            last_version: small(last),
        });
    }
    Ok(found)
}

fn small(number: i64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

async fn versions_give(connection: &mut Connection, model: i64) -> Result<Vec<TakenVersion>, RegistryError> {
    type Row =
        (i64, String, String, Option<String>, String, Option<String>, Option<String>, Option<String>, String, i64, i64);
    let select = "SELECT version, source, storage, run, run_link, logged_model, user_name, description, stage, \
                  created_at, updated_at FROM model_version WHERE model = $1 ORDER BY version";
    let rows: Vec<Row> = query(select).bind(model).fetch_all(connection).await?;
    let mut found = Vec::with_capacity(rows.len());
    for row in rows {
        let (number, source, storage, run, run_link, logged_model, user, description, stage, created, updated) = row;
        let tags = "SELECT key, value FROM model_version_tag WHERE model = $1 AND version = $2";
        let tags: Vec<(String, String)> = query(tags).bind(model).bind(number).fetch_all(connection).await?;
        found.push(TakenVersion {
            version: small(number),
            source,
            storage,
            run,
            run_link,
            logged_model,
            user,
            description,
            stage,
            created: Timestamp(created),
            updated: Timestamp(updated),
            tags: tags.into_iter().collect(),
        });
    }
    Ok(found)
}

async fn model(connection: &mut Connection, taken: &TakenModel) -> Result<TakenModelCount, RegistryError> {
    let found = model_find(connection, &taken.name).await?;
    let id = match found {
        Some(id) => id,
        None => model_insert(connection, &taken.name, taken.description.as_deref(), taken.created).await?,
    };
    let mut count = TakenModelCount { model: found.is_none(), versions: 0 };
    if count.model {
        let update = "UPDATE registered_model SET updated_at = $2 WHERE id = $1";
        query(update).bind(id).bind(taken.updated.millis()).execute(connection).await?;
    }
    let past = "UPDATE registered_model SET last_version = $2 WHERE id = $1 AND last_version < $2";
    query(past).bind(id).bind(i64::from(taken.last_version)).execute(connection).await?;
    let mut rows: Vec<[Value; 3]> = Vec::with_capacity(taken.tags.len());
    for (key, value) in &taken.tags {
        rows.push([id.into(), key.as_str().into(), value.as_str().into()]);
    }
    rows_insert(connection, "INSERT INTO registered_model_tag (model, key, value)", rows, KEPT).await?;
    for one in &taken.versions {
        count.versions += version(connection, id, one).await?;
    }
    for (alias, version) in &taken.aliases {
        let insert = "INSERT INTO model_alias (model, alias, version) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING";
        query(insert).bind(id).bind(alias.as_str()).bind(i64::from(*version)).execute(connection).await?;
    }
    Ok(count)
}

async fn version(connection: &mut Connection, model: i64, taken: &TakenVersion) -> Result<u64, RegistryError> {
    let insert = "INSERT INTO model_version (model, version, source, storage, run, run_link, logged_model, user_name, \
                  description, stage, created_at, updated_at) \
                  VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12) ON CONFLICT (model, version) DO NOTHING";
    let new = query(insert)
        .bind(model)
        .bind(i64::from(taken.version))
        .bind(taken.source.as_str())
        .bind(taken.storage.as_str())
        .bind(taken.run.as_deref())
        .bind(taken.run_link.as_str())
        .bind(taken.logged_model.as_deref())
        .bind(taken.user.as_deref())
        .bind(taken.description.as_deref())
        .bind(taken.stage.as_str())
        .bind(taken.created.millis())
        .bind(taken.updated.millis())
        .execute(connection)
        .await?;
    let mut rows: Vec<[Value; 4]> = Vec::with_capacity(taken.tags.len());
    for (key, value) in &taken.tags {
        rows.push([model.into(), i64::from(taken.version).into(), key.as_str().into(), value.as_str().into()]);
    }
    rows_insert(connection, "INSERT INTO model_version_tag (model, version, key, value)", rows, KEPT).await?;
    Ok(new)
}
