use std::collections::HashMap;

use ropewalk_types::ElementType;

use super::types::{attribute, output_type};
use crate::TensorData;
use crate::onnx::{
    GraphProto, ModelProto, NodeProto, TensorProto, TypeValue, ValueInfoProto, element_type_of, main_domain_normalized,
    tensor_from_proto,
};

/// What matters of a constant.
#[derive(Clone, Copy, Debug)]
pub(super) struct ConstantFacts {
    /// A value outside of INT32.
    pub(super) beyond: Option<i64>,
    /// Whether it is one element.
    pub(super) single: bool,
}

/// What is known of a graph's values by name.
#[derive(Clone, Debug, Default)]
pub(crate) struct Scope {
    opsets: HashMap<String, i64>,
    types: HashMap<String, ElementType>,
    ranks: HashMap<String, usize>,
    constants: HashMap<String, ConstantFacts>,
}

impl Scope {
    /// All values of a graph.
    pub(crate) fn of(model: &ModelProto, graph: &GraphProto) -> Self {
        let mut scope = Self::declared(model, graph);
        for node in &graph.node {
            scope.learn(node);
        }
        scope
    }

    /// What a graph declares, before its nodes are looked at.
    pub(crate) fn declared(model: &ModelProto, graph: &GraphProto) -> Self {
        let imports = model.opset_import.iter();
        let opsets = imports.map(|one| (main_domain_normalized(&one.domain).to_owned(), one.version)).collect();
        let mut scope = Self { opsets, ..Self::default() };
        scope.declare(graph);
        scope
    }

    /// The values inside a node's body, which sees those around it.
    pub(super) fn inside(&self, body: &GraphProto) -> Self {
        let mut scope = self.clone();
        scope.declare(body);
        for node in &body.node {
            scope.learn(node);
        }
        scope
    }

    fn declare(&mut self, graph: &GraphProto) {
        for info in graph.value_info.iter().chain(&graph.output).chain(&graph.input) {
            let (element_type, rank) = declaration(info);
            if let Some(element_type) = element_type {
                self.types.insert(info.name.clone(), element_type);
            }
            if let Some(rank) = rank {
                self.ranks.insert(info.name.clone(), rank);
            }
        }
        for tensor in &graph.initializer {
            self.constant(&tensor.name, tensor);
        }
    }

    fn constant(&mut self, name: &str, tensor: &TensorProto) {
        if let Some(element_type) = element_type_of(tensor.data_type) {
            self.types.insert(name.to_owned(), element_type);
        }
        self.ranks.insert(name.to_owned(), tensor.dims.len());
        let facts = ConstantFacts { beyond: beyond(tensor), single: tensor.dims.iter().all(|extent| *extent == 1) };
        self.constants.insert(name.to_owned(), facts);
    }

    /// Adds what a node makes.
    pub(crate) fn learn(&mut self, node: &NodeProto) {
        if node.op_type == "Constant"
            && let Some(name) = node.output.first()
        {
            match attribute(node, "value").and_then(|attribute| attribute.t.as_ref()) {
                Some(tensor) => self.constant(name, tensor),
                None => self.constant_numbers(name, node),
            }
        }
        let inputs: Vec<_> = node.input.iter().map(|name| self.element_type(name)).collect();
        for (index, name) in node.output.iter().enumerate() {
            if let Some(element_type) = output_type(node, index, &inputs) {
                self.set_type(name, element_type);
            }
        }
    }

    fn constant_numbers(&mut self, name: &str, node: &NodeProto) {
        let mut numbers = node.attribute.iter().flat_map(|one| one.ints.iter().copied().chain(std::iter::once(one.i)));
        let beyond = numbers.find(|value| i32::try_from(*value).is_err());
        self.constants.insert(name.to_owned(), ConstantFacts { beyond, single: false });
    }

    /// Says what a value is.
    pub(crate) fn set_type(&mut self, name: &str, element_type: ElementType) {
        if !name.is_empty() {
            self.types.insert(name.to_owned(), element_type);
        }
    }

    /// The type of a value, as far as it is known.
    pub(crate) fn element_type(&self, name: &str) -> Option<ElementType> {
        self.types.get(name).copied()
    }

    pub(super) fn rank(&self, name: &str) -> Option<usize> {
        self.ranks.get(name).copied()
    }

    pub(super) fn facts(&self, name: &str) -> Option<ConstantFacts> {
        self.constants.get(name).copied()
    }

    /// The imported version of a domain; the main one's name is empty.
    pub(crate) fn opset(&self, domain: &str) -> Option<i64> {
        self.opsets.get(domain).copied()
    }
}

/// A value of an INT64 constant that INT32 cannot hold.
pub(super) fn beyond(tensor: &TensorProto) -> Option<i64> {
    if element_type_of(tensor.data_type) != Some(ElementType::Int64) {
        return None;
    }
    match tensor_from_proto(tensor).ok()?.data {
        TensorData::Int64(values) => values.into_iter().find(|value| i32::try_from(*value).is_err()),
        _ => None,
    }
}

fn declaration(info: &ValueInfoProto) -> (Option<ElementType>, Option<usize>) {
    match info.r#type.as_ref().and_then(|one| one.value.as_ref()) {
        Some(TypeValue::TensorType(tensor)) => {
            (element_type_of(tensor.elem_type), tensor.shape.as_ref().map(|shape| shape.dim.len()))
        }
        _ => (None, None),
    }
}
