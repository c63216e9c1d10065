use std::borrow::Cow;

use chrono::{DateTime, NaiveDate, NaiveDateTime, NaiveTime, Timelike as _};
use sqlx::sqlite::{Sqlite, SqliteRow, SqliteValueRef};
use sqlx::{Decode, Row as _, TypeInfo as _, ValueRef as _};

use crate::cell::Cell;

/// What a column holds, by its declaration; SQLite itself lets every value be of any type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::sql) enum Kind {
    /// The value as it is stored.
    Stored,
    /// Numbers that a decimal column holds.
    Decimal,
    /// Text of the form `YYYY-MM-DD`.
    Date,
    /// Text of the form `HH:MM[:SS[.fff]]`.
    Time,
    /// Text of the form `YYYY-MM-DD[ T]HH:MM[:SS[.fff]]`, with `Z` or `±HH[:]MM` behind it or not, or a date.
    Timestamp,
    /// Values of several types: each as text.
    Mixed,
}

/// The value of column `index`.
pub(super) fn cell(row: &SqliteRow, index: usize, kind: Kind) -> Cell<'_> {
    let Ok(value) = row.try_get_raw(index) else {
        return Cell::Misfit("".into(), "the query gave fewer columns than it had announced");
    };
    let stored = stored(value);
    match (kind, stored) {
        (Kind::Mixed, Cell::Integer(value)) => Cell::text(value.to_string()),
        (Kind::Mixed, Cell::Float(value)) => Cell::text(value.to_string()),
        (Kind::Decimal, Cell::Text(text)) => Cell::Decimal(text),
        (Kind::Date, Cell::Text(text)) => date(&text).map_or(Cell::Text(text), Cell::Date),
        (Kind::Time, Cell::Text(text)) => time(&text).map_or(Cell::Text(text), Cell::Time),
        (Kind::Timestamp, Cell::Text(text)) => timestamp(&text).map_or(Cell::Text(text), Cell::Timestamp),
        // As it is stored: where that does not fit, the column says so.
        (_, stored) => stored,
    }
}

fn stored(value: SqliteValueRef<'_>) -> Cell<'_> {
    fn get<'r, T: Decode<'r, Sqlite>>(value: SqliteValueRef<'r>) -> Option<T> {
        T::decode(value).ok()
    }
    // The driver gives a value that is null the type of its column.
    if value.is_null() {
        return Cell::Null;
    }
    let kind = value.type_info().name().to_owned();
    let cell = match kind.as_str() {
        "INTEGER" => get(value).map(Cell::Integer),
        "REAL" => get(value).map(Cell::Float),
        "TEXT" => get::<&str>(value).map(|text| Cell::Text(text.into())),
        "BLOB" => get::<&[u8]>(value).map(|bytes| Cell::Binary(bytes.into(), 0)),
        _ => return Cell::Null,
    };
    cell.unwrap_or(Cell::Misfit("text".into(), "it is not UTF-8"))
}

fn date(text: &str) -> Option<i32> {
    NaiveDate::parse_from_str(text, "%Y-%m-%d").ok().map(|date| date.to_epoch_days())
}

fn time(text: &str) -> Option<i64> {
    let formats = ["%H:%M:%S%.f", "%H:%M"];
    let time = formats.iter().find_map(|format| NaiveTime::parse_from_str(text, format).ok())?;
    Some(i64::from(time.num_seconds_from_midnight()) * 1_000_000 + i64::from(time.nanosecond() / 1000))
}

fn timestamp(text: &str) -> Option<i64> {
    let formats = ["%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M", "%Y-%m-%dT%H:%M"];
    let moment = formats.iter().find_map(|format| NaiveDateTime::parse_from_str(text, format).ok());
    match moment {
        Some(moment) => Some(moment.and_utc().timestamp_micros()),
        None => zoned(text).or_else(|| date(text).map(|days| i64::from(days) * 86_400_000_000)),
    }
}

/// A moment whose text names a time zone, in UTC.
pub(super) fn zoned(text: &str) -> Option<i64> {
    let text = match text.strip_suffix(['Z', 'z']) {
        Some(moment) => Cow::Owned(format!("{moment}+00:00")),
        None => Cow::Borrowed(text),
    };
    let formats = ["%Y-%m-%d %H:%M:%S%.f%#z", "%Y-%m-%dT%H:%M:%S%.f%#z", "%Y-%m-%d %H:%M%#z", "%Y-%m-%dT%H:%M%#z"];
    let moment = formats.iter().find_map(|format| DateTime::parse_from_str(&text, format).ok())?;
    Some(moment.timestamp_micros())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_read_in_the_forms_that_sqlite_writes() {
        assert_eq!(date("1970-01-02"), Some(1));
        assert_eq!(date("2/1/1970"), None);
        assert_eq!(time("00:01:00.5"), Some(60_500_000));
        for text in ["1970-01-01 00:01:00", "1970-01-01T00:01:00.000", "1970-01-01 00:01"] {
            assert_eq!(timestamp(text), Some(60_000_000), "{text}");
        }
        for text in
            ["1970-01-01T00:01:00Z", "1970-01-01 00:01:00.000z", "1970-01-01T02:01:00+02:00", "1969-12-31 23:01-0100"]
        {
            assert_eq!((timestamp(text), zoned(text)), (Some(60_000_000), Some(60_000_000)), "{text}");
        }
        assert_eq!(zoned("1970-01-01 00:01:00"), None);
        assert_eq!(timestamp("1970-01-02"), Some(86_400_000_000));
        assert_eq!(timestamp("yesterday"), None);
    }
}
