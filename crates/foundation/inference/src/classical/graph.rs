use std::collections::{BTreeSet, HashMap};

use prost::Message;
use ropewalk_types::ElementType;

use super::attributes::Attributes;
use super::body::{Outer, bodies, outer_names};
use super::fault::Fault;
use super::fusion::fuse;
use super::inputs::Inputs;
use super::interface::InputInfo;
use super::operators::{self, Built, Definition, Operator};
use super::work::Folding;
use crate::onnx::{GraphProto, ModelProto, NodeProto, main_domain_normalized, tensor_from_proto};
use crate::{InferenceError, Tensor, TensorData};

/// The most nodes that a graph may have.
const NODES_LIMIT: usize = 1 << 17;

/// One node to evaluate; values are slots.
#[derive(Debug)]
pub(super) struct Step {
    pub(super) node: String,
    pub(super) name: String,
    pub(super) operator: Box<dyn Operator>,
    pub(super) inputs: Vec<Option<usize>>,
    /// None where the graph has no use for an output.
    pub(super) outputs: Vec<Option<usize>>,
    /// Slots that no later step and no output needs.
    pub(super) released: Vec<usize>,
}

/// What a name stands for once it is known.
#[derive(Clone, Debug)]
pub(super) struct Value {
    pub(super) slot: usize,
    pub(super) element_type: ElementType,
    pub(super) class_labels: Option<TensorData>,
}

/// A graph, compiled: constants, then steps, in an order in which each finds its inputs.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) constants: Vec<(usize, Tensor)>,
    pub(super) inputs: Vec<usize>,
    pub(super) steps: Vec<Step>,
    pub(super) outputs: Vec<Value>,
    pub(super) slots: usize,
}

impl Plan {
    /// Counts the slots that are left, so that a walk makes room for no more.
    fn renumber(&mut self) {
        let mut numbers: HashMap<usize, usize> = HashMap::new();
        let mut renumber = |slot: &mut usize| {
            let next = numbers.len();
            *slot = *numbers.entry(*slot).or_insert(next);
        };
        self.inputs.iter_mut().for_each(&mut renumber);
        self.constants.iter_mut().for_each(|(slot, _)| renumber(slot));
        for step in &mut self.steps {
            step.inputs.iter_mut().flatten().for_each(&mut renumber);
            step.outputs.iter_mut().flatten().for_each(&mut renumber);
            step.released.iter_mut().for_each(&mut renumber);
        }
        self.outputs.iter_mut().for_each(|value| renumber(&mut value.slot));
        self.slots = numbers.len();
    }
}

struct Compiler<'a> {
    folding: &'a Folding,
    values: HashMap<&'a str, Value>,
    constants: HashMap<usize, Tensor>,
    steps: Vec<Step>,
    slots: usize,
    /// What each node made, so that an equal one on the same inputs makes nothing anew.
    made: HashMap<NodeKey<'a>, Vec<Option<Value>>>,
}

/// What two nodes that make the same agree in: operator, domain, attributes as written, slots of the inputs, and how
/// many outputs they name: `Split` makes as many parts.
type NodeKey<'a> = (&'a str, &'a str, Vec<u8>, Vec<Option<usize>>, usize);

/// The most bytes of attributes that are compared; trees are larger, and are not written twice.
const KEY_LIMIT: usize = 1 << 10;

/// Operators that make something else each time.
const RANDOM: [&str; 7] =
    ["Bernoulli", "Dropout", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike"];

fn node_key<'a>(node: &'a NodeProto, values: &[Option<Value>]) -> Option<NodeKey<'a>> {
    let length: usize = node.attribute.iter().map(Message::encoded_len).sum();
    if length > KEY_LIMIT || RANDOM.contains(&node.op_type.as_str()) {
        return None;
    }
    let attributes = node.attribute.iter().flat_map(Message::encode_length_delimited_to_vec).collect();
    let slots = values.iter().map(|value| value.as_ref().map(|value| value.slot)).collect();
    Some((&node.op_type, main_domain_normalized(&node.domain), attributes, slots, node.output.len()))
}

fn invalid(place: String, reason: impl Into<String>) -> InferenceError {
    InferenceError::InvalidGraph { place, reason: reason.into() }
}

/// Checks and compiles the graph of a model for these inputs.
pub(super) fn compile(
    model: &ModelProto,
    graph: &GraphProto,
    inputs: &[InputInfo],
    folding: &Folding,
) -> Result<Plan, InferenceError> {
    if graph.node.len() > NODES_LIMIT {
        let (size, limit) = (graph.node.len() as u64, NODES_LIMIT as u64);
        return Err(InferenceError::TooLarge { what: "graph in nodes".into(), size, limit });
    }
    if !graph.sparse_initializer.is_empty() {
        return Err(invalid("the graph".into(), "sparse initializers are not supported"));
    }
    let opsets = opsets(model)?;
    let mut compiler = Compiler::new(folding);
    for proto in &graph.initializer {
        let tensor = tensor_from_proto(proto)?;
        let slot = compiler.define(&proto.name, tensor.element_type(), None, "initializer")?;
        compiler.constants.insert(slot, tensor);
    }
    let mut input_slots = Vec::with_capacity(inputs.len());
    for input in inputs {
        input_slots.push(compiler.define(input.name, input.element_type, None, "input")?);
    }
    for node in &graph.node {
        compiler.node(model, graph, node, &opsets)?;
    }
    compiler.finish(graph, input_slots, opsets.get("ai.onnx.ml").copied().unwrap_or(0))
}

/// The imported version of each domain; exporters import one twice, which is harmless if they agree.
fn opsets(model: &ModelProto) -> Result<HashMap<&str, i64>, InferenceError> {
    let mut opsets = HashMap::new();
    for import in &model.opset_import {
        let domain = main_domain_normalized(&import.domain);
        if opsets.insert(domain, import.version).is_some_and(|other| other != import.version) {
            return Err(invalid("opset_import".into(), format!("domain `{domain}` is imported in two versions")));
        }
    }
    Ok(opsets)
}

fn node_name(node: &NodeProto) -> &str {
    let first_output = || node.output.first().map_or("", String::as_str);
    if node.name.is_empty() { first_output() } else { &node.name }
}

/// The graphs inside a node that may be evaluated: of an `If` on a constant only the branch that it takes.
fn taken_bodies(node: &NodeProto, condition: Option<bool>) -> impl Iterator<Item = &GraphProto> {
    let other = condition.map(|condition| if condition { "else_branch" } else { "then_branch" });
    let other = node.attribute.iter().find(|one| Some(one.name.as_str()) == other).and_then(|one| one.g.as_deref());
    bodies(node).filter(move |body| !other.is_some_and(|other| std::ptr::eq(other, *body)))
}

impl<'a> Compiler<'a> {
    fn new(folding: &'a Folding) -> Self {
        let (values, constants, made) = (HashMap::new(), HashMap::new(), HashMap::new());
        Self { folding, values, constants, steps: Vec::new(), slots: 0, made }
    }

    fn define(
        &mut self,
        name: &'a str,
        element_type: ElementType,
        class_labels: Option<TensorData>,
        kind: &str,
    ) -> Result<usize, InferenceError> {
        let slot = self.slots;
        self.slots += 1;
        self.name(name, Value { slot, element_type, class_labels }, kind)?;
        Ok(slot)
    }

    /// Values are assigned once (ONNX IR, "Graphs": single static assignment).
    fn name(&mut self, name: &'a str, value: Value, kind: &str) -> Result<(), InferenceError> {
        if name.is_empty() {
            return Err(invalid(kind.to_owned(), "it has no name"));
        }
        if self.values.insert(name, value).is_some() {
            return Err(invalid(format!("{kind} `{name}`"), "the name is given twice"));
        }
        Ok(())
    }

    fn input(&self, graph: &GraphProto, node: &NodeProto, name: &str) -> Result<Option<Value>, InferenceError> {
        if name.is_empty() {
            return Ok(None);
        }
        if let Some(value) = self.values.get(name) {
            return Ok(Some(value.clone()));
        }
        let later = graph.node.iter().any(|other| other.output.iter().any(|output| output == name));
        let reason = if later {
            format!("it uses `{name}`, which itself or a later node makes: a cycle, or nodes out of order")
        } else {
            format!("it uses `{name}`, which is no input, initializer or output of a node")
        };
        Err(invalid(format!("node `{}` ({})", node_name(node), node.op_type), reason))
    }

    fn node(
        &mut self,
        model: &ModelProto,
        graph: &GraphProto,
        node: &'a NodeProto,
        opsets: &HashMap<&str, i64>,
    ) -> Result<(), InferenceError> {
        let mut values = node.input.iter().map(|name| self.input(graph, node, name)).collect::<Result<Vec<_>, _>>()?;
        let condition = self.condition(node, &values);
        let names = taken_bodies(node, condition).flat_map(outer_names).collect::<BTreeSet<_>>();
        let mut around = Vec::with_capacity(names.len());
        for name in names {
            let value = self.input(graph, node, name)?;
            around.extend(value.as_ref().map(|value| Outer { name, element_type: value.element_type }));
            values.push(value);
        }
        let key = node_key(node, &values);
        if let Some(made) = key.as_ref().and_then(|key| self.made.get(key)).cloned()
            && node
                .output
                .iter()
                .enumerate()
                .all(|(index, name)| name.is_empty() || matches!(made.get(index), Some(Some(_))))
        {
            let named = node.output.iter().zip(made).filter(|(name, _)| !name.is_empty());
            return named
                .filter_map(|(name, value)| Some((name, value?)))
                .try_for_each(|(name, value)| self.name(name, value, "value"));
        }
        let domain = main_domain_normalized(&node.domain);
        let opset = opsets.get(domain).copied().unwrap_or(0);
        let at_load = |fault: Fault| fault.at_load(node_name(node), domain, &node.op_type, opset);
        let definition = Attributes::new(&node.attribute).map(|attributes| Definition {
            operator: &node.op_type,
            opset,
            model,
            attributes,
            outputs: node.output.len(),
            inputs: values
                .iter()
                .take(node.input.len())
                .map(|value| value.as_ref().map(|value| value.element_type))
                .collect(),
            around,
            condition,
            folding: self.folding,
        });
        let built = definition.and_then(|definition| operators::build(domain, definition)).map_err(at_load)?;
        if node.output.len() > built.outputs.len() {
            let reason = format!("{} outputs, expected at most {}", node.output.len(), built.outputs.len());
            return Err(at_load(Fault::invalid(reason)));
        }
        if built.passes_through
            && let ([output], Some(Some(value))) = (node.output.as_slice(), values.first())
        {
            return self.name(output, value.clone(), "value");
        }
        let step = self.step(node, built, values)?;
        if let Some(key) = key {
            let made = node.output.iter().map(|name| self.values.get(name.as_str()).cloned());
            self.made.insert(key, made.collect());
        }
        self.fold_or_push(step, at_load)
    }

    /// The first input of an `If`, if it is a constant.
    fn condition(&self, node: &NodeProto, values: &[Option<Value>]) -> Option<bool> {
        let slot = values.first().and_then(Option::as_ref).filter(|_| node.op_type == "If")?.slot;
        match &self.constants.get(&slot)?.data {
            TensorData::Bool(values) => values.first().copied(),
            _ => None,
        }
    }

    fn step(&mut self, node: &'a NodeProto, built: Built, values: Vec<Option<Value>>) -> Result<Step, InferenceError> {
        let mut labels = built.class_labels;
        let mut outputs = Vec::with_capacity(built.outputs.len());
        for (index, element_type) in built.outputs.iter().enumerate() {
            let name = node.output.get(index).filter(|name| !name.is_empty());
            outputs.push(match name {
                Some(name) => Some(self.define(name, *element_type, labels.take(), "value")?),
                None => None,
            });
        }
        Ok(Step {
            node: node_name(node).to_owned(),
            name: node.op_type.clone(),
            operator: built.operator,
            inputs: values.into_iter().map(|value| value.map(|value| value.slot)).collect(),
            outputs,
            released: Vec::new(),
        })
    }

    /// A step whose inputs are all constants is taken once, now, if what it makes can be kept.
    fn fold_or_push(&mut self, step: Step, at_load: impl Fn(Fault) -> InferenceError) -> Result<(), InferenceError> {
        let constants: Option<Vec<Option<&Tensor>>> = step
            .inputs
            .iter()
            .map(|slot| slot.map_or(Some(None), |slot| self.constants.get(&slot).map(Some)))
            .collect();
        let folded = constants.map(|constants| self.folding.evaluate(&*step.operator, Inputs(&constants)));
        let Some(made) = folded.transpose().map_err(at_load)?.flatten() else {
            self.steps.push(step);
            return Ok(());
        };
        let named = step.outputs.iter().zip(made).filter_map(|(slot, tensor)| slot.map(|slot| (slot, tensor)));
        self.constants.extend(named);
        Ok(())
    }

    fn finish(mut self, graph: &'a GraphProto, inputs: Vec<usize>, ml_opset: i64) -> Result<Plan, InferenceError> {
        let mut outputs: Vec<Value> = Vec::with_capacity(graph.output.len());
        for output in &graph.output {
            let place = || format!("output `{}`", output.name);
            let value = self.values.get(output.name.as_str());
            outputs.push(value.cloned().ok_or_else(|| invalid(place(), "nothing makes it"))?);
        }
        if outputs.is_empty() {
            return Err(invalid("the graph".into(), "it has no output"));
        }
        let answered: Vec<usize> = outputs.iter().map(|value| value.slot).collect();
        self.steps = fuse(std::mem::take(&mut self.steps), &self.constants, &answered, ml_opset, self.folding)?;
        let last_uses = self.prune(&outputs);
        for (slot, step) in last_uses {
            if let Some(step) = self.steps.get_mut(step) {
                step.released.push(slot);
            }
        }
        let mut constants: Vec<(usize, Tensor)> = self.constants.into_iter().collect();
        constants.sort_unstable_by_key(|(slot, _)| *slot);
        let mut plan = Plan { constants, inputs, steps: self.steps, outputs, slots: 0 };
        plan.renumber();
        Ok(plan)
    }

    /// Drops the steps and constants that no output depends on; says which step uses each other slot last.
    fn prune(&mut self, outputs: &[Value]) -> Vec<(usize, usize)> {
        let mut needed: Vec<bool> = vec![false; self.slots];
        let mark = |needed: &mut Vec<bool>, slot: usize| {
            needed.get_mut(slot).is_some_and(|flag| !std::mem::replace(flag, true))
        };
        for value in outputs {
            mark(&mut needed, value.slot);
        }
        let mut last_uses = Vec::new();
        let mut kept = Vec::with_capacity(self.steps.len());
        for mut step in std::mem::take(&mut self.steps).into_iter().rev() {
            let useful = step.outputs.iter().flatten().any(|slot| needed.get(*slot) == Some(&true));
            if !useful {
                continue;
            }
            for output in &mut step.outputs {
                *output = output.filter(|slot| needed.get(*slot) == Some(&true));
            }
            for slot in step.inputs.iter().flatten() {
                if mark(&mut needed, *slot) {
                    last_uses.push((*slot, kept.len()));
                }
            }
            kept.push(step);
        }
        let count = kept.len();
        self.constants.retain(|slot, _| needed.get(*slot) == Some(&true));
        self.steps = kept.into_iter().rev().collect();
        last_uses.into_iter().map(|(slot, from_end)| (slot, count - 1 - from_end)).collect()
    }
}
