//! Elements put at indices: `ScatterElements` (once `Scatter`), `ScatterND`.

use ropewalk_types::ElementType;

use super::gather::{element_places, slice_starts};
use super::number::{INDICES, NUMBERS, Number, for_any_number};
use super::{Built, Definition, Operator};
use crate::classical::fault::Fault;
use crate::classical::inputs::{Inputs, axis, values};
use crate::tensor::{Element, for_any_type};
use crate::{Tensor, TensorData};

/// What happens where an update meets a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reduction {
    Replace,
    Add,
    Mul,
    Max,
    Min,
}

impl Reduction {
    fn read(definition: &mut Definition<'_>, of: ElementType) -> Result<Self, Fault> {
        let reduction = match definition.attributes.text("reduction")?.as_deref() {
            None | Some("none") => return Ok(Self::Replace),
            Some("add") => Self::Add,
            Some("mul") => Self::Mul,
            Some("max") => Self::Max,
            Some("min") => Self::Min,
            Some(other) => return Err(Fault::invalid(format!("reduction `{other}`"))),
        };
        if !NUMBERS.contains(&of) {
            return Err(Fault::unsupported(format!("a reduction of {of}")));
        }
        Ok(reduction)
    }

    fn combine<T: Number>(self, old: T, update: T) -> T {
        match self {
            Self::Replace => update,
            Self::Add => old.plus(update),
            Self::Mul => old.times(update),
            Self::Max => {
                if old.is_missing() || old > update {
                    old
                } else {
                    update
                }
            }
            Self::Min => {
                if old.is_missing() || old < update {
                    old
                } else {
                    update
                }
            }
        }
    }

    /// `input` with each update at its place, in order.
    fn scattered(self, input: &Tensor, updates: &Tensor, places: &[usize]) -> Result<TensorData, Fault> {
        if self == Self::Replace {
            return for_any_type!(&input.data, old => put(old, values(updates)?, places, |_, update| update));
        }
        for_any_number!(&input.data, old => {
            put(old, values(updates)?, places, |old, update| self.combine(old, update))
        })
    }
}

fn put<T: Element>(
    old: &[T],
    updates: &[T],
    places: &[usize],
    combine: impl Fn(T, T) -> T,
) -> Result<TensorData, Fault> {
    let mut out = old.to_vec();
    for (update, place) in updates.iter().zip(places) {
        let slot = out.get_mut(*place).ok_or_else(|| Fault::invalid("an element is out of range"))?;
        *slot = combine(slot.clone(), update.clone());
    }
    Ok(T::wrap(out))
}

fn updated_type(definition: &Definition<'_>) -> Result<ElementType, Fault> {
    definition.input_count(3, 3)?;
    let (output, updates) = (definition.input(0)?, definition.input(2)?);
    if updates != output {
        return Err(Fault::invalid(format!("updates of type {updates} for {output}")));
    }
    Ok(output)
}

#[derive(Debug)]
struct ScatterElements {
    axis: i64,
    reduction: Reduction,
}

/// `ScatterElements`: each update goes to its own place, but with the index along `axis`.
pub(super) fn scatter_elements(definition: &mut Definition<'_>) -> Result<Built, Fault> {
    let output = updated_type(definition)?;
    definition.input_of(1, &INDICES)?;
    let reduction = Reduction::read(definition, output)?;
    let axis = definition.attributes.int("axis")?.unwrap_or(0);
    Ok(Built::new(ScatterElements { axis, reduction }, vec![output]))
}

impl Operator for ScatterElements {
    fn evaluate(&self, inputs: Inputs<'_>) -> Result<Vec<Tensor>, Fault> {
        let (input, indices, updates) = (inputs.tensor(0)?, inputs.tensor(1)?, inputs.tensor(2)?);
        if indices.shape != updates.shape {
            return Err(Fault::invalid(format!("indices {:?} for updates {:?}", indices.shape, updates.shape)));
        }
        let places = element_places(&input.shape, indices, axis(self.axis, input.shape.len())?)?;
        let data = self.reduction.scattered(input, updates, &places)?;
        Ok(vec![Tensor { shape: input.shape.clone(), data }])
    }
}

#[derive(Debug)]
struct ScatterNd {
    reduction: Reduction,
}

/// `ScatterND`: each slice of the updates goes where the tuple in the last dimension of the indices points to.
pub(super) fn scatter_nd(definition: &mut Definition<'_>) -> Result<Built, Fault> {
    let output = updated_type(definition)?;
    definition.input_of(1, &[ElementType::Int64])?;
    let reduction = Reduction::read(definition, output)?;
    Ok(Built::new(ScatterNd { reduction }, vec![output]))
}

impl Operator for ScatterNd {
    fn evaluate(&self, inputs: Inputs<'_>) -> Result<Vec<Tensor>, Fault> {
        let (input, indices, updates) = (inputs.tensor(0)?, inputs.tensor(1)?, inputs.tensor(2)?);
        let (starts, width) = slice_starts(&input.shape, indices, 0)?;
        if updates.data.len() != starts.len() * width {
            return Err(Fault::invalid(format!("updates {:?} for indices {:?}", updates.shape, indices.shape)));
        }
        let places: Vec<usize> = starts.into_iter().flat_map(|start| start..start + width).collect();
        let data = self.reduction.scattered(input, updates, &places)?;
        Ok(vec![Tensor { shape: input.shape.clone(), data }])
    }
}
