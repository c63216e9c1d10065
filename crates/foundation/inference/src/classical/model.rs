use std::borrow::Cow;
use std::collections::HashMap;

use ropewalk_types::{Signature, TensorSpec};

use super::graph::{Plan, Step, compile};
use super::inputs::Inputs;
use super::interface::{InputInfo, common_shape, declared_shape, inputs, trial};
use crate::onnx::{GraphProto, ModelProto};
use crate::{InferenceError, Model, NamedTensor, Tensor, TensorData};

/// A compiled graph.
#[derive(Debug)]
pub(super) struct ClassicalModel {
    signature: Signature,
    /// Place of each input in the signature, by name.
    places: HashMap<String, usize>,
    plan: Plan,
}

/// Batch sizes that a model is tried with when it is loaded: two, to see which extents follow the batch, and neither
/// 1, which broadcasts.
const TRIAL_ROWS: [usize; 2] = [2, 3];

/// So many inputs of a step and extents of a shape need no memory of their own.
const FEW: usize = 8;

impl ClassicalModel {
    pub(super) fn new(model: &ModelProto) -> Result<Self, InferenceError> {
        let graph = model
            .graph
            .as_ref()
            .ok_or_else(|| InferenceError::Malformed { reason: "the model has no graph".to_owned() })?;
        let infos = inputs(graph)?;
        let plan = compile(model, graph, &infos)?;
        let outputs = output_specs(graph, &plan, &infos)?;
        let signature = Signature { inputs: infos.iter().map(InputInfo::spec).collect(), outputs };
        let places = signature.inputs.iter().enumerate().map(|(place, spec)| (spec.name.clone(), place)).collect();
        Ok(Self { signature, places, plan })
    }

    /// The given tensors in the order of the signature.
    fn ordered<'a>(&self, given: &'a [NamedTensor]) -> Result<Vec<&'a Tensor>, InferenceError> {
        let specs = &self.signature.inputs;
        let mut ordered = vec![None; specs.len()];
        for (index, named) in given.iter().enumerate() {
            // Inputs mostly come in the signature's order.
            let in_order = specs.get(index).is_some_and(|spec| spec.name == named.name);
            let place = if in_order { Some(index) } else { self.places.get(&named.name).copied() };
            let (Some(spec), Some(slot)) =
                (place.and_then(|at| specs.get(at)), place.and_then(|at| ordered.get_mut(at)))
            else {
                let known = specs.iter().map(|spec| format!("`{}`", spec.name)).collect::<Vec<_>>().join(", ");
                return Err(invalid_input(
                    &named.name,
                    format!("one of {known}"),
                    "an input that the model does not have",
                ));
            };
            if slot.replace(check(spec, &named.tensor)?).is_some() {
                return Err(invalid_input(&named.name, "it once".to_owned(), "it twice"));
            }
        }
        let missing = |spec: &TensorSpec| invalid_input(&spec.name, expected(spec), "nothing");
        ordered.into_iter().zip(specs).map(|(tensor, spec)| tensor.ok_or_else(|| missing(spec))).collect()
    }
}

fn invalid_input(input: &str, expected: String, found: impl Into<String>) -> InferenceError {
    InferenceError::InvalidInput { input: input.to_owned(), expected, found: found.into() }
}

fn expected(spec: &TensorSpec) -> String {
    format!("{}{:?}", spec.datatype, spec.shape)
}

fn check<'a>(spec: &TensorSpec, tensor: &'a Tensor) -> Result<&'a Tensor, InferenceError> {
    let found = || format!("{}{:?}", tensor.element_type(), tensor.shape);
    let extent = |extent: &usize| i64::try_from(*extent).unwrap_or(i64::MAX);
    let mut few = [0; FEW];
    let many: Vec<i64>;
    let shape = if let Some(few) = few.get_mut(..tensor.shape.len()) {
        few.iter_mut().zip(&tensor.shape).for_each(|(place, one)| *place = extent(one));
        &*few
    } else {
        many = tensor.shape.iter().map(extent).collect();
        &many
    };
    if tensor.element_type() != spec.datatype || !spec.accepts(shape) {
        return Err(invalid_input(&spec.name, expected(spec), found()));
    }
    if !tensor.is_consistent() {
        let found = format!("{} with {} elements", found(), tensor.data.len());
        return Err(invalid_input(&spec.name, expected(spec), found));
    }
    Ok(tensor)
}

impl Model for ClassicalModel {
    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn predict(&self, inputs: &[NamedTensor]) -> Result<Vec<NamedTensor>, InferenceError> {
        let tensors = run(&self.plan, &self.ordered(inputs)?)?;
        let named = self.signature.outputs.iter().zip(tensors);
        Ok(named.map(|(spec, tensor)| NamedTensor { name: spec.name.clone(), tensor }).collect())
    }

    fn class_labels(&self, output: &str) -> Option<&TensorData> {
        let mut outputs = self.signature.outputs.iter().zip(&self.plan.outputs);
        outputs.find(|(spec, _)| spec.name == output).and_then(|(_, value)| value.class_labels.as_ref())
    }
}

type Slots<'a> = Vec<Option<Cow<'a, Tensor>>>;

/// Walks the plan over inputs in its order.
pub(super) fn run<'a>(plan: &'a Plan, inputs: &[&'a Tensor]) -> Result<Vec<Tensor>, InferenceError> {
    let mut slots: Slots<'a> = vec![None; plan.slots];
    let given = plan.inputs.iter().copied().zip(inputs.iter().copied());
    let constants = plan.constants.iter().map(|(slot, tensor)| (*slot, tensor));
    for (slot, tensor) in given.chain(constants) {
        if let Some(place) = slots.get_mut(slot) {
            *place = Some(Cow::Borrowed(tensor));
        }
    }
    for step in &plan.steps {
        take(step, &mut slots)?;
    }
    answers(plan, &mut slots).ok_or_else(|| InferenceError::Malformed { reason: "an output was not made".into() })
}

/// Moves the outputs out of their slots; one that is asked for under two names is copied.
fn answers(plan: &Plan, slots: &mut Slots<'_>) -> Option<Vec<Tensor>> {
    let mut tensors: Vec<Tensor> = Vec::with_capacity(plan.outputs.len());
    for output in &plan.outputs {
        let tensor = if let Some(tensor) = slots.get_mut(output.slot)?.take() {
            tensor.into_owned()
        } else {
            let earlier = plan.outputs.iter().position(|other| other.slot == output.slot)?;
            tensors.get(earlier)?.clone()
        };
        tensors.push(tensor);
    }
    Some(tensors)
}

fn take(step: &Step, slots: &mut Slots<'_>) -> Result<(), InferenceError> {
    let input = |slot: &Option<usize>| slot.and_then(|slot| slots.get(slot)).and_then(Option::as_deref);
    let mut few = [None; FEW];
    let made = if let Some(few) = few.get_mut(..step.inputs.len()) {
        few.iter_mut().zip(&step.inputs).for_each(|(place, slot)| *place = input(slot));
        step.operator.evaluate(Inputs(few))
    } else {
        let inputs: Vec<Option<&Tensor>> = step.inputs.iter().map(input).collect();
        step.operator.evaluate(Inputs(&inputs))
    };
    let made = made.map_err(|fault| fault.at_run(&step.node, &step.name))?;
    for slot in &step.released {
        if let Some(place) = slots.get_mut(*slot) {
            *place = None;
        }
    }
    for (slot, tensor) in step.outputs.iter().zip(made) {
        if let Some(place) = slot.and_then(|slot| slots.get_mut(slot)) {
            *place = Some(Cow::Owned(tensor));
        }
    }
    Ok(())
}

/// Types are inferred; shapes are tried, because declared ones are wrong in practice (LightGBM's exporter declares
/// labels as [1] and returns [N]) or absent (`ZipMap`). A declared shape only counts where the trial cannot be made.
fn output_specs(graph: &GraphProto, plan: &Plan, inputs: &[InputInfo<'_>]) -> Result<Vec<TensorSpec>, InferenceError> {
    let [one, other] = TRIAL_ROWS.map(|rows| try_out(plan, inputs, rows));
    let tried = one.zip(other);
    let specs = graph.output.iter().zip(&plan.outputs).enumerate().map(|(index, (info, value))| {
        let declared = declared_shape(info, value.element_type)?;
        let tried = tried.as_ref().and_then(|(one, other)| common_shape(one.get(index)?, other.get(index)?));
        let shape = tried.or(declared).ok_or_else(|| InferenceError::InvalidGraph {
            place: format!("output `{}`", info.name),
            reason: "its shape is not declared, and the graph cannot be evaluated on zeros to find it".to_owned(),
        })?;
        Ok(TensorSpec { name: info.name.clone(), datatype: value.element_type, shape })
    });
    specs.collect()
}

fn try_out(plan: &Plan, inputs: &[InputInfo<'_>], rows: usize) -> Option<Vec<Vec<usize>>> {
    let tensors = inputs.iter().map(|input| trial(input, rows)).collect::<Option<Vec<_>>>()?;
    let outputs = run(plan, &tensors.iter().collect::<Vec<_>>()).ok()?;
    Some(outputs.into_iter().map(|tensor| tensor.shape).collect())
}
