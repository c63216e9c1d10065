//! The operators, one file for each family, and the table of their names.

mod arithmetic;
mod broadcast;
mod cast;
mod category;
mod classes;
mod compare;
mod constant;
mod layout;
mod linear;
mod matrix;
mod number_text;
mod one_hot;
mod post_transform;
mod reduce;
mod scale;
mod select;
mod slice;
mod softmax;
mod tree;
mod unary;
mod vectorize;
mod zip_map;

use std::fmt::Debug;

pub(super) use tree::{SingleTree, leaf_tables, sum_of_trees};

use ropewalk_types::ElementType;

use super::attributes::Attributes;
use super::fault::Fault;
use super::inputs::Inputs;
use crate::{Tensor, TensorData};

/// One node, compiled.
pub(super) trait Operator: Send + Sync + Debug {
    /// The outputs for these inputs, as many as were promised when it was built.
    fn evaluate(&self, inputs: Inputs<'_>) -> Result<Vec<Tensor>, Fault>;

    /// The tree, if this is one tree that gives one number of finitely many for each row.
    fn single_tree(&self) -> Option<&SingleTree> {
        None
    }
}

/// What a node says about itself.
#[derive(Debug)]
pub(super) struct Definition<'a> {
    /// The operator.
    pub(super) operator: &'a str,
    /// Imported version of its domain.
    pub(super) opset: i64,
    /// Its attributes.
    pub(super) attributes: Attributes<'a>,
    /// Types of its inputs; none where one is left out.
    pub(super) inputs: Vec<Option<ElementType>>,
}

impl Definition<'_> {
    /// The type of an input that must be there.
    pub(super) fn input(&self, index: usize) -> Result<ElementType, Fault> {
        let given = self.inputs.get(index).copied().flatten();
        given.ok_or_else(|| Fault::invalid(format!("input {index} is missing")))
    }

    /// The type of an input that must be there and of one of `allowed`.
    pub(super) fn input_of(&self, index: usize, allowed: &[ElementType]) -> Result<ElementType, Fault> {
        let found = self.input(index)?;
        if allowed.contains(&found) {
            return Ok(found);
        }
        Err(Fault::unsupported(format!("input {index} of type {found}; supported: {}", listed(allowed))))
    }

    /// The type that all inputs share.
    pub(super) fn same_inputs(&self, allowed: &[ElementType]) -> Result<ElementType, Fault> {
        let first = self.input_of(0, allowed)?;
        for index in 1..self.inputs.len() {
            let found = self.input(index)?;
            if found != first {
                return Err(Fault::invalid(format!("input {index} is {found}, but input 0 is {first}")));
            }
        }
        Ok(first)
    }

    /// Checks an input that may be left out.
    pub(super) fn optional_input(&self, index: usize, expected: ElementType) -> Result<bool, Fault> {
        match self.inputs.get(index).copied().flatten() {
            None => Ok(false),
            Some(found) if found == expected => Ok(true),
            Some(found) => Err(Fault::invalid(format!("input {index} is {found}, expected {expected}"))),
        }
    }

    /// Checks how many inputs there are.
    pub(super) fn input_count(&self, least: usize, most: usize) -> Result<(), Fault> {
        let count = self.inputs.len();
        if (least..=most).contains(&count) {
            return Ok(());
        }
        Err(Fault::invalid(format!("{count} inputs, expected {least} to {most}")))
    }
}

fn listed(types: &[ElementType]) -> String {
    types.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// A compiled node with the types of its outputs.
#[derive(Debug)]
pub(super) struct Built {
    pub(super) operator: Box<dyn Operator>,
    pub(super) outputs: Vec<ElementType>,
    /// What the columns of the first output stand for.
    pub(super) class_labels: Option<TensorData>,
    /// Whether the output is the first input, so that there is nothing to evaluate.
    pub(super) passes_through: bool,
}

impl Built {
    fn new(operator: impl Operator + 'static, outputs: Vec<ElementType>) -> Self {
        Self { operator: Box::new(operator), outputs, class_labels: None, passes_through: false }
    }

    /// The same for an operator that changes nothing.
    fn unchanged(operator: impl Operator + 'static, output: ElementType) -> Self {
        Self { passes_through: true, ..Self::new(operator, vec![output]) }
    }
}

type Build = fn(&mut Definition<'_>) -> Result<Built, Fault>;

/// The versions of each domain whose operators were checked against the specification.
const DOMAINS: [(&str, i64, i64); 2] = [("", 7, 25), ("ai.onnx.ml", 1, 5)];

/// Compiles a node.
pub(super) fn build(domain: &str, mut definition: Definition<'_>) -> Result<Built, Fault> {
    let Some((_, oldest, newest)) = DOMAINS.iter().find(|(name, ..)| *name == domain) else {
        return Err(Fault::unsupported("the domain is not known"));
    };
    if !(*oldest..=*newest).contains(&definition.opset) {
        return Err(Fault::unsupported(format!("versions {oldest} to {newest} of the domain are supported")));
    }
    let build = if domain.is_empty() { main(definition.operator) } else { classical(definition.operator) };
    let build = build.ok_or_else(|| Fault::unsupported("the operator is not implemented"))?;
    let built = build(&mut definition)?;
    definition.attributes.finish()?;
    Ok(built)
}

fn classical(operator: &str) -> Option<Build> {
    Some(match operator {
        "ArrayFeatureExtractor" => select::array_feature_extractor,
        "Binarizer" => scale::binarizer,
        "FeatureVectorizer" => vectorize::feature_vectorizer,
        "Imputer" => scale::imputer,
        "LabelEncoder" => category::label_encoder,
        "LinearClassifier" => linear::linear_classifier,
        "LinearRegressor" => linear::linear_regressor,
        "Normalizer" => scale::normalizer,
        "OneHotEncoder" => one_hot::one_hot_encoder,
        "Scaler" => scale::scaler,
        "TreeEnsemble" => tree::tree_ensemble,
        "TreeEnsembleClassifier" => tree::tree_ensemble_classifier,
        "TreeEnsembleRegressor" => tree::tree_ensemble_regressor,
        "ZipMap" => zip_map::zip_map,
        _ => return None,
    })
}

fn main(operator: &str) -> Option<Build> {
    Some(match operator {
        "Add" | "Sub" | "Mul" | "Div" => arithmetic::arithmetic,
        "Less" | "LessOrEqual" | "Greater" | "GreaterOrEqual" | "Equal" => compare::comparison,
        "And" | "Or" => compare::connective,
        "Where" => compare::choice,
        "Abs" | "Neg" | "Relu" => unary::signed,
        "Exp" | "Log" | "Sigmoid" | "Sqrt" | "Tanh" => unary::real,
        "Clip" => unary::clip,
        "IsNaN" => unary::is_nan,
        "Not" => unary::not,
        "Cast" => cast::cast,
        "Constant" => constant::constant,
        "Concat" => layout::concat,
        "Flatten" => layout::flatten,
        "Identity" => layout::identity,
        "Reshape" => layout::reshape,
        "Shape" => layout::shape,
        "Squeeze" => layout::squeeze,
        "Unsqueeze" => layout::unsqueeze,
        "Transpose" => layout::transpose,
        "Gather" => select::gather,
        "Slice" => slice::slice,
        "ArgMax" => reduce::arg_max,
        "ReduceSum" => reduce::reduce_sum,
        "Softmax" => softmax::softmax,
        "Gemm" => matrix::gemm,
        "MatMul" => matrix::mat_mul,
        _ => return None,
    })
}
