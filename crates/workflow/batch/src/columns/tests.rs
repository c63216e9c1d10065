use std::sync::Arc;

use arrow::array::{
    ArrayRef, DictionaryArray, FixedSizeListArray, Float32Array, Float64Array, Int32Array, Int64Array, ListArray,
    NullArray, StringArray,
};
use arrow::datatypes::{Float32Type, Int32Type};
use bytes::Bytes;
use ropewalk_inference::TensorData;

use super::*;

fn batch(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
    RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, array)| (name, array, true))).unwrap()
}

fn spec(name: &str, datatype: ElementType, shape: &[i64]) -> TensorSpec {
    TensorSpec { name: name.to_owned(), datatype, shape: shape.to_vec() }
}

fn tensors(
    inputs: Vec<TensorSpec>,
    batch: &RecordBatch,
    columns: &[&str],
) -> Result<(Vec<NamedTensor>, Rounded), BatchError> {
    let choice = ColumnChoice { columns: columns.iter().map(|name| (*name).to_owned()).collect() };
    let signature = Signature { inputs, outputs: Vec::new() };
    let mapping = Mapping::new(&signature, &batch.schema(), &choice)?;
    let mut rounded = Rounded::new();
    Ok((mapping.tensors(batch, 101, &mut rounded)?, rounded))
}

#[test]
fn columns_of_the_inputs_names_in_any_type_that_is_exact() {
    let words: DictionaryArray<Int32Type> = vec!["a", "b", "a"].into_iter().collect();
    let table = batch(vec![
        ("late", Arc::new(Int32Array::from(vec![Some(1), None, Some(3)]))),
        ("word", Arc::new(words)),
        ("count", Arc::new(Float64Array::from(vec![1.0, 2.0, -3.0]))),
        ("other", Arc::new(NullArray::new(3))),
    ]);
    let inputs = vec![
        spec("word", ElementType::Bytes, &[-1, 1]),
        spec("late", ElementType::Fp32, &[-1]),
        spec("count", ElementType::Int8, &[1]),
        spec("other", ElementType::Fp64, &[-1, 1]),
    ];
    let (made, rounded) = tensors(inputs, &table, &[]).unwrap();
    assert_eq!(made[0].tensor.shape, [3, 1]);
    assert_eq!(made[0].tensor.data, TensorData::Bytes(["a", "b", "a"].map(Bytes::from).to_vec()));
    let TensorData::Fp32(late) = &made[1].tensor.data else { panic!("{made:?}") };
    assert!(matches!(late.as_slice(), [1.0, absent, 3.0] if absent.is_nan()), "{late:?}");
    assert_eq!((&made[2].tensor.shape, &made[2].tensor.data), (&vec![3], &TensorData::Int8(vec![1, 2, -3])));
    assert!(rounded.is_empty());
}

#[test]
fn one_matrix_of_all_numbers_or_of_those_that_are_named() {
    let table = batch(vec![
        ("id", Arc::new(StringArray::from(vec!["x", "y"]))),
        ("a", Arc::new(Int64Array::from(vec![1, 2]))),
        ("b", Arc::new(Float64Array::from(vec![0.5, 0.1]))),
    ]);
    let matrix = || vec![spec("X", ElementType::Fp32, &[-1, 2])];
    let (made, rounded) = tensors(matrix(), &table, &[]).unwrap();
    assert_eq!(made[0].tensor.data, TensorData::Fp32(vec![1.0, 0.5, 2.0, 0.1]));
    assert_eq!(rounded, Rounded::from([("b".to_owned(), 1)]));
    let (made, _) = tensors(matrix(), &table, &["b", "a"]).unwrap();
    assert_eq!(made[0].tensor.data, TensorData::Fp32(vec![0.5, 1.0, 0.1, 2.0]));
    let error = tensors(vec![spec("X", ElementType::Fp32, &[-1, 3])], &table, &[]).unwrap_err();
    assert_eq!(error.to_string(), "the model's input `X` takes 3 numbers a row, and 2 columns are numbers: a, b");
    assert!(
        matches!(tensors(matrix(), &table, &["a", "c"]).unwrap_err(), BatchError::MissingColumn { input, .. } if input == "c")
    );
    let named = tensors(vec![spec("a", ElementType::Fp32, &[-1])], &table, &["a"]);
    assert!(matches!(named.unwrap_err(), BatchError::Places { .. }));
}

#[test]
fn vectors_of_one_length_are_a_matrix() {
    let rows = [Some(vec![Some(1.0), Some(2.0)]), Some(vec![Some(3.0), None])];
    let fixed = FixedSizeListArray::from_iter_primitive::<Float32Type, _, _>(rows.clone(), 2);
    let free = ListArray::from_iter_primitive::<Float32Type, _, _>(rows);
    for vectors in [Arc::new(fixed) as ArrayRef, Arc::new(free)] {
        let table = batch(vec![("v", vectors)]).slice(1, 1);
        let (made, _) = tensors(vec![spec("v", ElementType::Fp32, &[-1, 2])], &table, &[]).unwrap();
        let TensorData::Fp32(values) = &made[0].tensor.data else { panic!("{made:?}") };
        assert!(matches!(values.as_slice(), [3.0, absent] if absent.is_nan()), "{values:?}");
        assert!(matches!(
            tensors(vec![spec("v", ElementType::Fp32, &[-1, 3])], &table, &[]).unwrap_err(),
            BatchError::Width { wanted: 3, .. }
        ));
    }
    let odd = [Some(vec![Some(1.0)]), Some(vec![Some(1.0), Some(2.0)])];
    let table = batch(vec![("v", Arc::new(ListArray::from_iter_primitive::<Float32Type, _, _>(odd)))]);
    let error = tensors(vec![spec("v", ElementType::Fp32, &[-1, 1])], &table, &[]).unwrap_err();
    assert_eq!(error.to_string(), "column `v`, row 102: a list of 2 is no FP32");
}

#[test]
fn what_is_not_exactly_of_the_type_is_refused_with_column_and_row() {
    let table = batch(vec![
        ("n", Arc::new(Int64Array::from(vec![Some(1), None]))),
        ("big", Arc::new(Int64Array::from(vec![1, (1 << 24) + 1]))),
        ("f", Arc::new(Float64Array::from(vec![1.0, 1.5]))),
        ("huge", Arc::new(Float64Array::from(vec![1.0, 1e300]))),
        ("t", Arc::new(StringArray::from(vec![Some("a"), None]))),
        ("x", Arc::new(Float32Array::from(vec![1.0, 2.0]))),
    ]);
    let says = |name: &str, datatype| tensors(vec![spec(name, datatype, &[-1])], &table, &[]).unwrap_err().to_string();
    assert_eq!(says("n", ElementType::Int64), "column `n`, row 102: null is no INT64");
    assert_eq!(says("big", ElementType::Fp32), "column `big`, row 102: 16777217 is no FP32");
    assert_eq!(says("f", ElementType::Int64), "column `f`, row 102: 1.5 is no INT64");
    assert!(says("huge", ElementType::Fp32).starts_with("column `huge`, row 102: 1"));
    assert_eq!(says("t", ElementType::Bytes), "column `t`, row 102: null is no BYTES");
    assert_eq!(says("t", ElementType::Fp32), "column `t` is Utf8, and the model's input `t` takes FP32");
    assert_eq!(says("x", ElementType::Bytes), "column `x` is Float32, and the model's input `x` takes BYTES");
    assert!(says("none", ElementType::Fp32).starts_with("the model's input `none` has no column: there are n, big"));
}
