//! MySQL's binary protocol: <https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_binary_resultset.html>.

use chrono::{Datelike as _, NaiveDate};
use sqlx::Row as _;
use sqlx::mysql::{MySql, MySqlRow};

use crate::cell::Cell;
use crate::sql::rounded::rounded;

/// Days from 0001-01-01 as day 1 to 1970-01-01.
const EPOCH_FROM_COMMON_ERA: i32 = 719_163;
const MICROS_OF_A_SECOND: i64 = 1_000_000;
const SECONDS_OF_A_DAY: i64 = 86_400;
const NO_DATE: &str = "the calendar has no such date";

/// How the bytes of a value are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::sql) enum Kind {
    Signed,
    Unsigned,
    Bits,
    Float,
    Double,
    Decimal,
    /// A decimal of unknown precision, as the nearest float; whole numbers exactly, or not at all.
    RoundedDecimal,
    Text,
    /// Text; in MySQL a type of its own, in MariaDB text with a check.
    Json,
    Bytes,
    Date,
    Time,
    Timestamp,
}

/// The value of column `index`.
pub(super) fn cell(row: &MySqlRow, index: usize, kind: Kind) -> Cell<'_> {
    let Ok(value) = row.try_get_raw(index) else {
        return Cell::Misfit("".into(), "the server sent fewer columns than it had announced");
    };
    // Not `is_null`, which takes zero dates for no value.
    match <&[u8] as sqlx::Decode<MySql>>::decode(value) {
        Ok(bytes) => decode(bytes, kind).unwrap_or_else(|| Cell::malformed(bytes)),
        Err(_) => Cell::Null,
    }
}

fn decode(bytes: &[u8], kind: Kind) -> Option<Cell<'_>> {
    Some(match kind {
        Kind::Signed => Cell::Integer(signed(bytes)?),
        Kind::Unsigned => Cell::Unsigned(unsigned(bytes)?),
        Kind::Bits => Cell::Unsigned(bits(bytes)?),
        Kind::Float => Cell::Float(f32::from_le_bytes(bytes.try_into().ok()?).into()),
        Kind::Double => Cell::Float(f64::from_le_bytes(bytes.try_into().ok()?)),
        Kind::Decimal => Cell::Decimal(std::str::from_utf8(bytes).ok()?.into()),
        Kind::RoundedDecimal => rounded(std::str::from_utf8(bytes).ok()?.into())?,
        Kind::Text | Kind::Json => Cell::Text(std::str::from_utf8(bytes).ok()?.into()),
        Kind::Bytes => Cell::Binary(bytes.into(), 0),
        Kind::Date => match day(bytes)? {
            Ok(days) => Cell::Date(days),
            Err(shown) => Cell::Misfit(shown.into(), NO_DATE),
        },
        Kind::Timestamp => match day(bytes)? {
            Ok(days) => {
                Cell::Timestamp(i64::from(days) * SECONDS_OF_A_DAY * MICROS_OF_A_SECOND + clock(bytes.get(5..)?)?)
            }
            Err(shown) => Cell::Misfit(shown.into(), NO_DATE),
        },
        Kind::Time => Cell::Time(time(bytes)?),
    })
}

/// One to eight bytes, little-endian: an aggregate may be wider than its column.
fn unsigned(bytes: &[u8]) -> Option<u64> {
    let mut wide = [0; 8];
    wide.get_mut(..bytes.len())?.copy_from_slice(bytes);
    Some(u64::from_le_bytes(wide))
}

fn signed(bytes: &[u8]) -> Option<i64> {
    let spare = 64_usize.checked_sub(bytes.len() * 8)?;
    if spare == 64 {
        return None;
    }
    Some((unsigned(bytes)? << spare).cast_signed() >> spare)
}

/// Big-endian, unlike all other numbers.
fn bits(bytes: &[u8]) -> Option<u64> {
    let start = 8_usize.checked_sub(bytes.len())?;
    let mut wide = [0; 8];
    wide.get_mut(start..)?.copy_from_slice(bytes);
    Some(u64::from_be_bytes(wide))
}

/// Length, year, month, day: days since 1970, or the date as it is shown when the calendar has none such.
fn day(bytes: &[u8]) -> Option<Result<i32, String>> {
    let [year_low, year_high, month, day] = match bytes {
        [0] => [0, 0, 0, 0],
        [_, a, b, c, d, ..] => [*a, *b, *c, *d],
        _ => return None,
    };
    let year = i32::from(u16::from_le_bytes([year_low, year_high]));
    let date = NaiveDate::from_ymd_opt(year, month.into(), day.into()).filter(|_| year > 0);
    Some(match date {
        Some(date) => Ok(date.num_days_from_ce() - EPOCH_FROM_COMMON_ERA),
        None => Err(format!("{year:04}-{month:02}-{day:02}")),
    })
}

/// Nothing, or hour, minute, second, or these and microseconds.
fn clock(bytes: &[u8]) -> Option<i64> {
    let (seconds, micros) = match bytes {
        [] => (0, 0),
        [hour, minute, second] => (seconds(*hour, *minute, *second), 0),
        [hour, minute, second, micros @ ..] => {
            (seconds(*hour, *minute, *second), u32::from_le_bytes(micros.try_into().ok()?).into())
        }
        _ => return None,
    };
    Some(seconds * MICROS_OF_A_SECOND + micros)
}

fn seconds(hour: u8, minute: u8, second: u8) -> i64 {
    i64::from(hour) * 3600 + i64::from(minute) * 60 + i64::from(second)
}

/// Length, sign, days, then a clock: from -838 to 838 hours.
fn time(bytes: &[u8]) -> Option<i64> {
    let (head, rest) = match bytes {
        [0] => return Some(0),
        [_, head @ ..] => head.split_at_checked(5)?,
        [] => return None,
    };
    let days = u32::from_le_bytes(head.get(1..5)?.try_into().ok()?);
    let micros = i64::from(days).checked_mul(SECONDS_OF_A_DAY * MICROS_OF_A_SECOND)?.checked_add(clock(rest)?)?;
    Some(if head.first() == Some(&0) { micros } else { -micros })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn numbers_of_every_width() {
        assert_eq!(signed(&[0xff]), Some(-1));
        assert_eq!(signed(&[0xfe, 0xff, 0xff, 0xff]), Some(-2));
        assert_eq!(signed(&i64::MIN.to_le_bytes()), Some(i64::MIN));
        assert_eq!(signed(&[]), None);
        assert_eq!(unsigned(&[0xff; 8]), Some(u64::MAX));
        assert_eq!(unsigned(&[0; 9]), None);
        assert_eq!(bits(&[1, 0]), Some(256));
    }

    #[test]
    fn decimals_of_unknown_precision_are_rounded() {
        assert_eq!(decode(b"-0.3333", Kind::RoundedDecimal), Some(Cell::Float(-0.3333)));
        assert!(matches!(decode(b"9007199254740993", Kind::RoundedDecimal), Some(Cell::Misfit(..))));
        assert_eq!(decode(b"x", Kind::RoundedDecimal), None);
    }

    #[test]
    fn zero_dates_are_misfits_and_not_null() {
        assert_eq!(decode(&[0], Kind::Date), Some(Cell::Misfit("0000-00-00".into(), NO_DATE)));
        assert_eq!(decode(&[4, 0xe8, 0x07, 0, 15], Kind::Timestamp), Some(Cell::Misfit("2024-00-15".into(), NO_DATE)));
        assert_eq!(decode(&[4, 0xb2, 0x07, 1, 2], Kind::Date), Some(Cell::Date(1)));
        assert_eq!(decode(&[7, 0xb2, 0x07, 1, 1, 0, 1, 2], Kind::Timestamp), Some(Cell::Timestamp(62_000_000)));
        assert_eq!(decode(&[8, 1, 1, 0, 0, 0, 1, 0, 0], Kind::Time), Some(Cell::Time(-90_000_000_000)));
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..16)) {
            for kind in [Kind::Signed, Kind::Bits, Kind::Date, Kind::Time, Kind::Timestamp, Kind::Float, Kind::Decimal] {
                let _ = decode(&bytes, kind);
            }
            let _ = decode(&bytes, Kind::RoundedDecimal);
        }
    }
}
