//! OpenTelemetry's values: as JSON, and as the messages that carry them in ProtoJSON.

use std::fmt;

use serde::de::{Error, MapAccess, SeqAccess, Visitor};
use serde::ser::{SerializeMap, SerializeSeq};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::ser::Formatter;

/// A value; members keep the order in which they came, because people read them.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Any {
    Null,
    Bool(bool),
    Int(i64),
    Double(f64),
    Text(String),
    List(Vec<Any>),
    Map(Vec<(String, Any)>),
}

impl Serialize for Any {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Null => serializer.serialize_unit(),
            Self::Bool(value) => serializer.serialize_bool(*value),
            Self::Int(value) => serializer.serialize_i64(*value),
            // JSON has no number for the others.
            Self::Double(value) if value.is_finite() => serializer.serialize_f64(*value),
            Self::Double(value) => serializer.serialize_str(double_name(*value)),
            Self::Text(text) => serializer.serialize_str(text),
            Self::List(values) => serializer.collect_seq(values),
            Self::Map(members) => serializer.collect_map(members.iter().map(|(key, value)| (key, value))),
        }
    }
}

fn double_name(value: f64) -> &'static str {
    match value {
        f64::INFINITY => "Infinity",
        f64::NEG_INFINITY => "-Infinity",
        _ => "NaN",
    }
}

struct AnyVisitor;

impl<'de> Visitor<'de> for AnyVisitor {
    type Value = Any;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E: Error>(self) -> Result<Any, E> {
        Ok(Any::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Any, E> {
        Ok(Any::Bool(value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Any, E> {
        Ok(Any::Int(value))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Any, E> {
        Ok(i64::try_from(value).map_or(Any::Double(value as f64), Any::Int))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Any, E> {
        Ok(Any::Double(value))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Any, E> {
        Ok(Any::Text(value.to_owned()))
    }

    fn visit_string<E: Error>(self, value: String) -> Result<Any, E> {
        Ok(Any::Text(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Any, A::Error> {
        let mut values = Vec::new();
        while let Some(value) = access.next_element()? {
            values.push(value);
        }
        Ok(Any::List(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Any, A::Error> {
        let mut members = Vec::new();
        while let Some(member) = access.next_entry()? {
            members.push(member);
        }
        Ok(Any::Map(members))
    }
}

impl<'de> Deserialize<'de> for Any {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyVisitor)
    }
}

/// `AnyValue` in ProtoJSON; a null is one without a value.
pub(super) struct AnyValueOut<'a>(pub(super) &'a Any);

impl Serialize for AnyValueOut<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut message = serializer.serialize_map(None)?;
        match self.0 {
            Any::Null => {}
            Any::Bool(value) => message.serialize_entry("bool_value", value)?,
            Any::Int(value) => message.serialize_entry("int_value", value)?,
            double @ Any::Double(_) => message.serialize_entry("double_value", double)?,
            Any::Text(text) => message.serialize_entry("string_value", text)?,
            Any::List(values) => message.serialize_entry("array_value", &Values(&ListOut(values)))?,
            Any::Map(members) => message.serialize_entry("kvlist_value", &Values(&MembersOut(members)))?,
        }
        message.end()
    }
}

/// `ArrayValue`, `KeyValueList`: a message with its one field, `values`.
struct Values<'a, T>(&'a T);

impl<T: Serialize> Serialize for Values<'_, T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut message = serializer.serialize_map(Some(1))?;
        message.serialize_entry("values", self.0)?;
        message.end()
    }
}

struct ListOut<'a>(&'a [Any]);

impl Serialize for ListOut<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().map(AnyValueOut))
    }
}

/// A repeated `KeyValue`.
pub(super) struct MembersOut<'a>(pub(super) &'a [(String, Any)]);

impl MembersOut<'_> {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[derive(Serialize)]
struct MemberOut<'a> {
    key: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<AnyValueOut<'a>>,
}

impl Serialize for MembersOut<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut members = serializer.serialize_seq(Some(self.0.len()))?;
        for (key, value) in self.0 {
            let value = (*value != Any::Null).then_some(AnyValueOut(value));
            members.serialize_element(&MemberOut { key, value })?;
        }
        members.end()
    }
}

/// JSON with a blank after each comma and colon, as Python writes it: filters look into what is stored so.
pub(super) fn python_json(value: &impl Serialize) -> String {
    let mut bytes = Vec::new();
    let mut serializer = serde_json::Serializer::with_formatter(&mut bytes, PythonFormatter);
    // Memory takes everything, and all keys here are texts: this cannot fail.
    value.serialize(&mut serializer).map(|()| String::from_utf8(bytes).unwrap_or_default()).unwrap_or_default()
}

struct PythonFormatter;

impl Formatter for PythonFormatter {
    fn begin_array_value<W: ?Sized + std::io::Write>(&mut self, writer: &mut W, first: bool) -> std::io::Result<()> {
        if first { Ok(()) } else { writer.write_all(b", ") }
    }

    fn begin_object_key<W: ?Sized + std::io::Write>(&mut self, writer: &mut W, first: bool) -> std::io::Result<()> {
        if first { Ok(()) } else { writer.write_all(b", ") }
    }

    fn begin_object_value<W: ?Sized + std::io::Write>(&mut self, writer: &mut W) -> std::io::Result<()> {
        writer.write_all(b": ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_keep_their_order_and_kind() {
        let text = r#"{"z": [1, 2.0, "é", null, true], "a": {"b": -9223372036854775808}}"#;
        let value: Any = serde_json::from_str(text).expect("value");
        assert_eq!(python_json(&value), text);
        let message = serde_json::to_string(&AnyValueOut(&value)).expect("message");
        let expected = concat!(
            r#"{"kvlist_value":{"values":[{"key":"z","value":{"array_value":{"values":[{"int_value":1},"#,
            r#"{"double_value":2.0},{"string_value":"é"},{},{"bool_value":true}]}}},"#,
            r#"{"key":"a","value":{"kvlist_value":{"values":["#,
            r#"{"key":"b","value":{"int_value":-9223372036854775808}}]}}}]}}"#
        );
        assert_eq!(message, expected);
        assert_eq!(python_json(&Any::Double(f64::NEG_INFINITY)), "\"-Infinity\"");
        let null = [("k".to_owned(), Any::Null)];
        assert_eq!(serde_json::to_string(&MembersOut(&null)).expect("null"), r#"[{"key":"k"}]"#);
    }
}
