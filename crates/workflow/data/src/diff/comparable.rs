//! Values of a column whose type is another one in the other version, in forms in which they can be compared.

use arrow::compute::can_cast_types;
use arrow::datatypes::DataType;
use datafusion::functions::expr_fn::coalesce;
use datafusion::logical_expr::{Expr, try_cast};

/// Whether values of these types can be compared.
pub(super) fn can_be(one: &DataType, other: &DataType) -> bool {
    let as_text = |from: &DataType| !from.is_nested() && can_cast_types(from, &DataType::Utf8);
    one == other || (as_text(one) && as_text(other))
}

/// What is to be the same in both versions where the values are: numbers as numbers, others as text; of types that can be
/// compared.
pub(super) fn forms(values: &Expr, own: &DataType, other: &DataType) -> Vec<Expr> {
    let cast = |to: DataType| try_cast(values.clone(), to);
    if own == other {
        return vec![values.clone()];
    }
    if own.is_integer() && other.is_integer() {
        // Has room for those with a sign and those without.
        return vec![cast(DataType::Decimal128(20, 0))];
    }
    if own.is_numeric() && other.is_numeric() {
        if own.is_decimal() || other.is_decimal() {
            return vec![cast(DataType::Float64)];
        }
        // A double alone does not tell large whole numbers apart.
        return vec![cast(DataType::Float64), cast(DataType::Int64)];
    }
    if is_text(own) && other.is_floating() {
        // `2` and `2.0` are the same number, however it was written.
        let number = try_cast(cast(DataType::Float64), DataType::Utf8);
        return vec![coalesce(vec![number, cast(DataType::Utf8)])];
    }
    vec![cast(DataType::Utf8)]
}

fn is_text(one: &DataType) -> bool {
    matches!(one, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View)
}
