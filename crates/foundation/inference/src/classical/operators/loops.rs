use std::sync::Arc;

use ropewalk_types::ElementType;

use super::scan::stacked;
use super::{Built, Definition, Operator};
use crate::classical::body::{Body, declared_extents, is_vector};
use crate::classical::fault::{ELEMENTS_LIMIT, Fault, checked_count};
use crate::classical::inputs::{Inputs, values};
use crate::classical::work::{TURNS_LIMIT, Work, check_turns};
use crate::{Tensor, TensorData};

#[derive(Debug)]
struct Loop {
    body: Arc<Body>,
    /// Inputs before the values from outside: the number of turns, the condition, the state.
    inputs: usize,
    /// Whether the body takes the number of the turn, and the condition, as vectors of one element.
    vectors: [bool; 2],
    /// What each stacked output is if the body is never evaluated.
    empty: Vec<Tensor>,
}

/// `Loop`: the body is evaluated until it has been so as often as the first input says, or until the condition is false,
/// each time on the state that the time before left; what else it makes is stacked. A loop of more than 2^20 turns is
/// refused, and so is more work than [`Work`] allows, so that a model cannot hold up a server for ever.
pub(super) fn repetition(definition: &mut Definition<'_>) -> Result<Built, Fault> {
    let inputs = definition.inputs.len();
    let states = inputs.checked_sub(2).ok_or_else(|| Fault::invalid("fewer than 2 inputs"))?;
    definition.optional_input(0, ElementType::Int64)?;
    definition.optional_input(1, ElementType::Bool)?;
    let own = [ElementType::Int64, ElementType::Bool].map(Ok).into_iter();
    let types = own.chain((2..inputs).map(|index| definition.input(index))).collect::<Result<Vec<_>, _>>()?;
    let graph = definition.graph("body")?;
    let body = definition.body(graph, &types)?;
    let made = body.output_types();
    if made.get(..=states) != types.get(1..) {
        return Err(Fault::invalid("its body does not make a condition and a state of the same types as before"));
    }
    let outputs: Vec<ElementType> = made.into_iter().skip(1).collect();
    let stacks = outputs.iter().skip(states).enumerate();
    let empty =
        stacks.map(|(index, element_type)| nothing(*element_type, &declared_extents(graph, 1 + states + index)));
    let empty =
        empty.collect::<Option<Vec<_>>>().ok_or_else(|| Fault::invalid("its body declares too large outputs"))?;
    let vectors = [is_vector(graph, 0), is_vector(graph, 1)];
    Ok(Built::new(Loop { body, inputs, vectors, empty }, outputs))
}

/// A tensor of no slices of a shape.
fn nothing(element_type: ElementType, extents: &[usize]) -> Option<Tensor> {
    let mut shape = vec![0];
    shape.extend(extents.iter().filter_map(|extent| i64::try_from(*extent).ok()));
    Tensor::zeros(element_type, &shape, 0, 0)
}

/// A scalar, or a vector of one element.
fn single(data: impl Into<TensorData>, vector: bool) -> Tensor {
    Tensor { shape: if vector { vec![1] } else { Vec::new() }, data: data.into() }
}

fn first<T: crate::tensor::Element + Copy>(tensor: Option<&Tensor>) -> Result<Option<T>, Fault> {
    let Some(tensor) = tensor else { return Ok(None) };
    let found = values::<T>(tensor)?.first().copied();
    found.map(Some).ok_or_else(|| Fault::invalid("the number of turns or the condition is empty"))
}

impl Operator for Loop {
    fn evaluate(&self, inputs: Inputs<'_>) -> Result<Vec<Tensor>, Fault> {
        self.evaluate_within(inputs, &Work::default())
    }

    fn cost(&self, inputs: Inputs<'_>) -> u64 {
        inputs.split(self.inputs).0.count()
    }

    fn evaluate_within(&self, inputs: Inputs<'_>, work: &Work) -> Result<Vec<Tensor>, Fault> {
        let (own, around) = inputs.split(self.inputs);
        let turns = first::<i64>(own.optional(0))?.map_or(usize::MAX, |turns| usize::try_from(turns).unwrap_or(0));
        let mut goes_on = first::<bool>(own.optional(1))?.unwrap_or(true);
        let mut state = (2..self.inputs).map(|index| own.tensor(index).cloned()).collect::<Result<Vec<_>, _>>()?;
        let mut slices: Vec<Vec<Tensor>> = vec![Vec::new(); self.empty.len()];
        let (mut turn, mut elements) = (0_usize, 0_usize);
        while goes_on && turn < turns {
            check_turns(turn + 1)?;
            let counter = single(vec![turn as i64], self.vectors[0]);
            let condition = single(vec![goes_on], self.vectors[1]);
            let given: Vec<&Tensor> = [&counter, &condition].into_iter().chain(&state).collect();
            let mut made = self.body.run(&given, around, work)?.into_iter();
            goes_on = first::<bool>(made.next().as_ref())?.unwrap_or(false);
            state = made.by_ref().take(state.len()).collect();
            for (list, slice) in slices.iter_mut().zip(made) {
                elements = elements.saturating_add(slice.data.len());
                list.push(slice);
            }
            checked_count(&[elements])?;
            turn += 1;
        }
        let stacks = slices.iter().zip(&self.empty);
        let stacks = stacks.map(|(list, empty)| if list.is_empty() { Ok(empty.clone()) } else { stacked(list, 0) });
        state.extend(stacks.collect::<Result<Vec<_>, _>>()?);
        Ok(state)
    }
}

const _: () = assert!(TURNS_LIMIT <= ELEMENTS_LIMIT, "as many scalars can be stacked as a loop has turns");
