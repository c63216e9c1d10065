//! Reductions along axes: `ReduceSum` and its kin.

use ropewalk_types::ElementType;

use super::broadcast::Broadcast;
use super::layout::Axes;
use super::number::{INTEGERS, NUMBERS, Number, REALS, for_any_number};
use super::{Built, Definition, Operator};
use crate::classical::fault::{Fault, checked_count};
use crate::classical::inputs::{Inputs, values};
use crate::{Tensor, TensorData};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Sum,
    Mean,
    Prod,
    Max,
    Min,
    L1,
    L2,
    SumSquare,
    LogSum,
    LogSumExp,
}

#[derive(Debug)]
struct Reduce {
    kind: Kind,
    axes: Axes,
    keep: bool,
    nothing_without_axes: bool,
}

/// `ReduceSum`, `ReduceMean`, `ReduceProd`, `ReduceMax`, `ReduceMin`, `ReduceL1`, `ReduceL2`, `ReduceSumSquare`,
/// `ReduceLogSum`, `ReduceLogSumExp` along the given axes, or along all.
///
/// Reals are summed as f64; sums of integers wrap. NaN is the largest and the smallest, as the specification's
/// reference has it. `noop_with_empty_axes` returns the input as it is for `ReduceSum`, `ReduceMean`, `ReduceProd`,
/// `ReduceMax` and `ReduceMin`; for the others the reference and onnxruntime differ, so it is refused.
pub(super) fn reduce(definition: &mut Definition<'_>) -> Result<Built, Fault> {
    let kind = match definition.operator {
        "ReduceSum" => Kind::Sum,
        "ReduceMean" => Kind::Mean,
        "ReduceProd" => Kind::Prod,
        "ReduceMax" => Kind::Max,
        "ReduceMin" => Kind::Min,
        "ReduceL1" => Kind::L1,
        "ReduceL2" => Kind::L2,
        "ReduceSumSquare" => Kind::SumSquare,
        "ReduceLogSum" => Kind::LogSum,
        _ => Kind::LogSumExp,
    };
    let is_extreme = matches!(kind, Kind::Max | Kind::Min);
    let output = match definition.input(0)? {
        ElementType::Bool if is_extreme && definition.opset >= 20 => ElementType::Bool,
        _ => definition.input_of(0, &NUMBERS)?,
    };
    if INTEGERS.contains(&output) && matches!(kind, Kind::L2 | Kind::LogSum | Kind::LogSumExp) {
        definition.input_of(0, &REALS)?;
    }
    let first_with_input = if kind == Kind::Sum { 13 } else { 18 };
    let axes = Axes::read_since(definition, false, first_with_input)?;
    let keep = definition.attributes.flag("keepdims", true)?;
    let nothing_without_axes = definition.attributes.flag("noop_with_empty_axes", false)?;
    let passes = is_extreme || matches!(kind, Kind::Sum | Kind::Mean | Kind::Prod);
    if nothing_without_axes && !passes {
        return Err(Fault::unsupported("`noop_with_empty_axes` of this reduction"));
    }
    Ok(Built::new(Reduce { kind, axes, keep, nothing_without_axes }, vec![output]))
}

/// A shape with the given axes at 1 or left out.
pub(super) fn reduced(shape: &[usize], axes: &[usize], keep: bool) -> Vec<usize> {
    let extents = shape.iter().enumerate();
    extents
        .filter_map(|(dimension, extent)| match (axes.contains(&dimension), keep) {
            (false, _) => Some(*extent),
            (true, true) => Some(1),
            (true, false) => None,
        })
        .collect()
}

/// For each element of `shape` in order, the index of its result when `axes` are reduced.
fn targets(shape: &[usize], axes: &[usize]) -> Broadcast {
    let mut strides = vec![0; shape.len()];
    let mut product = 1;
    for (dimension, (stride, extent)) in strides.iter_mut().zip(shape).enumerate().rev() {
        if !axes.contains(&dimension) {
            *stride = product;
            product *= extent;
        }
    }
    Broadcast::with_strides(shape, strides)
}

/// Folds the elements that share a target, in order.
fn fold<T: Copy, A: Copy>(
    elements: &[T],
    shape: &[usize],
    axes: &[usize],
    start: A,
    combine: impl Fn(A, T) -> A,
) -> Result<Vec<A>, Fault> {
    let count = checked_count(&reduced(shape, axes, false))?;
    let kept = shape.len() - axes.len();
    if axes.iter().all(|axis| *axis >= kept) && count > 0 && !elements.is_empty() {
        let lines = elements.chunks(elements.len() / count);
        return Ok(lines.map(|line| line.iter().fold(start, |sum, value| combine(sum, *value))).collect());
    }
    let mut folded = vec![start; count];
    for (value, target) in elements.iter().zip(targets(shape, axes)) {
        if let Some(slot) = folded.get_mut(target) {
            *slot = combine(*slot, *value);
        }
    }
    Ok(folded)
}

fn larger<T: Number>(left: T, right: T) -> T {
    if left.is_missing() || left > right { left } else { right }
}

fn smaller<T: Number>(left: T, right: T) -> T {
    if left.is_missing() || left < right { left } else { right }
}

impl Reduce {
    fn apply<T: Number>(&self, input: &Tensor, elements: &[T], axes: &[usize]) -> Result<Vec<T>, Fault> {
        match self.kind {
            Kind::Max => fold(elements, &input.shape, axes, T::LEAST, larger),
            Kind::Min => fold(elements, &input.shape, axes, T::GREATEST, smaller),
            _ if T::REAL => self.real(input, elements, axes),
            _ => self.integer(input, elements, axes),
        }
    }

    fn real<T: Number>(&self, input: &Tensor, elements: &[T], axes: &[usize]) -> Result<Vec<T>, Fault> {
        let shape = &input.shape;
        let results = match self.kind {
            Kind::Prod => fold(elements, shape, axes, 1.0, |product, value| product * value.to_f64())?,
            Kind::L1 => fold(elements, shape, axes, 0.0, |sum, value| sum + value.to_f64().abs())?,
            Kind::L2 | Kind::SumSquare => {
                fold(elements, shape, axes, 0.0, |sum, value| sum + value.to_f64() * value.to_f64())?
            }
            Kind::LogSumExp => return log_sum_exp(elements, shape, axes),
            _ => fold(elements, shape, axes, 0.0, |sum, value| sum + value.to_f64())?,
        };
        let count = elements.len() as f64 / results.len().max(1) as f64;
        let finish = |result: f64| match self.kind {
            Kind::Mean => result / count,
            Kind::L2 => result.sqrt(),
            Kind::LogSum => result.ln(),
            _ => result,
        };
        Ok(results.into_iter().map(|result| T::from_f64(finish(result))).collect())
    }

    fn integer<T: Number>(&self, input: &Tensor, elements: &[T], axes: &[usize]) -> Result<Vec<T>, Fault> {
        let shape = &input.shape;
        let magnitude = |value: T| if value < T::ZERO { T::ZERO.minus(value) } else { value };
        match self.kind {
            Kind::Prod => fold(elements, shape, axes, T::ONE, T::times),
            Kind::L1 => fold(elements, shape, axes, T::ZERO, |sum, value| sum.plus(magnitude(value))),
            Kind::SumSquare => fold(elements, shape, axes, T::ZERO, |sum, value| sum.plus(value.times(value))),
            Kind::Mean => {
                let sums = fold(elements, shape, axes, T::ZERO, T::plus)?;
                let count = elements.len() / sums.len().max(1);
                let mean = |sum: T| sum.over(T::from_f64(count as f64));
                let means: Option<Vec<T>> = sums.into_iter().map(mean).collect();
                means.ok_or_else(|| Fault::invalid("the mean of no integers"))
            }
            _ => fold(elements, shape, axes, T::ZERO, T::plus),
        }
    }
}

/// ln(Σ eˣ), less the largest value first, so that no exponential overflows.
fn log_sum_exp<T: Number>(elements: &[T], shape: &[usize], axes: &[usize]) -> Result<Vec<T>, Fault> {
    let largest = fold(elements, shape, axes, f64::NEG_INFINITY, |most, value| larger(most, value.to_f64()))?;
    let shifts: Vec<f64> = largest.iter().map(|value| if value.is_finite() { *value } else { 0.0 }).collect();
    let mut sums = vec![0.0; largest.len()];
    for (value, target) in elements.iter().zip(targets(shape, axes)) {
        if let (Some(sum), Some(shift)) = (sums.get_mut(target), shifts.get(target)) {
            *sum += (value.to_f64() - shift).exp();
        }
    }
    Ok(sums.iter().zip(&shifts).map(|(sum, shift)| T::from_f64(sum.ln() + shift)).collect())
}

impl Operator for Reduce {
    fn evaluate(&self, inputs: Inputs<'_>) -> Result<Vec<Tensor>, Fault> {
        let input = inputs.tensor(0)?;
        let rank = input.shape.len();
        let axes = match self.axes.resolve(inputs, rank)?.filter(|axes| !axes.is_empty()) {
            Some(axes) => axes,
            None if self.nothing_without_axes => return Ok(vec![input.clone()]),
            None => (0..rank).collect(),
        };
        let data: TensorData = if input.element_type() == ElementType::Bool {
            let bits: Vec<u8> = values::<bool>(input)?.iter().map(|value| u8::from(*value)).collect();
            self.apply(input, &bits, &axes)?.into_iter().map(|bit| bit != 0).collect::<Vec<_>>().into()
        } else {
            for_any_number!(&input.data, elements => self.apply(input, elements, &axes)?.into())
        };
        Ok(vec![Tensor { shape: reduced(&input.shape, &axes, self.keep), data }])
    }
}
