use serde_json::Value;

use crate::cell::Cell;

/// A JSON value as a cell. Numbers beyond 64 bits are doubles, as RFC 8259 (section 6) says to expect.
pub(crate) fn cell(value: &Value) -> Cell<'_> {
    match value {
        Value::Null => Cell::Null,
        Value::Bool(value) => Cell::Boolean(*value),
        Value::Number(number) => match (number.as_i64(), number.as_u64(), number.as_f64()) {
            (Some(value), ..) => Cell::Integer(value),
            (_, Some(value), _) => Cell::Unsigned(value),
            (.., Some(value)) => Cell::Float(value),
            _ => Cell::Misfit(number.to_string().into(), "the number cannot be held"),
        },
        Value::String(text) => Cell::Text(text.into()),
        Value::Array(items) => Cell::List(items.iter().map(cell).collect()),
        Value::Object(fields) => Cell::Struct(fields.iter().map(|(name, value)| (name.into(), cell(value))).collect()),
    }
}
