//! The operators, one file for each family; their names are in [`table`].

mod activation;
mod arithmetic;
mod arrange;
mod branch;
mod broadcast;
mod cast;
mod category;
mod category_mapper;
mod classes;
mod compare;
mod constant;
mod cumulative;
mod dictionary;
mod distance;
mod einsum;
mod extreme;
mod fill;
mod gather;
mod layout;
mod linear;
mod loops;
mod matrix;
mod normalization;
mod number;
mod number_text;
mod one_hot;
mod pad;
mod part;
mod post_transform;
mod reduce;
mod scale;
mod scan;
mod scatter;
mod select;
mod slice;
mod softmax;
mod svm;
mod table;
mod text;
mod tree;
mod unary;
mod vectorize;
mod zip_map;

use std::fmt::Debug;
use std::sync::Arc;

pub(super) use tree::{SingleTree, leaf_tables, sum_of_trees};

use ropewalk_types::ElementType;

use super::attributes::Attributes;
use super::body::{Body, Outer};
use super::fault::Fault;
use super::inputs::Inputs;
use super::work::{Folding, Work};
use crate::onnx::{GraphProto, ModelProto};
use crate::{Tensor, TensorData};

/// One node, compiled.
pub(super) trait Operator: Send + Sync + Debug {
    /// The outputs for these inputs, as many as were promised when it was built.
    fn evaluate(&self, inputs: Inputs<'_>) -> Result<Vec<Tensor>, Fault>;

    /// The same; one that evaluates graphs of its own counts there what these cost.
    fn evaluate_within(&self, inputs: Inputs<'_>, work: &Work) -> Result<Vec<Tensor>, Fault> {
        let _ = work;
        self.evaluate(inputs)
    }

    /// What it reads of these inputs or does with them, in units of [`Work`]: an element each, or a product.
    fn cost(&self, inputs: Inputs<'_>) -> u64 {
        inputs.count()
    }

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
    /// The model that it is part of.
    pub(super) model: &'a ModelProto,
    /// Its attributes.
    pub(super) attributes: Attributes<'a>,
    /// How many outputs it names.
    pub(super) outputs: usize,
    /// Types of its inputs; none where one is left out.
    pub(super) inputs: Vec<Option<ElementType>>,
    /// What its bodies use from outside; the tensors of these follow those of its inputs.
    pub(super) around: Vec<Outer<'a>>,
    /// The first input of an `If`, where that is a constant.
    pub(super) condition: Option<bool>,
    /// What is evaluated while the model is loaded.
    pub(super) folding: &'a Folding,
}

impl<'a> Definition<'a> {
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

    /// The graph in an attribute.
    pub(super) fn graph(&mut self, name: &str) -> Result<&'a GraphProto, Fault> {
        self.attributes.graph(name)?.ok_or_else(|| Fault::invalid(format!("attribute `{name}` is missing")))
    }

    /// A graph compiled for inputs of these types.
    pub(super) fn body(&self, graph: &GraphProto, types: &[ElementType]) -> Result<Arc<Body>, Fault> {
        Body::new(self.model, graph, types, &self.around, self.folding)
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

/// Compiles a node.
pub(super) fn build(domain: &str, mut definition: Definition<'_>) -> Result<Built, Fault> {
    let build = table::find(domain, definition.operator, definition.opset)?;
    let built = build(&mut definition)?;
    definition.attributes.finish()?;
    Ok(built)
}
