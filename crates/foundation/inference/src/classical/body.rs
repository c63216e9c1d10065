//! A graph within a node.

use std::collections::HashSet;
use std::sync::Arc;

use ropewalk_types::ElementType;

use super::fault::Fault;
use super::graph::{Plan, compile};
use super::interface::InputInfo;
use super::model::{Bounds, run};
use super::work::{Folding, Work};
use crate::onnx::{DimensionValue, GraphProto, ModelProto, NodeProto, TypeValue};
use crate::{InferenceError, Tensor};

/// A value from around a node that a body of it uses.
#[derive(Clone, Copy, Debug)]
pub(super) struct Outer<'a> {
    pub(super) name: &'a str,
    pub(super) element_type: ElementType,
}

/// The body of a loop or a branch, compiled.
#[derive(Debug)]
pub(super) struct Body {
    plan: Plan,
    /// Which values from outside it uses, by their places among those of the node.
    outer: Vec<usize>,
}

fn fault(error: InferenceError) -> Fault {
    match error {
        InferenceError::TooLarge { what, size, limit } => Fault::TooLarge { what, size, limit },
        InferenceError::Unsupported { .. } => Fault::unsupported(format!("its body: {error}")),
        error => Fault::invalid(format!("its body: {error}")),
    }
}

/// The graphs in a node's attributes.
pub(super) fn bodies(node: &NodeProto) -> impl Iterator<Item = &GraphProto> {
    node.attribute.iter().filter_map(|attribute| attribute.g.as_deref())
}

/// Names that a graph uses and does not make, each once.
pub(super) fn outer_names(graph: &GraphProto) -> Vec<&str> {
    let made = graph.node.iter().flat_map(|node| &node.output).map(String::as_str);
    let given = graph.input.iter().map(|one| one.name.as_str());
    let constant = graph.initializer.iter().map(|one| one.name.as_str());
    let mut seen: HashSet<&str> = made.chain(given).chain(constant).chain([""]).collect();
    let mut names = Vec::new();
    let used = graph.node.iter().flat_map(|node| {
        let inputs = node.input.iter().map(String::as_str);
        inputs.chain(bodies(node).flat_map(outer_names)).collect::<Vec<_>>()
    });
    for name in used.chain(graph.output.iter().map(|one| one.name.as_str())) {
        if seen.insert(name) {
            names.push(name);
        }
    }
    names
}

/// Whether a body declares an input with one dimension, where the specification has a scalar.
pub(super) fn is_vector(graph: &GraphProto, input: usize) -> bool {
    let declared = graph.input.get(input).and_then(|info| info.r#type.as_ref()).and_then(|one| one.value.as_ref());
    matches!(declared, Some(TypeValue::TensorType(tensor)) if tensor.shape.as_ref().is_some_and(|one| one.dim.len() == 1))
}

/// The shape that a body declares for an output, 0 for each open extent; of no rank known, no dimension.
pub(super) fn declared_extents(graph: &GraphProto, output: usize) -> Vec<usize> {
    let declared = graph.output.get(output).and_then(|info| info.r#type.as_ref()).and_then(|one| one.value.as_ref());
    let Some(TypeValue::TensorType(tensor)) = declared else { return Vec::new() };
    let extents = tensor.shape.iter().flat_map(|shape| &shape.dim).map(|dimension| match dimension.value {
        Some(DimensionValue::DimValue(extent)) => usize::try_from(extent).unwrap_or(0),
        _ => 0,
    });
    extents.take(64).collect()
}

impl Body {
    /// Compiles a body for inputs of these types, and for what it may use from outside.
    pub(super) fn new(
        model: &ModelProto,
        graph: &GraphProto,
        types: &[ElementType],
        around: &[Outer<'_>],
        folding: &Folding,
    ) -> Result<Arc<Self>, Fault> {
        if graph.input.len() != types.len() {
            let reason = format!("its body has {} inputs, expected {}", graph.input.len(), types.len());
            return Err(Fault::invalid(reason));
        }
        let input = |name, element_type| InputInfo { name, element_type, shape: Vec::new() };
        let pairs = graph.input.iter().zip(types);
        let mut infos: Vec<InputInfo<'_>> =
            pairs.map(|(info, element_type)| input(info.name.as_str(), *element_type)).collect();
        let mut outer = Vec::new();
        for name in outer_names(graph) {
            // One that is not there is told when the node that uses it is compiled.
            if let Some(place) = around.iter().position(|one| one.name == name) {
                infos.extend(around.get(place).map(|one| input(name, one.element_type)));
                outer.push(place);
            }
        }
        let plan = compile(model, graph, &infos, folding).map_err(fault)?;
        Ok(Arc::new(Self { plan, outer }))
    }

    pub(super) fn output_types(&self) -> Vec<ElementType> {
        self.plan.outputs.iter().map(|output| output.element_type).collect()
    }

    /// The outputs for its own inputs and all values from outside that the node has.
    pub(super) fn run(
        &self,
        inputs: &[&Tensor],
        around: &[Option<&Tensor>],
        work: &Work,
    ) -> Result<Vec<Tensor>, Fault> {
        let mut given = Vec::with_capacity(inputs.len() + self.outer.len());
        given.extend_from_slice(inputs);
        for place in &self.outer {
            let tensor = around.get(*place).copied().flatten();
            given.push(tensor.ok_or_else(|| Fault::invalid("a value from outside is missing"))?);
        }
        work.begin(self.plan.slots as u64)?;
        let made = run(&self.plan, &given, Bounds::Body(work)).map_err(fault)?;
        work.made(&made)?;
        Ok(made)
    }
}
