//! Steps that are settled when the model is loaded: what is done to each answer of one tree by itself is done to its
//! leaves. scikit-learn's isolation forest is exported as a hundred trees with a score of steps after each; here it
//! becomes one ensemble. The operators themselves compute the leaves' values, so the answers are the same to the bit.

use std::collections::{HashMap, HashSet};

use super::fault::Fault;
use super::graph::Step;
use super::inputs::Inputs;
use super::operators::{leaf_tables, sum_of_trees};
use super::work::Folding;
use crate::{InferenceError, Tensor, TensorData};

/// Operators that make each element of an output from the elements at the same place, and nothing else.
const ELEMENTWISE: [&str; 37] = [
    "Abs",
    "Add",
    "And",
    "Cast",
    "Ceil",
    "Clip",
    "Div",
    "Equal",
    "Exp",
    "Floor",
    "Greater",
    "GreaterOrEqual",
    "Identity",
    "IsNaN",
    "LabelEncoder",
    "Less",
    "LessOrEqual",
    "Log",
    "Max",
    "Min",
    "Mod",
    "Mul",
    "Neg",
    "Not",
    "Or",
    "Pow",
    "Reciprocal",
    "Relu",
    "Round",
    "Sigmoid",
    "Sign",
    "Sqrt",
    "Sub",
    "Sum",
    "Tanh",
    "Where",
    "Xor",
];

/// What an output of a tree has become.
struct Tabled {
    tree: usize,
    table: Tensor,
}

/// A step that stays, or the place of a tree whose outputs are known only at the end.
enum Kept {
    Step(Step),
    Tree(usize),
}

struct Fusion<'a> {
    constants: &'a HashMap<usize, Tensor>,
    folding: &'a Folding,
    trees: Vec<Step>,
    tabled: HashMap<usize, Tabled>,
    kept: Vec<Kept>,
}

/// Settles what can be; `outputs` are the slots that the graph answers, `opset` is the version of `ai.onnx.ml`.
///
/// # Errors
/// Where a tree cannot be made to answer what its own answers have become.
pub(super) fn fuse(
    steps: Vec<Step>,
    constants: &HashMap<usize, Tensor>,
    outputs: &[usize],
    opset: i64,
    folding: &Folding,
) -> Result<Vec<Step>, InferenceError> {
    let mut fusion = Fusion { constants, folding, trees: Vec::new(), tabled: HashMap::new(), kept: Vec::new() };
    for step in steps {
        fusion.step(step);
    }
    fusion.finish(outputs, opset)
}

impl Fusion<'_> {
    fn step(&mut self, step: Step) {
        if let (Some(tree), [Some(_)], [Some(output)]) =
            (step.operator.single_tree(), step.inputs.as_slice(), step.outputs.as_slice())
        {
            let tabled = Tabled { tree: self.trees.len(), table: tree.table() };
            self.tabled.insert(*output, tabled);
            self.kept.push(Kept::Tree(self.trees.len()));
            self.trees.push(step);
            return;
        }
        if self.settle(&step).is_some() {
            return;
        }
        let step = self.summed(&step).unwrap_or(step);
        self.kept.push(Kept::Step(step));
    }

    /// Evaluates a step on the leaves of the one tree from which all its inputs come, if it is of a kind that may be.
    fn settle(&mut self, step: &Step) -> Option<()> {
        let reshapes = step.name == "Reshape";
        if !reshapes && !ELEMENTWISE.contains(&step.name.as_str()) {
            return None;
        }
        let mut tree = None;
        let mut inputs = Vec::with_capacity(step.inputs.len());
        for (index, slot) in step.inputs.iter().enumerate() {
            let Some(slot) = slot else {
                inputs.push(None);
                continue;
            };
            if let Some(tabled) = self.tabled.get(slot) {
                if *tree.get_or_insert(tabled.tree) != tabled.tree {
                    return None;
                }
                inputs.push(Some(&tabled.table));
            } else {
                let constant = self.constants.get(slot)?;
                let column = reshapes && index == 1 && constant.data == TensorData::Int64(vec![-1, 1]);
                if !column && (reshapes || constant.data.len() != 1 || constant.shape.len() > 2) {
                    return None;
                }
                inputs.push(Some(constant));
            }
        }
        let tree = tree?;
        let shape = vec![self.trees.get(tree)?.operator.single_tree()?.table().data.len(), 1];
        let made = self.folding.evaluate(&*step.operator, Inputs(&inputs)).ok()??;
        if made.iter().any(|table| table.shape != shape) {
            return None;
        }
        for (slot, table) in step.outputs.iter().zip(made) {
            if let Some(slot) = slot {
                self.tabled.insert(*slot, Tabled { tree, table });
            }
        }
        Some(())
    }

    /// The sum of tabled answers of trees of one input, as one ensemble.
    fn summed(&self, step: &Step) -> Option<Step> {
        if step.name != "Sum" {
            return None;
        }
        let tabled = step.inputs.iter().map(|slot| self.tabled.get(&(*slot)?)).collect::<Option<Vec<_>>>()?;
        let trees = tabled.iter().map(|one| self.trees.get(one.tree)).collect::<Option<Vec<_>>>()?;
        let inputs = &trees.first()?.inputs;
        if trees.iter().any(|tree| tree.inputs != *inputs) {
            return None;
        }
        let parts = trees.iter().zip(&tabled).map(|(tree, one)| Some((tree.operator.single_tree()?, &one.table)));
        let operator = sum_of_trees(&parts.collect::<Option<Vec<_>>>()?)?;
        Some(Step {
            node: step.node.clone(),
            name: step.name.clone(),
            operator,
            inputs: inputs.clone(),
            outputs: step.outputs.clone(),
            released: Vec::new(),
        })
    }

    /// Trees stay where something still asks for what became of their answers.
    fn finish(self, outputs: &[usize], opset: i64) -> Result<Vec<Step>, InferenceError> {
        let Self { trees, mut tabled, kept, .. } = self;
        let mut asked: HashSet<usize> = outputs.iter().copied().collect();
        for step in &kept {
            if let Kept::Step(step) = step {
                asked.extend(step.inputs.iter().flatten());
            }
        }
        let mut wanted: Vec<Vec<(usize, TensorData)>> = trees.iter().map(|_| Vec::new()).collect();
        let mut slots: Vec<usize> = tabled.keys().copied().filter(|slot| asked.contains(slot)).collect();
        slots.sort_unstable();
        for slot in slots {
            let Some(Tabled { tree, table }) = tabled.remove(&slot) else { continue };
            if let Some(wanted) = wanted.get_mut(tree) {
                wanted.push((slot, table.data));
            }
        }
        let trees = trees.into_iter().zip(wanted).map(|(step, wanted)| answering(step, wanted, opset));
        let mut trees = trees.collect::<Result<Vec<_>, _>>()?;
        let steps = kept.into_iter().filter_map(|kept| match kept {
            Kept::Step(step) => Some(step),
            Kept::Tree(tree) => trees.get_mut(tree).and_then(Option::take),
        });
        Ok(steps.collect())
    }
}

/// The step of a tree that answers these slots; none if there are none.
fn answering(step: Step, wanted: Vec<(usize, TensorData)>, opset: i64) -> Result<Option<Step>, InferenceError> {
    let asked: Vec<Option<usize>> = wanted.iter().map(|(slot, _)| Some(*slot)).collect();
    if asked.is_empty() {
        return Ok(None);
    }
    if asked == step.outputs {
        return Ok(Some(step));
    }
    let tables = wanted.into_iter().map(|(_, table)| table).collect();
    let tree = step.operator.single_tree().ok_or_else(|| Fault::invalid("it is not one tree"));
    let operator = tree.and_then(|tree| leaf_tables(tree, tables));
    let operator = operator.map_err(|fault| fault.at_load(&step.node, "ai.onnx.ml", &step.name, opset))?;
    Ok(Some(Step { operator, outputs: asked, ..step }))
}
