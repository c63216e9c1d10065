use ropewalk_catalog::Connection;
use ropewalk_tracking::run_artifact_uri;
use ropewalk_types::{Alias, Ambient, ModelName, Timestamp, Uri};
use serde_json::{Value, json};

use super::models::hidden;
use super::{Registry, reading, writing};
use crate::model::{PROMPT_TAG, says_prompt};
use crate::registered::{is_prompt, model_id};
use crate::webhook::notify;
use crate::{
    Event, ModelVersion, NewVersion, Page, RegistryError, Search, SourcedVersion, Stage, Tags, alias, search, version,
};

/// The tag in which a version of a prompt has its text (`mlflow/prompt/constants.py`).
const PROMPT_TEXT_TAG: &str = "mlflow.prompt.text";

impl Registry {
    /// See [`crate::version_register`].
    pub async fn version_register(&self, new: NewVersion, at: Timestamp) -> Result<ModelVersion, RegistryError> {
        let ambient = self.ambient.clone();
        let made = writing!(self, |connection| async {
            let made = version::version_register(connection, &new, at).await?;
            // One that was there already is no news.
            if made.created_at == at {
                notify(connection, &*ambient, Event::VERSION_CREATED, created(&made)).await?;
            }
            Ok::<_, RegistryError>(made)
        });
        self.tell(made)
    }

    /// See [`crate::version_create`].
    pub async fn version_create(&self, new: SourcedVersion) -> Result<ModelVersion, RegistryError> {
        let ambient = self.ambient.clone();
        let made = writing!(self, |connection| async {
            let made = version::version_create(connection, &new, ambient.now()).await?;
            let prompt = says_prompt(made.tags.get(PROMPT_TAG).map(String::as_str));
            let (event, data) = if prompt {
                (Event::PROMPT_VERSION_CREATED, prompt_created(&made))
            } else {
                (Event::VERSION_CREATED, created(&made))
            };
            notify(connection, &*ambient, event, data).await?;
            Ok::<_, RegistryError>(made)
        });
        self.tell(made)
    }

    /// See [`crate::version_get`].
    pub async fn version_get(&self, name: &ModelName, version: u64) -> Result<ModelVersion, RegistryError> {
        let name = name.clone();
        reading!(self, |connection| version::version_get(connection, &name, version))
    }

    /// See [`crate::version_list`].
    pub async fn version_list(&self, name: &ModelName) -> Result<Vec<ModelVersion>, RegistryError> {
        let name = name.clone();
        reading!(self, |connection| version::version_list(connection, &name))
    }

    /// See [`crate::version_latest`].
    pub async fn version_latest(
        &self,
        name: &ModelName,
        stages: Vec<Stage>,
    ) -> Result<Vec<ModelVersion>, RegistryError> {
        let name = name.clone();
        reading!(self, |connection| version::version_latest(connection, &name, &stages))
    }

    /// The newest version in whatever stage. Errors: [`RegistryError::ModelUnknown`], [`RegistryError::NoVersions`].
    pub async fn version_newest(&self, name: &ModelName) -> Result<ModelVersion, RegistryError> {
        let newest = self.version_latest(name, Vec::new()).await?.pop();
        newest.ok_or_else(|| RegistryError::NoVersions(name.clone()))
    }

    /// The URI of the folder or file where a version's files are; `runs:` URIs are followed to their run's artifacts.
    ///
    /// Errors: as [`crate::version_get`].
    pub async fn version_place(&self, name: &ModelName, version: u64) -> Result<String, RegistryError> {
        let name = name.clone();
        reading!(self, |connection| place(connection, &name, version))
    }

    /// See [`crate::version_search`].
    pub async fn version_search(&self, search: Search) -> Result<Page<ModelVersion>, RegistryError> {
        reading!(self, |connection| search::version_search(connection, &search))
    }

    /// See [`crate::version_update`].
    pub async fn version_update(
        &self,
        name: &ModelName,
        version: u64,
        description: Option<&str>,
    ) -> Result<ModelVersion, RegistryError> {
        let (name, description, at) = (name.clone(), description.map(ToOwned::to_owned), self.now());
        writing!(self, |connection| version::version_update(connection, &name, version, description.as_deref(), at))
    }

    /// See [`crate::version_delete`].
    pub async fn version_delete(&self, name: &ModelName, version: u64) -> Result<(), RegistryError> {
        let (name, at) = (name.clone(), self.now());
        writing!(self, |connection| version::version_delete(connection, &name, version, at))
    }

    /// See [`crate::version_tag_set`].
    pub async fn version_tag_set(
        &self,
        name: &ModelName,
        version: u64,
        key: &str,
        value: &str,
    ) -> Result<(), RegistryError> {
        let (name, key, value, ambient) = (name.clone(), key.to_owned(), value.to_owned(), self.ambient.clone());
        let set = writing!(self, |connection| async {
            version::version_tag_set(connection, &name, version, &key, &value).await?;
            let data = json!({ "name": name, "version": version.to_string(), "key": key, "value": value });
            notify_of(connection, &*ambient, &name, Event::VERSION_TAG_SET, data).await
        });
        self.tell(set)
    }

    /// See [`crate::version_tag_delete`].
    pub async fn version_tag_delete(&self, name: &ModelName, version: u64, key: &str) -> Result<(), RegistryError> {
        let (name, key, ambient) = (name.clone(), key.to_owned(), self.ambient.clone());
        let deleted = writing!(self, |connection| async {
            version::version_tag_delete(connection, &name, version, &key).await?;
            let data = json!({ "name": name, "version": version.to_string(), "key": key });
            notify_of(connection, &*ambient, &name, Event::VERSION_TAG_DELETED, data).await
        });
        self.tell(deleted)
    }

    /// See [`crate::alias_get`].
    pub async fn alias_get(&self, name: &ModelName, alias: &Alias) -> Result<Option<ModelVersion>, RegistryError> {
        let (name, alias) = (name.clone(), alias.clone());
        reading!(self, |connection| alias::alias_get(connection, &name, &alias))
    }

    /// See [`crate::by_alias`].
    pub async fn by_alias(&self, name: &ModelName, alias: &Alias) -> Result<ModelVersion, RegistryError> {
        let (name, alias) = (name.clone(), alias.clone());
        reading!(self, |connection| alias::by_alias(connection, &name, &alias))
    }

    /// See [`crate::resolve`].
    pub async fn resolve(&self, uri: &Uri) -> Result<ModelVersion, RegistryError> {
        let uri = uri.clone();
        reading!(self, |connection| alias::resolve(connection, &uri))
    }
}

async fn place(connection: &mut Connection, name: &ModelName, version: u64) -> Result<String, RegistryError> {
    let storage = version::version_get(connection, name, version).await?.storage;
    let Ok(Uri::Run { run, path }) = storage.parse() else { return Ok(storage) };
    let root = run_artifact_uri(connection, run).await?;
    Ok(root.map_or(storage, |root| format!("{root}/{path}").trim_end_matches('/').to_owned()))
}

/// Tells of `event`, or of the same of a prompt if the model is one.
pub(super) async fn notify_of(
    connection: &mut Connection,
    ambient: &dyn Ambient,
    name: &ModelName,
    event: Event,
    data: Value,
) -> Result<(), RegistryError> {
    let model = model_id(connection, name).await?;
    let event = if is_prompt(connection, model).await? { event.of_prompt() } else { event };
    notify(connection, ambient, event, data).await
}

fn created(made: &ModelVersion) -> Value {
    json!({
        "name": made.name,
        "version": made.version.to_string(),
        "source": made.source,
        "run_id": made.run,
        "tags": made.tags,
        "description": made.description,
    })
}

fn prompt_created(made: &ModelVersion) -> Value {
    let shown = |key: &str| !hidden(key) && key != PROMPT_TEXT_TAG;
    let tags: Tags = made.tags.clone().into_iter().filter(|(key, _)| shown(key)).collect();
    json!({
        "name": made.name,
        "version": made.version.to_string(),
        "template": made.tags.get(PROMPT_TEXT_TAG),
        "tags": tags,
        "description": made.description,
    })
}
