use std::borrow::Cow;
use std::collections::HashSet;

use ropewalk_types::{Signature, TensorSpec};

use super::graph::{Plan, Step, compile};
use super::inputs::Inputs;
use super::interface::{InputInfo, common_shape, declared_shape, inputs, trial};
use super::work::{Folding, Work};
use crate::onnx::{GraphProto, ModelProto};
use crate::request::ordered;
use crate::{InferenceError, Model, NamedTensor, Tensor, TensorData};

/// A compiled graph.
#[derive(Debug)]
pub(super) struct ClassicalModel {
    signature: Signature,
    plan: Plan,
}

/// Batch sizes that a model is tried with when it is loaded: two, to see which extents follow the batch, and neither
/// 1, which broadcasts.
const TRIAL_ROWS: [usize; 2] = [2, 3];

/// So many inputs of a step need no memory of their own.
const FEW: usize = 8;

impl ClassicalModel {
    pub(super) fn new(model: &ModelProto, folding: &Folding) -> Result<Self, InferenceError> {
        let graph = model
            .graph
            .as_ref()
            .ok_or_else(|| InferenceError::Malformed { reason: "the model has no graph".to_owned() })?;
        let mut names = HashSet::new();
        if let Some(twice) = graph.output.iter().find(|output| !names.insert(&output.name)) {
            let (place, reason) = (format!("output `{}`", twice.name), "the name is given twice".to_owned());
            return Err(InferenceError::InvalidGraph { place, reason });
        }
        let infos = inputs(graph)?;
        let plan = compile(model, graph, &infos, folding)?;
        let outputs = output_specs(graph, &plan, &infos, folding.work())?;
        let signature = Signature { inputs: infos.iter().map(InputInfo::spec).collect(), outputs };
        Ok(Self { signature, plan })
    }
}

impl Model for ClassicalModel {
    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn predict(&self, inputs: &[NamedTensor]) -> Result<Vec<NamedTensor>, InferenceError> {
        let tensors = run(&self.plan, &ordered(&self.signature, inputs)?, Bounds::Graph(&Work::default()))?;
        let named = self.signature.outputs.iter().zip(tensors);
        Ok(named.map(|(spec, tensor)| NamedTensor { name: spec.name.clone(), tensor }).collect())
    }

    fn class_labels(&self, output: &str) -> Option<&TensorData> {
        let mut outputs = self.signature.outputs.iter().zip(&self.plan.outputs);
        outputs.find(|(spec, _)| spec.name == output).and_then(|(_, value)| value.class_labels.as_ref())
    }
}

type Slots<'a> = Vec<Option<Cow<'a, Tensor>>>;

/// Whose plan is walked.
#[derive(Clone, Copy, Debug)]
pub(super) enum Bounds<'a> {
    /// The model's: as long as it is. Its loops count their work.
    Graph(&'a Work),
    /// That of a loop or a branch, or a trial: each step counts.
    Body(&'a Work),
}

/// Walks the plan over inputs in its order.
pub(super) fn run<'a>(
    plan: &'a Plan,
    inputs: &[&'a Tensor],
    bounds: Bounds<'_>,
) -> Result<Vec<Tensor>, InferenceError> {
    let mut slots: Slots<'a> = vec![None; plan.slots];
    let given = plan.inputs.iter().copied().zip(inputs.iter().copied());
    let constants = plan.constants.iter().map(|(slot, tensor)| (*slot, tensor));
    for (slot, tensor) in given.chain(constants) {
        if let Some(place) = slots.get_mut(slot) {
            *place = Some(Cow::Borrowed(tensor));
        }
    }
    for step in &plan.steps {
        take(step, &mut slots, bounds)?;
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

fn take(step: &Step, slots: &mut Slots<'_>, bounds: Bounds<'_>) -> Result<(), InferenceError> {
    let evaluate = |inputs: Inputs<'_>| match bounds {
        Bounds::Graph(work) => step.operator.evaluate_within(inputs, work),
        Bounds::Body(work) => work.evaluate(&*step.operator, inputs),
    };
    let input = |slot: &Option<usize>| slot.and_then(|slot| slots.get(slot)).and_then(Option::as_deref);
    let mut few = [None; FEW];
    let made = if let Some(few) = few.get_mut(..step.inputs.len()) {
        few.iter_mut().zip(&step.inputs).for_each(|(place, slot)| *place = input(slot));
        evaluate(Inputs(few))
    } else {
        let inputs: Vec<Option<&Tensor>> = step.inputs.iter().map(input).collect();
        evaluate(Inputs(&inputs))
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
/// labels as [1] and returns [N]) or absent (`ZipMap`). A declared shape only counts where the trial cannot be made, as with an
/// encoder that refuses unknown text.
fn output_specs(
    graph: &GraphProto,
    plan: &Plan,
    inputs: &[InputInfo<'_>],
    work: &Work,
) -> Result<Vec<TensorSpec>, InferenceError> {
    let [one, other] = TRIAL_ROWS.map(|rows| try_out(plan, inputs, rows, work));
    let tried = one.zip(other);
    let specs = graph.output.iter().zip(&plan.outputs).enumerate().map(|(index, (info, value))| {
        let declared = declared_shape(info, value.element_type)?;
        let tried = tried.as_ref().and_then(|(one, other)| common_shape(one.get(index)?, other.get(index)?));
        // `ZipMap` has one column for each class, which no request changes.
        let by_class = value.class_labels.as_ref().map(|labels| vec![-1, labels.len() as i64]);
        let shape = tried.or(declared).or(by_class).ok_or_else(|| InferenceError::InvalidGraph {
            place: format!("output `{}`", info.name),
            reason: "its shape is not declared, and the graph cannot be evaluated on zeros to find it".to_owned(),
        })?;
        Ok(TensorSpec { name: info.name.clone(), datatype: value.element_type, shape })
    });
    specs.collect()
}

fn try_out(plan: &Plan, inputs: &[InputInfo<'_>], rows: usize, work: &Work) -> Option<Vec<Vec<usize>>> {
    let tensors = inputs.iter().map(|input| trial(input, rows)).collect::<Option<Vec<_>>>()?;
    let outputs = run(plan, &tensors.iter().collect::<Vec<_>>(), Bounds::Body(work)).ok()?;
    Some(outputs.into_iter().map(|tensor| tensor.shape).collect())
}
