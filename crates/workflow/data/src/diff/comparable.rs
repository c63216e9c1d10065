//! Values of a column whose type is another one in the other version, in forms in which they can be compared.

use arrow::compute::can_cast_types;
use arrow::datatypes::{DECIMAL128_MAX_PRECISION, DECIMAL256_MAX_PRECISION, DataType};
use datafusion::functions::expr_fn::coalesce;
use datafusion::logical_expr::{Expr, try_cast};

/// A type that has room for all integers, with a sign and without.
const WHOLE: DataType = DataType::Decimal128(20, 0);
/// Digits of the widest decimals of 128 and of 256 bits.
const NARROW_DIGITS: i16 = DECIMAL128_MAX_PRECISION as i16;
const WIDE_DIGITS: i16 = DECIMAL256_MAX_PRECISION as i16;

/// Whether values of these types can be compared.
pub(super) fn can_be(one: &DataType, other: &DataType) -> bool {
    let as_text = |from: &DataType| !from.is_nested() && can_cast_types(from, &DataType::Utf8);
    one == other || (as_text(one) && as_text(other))
}

/// What is to be the same in both versions where the values are: numbers as numbers, dates and times as times, others as
/// text; of types that can be compared.
pub(super) fn forms(values: &Expr, own: &DataType, other: &DataType) -> Vec<Expr> {
    let cast = |to: DataType| try_cast(values.clone(), to);
    if own == other {
        return vec![values.clone()];
    }
    if own.is_integer() && other.is_integer() {
        return vec![cast(WHOLE)];
    }
    if let Some((one, two)) = digits(own).zip(digits(other)) {
        let (whole, scale) = (one.0.max(two.0), one.1.max(two.1));
        let exact = |precision: u8| cast(wide(precision, scale));
        let digits = whole + i16::from(scale);
        return if digits <= NARROW_DIGITS {
            vec![exact(DECIMAL128_MAX_PRECISION)]
        } else if digits <= WIDE_DIGITS {
            vec![exact(DECIMAL256_MAX_PRECISION)]
        } else {
            // What does not fit is far larger than all that the other version can hold: a double tells that.
            vec![exact(DECIMAL256_MAX_PRECISION), cast(DataType::Float64)]
        };
    }
    if own.is_numeric() && other.is_numeric() {
        let double = cast(DataType::Float64);
        // A double alone does not tell large whole numbers apart.
        let whole = if own.is_decimal() || other.is_decimal() { wide(DECIMAL256_MAX_PRECISION, 0) } else { WHOLE };
        let exact = if own.is_floating() { try_cast(double.clone(), whole) } else { cast(whole) };
        return vec![double, exact];
    }
    if let Some(moment) = moment(own, other) {
        // A day that is too far away for a moment is no null.
        return vec![cast(moment), values.clone().is_null()];
    }
    if is_text(own) && other.is_floating() {
        // `2` and `2.0` are the same number, however it was written.
        let number = try_cast(cast(DataType::Float64), DataType::Utf8);
        return vec![coalesce(vec![number, cast(DataType::Utf8)])];
    }
    vec![cast(DataType::Utf8)]
}

/// Digits before the point and after it that numbers of an exact type may have.
fn digits(of: &DataType) -> Option<(i16, i8)> {
    match of {
        DataType::Decimal32(precision, scale)
        | DataType::Decimal64(precision, scale)
        | DataType::Decimal128(precision, scale)
        | DataType::Decimal256(precision, scale) => Some((i16::from(*precision) - i16::from(*scale), (*scale).max(0))),
        whole if whole.is_integer() => Some((20, 0)),
        _ => None,
    }
}

/// The type of moments, where one is of days and the other of moments: a day is its midnight.
fn moment(one: &DataType, other: &DataType) -> Option<DataType> {
    match (one, other) {
        (DataType::Date32, moment @ (DataType::Timestamp(..) | DataType::Date64))
        | (moment @ (DataType::Timestamp(..) | DataType::Date64), DataType::Date32) => Some(moment.clone()),
        _ => None,
    }
}

fn wide(precision: u8, scale: i8) -> DataType {
    if precision > DECIMAL128_MAX_PRECISION {
        DataType::Decimal256(precision, scale)
    } else {
        DataType::Decimal128(precision, scale)
    }
}

fn is_text(one: &DataType) -> bool {
    matches!(one, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View)
}
