use ropewalk_types::ElementType;

use super::{Built, Definition, Operator};
use crate::Tensor;
use crate::classical::fault::Fault;
use crate::classical::inputs::{Inputs, axis, values};
use crate::tensor::element_count;

#[derive(Debug)]
struct Identity;

/// `Identity`.
pub(super) fn identity(definition: &mut Definition<'_>) -> Result<Built, Fault> {
    definition.input_count(1, 1)?;
    let output = definition.input(0)?;
    Ok(Built::unchanged(Identity, output))
}

impl Operator for Identity {
    fn evaluate(&self, inputs: Inputs<'_>) -> Result<Vec<Tensor>, Fault> {
        Ok(vec![inputs.tensor(0)?.clone()])
    }
}

#[derive(Debug)]
struct Dropout;

/// `Dropout` while nothing is trained: the first output is the input, and the mask keeps all. A request that asks for
/// training is refused.
pub(super) fn dropout(definition: &mut Definition<'_>) -> Result<Built, Fault> {
    definition.input_count(1, if definition.opset < 12 { 1 } else { 3 })?;
    let output = definition.input(0)?;
    definition.attributes.float("ratio")?;
    definition.attributes.int("seed")?;
    if definition.optional_input(2, ElementType::Bool)? || definition.outputs > 1 {
        let mask = if definition.opset < 10 { output } else { ElementType::Bool };
        if mask != ElementType::Bool && definition.outputs > 1 {
            return Err(Fault::unsupported("its mask before version 10"));
        }
        return Ok(Built::new(Dropout, vec![output, mask]));
    }
    Ok(Built::unchanged(Identity, output))
}

impl Operator for Dropout {
    fn evaluate(&self, inputs: Inputs<'_>) -> Result<Vec<Tensor>, Fault> {
        let input = inputs.tensor(0)?;
        if let Some(training) = inputs.optional(2)
            && values::<bool>(training)?.contains(&true)
        {
            return Err(Fault::invalid("it is asked to train"));
        }
        let mask = Tensor { shape: input.shape.clone(), data: vec![true; input.data.len()].into() };
        Ok(vec![input.clone(), mask])
    }
}

/// The same elements under another shape.
fn reshaped(input: &Tensor, shape: Vec<usize>) -> Result<Vec<Tensor>, Fault> {
    if element_count(&shape) != Some(input.data.len()) {
        return Err(Fault::invalid(format!("cannot reshape {:?} to {shape:?}", input.shape)));
    }
    Ok(vec![Tensor { shape, data: input.data.clone() }])
}

#[derive(Debug)]
struct Reshape {
    zero_is_zero: bool,
}

/// `Reshape`: 0 copies the input's extent unless `allowzero`, one -1 takes what is left.
pub(super) fn reshape(definition: &mut Definition<'_>) -> Result<Built, Fault> {
    definition.input_count(2, 2)?;
    let output = definition.input(0)?;
    definition.input_of(1, &[ElementType::Int64])?;
    let zero_is_zero = definition.attributes.flag("allowzero", false)?;
    Ok(Built::new(Reshape { zero_is_zero }, vec![output]))
}

impl Reshape {
    fn shape(&self, from: &[usize], wanted: &[i64]) -> Result<Vec<usize>, Fault> {
        let refused = || Fault::invalid(format!("cannot reshape {from:?} to {wanted:?}"));
        let mut shape = Vec::with_capacity(wanted.len());
        let mut open = None;
        for (dimension, extent) in wanted.iter().enumerate() {
            shape.push(match extent {
                -1 if open.replace(dimension).is_none() => 1,
                0 if !self.zero_is_zero => *from.get(dimension).ok_or_else(refused)?,
                extent => usize::try_from(*extent).map_err(|_| refused())?,
            });
        }
        let elements = element_count(from).ok_or_else(refused)?;
        let others = element_count(&shape).ok_or_else(refused)?;
        if let Some(extent) = open.and_then(|dimension| shape.get_mut(dimension)) {
            *extent = elements.checked_div(others).ok_or_else(refused)?;
        }
        Ok(shape)
    }
}

impl Operator for Reshape {
    fn evaluate(&self, inputs: Inputs<'_>) -> Result<Vec<Tensor>, Fault> {
        let input = inputs.tensor(0)?;
        reshaped(input, self.shape(&input.shape, values(inputs.tensor(1)?)?)?)
    }
}

#[derive(Debug)]
struct Flatten {
    axis: i64,
}

/// `Flatten`: a matrix, cut before `axis`.
pub(super) fn flatten(definition: &mut Definition<'_>) -> Result<Built, Fault> {
    definition.input_count(1, 1)?;
    let output = definition.input(0)?;
    let axis = definition.attributes.int("axis")?.unwrap_or(1);
    Ok(Built::new(Flatten { axis }, vec![output]))
}

impl Operator for Flatten {
    fn evaluate(&self, inputs: Inputs<'_>) -> Result<Vec<Tensor>, Fault> {
        let input = inputs.tensor(0)?;
        let rank = input.shape.len();
        let cut = if self.axis == rank as i64 { rank } else { axis(self.axis, rank)? };
        let (before, after) = input.shape.split_at(cut);
        reshaped(input, vec![before.iter().product(), after.iter().product()])
    }
}

/// Axes from an attribute (before version 13) or from the second input.
#[derive(Debug)]
pub(super) struct Axes(Option<Vec<i64>>);

impl Axes {
    /// `required` refuses a node that gives none.
    pub(super) fn read(definition: &mut Definition<'_>, required: bool) -> Result<Self, Fault> {
        Self::read_since(definition, required, 13)
    }

    /// The same where the input came with another version.
    pub(super) fn read_since(definition: &mut Definition<'_>, required: bool, input_since: i64) -> Result<Self, Fault> {
        let axes = if definition.opset < input_since {
            definition.input_count(1, 1)?;
            definition.attributes.ints("axes")?
        } else {
            definition.input_count(1, 2)?;
            None
        };
        let given = definition.optional_input(1, ElementType::Int64)? || axes.is_some();
        if required && !given {
            return Err(Fault::invalid("no axes are given"));
        }
        Ok(Self(axes))
    }

    /// Each axis once, in order, counted from the start; none if none are given.
    pub(super) fn resolve(&self, inputs: Inputs<'_>, rank: usize) -> Result<Option<Vec<usize>>, Fault> {
        let given: Option<&[i64]> = match inputs.optional(1) {
            Some(tensor) => Some(values(tensor)?),
            None => self.0.as_deref(),
        };
        let Some(given) = given else { return Ok(None) };
        let mut axes = given.iter().map(|one| axis(*one, rank)).collect::<Result<Vec<_>, _>>()?;
        axes.sort_unstable();
        if axes.windows(2).any(|pair| pair.first() == pair.last()) {
            return Err(Fault::invalid(format!("axes {given:?} repeat")));
        }
        Ok(Some(axes))
    }
}

#[derive(Debug)]
struct Squeeze(Axes);

/// `Squeeze`: without the given extents of 1, or without all of them.
pub(super) fn squeeze(definition: &mut Definition<'_>) -> Result<Built, Fault> {
    let output = definition.input(0)?;
    let axes = Axes::read(definition, false)?;
    Ok(Built::new(Squeeze(axes), vec![output]))
}

impl Operator for Squeeze {
    fn evaluate(&self, inputs: Inputs<'_>) -> Result<Vec<Tensor>, Fault> {
        let input = inputs.tensor(0)?;
        let axes = self.0.resolve(inputs, input.shape.len())?;
        let dropped = |dimension: usize, extent: usize| match &axes {
            Some(axes) => axes.contains(&dimension),
            None => extent == 1,
        };
        let kept = input.shape.iter().enumerate().filter(|(dimension, extent)| !dropped(*dimension, **extent));
        reshaped(input, kept.map(|(_, extent)| *extent).collect())
    }
}

#[derive(Debug)]
struct Unsqueeze(Axes);

/// `Unsqueeze`: an extent of 1 at each given axis of the result.
pub(super) fn unsqueeze(definition: &mut Definition<'_>) -> Result<Built, Fault> {
    let output = definition.input(0)?;
    let axes = Axes::read(definition, true)?;
    Ok(Built::new(Unsqueeze(axes), vec![output]))
}

impl Operator for Unsqueeze {
    fn evaluate(&self, inputs: Inputs<'_>) -> Result<Vec<Tensor>, Fault> {
        let input = inputs.tensor(0)?;
        let added = match (inputs.optional(1), &self.0.0) {
            (Some(tensor), _) => tensor.data.len(),
            (None, axes) => axes.as_ref().map_or(0, Vec::len),
        };
        let rank = input.shape.len() + added;
        let axes = self.0.resolve(inputs, rank)?.unwrap_or_default();
        let mut extents = input.shape.iter();
        let extent = |dimension| if axes.contains(&dimension) { Some(1) } else { extents.next().copied() };
        let shape: Option<Vec<usize>> = (0..rank).map(extent).collect();
        reshaped(input, shape.ok_or_else(|| Fault::invalid("axes do not fit"))?)
    }
}

/// The part of the shape from `start` to `end`, counted as in Python.
#[derive(Debug)]
struct Shape {
    start: i64,
    end: Option<i64>,
}

/// `Shape`.
pub(super) fn shape(definition: &mut Definition<'_>) -> Result<Built, Fault> {
    definition.input_count(1, 1)?;
    definition.input(0)?;
    let start = definition.attributes.int("start")?.unwrap_or(0);
    let end = definition.attributes.int("end")?;
    Ok(Built::new(Shape { start, end }, vec![ElementType::Int64]))
}

impl Operator for Shape {
    fn cost(&self, _inputs: Inputs<'_>) -> u64 {
        1
    }

    fn evaluate(&self, inputs: Inputs<'_>) -> Result<Vec<Tensor>, Fault> {
        let shape = &inputs.tensor(0)?.shape;
        let rank = shape.len() as i64;
        let place = |at: i64| (if at < 0 { at.saturating_add(rank) } else { at }).clamp(0, rank) as usize;
        let (start, end) = (place(self.start), place(self.end.unwrap_or(rank)));
        let extents = shape.get(start..end).unwrap_or_default();
        let extents: Vec<i64> = extents.iter().map(|extent| *extent as i64).collect();
        Ok(vec![Tensor { shape: vec![extents.len()], data: extents.into() }])
    }
}

#[derive(Debug)]
struct Size;

/// `Size`: how many elements there are.
pub(super) fn size(definition: &mut Definition<'_>) -> Result<Built, Fault> {
    definition.input_count(1, 1)?;
    definition.input(0)?;
    Ok(Built::new(Size, vec![ElementType::Int64]))
}

impl Operator for Size {
    fn cost(&self, _inputs: Inputs<'_>) -> u64 {
        1
    }

    fn evaluate(&self, inputs: Inputs<'_>) -> Result<Vec<Tensor>, Fault> {
        let count = inputs.tensor(0)?.data.len() as i64;
        Ok(vec![Tensor { shape: Vec::new(), data: vec![count].into() }])
    }
}
