use std::borrow::Cow;
use std::fmt;

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
    /// Bytes.
    Binary(Cow<'a, [u8]>),
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
            Self::Binary(bytes) => bytes.len() + 4,
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

/// As JSON where JSON has the type; text of its own form elsewhere.
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
            Self::Binary(bytes) => write!(f, "{} bytes", bytes.len()),
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
    fn long_values_are_cut_for_people() {
        assert_eq!(Cell::text("é".repeat(500)).shown().chars().count(), 201);
        assert_eq!(Cell::text("rope").shown(), "rope");
    }
}
