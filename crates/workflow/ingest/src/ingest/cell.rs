use std::borrow::Cow;

use chrono::{DateTime, NaiveDate};

/// The largest magnitude below which every whole number has its own double: 2^53.
const EXACT: f64 = 9_007_199_254_740_992.0;
const DAY: i64 = 86_400_000_000;

/// One cell as its file has it, before a type is chosen for its column.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Cell<'a> {
    /// Nothing, or a text that stands for nothing.
    Null,
    /// A number of a workbook.
    Number(f64),
    /// TRUE or FALSE of a workbook.
    Boolean(bool),
    /// A date or a moment of a workbook: microseconds since 1970-01-01 without a time zone.
    Instant(i64),
    /// Any text.
    Text(Cow<'a, str>),
    /// A text that stands for nothing but for blanks or quotes around it: a text in a column of text, null in any other.
    TextOrNull(Cow<'a, str>),
}

/// What a cell could be, in the narrowest sense.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Integer,
    Float,
    Boolean,
    Date,
    /// With a time of day; `offset`: the text names a time zone.
    Timestamp {
        offset: bool,
    },
    Text,
}

impl Cell<'_> {
    /// What the cell could be; none for a null, and what may be one.
    pub(crate) fn kind(&self) -> Option<Kind> {
        match self {
            Self::Null | Self::TextOrNull(_) => None,
            Self::Number(number) if whole(*number).is_some() => Some(Kind::Integer),
            Self::Number(_) => Some(Kind::Float),
            Self::Boolean(_) => Some(Kind::Boolean),
            Self::Instant(micros) if micros.rem_euclid(DAY) == 0 => Some(Kind::Date),
            Self::Instant(_) => Some(Kind::Timestamp { offset: false }),
            Self::Text(text) => Some(kind_of_text(text)),
        }
    }

    pub(crate) fn integer(&self) -> Option<i64> {
        match self {
            Self::Number(number) => whole(*number),
            Self::Text(text) => integer(text.trim()),
            _ => None,
        }
    }

    /// The number, unless it is a whole one with more digits than a float has.
    pub(crate) fn float(&self) -> Option<f64> {
        match self {
            Self::Number(number) => Some(*number),
            Self::Text(text) => float(text.trim()),
            _ => None,
        }
    }

    /// Whether it is a whole number that a float would round.
    pub(crate) fn is_inexact(&self) -> bool {
        // 2^53 has 16 digits.
        matches!(self, Self::Text(text) if text.len() >= 16) && self.integer().is_some() && self.float().is_none()
    }

    pub(crate) fn boolean(&self) -> Option<bool> {
        match self {
            Self::Boolean(value) => Some(*value),
            Self::Text(text) => boolean(text.trim()),
            _ => None,
        }
    }

    /// Microseconds since 1970-01-01.
    pub(crate) fn timestamp(&self) -> Option<i64> {
        match self {
            Self::Instant(micros) => Some(*micros),
            Self::Text(text) => moment(text.trim()).map(|moment| moment.micros),
            _ => None,
        }
    }

    /// Days since 1970-01-01, of a moment at midnight.
    pub(crate) fn date(&self) -> Option<i32> {
        let micros = match self {
            Self::Text(text) => moment(text.trim()).filter(|moment| !moment.time)?.micros,
            other => other.timestamp()?,
        };
        if micros.rem_euclid(DAY) == 0 { i32::try_from(micros.div_euclid(DAY)).ok() } else { None }
    }

    /// The text that stands for the cell in a column of text.
    pub(crate) fn text(&self) -> Option<Cow<'_, str>> {
        match self {
            Self::Null => None,
            Self::Number(number) => Some(Cow::Owned(number_text(*number))),
            Self::Boolean(value) => Some(Cow::Borrowed(if *value { "true" } else { "false" })),
            Self::Instant(micros) => Some(Cow::Owned(instant_text(*micros))),
            Self::Text(text) | Self::TextOrNull(text) => Some(Cow::Borrowed(text)),
        }
    }
}

/// Workbooks keep whole numbers as doubles; beyond 2^53 a double may stand for its neighbours too.
fn whole(number: f64) -> Option<i64> {
    (number.fract() == 0.0 && number.abs() <= EXACT).then_some(number as i64)
}

fn number_text(number: f64) -> String {
    match whole(number) {
        Some(whole) => whole.to_string(),
        None if number.abs() >= 1e16 || number.abs() < 1e-5 => format!("{number:e}"),
        None => number.to_string(),
    }
}

fn instant_text(micros: i64) -> String {
    let format = if micros.rem_euclid(DAY) == 0 { "%Y-%m-%d" } else { "%Y-%m-%d %H:%M:%S%.f" };
    DateTime::from_timestamp_micros(micros)
        .map_or_else(|| micros.to_string(), |moment| moment.format(format).to_string())
}

pub(crate) fn kind_of_text(text: &str) -> Kind {
    let text = text.trim();
    // Most texts are words: their first byte rules out all that would have to be parsed.
    match text.as_bytes().first() {
        Some(b'0'..=b'9' | b'+' | b'-' | b'.') => kind_of_digits(text),
        Some(b't' | b'T' | b'f' | b'F') if boolean(text).is_some() => Kind::Boolean,
        Some(b'i' | b'I') if infinite(text).is_some() => Kind::Float,
        _ => Kind::Text,
    }
}

fn kind_of_digits(text: &str) -> Kind {
    if integer(text).is_some() {
        return Kind::Integer;
    }
    if float(text).is_some() {
        return Kind::Float;
    }
    match moment(text) {
        Some(Moment { time: false, .. }) => Kind::Date,
        Some(Moment { offset, .. }) => Kind::Timestamp { offset },
        None => Kind::Text,
    }
}

/// A code such as `007` is no number: reading it as 7 would lose a part of it.
fn leading_zero(text: &str) -> bool {
    let digits = text.trim_start_matches(['+', '-']).as_bytes();
    digits.len() > 1 && digits[0] == b'0' && digits[1].is_ascii_digit()
}

fn integer(text: &str) -> Option<i64> {
    if leading_zero(text) { None } else { text.parse().ok() }
}

/// `inf` or `infinity` with a sign or without, as other readers of tables take it.
fn infinite(text: &str) -> Option<f64> {
    let (sign, word) = match text.as_bytes().first()? {
        b'-' => (-1.0, &text[1..]),
        b'+' => (1.0, &text[1..]),
        _ => (1.0, text),
    };
    let infinite = word.eq_ignore_ascii_case("inf") || word.eq_ignore_ascii_case("infinity");
    infinite.then_some(sign * f64::INFINITY)
}

fn float(text: &str) -> Option<f64> {
    if let Some(infinite) = infinite(text) {
        return Some(infinite);
    }
    // `nan` is a word, or stands for nothing.
    let plain = text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E'));
    let point = text.bytes().any(|byte| matches!(byte, b'.' | b'e' | b'E'));
    if !plain || leading_zero(text) {
        return None;
    }
    if !point {
        // More digits than an integer holds are an identifier, not a measure.
        return exact(integer(text)?.into());
    }
    text.parse().ok().filter(|number: &f64| number.is_finite())
}

/// A whole number of at most 64 bits as a float that means just this number; none when it would be rounded.
pub(crate) fn exact(number: i128) -> Option<f64> {
    let float = number as f64;
    (float as i128 == number).then_some(float)
}

fn boolean(text: &str) -> Option<bool> {
    if text.eq_ignore_ascii_case("true") {
        Some(true)
    } else if text.eq_ignore_ascii_case("false") {
        Some(false)
    } else {
        None
    }
}

/// A date or time written as ISO 8601 has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Moment {
    /// Since 1970-01-01, in UTC when the text names an offset, else in whatever zone the text means.
    micros: i64,
    time: bool,
    offset: bool,
}

/// Reads `YYYY-MM-DD`, then optionally `T` or a space and `HH:MM[:SS[.f]]`, then optionally `Z` or `±HH[:]MM`.
fn moment(text: &str) -> Option<Moment> {
    let bytes = text.as_bytes();
    if bytes.len() < 10 || bytes[4] != b'-' || bytes[7] != b'-' {
        return None;
    }
    let date = NaiveDate::from_ymd_opt(digits(bytes, 0, 4)? as i32, digits(bytes, 5, 2)?, digits(bytes, 8, 2)?)?;
    let days = i64::from(date.to_epoch_days());
    let Some((separator, rest)) = bytes[10..].split_first() else {
        return Some(Moment { micros: days * DAY, time: false, offset: false });
    };
    if !matches!(separator, b'T' | b't' | b' ') {
        return None;
    }
    let (micros, rest) = time_of_day(rest)?;
    let (shift, offset) = time_offset(rest)?;
    Some(Moment { micros: days * DAY + micros - shift, time: true, offset })
}

fn time_of_day(bytes: &[u8]) -> Option<(i64, &[u8])> {
    let (hour, minute) = (digits(bytes, 0, 2)?, digits(bytes, 3, 2)?);
    let (mut second, mut fraction, mut end) = (0, 0, 5);
    if bytes[2] != b':' {
        return None;
    }
    if bytes.get(5) == Some(&b':') {
        second = digits(bytes, 6, 2)?;
        end = 8;
        if bytes.get(8) == Some(&b'.') {
            let count = bytes[9..].iter().take_while(|byte| byte.is_ascii_digit()).count();
            // Finer than a microsecond cannot be kept.
            if !(1..=6).contains(&count) {
                return None;
            }
            fraction = i64::from(digits(bytes, 9, count)?) * 10_i64.pow(6 - count as u32);
            end = 9 + count;
        }
    }
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let seconds = i64::from(hour * 3600 + minute * 60 + second);
    Some((seconds * 1_000_000 + fraction, &bytes[end..]))
}

/// Microseconds east of UTC, and whether an offset is written at all.
fn time_offset(bytes: &[u8]) -> Option<(i64, bool)> {
    let (sign, rest) = match bytes {
        [] => return Some((0, false)),
        b"Z" | b"z" => return Some((0, true)),
        [b'+', rest @ ..] => (1, rest),
        [b'-', rest @ ..] => (-1, rest),
        _ => return None,
    };
    let minutes = match rest.len() {
        2 => 0,
        4 => digits(rest, 2, 2)?,
        5 if rest[2] == b':' => digits(rest, 3, 2)?,
        _ => return None,
    };
    let hours = digits(rest, 0, 2)?;
    if hours > 23 || minutes > 59 {
        return None;
    }
    Some((sign * i64::from(hours * 60 + minutes) * 60_000_000, true))
}

fn digits(bytes: &[u8], start: usize, count: usize) -> Option<u32> {
    bytes.get(start..start + count)?.iter().try_fold(0_u32, |value, byte| {
        byte.is_ascii_digit().then(|| value.saturating_mul(10).saturating_add(u32::from(byte - b'0')))
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn text(text: &str) -> Cell<'_> {
        Cell::Text(Cow::Borrowed(text))
    }

    #[test]
    fn kinds_of_texts() {
        for (given, kind) in [
            ("12", Kind::Integer),
            (" -3 ", Kind::Integer),
            ("+4", Kind::Integer),
            ("0", Kind::Integer),
            ("007", Kind::Text),
            ("9223372036854775808", Kind::Text),
            ("1.5", Kind::Float),
            ("-.5e3", Kind::Float),
            ("1e999", Kind::Text),
            ("1,234", Kind::Text),
            ("12a", Kind::Text),
            ("-", Kind::Text),
            ("TRUE", Kind::Boolean),
            ("f", Kind::Text),
            ("nan", Kind::Text),
            ("inf", Kind::Float),
            ("-Infinity", Kind::Float),
            ("+INF", Kind::Float),
            ("information", Kind::Text),
            ("2013-02-28", Kind::Date),
            ("2013-02-30", Kind::Text),
            ("2013-01-01 10:00", Kind::Timestamp { offset: false }),
            ("2013-01-01T10:00:00.250Z", Kind::Timestamp { offset: true }),
            ("2013-01-01T10:00:00+02:00", Kind::Timestamp { offset: true }),
            ("2013-01-01T24:00:00", Kind::Text),
            ("name12", Kind::Text),
        ] {
            assert_eq!(text(given).kind(), Some(kind), "{given}");
        }
    }

    #[test]
    fn whole_numbers_that_a_float_would_round_are_none() {
        for (given, float) in [
            ("9007199254740992", Some(9_007_199_254_740_992.0)),
            ("9007199254740993", None),
            ("-9007199254740993", None),
            ("9007199254740994", Some(9_007_199_254_740_994.0)),
            ("9223372036854775807", None),
            ("-9223372036854775808", Some(-9_223_372_036_854_775_808.0)),
        ] {
            assert_eq!(text(given).float(), float, "{given}");
        }
    }

    #[test]
    fn numbers_of_workbooks() {
        assert_eq!(Cell::Number(3.0).kind(), Some(Kind::Integer));
        assert_eq!(Cell::Number(3.0).text().as_deref(), Some("3"));
        assert_eq!(Cell::Number(3.5).text().as_deref(), Some("3.5"));
        assert_eq!(Cell::Number(1e300).kind(), Some(Kind::Float));
        assert_eq!(Cell::Number(1e300).text().as_deref(), Some("1e300"));
        assert_eq!(Cell::Number(f64::NAN).integer(), None);
    }

    #[test]
    fn moments() {
        let ten = 15_706 * DAY + 36_000_000_000;
        assert_eq!(text("2013-01-01T10:00:00Z").timestamp(), Some(ten));
        assert_eq!(text("2013-01-01 12:00:00+0200").timestamp(), Some(ten));
        assert_eq!(text("2013-01-01").date(), Some(15_706));
        assert_eq!(text("2013-01-01T10:00").date(), None);
        assert_eq!(Cell::Instant(ten).text().as_deref(), Some("2013-01-01 10:00:00"));
        assert_eq!(Cell::Instant(15_706 * DAY).text().as_deref(), Some("2013-01-01"));
        assert_eq!(text("1969-12-31T23:59:59.999999").timestamp(), Some(-1));
    }

    proptest! {
        #[test]
        fn no_text_panics_and_a_kind_can_be_read(given in "[0-9TtZ:+. e-]{0,30}|.{0,20}") {
            let cell = text(&given);
            let read = match cell.kind() {
                Some(Kind::Integer) => cell.integer().is_some_and(|number| {
                    cell.float().is_none_or(|float| float as i128 == i128::from(number))
                }),
                Some(Kind::Float) => cell.float().is_some(),
                Some(Kind::Boolean) => cell.boolean().is_some(),
                Some(Kind::Date) => cell.date().is_some() && cell.timestamp().is_some(),
                Some(Kind::Timestamp { .. }) => cell.timestamp().is_some(),
                Some(Kind::Text) => cell.text().is_some(),
                None => false,
            };
            prop_assert!(read, "{given:?} {:?}", cell.kind());
        }
    }
}
