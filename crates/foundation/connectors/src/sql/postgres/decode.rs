//! PostgreSQL's binary formats, as the `*_send` functions of its types write them.

use std::fmt::Write as _;

use sqlx::postgres::PgRow;
use sqlx::{Row as _, ValueRef as _};

use crate::cell::Cell;
use crate::sql::rounded::rounded;

/// Days from 1970-01-01 to PostgreSQL's epoch, 2000-01-01.
const EPOCH_DAYS: i32 = 10_957;
const EPOCH_MICROS: i64 = 946_684_800_000_000;
const INFINITE: &str = "no column holds infinite dates";

/// How the bytes of a value are read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::sql) enum Kind {
    Bool,
    Int2,
    Int4,
    Int8,
    Oid,
    Float4,
    Float8,
    Numeric,
    /// A numeric whose digits no column holds, as the nearest float; whole numbers exactly, or not at all.
    RoundedNumeric,
    Text,
    Jsonb,
    Bytea,
    Date,
    Time,
    Timestamp,
    TimestampUtc,
    Uuid,
    Array(Box<Kind>),
}

/// The value of column `index`.
pub(super) fn cell<'r>(row: &'r PgRow, index: usize, kind: &Kind) -> Cell<'r> {
    match row.try_get_raw(index) {
        Ok(value) if value.is_null() => Cell::Null,
        Ok(value) => value.as_bytes().map_or(Cell::Null, |bytes| decode(bytes, kind)),
        Err(_) => Cell::Misfit("".into(), "the server sent fewer columns than it had announced"),
    }
}

fn decode<'r>(bytes: &'r [u8], kind: &Kind) -> Cell<'r> {
    decode_exact(bytes, kind).unwrap_or_else(|| Cell::malformed(bytes))
}

fn decode_exact<'r>(bytes: &'r [u8], kind: &Kind) -> Option<Cell<'r>> {
    Some(match kind {
        Kind::Bool => Cell::Boolean(*bytes.first()? != 0),
        Kind::Int2 => Cell::Integer(i16::from_be_bytes(bytes.try_into().ok()?).into()),
        Kind::Int4 => Cell::Integer(i32::from_be_bytes(bytes.try_into().ok()?).into()),
        Kind::Int8 => Cell::Integer(i64::from_be_bytes(bytes.try_into().ok()?)),
        Kind::Oid => Cell::Integer(u32::from_be_bytes(bytes.try_into().ok()?).into()),
        Kind::Float4 => Cell::Float(f32::from_be_bytes(bytes.try_into().ok()?).into()),
        Kind::Float8 => Cell::Float(f64::from_be_bytes(bytes.try_into().ok()?)),
        Kind::Numeric => numeric(bytes)?,
        Kind::RoundedNumeric => match numeric(bytes)? {
            Cell::Decimal(text) => rounded(text)?,
            other => other,
        },
        Kind::Text => Cell::Text(std::str::from_utf8(bytes).ok()?.into()),
        // A version, always 1, goes before the text.
        Kind::Jsonb => Cell::Text(std::str::from_utf8(bytes.strip_prefix(&[1])?).ok()?.into()),
        Kind::Bytea => Cell::Binary(bytes.into(), 0),
        Kind::Date => match i32::from_be_bytes(bytes.try_into().ok()?) {
            i32::MAX => Cell::Misfit("infinity".into(), INFINITE),
            i32::MIN => Cell::Misfit("-infinity".into(), INFINITE),
            days => Cell::Date(days.checked_add(EPOCH_DAYS)?),
        },
        Kind::Time => Cell::Time(i64::from_be_bytes(bytes.try_into().ok()?)),
        Kind::Timestamp | Kind::TimestampUtc => match i64::from_be_bytes(bytes.try_into().ok()?) {
            i64::MAX => Cell::Misfit("infinity".into(), INFINITE),
            i64::MIN => Cell::Misfit("-infinity".into(), INFINITE),
            micros => Cell::Timestamp(micros.checked_add(EPOCH_MICROS)?),
        },
        Kind::Uuid => Cell::text(uuid::Uuid::from_slice(bytes).ok()?.hyphenated().to_string()),
        Kind::Array(item) => array(bytes, item)?,
    })
}

/// A reader of big-endian numbers.
struct Numbers<'r>(&'r [u8]);

impl<'r> Numbers<'r> {
    fn take(&mut self, length: usize) -> Option<&'r [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    fn short(&mut self) -> Option<u16> {
        Some(u16::from_be_bytes(self.take(2)?.try_into().ok()?))
    }

    fn long(&mut self) -> Option<i32> {
        Some(i32::from_be_bytes(self.take(4)?.try_into().ok()?))
    }
}

/// Groups of four digits, the weight of the first, the sign, and how many digits are shown after the point.
fn numeric(bytes: &[u8]) -> Option<Cell<'static>> {
    let mut numbers = Numbers(bytes);
    let groups = usize::from(numbers.short()?);
    let weight = i32::from(numbers.short()?.cast_signed());
    let sign = numbers.short()?;
    let shown = usize::from(numbers.short()?);
    match sign {
        // Text holds these; a decimal column says that it does not.
        0xC000 => return Some(Cell::Decimal("NaN".into())),
        0xD000 => return Some(Cell::Decimal("Infinity".into())),
        0xF000 => return Some(Cell::Decimal("-Infinity".into())),
        _ => {}
    }
    let digits: Vec<u16> = (0..groups).map(|_| numbers.short()).collect::<Option<_>>()?;
    let group = |power: i32| {
        let index = usize::try_from(weight - power).ok()?;
        digits.get(index).copied()
    };
    let mut text = String::with_capacity(groups * 4 + shown + 2);
    if sign == 0x4000 {
        text.push('-');
    }
    if weight < 0 {
        text.push('0');
    }
    for power in (0..=weight).rev() {
        let value = group(power).unwrap_or(0);
        let written = if power == weight { write!(text, "{value}") } else { write!(text, "{value:04}") };
        written.ok()?;
    }
    if shown > 0 {
        text.push('.');
        let start = text.len();
        let mut power = -1;
        while text.len() - start < shown {
            write!(text, "{:04}", group(power).unwrap_or(0)).ok()?;
            power -= 1;
        }
        text.truncate(start + shown);
    }
    Some(Cell::Decimal(text.into()))
}

/// Dimensions, a flag, the type, each dimension's length and first index, then the values with their lengths.
fn array<'r>(bytes: &'r [u8], item: &Kind) -> Option<Cell<'r>> {
    let mut numbers = Numbers(bytes);
    let dimensions = numbers.long()?;
    numbers.take(8)?;
    if dimensions == 0 {
        return Some(Cell::List(Vec::new()));
    }
    if dimensions != 1 {
        let shown = format!("array of {dimensions} dimensions");
        return Some(Cell::Misfit(shown.into(), "the column holds arrays of one dimension"));
    }
    let length = usize::try_from(numbers.long()?).ok()?;
    numbers.take(4)?;
    // Each value takes four bytes at least: a length that the bytes cannot hold reserves nothing.
    let mut items = Vec::with_capacity(length.min(numbers.0.len() / 4));
    for _ in 0..length {
        items.push(match numbers.long()? {
            -1 => Cell::Null,
            size => decode(numbers.take(usize::try_from(size).ok()?)?, item),
        });
    }
    Some(Cell::List(items))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn packed(weight: i16, sign: u16, shown: u16, digits: &[u16]) -> Vec<u8> {
        let head = [digits.len() as u16, weight.cast_unsigned(), sign, shown];
        head.iter().chain(digits).flat_map(|number| number.to_be_bytes()).collect()
    }

    #[test]
    fn numerics_are_written_as_the_server_writes_them() {
        for (bytes, text) in [
            (packed(0, 0, 2, &[1, 5000]), "1.50"),
            (packed(1, 0x4000, 0, &[1, 2]), "-10002"),
            (packed(2, 0, 0, &[1]), "100000000"),
            (packed(-1, 0, 4, &[7]), "0.0007"),
            (packed(-2, 0, 8, &[7]), "0.00000007"),
            (packed(0, 0, 0, &[]), "0"),
            (packed(-1, 0, 3, &[1230]), "0.123"),
        ] {
            assert_eq!(decode(&bytes, &Kind::Numeric), Cell::Decimal(text.into()));
        }
        assert_eq!(decode(&packed(0, 0xC000, 0, &[]), &Kind::Numeric), Cell::Decimal("NaN".into()));
    }

    #[test]
    fn numerics_without_a_precision_are_rounded() {
        let rounded = |bytes: &[u8]| match decode(bytes, &Kind::RoundedNumeric) {
            Cell::Float(float) => float.to_string(),
            other => panic!("{other:?}"),
        };
        assert_eq!(rounded(&packed(0, 0x4000, 2, &[1, 5000])), "-1.5");
        assert_eq!(rounded(&packed(0, 0xC000, 0, &[])), "NaN");
        assert_eq!(rounded(&packed(0, 0xF000, 0, &[])), "-inf");
        assert!(matches!(decode(&packed(100, 0, 0, &[1]), &Kind::RoundedNumeric), Cell::Misfit(..)));
        let large = |last: u16| packed(3, 0, 0, &[9007, 1992, 5474, last]);
        assert_eq!(rounded(&large(992)), "9007199254740992");
        assert!(matches!(decode(&large(993), &Kind::RoundedNumeric), Cell::Misfit(..)));
    }

    #[test]
    fn infinite_dates_and_wrong_lengths_are_misfits() {
        assert!(matches!(decode(&i32::MAX.to_be_bytes(), &Kind::Date), Cell::Misfit(..)));
        assert_eq!(decode(&0_i32.to_be_bytes(), &Kind::Date), Cell::Date(10_957));
        assert!(matches!(decode(&[1, 2, 3], &Kind::Int4), Cell::Misfit(..)));
        assert!(matches!(decode(&[2, b'x'], &Kind::Jsonb), Cell::Misfit(..)));
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let array = Kind::Array(Box::new(Kind::Numeric));
            for kind in [Kind::Numeric, Kind::Date, Kind::Timestamp, Kind::Uuid, Kind::Text, array] {
                let _ = decode(&bytes, &kind);
            }
            let _ = decode(&bytes, &Kind::RoundedNumeric);
        }
    }
}
