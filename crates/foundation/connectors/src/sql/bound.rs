//! Values as the text of parameters, and where they lie between others.

use chrono::{NaiveDate, NaiveDateTime};

use crate::cell::{Cell, date_text, timestamp_text};

use super::dialect::{Comparable, Dialect, UTC};

/// Where the clock begins in the text of a moment, behind a blank or a `T`.
const BEFORE_CLOCK: usize = 10;

/// An extreme value of a column as the text of a parameter; none for null.
///
/// # Errors
/// Says why, when the database would compare another value than this one: SQLite keeps values of any type in any
/// column, and text sorts above all numbers there.
pub(super) fn bound(cell: &Cell<'_>, kind: Comparable, dialect: Dialect) -> Result<Option<String>, String> {
    use Comparable::{Date, Decimal, Float, Integer, Text, Timestamp, TimestampUtc, Unsigned};
    Ok(Some(match (kind, cell) {
        (_, Cell::Null) => return Ok(None),
        (_, Cell::Misfit(shown, reason)) => {
            return Err(format!("its extreme value `{shown}` cannot be compared: {reason}"));
        }
        (Integer | Unsigned | Decimal | Float, Cell::Integer(number)) => number.to_string(),
        (Integer | Unsigned | Decimal | Float, Cell::Unsigned(number)) => number.to_string(),
        (Decimal | Float, Cell::Float(number)) if number.is_finite() => number.to_string(),
        (Decimal, Cell::Decimal(text)) if is_number(text) => text.to_string(),
        (Date, Cell::Date(days)) => date_text(*days),
        (Timestamp, Cell::Timestamp(micros)) => timestamp_text(*micros),
        (TimestampUtc, Cell::Timestamp(micros)) => format!("{}{}", timestamp_text(*micros), dialect.utc()),
        (Text, Cell::Text(text)) => text.to_string(),
        // As it is stored, for it is compared as text.
        (Date | Timestamp, Cell::Text(text)) if dialect == Dialect::Sqlite && place(text, kind).is_some() => {
            text.to_string()
        }
        (_, other) => {
            return Err(format!(
                "its extreme value `{}` is no {}, so rows cannot be compared with it; leave such rows out, \
                 or cast the column, in the query",
                other.shown(),
                called(kind)
            ));
        }
    }))
}

fn called(kind: Comparable) -> &'static str {
    match kind {
        Comparable::Integer | Comparable::Unsigned => "whole number",
        Comparable::Decimal | Comparable::Float => "number",
        Comparable::Date => "date",
        Comparable::Timestamp | Comparable::TimestampUtc => "timestamp",
        Comparable::Text => "text",
    }
}

/// Sign, digits, point, digits; PostgreSQL's `NaN` and `Infinity` are greater than every number that comes later.
fn is_number(text: &str) -> bool {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    digits.bytes().any(|byte| byte.is_ascii_digit())
        && digits.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.')
        && digits.matches('.').count() <= 1
}

/// Whether moments that are compared as text, the first before the second, may sort otherwise than by time: a blank
/// between date and clock sorts before a `T`.
pub(super) fn mixes_forms(earlier: &str, later: &str) -> bool {
    let mark = |text: &str| text.as_bytes().get(BEFORE_CLOCK).copied();
    matches!((mark(earlier), mark(later)), (Some(one), Some(other)) if one != other)
}

/// Whether the text of a moment has a `T` between date and clock.
pub(super) fn has_t(text: &str) -> bool {
    text.as_bytes().get(BEFORE_CLOCK) == Some(&b'T')
}

/// Where a value lies: itself, days, or microseconds.
pub(super) fn place(text: &str, kind: Comparable) -> Option<i128> {
    match kind {
        Comparable::Date => date_place(text).map(i128::from),
        Comparable::Timestamp | Comparable::TimestampUtc => {
            let text = text.strip_suffix(UTC).unwrap_or(text);
            let formats = ["%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M", "%Y-%m-%dT%H:%M"];
            let moment = formats.iter().find_map(|format| NaiveDateTime::parse_from_str(text, format).ok());
            match moment {
                Some(moment) => Some(moment.and_utc().timestamp_micros().into()),
                None => date_place(text).map(|days| i128::from(days) * 86_400_000_000),
            }
        }
        _ => text.trim().parse().ok(),
    }
}

fn date_place(text: &str) -> Option<i32> {
    NaiveDate::parse_from_str(text, "%Y-%m-%d").ok().map(|date| date.to_epoch_days())
}

/// What [`place`] gives, as text.
pub(super) fn written(value: i128, kind: Comparable, dialect: Dialect) -> String {
    let moment = || timestamp_text(i64::try_from(value).unwrap_or_default());
    match kind {
        Comparable::Date => date_text(i32::try_from(value).unwrap_or_default()),
        Comparable::Timestamp => moment(),
        Comparable::TimestampUtc => format!("{}{}", moment(), dialect.utc()),
        _ => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_in_utc_say_so_to_postgresql_only() {
        let text = |dialect| bound(&Cell::Timestamp(0), Comparable::TimestampUtc, dialect).unwrap().unwrap();
        assert_eq!(text(Dialect::Postgres), "1970-01-01 00:00:00.000000+00");
        assert_eq!(text(Dialect::Mysql), "1970-01-01 00:00:00.000000");
        assert_eq!(written(0, Comparable::TimestampUtc, Dialect::Mysql), text(Dialect::Mysql));
    }

    #[test]
    fn a_value_of_another_type_is_no_bound() {
        let refused = |cell: Cell<'_>, kind| bound(&cell, kind, Dialect::Sqlite).unwrap_err();
        assert!(refused(Cell::text(""), Comparable::Integer).contains("`` is no whole number"));
        assert!(refused(Cell::Float(1.5), Comparable::Integer).contains("`1.5`"));
        assert!(refused(Cell::Binary(b"abc"[..].into(), 0), Comparable::Integer).contains("3 bytes"));
        assert!(refused(Cell::text("x"), Comparable::Float).contains("no number"));
        assert!(refused(Cell::Float(f64::NAN), Comparable::Float).contains("NaN"));
        for text in ["NaN", "Infinity", "", "-", "1.2.3"] {
            refused(Cell::Decimal(text.into()), Comparable::Decimal);
        }
        assert!(refused(Cell::Integer(5), Comparable::Text).contains("no text"));
        assert!(refused(Cell::text("soon"), Comparable::Timestamp).contains("no timestamp"));
        assert!(refused(Cell::Misfit("infinity".into(), "why"), Comparable::Date).contains("why"));
        assert_eq!(bound(&Cell::Null, Comparable::Date, Dialect::Sqlite), Ok(None));
        let number = bound(&Cell::Decimal("-1.50".into()), Comparable::Decimal, Dialect::Postgres);
        assert_eq!(number, Ok(Some("-1.50".to_owned())));
    }

    #[test]
    fn sqlite_compares_dates_as_they_are_stored() {
        for text in ["2024-01-02T11:00:00", "2024-01-02 11:00", "2024-01-02"] {
            let same = bound(&Cell::text(text), Comparable::Timestamp, Dialect::Sqlite).unwrap();
            assert_eq!(same.as_deref(), Some(text));
            assert!(place(text, Comparable::Timestamp).is_some());
        }
        assert!(mixes_forms("2024-01-02 11:00:00", "2024-01-02T09:00:00"));
        assert!(!mixes_forms("2024-01-02", "2024-01-02T09:00:00") && !mixes_forms("2024-01-02 1", "2024-01-03 1"));
    }
}
