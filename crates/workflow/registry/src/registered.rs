use ropewalk_catalog::{Connection, query};
use ropewalk_lineage::{Link, Relation, link, unlink};
use ropewalk_types::{ModelName, Timestamp, Uri};

use crate::declared::gate_list;
use crate::limits::{tag_check, tags_check};
use crate::model::{PROMPT_TAG, counted, parsed, says_prompt};
use crate::rows::{ModelRow, model_columns, models_from};
use crate::{DeclaredGate, RegisteredModel, RegistryError};

/// Registers a model, or a prompt if its tags say so. Errors: [`RegistryError::ModelExists`].
pub async fn model_create(
    connection: &mut Connection,
    name: &ModelName,
    description: Option<&str>,
    tags: &[(String, String)],
    at: Timestamp,
) -> Result<RegisteredModel, RegistryError> {
    tags_check(tags)?;
    let wanted = tags.iter().rev().find(|(key, _)| key == PROMPT_TAG).map(|(_, value)| value.as_str());
    if let Some(there) = model_find(connection, name).await? {
        let prompt = is_prompt(connection, there).await?;
        return Err(RegistryError::ModelExists { name: name.clone(), prompt, wanted_prompt: says_prompt(wanted) });
    }
    let model = model_insert(connection, name, description, at).await?;
    for (key, value) in tags {
        tag_write(connection, model, key, value).await?;
    }
    model_get(connection, name).await
}

/// A model of this name with a new number.
pub(crate) async fn model_insert(
    connection: &mut Connection,
    name: &ModelName,
    description: Option<&str>,
    at: Timestamp,
) -> Result<i64, RegistryError> {
    let next = "UPDATE registry_counter SET value = value + 1 WHERE name = 'model' RETURNING value";
    let model: i64 = query(next).fetch_one(&mut *connection).await?;
    query(
        "INSERT INTO registered_model (id, name, description, last_version, created_at, updated_at)
         VALUES ($1, $2, $3, 0, $4, $4)",
    )
    .bind(model)
    .bind(name.as_str())
    .bind(description)
    .bind(at.millis())
    .execute(connection)
    .await?;
    Ok(model)
}

async fn tag_write(connection: &mut Connection, model: i64, key: &str, value: &str) -> Result<(), RegistryError> {
    query(
        "INSERT INTO registered_model_tag (model, key, value) VALUES ($1, $2, $3)
         ON CONFLICT (model, key) DO UPDATE SET value = excluded.value",
    )
    .bind(model)
    .bind(key)
    .bind(value)
    .execute(connection)
    .await?;
    Ok(())
}

/// The number of the model, if it is there.
pub(crate) async fn model_find(connection: &mut Connection, name: &ModelName) -> Result<Option<i64>, RegistryError> {
    let sql = "SELECT id FROM registered_model WHERE name = $1";
    Ok(query(sql).bind(name.as_str()).fetch_optional(connection).await?)
}

/// The number of the model. Errors: [`RegistryError::ModelUnknown`].
pub(crate) async fn model_id(connection: &mut Connection, name: &ModelName) -> Result<i64, RegistryError> {
    match model_find(connection, name).await? {
        Some(model) => Ok(model),
        None => Err(model_unknown(connection, name).await?),
    }
}

async fn model_unknown(connection: &mut Connection, name: &ModelName) -> Result<RegistryError, RegistryError> {
    // A client that asks for what is not there yet, as many do before they create it, must not cost a walk over them all.
    let sql = "SELECT name FROM registered_model ORDER BY name LIMIT 1000";
    let rows: Vec<String> = query(sql).fetch_all(connection).await?;
    let mut known: Vec<ModelName> = rows.iter().map(|text| parsed(text, "name", text)).collect::<Result<_, _>>()?;
    let similarity = |one: &ModelName| strsim::jaro_winkler(name.as_str(), one.as_str());
    known.sort_by(|left, right| similarity(right).total_cmp(&similarity(left)));
    known.truncate(20);
    Ok(RegistryError::ModelUnknown { name: name.clone(), known })
}

/// Whether the model is a prompt.
pub(crate) async fn is_prompt(connection: &mut Connection, model: i64) -> Result<bool, RegistryError> {
    let sql = "SELECT value FROM registered_model_tag WHERE model = $1 AND key = $2";
    let value: Option<String> = query(sql).bind(model).bind(PROMPT_TAG).fetch_optional(connection).await?;
    Ok(says_prompt(value.as_deref()))
}

/// One registered model. Errors: [`RegistryError::ModelUnknown`].
pub async fn model_get(connection: &mut Connection, name: &ModelName) -> Result<RegisteredModel, RegistryError> {
    let sql = concat!("SELECT ", model_columns!(), " FROM registered_model m WHERE m.name = $1");
    let row: Option<ModelRow> = query(sql).bind(name.as_str()).fetch_optional(&mut *connection).await?;
    let found = match row {
        Some(row) => models_from(connection, vec![row]).await?.pop(),
        None => None,
    };
    match found {
        Some(model) => Ok(model),
        None => Err(model_unknown(connection, name).await?),
    }
}

/// All registered models by name; prompts are none.
pub async fn model_list(connection: &mut Connection) -> Result<Vec<RegisteredModel>, RegistryError> {
    let sql = concat!("SELECT ", model_columns!(), " FROM registered_model m ORDER BY m.name");
    let rows: Vec<ModelRow> = query(sql).fetch_all(&mut *connection).await?;
    let mut models = models_from(connection, rows).await?;
    models.retain(|model| !model.is_prompt());
    Ok(models)
}

/// Describes a model anew. Errors: [`RegistryError::ModelUnknown`].
pub async fn model_update(
    connection: &mut Connection,
    name: &ModelName,
    description: Option<&str>,
    at: Timestamp,
) -> Result<RegisteredModel, RegistryError> {
    let model = model_id(connection, name).await?;
    query("UPDATE registered_model SET description = $2, updated_at = $3 WHERE id = $1")
        .bind(model)
        .bind(description)
        .bind(at.millis())
        .execute(&mut *connection)
        .await?;
    model_get(connection, name).await
}

/// Gives a model another name; versions, aliases, tags and the history stay with it.
///
/// Errors: [`RegistryError::ModelUnknown`], [`RegistryError::ModelExists`]; [`RegistryError::Guarded`] where a gate stands.
pub async fn model_rename(
    connection: &mut Connection,
    name: &ModelName,
    new_name: &ModelName,
    at: Timestamp,
) -> Result<RegisteredModel, RegistryError> {
    let model = model_id(connection, name).await?;
    if name != new_name {
        unguarded(connection, name).await?;
    }
    if let Some(there) = model_find(connection, new_name).await?.filter(|there| *there != model) {
        let wanted_prompt = is_prompt(connection, model).await?;
        let prompt = is_prompt(connection, there).await?;
        return Err(RegistryError::ModelExists { name: new_name.clone(), prompt, wanted_prompt });
    }
    query("UPDATE registered_model SET name = $2, updated_at = $3 WHERE id = $1")
        .bind(model)
        .bind(new_name.as_str())
        .bind(at.millis())
        .execute(&mut *connection)
        .await?;
    let versions = "UPDATE model_version SET updated_at = $2 WHERE model = $1";
    query(versions).bind(model).bind(at.millis()).execute(&mut *connection).await?;
    let history = "UPDATE alias_history SET name = $2 WHERE model = $1";
    query(history).bind(model).bind(new_name.as_str()).execute(&mut *connection).await?;
    relink(connection, model, name, new_name, at).await?;
    model_get(connection, new_name).await
}

/// Refuses to free the name of a model with a gate: a new model of that name would have none.
async fn unguarded(connection: &mut Connection, name: &ModelName) -> Result<(), RegistryError> {
    match gate_list(connection, name, false).await?.into_iter().next() {
        Some(DeclaredGate { target, .. }) => {
            Err(RegistryError::Guarded { what: format!("models:/{name}"), name: name.clone(), target })
        }
        None => Ok(()),
    }
}

/// Lineage names a version by the model's name: what the old name came from, the new one comes from too. The old
/// links stay, since predictions were answered under that name.
async fn relink(
    connection: &mut Connection,
    model: i64,
    name: &ModelName,
    new_name: &ModelName,
    at: Timestamp,
) -> Result<(), RegistryError> {
    for version in numbers(connection, model, name).await? {
        let renamed = Link {
            child: Uri::ModelVersion { name: new_name.clone(), version },
            parent: Uri::ModelVersion { name: name.clone(), version },
            relation: Relation::Registered,
        };
        link(connection, &[renamed], at).await?;
    }
    Ok(())
}

async fn numbers(connection: &mut Connection, model: i64, name: &ModelName) -> Result<Vec<u64>, RegistryError> {
    let sql = "SELECT version FROM model_version WHERE model = $1 ORDER BY version";
    let rows: Vec<i64> = query(sql).bind(model).fetch_all(connection).await?;
    rows.into_iter().map(|version| counted(name.as_str(), "version", version)).collect()
}

/// Deletes a model with all its versions, aliases and tags; the history stays.
///
/// Its versions are unlinked in lineage, since a later model of this name counts from 1 again.
///
/// Errors: [`RegistryError::ModelUnknown`]; [`RegistryError::Guarded`] where a gate stands.
pub async fn model_delete(connection: &mut Connection, name: &ModelName) -> Result<(), RegistryError> {
    let model = model_id(connection, name).await?;
    unguarded(connection, name).await?;
    for version in numbers(connection, model, name).await? {
        unlink(connection, &Uri::ModelVersion { name: name.clone(), version }).await?;
    }
    for sql in [
        "DELETE FROM model_alias WHERE model = $1",
        "DELETE FROM model_version_tag WHERE model = $1",
        "DELETE FROM model_version WHERE model = $1",
        "DELETE FROM registered_model_tag WHERE model = $1",
        "DELETE FROM model_gate WHERE model = $1",
        "DELETE FROM model_approval WHERE model = $1",
        "DELETE FROM registered_model WHERE id = $1",
    ] {
        query(sql).bind(model).execute(&mut *connection).await?;
    }
    Ok(())
}

/// Sets a tag of a model. Errors: [`RegistryError::ModelUnknown`], a key or value that cannot be one.
pub async fn model_tag_set(
    connection: &mut Connection,
    name: &ModelName,
    key: &str,
    value: &str,
) -> Result<(), RegistryError> {
    tag_check(key, value)?;
    let model = model_id(connection, name).await?;
    tag_write(connection, model, key, value).await
}

/// Takes a tag of a model away; one that is not there is fine. Errors: [`RegistryError::ModelUnknown`].
pub async fn model_tag_delete(connection: &mut Connection, name: &ModelName, key: &str) -> Result<(), RegistryError> {
    tag_check(key, "")?;
    let model = model_id(connection, name).await?;
    let sql = "DELETE FROM registered_model_tag WHERE model = $1 AND key = $2";
    query(sql).bind(model).bind(key).execute(connection).await?;
    Ok(())
}
