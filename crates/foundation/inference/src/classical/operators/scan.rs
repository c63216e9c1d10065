use std::sync::Arc;

use super::{Built, Definition, Operator};
use crate::classical::body::Body;
use crate::classical::fault::{Fault, checked_count};
use crate::classical::inputs::{Inputs, around, axis, elements_at, values};
use crate::classical::work::{Work, check_turns};
use crate::tensor::for_any_type;
use crate::{Tensor, TensorData};

#[derive(Debug)]
struct Scan {
    body: Arc<Body>,
    states: usize,
    /// How many inputs there are before the values from outside.
    inputs: usize,
    input_axes: Vec<i64>,
    /// Whether each scanned input is read from its end.
    backward_inputs: Vec<bool>,
    output_axes: Vec<i64>,
    backward_outputs: Vec<bool>,
}

/// `Scan` (version 9 and later): the body is evaluated on one slice of the scanned inputs after another, with the
/// state that the slice before left; what it makes of each is stacked.
pub(super) fn scan(definition: &mut Definition<'_>) -> Result<Built, Fault> {
    if definition.opset < 9 {
        return Err(Fault::unsupported("version 8, which has a batch of its own"));
    }
    let scanned = definition.attributes.int("num_scan_inputs")?;
    let scanned = scanned.and_then(|count| usize::try_from(count).ok()).filter(|count| *count > 0);
    let scanned = scanned.ok_or_else(|| Fault::invalid("`num_scan_inputs` is not a positive number"))?;
    let states = definition.inputs.len().checked_sub(scanned);
    let states =
        states.ok_or_else(|| Fault::invalid(format!("{scanned} scanned inputs of {}", definition.inputs.len())))?;
    let types = (0..definition.inputs.len()).map(|index| definition.input(index)).collect::<Result<Vec<_>, _>>()?;
    let graph = definition.graph("body")?;
    let body = definition.body(graph, &types)?;
    let outputs = body.output_types();
    if outputs.len() < states || outputs.get(..states) != types.get(..states) {
        return Err(Fault::invalid("the body changes the type of its state"));
    }
    let stacked = outputs.len() - states;
    let mut list = |name: &str, length: usize| match definition.attributes.ints(name)? {
        None => Ok(vec![0; length]),
        Some(list) if list.len() == length => Ok(list),
        Some(list) => Err(Fault::invalid(format!("{} values of `{name}`, expected {length}", list.len()))),
    };
    let input_axes = list("scan_input_axes", scanned)?;
    let output_axes = list("scan_output_axes", stacked)?;
    let backward = |list: Vec<i64>| list.into_iter().map(|direction| direction != 0).collect();
    let backward_inputs = backward(list("scan_input_directions", scanned)?);
    let backward_outputs = backward(list("scan_output_directions", stacked)?);
    let inputs = definition.inputs.len();
    let scan = Scan { body, states, inputs, input_axes, backward_inputs, output_axes, backward_outputs };
    Ok(Built::new(scan, outputs))
}

/// The entry at `at` of a dimension, without it.
fn slice_of(tensor: &Tensor, axis: usize, at: usize) -> Result<Tensor, Fault> {
    let (before, extent, after) = around(&tensor.shape, axis);
    let places = (0..before).flat_map(|outer| {
        let start = (outer * extent + at) * after;
        start..start + after
    });
    let data = for_any_type!(&tensor.data, elements => elements_at(elements, places))?;
    let mut shape = tensor.shape.clone();
    shape.remove(axis);
    Ok(Tensor { shape, data })
}

/// Equal tensors in a new dimension at `axis`.
pub(super) fn stacked(slices: &[Tensor], along: i64) -> Result<Tensor, Fault> {
    fn interleaved<T: crate::tensor::Element>(
        _type: &[T],
        slices: &[Tensor],
        before: usize,
        width: usize,
    ) -> Result<TensorData, Fault> {
        let parts = slices.iter().map(values::<T>).collect::<Result<Vec<_>, _>>()?;
        let mut out = Vec::with_capacity(parts.len() * before * width);
        for place in 0..before {
            for part in &parts {
                out.extend_from_slice(part.get(place * width..(place + 1) * width).unwrap_or_default());
            }
        }
        Ok(T::wrap(out))
    }
    let first = slices.first().ok_or_else(|| Fault::invalid("nothing to scan"))?;
    if slices.iter().any(|slice| slice.shape != first.shape) {
        return Err(Fault::invalid("the body's outputs differ in shape"));
    }
    let place = axis(along, first.shape.len() + 1)?;
    let mut shape = first.shape.clone();
    shape.insert(place, slices.len());
    checked_count(&shape)?;
    let before: usize = first.shape.iter().take(place).product();
    let width: usize = first.shape.iter().skip(place).product();
    let data = for_any_type!(&first.data, elements => interleaved(elements, slices, before, width)?);
    Ok(Tensor { shape, data })
}

/// A tensor and the axis along which it is cut.
type Scanned<'a> = (&'a Tensor, usize);

impl Scan {
    /// Each scanned input with its axis, and the number of slices.
    fn scanned<'a>(&self, inputs: &[&'a Tensor]) -> Result<(Vec<Scanned<'a>>, usize), Fault> {
        let tensors = inputs.iter().skip(self.states).zip(&self.input_axes);
        let scanned = tensors.map(|(tensor, along)| Ok((*tensor, axis(*along, tensor.shape.len())?)));
        let scanned = scanned.collect::<Result<Vec<_>, Fault>>()?;
        let mut extents = scanned.iter().filter_map(|(tensor, axis)| tensor.shape.get(*axis).copied());
        let steps = extents.next().unwrap_or(0);
        if extents.any(|extent| extent != steps) {
            return Err(Fault::invalid("the scanned inputs differ in length"));
        }
        Ok((scanned, steps))
    }
}

impl Operator for Scan {
    fn evaluate(&self, inputs: Inputs<'_>) -> Result<Vec<Tensor>, Fault> {
        self.evaluate_within(inputs, &Work::default())
    }

    fn cost(&self, inputs: Inputs<'_>) -> u64 {
        inputs.split(self.inputs).0.count()
    }

    fn evaluate_within(&self, inputs: Inputs<'_>, work: &Work) -> Result<Vec<Tensor>, Fault> {
        let (own, around) = inputs.split(self.inputs);
        let tensors = own.tensors()?;
        let (scanned, steps) = self.scanned(&tensors)?;
        check_turns(steps)?;
        let mut state: Vec<Tensor> = tensors.iter().take(self.states).map(|tensor| (*tensor).clone()).collect();
        let mut slices: Vec<Vec<Tensor>> = vec![Vec::with_capacity(steps); self.output_axes.len()];
        for step in 0..steps {
            let mut given = state;
            for ((tensor, axis), backward) in scanned.iter().zip(&self.backward_inputs) {
                given.push(slice_of(tensor, *axis, if *backward { steps - 1 - step } else { step })?);
            }
            let mut made = self.body.run(&given.iter().collect::<Vec<_>>(), around, work)?;
            for (list, slice) in slices.iter_mut().zip(made.split_off(self.states)) {
                list.push(slice);
            }
            state = made;
        }
        for (list, backward) in slices.iter_mut().zip(&self.backward_outputs) {
            if *backward {
                list.reverse();
            }
        }
        let stacks = slices.iter().zip(&self.output_axes).map(|(slices, along)| stacked(slices, *along));
        state.extend(stacks.collect::<Result<Vec<_>, _>>()?);
        Ok(state)
    }
}
