//! The smallest tree there is, to be spoiled in every way.

use ropewalk_inference::onnx::{Attribute, GraphBuilder};
use ropewalk_types::ElementType;

/// x <= 0.5 votes -1, all else 2, for the second of two classes.
pub(crate) struct Stump {
    pub(crate) nodes: Vec<i64>,
    pub(crate) features: Vec<i64>,
    pub(crate) values: Vec<f32>,
    pub(crate) modes: Vec<&'static str>,
    pub(crate) when_true: Vec<i64>,
    pub(crate) when_false: Vec<i64>,
    pub(crate) vote_nodes: Vec<i64>,
    pub(crate) vote_classes: Vec<i64>,
    pub(crate) weights: Vec<f32>,
    pub(crate) labels: Vec<i64>,
    pub(crate) base: Vec<f32>,
    pub(crate) post_transform: &'static str,
}

impl Default for Stump {
    fn default() -> Self {
        Self {
            nodes: vec![0, 1, 2],
            features: vec![0, 0, 0],
            values: vec![0.5, 0.0, 0.0],
            modes: vec!["BRANCH_LEQ", "LEAF", "LEAF"],
            when_true: vec![1, 0, 0],
            when_false: vec![2, 0, 0],
            vote_nodes: vec![1, 2],
            vote_classes: vec![0, 0],
            weights: vec![-1.0, 2.0],
            labels: vec![10, 11],
            base: vec![],
            post_transform: "NONE",
        }
    }
}

/// A model of one classifier of one tree: `x` FP32[-1, 2] -> `label`, `scores`.
pub(crate) fn classifier(stump: &Stump) -> Vec<u8> {
    let texts = |values: &[&str]| values.iter().map(|value| (*value).to_owned()).collect::<Vec<_>>();
    let mut attributes = vec![
        Attribute::new("nodes_treeids", vec![0_i64; 3]),
        Attribute::new("nodes_nodeids", stump.nodes.clone()),
        Attribute::new("nodes_featureids", stump.features.clone()),
        Attribute::new("nodes_values", stump.values.clone()),
        Attribute::new("nodes_modes", texts(&stump.modes)),
        Attribute::new("nodes_truenodeids", stump.when_true.clone()),
        Attribute::new("nodes_falsenodeids", stump.when_false.clone()),
        Attribute::new("class_treeids", vec![0_i64; stump.weights.len()]),
        Attribute::new("class_nodeids", stump.vote_nodes.clone()),
        Attribute::new("class_ids", stump.vote_classes.clone()),
        Attribute::new("class_weights", stump.weights.clone()),
        Attribute::new("classlabels_int64s", stump.labels.clone()),
        Attribute::new("post_transform", stump.post_transform),
    ];
    if !stump.base.is_empty() {
        attributes.push(Attribute::new("base_values", stump.base.clone()));
    }
    let classes = stump.labels.len() as i64;
    GraphBuilder::new("stump")
        .opset("ai.onnx.ml", 3)
        .input("x", ElementType::Fp32, &[-1, 2])
        .node("ai.onnx.ml", "TreeEnsembleClassifier", &["x"], &["label", "scores"], attributes)
        .output("label", ElementType::Int64, &[-1])
        .output("scores", ElementType::Fp32, &[-1, classes])
        .encode()
}
