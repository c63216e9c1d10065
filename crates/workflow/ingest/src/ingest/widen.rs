use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray as _, BooleanArray, GenericListArray, OffsetSizeTrait, StructArray, new_null_array,
};
use arrow::compute::kernels::cmp::not_distinct;
use arrow::compute::{CastOptions, cast_with_options, nullif};
use arrow::datatypes::{DataType, Field, Fields, TimeUnit};
use arrow::error::ArrowError;

/// The narrowest type that holds every value of both without loss; none when there is no such type.
///
/// Whole numbers of 64 bits and floating-point numbers meet in double precision: those that lose digits there are
/// found value by value, in [`widen`].
pub(crate) fn common_type(a: &DataType, b: &DataType) -> Option<DataType> {
    use DataType as T;
    if a == b {
        return Some(a.clone());
    }
    match (a, b) {
        (T::Null, other) | (other, T::Null) => Some(other.clone()),
        (T::Dictionary(_, values), other) | (other, T::Dictionary(_, values)) => common_type(values, other),
        (T::Struct(fields), other) | (other, T::Struct(fields)) if fields.is_empty() => Some(other.clone()),
        (T::Struct(a), T::Struct(b)) => common_fields(a, b).map(T::Struct),
        (T::List(a), T::List(b)) => common_item(a, b).map(T::List),
        (T::LargeList(a), T::LargeList(b) | T::List(b)) | (T::List(a), T::LargeList(b)) => {
            common_item(a, b).map(T::LargeList)
        }
        (T::Timestamp(a_unit, a_zone), T::Timestamp(b_unit, b_zone)) if a_zone == b_zone => {
            Some(T::Timestamp(finer(*a_unit, *b_unit), a_zone.clone()))
        }
        (T::Timestamp(unit, None), T::Date32 | T::Date64) | (T::Date32 | T::Date64, T::Timestamp(unit, None)) => {
            Some(T::Timestamp(finer(*unit, TimeUnit::Millisecond), None))
        }
        (T::Date32, T::Date64) | (T::Date64, T::Date32) => Some(T::Date64),
        _ => common_number(a, b).or_else(|| common_bytes(a, b)),
    }
}

fn common_fields(a: &Fields, b: &Fields) -> Option<Fields> {
    let mut fields: Vec<Field> = Vec::with_capacity(a.len());
    for field in a {
        let other = b.find(field.name()).map_or(&DataType::Null, |(_, other)| other.data_type());
        fields.push(Field::new(field.name(), common_type(field.data_type(), other)?, true));
    }
    let new = b.iter().filter(|field| a.find(field.name()).is_none());
    fields.extend(new.map(|field| Field::new(field.name(), field.data_type().clone(), true)));
    Some(fields.into())
}

fn common_item(a: &Field, b: &Field) -> Option<Arc<Field>> {
    Some(Arc::new(Field::new_list_field(common_type(a.data_type(), b.data_type())?, true)))
}

fn finer(a: TimeUnit, b: TimeUnit) -> TimeUnit {
    let rank = |unit| match unit {
        TimeUnit::Second => 0,
        TimeUnit::Millisecond => 1,
        TimeUnit::Microsecond => 2,
        TimeUnit::Nanosecond => 3,
    };
    if rank(a) >= rank(b) { a } else { b }
}

/// Bits of a whole number, and whether it has a sign.
fn whole(data_type: &DataType) -> Option<(u8, bool)> {
    Some(match data_type {
        DataType::Int8 => (8, true),
        DataType::Int16 => (16, true),
        DataType::Int32 => (32, true),
        DataType::Int64 => (64, true),
        DataType::UInt8 => (8, false),
        DataType::UInt16 => (16, false),
        DataType::UInt32 => (32, false),
        DataType::UInt64 => (64, false),
        _ => return None,
    })
}

/// Bits of the significand of a floating-point number.
fn significand(data_type: &DataType) -> Option<u8> {
    Some(match data_type {
        DataType::Float16 => 11,
        DataType::Float32 => 24,
        DataType::Float64 => 53,
        _ => return None,
    })
}

/// Decimal digits before and after the point.
fn digits(data_type: &DataType) -> Option<(u8, u8)> {
    match data_type {
        DataType::Decimal32(precision, scale)
        | DataType::Decimal64(precision, scale)
        | DataType::Decimal128(precision, scale)
        | DataType::Decimal256(precision, scale) => {
            let after = u8::try_from(*scale).ok()?;
            Some((precision.checked_sub(after)?, after))
        }
        other => whole(other).map(|(bits, _)| match bits {
            8 => (3, 0),
            16 => (5, 0),
            32 => (10, 0),
            _ => (20, 0),
        }),
    }
}

fn common_number(a: &DataType, b: &DataType) -> Option<DataType> {
    match (whole(a), whole(b), significand(a), significand(b)) {
        (Some(a), Some(b), ..) => Some(common_whole(a, b)),
        (.., Some(a), Some(b)) => Some(float_of(a.max(b))),
        (Some((bits, signed)), .., Some(float)) | (_, Some((bits, signed)), Some(float), _) => {
            Some(float_of(float.max(bits - u8::from(signed))))
        }
        _ => {
            let ((a_before, a_after), (b_before, b_after)) = (digits(a)?, digits(b)?);
            let (before, after) = (a_before.max(b_before), a_after.max(b_after));
            let (precision, scale) = (before.checked_add(after)?, i8::try_from(after).ok()?);
            match precision {
                ..=38 => Some(DataType::Decimal128(precision, scale)),
                39..=76 => Some(DataType::Decimal256(precision, scale)),
                _ => None,
            }
        }
    }
}

fn common_whole((a_bits, a_signed): (u8, bool), (b_bits, b_signed): (u8, bool)) -> DataType {
    let (bits, signed) = match (a_signed, b_signed) {
        (true, false) if b_bits >= a_bits => (b_bits * 2, true),
        (false, true) if a_bits >= b_bits => (a_bits * 2, true),
        _ => (a_bits.max(b_bits), a_signed || b_signed),
    };
    match (bits, signed) {
        (8, true) => DataType::Int8,
        (16, true) => DataType::Int16,
        (32, true) => DataType::Int32,
        (64, true) => DataType::Int64,
        (8, false) => DataType::UInt8,
        (16, false) => DataType::UInt16,
        (32, false) => DataType::UInt32,
        (64, false) => DataType::UInt64,
        _ => DataType::Decimal128(20, 0),
    }
}

fn float_of(significand: u8) -> DataType {
    match significand {
        ..=11 => DataType::Float16,
        12..=24 => DataType::Float32,
        _ => DataType::Float64,
    }
}

fn common_bytes(a: &DataType, b: &DataType) -> Option<DataType> {
    use DataType as T;
    let text = |data_type: &T| matches!(data_type, T::Utf8 | T::LargeUtf8 | T::Utf8View);
    let bytes = |data_type: &T| matches!(data_type, T::Binary | T::LargeBinary | T::BinaryView | T::FixedSizeBinary(_));
    if text(a) && text(b) {
        Some(T::LargeUtf8)
    } else if bytes(a) && bytes(b) {
        Some(T::LargeBinary)
    } else {
        None
    }
}

/// The type that a part stores for `data_type`: of what never has a value, text.
pub(crate) fn stored_type(data_type: &DataType) -> DataType {
    let stored = |field: &Field| Field::new(field.name(), stored_type(field.data_type()), true);
    match data_type {
        DataType::Null => DataType::Utf8,
        DataType::Struct(fields) if fields.is_empty() => DataType::Utf8,
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(|field| stored(field)).collect()),
        DataType::List(item) => DataType::List(Arc::new(stored(item))),
        DataType::LargeList(item) => DataType::LargeList(Arc::new(stored(item))),
        other => other.clone(),
    }
}

/// The values of `array` as `target`, a type that [`common_type`] gave; null where a value would lose something.
pub(crate) fn widen(array: &ArrayRef, target: &DataType) -> Result<ArrayRef, ArrowError> {
    if array.data_type() == target {
        return Ok(Arc::clone(array));
    }
    match (array.data_type(), target) {
        (DataType::Null, _) => Ok(new_null_array(target, array.len())),
        (DataType::Struct(fields), target) if fields.is_empty() => Ok(new_null_array(target, array.len())),
        (DataType::Struct(_), DataType::Struct(fields)) => widen_struct(array.as_struct(), fields),
        (DataType::List(_), DataType::List(item)) => widen_list::<i32>(array, item),
        (DataType::LargeList(_), DataType::LargeList(item)) => widen_list::<i64>(array, item),
        (DataType::List(from), DataType::LargeList(_)) => {
            let large = cast(array, &DataType::LargeList(Arc::clone(from)))?;
            widen(&large, target)
        }
        (from, DataType::Float16 | DataType::Float32 | DataType::Float64) if whole(from).is_some() => {
            let there = cast(array, target)?;
            // A number that does not come back has lost digits.
            let back = cast(&there, from)?;
            let lost = arrow::compute::not(&not_distinct(array, &back)?)?;
            nullif(&there, &lost)
        }
        _ => cast(array, target),
    }
}

fn cast(array: &ArrayRef, target: &DataType) -> Result<ArrayRef, ArrowError> {
    cast_with_options(array, target, &CastOptions { safe: true, ..CastOptions::default() })
}

fn widen_struct(array: &StructArray, fields: &Fields) -> Result<ArrayRef, ArrowError> {
    let columns = fields.iter().map(|field| match array.column_by_name(field.name()) {
        Some(column) => widen(column, field.data_type()),
        None => Ok(new_null_array(field.data_type(), array.len())),
    });
    let columns = columns.collect::<Result<Vec<_>, _>>()?;
    Ok(Arc::new(StructArray::try_new(fields.clone(), columns, array.nulls().cloned())?))
}

fn widen_list<O: OffsetSizeTrait>(array: &ArrayRef, item: &Arc<Field>) -> Result<ArrayRef, ArrowError> {
    let list = array.as_list::<O>();
    let values = widen(list.values(), item.data_type())?;
    let list = GenericListArray::<O>::try_new(Arc::clone(item), list.offsets().clone(), values, list.nulls().cloned())?;
    Ok(Arc::new(list))
}

/// Which rows lost a value when `before` became `after`, at any depth; none when no row did.
pub(crate) fn lost(before: &ArrayRef, after: &ArrayRef) -> Option<BooleanArray> {
    if Arc::ptr_eq(before, after) {
        return None;
    }
    let rows: Vec<bool> = (0..before.len()).map(|row| is_lost(before, after, row)).collect();
    rows.contains(&true).then(|| BooleanArray::from(rows))
}

fn is_lost(before: &ArrayRef, after: &ArrayRef, row: usize) -> bool {
    if before.is_null(row) || matches!(before.data_type(), DataType::Null) {
        return false;
    }
    match (before.data_type(), after.data_type()) {
        (DataType::Struct(fields), _) if fields.is_empty() => false,
        (DataType::Struct(fields), DataType::Struct(_)) => {
            let (before, after) = (before.as_struct(), after.as_struct());
            fields.iter().any(|field| {
                let pair = before.column_by_name(field.name()).zip(after.column_by_name(field.name()));
                pair.is_some_and(|(before, after)| is_lost(before, after, row))
            })
        }
        (DataType::List(_), DataType::List(_)) => is_item_lost::<i32>(before, after, row),
        (DataType::LargeList(_), DataType::LargeList(_)) => is_item_lost::<i64>(before, after, row),
        _ => after.is_null(row),
    }
}

fn is_item_lost<O: OffsetSizeTrait>(before: &ArrayRef, after: &ArrayRef, row: usize) -> bool {
    let (before, after) = (before.as_list::<O>(), after.as_list::<O>());
    let (start, end) = (before.value_offsets()[row].as_usize(), before.value_offsets()[row + 1].as_usize());
    (start..end).any(|item| is_lost(before.values(), after.values(), item))
}

#[cfg(test)]
mod tests {
    use arrow::array::{Float64Array, Int32Array, Int64Array, ListArray};
    use arrow::datatypes::Int32Type;

    use super::*;

    #[test]
    fn common_types() {
        use DataType as T;
        for (a, b, both) in [
            (T::Int8, T::UInt8, Some(T::Int16)),
            (T::Int32, T::UInt16, Some(T::Int32)),
            (T::Int64, T::UInt64, Some(T::Decimal128(20, 0))),
            (T::Int64, T::Float32, Some(T::Float64)),
            (T::Int16, T::Float32, Some(T::Float32)),
            (T::Decimal128(10, 2), T::Int32, Some(T::Decimal128(12, 2))),
            (T::Decimal128(38, 0), T::Decimal128(38, 10), Some(T::Decimal256(48, 10))),
            (T::Date32, T::Timestamp(TimeUnit::Second, None), Some(T::Timestamp(TimeUnit::Millisecond, None))),
            (T::Utf8, T::Utf8View, Some(T::LargeUtf8)),
            (T::Null, T::Boolean, Some(T::Boolean)),
            (T::Utf8, T::Int64, None),
            (T::Timestamp(TimeUnit::Second, Some("UTC".into())), T::Timestamp(TimeUnit::Second, None), None),
            (T::Decimal128(10, 2), T::Float64, None),
            (T::Boolean, T::Int8, None),
        ] {
            assert_eq!(common_type(&a, &b), both, "{a} {b}");
            assert_eq!(common_type(&b, &a), both, "{b} {a}");
        }
    }

    #[test]
    fn numbers_that_lose_digits_are_found() {
        let exact: ArrayRef = Arc::new(Int64Array::from(vec![Some(1), None, Some((1 << 53) + 1)]));
        let widened = widen(&exact, &DataType::Float64).unwrap();
        let doubles: &Float64Array = widened.as_primitive();
        assert_eq!((doubles.value(0), doubles.is_null(1), doubles.is_null(2)), (1.0, true, true));
        assert_eq!(lost(&exact, &widened).unwrap(), BooleanArray::from(vec![false, false, true]));
    }

    #[test]
    fn nested_values_widen_by_name() {
        let items = Some(vec![Some(1), None]);
        let lists: ArrayRef = Arc::new(ListArray::from_iter_primitive::<Int32Type, _, _>([items, None]));
        let fields = Fields::from(vec![Field::new("l", lists.data_type().clone(), true)]);
        let narrow: ArrayRef = Arc::new(StructArray::new(fields, vec![lists], None));
        let item = Arc::new(Field::new_list_field(DataType::Int64, true));
        let other =
            Fields::from(vec![Field::new("n", DataType::Utf8, true), Field::new("l", DataType::List(item), true)]);
        let target = common_type(narrow.data_type(), &DataType::Struct(other)).unwrap();
        let wide = widen(&narrow, &target).unwrap();
        assert_eq!(wide.data_type(), &target);
        assert_eq!(wide.as_struct().column_by_name("n").unwrap().null_count(), 2);
        assert!(lost(&narrow, &wide).is_none());
    }

    #[test]
    fn what_never_has_a_value_is_stored_as_text() {
        let list = DataType::List(Arc::new(Field::new_list_field(DataType::Null, true)));
        let stored = stored_type(&list);
        let DataType::List(item) = &stored else { panic!("{stored}") };
        assert_eq!(item.data_type(), &DataType::Utf8);
        let numbers: ArrayRef = Arc::new(Int32Array::from(vec![1]));
        assert!(Arc::ptr_eq(&numbers, &widen(&numbers, &DataType::Int32).unwrap()));
    }
}
