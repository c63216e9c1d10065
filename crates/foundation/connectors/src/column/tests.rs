use arrow::array::{Array as _, AsArray as _};
use arrow::datatypes::Fields;

use super::*;

fn filled(data_type: DataType, cells: Vec<Cell<'_>>) -> (ArrayRef, Vec<Unfit>) {
    let mut unfit = Vec::new();
    let mut builder = ColumnBuilder::new(&Field::new("c", data_type, true)).unwrap();
    for cell in cells {
        builder.push(cell, &mut unfit);
    }
    (builder.finish().unwrap(), unfit)
}

#[test]
fn whole_numbers_keep_to_their_range() {
    let cells = vec![Cell::Integer(127), Cell::Integer(128), Cell::Null, Cell::Float(3.0), Cell::Float(3.5)];
    let (array, unfit) = filled(DataType::Int8, cells);
    assert_eq!(array.as_primitive::<Int8Type>().iter().collect::<Vec<_>>(), [Some(127), None, None, Some(3), None]);
    assert_eq!(unfit.iter().map(|one| one.value.as_str()).collect::<Vec<_>>(), ["128", "3.5"]);
    let (array, unfit) = filled(DataType::UInt64, vec![Cell::Unsigned(u64::MAX), Cell::Integer(-1)]);
    assert_eq!(array.as_primitive::<UInt64Type>().value(0), u64::MAX);
    assert_eq!(unfit.len(), 1);
}

#[test]
fn numbers_that_a_double_cannot_hold_are_said() {
    let (array, unfit) = filled(DataType::Float64, vec![Cell::Integer(1 << 53), Cell::Integer((1 << 53) + 1)]);
    assert_eq!(array.null_count(), 1);
    assert_eq!(unfit[0].value, "9007199254740993");
    let (_, unfit) = filled(DataType::Float32, vec![Cell::Float(0.5), Cell::Float(0.1), Cell::Float(f64::NAN)]);
    assert_eq!(unfit.len(), 1);
}

#[test]
fn decimals_are_exact() {
    let cells = vec![Cell::Decimal("1.20".into()), Cell::Float(0.1), Cell::Decimal("0.001".into()), Cell::Integer(7)];
    let (array, unfit) = filled(DataType::Decimal128(6, 2), cells);
    let array = array.as_primitive::<arrow::datatypes::Decimal128Type>();
    assert_eq!((array.value(0), array.value(1), array.value(3)), (120, 10, 700));
    assert_eq!(unfit[0].value, "0.001");
}

#[test]
fn times_after_midnight_are_said() {
    let (_, unfit) = filled(
        DataType::Time64(TimeUnit::Microsecond),
        vec![Cell::Time(0), Cell::Time(MICROS_OF_A_DAY - 1), Cell::Time(MICROS_OF_A_DAY), Cell::Time(-1)],
    );
    assert_eq!(unfit.len(), 2);
}

#[test]
fn text_takes_other_types_only_where_the_sample_had_several() {
    let (_, unfit) = filled(DataType::Utf8, vec![Cell::text("a"), Cell::Integer(1)]);
    assert_eq!(unfit.len(), 1);
    let mut unfit = Vec::new();
    let field = Field::new("c", DataType::Utf8, true).with_metadata([(MIXED.to_owned(), String::new())].into());
    let mut builder = ColumnBuilder::new(&field).unwrap();
    builder.push(Cell::text("a"), &mut unfit);
    builder.push(Cell::List(vec![Cell::Integer(1)]), &mut unfit);
    builder.push(Cell::Binary([1, 2, 3][..].into(), 0), &mut unfit);
    assert!(unfit.is_empty());
    builder.push(Cell::List(vec![Cell::Misfit("MinKey".into(), "it is a bound and no value")]), &mut unfit);
    let array = builder.finish().unwrap();
    let bytes = r#"{"$binary":{"base64":"AQID","subType":"00"}}"#;
    assert_eq!(array.as_string::<i32>().iter().flatten().collect::<Vec<_>>(), ["\"a\"", "[1]", bytes]);
    assert_eq!((unfit.len(), unfit[0].value.as_str(), array.is_null(3)), (1, "MinKey", true));
}

#[test]
fn a_document_of_many_strange_fields_is_read_at_once_and_listed_in_part() {
    let fields: Fields = (0..2000).map(|n| Field::new(format!("known{n}"), DataType::Int64, true)).collect();
    let strange = (0..500_000).map(|n| (format!("strange{n}").into(), Cell::Integer(n)));
    let known = std::iter::once(("known7".into(), Cell::Integer(7)));
    let mut unfit = Vec::new();
    let begun = std::time::Instant::now();
    let cells = arrange(&fields, strange.chain(known).collect(), "", &mut unfit);
    // 10^9 comparisons of names would take far longer, in a debug build above all.
    assert!(begun.elapsed().as_secs() < 10, "{:?}", begun.elapsed());
    assert_eq!((cells.len(), &cells[7]), (2000, &Cell::Integer(7)));
    assert_eq!(unfit.len(), LISTED_OF_A_ROW + 1);
    assert!(unfit.last().unwrap().reason.contains("not listed"));
}

#[test]
fn misfits_inside_documents_name_their_path() {
    let inner = Fields::from(vec![Field::new("n", DataType::Int64, true), Field::new("t", DataType::Utf8, true)]);
    let item = Field::new("item", DataType::Struct(inner), true);
    let list = DataType::List(Arc::new(item));
    let document =
        |n| Cell::Struct(vec![("t".into(), Cell::text("x")), ("n".into(), n), ("new".into(), Cell::Integer(1))]);
    let cells =
        vec![Cell::List(vec![document(Cell::Integer(1)), document(Cell::text("no"))]), Cell::Null, Cell::Integer(1)];
    let (array, unfit) = filled(list, cells);
    assert_eq!(array.len(), 3);
    assert_eq!(array.null_count(), 2);
    let names: Vec<_> = unfit.iter().map(|one| one.column.as_str()).collect();
    assert_eq!(names, ["c.item.new", "c.item.new", "c.item.n", "c"]);
}

#[test]
fn a_builder_is_empty_after_finish() {
    let mut unfit = Vec::new();
    let fields = Fields::from(vec![Field::new("n", DataType::Int64, true)]);
    let mut builder = ColumnBuilder::new(&Field::new("c", DataType::Struct(fields), true)).unwrap();
    builder.push(Cell::Struct(vec![("n".into(), Cell::Integer(1))]), &mut unfit);
    assert_eq!(builder.finish().unwrap().len(), 1);
    builder.push(Cell::Null, &mut unfit);
    assert_eq!(builder.finish().unwrap().null_count(), 1);
}
