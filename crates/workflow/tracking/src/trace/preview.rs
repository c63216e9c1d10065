//! The beginning of a request or a response, for lists of traces.

use serde_json::{Map, Value};

use super::PREVIEW_CHARACTERS;
use crate::limits::cut;

/// Whose words of a chat are shown.
#[derive(Clone, Copy)]
pub(super) enum Side {
    Request,
    Response,
}

/// What is shown of an attribute's JSON text: of a chat the last words of that side, of all else its beginning.
pub(super) fn preview(text: &str, side: Side) -> String {
    let parsed: Option<Value> = serde_json::from_str(text).ok();
    let role = match side {
        Side::Request => "user",
        Side::Response => "assistant",
    };
    let words = parsed.as_ref().and_then(messages).and_then(|messages| words(&messages, role));
    let shown = words.filter(|words| !words.is_empty()).unwrap_or_else(|| text.to_owned());
    match cut(&shown, PREVIEW_CHARACTERS) {
        (_, false) => shown,
        (_, true) => format!("{}...", cut(&shown, PREVIEW_CHARACTERS - 3).0),
    }
}

/// The messages of a request or answer of a chat or responses API, also inside `request`.
fn messages(value: &Value) -> Option<Vec<&Value>> {
    let mut object = value.as_object()?;
    loop {
        if let Some(list) = list(object, "messages") {
            return Some(list.iter().filter(|one| is_message(one)).collect());
        }
        let choice = list(object, "choices").and_then(|choices| choices.first()).and_then(|first| first.get("message"));
        if let Some(message) = choice.filter(|message| is_message(message)) {
            return Some(vec![message]);
        }
        if let Some(list) = list(object, "input").or_else(|| list(object, "output")) {
            return Some(list.iter().filter(|one| is_message(one)).collect());
        }
        object = object.get("request")?.as_object()?;
    }
}

fn list<'v>(object: &'v Map<String, Value>, key: &str) -> Option<&'v Vec<Value>> {
    object.get(key).and_then(Value::as_array).filter(|list| !list.is_empty())
}

fn is_message(value: &Value) -> bool {
    value.get("role").is_some() && value.get("content").is_some()
}

/// The text of the last message of this role, or of the last one.
fn words(messages: &[&Value], role: &str) -> Option<String> {
    let of_role = |message: &&&Value| message.get("role").and_then(Value::as_str) == Some(role);
    let message = messages.iter().rev().find(of_role).or_else(|| messages.last())?;
    let text = match message.get("content")? {
        Value::String(text) => Some(text.as_str()),
        Value::Array(parts) => parts.iter().find_map(|part| match part {
            Value::String(text) => Some(text.as_str()),
            part => {
                let kind = part.get("type").and_then(Value::as_str)?;
                matches!(kind, "text" | "output_text").then(|| part.get("text").and_then(Value::as_str)).flatten()
            }
        }),
        _ => None,
    };
    text.map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_chat_the_last_words_of_the_side_are_shown() {
        let chat = r#"{"messages": [{"role": "user", "content": "hello"}, {"role": "assistant", "content": "hi"}]}"#;
        assert_eq!(preview(chat, Side::Request), "hello");
        assert_eq!(preview(chat, Side::Response), "hi");
        let answer =
            r#"{"choices": [{"message": {"role": "assistant", "content": [{"type": "text", "text": "yes"}]}}]}"#;
        assert_eq!(preview(answer, Side::Response), "yes");
        let inside = r#"{"request": {"input": [{"role": "system", "content": "last"}]}}"#;
        assert_eq!(preview(inside, Side::Request), "last");
    }

    #[test]
    fn of_all_else_the_beginning_is_shown() {
        assert_eq!(preview("{\"x\": 1}", Side::Request), "{\"x\": 1}");
        assert_eq!(preview("not json", Side::Request), "not json");
        let long = preview(&"é".repeat(2_000), Side::Request);
        assert_eq!((long.chars().count(), long.ends_with("...")), (1_000, true));
    }
}
