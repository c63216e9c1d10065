use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, Date32Array, DictionaryArray, Float64Array, Int32Array, NullArray, StringArray,
};
use arrow::datatypes::Int32Type;
use proptest::prelude::*;
use ropewalk_types::Diagnose;

use super::*;

fn batch(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
    RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, array)| (name, array, true)))
        .expect("a batch")
}

fn numbers(values: &[Option<f64>]) -> RecordBatch {
    batch(vec![("x", Arc::new(Float64Array::from(values.to_vec())))])
}

fn texts(values: &[Option<&str>]) -> RecordBatch {
    batch(vec![("c", Arc::new(StringArray::from(values.to_vec())))])
}

fn profile(batches: &[RecordBatch]) -> Profile {
    let mut profile = Profile::new();
    for batch in batches {
        profile.update(batch).expect("a good batch");
    }
    profile
}

#[test]
fn nulls_and_nan_are_missing_and_infinity_is_beyond() {
    let values = [Some(1.0), None, Some(f64::NAN), Some(f64::INFINITY), Some(3.0), Some(-1e200)];
    let profile = profile(&[numbers(&values)]);
    let summary = profile.column("x").and_then(Column::numeric).expect("numeric");
    assert_eq!((profile.rows(), profile.missing("x")), (6, Some(2)));
    assert_eq!((summary.count(), summary.beyond()), (2, 2));
    assert_eq!((summary.minimum(), summary.maximum(), summary.mean()), (Some(1.0), Some(3.0), Some(2.0)));
    assert_eq!(summary.variance(), Some(1.0));
}

#[test]
fn every_type_has_a_kind() {
    let dictionary: DictionaryArray<Int32Type> = vec![Some("a"), None, Some("a")].into_iter().collect();
    let profile = profile(&[batch(vec![
        ("integer", Arc::new(Int32Array::from(vec![1, 2, 2]))),
        ("boolean", Arc::new(BooleanArray::from(vec![Some(true), None, Some(true)]))),
        ("dictionary", Arc::new(dictionary)),
        ("date", Arc::new(Date32Array::from(vec![Some(1), None, None]))),
        ("nothing", Arc::new(NullArray::new(3))),
    ])]);
    let kinds: Vec<_> = profile.columns().map(|(name, column)| (name, column.kind(), column.present())).collect();
    assert_eq!(
        kinds,
        [
            ("boolean", ColumnKind::Categorical, 2),
            ("date", ColumnKind::Other, 1),
            ("dictionary", ColumnKind::Categorical, 2),
            ("integer", ColumnKind::Numeric, 3),
            ("nothing", ColumnKind::Other, 0),
        ]
    );
    let boolean = profile.column("boolean").and_then(Column::categorical).expect("categorical");
    assert_eq!(boolean.values()["true"], 2);
}

#[test]
fn a_column_that_is_not_in_every_batch_is_missing_there() {
    let profile = profile(&[numbers(&[Some(1.0), Some(2.0)]), texts(&[Some("a")])]);
    assert_eq!((profile.missing("x"), profile.missing("c"), profile.missing("y")), (Some(1), Some(2), None));
}

#[test]
fn an_empty_column_takes_the_kind_that_comes() {
    let nothing = batch(vec![("x", Arc::new(NullArray::new(3)))]);
    let some = numbers(&[Some(1.0)]);
    for order in [[nothing.clone(), some.clone()], [some, nothing]] {
        let profile = profile(&order);
        assert_eq!(profile.column("x").map(Column::kind), Some(ColumnKind::Numeric));
        assert_eq!(profile.missing("x"), Some(3));
    }
}

#[test]
fn a_change_of_kind_is_an_error_and_changes_nothing() {
    let mut profile = profile(&[batch(vec![
        ("a", Arc::new(Float64Array::from(vec![1.0]))),
        ("b", Arc::new(Float64Array::from(vec![1.0]))),
    ])]);
    let before = profile.clone();
    let wrong =
        batch(vec![("a", Arc::new(Float64Array::from(vec![1.0]))), ("b", Arc::new(StringArray::from(vec!["1"])))]);
    let error = profile.update(&wrong).expect_err("a text is not a number");
    assert_eq!(error.code(), "monitoring.kind-changed");
    assert_eq!(
        error.to_string(),
        "column `b` was numeric and is now categorical: its rows cannot be summed up together"
    );
    assert_eq!(profile, before);
    let mut other = Profile::new();
    other.update(&wrong).expect("good alone");
    assert!(profile.merge(&other).is_err());
    assert_eq!(profile, before);
}

#[test]
fn two_columns_of_one_name_are_an_error() {
    let column: ArrayRef = Arc::new(Float64Array::from(vec![1.0]));
    let error = Profile::new().update(&batch(vec![("a", column.clone()), ("a", column)])).expect_err("twice");
    assert_eq!(error.code(), "monitoring.duplicate-column");
}

#[test]
fn too_many_columns_are_an_error() {
    let column: ArrayRef = Arc::new(Float64Array::from(vec![1.0]));
    let names: Vec<String> = (0..=MAXIMUM_COLUMNS).map(|i| format!("c{i}")).collect();
    let wide = batch(names.iter().map(|name| (name.as_str(), column.clone())).collect());
    assert_eq!(Profile::new().update(&wide).expect_err("wide").code(), "monitoring.too-many-columns");
}

#[test]
fn json_is_stable() {
    let mut profile = profile(&[numbers(&[Some(1.0), Some(2.0), Some(2.0), None])]);
    profile.merge(&self::profile(&[texts(&[Some("a"), Some("b")])])).expect("other columns");
    let json = concat!(
        r#"{"format":"ropewalk.profile/1","rows":6,"columns":{"#,
        r#""c":{"kind":"categorical","count":2,"exact":true,"values":{"a":1,"b":1}},"#,
        r#""x":{"kind":"numeric","count":3,"beyond":0,"minimum":1.0,"maximum":2.0,"mean":1.6666666666666667,"#,
        r#""variance":0.2222222222222222,"distribution":{"exact":true,"values":[1.0,2.0],"weights":[1,2]}}}}"#
    );
    assert_eq!(profile.to_json().expect("json"), json);
    assert_eq!(Profile::from_json(json).expect("reads").to_json().expect("json"), json);
}

#[test]
fn foreign_json_is_checked() {
    for text in [
        "",
        "{}",
        r#"{"format":"ropewalk.profile/2","rows":0,"columns":{}}"#,
        r#"{"format":"ropewalk.profile/1","rows":1,"columns":{"a":{"kind":"other","data_type":"Date32","count":2}}}"#,
        r#"{"format":"ropewalk.profile/1","rows":9,"columns":{"a":{"kind":"categorical","count":9,"exact":true,"values":{"x":8}}}}"#,
        r#"{"format":"ropewalk.profile/1","rows":9,"columns":{"a":{"kind":"numeric","count":1,"beyond":0,"minimum":1.0,"maximum":2.0,"mean":1.0,"variance":-1.0,"distribution":{"exact":true,"values":[1.0],"weights":[1]}}}}"#,
        r#"{"format":"ropewalk.profile/1","rows":9,"columns":{"a":{"kind":"numeric","count":1,"beyond":0,"minimum":null,"maximum":2.0,"mean":1.0,"variance":0.0,"distribution":{"exact":true,"values":[1.0],"weights":[1]}}}}"#,
    ] {
        assert_eq!(Profile::from_json(text).expect_err(text).code(), "monitoring.format", "{text}");
    }
}

/// Values as they come: rounded ones that repeat, wide ones, missing ones.
fn values() -> impl Strategy<Value = Vec<Option<f64>>> {
    let value = prop_oneof![
        4 => (-1e3..1e3_f64).prop_map(Some),
        2 => (0..5_i32).prop_map(|v| Some(f64::from(v))),
        1 => Just(None),
        1 => Just(Some(f64::NAN)),
        1 => any::<f64>().prop_map(Some),
    ];
    prop::collection::vec(value, 0..6_000)
}

/// The share of `sorted` that is at most `value`.
fn rank(sorted: &[f64], value: f64) -> f64 {
    sorted.partition_point(|v| *v <= value) as f64 / sorted.len() as f64
}

fn close(found: Option<f64>, wanted: Option<f64>, scale: f64) -> bool {
    match (found, wanted) {
        (Some(found), Some(wanted)) => (found - wanted).abs() <= 1e-9 * scale.max(wanted.abs()),
        (found, wanted) => found == wanted,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn merging_is_as_profiling_all_rows(left in values(), right in values()) {
        let whole = profile(&[numbers(&left), numbers(&right)]);
        let mut parts = profile(&[numbers(&left)]);
        parts.merge(&profile(&[numbers(&right)])).expect("same kinds");
        prop_assert_eq!(parts.rows(), whole.rows());
        prop_assert_eq!(parts.missing("x"), whole.missing("x"));
        let (parts, whole) = (parts.column("x").and_then(Column::numeric), whole.column("x").and_then(Column::numeric));
        let (parts, whole) = (parts.expect("numeric"), whole.expect("numeric"));
        prop_assert_eq!((parts.count(), parts.beyond()), (whole.count(), whole.beyond()));
        prop_assert_eq!((parts.minimum(), parts.maximum()), (whole.minimum(), whole.maximum()));
        let scale = whole.maximum().unwrap_or(0.0).abs().max(whole.minimum().unwrap_or(0.0).abs());
        prop_assert!(close(parts.mean(), whole.mean(), scale));
        prop_assert!(close(parts.variance(), whole.variance(), scale * scale));
        prop_assert_eq!(parts.distribution().weight(), whole.count());

        let mut sorted: Vec<f64> = left.iter().chain(&right).flatten().copied().filter(|v| v.abs() <= 1e140).collect();
        sorted.sort_unstable_by(f64::total_cmp);
        let curve = parts.curve();
        for value in sorted.iter().step_by(1 + sorted.len() / 50) {
            let (found, wanted) = (curve.share_up_to(*value), rank(&sorted, *value));
            prop_assert!((found - wanted).abs() <= 0.03 + 1.0 / sorted.len() as f64, "{}: {} {}", value, found, wanted);
        }
    }

    #[test]
    fn the_cut_into_batches_changes_no_bit(values in values(), cut in 0..6_000_usize) {
        let cut = cut.min(values.len());
        prop_assert_eq!(
            profile(&[numbers(&values)]).to_json().expect("json"),
            profile(&[numbers(&values[..cut]), numbers(&values[cut..])]).to_json().expect("json")
        );
    }

    #[test]
    fn json_reads_back_as_it_was(values in values()) {
        let json = profile(&[numbers(&values)]).to_json().expect("json");
        let read = Profile::from_json(&json).expect("reads");
        prop_assert_eq!(read.missing("x"), profile(&[numbers(&values)]).missing("x"));
        let (read, whole) = (read.column("x").and_then(Column::numeric), profile(&[numbers(&values)]));
        let (read, whole) = (read.expect("numeric"), whole.column("x").and_then(Column::numeric).expect("numeric"));
        prop_assert_eq!(read.distribution(), whole.distribution());
        prop_assert_eq!((read.mean(), read.minimum()), (whole.mean(), whole.minimum()));
    }

    #[test]
    fn categories_merge_exactly(left in prop::collection::vec("[a-e]?", 0..200), right in prop::collection::vec("[a-h]?", 0..200)) {
        let as_batch = |values: &[String]| texts(&values.iter().map(|v| Some(v.as_str())).collect::<Vec<_>>());
        let mut parts = profile(&[as_batch(&left)]);
        parts.merge(&profile(&[as_batch(&right)])).expect("same kinds");
        prop_assert_eq!(parts, profile(&[as_batch(&left), as_batch(&right)]));
    }

    #[test]
    fn no_text_panics(text in ".{0,200}") {
        prop_assert!(Profile::from_json(&text).is_err());
    }
}
