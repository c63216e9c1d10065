//! `TreeEnsemble`, and steps after single trees, which are settled when the model is loaded.

use half::f16;
use ropewalk_inference::onnx::{Attribute, GraphBuilder};
use ropewalk_inference::{ClassicalEngine, NamedTensor, Tensor, TensorData};
use ropewalk_types::ElementType;

fn tensor(shape: Vec<usize>, data: impl Into<TensorData>) -> Tensor {
    Tensor::new(shape, data).unwrap()
}

fn real(kind: ElementType, values: &[f64]) -> TensorData {
    match kind {
        ElementType::Fp64 => values.to_vec().into(),
        ElementType::Fp16 => values.iter().map(|value| f16::from_f64(*value)).collect::<Vec<_>>().into(),
        _ => values.iter().map(|value| *value as f32).collect::<Vec<_>>().into(),
    }
}

fn answers(model: &[u8], input: Tensor) -> Vec<TensorData> {
    let model = ClassicalEngine.load(model).unwrap();
    let outputs = model.predict(&[NamedTensor::new("x", input)]).unwrap();
    outputs.into_iter().map(|output| output.tensor.data).collect()
}

fn ints(name: &str, values: &[i64]) -> Attribute {
    Attribute::new(name, values.to_vec())
}

fn ensemble(kind: ElementType, columns: i64, targets: i64, attributes: Vec<Attribute>) -> Vec<u8> {
    let mut all = vec![Attribute::new("n_targets", targets), ints("tree_roots", &[0])];
    all.extend(attributes);
    GraphBuilder::new("ensemble")
        .opset("ai.onnx.ml", 5)
        .input("x", kind, &[-1, columns])
        .node("ai.onnx.ml", "TreeEnsemble", &["x"], &["y"], all)
        .output("y", kind, &[-1, targets])
        .encode()
}

/// The specification's example `tree_ensemble_single_tree`.
#[test]
#[expect(clippy::approx_constant, reason = "the example's number")]
fn a_single_tree_answers_as_specified_in_each_type() {
    for kind in [ElementType::Fp64, ElementType::Fp32, ElementType::Fp16] {
        let attributes = vec![
            Attribute::new("nodes_splits", tensor(vec![3], real(kind, &[3.14, 1.2, 4.2]))),
            Attribute::new("leaf_weights", tensor(vec![4], real(kind, &[5.23, 12.12, -12.23, 7.21]))),
            Attribute::new("nodes_modes", tensor(vec![3], vec![0_u8; 3])),
            ints("nodes_featureids", &[0, 0, 0]),
            ints("nodes_truenodeids", &[1, 0, 1]),
            ints("nodes_trueleafs", &[0, 1, 1]),
            ints("nodes_falsenodeids", &[2, 2, 3]),
            ints("nodes_falseleafs", &[0, 1, 1]),
            ints("leaf_targetids", &[0, 1, 0, 1]),
        ];
        let input = tensor(vec![3, 2], real(kind, &[1.2, 3.4, -0.12, 1.66, 4.14, 1.77]));
        let expected = real(kind, &[5.23, 0.0, 5.23, 0.0, 0.0, 12.12]);
        assert_eq!(answers(&ensemble(kind, 2, 2, attributes), input), [expected], "{kind}");
    }
}

/// The specification's example `tree_ensemble_set_membership`.
#[test]
fn sets_of_members_answer_as_specified() {
    let kind = ElementType::Fp32;
    let sets = [1.2, 3.7, 8.0, 9.0, f64::NAN, 12.0, 7.0, f64::NAN];
    let attributes = vec![
        Attribute::new("nodes_splits", tensor(vec![3], real(kind, &[11.0, 232_344.0, f64::NAN]))),
        Attribute::new("membership_values", tensor(vec![8], real(kind, &sets))),
        Attribute::new("leaf_weights", tensor(vec![4], real(kind, &[1.0, 10.0, 1000.0, 100.0]))),
        Attribute::new("nodes_modes", tensor(vec![3], vec![0_u8, 6, 6])),
        ints("nodes_featureids", &[0, 0, 0]),
        ints("nodes_truenodeids", &[1, 0, 1]),
        ints("nodes_trueleafs", &[0, 1, 1]),
        ints("nodes_falsenodeids", &[2, 2, 3]),
        ints("nodes_falseleafs", &[1, 0, 1]),
        ints("leaf_targetids", &[0, 1, 2, 3]),
    ];
    let input = tensor(vec![6, 1], real(kind, &[1.2, 3.4, -0.12, f64::NAN, 12.0, 7.0]));
    let expected = [
        [1.0, 0.0, 0.0, 0.0],
        [0.0, 0.0, 0.0, 100.0],
        [0.0, 0.0, 0.0, 100.0],
        [0.0, 0.0, 1000.0, 0.0],
        [0.0, 0.0, 1000.0, 0.0],
        [0.0, 10.0, 0.0, 0.0],
    ];
    assert_eq!(answers(&ensemble(kind, 1, 4, attributes), input), [real(kind, expected.as_flattened())]);
}

#[test]
fn a_tree_may_be_one_leaf_and_no_node_may_have_two_parents() {
    let kind = ElementType::Fp32;
    let with = |when_false: &[i64], leaves: &[i64]| {
        let count = when_false.len();
        let attributes = vec![
            Attribute::new("nodes_splits", tensor(vec![count], real(kind, &vec![0.0; count]))),
            Attribute::new("leaf_weights", tensor(vec![1], real(kind, &[2.5]))),
            Attribute::new("nodes_modes", tensor(vec![count], vec![0_u8; count])),
            ints("nodes_featureids", &vec![0; count]),
            ints("nodes_truenodeids", &vec![0; count]),
            ints("nodes_trueleafs", &vec![1; count]),
            ints("nodes_falsenodeids", when_false),
            ints("nodes_falseleafs", leaves),
            ints("leaf_targetids", &[0]),
        ];
        ensemble(kind, 1, 1, attributes)
    };
    let input = || tensor(vec![2, 1], real(kind, &[1.0, f64::NAN]));
    assert_eq!(answers(&with(&[0], &[1]), input()), [real(kind, &[2.5, 2.5])]);
    let cycle = ClassicalEngine.load(&with(&[0], &[0])).unwrap_err();
    assert!(cycle.to_string().contains("reached twice"), "{cycle}");
    // A root without any node, though there is a leaf of its number; then a child that is said to be a node.
    for model in [with(&[], &[]), with(&[1], &[0])] {
        let absent = ClassicalEngine.load(&model).unwrap_err();
        assert!(absent.to_string().contains("does not exist"), "{absent}");
    }
}

/// A tree whose leaves say their numbers, as the exporter of isolation forests writes it.
fn numbered_leaves(trees: usize) -> GraphBuilder {
    let mut graph = GraphBuilder::new("leaves")
        .opset("ai.onnx.ml", 3)
        .opset("", 18)
        .input("x", ElementType::Fp32, &[-1, 2])
        .initializer("two", &tensor(vec![1], vec![2.0_f32]))
        .initializer("column", &tensor(vec![2], vec![-1_i64, 1]));
    for tree in 0..trees {
        let names = ["t", "i", "l", "y", "z"].map(|name| format!("{name}{tree}"));
        let [numbers, whole, length, shaped, twice] = names.each_ref().map(String::as_str);
        let attributes = vec![
            Attribute::new("n_targets", 1_i64),
            ints("nodes_treeids", &[0, 0, 0]),
            ints("nodes_nodeids", &[0, 1, 2]),
            ints("nodes_featureids", &[tree as i64 % 2, 0, 0]),
            Attribute::new("nodes_values", vec![0.5_f32, 0.0, 0.0]),
            Attribute::new("nodes_modes", ["BRANCH_LEQ", "LEAF", "LEAF"].map(str::to_owned).to_vec()),
            ints("nodes_truenodeids", &[1, 0, 0]),
            ints("nodes_falsenodeids", &[2, 0, 0]),
            ints("target_treeids", &[0, 0]),
            ints("target_nodeids", &[1, 2]),
            ints("target_ids", &[0, 0]),
            Attribute::new("target_weights", vec![1.0_f32, 2.0]),
        ];
        let lengths =
            vec![ints("keys_int64s", &[1, 2]), Attribute::new("values_floats", vec![3.0 + tree as f32, 0.1_f32])];
        graph = graph
            .node("ai.onnx.ml", "TreeEnsembleRegressor", &["x"], &[numbers], attributes)
            .node("", "Cast", &[numbers], &[whole], vec![Attribute::new("to", 7_i64)])
            .node("ai.onnx.ml", "LabelEncoder", &[whole], &[length], lengths)
            .node("", "Reshape", &[length, "column"], &[shaped], vec![])
            .node("", "Mul", &[shaped, "two"], &[twice], vec![]);
    }
    graph
}

#[test]
fn what_follows_a_tree_is_the_same_as_after_its_rows() {
    let input = || tensor(vec![3, 2], vec![0.5_f32, 0.6, f32::NAN, 0.0, 0.0, f32::INFINITY]);
    let model = numbered_leaves(2)
        .node("", "Add", &["z0", "z1"], &["sum"], vec![])
        .output("t0", ElementType::Fp32, &[-1, 1])
        .output("i1", ElementType::Int64, &[-1, 1])
        .output("z0", ElementType::Fp32, &[-1, 1])
        .output("sum", ElementType::Fp32, &[-1, 1])
        .encode();
    let expected: [TensorData; 4] = [
        vec![1.0_f32, 2.0, 1.0].into(),
        vec![2_i64, 1, 2].into(),
        vec![6.0_f32, 0.2, 6.0].into(),
        vec![6.0_f32 + 0.2, 0.2 + 8.0, 6.0 + 0.2].into(),
    ];
    assert_eq!(answers(&model, input()), expected);
}
