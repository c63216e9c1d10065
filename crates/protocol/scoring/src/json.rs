use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

use crate::ScoringError;

/// The name of the form in messages.
pub(crate) const JSON: &str = "JSON";

/// A JSON value in which objects keep the order of their keys: it is the order of a table's columns.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Json {
    Null,
    Bool(bool),
    Int(i64),
    Uint(u64),
    Float(f64),
    Text(String),
    List(Vec<Json>),
    Object(Vec<(String, Json)>),
}

impl Json {
    /// Reads a text, as Python's `json` does also with `NaN` (which becomes null) and `Infinity`.
    pub(crate) fn read(bytes: &[u8]) -> Result<Self, ScoringError> {
        let plain = plain_numbers(bytes);
        serde_json::from_slice(&plain).map_err(|problem| ScoringError::malformed(JSON, &problem))
    }

    /// How many entries it has, if it is an object.
    pub(crate) fn entries(&self) -> usize {
        if let Self::Object(entries) = self { entries.len() } else { 0 }
    }

    /// What it is, for a message; texts are cut.
    pub(crate) fn described(&self) -> String {
        match self {
            Self::Null => "null".to_owned(),
            Self::Bool(value) => value.to_string(),
            Self::Int(value) => value.to_string(),
            Self::Uint(value) => value.to_string(),
            Self::Float(value) => format!("{value:?}"),
            Self::Text(value) => {
                let cut: String = value.chars().take(40).collect();
                let more = if cut.len() < value.len() { "…" } else { "" };
                format!("the text {cut:?}{more}")
            }
            Self::List(values) => format!("a list of {}", values.len()),
            Self::Object(_) => "an object".to_owned(),
        }
    }
}

/// The text with Python's spellings of what is not finite replaced by JSON; its length stays about the same.
fn plain_numbers(bytes: &[u8]) -> Cow<'_, [u8]> {
    let mut plain: Option<Vec<u8>> = None;
    let (mut copied, mut position, mut inside) = (0, 0, false);
    while let Some(byte) = bytes.get(position) {
        match byte {
            b'"' => inside = !inside,
            b'\\' if inside => position += 1,
            b'N' | b'I' | b'-' if !inside => {
                let rest = bytes.get(position..).unwrap_or_default();
                if let Some((word, instead)) = WORDS.iter().find(|(word, _)| rest.starts_with(word)) {
                    let text = plain.get_or_insert_with(|| Vec::with_capacity(bytes.len() + 64));
                    text.extend_from_slice(bytes.get(copied..position).unwrap_or_default());
                    text.extend_from_slice(instead);
                    copied = position + word.len();
                    position = copied;
                    continue;
                }
            }
            _ => {}
        }
        position += 1;
    }
    match plain {
        None => Cow::Borrowed(bytes),
        Some(mut text) => {
            text.extend_from_slice(bytes.get(copied..).unwrap_or_default());
            Cow::Owned(text)
        }
    }
}

const WORDS: [(&[u8], &[u8]); 3] =
    [(b"NaN", b"null"), (b"Infinity", b"\"Infinity\""), (b"-Infinity", b"\"-Infinity\"")];

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(JsonVisitor)
    }
}

struct JsonVisitor;

impl<'de> Visitor<'de> for JsonVisitor {
    type Value = Json;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Json, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Json, E> {
        Ok(Json::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Json, E> {
        Ok(Json::Int(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Json, E> {
        Ok(i64::try_from(value).map_or(Json::Uint(value), Json::Int))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Json, E> {
        Ok(Json::Float(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Json, E> {
        Ok(Json::Text(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Json, E> {
        Ok(Json::Text(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Json, A::Error> {
        let mut values = Vec::new();
        while let Some(value) = sequence.next_element()? {
            values.push(value);
        }
        Ok(Json::List(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Json, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = map.next_entry()? {
            entries.push(entry);
        }
        Ok(Json::Object(entries))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pythons_numbers_are_read_and_texts_are_left_alone() {
        let read = Json::read(br#"{"b": [NaN, -Infinity, Infinity, -1], "a": "NaN \" Infinity"}"#).unwrap();
        let text = |text: &str| Json::Text(text.to_owned());
        let list = Json::List(vec![Json::Null, text("-Infinity"), text("Infinity"), Json::Int(-1)]);
        let wanted = vec![("b".to_owned(), list), ("a".to_owned(), text("NaN \" Infinity"))];
        assert_eq!(read, Json::Object(wanted));
        assert!(Json::read(b"[Nan]").is_err());
        assert!(Json::read(b"{\"a\": 1").is_err());
        assert!(Json::read("[".repeat(100_000).as_bytes()).is_err(), "nesting is bounded");
    }

    proptest::proptest! {
        #[test]
        fn foreign_bytes_do_no_harm(bytes: Vec<u8>) {
            let _ = Json::read(&bytes);
        }

        #[test]
        fn texts_are_what_they_were(text in ".*") {
            let json = serde_json::to_vec(&text).unwrap();
            proptest::prop_assert_eq!(Json::read(&json).unwrap(), Json::Text(text));
        }
    }
}
