//! The trace and logging extensions of a server whose tracing and logging are its configuration's: what is set is
//! told, and nothing can be changed.

use serde_json::{Map, Value, json};

use crate::ProtocolError;

/// How requests are traced through this protocol: not at all. Names and values are Triton's.
pub(crate) const TRACE: [(&str, &str); 6] = [
    ("trace_level", "OFF"),
    ("trace_rate", "1000"),
    ("trace_count", "-1"),
    ("log_frequency", "0"),
    ("trace_file", ""),
    ("trace_mode", "triton"),
];

/// What is logged. Names and values are Triton's.
pub(crate) fn log_settings() -> [(&'static str, Value); 6] {
    [
        ("log_file", json!("")),
        ("log_info", json!(true)),
        ("log_warning", json!(true)),
        ("log_error", json!(true)),
        ("log_verbose_level", json!(0)),
        ("log_format", json!("default")),
    ]
}

/// The trace settings as REST writes them: the level is a list.
pub(crate) fn trace_json() -> Value {
    let one = |(name, value): &(&str, &str)| {
        let value = if *name == "trace_level" { json!([value]) } else { json!(value) };
        ((*name).to_owned(), value)
    };
    Value::Object(TRACE.iter().map(one).collect())
}

/// The log settings as REST writes them.
pub(crate) fn log_json() -> Value {
    Value::Object(log_settings().map(|(name, value)| (name.to_owned(), value)).into_iter().collect())
}

/// Whether trace settings may be set so: to what they are, or back to what they were, which is the same.
pub(crate) fn check_trace<'a>(setting: &str, mut values: impl Iterator<Item = &'a str>) -> Result<(), ProtocolError> {
    let known = TRACE.iter().find(|(name, _)| *name == setting);
    let same = known.is_some_and(|(_, known)| values.all(|value| value == *known));
    if same { Ok(()) } else { Err(refused("trace", setting)) }
}

/// Whether a log setting may be set so: to what it is.
pub(crate) fn check_log(setting: &str, value: &Value) -> Result<(), ProtocolError> {
    let same = log_settings().iter().any(|(name, known)| *name == setting && known == value);
    if same { Ok(()) } else { Err(refused("log", setting)) }
}

/// Trace settings as REST sends them: texts, lists of texts, or `null` for what the server had at first.
pub(crate) fn check_trace_json(settings: &Map<String, Value>) -> Result<(), ProtocolError> {
    for (name, value) in settings {
        let texts: Option<Vec<&str>> = match value {
            Value::Null => Some(Vec::new()),
            Value::String(text) => Some(vec![text]),
            Value::Array(values) => values.iter().map(Value::as_str).collect(),
            _ => None,
        };
        check_trace(name, texts.ok_or_else(|| refused("trace", name))?.into_iter())?;
    }
    Ok(())
}

fn refused(what: &'static str, setting: &str) -> ProtocolError {
    ProtocolError::Setting { what, setting: setting.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_so_already_can_be_set() {
        let object = |value: Value| value.as_object().cloned().unwrap_or_default();
        assert!(check_trace_json(&object(trace_json())).is_ok());
        assert!(check_trace_json(&object(json!({"trace_level": "OFF", "trace_rate": null}))).is_ok());
        for bad in [json!({"trace_level": ["TIMESTAMPS"]}), json!({"trace_rate": 5}), json!({"other": null})] {
            assert!(check_trace_json(&object(bad)).is_err());
        }
        assert!(check_log("log_verbose_level", &json!(0)).is_ok());
        assert!(check_log("log_verbose_level", &json!(1)).is_err());
    }
}
