use ropewalk_types::ModelName;
use serde_json::json;

use super::{Registry, reading, writing};
use crate::model::PROMPT_TAG;
use crate::registered::{is_prompt, model_id};
use crate::webhook::notify;
use crate::{Event, Page, RegisteredModel, RegistryError, Search, Tags, registered, search};

/// By which MLflow knows what kind of prompt it is; not told to webhooks.
const PROMPT_TYPE_TAG: &str = "_mlflow_prompt_type";

impl Registry {
    /// See [`crate::model_create`].
    pub async fn model_create(
        &self,
        name: &ModelName,
        description: Option<&str>,
        tags: Vec<(String, String)>,
    ) -> Result<RegisteredModel, RegistryError> {
        let (name, description, ambient) = (name.clone(), description.map(ToOwned::to_owned), self.ambient.clone());
        let made = writing!(self, |connection| async {
            let at = ambient.now();
            let made = registered::model_create(connection, &name, description.as_deref(), &tags, at).await?;
            let prompt = made.is_prompt();
            let shown: Tags = made.tags.clone().into_iter().filter(|(key, _)| !prompt || !hidden(key)).collect();
            let event = if prompt { Event::PROMPT_CREATED } else { Event::MODEL_CREATED };
            let data = json!({ "name": made.name, "tags": shown, "description": made.description });
            notify(connection, &*ambient, event, data).await?;
            Ok::<_, RegistryError>(made)
        });
        self.tell(made)
    }

    /// See [`crate::model_get`].
    pub async fn model_get(&self, name: &ModelName) -> Result<RegisteredModel, RegistryError> {
        let name = name.clone();
        reading!(self, |connection| registered::model_get(connection, &name))
    }

    /// See [`crate::model_list`].
    pub async fn model_list(&self) -> Result<Vec<RegisteredModel>, RegistryError> {
        reading!(self, |connection| registered::model_list(connection))
    }

    /// See [`crate::model_search`].
    pub async fn model_search(&self, search: Search) -> Result<Page<RegisteredModel>, RegistryError> {
        reading!(self, |connection| search::model_search(connection, &search))
    }

    /// See [`crate::model_update`].
    pub async fn model_update(
        &self,
        name: &ModelName,
        description: Option<&str>,
    ) -> Result<RegisteredModel, RegistryError> {
        let (name, description, at) = (name.clone(), description.map(ToOwned::to_owned), self.now());
        writing!(self, |connection| registered::model_update(connection, &name, description.as_deref(), at))
    }

    /// See [`crate::model_rename`].
    pub async fn model_rename(&self, name: &ModelName, new_name: &ModelName) -> Result<RegisteredModel, RegistryError> {
        let (name, new_name, at) = (name.clone(), new_name.clone(), self.now());
        writing!(self, |connection| registered::model_rename(connection, &name, &new_name, at))
    }

    /// See [`crate::model_delete`].
    pub async fn model_delete(&self, name: &ModelName) -> Result<(), RegistryError> {
        let name = name.clone();
        writing!(self, |connection| registered::model_delete(connection, &name))
    }

    /// See [`crate::model_tag_set`].
    pub async fn model_tag_set(&self, name: &ModelName, key: &str, value: &str) -> Result<(), RegistryError> {
        let (name, key, value, ambient) = (name.clone(), key.to_owned(), value.to_owned(), self.ambient.clone());
        let set = writing!(self, |connection| async {
            registered::model_tag_set(connection, &name, &key, &value).await?;
            let model = model_id(connection, &name).await?;
            if is_prompt(connection, model).await? {
                let data = json!({ "name": name, "key": key, "value": value });
                notify(connection, &*ambient, Event::PROMPT_TAG_SET, data).await?;
            }
            Ok::<(), RegistryError>(())
        });
        self.tell(set)
    }

    /// See [`crate::model_tag_delete`].
    pub async fn model_tag_delete(&self, name: &ModelName, key: &str) -> Result<(), RegistryError> {
        let (name, key, ambient) = (name.clone(), key.to_owned(), self.ambient.clone());
        let deleted = writing!(self, |connection| async {
            registered::model_tag_delete(connection, &name, &key).await?;
            let model = model_id(connection, &name).await?;
            if is_prompt(connection, model).await? {
                let data = json!({ "name": name, "key": key });
                notify(connection, &*ambient, Event::PROMPT_TAG_DELETED, data).await?;
            }
            Ok::<(), RegistryError>(())
        });
        self.tell(deleted)
    }

    /// Wakes whoever sends to webhooks, after the commit.
    pub(super) fn tell<T>(&self, done: Result<T, RegistryError>) -> Result<T, RegistryError> {
        if done.is_ok() {
            self.told.notify_one();
        }
        done
    }
}

/// Whether a prompt's tag is MLflow's own.
pub(super) fn hidden(key: &str) -> bool {
    matches!(key, PROMPT_TAG | PROMPT_TYPE_TAG)
}
