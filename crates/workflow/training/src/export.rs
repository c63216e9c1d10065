//! Writes the model as ONNX: raw columns in, label and probability out.

use ropewalk_inference::onnx::{Attribute, GraphBuilder};
use ropewalk_types::ElementType;

use crate::boosting::{Ensemble, Node};
use crate::{Feature, FeatureKind};

/// Output: the class, INT64 `[-1]`.
pub(crate) const LABEL: &str = "label";
/// Output: the probabilities of class 0 and class 1, FP32 `[-1, 2]`.
pub(crate) const PROBABILITY: &str = "probability";
/// How the names of values inside the graph begin.
pub(crate) const INNER: &str = "ropewalk:";

const MATRIX: &str = "ropewalk:features";
const CLASSICAL: &str = "ai.onnx.ml";

/// The bytes of an `.onnx` file: a `LabelEncoder` for each categorical feature, `Concat`, `TreeEnsembleClassifier`.
///
/// See <https://onnx.ai/onnx/operators/onnx_aionnxml_TreeEnsembleClassifier.html>, version 3.
pub(crate) fn write(ensemble: &Ensemble, features: &[Feature]) -> Vec<u8> {
    let mut graph = GraphBuilder::new("gradient_boosting")
        .producer("ropewalk", env!("CARGO_PKG_VERSION"))
        .opset("", 17)
        .opset(CLASSICAL, 3);
    let mut columns = Vec::with_capacity(features.len());
    for (position, feature) in features.iter().enumerate() {
        let (column, element_type, categories) = match &feature.kind {
            FeatureKind::Numeric => (feature.name.clone(), ElementType::Fp32, None),
            FeatureKind::Categorical { categories } => {
                (format!("{INNER}code:{position}"), ElementType::Bytes, Some(categories))
            }
        };
        graph = graph.input(feature.name.as_str(), element_type, &[-1, 1]);
        if let Some(categories) = categories {
            graph = graph.node(CLASSICAL, "LabelEncoder", &[&feature.name], &[&column], codes(categories));
        }
        columns.push(column);
    }
    let columns: Vec<&str> = columns.iter().map(String::as_str).collect();
    graph
        .node("", "Concat", &columns, &[MATRIX], vec![Attribute::new("axis", 1_i64)])
        .node(CLASSICAL, "TreeEnsembleClassifier", &[MATRIX], &[LABEL, PROBABILITY], trees(ensemble))
        .output(LABEL, ElementType::Int64, &[-1])
        .output(PROBABILITY, ElementType::Fp32, &[-1, 2])
        .encode()
}

fn codes(categories: &[String]) -> Vec<Attribute> {
    vec![
        Attribute::new("keys_strings", categories.to_vec()),
        Attribute::new("values_floats", (0..categories.len()).map(|code| code as f32).collect::<Vec<_>>()),
        Attribute::new("default_float", f32::NAN),
    ]
}

/// The attributes of `TreeEnsembleClassifier`: parallel arrays over all nodes, and over all leaves.
#[derive(Default)]
struct Arrays {
    trees: Vec<i64>,
    nodes: Vec<i64>,
    features: Vec<i64>,
    modes: Vec<String>,
    thresholds: Vec<f32>,
    lefts: Vec<i64>,
    rights: Vec<i64>,
    missing_left: Vec<i64>,
    leaf_trees: Vec<i64>,
    leaf_nodes: Vec<i64>,
    leaf_weights: Vec<f32>,
}

impl Arrays {
    fn push(&mut self, tree: usize, place: usize, node: Node, shift: f32) {
        let (feature, mode, threshold, left, right, missing_left) = match node {
            Node::Split { feature, threshold, missing_left, left, right, .. } => {
                (feature, "BRANCH_LT", threshold, left, right, missing_left)
            }
            Node::Leaf { weight } => {
                self.leaf_trees.push(tree as i64);
                self.leaf_nodes.push(place as i64);
                self.leaf_weights.push(weight - shift);
                (0, "LEAF", 0.0, 0, 0, false)
            }
        };
        self.trees.push(tree as i64);
        self.nodes.push(place as i64);
        self.features.push(i64::from(feature));
        self.modes.push(mode.to_owned());
        self.thresholds.push(threshold);
        self.lefts.push(i64::from(left));
        self.rights.push(i64::from(right));
        self.missing_left.push(i64::from(missing_left));
    }

    fn into_attributes(self, base: f32) -> Vec<Attribute> {
        let one_class = vec![0_i64; self.leaf_weights.len()];
        vec![
            Attribute::new("nodes_treeids", self.trees),
            Attribute::new("nodes_nodeids", self.nodes),
            Attribute::new("nodes_featureids", self.features),
            Attribute::new("nodes_modes", self.modes),
            Attribute::new("nodes_values", self.thresholds),
            Attribute::new("nodes_truenodeids", self.lefts),
            Attribute::new("nodes_falsenodeids", self.rights),
            Attribute::new("nodes_missing_value_tracks_true", self.missing_left),
            Attribute::new("class_treeids", self.leaf_trees),
            Attribute::new("class_nodeids", self.leaf_nodes),
            Attribute::new("class_ids", one_class),
            Attribute::new("class_weights", self.leaf_weights),
            Attribute::new("classlabels_int64s", vec![0_i64, 1]),
            Attribute::new("base_values", vec![base]),
            Attribute::new("post_transform", "LOGISTIC"),
        ]
    }
}

/// Two classes and weights for one: the sum is the log odds of class 1, as XGBoost's and LightGBM's exports have it.
fn trees(ensemble: &Ensemble) -> Vec<Attribute> {
    let shift = shift(ensemble);
    let mut arrays = Arrays::default();
    for (number, tree) in ensemble.trees.iter().enumerate() {
        let shift = if number == 0 { shift } else { 0.0 };
        for (place, node) in tree.nodes.iter().enumerate() {
            arrays.push(number, place, *node, shift);
        }
    }
    arrays.into_attributes(ensemble.base + shift)
}

/// What to move from the first tree's leaves to the base: onnxruntime takes the sum for a probability, not for log
/// odds, if no weight is negative (`weights_are_all_positive_` in its `tree_ensemble_aggregator.h`).
fn shift(ensemble: &Ensemble) -> f32 {
    let weight = |node: &Node| if let Node::Leaf { weight } = node { Some(*weight) } else { None };
    let weights = || ensemble.trees.iter().flat_map(|tree| tree.nodes.iter().filter_map(weight));
    if weights().any(|weight| weight < 0.0) {
        return 0.0;
    }
    1.0 + ensemble.trees.first().map_or(0.0, |tree| tree.nodes.iter().filter_map(weight).fold(0.0, f32::max))
}
