//! Requests that do and do not fit a model, and what a model says about itself.

use std::sync::Arc;

use bytes::Bytes;
use ropewalk_inference::onnx::{Attribute, GraphBuilder};
use ropewalk_inference::{ClassicalEngine, InferenceError, Model, NamedTensor, Tensor, TensorData};
use ropewalk_types::{Diagnose, ElementType};

use crate::stump::{Stump, classifier};

fn load(bytes: &[u8]) -> Arc<dyn Model> {
    ClassicalEngine.load(bytes).unwrap()
}

fn floats(name: &str, shape: &[usize], values: &[f32]) -> NamedTensor {
    NamedTensor::new(name, Tensor::new(shape.to_vec(), values.to_vec()).unwrap())
}

fn refusal(inputs: &[NamedTensor]) -> String {
    let error = load(&classifier(&Stump::default())).predict(inputs).unwrap_err();
    assert_eq!(error.code(), "inference.invalid_input");
    error.to_string()
}

#[test]
fn a_request_that_does_not_fit_is_told_why() {
    let good = floats("x", &[1, 2], &[0.0, 0.0]);
    assert_eq!(refusal(&[]), "input `x`: expected FP32[-1, 2], found nothing");
    assert_eq!(refusal(&[good.clone(), good.clone()]), "input `x`: expected it once, found it twice");
    assert_eq!(
        refusal(&[good, floats("z", &[1], &[0.0])]),
        "input `z`: expected one of `x`, found an input that the model does not have"
    );
    assert_eq!(refusal(&[floats("x", &[2], &[0.0; 2])]), "input `x`: expected FP32[-1, 2], found FP32[2]");
    assert_eq!(refusal(&[floats("x", &[1, 3], &[0.0; 3])]), "input `x`: expected FP32[-1, 2], found FP32[1, 3]");
    let integers = NamedTensor::new("x", Tensor::new(vec![1, 2], vec![1_i64, 2]).unwrap());
    assert_eq!(refusal(&[integers]), "input `x`: expected FP32[-1, 2], found INT64[1, 2]");
    let torn = NamedTensor::new("x", Tensor { shape: vec![4, 2], data: vec![0.0_f32].into() });
    assert_eq!(refusal(&[torn]), "input `x`: expected FP32[-1, 2], found FP32[4, 2] with 1 elements");
}

fn answer(stump: &Stump, column: &[f32]) -> (Vec<i64>, Vec<f32>) {
    let values: Vec<f32> = column.iter().flat_map(|value| [*value, 0.0]).collect();
    let outputs = load(&classifier(stump)).predict(&[floats("x", &[column.len(), 2], &values)]).unwrap();
    let [label, scores] = outputs.as_slice() else { panic!("{outputs:?}") };
    match (&label.tensor.data, &scores.tensor.data) {
        (TensorData::Int64(labels), TensorData::Fp32(scores)) => (labels.clone(), scores.clone()),
        other => panic!("{other:?}"),
    }
}

#[test]
fn one_weight_for_two_classes() {
    let mixed = Stump::default();
    assert_eq!(answer(&mixed, &[0.5, 0.6]), (vec![10, 11], vec![1.0, -1.0, -2.0, 2.0]));
    let none_negative = Stump { weights: vec![0.25, 0.75], ..Stump::default() };
    assert_eq!(answer(&none_negative, &[0.5, 0.6]), (vec![10, 11], vec![0.75, 0.25, 0.25, 0.75]));
    let base = Stump { base: vec![1.5], ..Stump::default() };
    assert_eq!(answer(&base, &[0.0]), (vec![11], vec![-0.5, 0.5]));
    let logistic = Stump { post_transform: "LOGISTIC", weights: vec![0.0, 2.0], ..Stump::default() };
    let (labels, scores) = answer(&logistic, &[0.0, 1.0]);
    assert_eq!(labels, [10, 11]);
    assert_eq!(&scores[..2], &[0.5, 0.5]);
    assert!((scores[3] - 0.880_797).abs() < 1e-6);
}

#[test]
fn two_weights_for_two_classes_get_the_larger_sum() {
    let stump = Stump {
        vote_nodes: vec![1, 1, 2, 2],
        vote_classes: vec![0, 1, 0, 1],
        weights: vec![0.75, 0.25, 0.25, 0.75],
        base: vec![0.0, 0.25],
        ..Stump::default()
    };
    assert_eq!(answer(&stump, &[0.0, 1.0]), (vec![10, 11], vec![0.75, 0.5, 0.25, 1.0]));
}

#[test]
fn missing_values_fail_the_test_unless_tracked() {
    assert_eq!(answer(&Stump::default(), &[f32::NAN]).0, [11]);
    let greater = Stump { modes: vec!["BRANCH_GT", "LEAF", "LEAF"], ..Stump::default() };
    assert_eq!(answer(&greater, &[f32::NAN, 0.5, 0.6]).0, [11, 11, 10]);
    let unequal = Stump { modes: vec!["BRANCH_NEQ", "LEAF", "LEAF"], ..Stump::default() };
    assert_eq!(answer(&unequal, &[f32::NAN, 0.5, 0.6]).0, [10, 11, 10]);
}

#[test]
fn thresholds_at_the_ends_of_the_line() {
    let (least, most) = (f32::NEG_INFINITY, f32::INFINITY);
    let at =
        |mode, value| Stump { modes: vec![mode, "LEAF", "LEAF"], values: vec![value, 0.0, 0.0], ..Stump::default() };
    assert_eq!(answer(&at("BRANCH_LT", least), &[least, 0.0]).0, [11, 11]);
    assert_eq!(answer(&at("BRANCH_GTE", least), &[least, 0.0]).0, [10, 10]);
    assert_eq!(answer(&at("BRANCH_LT", most), &[most, f32::MAX]).0, [11, 10]);
    assert_eq!(answer(&at("BRANCH_GTE", most), &[most, f32::MAX]).0, [10, 11]);
    assert_eq!(answer(&at("BRANCH_LT", 0.0), &[-0.0, -1e-45]).0, [11, 10]);
}

#[test]
fn an_empty_batch_has_an_empty_answer() {
    assert_eq!(answer(&Stump::default(), &[]), (vec![], vec![]));
}

#[test]
fn shapes_follow_the_batch_whatever_is_declared() {
    let bytes = GraphBuilder::new("lightgbm")
        .opset("", 13)
        .input("x", ElementType::Fp32, &[-1, 2])
        .node("", "ArgMax", &["x"], &["label"], vec![Attribute::new("axis", 1_i64), Attribute::new("keepdims", 0_i64)])
        .output("label", ElementType::Int64, &[1])
        .encode();
    let model = load(&bytes);
    assert_eq!(model.signature().outputs[0].shape, [-1]);
    assert_eq!(
        model.predict(&[floats("x", &[2, 2], &[1.0, 2.0, 4.0, 3.0])]).unwrap()[0].tensor.data,
        vec![1_i64, 0].into()
    );
}

/// Nodes that are written alike make the same, unless they name another number of outputs.
#[test]
fn a_split_in_two_is_not_one_in_three() {
    let split = |outputs: &'static [&'static str]| {
        move |graph: GraphBuilder| graph.node("", "Split", &["x"], outputs, vec![Attribute::new("axis", 1_i64)])
    };
    let (three, two) = (split(&["a", "b", "c"]), split(&["d", "e"]));
    let graph = GraphBuilder::new("splits").opset("", 13).input("x", ElementType::Fp32, &[-1, 6]);
    let graph = two(three(graph))
        .output("a", ElementType::Fp32, &[-1, -1])
        .output("d", ElementType::Fp32, &[-1, -1])
        .output("e", ElementType::Fp32, &[-1, -1]);
    let made = load(&graph.encode()).predict(&[floats("x", &[1, 6], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0])]).unwrap();
    let expected: [&[f32]; 3] = [&[1.0, 2.0], &[1.0, 2.0, 3.0], &[4.0, 5.0, 6.0]];
    for (one, expected) in made.iter().zip(expected) {
        assert_eq!(one.tensor, Tensor::new(vec![1, expected.len()], expected.to_vec()).unwrap(), "{}", one.name);
    }
}

#[test]
fn inputs_that_are_initializers_are_constants() {
    let bytes = GraphBuilder::new("constant")
        .opset("", 13)
        .input("x", ElementType::Fp32, &[-1])
        .input("two", ElementType::Fp32, &[1])
        .initializer("two", &Tensor::new(vec![1], vec![2.0_f32]).unwrap())
        .node("", "Mul", &["x", "two"], &["y"], vec![])
        .output("y", ElementType::Fp32, &[-1])
        .encode();
    let model = load(&bytes);
    assert_eq!(model.signature().inputs.len(), 1);
    assert_eq!(model.predict(&[floats("x", &[2], &[1.0, 3.0])]).unwrap()[0].tensor.data, vec![2.0_f32, 6.0].into());
}

#[test]
fn values_that_cannot_be_evaluated_name_the_node() {
    let bytes = GraphBuilder::new("cast")
        .opset("", 13)
        .input("text", ElementType::Bytes, &[-1])
        .node("", "Cast", &["text"], &["number"], vec![Attribute::new("to", 1_i64)])
        .output("number", ElementType::Fp32, &[-1])
        .encode();
    let text = |value: &'static str| NamedTensor::new("text", Tensor::new(vec![1], vec![Bytes::from(value)]).unwrap());
    let model = load(&bytes);
    assert_eq!(model.predict(&[text(" 1e3")]).unwrap()[0].tensor.data, vec![1000.0_f32].into());
    let error = model.predict(&[text("seven")]).unwrap_err();
    assert_eq!(error.to_string(), "evaluation of Cast failed at node `Cast_0`: `seven` is no number");
    assert!(matches!(error, InferenceError::Evaluation { .. }));
}

#[test]
fn the_same_calls_give_the_same_bytes() {
    assert_eq!(classifier(&Stump::default()), classifier(&Stump::default()));
}

#[test]
fn results_are_bounded() {
    let bytes = GraphBuilder::new("outer")
        .opset("", 13)
        .input("x", ElementType::Fp32, &[-1, 1])
        .input("y", ElementType::Fp32, &[1, -1])
        .node("", "Add", &["x", "y"], &["z"], vec![])
        .output("z", ElementType::Fp32, &[-1, -1])
        .encode();
    let side = 1 << 15;
    let inputs = [floats("x", &[side, 1], &vec![0.0; side]), floats("y", &[1, side], &vec![0.0; side])];
    assert!(matches!(load(&bytes).predict(&inputs), Err(InferenceError::TooLarge { .. })));
}
