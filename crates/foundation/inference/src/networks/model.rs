use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

use ropewalk_types::{Signature, TensorSpec};
use rten::{NodeId, RunError, RunErrorKind, RunOptions};

use super::convert::{given, taken};
use super::scope::Scope;
use super::workers::Workers;
use super::{probe, refusal};
use crate::classical::interface::{InputInfo, common_shape, declared_shape, inputs, trial};
use crate::onnx::{GraphProto, NodeProto, ValueInfoProto};
use crate::request::{invalid_input, ordered};
use crate::{EngineName, InferenceError, LoadOptions, Model, NamedTensor, Tensor};

/// A network, loaded.
pub(super) struct NetworkModel {
    signature: Signature,
    model: rten::Model,
    inputs: Vec<NodeId>,
    outputs: Vec<NodeId>,
    workers: Workers,
    /// The largest that an open extent of an input may be.
    open_limit: usize,
}

impl fmt::Debug for NetworkModel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NetworkModel").field("signature", &self.signature).finish_non_exhaustive()
    }
}

/// Extents that stand for an open one when a shape is not declared: two, to see which extents follow it.
const TRIALS: [usize; 2] = [2, 3];

impl NetworkModel {
    /// Loads and tries a graph whose nodes were all found fit for the engine.
    pub(super) fn load(
        graph: &GraphProto,
        scope: &Scope,
        open_limit: usize,
        bytes: &[u8],
        options: &LoadOptions,
    ) -> Result<Self, InferenceError> {
        let whole = |reason: String| refused(graph.node.last(), scope, reason);
        if let Some(reason) = graph.output.iter().find_map(|info| refusal::output(&info.name, scope)) {
            return Err(whole(reason));
        }
        let infos = inputs(graph)?;
        let model = probe::load(bytes, true).map_err(whole)?;
        let id = |name: &str| model.node_id(name).map_err(|error| whole(error.to_string()));
        let input_ids = infos.iter().map(|info| id(info.name)).collect::<Result<Vec<_>, _>>()?;
        let output_ids = graph.output.iter().map(|info| id(&info.name)).collect::<Result<Vec<_>, _>>()?;
        if output_ids.is_empty() {
            let reason = "it has no output".to_owned();
            return Err(InferenceError::InvalidGraph { place: "the graph".to_owned(), reason });
        }
        let outputs = graph.output.iter().map(|info| typed(info, scope)).collect::<Result<_, _>>()?;
        let signature = Signature { inputs: infos.iter().map(InputInfo::spec).collect(), outputs };
        let workers = Workers::new(options.threads);
        let mut network = Self { signature, model, inputs: input_ids, outputs: output_ids, workers, open_limit };
        network.first_run(graph, scope, &infos)?;
        network.shapes(graph, &infos)?;
        Ok(network)
    }

    /// Runs on zeros once. Where only the batch is open the graph must be able to; other extents are a guess.
    fn first_run(&self, graph: &GraphProto, scope: &Scope, infos: &[InputInfo<'_>]) -> Result<(), InferenceError> {
        let open = infos.iter().any(|info| info.shape.iter().skip(1).any(|extent| *extent < 0));
        match self.try_out(infos, 1) {
            Some(Err(error)) if !open => {
                let named = |node: &&NodeProto| error_node(&error) == Some(super::node_name(node));
                let node = graph.node.iter().find(named).or(graph.node.last());
                Err(refused(node, scope, format!("it cannot be evaluated on zeros: {error}")))
            }
            _ => Ok(()),
        }
    }

    /// Completes the signature: declared shapes, or else those that two trials agree on.
    fn shapes(&mut self, graph: &GraphProto, infos: &[InputInfo<'_>]) -> Result<(), InferenceError> {
        let mut tried = None;
        let mut shapes = Vec::with_capacity(graph.output.len());
        for (index, (info, spec)) in graph.output.iter().zip(&self.signature.outputs).enumerate() {
            if let Some(shape) = declared_shape(info, spec.datatype)? {
                shapes.push(shape);
                continue;
            }
            let tried = tried.get_or_insert_with(|| TRIALS.map(|open| self.try_out(infos, open)));
            let [Some(Ok(one)), Some(Ok(other))] = tried else { return Err(unknown_shape(info)) };
            let shape = |tensors: &[Tensor]| tensors.get(index).map(|tensor| tensor.shape.clone());
            let shape = shape(one).zip(shape(other)).and_then(|(one, other)| common_shape(&one, &other));
            shapes.push(shape.ok_or_else(|| unknown_shape(info))?);
        }
        for (spec, shape) in self.signature.outputs.iter_mut().zip(shapes) {
            spec.shape = shape;
        }
        Ok(())
    }

    fn try_out(&self, infos: &[InputInfo<'_>], open: usize) -> Option<Result<Vec<Tensor>, InferenceError>> {
        let tensors = infos.iter().map(|info| trial(info, open)).collect::<Option<Vec<_>>>()?;
        Some(self.run(&tensors.iter().collect::<Vec<_>>()))
    }

    /// Holds the open extents to the limit with which integers were found to stay within INT32.
    fn check_extents(&self, given: &[&Tensor]) -> Result<(), InferenceError> {
        for (spec, tensor) in self.signature.inputs.iter().zip(given) {
            let open = spec.shape.iter().zip(&tensor.shape).filter(|(declared, _)| **declared < 0);
            if let Some((_, extent)) = open.into_iter().find(|(_, extent)| **extent > self.open_limit) {
                let expected = format!("extents up to {}, with which no integer is cut", self.open_limit);
                return Err(invalid_input(&spec.name, expected, extent.to_string()));
            }
        }
        Ok(())
    }

    fn run(&self, tensors: &[&Tensor]) -> Result<Vec<Tensor>, InferenceError> {
        let specs = &self.signature.inputs;
        let values = specs.iter().zip(tensors).map(|(spec, tensor)| given(spec, tensor));
        let values = values.collect::<Result<Vec<_>, _>>()?;
        let inputs: Vec<_> = self.inputs.iter().copied().zip(values).collect();
        let made = self.workers.with(|pool| {
            let options = RunOptions::default().with_thread_pool(Some(pool));
            // An operator may assert where values contradict each other; the next request is none the worse.
            catch_unwind(AssertUnwindSafe(|| self.model.run(inputs, &self.outputs, Some(options))))
        });
        let made = match made {
            Ok(made) => made.map_err(|error| failed(&error))?,
            Err(_) => return Err(engine_failed("it gave up on the values of this request".to_owned())),
        };
        let outputs = made.into_iter().zip(&self.signature.outputs);
        outputs
            .map(|(value, spec)| {
                let found = value.dtype();
                taken(value, spec.datatype).ok_or_else(|| {
                    engine_failed(format!("output `{}` is declared {}, but is {found}", spec.name, spec.datatype))
                })
            })
            .collect()
    }
}

impl Model for NetworkModel {
    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn predict(&self, inputs: &[NamedTensor]) -> Result<Vec<NamedTensor>, InferenceError> {
        let given = ordered(&self.signature, inputs)?;
        self.check_extents(&given)?;
        let tensors = self.run(&given)?;
        let named = self.signature.outputs.iter().zip(tensors);
        Ok(named.map(|(spec, tensor)| NamedTensor { name: spec.name.clone(), tensor }).collect())
    }
}

/// An output with its type; its shape comes later.
fn typed(info: &ValueInfoProto, scope: &Scope) -> Result<TensorSpec, InferenceError> {
    let datatype = scope.element_type(&info.name).ok_or_else(|| InferenceError::InvalidGraph {
        place: format!("output `{}`", info.name),
        reason: "its type is neither declared nor told by its operator".to_owned(),
    })?;
    Ok(TensorSpec { name: info.name.clone(), datatype, shape: Vec::new() })
}

fn unknown_shape(info: &ValueInfoProto) -> InferenceError {
    InferenceError::InvalidGraph {
        place: format!("output `{}`", info.name),
        reason: "its shape is not declared, and the graph cannot be evaluated on zeros to find it".to_owned(),
    }
}

fn refused(node: Option<&NodeProto>, scope: &Scope, reason: String) -> InferenceError {
    let missing = node.map(|node| super::missing_node(node, scope, reason.clone()));
    missing.and_then(|missing| crate::missing::unsupported(&[missing])).unwrap_or(InferenceError::Malformed { reason })
}

fn engine_failed(reason: String) -> InferenceError {
    InferenceError::EngineFailed { engine: EngineName::Embedded, reason }
}

fn error_node(error: &InferenceError) -> Option<&str> {
    match error {
        InferenceError::Evaluation { node, .. } => Some(node),
        _ => None,
    }
}

fn failed(error: &RunError) -> InferenceError {
    let path = error.node_path();
    let node = path.last().copied().flatten();
    match (error.kind(), node) {
        (RunErrorKind::OperatorError, Some(node)) => InferenceError::Evaluation {
            node: node.to_owned(),
            operator: "an operator".to_owned(),
            reason: error.to_string(),
        },
        _ => engine_failed(error.to_string()),
    }
}
