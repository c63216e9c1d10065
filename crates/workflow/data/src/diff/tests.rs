use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, TimeUnit};
use ropewalk_types::Diagnose as _;

use crate::tests::fixture::{Project, texts};
use crate::{ChangedCell, DiffSettings, TableDiff, table_diff};

const BEFORE: &str = "id,name,price,old\n1,a,1.5,x\n2,b,2.5,x\n3,,3.5,x\n4,d,4.5,x\n";
const AFTER: &str = "name,id,price,new\na,1,1.5,9\nB,2,2.25,9\nc,3,3.5,9\ne,5,5.5,9\nf,6,6.5,9\n";

async fn compared(before: &str, after: &str, key: Option<&[&str]>) -> Result<TableDiff, crate::DataError> {
    let project = Project::new().await;
    let (before, after) = (project.csv(before).await, project.csv(after).await);
    let key: Option<Vec<String>> = key.map(|key| key.iter().map(ToString::to_string).collect());
    table_diff(&project.store, &before, &after, key.as_deref(), &DiffSettings::new(project.scratch())).await
}

#[tokio::test]
async fn by_a_key_changes_are_told_column_by_column() {
    let diff = compared(BEFORE, AFTER, Some(&["id"])).await.unwrap();
    assert_eq!((diff.rows_before, diff.rows_after), (4, 5));
    assert_eq!((diff.rows_added, diff.rows_removed, diff.rows_changed, diff.rows_same()), (2, 1, 2, 1));
    assert_eq!(diff.changed_columns, [("name".to_owned(), 2), ("price".to_owned(), 1)]);
    assert_eq!((diff.columns_added[0].name.as_str(), diff.columns_removed[0].name.as_str()), ("new", "old"));
    assert_eq!(texts(&[diff.added.clone().unwrap()]), ["e|5|5.5|9", "f|6|6.5|9"]);
    assert_eq!(texts(&[diff.removed.clone().unwrap()]), ["4|d|4.5|x"]);
    assert_eq!((diff.changed[0].key.clone(), diff.changed[0].cells.len()), (vec![Some("2".to_owned())], 2));
    let cell = ChangedCell { column: "name".to_owned(), before: None, after: Some("c".to_owned()) };
    assert_eq!(diff.changed[1].cells, [cell]);
}

#[tokio::test]
async fn without_a_key_rows_are_a_multiset() {
    let diff = compared("a,b\n1,x\n1,x\n1,x\n2,\n3,z\n", "a,b\n3,z\n1,x\n2,\n2,\n", None).await.unwrap();
    assert_eq!((diff.rows_added, diff.rows_removed, diff.rows_changed), (1, 2, 0));
    assert_eq!(texts(&[diff.removed.unwrap()]), ["1|1|x", "2|1|x", "3|1|x"]);
    assert_eq!(texts(&[diff.added.unwrap()]), ["3|2|", "4|2|"]);
    let same = compared("a,b\n1,x\n2,y\n", "b,a\ny,2\nx,1\n", None).await.unwrap();
    assert!(same.is_empty(), "{same:?}");
}

#[tokio::test]
async fn minus_zero_is_zero_with_a_key_and_without() {
    let (before, after) = ("a,b\n0.0,x\n1.5,y\n", "a,b\n-0.0,x\n1.5,y\n");
    for key in [None, Some(["b"].as_slice()), Some(["a"].as_slice())] {
        let diff = compared(before, after, key).await.unwrap();
        assert!(diff.is_empty(), "{key:?}: {diff:?}");
    }
}

#[tokio::test]
async fn texts_are_the_same_in_every_layout() {
    let project = Project::new().await;
    let table = |values: [&str; 3], layout: &DataType| {
        let text = |values: [&str; 3]| cast(&StringArray::from_iter_values(values), layout).unwrap();
        RecordBatch::try_from_iter([("id", text(["a", "b", "c"])), ("v", text(values))]).unwrap()
    };
    let dictionary = DataType::Dictionary(Box::new(DataType::Int8), Box::new(DataType::LargeUtf8));
    let layouts = [DataType::Utf8, DataType::LargeUtf8, DataType::Utf8View, dictionary];
    let key = ["id".to_owned()];
    for (one, other) in layouts.iter().flat_map(|one| layouts.iter().map(move |other| (one, other))) {
        let before = project.table(&[table(["x", "y", "z"], one)]).await;
        let after = project.table(&[table(["x", "y", "w"], other)]).await;
        let settings = DiffSettings::new(project.scratch());
        let keyed = table_diff(&project.store, &before, &after, Some(&key), &settings).await.unwrap();
        assert_eq!((keyed.rows_changed, keyed.columns_retyped.len()), (1, 0), "{one} {other}: {keyed:?}");
        let unkeyed = table_diff(&project.store, &before, &after, None, &settings).await.unwrap();
        assert_eq!((unkeyed.rows_added, unkeyed.rows_removed), (1, 1), "{one} {other}");
        assert_eq!(texts(&[unkeyed.added.unwrap()]), ["3|c|w"], "{one} {other}");
        let less = project.table(&[table(["x", "y", "z"], one).slice(0, 2)]).await;
        let keyed = table_diff(&project.store, &less, &after, Some(&key), &settings).await.unwrap();
        assert_eq!((keyed.rows_added, texts(&[keyed.added.unwrap()])), (1, vec!["c|w".to_owned()]), "{one} {other}");
    }
}

#[tokio::test]
async fn what_cannot_be_compared_is_said() {
    let error = compared("a\n1\n1\n2\n", "a\n1\n", Some(&["a"])).await.unwrap_err();
    assert_eq!(error.code(), "data.diff");
    assert!(error.to_string().contains("2 rows of the first version share their `a`"), "{error}");
    assert_eq!(compared("a\n1\n", "b\n1\n", None).await.unwrap_err().code(), "data.diff");
    assert_eq!(compared("a\n1\n", "b\n1\n", Some(&["a"])).await.unwrap_err().code(), "data.diff");
    let retyped = compared("a,b\n1,2\n", "a,b\n1,x\n", Some(&["a"])).await.unwrap();
    assert_eq!(retyped.columns_retyped[0].after, "text");
    assert_eq!((retyped.rows_changed, retyped.is_empty()), (1, false));
    let nulls = compared("a,b\n1,2\n,3\n", "a,b\n1,2\n,4\n", Some(&["a"])).await.unwrap();
    assert_eq!((nulls.rows_changed, nulls.changed[0].key.clone()), (1, vec![None]));
}

#[tokio::test]
async fn values_are_compared_across_types() {
    let before = "id,whole,large,mixed,code\n1,1,9007199254740992,1,7\n2,2,9007199254740993,2.5,8\n3,3,3,,9\n";
    for (after, rows, columns) in [
        // Whole numbers became numbers with a point; two of three are others.
        ("id,whole\n1,1.0\n2,2.5\n3,30.0\n", 2, vec![("whole", 2)]),
        ("id,whole\n1,1.0\n2,2.0\n3,3.0\n4,4.5\n", 0, vec![]),
        // No double is 2^53 + 1.
        ("id,large\n1,9007199254740992.0\n2,9007199254740992.0\n3,3.0\n", 1, vec![("large", 1)]),
        // Numbers became text, of which some still are the same numbers.
        ("id,mixed,code\n1,1,07\n2,2.5,8\n3,x,nine\n", 2, vec![("mixed", 1), ("code", 2)]),
    ] {
        let diff = compared(before, after, Some(&["id"])).await.unwrap();
        assert!(!diff.columns_retyped.is_empty(), "{after}");
        let columns: Vec<_> = columns.into_iter().map(|(column, rows)| (column.to_owned(), rows)).collect();
        assert_eq!((diff.rows_changed, diff.changed_columns), (rows, columns), "{after}");
        let unkeyed = compared(before, after, None).await.unwrap();
        assert_eq!((unkeyed.rows_removed, unkeyed.rows_added), (rows, rows + diff.rows_added), "{after}");
    }
}

/// How many of the rows changed, with a key and without, where the column `v` went from one to the other.
async fn retyped(before: ArrayRef, after: ArrayRef) -> (u64, u64) {
    let project = Project::new().await;
    let table = |values: ArrayRef| {
        let id: ArrayRef = Arc::new(Int64Array::from_iter_values(0..values.len() as i64));
        RecordBatch::try_from_iter_with_nullable([("id", id, true), ("v", values, true)]).unwrap()
    };
    let (before, after) = (project.table(&[table(before)]).await, project.table(&[table(after)]).await);
    let (settings, key) = (DiffSettings::new(project.scratch()), ["id".to_owned()]);
    let keyed = table_diff(&project.store, &before, &after, Some(&key), &settings).await.unwrap();
    let unkeyed = table_diff(&project.store, &before, &after, None, &settings).await.unwrap();
    assert_eq!(keyed.columns_retyped.len(), 1, "{keyed:?}");
    (keyed.rows_changed, unkeyed.rows_added)
}

/// Texts as values of a type; what is empty is null.
fn of(data_type: &DataType, texts: &[&str]) -> ArrayRef {
    let texts: StringArray = texts.iter().map(|text| Some(*text).filter(|text| !text.is_empty())).collect();
    cast(&texts, data_type).unwrap()
}

#[tokio::test]
async fn decimals_of_other_types_are_compared_digit_by_digit() {
    let (d18, d20) = (DataType::Decimal128(18, 2), DataType::Decimal128(20, 2));
    let before = ["9007199254740992.25", "1.50", ""];
    assert_eq!(retyped(of(&d18, &before), of(&d20, &["9007199254740992.26", "1.50", ""])).await, (1, 1));
    assert_eq!(retyped(of(&d18, &before), of(&DataType::Decimal128(20, 4), &before)).await, (0, 0));
    let (whole, large) = (["9007199254740992", "7", ""], DataType::Decimal128(20, 0));
    assert_eq!(retyped(of(&DataType::Int64, &whole), of(&large, &["9007199254740993", "7", ""])).await, (1, 1));
    assert_eq!(retyped(of(&DataType::Int64, &whole), of(&large, &whole)).await, (0, 0));
    // Both together have more digits than any decimal: what does not fit is neither the same nor null.
    let (long, fine) = (DataType::Decimal256(76, 0), DataType::Decimal256(76, 60));
    let huge = "1".repeat(70);
    assert_eq!(retyped(of(&long, &[huge.as_str(), "5", "6"]), of(&fine, &["", "5", "6.1"])).await, (2, 2));
}

#[tokio::test]
async fn decimals_and_floats_are_the_same_where_a_float_means_the_number() {
    let decimals = of(&DataType::Decimal128(30, 4), &["0.1000", "9007199254740993", "2.5000", "-7"]);
    let floats = Float64Array::from(vec![0.1, 9_007_199_254_740_992.0, 2.5, -7.0]);
    assert_eq!(retyped(decimals, Arc::new(floats)).await, (1, 1));
}

#[tokio::test]
async fn a_day_is_its_midnight() {
    let days = of(&DataType::Date32, &["2013-01-01", "2013-01-02", ""]);
    for zone in [None, Some("UTC".into())] {
        let moments = DataType::Timestamp(TimeUnit::Microsecond, zone);
        let moments = of(&moments, &["2013-01-01T00:00:00", "2013-01-02T00:00:01", ""]);
        assert_eq!(retyped(Arc::clone(&days), Arc::clone(&moments)).await, (1, 1));
        assert_eq!(retyped(moments, Arc::clone(&days)).await, (1, 1));
    }
}
