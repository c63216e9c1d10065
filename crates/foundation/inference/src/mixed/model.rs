use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use prost::Message as _;
use ropewalk_types::{Signature, TensorSpec};

use super::ability::{value_info, with_graph};
use super::cut::{Part, Side};
use crate::classical::Folding;
use crate::classical::interface::{InputInfo, common_shape, declared_shape, inputs, trial};
use crate::missing::unsupported;
use crate::networks::{self, Scope, missing_node, names_used};
use crate::onnx::{GraphProto, ModelProto, ValueInfoProto, onnx_type_of};
use crate::request::ordered;
use crate::{ClassicalEngine, InferenceError, LoadOptions, Model, NamedTensor, Tensor, TensorData};

/// A graph in parts.
#[derive(Debug)]
pub(super) struct MixedModel {
    signature: Signature,
    stages: Vec<Stage>,
}

/// One part, loaded.
#[derive(Debug)]
struct Stage {
    model: Arc<dyn Model>,
    /// Its inputs, and for each whether nobody needs it afterwards.
    inputs: Vec<(String, bool)>,
}

/// Values by name, while a request is answered.
type Values = HashMap<String, Tensor>;

/// What open extents are tried with: two, to see which extents follow them.
const TRIALS: [usize; 2] = [2, 3];

impl MixedModel {
    /// Loads the parts one after another. Each is tried on zeros, from which the next one's input shapes are known; a
    /// classical part that refuses zeros (an encoder that knows no category `0`) is taken to give what it declares.
    pub(super) fn new(
        model: &ModelProto,
        graph: &GraphProto,
        scope: &Scope,
        parts: &[Part],
        options: &LoadOptions,
    ) -> Result<Self, InferenceError> {
        let infos = inputs(graph)?;
        let mut trials = TRIALS.map(|open| zeros(&infos, open)).into_iter().collect::<Result<Vec<_>, _>>()?;
        let mut stages = Vec::with_capacity(parts.len());
        let folding = Folding::default();
        for (index, part) in parts.iter().enumerate() {
            let later = needed_later(graph, parts.get(index + 1..).unwrap_or_default());
            let piece = piece(graph, scope, part, &later, &trials)?;
            if piece.output.is_empty() {
                continue;
            }
            let names = piece.input.iter().map(|info| (info.name.clone(), !later.contains(info.name.as_str())));
            let inputs = names.collect();
            let model = load(&with_graph(model, piece), part.side, options, &folding)?;
            let stage = Stage { model, inputs };
            for (values, open) in trials.iter_mut().zip(TRIALS) {
                match (stage.run(values), part.side) {
                    (Ok(()), _) => {}
                    (Err(InferenceError::Evaluation { .. }), Side::Classical) => values.extend(stage.declared(open)?),
                    (Err(error), _) => return Err(untried(graph, scope, part, &error)),
                }
            }
            stages.push(stage);
        }
        let outputs = graph.output.iter().map(|info| output(info, &trials)).collect::<Result<_, _>>()?;
        Ok(Self { signature: Signature { inputs: infos.iter().map(InputInfo::spec).collect(), outputs }, stages })
    }
}

impl Model for MixedModel {
    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn predict(&self, inputs: &[NamedTensor]) -> Result<Vec<NamedTensor>, InferenceError> {
        let given = self.signature.inputs.iter().zip(ordered(&self.signature, inputs)?);
        let mut values: Values = given.map(|(spec, tensor)| (spec.name.clone(), tensor.clone())).collect();
        for stage in &self.stages {
            stage.run(&mut values)?;
        }
        let taken = self.signature.outputs.iter().map(|spec| {
            let tensor = values.remove(&spec.name).ok_or_else(|| not_made(&spec.name))?;
            Ok(NamedTensor { name: spec.name.clone(), tensor })
        });
        taken.collect()
    }

    fn class_labels(&self, output: &str) -> Option<&TensorData> {
        self.stages.iter().find_map(|stage| stage.model.class_labels(output))
    }
}

impl Stage {
    fn run(&self, values: &mut Values) -> Result<(), InferenceError> {
        let mut inputs = Vec::with_capacity(self.inputs.len());
        for (name, last) in &self.inputs {
            let tensor = if *last { values.remove(name) } else { values.get(name).cloned() };
            inputs.push(NamedTensor { name: name.clone(), tensor: tensor.ok_or_else(|| not_made(name))? });
        }
        let made = self.model.predict(&inputs)?;
        values.extend(made.into_iter().map(|named| (named.name, named.tensor)));
        Ok(())
    }

    /// Zeros in place of its outputs.
    fn declared(&self, open: usize) -> Result<Values, InferenceError> {
        let outputs = self.model.signature().outputs.iter();
        let infos =
            outputs.map(|spec| InputInfo { name: &spec.name, element_type: spec.datatype, shape: spec.shape.clone() });
        zeros(&infos.collect::<Vec<_>>(), open)
    }
}

fn not_made(name: &str) -> InferenceError {
    InferenceError::InvalidGraph { place: format!("value `{name}`"), reason: "nothing makes it".to_owned() }
}

fn zeros(infos: &[InputInfo<'_>], open: usize) -> Result<Values, InferenceError> {
    let tensors = infos.iter().map(|info| {
        let tensor = trial(info, open).ok_or_else(|| InferenceError::InvalidGraph {
            place: format!("value `{}`", info.name),
            reason: "it is too large to try the graph on zeros, from which its parts are known".to_owned(),
        })?;
        Ok((info.name.to_owned(), tensor))
    });
    tensors.collect()
}

/// Names that later parts or the graph's outputs need.
fn needed_later<'a>(graph: &'a GraphProto, parts: &[Part]) -> HashSet<&'a str> {
    let nodes = parts.iter().flat_map(|part| &part.nodes).filter_map(|place| graph.node.get(*place));
    nodes.flat_map(names_used).chain(graph.output.iter().map(|info| info.name.as_str())).collect()
}

/// The graph of one part: its nodes, the constants that they use, and what goes in and comes out.
fn piece(
    graph: &GraphProto,
    scope: &Scope,
    part: &Part,
    later: &HashSet<&str>,
    trials: &[Values],
) -> Result<GraphProto, InferenceError> {
    let nodes: Vec<_> = part.nodes.iter().filter_map(|place| graph.node.get(*place)).collect();
    let used: HashSet<&str> = nodes.iter().flat_map(|node| names_used(node)).collect();
    let made: Vec<&str> = nodes.iter().flat_map(|node| &node.output).map(String::as_str).collect();
    let constants: Vec<_> = graph.initializer.iter().filter(|one| used.contains(one.name.as_str())).cloned().collect();
    let inside: HashSet<&str> = made.iter().copied().chain(constants.iter().map(|one| one.name.as_str())).collect();
    let mut from_before: Vec<&str> = used.into_iter().filter(|name| !inside.contains(name)).collect();
    from_before.sort_unstable();
    let input = from_before.into_iter().map(|name| boundary(name, trials)).collect::<Result<_, _>>()?;
    let output = made.into_iter().filter(|name| later.contains(name)).map(|name| {
        let declared = || graph.output.iter().chain(&graph.value_info).find(|info| info.name == name).cloned();
        match part.side {
            Side::Classical => declared().unwrap_or_else(|| value_info(name, 0, None)),
            Side::Network => {
                let known = scope.element_type(name).map_or(0, |found| onnx_type_of(found) as i32);
                value_info(name, known, None)
            }
        }
    });
    let output = output.collect();
    let node = nodes.into_iter().cloned().collect();
    Ok(GraphProto { node, name: graph.name.clone(), initializer: constants, input, output, ..GraphProto::default() })
}

/// A value that one part hands to another: type and shape as the trials made it.
fn boundary(name: &str, trials: &[Values]) -> Result<ValueInfoProto, InferenceError> {
    let (element_type, shape) = tried(name, trials)?;
    Ok(value_info(name, onnx_type_of(element_type) as i32, Some(&shape)))
}

fn tried(name: &str, trials: &[Values]) -> Result<(ropewalk_types::ElementType, Vec<i64>), InferenceError> {
    let mut tensors = trials.iter().map(|values| values.get(name));
    let (Some(Some(one)), Some(Some(other))) = (tensors.next(), tensors.next()) else { return Err(not_made(name)) };
    let shape = common_shape(&one.shape, &other.shape).ok_or_else(|| InferenceError::InvalidGraph {
        place: format!("value `{name}`"),
        reason: "its rank depends on the request, so that the graph cannot be cut at it".to_owned(),
    })?;
    Ok((one.element_type(), shape))
}

fn output(info: &ValueInfoProto, trials: &[Values]) -> Result<TensorSpec, InferenceError> {
    let (datatype, shape) = tried(&info.name, trials)?;
    declared_shape(info, datatype)?;
    Ok(TensorSpec { name: info.name.clone(), datatype, shape })
}

fn load(
    model: &ModelProto,
    side: Side,
    options: &LoadOptions,
    folding: &Folding,
) -> Result<Arc<dyn Model>, InferenceError> {
    let bytes = model.encode_to_vec();
    match side {
        Side::Classical => ClassicalEngine::load_within(&bytes, folding),
        Side::Network => networks::load(model, &bytes, options),
    }
}

/// A part that cannot be tried: nothing says what shapes come out of it.
fn untried(graph: &GraphProto, scope: &Scope, part: &Part, error: &InferenceError) -> InferenceError {
    let reason = format!("the graph must be cut here, but this part cannot be evaluated on zeros: {error}");
    let node = part.nodes.first().and_then(|place| graph.node.get(*place));
    let missing = node.map(|node| missing_node(node, scope, reason.clone()));
    missing.and_then(|missing| unsupported(&[missing])).unwrap_or(InferenceError::Malformed { reason })
}
