use std::collections::HashMap;

use ropewalk_types::ElementType;

use super::bodies;
use super::bounds::Bounds;
use super::types::{attribute, output_type};
use crate::TensorData;
use crate::onnx::{
    Dimension, DimensionValue, GraphProto, ModelProto, NodeProto, TensorProto, TypeValue, ValueInfoProto,
    element_type_of, main_domain_normalized, tensor_from_proto,
};

/// What matters of a constant.
#[derive(Clone, Copy, Debug)]
pub(super) struct ConstantFacts {
    /// A value outside of INT32.
    pub(super) beyond: Option<i64>,
    /// Whether it is one element.
    pub(super) single: bool,
}

/// How deep bodies are looked into.
pub(super) const DEPTH_LIMIT: u32 = 16;

/// What is known of a graph's values by name.
#[derive(Clone, Debug, Default)]
pub(crate) struct Scope {
    opsets: HashMap<String, i64>,
    bounds: Bounds,
    depth: u32,
    ranks: HashMap<String, usize>,
    constants: HashMap<String, ConstantFacts>,
}

impl Scope {
    /// All values of a graph, the open extents of whose inputs are at most `limit`.
    pub(crate) fn of(model: &ModelProto, graph: &GraphProto, limit: usize) -> Self {
        let mut scope = Self::declared(model, graph, limit);
        for node in &graph.node {
            scope.learn(node);
        }
        scope
    }

    /// What a graph declares, before its nodes are looked at.
    pub(crate) fn declared(model: &ModelProto, graph: &GraphProto, limit: usize) -> Self {
        let imports = model.opset_import.iter();
        let opsets = imports.map(|one| (main_domain_normalized(&one.domain).to_owned(), one.version)).collect();
        let mut scope = Self { opsets, ..Self::default() };
        scope.declare(graph, Some(limit));
        scope
    }

    /// The values inside a node's body, which sees those around it.
    pub(super) fn inside(&self, node: &NodeProto, body: &GraphProto) -> Self {
        let mut scope = self.clone();
        scope.depth += 1;
        scope.declare(body, None);
        if let (true, Some(number)) = (node.op_type == "Loop", body.input.first()) {
            let count = node.input.first().filter(|name| !name.is_empty());
            scope.bounds.iteration(&number.name, count.map(String::as_str));
        }
        for node in &body.node {
            scope.learn(node);
        }
        scope
    }

    /// What is declared of shapes counts for inputs that are held to it, those of the whole graph: `limit` is theirs.
    fn declare(&mut self, graph: &GraphProto, limit: Option<usize>) {
        for info in graph.value_info.iter().chain(&graph.output).chain(&graph.input) {
            let (element_type, shape) = declaration(info);
            if let Some(element_type) = element_type {
                self.bounds.set_type(&info.name, element_type);
            }
            if let Some(shape) = shape {
                self.ranks.insert(info.name.clone(), shape.len());
            }
        }
        for info in &graph.input {
            match (limit, declaration(info).1) {
                (Some(limit), Some(shape)) => self.bounds.input(&info.name, &shape, limit),
                _ => self.bounds.unknown(&info.name),
            }
        }
        for tensor in &graph.initializer {
            self.constant(&tensor.name, tensor);
        }
    }

    fn constant(&mut self, name: &str, tensor: &TensorProto) {
        if let Some(element_type) = element_type_of(tensor.data_type) {
            self.bounds.set_type(name, element_type);
        }
        self.bounds.constant(name, tensor);
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
        let made = self.made_inside(node);
        for (index, name) in node.output.iter().enumerate() {
            let inside = made.get(index).copied().flatten();
            if let Some(element_type) = output_type(node, index, &inputs).or(inside) {
                self.set_type(name, element_type);
            }
        }
        self.bounds.learn(node);
    }

    /// The types of the outputs of control flow: those of its body's, of which a loop's first says whether it goes on.
    fn made_inside(&self, node: &NodeProto) -> Vec<Option<ElementType>> {
        let Some(body) = bodies(node).next().filter(|_| self.depth < DEPTH_LIMIT) else { return Vec::new() };
        let inside = self.inside(node, body);
        let skipped = usize::from(node.op_type == "Loop");
        body.output.iter().skip(skipped).map(|info| inside.element_type(&info.name)).collect()
    }

    fn constant_numbers(&mut self, name: &str, node: &NodeProto) {
        self.bounds.unknown(name);
        let mut beyond = None;
        for one in &node.attribute {
            let numbers = match one.name.as_str() {
                "value_int" => vec![one.i],
                "value_ints" => one.ints.clone(),
                "value_float" => {
                    self.bounds.reals(name, &[one.f]);
                    continue;
                }
                "value_floats" => {
                    self.bounds.reals(name, &one.floats);
                    continue;
                }
                _ => continue,
            };
            beyond = numbers.iter().copied().find(|value| i32::try_from(*value).is_err());
            self.bounds.integers(name, numbers);
        }
        self.constants.insert(name.to_owned(), ConstantFacts { beyond, single: false });
    }

    /// Says what a value is.
    pub(crate) fn set_type(&mut self, name: &str, element_type: ElementType) {
        if !name.is_empty() {
            self.bounds.set_type(name, element_type);
        }
    }

    /// Says that a value may be handed over between engines: it is checked there, and no more than its type is known.
    pub(crate) fn set_handed_over(&mut self, name: &str) {
        self.bounds.forget_range(name);
    }

    pub(super) fn bounds(&self) -> &Bounds {
        &self.bounds
    }

    /// The type of a value, as far as it is known.
    pub(crate) fn element_type(&self, name: &str) -> Option<ElementType> {
        self.bounds.element_type(name)
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

/// The type and the extents that are declared, none for an open one.
fn declaration(info: &ValueInfoProto) -> (Option<ElementType>, Option<Vec<Option<i64>>>) {
    let extent = |dimension: &Dimension| match dimension.value {
        Some(DimensionValue::DimValue(extent @ 0..)) => Some(extent),
        _ => None,
    };
    match info.r#type.as_ref().and_then(|one| one.value.as_ref()) {
        Some(TypeValue::TensorType(tensor)) => (
            element_type_of(tensor.elem_type),
            tensor.shape.as_ref().map(|shape| shape.dim.iter().map(extent).collect()),
        ),
        _ => (None, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::networks::refusal;
    use crate::onnx::{Attribute, GraphBuilder};

    /// Why the last node of a graph is not given to the engine.
    fn last_refusal(builder: GraphBuilder) -> Option<String> {
        let model = builder.into_model();
        let graph = model.graph.as_ref().unwrap();
        refusal(graph.node.last().unwrap(), &Scope::of(&model, graph, 1 << 20))
    }

    #[test]
    fn a_real_constant_is_as_large_as_it_says() {
        let cast = |value: Attribute| {
            let builder = GraphBuilder::new("cast").opset("", 17).node("", "Constant", &[], &["c"], vec![value]);
            last_refusal(builder.node("", "Cast", &["c"], &["y"], vec![Attribute::new("to", 7_i64)]))
        };
        assert!(cast(Attribute::new("value_float", 3e9_f32)).unwrap().contains("beyond 2^31"));
        assert!(cast(Attribute::new("value_floats", vec![1.0_f32, -3e9])).unwrap().contains("beyond 2^31"));
        assert!(cast(Attribute::new("value_float", f32::NAN)).is_some());
        assert_eq!(cast(Attribute::new("value_floats", vec![1.5_f32, -7.0])), None);
        assert_eq!(cast(Attribute::new("value_ints", vec![1_i64, -7])), None);
    }

    #[test]
    fn a_box_that_is_kept_says_its_class_too() {
        let product = |classes: i64| {
            let factor = crate::Tensor::new(vec![], vec![i64::from(i32::MAX) / 50]).unwrap();
            let builder = GraphBuilder::new("boxes")
                .opset("", 17)
                .input("boxes", ElementType::Fp32, &[1, 4, 4])
                .input("scores", ElementType::Fp32, &[1, classes, 4])
                .initializer("factor", &factor)
                .node("", "NonMaxSuppression", &["boxes", "scores"], &["kept"], vec![]);
            last_refusal(builder.node("", "Mul", &["kept", "factor"], &["y"], vec![]))
        };
        assert_eq!(product(40), None);
        assert!(product(100).unwrap().contains("beyond 2^31"));
    }
}
