//! Cells as elements of a tensor.

use bytes::Bytes;
use half::{bf16, f16};
use ropewalk_inference::TensorData;
use ropewalk_types::ElementType;

use crate::json::Json;

/// How freely a cell is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reading {
    /// As it is: a number is a number.
    Typed,
    /// As pandas casts a DataFrame's column: a text that is a number is one, and so are true and false.
    Cast,
    /// As pandas reads a CSV: all cells are texts, and some spellings stand for a missing value.
    Lexical,
}

/// Texts that pandas reads as a missing value in columns of numbers (`pandas.read_csv`, `na_values`).
const MISSING: [&str; 19] = [
    "", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN", "<NA>", "N/A", "NA",
    "NULL", "NaN", "None", "n/a", "nan", "null",
];

/// All cells as elements of one type; the error is the position of the first that is none.
pub(crate) fn elements<'a>(
    datatype: ElementType,
    cells: impl Iterator<Item = &'a Json>,
    reading: Reading,
) -> Result<TensorData, usize> {
    macro_rules! integers {
        ($kind:ty) => {
            all(cells, |cell| integer(cell, reading).and_then(|value| <$kind>::try_from(value).ok()))
        };
    }
    match datatype {
        ElementType::Bool => all(cells, |cell| boolean(cell, reading)),
        ElementType::Uint8 => integers!(u8),
        ElementType::Uint16 => integers!(u16),
        ElementType::Uint32 => integers!(u32),
        ElementType::Uint64 => integers!(u64),
        ElementType::Int8 => integers!(i8),
        ElementType::Int16 => integers!(i16),
        ElementType::Int32 => integers!(i32),
        ElementType::Int64 => integers!(i64),
        ElementType::Fp16 => all(cells, |cell| {
            float(cell, reading).and_then(|value| kept(value, f16::from_f64(value), f16::is_infinite))
        }),
        ElementType::Bf16 => all(cells, |cell| {
            float(cell, reading).and_then(|value| kept(value, bf16::from_f64(value), bf16::is_infinite))
        }),
        ElementType::Fp32 => {
            all(cells, |cell| float(cell, reading).and_then(|value| kept(value, value as f32, f32::is_infinite)))
        }
        ElementType::Fp64 => all(cells, |cell| float(cell, reading)),
        ElementType::Bytes => all(cells, |cell| text(cell, reading)),
    }
}

fn all<'a, T>(cells: impl Iterator<Item = &'a Json>, read: impl Fn(&Json) -> Option<T>) -> Result<TensorData, usize>
where
    TensorData: From<Vec<T>>,
{
    let mut values = Vec::with_capacity(cells.size_hint().0);
    for (position, cell) in cells.enumerate() {
        values.push(read(cell).ok_or(position)?);
    }
    Ok(values.into())
}

/// A narrower number, unless it has lost its magnitude.
fn kept<T: Copy>(wide: f64, narrow: T, is_infinite: impl Fn(T) -> bool) -> Option<T> {
    (wide.is_infinite() || !is_infinite(narrow)).then_some(narrow)
}

fn boolean(cell: &Json, reading: Reading) -> Option<bool> {
    match (cell, reading) {
        (Json::Bool(value), _) => Some(*value),
        (Json::Int(0), Reading::Cast) => Some(false),
        (Json::Int(1), Reading::Cast) => Some(true),
        (Json::Text(value), Reading::Lexical) => match value.as_str() {
            "true" | "True" | "TRUE" => Some(true),
            "false" | "False" | "FALSE" => Some(false),
            _ => None,
        },
        _ => None,
    }
}

/// A whole number; a float without a fraction is one, because JSON has but one kind of number.
fn integer(cell: &Json, reading: Reading) -> Option<i128> {
    match cell {
        Json::Int(value) => Some(i128::from(*value)),
        Json::Uint(value) => Some(i128::from(*value)),
        Json::Float(value) => whole(*value),
        Json::Bool(value) if reading == Reading::Cast => Some(i128::from(*value)),
        Json::Text(value) if reading != Reading::Typed => {
            let value = value.trim();
            value.parse().ok().or_else(|| whole(value.parse().ok()?))
        }
        _ => None,
    }
}

/// Up to 2^53, beyond which a float does not say which number it is.
fn whole(value: f64) -> Option<i128> {
    let exact = value.fract() == 0.0 && value.abs() <= 9_007_199_254_740_992.0;
    exact.then_some(value as i128)
}

/// A number; null is a missing value, which is NaN to the models.
fn float(cell: &Json, reading: Reading) -> Option<f64> {
    match cell {
        Json::Null => Some(f64::NAN),
        Json::Int(value) => Some(*value as f64),
        Json::Uint(value) => Some(*value as f64),
        Json::Float(value) => Some(*value),
        Json::Bool(value) if reading == Reading::Cast => Some(f64::from(u8::from(*value))),
        Json::Text(value) => match value.as_str() {
            "NaN" => Some(f64::NAN),
            "Infinity" => Some(f64::INFINITY),
            "-Infinity" => Some(f64::NEG_INFINITY),
            value if reading == Reading::Lexical && MISSING.contains(&value) => Some(f64::NAN),
            value if reading != Reading::Typed => value.trim().parse().ok(),
            _ => None,
        },
        _ => None,
    }
}

/// A text. An empty field of a CSV is a missing one; `NA` and its like are words here, unlike in pandas.
fn text(cell: &Json, reading: Reading) -> Option<Bytes> {
    match cell {
        Json::Text(value) if reading == Reading::Lexical && value.is_empty() => None,
        Json::Text(value) => Some(Bytes::copy_from_slice(value.as_bytes())),
        _ => None,
    }
}

/// What a cell of this type is, for a message.
pub(crate) fn described(datatype: ElementType) -> &'static str {
    match datatype {
        ElementType::Bool => "true or false",
        ElementType::Bytes => "a text",
        ElementType::Fp16 | ElementType::Bf16 | ElementType::Fp32 | ElementType::Fp64 => "a number",
        ElementType::Uint8 | ElementType::Uint16 | ElementType::Uint32 | ElementType::Uint64 => {
            "a whole number from 0 on"
        }
        ElementType::Int8 | ElementType::Int16 | ElementType::Int32 | ElementType::Int64 => "a whole number",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(datatype: ElementType, cell: Json, reading: Reading) -> Option<TensorData> {
        elements(datatype, [cell].iter(), reading).ok()
    }

    fn text(value: &str) -> Json {
        Json::Text(value.to_owned())
    }

    #[test]
    fn numbers_are_read_as_the_models_type_or_not_at_all() {
        use Reading::{Cast, Lexical, Typed};
        assert_eq!(read(ElementType::Fp32, Json::Int(3), Typed), Some(vec![3_f32].into()));
        assert_eq!(read(ElementType::Int64, Json::Float(3.0), Typed), Some(vec![3_i64].into()));
        assert_eq!(read(ElementType::Int64, Json::Float(3.5), Cast), None, "pandas would cut it to 3 in silence");
        assert_eq!(read(ElementType::Int8, Json::Int(300), Typed), None);
        assert_eq!(read(ElementType::Uint64, Json::Uint(u64::MAX), Typed), Some(vec![u64::MAX].into()));
        assert_eq!(
            read(ElementType::Int64, text("9007199254740993"), Lexical),
            Some(vec![9_007_199_254_740_993_i64].into())
        );
        assert_eq!(read(ElementType::Fp32, Json::Float(1e300), Typed), None);
        assert_eq!(read(ElementType::Fp64, text("1.5"), Cast), Some(vec![1.5_f64].into()));
        assert_eq!(read(ElementType::Fp64, text("1.5"), Typed), None);
        assert_eq!(read(ElementType::Fp64, Json::Bool(true), Typed), None);
        assert_eq!(read(ElementType::Fp64, Json::Bool(true), Cast), Some(vec![1.0_f64].into()));
        assert_eq!(read(ElementType::Bool, text("True"), Lexical), Some(vec![true].into()));
        assert_eq!(read(ElementType::Bool, Json::Int(2), Cast), None);
    }

    #[test]
    fn a_missing_value_is_nan_where_there_is_one() {
        let missing = |cell, reading| match read(ElementType::Fp32, cell, reading) {
            Some(TensorData::Fp32(values)) => values.iter().all(|value| value.is_nan()),
            _ => false,
        };
        assert!(missing(Json::Null, Reading::Typed));
        assert!(missing(text(""), Reading::Lexical));
        assert!(missing(text("NA"), Reading::Lexical));
        assert!(!missing(text("NA"), Reading::Cast));
        assert_eq!(read(ElementType::Int64, Json::Null, Reading::Cast), None);
        assert_eq!(read(ElementType::Bytes, text(""), Reading::Lexical), None);
        assert_eq!(
            read(ElementType::Bytes, text("NA"), Reading::Lexical),
            Some(vec![Bytes::from_static(b"NA")].into())
        );
        assert_eq!(read(ElementType::Bytes, Json::Int(5), Reading::Cast), None);
    }
}
