use std::borrow::Cow;
use std::fmt;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

/// Characters of a value that are shown where it is only an example.
const SHOWN: usize = 200;

/// One value on its way from a source into a column.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Cell<'a> {
    /// No value.
    Null,
    /// True or false.
    Boolean(bool),
    /// A whole number.
    Integer(i64),
    /// A whole number that a signed one of 64 bits may not hold.
    Unsigned(u64),
    /// IEEE 754 double precision.
    Float(f64),
    /// A decimal number, exact: sign, digits, point, digits.
    Decimal(Cow<'a, str>),
    /// UTF-8 text.
    Text(Cow<'a, str>),
    /// Bytes, and their subtype in BSON; 0, which says nothing more of them, in all other sources.
    Binary(Cow<'a, [u8]>, u8),
    /// Days since 1970-01-01.
    Date(i32),
    /// Microseconds since midnight.
    Time(i64),
    /// Microseconds since 1970-01-01 00:00:00.
    Timestamp(i64),
    /// Values in order.
    List(Vec<Cell<'a>>),
    /// Values by name, in the source's order.
    Struct(Vec<(Cow<'a, str>, Cell<'a>)>),
    /// What its source can hold and no column can: how it is shown, and why.
    Misfit(Cow<'a, str>, &'static str),
}

impl Cell<'_> {
    pub(crate) fn text(text: impl Into<String>) -> Self {
        Self::Text(Cow::Owned(text.into()))
    }

    /// Bytes that its source sent in another length or form than its type has.
    pub(crate) fn malformed(bytes: &[u8]) -> Self {
        Self::Misfit(Cow::Owned(format!("{} bytes", bytes.len())), "the bytes are not those of the column's type")
    }

    /// About how many bytes it takes in a column.
    pub(crate) fn weight(&self) -> usize {
        match self {
            Self::Decimal(text) | Self::Text(text) => text.len() + 4,
            Self::Binary(bytes, _) => bytes.len() + 4,
            Self::List(items) => items.iter().map(Self::weight).sum::<usize>() + 4,
            Self::Struct(fields) => fields.iter().map(|(_, cell)| cell.weight()).sum::<usize>() + 1,
            _ => 8,
        }
    }

    /// The value as people read it, cut short.
    pub(crate) fn shown(&self) -> String {
        let text = match self {
            Self::Text(text) => text.to_string(),
            other => other.to_string(),
        };
        match text.char_indices().nth(SHOWN) {
            Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
            None => text,
        }
    }
}

/// Why a value has no JSON: how it is shown, and the reason.
pub(crate) type NoJson = (String, &'static str);

impl Cell<'_> {
    /// The value as JSON, from which nothing is lost: bytes and numbers that JSON lacks are objects, as MongoDB's
    /// Extended JSON (v2) has them; dates and times are text.
    ///
    /// <https://www.mongodb.com/docs/manual/reference/mongodb-extended-json/>
    ///
    /// # Errors
    /// When it holds a value that its source has and nothing else can hold.
    pub(crate) fn json(&self) -> Result<String, NoJson> {
        let mut text = String::new();
        self.write_json(&mut text)?;
        Ok(text)
    }

    fn write_json(&self, text: &mut String) -> Result<(), NoJson> {
        match self {
            Self::Misfit(shown, reason) => return Err((shown.to_string(), *reason)),
            Self::Binary(bytes, subtype) => {
                let subtype = format!("{subtype:02x}");
                text.push_str(r#"{"$binary":{"base64":""#);
                BASE64_STANDARD.encode_string(bytes, text);
                text.push_str(r#"","subType":""#);
                text.push_str(&subtype);
                text.push_str(r#""}}"#);
            }
            Self::Float(value) if !value.is_finite() => text.push_str(match value {
                value if value.is_nan() => r#"{"$numberDouble":"NaN"}"#,
                value if value.is_sign_positive() => r#"{"$numberDouble":"Infinity"}"#,
                _ => r#"{"$numberDouble":"-Infinity"}"#,
            }),
            // Its digits as they are, where they are a number of JSON.
            Self::Decimal(number) if serde_json::from_str::<serde_json::Number>(number).is_err() => {
                let number = serde_json::json!({ "$numberDecimal": number });
                text.push_str(&number.to_string());
            }
            Self::List(items) => {
                text.push('[');
                for (index, item) in items.iter().enumerate() {
                    text.push_str(if index == 0 { "" } else { "," });
                    item.write_json(text)?;
                }
                text.push(']');
            }
            Self::Struct(fields) => {
                text.push('{');
                for (index, (name, value)) in fields.iter().enumerate() {
                    text.push_str(if index == 0 { "" } else { "," });
                    text.push_str(&serde_json::Value::from(&**name).to_string());
                    text.push(':');
                    value.write_json(text)?;
                }
                text.push('}');
            }
            other => text.push_str(&other.to_string()),
        }
        Ok(())
    }
}

/// As JSON where JSON has the type; text of its own form elsewhere: for people.
impl fmt::Display for Cell<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("null"),
            Self::Boolean(value) => write!(f, "{value}"),
            Self::Integer(value) => write!(f, "{value}"),
            Self::Unsigned(value) => write!(f, "{value}"),
            Self::Float(value) => write!(f, "{value}"),
            Self::Decimal(text) | Self::Misfit(text, _) => f.write_str(text),
            Self::Text(text) => write_quoted(f, text),
            Self::Binary(bytes, _) => write!(f, "{} bytes", bytes.len()),
            Self::Date(days) => write_quoted(f, &date_text(*days)),
            Self::Time(micros) => write_quoted(f, &time_text(*micros)),
            Self::Timestamp(micros) => write_quoted(f, &timestamp_text(*micros)),
            Self::List(items) => {
                f.write_str("[")?;
                for (index, item) in items.iter().enumerate() {
                    write!(f, "{}{item}", if index == 0 { "" } else { "," })?;
                }
                f.write_str("]")
            }
            Self::Struct(fields) => {
                f.write_str("{")?;
                for (index, (name, value)) in fields.iter().enumerate() {
                    f.write_str(if index == 0 { "" } else { "," })?;
                    write_quoted(f, name)?;
                    write!(f, ":{value}")?;
                }
                f.write_str("}")
            }
        }
    }
}

fn write_quoted(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    write!(f, "{}", serde_json::Value::from(text))
}

/// `YYYY-MM-DD`; the number of days where the calendar has no such date.
pub(crate) fn date_text(days: i32) -> String {
    let date = chrono::NaiveDate::from_epoch_days(days);
    date.map_or_else(|| days.to_string(), |date| date.to_string())
}

fn time_text(micros: i64) -> String {
    let seconds = u32::try_from(micros / 1_000_000).unwrap_or(u32::MAX);
    let nanos = u32::try_from(micros.rem_euclid(1_000_000)).unwrap_or_default() * 1000;
    let time = chrono::NaiveTime::from_num_seconds_from_midnight_opt(seconds, nanos);
    time.map_or_else(|| micros.to_string(), |time| time.format("%H:%M:%S%.6f").to_string())
}

/// `YYYY-MM-DD HH:MM:SS.ffffff`, which all our databases read; microseconds where the calendar has no such moment.
pub(crate) fn timestamp_text(micros: i64) -> String {
    let moment = chrono::DateTime::from_timestamp_micros(micros);
    moment.map_or_else(|| micros.to_string(), |moment| moment.format("%Y-%m-%d %H:%M:%S%.6f").to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_shown_as_json() {
        let cell = Cell::Struct(vec![
            ("a".into(), Cell::List(vec![Cell::Integer(1), Cell::Null, Cell::text("x\"y")])),
            ("t".into(), Cell::Timestamp(0)),
        ]);
        assert_eq!(cell.to_string(), r#"{"a":[1,null,"x\"y"],"t":"1970-01-01 00:00:00.000000"}"#);
        assert!(cell.weight() >= 24);
        assert_eq!(date_text(-1), "1969-12-31");
        assert_eq!(time_text(3_661_000_001), "01:01:01.000001");
    }

    #[test]
    fn json_loses_nothing() {
        let fields = vec![
            ("b".into(), Cell::Binary([1, 2, 3][..].into(), 0)),
            ("m".into(), Cell::List(vec![Cell::Binary([][..].into(), 5), Cell::Null])),
            ("f".into(), Cell::List(vec![Cell::Float(f64::NAN), Cell::Float(f64::NEG_INFINITY), Cell::Float(0.5)])),
            ("d".into(), Cell::List(vec![Cell::Decimal("1.50".into()), Cell::Decimal("NaN".into())])),
            ("a\"b".into(), Cell::text("x\"y")),
        ];
        let text = Cell::Struct(fields).json().unwrap();
        let read: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(read["b"], serde_json::json!({"$binary": {"base64": "AQID", "subType": "00"}}));
        assert_eq!(read["m"], serde_json::json!([{"$binary": {"base64": "", "subType": "05"}}, null]));
        assert_eq!(read["f"], serde_json::json!([{"$numberDouble": "NaN"}, {"$numberDouble": "-Infinity"}, 0.5]));
        assert!(text.contains(r#""d":[1.50,{"$numberDecimal":"NaN"}]"#), "{text}");
        assert_eq!(read["a\"b"], "x\"y");
        let misfit = Cell::List(vec![Cell::Struct(vec![("k".into(), Cell::Misfit("MinKey".into(), "a bound"))])]);
        assert_eq!(misfit.json(), Err(("MinKey".to_owned(), "a bound")));
    }

    #[test]
    fn long_values_are_cut_for_people() {
        assert_eq!(Cell::text("é".repeat(500)).shown().chars().count(), 201);
        assert_eq!(Cell::text("rope").shown(), "rope");
    }
}
