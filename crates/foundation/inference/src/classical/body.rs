//! A graph within a node.

use std::sync::Arc;

use ropewalk_types::ElementType;

use super::fault::Fault;
use super::graph::{Plan, compile};
use super::interface::InputInfo;
use super::model::run;
use crate::onnx::{GraphProto, ModelProto};
use crate::{InferenceError, Tensor};

/// The body of a loop, compiled.
#[derive(Debug)]
pub(super) struct Body(Plan);

fn fault(error: InferenceError) -> Fault {
    match error {
        InferenceError::TooLarge { .. } | InferenceError::Unsupported { .. } => {
            Fault::unsupported(format!("its body: {error}"))
        }
        error => Fault::invalid(format!("its body: {error}")),
    }
}

impl Body {
    /// Compiles a body for inputs of these types; a value from outside of it is refused.
    pub(super) fn new(model: &ModelProto, graph: &GraphProto, types: &[ElementType]) -> Result<Arc<Self>, Fault> {
        if graph.input.len() != types.len() {
            let reason = format!("its body has {} inputs, expected {}", graph.input.len(), types.len());
            return Err(Fault::invalid(reason));
        }
        let known = |name: &String| {
            name.is_empty()
                || graph.input.iter().any(|one| one.name == *name)
                || graph.initializer.iter().any(|one| one.name == *name)
                || graph.node.iter().any(|node| node.output.contains(name))
        };
        if let Some(name) = graph.node.iter().flat_map(|node| &node.input).find(|name| !known(name)) {
            return Err(Fault::unsupported(format!("its body uses `{name}` from outside")));
        }
        let pairs = graph.input.iter().zip(types);
        let infos: Vec<InputInfo<'_>> = pairs
            .map(|(input, element_type)| InputInfo {
                name: &input.name,
                element_type: *element_type,
                shape: Vec::new(),
            })
            .collect();
        compile(model, graph, &infos).map(|plan| Arc::new(Self(plan))).map_err(fault)
    }

    pub(super) fn output_types(&self) -> impl Iterator<Item = ElementType> {
        self.0.outputs.iter().map(|output| output.element_type)
    }

    /// The outputs for these inputs.
    pub(super) fn run(&self, inputs: &[Tensor]) -> Result<Vec<Tensor>, Fault> {
        run(&self.0, &inputs.iter().collect::<Vec<_>>()).map_err(fault)
    }
}
