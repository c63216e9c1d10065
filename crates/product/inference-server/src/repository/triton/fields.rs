use std::str::FromStr;

use super::{Field, Message, Value, Wrong};

/// A field that is something else than `expected`.
pub(super) fn wrong(field: &Field, expected: &str) -> Wrong {
    Wrong { line: field.line, reason: format!("`{}`: {expected} is expected", field.name) }
}

pub(super) fn text(field: &Field) -> Result<String, Wrong> {
    match &field.value {
        Value::Text(bytes) => String::from_utf8(bytes.clone()).map_err(|_| wrong(field, "a text in UTF-8")),
        _ => Err(wrong(field, "a text")),
    }
}

pub(super) fn word(field: &Field) -> Result<&str, Wrong> {
    match &field.value {
        Value::Word(word) => Ok(word),
        _ => Err(wrong(field, "a name")),
    }
}

pub(super) fn sub(field: &Field) -> Result<&Message, Wrong> {
    match &field.value {
        Value::Message(message) => Ok(message),
        _ => Err(wrong(field, "a message")),
    }
}

/// A whole number; the format knows them in base 16, too.
pub(super) fn number<T: FromStr + TryFrom<i64>>(field: &Field) -> Result<T, Wrong> {
    let text = word(field)?;
    let hexadecimal = text.strip_prefix("0x").and_then(|digits| i64::from_str_radix(digits, 16).ok());
    let number = hexadecimal.map_or_else(|| text.parse().ok(), |number| T::try_from(number).ok());
    number.ok_or_else(|| wrong(field, "a whole number that fits"))
}

/// All fields of one name.
pub(super) fn numbers<T: FromStr + TryFrom<i64>>(message: &Message, name: &str) -> Result<Vec<T>, Wrong> {
    message.fields.iter().filter(|field| field.name == name).map(number).collect()
}
