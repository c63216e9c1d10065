//! Models that are cut, or that break the rules of the format.

use prost::Message;
use ropewalk_inference::onnx::{Attribute, GraphBuilder, ModelProto};
use ropewalk_inference::{ClassicalEngine, InferenceError, Tensor};
use ropewalk_types::ElementType;

use crate::stump::{Stump, classifier};

fn reason(bytes: &[u8]) -> String {
    match ClassicalEngine.load(bytes) {
        Ok(model) => panic!("it loads: {:?}", model.signature()),
        Err(error @ (InferenceError::InvalidGraph { .. } | InferenceError::Unsupported { .. })) => error.to_string(),
        Err(error) => panic!("{error:?}"),
    }
}

fn fixture(name: &str) -> Vec<u8> {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name);
    std::fs::read(path).unwrap()
}

#[test]
fn a_cut_model_is_refused_or_whole_and_never_panics() {
    for name in ["logistic_raw_columns.onnx", "forest_three_words.onnx", "lightgbm_two.onnx"] {
        let bytes = fixture(name);
        for end in (0..bytes.len()).step_by(97) {
            // A prefix that ends between fields is a model again; it only must not panic.
            let _ = ClassicalEngine.load(&bytes[..end]);
        }
        let refused = (0..bytes.len()).step_by(97).filter(|end| ClassicalEngine.load(&bytes[..*end]).is_err()).count();
        assert!(refused > 0, "{name}");
    }
}

#[test]
fn a_model_with_flipped_bytes_never_panics() {
    for name in ["logistic_raw_columns.onnx", "xgboost_three.onnx"] {
        let bytes = fixture(name);
        for at in (0..bytes.len()).step_by(31) {
            let mut damaged = bytes.clone();
            damaged[at] ^= 0x55;
            let _ = ClassicalEngine.load(&damaged);
        }
    }
}

#[test]
fn nesting_is_bounded() {
    // Sequence of sequence of … in the type of an input, deeper than prost's limit.
    let mut nested: Vec<u8> = Vec::new();
    for _ in 0..5_000 {
        let mut sequence = Vec::new();
        prost::encoding::bytes::encode(1, &nested, &mut sequence);
        let mut outer = Vec::new();
        prost::encoding::bytes::encode(4, &sequence, &mut outer);
        nested = outer;
    }
    let (mut value, mut graph, mut model) = (Vec::new(), Vec::new(), Vec::new());
    prost::encoding::bytes::encode(2, &nested, &mut value);
    prost::encoding::bytes::encode(11, &value, &mut graph);
    prost::encoding::bytes::encode(7, &graph, &mut model);
    assert!(matches!(ClassicalEngine.load(&model), Err(InferenceError::Malformed { .. })));
}

#[test]
fn bytes_that_are_no_model_are_refused() {
    for bytes in [&b""[..], b"PK\x03\x04", b"\xff\xff\xff\xff", b"{\"model\": 1}"] {
        assert!(matches!(ClassicalEngine.load(bytes), Err(InferenceError::Malformed { .. })), "{bytes:?}");
    }
}

fn graph() -> GraphBuilder {
    GraphBuilder::new("test").opset("", 17).opset("ai.onnx.ml", 3).input("x", ElementType::Fp32, &[-1, 2])
}

#[test]
fn a_cycle_is_refused() {
    let bytes = graph()
        .node("", "Add", &["x", "b"], &["a"], vec![])
        .node("", "Add", &["x", "a"], &["b"], vec![])
        .output("b", ElementType::Fp32, &[-1, 2])
        .encode();
    assert!(reason(&bytes).contains("a cycle"), "{}", reason(&bytes));
}

#[test]
fn a_missing_initializer_is_refused() {
    let bytes =
        graph().node("", "Add", &["x", "weights"], &["y"], vec![]).output("y", ElementType::Fp32, &[-1, 2]).encode();
    assert!(reason(&bytes).contains("`weights`, which is no input"), "{}", reason(&bytes));
}

#[test]
fn names_are_given_once() {
    let twice = graph().node("", "Neg", &["x"], &["y"], vec![]).node("", "Abs", &["x"], &["y"], vec![]).output(
        "y",
        ElementType::Fp32,
        &[-1, 2],
    );
    assert!(reason(&twice.encode()).contains("given twice"));
    let shadowed = graph().node("", "Neg", &["x"], &["x"], vec![]).output("x", ElementType::Fp32, &[-1, 2]);
    assert!(reason(&shadowed.encode()).contains("given twice"));
}

#[test]
fn an_output_that_nothing_makes_is_refused() {
    let bytes = graph().output("y", ElementType::Fp32, &[-1, 2]).encode();
    assert!(reason(&bytes).contains("nothing makes it"));
    assert!(reason(&graph().encode()).contains("no output"));
}

#[test]
fn what_is_not_supported_is_named() {
    let operator =
        graph().node("ai.onnx.ml", "DictVectorizer", &["x"], &["y"], vec![]).output("y", ElementType::Fp32, &[-1]);
    let text = reason(&operator.encode());
    assert!(text.contains("ai.onnx.ml.DictVectorizer (opset 3) of node `DictVectorizer_0`"), "{text}");
    let attribute = graph().node("", "Neg", &["x"], &["y"], vec![Attribute::new("mystery", 1_i64)]).output(
        "y",
        ElementType::Fp32,
        &[-1, 2],
    );
    assert!(reason(&attribute.encode()).contains("attribute `mystery`"));
    let domain = graph().node("com.example", "Neg", &["x"], &["y"], vec![]).output("y", ElementType::Fp32, &[-1, 2]);
    assert!(reason(&domain.encode()).contains("com.example.Neg"));
    let future = GraphBuilder::new("g").opset("", 999).input("x", ElementType::Fp32, &[-1]);
    let future = future.node("", "Neg", &["x"], &["y"], vec![]).output("y", ElementType::Fp32, &[-1]);
    assert!(reason(&future.encode()).contains("opset 999"));
}

#[test]
fn types_are_checked_at_load() {
    let mixed = graph().input("n", ElementType::Int64, &[-1, 2]).node("", "Add", &["x", "n"], &["y"], vec![]).output(
        "y",
        ElementType::Fp32,
        &[-1, 2],
    );
    assert!(reason(&mixed.encode()).contains("input 1 is INT64, but input 0 is FP32"));
    let declared = graph().node("", "Neg", &["x"], &["y"], vec![]).output("y", ElementType::Int64, &[-1, 2]);
    assert!(reason(&declared.encode()).contains("is FP32"));
}

#[test]
fn constants_have_as_many_elements_as_they_say() {
    let weights = Tensor::new(vec![2], vec![1.0_f32, 2.0]).unwrap();
    let bytes = graph()
        .initializer("weights", &weights)
        .node("", "Add", &["x", "weights"], &["y"], vec![])
        .output("y", ElementType::Fp32, &[-1, 2])
        .encode();
    let mut model = ModelProto::decode(&*bytes).unwrap();
    model.graph.as_mut().unwrap().initializer[0].dims = vec![1 << 40, 1 << 40];
    assert!(reason(&model.encode_to_vec()).contains("tensor `weights`"));
    model.graph.as_mut().unwrap().initializer[0].dims = vec![-2];
    assert!(reason(&model.encode_to_vec()).contains("negative extent"));
}

#[test]
fn trees_are_trees() {
    let refused = |change: fn(&mut Stump), expected: &str| {
        let mut stump = Stump::default();
        change(&mut stump);
        let text = reason(&classifier(&stump));
        assert!(text.contains(expected), "{text}");
    };
    refused(|stump| stump.when_true[0] = 17, "child 17 of node 0 in tree 0 does not exist");
    refused(|stump| stump.when_true[0] = 0, "");
    refused(|stump| stump.when_true[0] = 2, "two parents");
    refused(|stump| stump.modes[1] = "BRANCH_LEQ", "");
    refused(|stump| stump.nodes[2] = 1, "node 1 twice");
    refused(|stump| stump.features[0] = -1, "feature id -1");
    refused(|stump| stump.features[0] = 1 << 40, "feature id");
    refused(|stump| stump.modes[0] = "BRANCH_MEMBER", "BRANCH_MEMBER");
    refused(|stump| stump.values[0] = f32::NAN, "not a number");
    refused(|stump| stump.weights[0] = f32::INFINITY, "not finite");
    refused(|stump| stump.vote_nodes[0] = 9, "does not exist");
    refused(|stump| stump.vote_classes[0] = 2, "class id 2");
    refused(|stump| stump.features.truncate(2), "`nodes_featureids` has 2 values, expected 3");
    refused(|stump| stump.vote_nodes.truncate(1), "`class_nodeids` has 1 values, expected 2");
    refused(|stump| stump.modes.truncate(2), "`nodes_modes` has 2 values");
    refused(|stump| stump.base = vec![0.5; 3], "3 base values");
    refused(|stump| stump.labels = vec![1], "one class");
    refused(|stump| stump.post_transform = "PROBIT", "one weight");
}
