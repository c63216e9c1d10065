use ropewalk_types::ElementType;

use super::number::{INDICES, NUMBERS};
use super::slice::integers;
use super::{Built, Definition, Operator};
use crate::classical::fault::{Fault, checked_count};
use crate::classical::inputs::{Inputs, axis, values};
use crate::tensor::{Element, for_any_type};
use crate::{Tensor, TensorData};

#[derive(Clone, Copy, Debug)]
enum Mode {
    Constant,
    Reflect,
    Edge,
    Wrap,
}

#[derive(Debug)]
struct Pad {
    mode: Mode,
    /// Before version 11 both stand in attributes.
    pads: Option<Vec<i64>>,
    value: Option<f32>,
}

/// `Pad`: elements before and after each dimension, or fewer where a pad is negative. `constant`, `reflect`, `edge`
/// and, from version 19 on, `wrap`.
pub(super) fn pad(definition: &mut Definition<'_>) -> Result<Built, Fault> {
    let mode = match definition.attributes.text("mode")?.as_deref() {
        None | Some("constant") => Mode::Constant,
        Some("reflect") => Mode::Reflect,
        Some("edge") => Mode::Edge,
        Some("wrap") if definition.opset >= 19 => Mode::Wrap,
        Some(other) => return Err(Fault::invalid(format!("mode `{other}`"))),
    };
    if definition.opset < 11 {
        definition.input_count(1, 1)?;
        let output = definition.input_of(0, &[ElementType::Fp32, ElementType::Fp64])?;
        let pads = definition.attributes.ints("pads")?;
        let pads = Some(pads.ok_or_else(|| Fault::invalid("attribute `pads` is missing"))?);
        let value = Some(definition.attributes.float("value")?.unwrap_or(0.0));
        return Ok(Built::new(Pad { mode, pads, value }, vec![output]));
    }
    definition.input_count(2, if definition.opset < 18 { 3 } else { 4 })?;
    let output = definition.input(0)?;
    if !NUMBERS.contains(&output) && definition.opset < 13 {
        return Err(Fault::invalid(format!("{output} before version 13")));
    }
    definition.input_of(1, &[ElementType::Int64])?;
    definition.optional_input(2, output)?;
    if definition.inputs.get(3).is_some_and(Option::is_some) {
        definition.input_of(3, &INDICES)?;
    }
    Ok(Built::new(Pad { mode, pads: None, value: None }, vec![output]))
}

impl Mode {
    /// Where the element at `at` of a padded dimension comes from; none if it is the constant.
    fn source(self, at: i64, extent: i64) -> Option<usize> {
        let place = match self {
            _ if (0..extent).contains(&at) => at,
            Self::Constant => return None,
            Self::Edge => at.clamp(0, extent - 1),
            Self::Wrap => at.rem_euclid(extent.max(1)),
            Self::Reflect => {
                let period = (2 * (extent - 1)).max(1);
                let within = at.rem_euclid(period);
                if within < extent { within } else { period - within }
            }
        };
        usize::try_from(place).ok()
    }
}

impl Pad {
    /// Elements added at the start and at the end of each dimension.
    fn amounts(&self, inputs: Inputs<'_>, rank: usize) -> Result<Vec<(i64, i64)>, Fault> {
        let pads = match (&self.pads, inputs.optional(1)) {
            (Some(pads), _) => pads.clone(),
            (None, Some(tensor)) => values::<i64>(tensor)?.to_vec(),
            (None, None) => return Err(Fault::invalid("`pads` is missing")),
        };
        let axes = match inputs.optional(3) {
            Some(tensor) => integers(tensor)?.iter().map(|one| axis(*one, rank)).collect::<Result<Vec<_>, _>>()?,
            None => (0..rank).collect(),
        };
        if pads.len() != 2 * axes.len() {
            return Err(Fault::invalid(format!("{} pads for {} dimensions", pads.len(), axes.len())));
        }
        let (starts, ends) = pads.split_at(axes.len());
        let mut amounts = vec![(0, 0); rank];
        for ((dimension, start), end) in axes.into_iter().zip(starts).zip(ends) {
            if let Some(amount) = amounts.get_mut(dimension) {
                *amount = (*start, *end);
            }
        }
        Ok(amounts)
    }

    fn constant<T: Element>(inputs: Inputs<'_>) -> Result<Option<T>, Fault> {
        let Some(tensor) = inputs.optional(2) else { return Ok(None) };
        match values::<T>(tensor)? {
            [value] => Ok(Some(value.clone())),
            _ => Err(Fault::invalid(format!("a constant of shape {:?}", tensor.shape))),
        }
    }

    /// The places of one padded dimension, counted from the start of the input's.
    fn places(&self, extent: usize, (start, end): (i64, i64)) -> Result<std::ops::Range<i64>, Fault> {
        let extent = i64::try_from(extent).unwrap_or(i64::MAX);
        let (first, stop) = (start.saturating_neg(), extent.saturating_add(end));
        if extent == 0 && stop > first && !matches!(self.mode, Mode::Constant) {
            return Err(Fault::invalid("nothing to pad with in a dimension of extent 0"));
        }
        Ok(first..stop)
    }

    /// Where each element of the output comes from; none where it is the constant.
    fn sources(&self, places: &[std::ops::Range<i64>], shape: &[usize]) -> Vec<Option<usize>> {
        let mut indices = vec![Some(0_usize)];
        for (places, extent) in places.iter().zip(shape) {
            let source = |at: i64| self.mode.source(at, *extent as i64);
            let place = |index: Option<usize>, at: i64| Some(index? * extent + source(at)?);
            let place = &place;
            indices = indices.iter().flat_map(|index| places.clone().map(move |at| place(*index, at))).collect();
        }
        indices
    }
}

/// How many places there are.
fn length(places: &std::ops::Range<i64>) -> usize {
    usize::try_from(places.end.saturating_sub(places.start)).unwrap_or(0)
}

impl Operator for Pad {
    fn evaluate(&self, inputs: Inputs<'_>) -> Result<Vec<Tensor>, Fault> {
        let input = inputs.tensor(0)?;
        let amounts = self.amounts(inputs, input.shape.len())?;
        let dimensions = input.shape.iter().zip(amounts);
        let places = dimensions.map(|(extent, amount)| self.places(*extent, amount)).collect::<Result<Vec<_>, _>>()?;
        let shape: Vec<usize> = places.iter().map(length).collect();
        // Without an element nothing is written out: a dimension may then be of any length.
        let indices = if checked_count(&shape)? == 0 { Vec::new() } else { self.sources(&places, &input.shape) };
        let fallback = super::cast::converted(&vec![self.value.unwrap_or(0.0)].into(), input.element_type());
        let data = for_any_type!(&input.data, elements => {
            let constant = match Self::constant(inputs)? {
                Some(constant) => constant,
                None => default_of(elements, fallback)?,
            };
            picked(elements, &indices, &constant)
        });
        Ok(vec![Tensor { shape, data }])
    }
}

/// The value that stands for "nothing given": zero, false or the empty text.
fn default_of<T: Element>(_type: &[T], zero: Result<TensorData, Fault>) -> Result<T, Fault> {
    let empty = || TensorData::Bytes(vec![bytes::Bytes::new()]);
    let zero = if T::TYPE == ElementType::Bytes { empty() } else { zero? };
    T::slice(&zero).and_then(<[T]>::first).cloned().ok_or_else(|| Fault::invalid("no default value"))
}

/// The elements at `indices`, the constant where there is none.
fn picked<T: Element>(elements: &[T], indices: &[Option<usize>], constant: &T) -> TensorData {
    let pick = |index: &Option<usize>| index.and_then(|index| elements.get(index)).unwrap_or(constant).clone();
    T::wrap(indices.iter().map(pick).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn padded(mode: Mode, input: &Tensor, pads: &[i64]) -> Result<Tensor, Fault> {
        let pads = Tensor { shape: vec![pads.len()], data: pads.to_vec().into() };
        let pad = Pad { mode, pads: None, value: None };
        Ok(pad.evaluate(Inputs(&[Some(input), Some(&pads)]))?.remove(0))
    }

    #[test]
    fn the_places_of_no_elements_are_not_written_out() {
        let none = |shape: [usize; 2]| Tensor::new(shape.to_vec(), Vec::<f32>::new()).unwrap();
        assert_eq!(padded(Mode::Edge, &none([0, 1 << 31]), &[0, 1, 0, 1]).unwrap(), none([0, (1 << 31) + 2]));
        assert_eq!(padded(Mode::Constant, &none([0, 1 << 28]), &[0; 4]).unwrap(), none([0, 1 << 28]));
        assert!(padded(Mode::Constant, &none([0, 1 << 31]), &[1, 0, 0, 0]).is_err());
        assert!(padded(Mode::Edge, &none([0, 2]), &[1, 0, 0, 0]).is_err());
    }

    #[test]
    fn places_before_and_after_come_from_within() {
        let row = || Tensor::new(vec![3], vec![1_i64, 2, 3]).unwrap();
        let of = |mode, pads: [i64; 2]| padded(mode, &row(), &pads).unwrap().data;
        assert_eq!(of(Mode::Constant, [1, 1]), vec![0_i64, 1, 2, 3, 0].into());
        assert_eq!(of(Mode::Reflect, [2, 1]), vec![3_i64, 2, 1, 2, 3, 2].into());
        assert_eq!(of(Mode::Edge, [1, -2]), vec![1_i64, 1].into());
        assert_eq!(of(Mode::Wrap, [-1, 2]), vec![2_i64, 3, 1, 2].into());
    }
}
