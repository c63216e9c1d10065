use std::fmt;
use std::str::FromStr;

use ropewalk_types::Timestamp;
use serde_json::{Value, json};

/// What can happen: an entity and an action, `model_version.created` (`mlflow/entities/webhook.py`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Event(usize);

/// A text that names no event.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no event '{0}'")]
pub struct UnknownEvent(pub String);

/// Entity and action of each.
const ALL: [(&str, &str); 14] = [
    ("registered_model", "created"),
    ("model_version", "created"),
    ("model_version_tag", "set"),
    ("model_version_tag", "deleted"),
    ("model_version_alias", "created"),
    ("model_version_alias", "deleted"),
    ("prompt", "created"),
    ("prompt_version", "created"),
    ("prompt_tag", "set"),
    ("prompt_tag", "deleted"),
    ("prompt_version_tag", "set"),
    ("prompt_version_tag", "deleted"),
    ("prompt_alias", "created"),
    ("prompt_alias", "deleted"),
];

impl Event {
    pub(crate) const MODEL_CREATED: Self = Self(0);
    pub(crate) const VERSION_CREATED: Self = Self(1);
    pub(crate) const VERSION_TAG_SET: Self = Self(2);
    pub(crate) const VERSION_TAG_DELETED: Self = Self(3);
    pub(crate) const ALIAS_CREATED: Self = Self(4);
    pub(crate) const ALIAS_DELETED: Self = Self(5);
    pub(crate) const PROMPT_CREATED: Self = Self(6);
    pub(crate) const PROMPT_VERSION_CREATED: Self = Self(7);
    pub(crate) const PROMPT_TAG_SET: Self = Self(8);
    pub(crate) const PROMPT_TAG_DELETED: Self = Self(9);

    /// The same event of a prompt; what a model has no counterpart for stays.
    #[must_use]
    pub(crate) fn of_prompt(self) -> Self {
        match self.0 {
            0 | 1 => Self(self.0 + 6),
            2..=5 => Self(self.0 + 8),
            _ => self,
        }
    }

    /// The event of this entity and action, in any case.
    pub fn of(entity: &str, action: &str) -> Result<Self, UnknownEvent> {
        let same = |one: &(&str, &str)| one.0.eq_ignore_ascii_case(entity) && one.1.eq_ignore_ascii_case(action);
        ALL.iter().position(same).map(Self).ok_or_else(|| UnknownEvent(format!("{entity}.{action}")))
    }

    /// To what it happens.
    pub fn entity(self) -> &'static str {
        ALL.get(self.0).map_or("", |event| event.0)
    }

    /// What happens.
    pub fn action(self) -> &'static str {
        ALL.get(self.0).map_or("", |event| event.1)
    }

    /// What is sent: the event, its moment and what it is about.
    pub(crate) fn body(self, data: &Value, at: Timestamp) -> String {
        let moment = chrono::DateTime::from_timestamp_millis(at.millis()).unwrap_or_default();
        let timestamp = moment.to_rfc3339_opts(chrono::SecondsFormat::Micros, false);
        json!({ "entity": self.entity(), "action": self.action(), "timestamp": timestamp, "data": data }).to_string()
    }

    /// What a test sends.
    pub(crate) fn example(self) -> Value {
        let mut data = serde_json::Map::new();
        let name = if self.entity().starts_with("prompt") { "example_prompt" } else { "example_model" };
        data.insert("name".to_owned(), json!(name));
        let (tag, alias) = (self.entity().ends_with("_tag"), self.entity().ends_with("_alias"));
        if self.entity().contains("version") && !(alias && self.action() == "deleted")
            || (alias && self.action() == "created")
        {
            data.insert("version".to_owned(), json!("1"));
        }
        if tag {
            data.insert("key".to_owned(), json!("example_key"));
        }
        if tag && self.action() == "set" {
            data.insert("value".to_owned(), json!("example_value"));
        }
        if alias {
            data.insert("alias".to_owned(), json!("example_alias"));
        }
        if !tag && !alias {
            data.insert("tags".to_owned(), json!({ "example_key": "example_value" }));
            data.insert("description".to_owned(), json!("An example"));
        }
        match self {
            Self::VERSION_CREATED => {
                data.insert("source".to_owned(), json!("models:/123"));
                data.insert("run_id".to_owned(), json!("abcd1234abcd5678"));
            }
            Self::PROMPT_VERSION_CREATED => {
                data.insert("template".to_owned(), json!("Hello {{name}}!"));
            }
            _ => {}
        }
        Value::Object(data)
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.entity(), self.action())
    }
}

impl FromStr for Event {
    type Err = UnknownEvent;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once('.') {
            Some((entity, action)) => Self::of(entity, action),
            None => Err(UnknownEvent(text.to_owned())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_have_names_and_those_of_prompts_their_own() {
        for position in 0..ALL.len() {
            assert_eq!(Event(position).to_string().parse(), Ok(Event(position)));
        }
        assert_eq!(Event::of("MODEL_VERSION", "CREATED"), Ok(Event::VERSION_CREATED));
        assert!(Event::of("model_version", "deleted").is_err());
        assert_eq!(Event::VERSION_CREATED.of_prompt(), Event::PROMPT_VERSION_CREATED);
        assert_eq!(Event::ALIAS_DELETED.of_prompt().to_string(), "prompt_alias.deleted");
        assert_eq!(Event::VERSION_TAG_SET.of_prompt().to_string(), "prompt_version_tag.set");
        assert_eq!(Event::VERSION_TAG_SET.example()["value"], "example_value");
        assert!(Event::ALIAS_DELETED.example().get("version").is_none());
    }
}
