//! Messages of the registry as JSON, after `mlflow/protos/model_registry.proto`: what MLflow's server leaves out of its
//! answers is left out here.

use ropewalk_registry::{ModelVersion, RegisteredModel, Webhook};
use serde::Serialize;
use serde_json::{Value, json};

use super::{KeyValue, KeyValueOut, pairs};

/// `RegisteredModel`.
#[derive(Debug, Serialize)]
pub(crate) struct RegisteredModelOut<'a> {
    name: &'a str,
    creation_timestamp: i64,
    last_updated_timestamp: i64,
    #[serde(skip_serializing_if = "str::is_empty")]
    description: &'a str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    latest_versions: Vec<ModelVersionOut<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tags: Vec<KeyValueOut<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    aliases: Vec<AliasOut<'a>>,
}

/// `RegisteredModelAlias`.
#[derive(Debug, Serialize)]
struct AliasOut<'a> {
    alias: &'a str,
    version: String,
}

impl<'a> From<&'a RegisteredModel> for RegisteredModelOut<'a> {
    fn from(model: &'a RegisteredModel) -> Self {
        let alias = |(alias, version): (&'a ropewalk_types::Alias, &u64)| AliasOut {
            alias: alias.as_str(),
            version: version.to_string(),
        };
        Self {
            name: model.name.as_str(),
            creation_timestamp: model.created_at.millis(),
            last_updated_timestamp: model.updated_at.millis(),
            description: model.description.as_deref().unwrap_or_default(),
            latest_versions: model.latest.iter().map(ModelVersionOut::from).collect(),
            tags: pairs(&model.tags),
            aliases: model.aliases.iter().map(alias).collect(),
        }
    }
}

/// `ModelVersion`.
#[derive(Debug, Serialize)]
pub(crate) struct ModelVersionOut<'a> {
    name: &'a str,
    version: String,
    creation_timestamp: i64,
    last_updated_timestamp: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_id: Option<&'a str>,
    current_stage: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<&'a str>,
    source: &'a str,
    run_id: &'a str,
    status: &'static str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tags: Vec<KeyValueOut<'a>>,
    run_link: &'a str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    aliases: Vec<&'a str>,
}

impl<'a> From<&'a ModelVersion> for ModelVersionOut<'a> {
    fn from(version: &'a ModelVersion) -> Self {
        Self {
            name: version.name.as_str(),
            version: version.version.to_string(),
            creation_timestamp: version.created_at.millis(),
            last_updated_timestamp: version.updated_at.millis(),
            user_id: version.user.as_deref(),
            current_stage: version.stage.as_str(),
            description: version.description.as_deref(),
            source: &version.source,
            run_id: version.run.as_deref().unwrap_or_default(),
            status: "READY",
            tags: pairs(&version.tags),
            run_link: &version.run_link,
            aliases: version.aliases.iter().map(AsRef::as_ref).collect(),
        }
    }
}

/// Tags on the way in, in their order.
pub(crate) fn tags_in(tags: Option<Vec<KeyValue>>) -> Vec<(String, String)> {
    let pair = |tag: KeyValue| (tag.key.unwrap_or_default(), tag.value.unwrap_or_default());
    tags.unwrap_or_default().into_iter().map(pair).collect()
}

/// A list under its name, which an empty one has not, and where the next page begins.
pub(crate) fn page<T: Serialize>(name: &str, items: &[T], next: Option<&str>) -> Value {
    let mut answer = serde_json::Map::new();
    if !items.is_empty() {
        answer.insert(name.to_owned(), json!(items));
    }
    if let Some(next) = next {
        answer.insert("next_page_token".to_owned(), json!(next));
    }
    Value::Object(answer)
}

/// `Webhook`.
pub(crate) fn webhook_out(webhook: &Webhook) -> Value {
    let events: Vec<Value> = webhook
        .events
        .iter()
        .map(|event| json!({ "entity": event.entity().to_uppercase(), "action": event.action().to_uppercase() }))
        .collect();
    let mut answer = json!({
        "webhook_id": webhook.id,
        "name": webhook.name,
        "url": webhook.url,
        "events": events,
        "status": if webhook.active { "ACTIVE" } else { "DISABLED" },
        "creation_timestamp": webhook.created_at.millis(),
        "last_updated_timestamp": webhook.updated_at.millis(),
    });
    if let Some(description) = webhook.description.as_deref().filter(|text| !text.is_empty()) {
        answer["description"] = json!(description);
    }
    answer
}
