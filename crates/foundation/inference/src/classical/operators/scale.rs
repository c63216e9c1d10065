//! Column-wise preparation of numbers: `Scaler`, `Normalizer`, `Imputer`, `Binarizer`.

use ropewalk_types::ElementType;

use super::{Built, Definition, Operator};
use crate::classical::fault::Fault;
use crate::classical::inputs::{Inputs, ML_NUMBERS, as_f32, as_f64, rows_and_columns, values};
use crate::tensor::Element;
use crate::{Tensor, TensorData};

/// The entry of a list for each column, or its one entry for all.
fn entry<T: Copy>(list: &[T], column: usize) -> Option<T> {
    if let [one] = list { Some(*one) } else { list.get(column).copied() }
}

fn check_length(list: usize, columns: usize, name: &str) -> Result<(), Fault> {
    if list == 1 || list == columns {
        return Ok(());
    }
    Err(Fault::invalid(format!("{list} values of `{name}` for {columns} columns")))
}

#[derive(Debug)]
struct Scaler {
    offset: Vec<f32>,
    scale: Vec<f32>,
}

/// `Scaler`: (x - offset) * scale for each column, as f32.
pub(super) fn scaler(definition: &mut Definition<'_>) -> Result<Built, Fault> {
    definition.input_count(1, 1)?;
    definition.input_of(0, &ML_NUMBERS)?;
    let offset = definition.attributes.floats("offset")?.unwrap_or_default();
    let scale = definition.attributes.floats("scale")?.unwrap_or_default();
    if offset.is_empty() || scale.is_empty() {
        return Err(Fault::invalid("`offset` or `scale` is missing"));
    }
    Ok(Built::new(Scaler { offset, scale }, vec![ElementType::Fp32]))
}

impl Operator for Scaler {
    fn evaluate(&self, inputs: Inputs<'_>) -> Result<Vec<Tensor>, Fault> {
        let input = inputs.tensor(0)?;
        let (_, columns) = rows_and_columns(&input.shape)?;
        check_length(self.offset.len(), columns, "offset")?;
        check_length(self.scale.len(), columns, "scale")?;
        let factors = (0..columns).map(|column| (entry(&self.offset, column), entry(&self.scale, column)));
        let factors: Vec<(f32, f32)> =
            factors.map(|(offset, scale)| (offset.unwrap_or(0.0), scale.unwrap_or(1.0))).collect();
        let scaled: Vec<f32> = if input.element_type() == ElementType::Fp64 {
            let doubles = as_f64(input)?;
            let cycle = doubles.iter().zip(factors.iter().cycle());
            cycle.map(|(value, (offset, scale))| ((value - f64::from(*offset)) * f64::from(*scale)) as f32).collect()
        } else {
            let singles = as_f32(input)?;
            singles
                .iter()
                .zip(factors.iter().cycle())
                .map(|(value, (offset, scale))| (value - offset) * scale)
                .collect()
        };
        Ok(vec![Tensor { shape: input.shape.clone(), data: scaled.into() }])
    }
}

#[derive(Clone, Copy, Debug)]
enum Normalizer {
    Max,
    L1,
    L2,
}

/// `Normalizer`: each row divided by its largest value, its L1 or its L2 norm; a row of norm 0 stays as it is.
pub(super) fn normalizer(definition: &mut Definition<'_>) -> Result<Built, Fault> {
    definition.input_count(1, 1)?;
    definition.input_of(0, &ML_NUMBERS)?;
    let operator = match definition.attributes.text("norm")?.as_deref() {
        None | Some("MAX") => Normalizer::Max,
        Some("L1") => Normalizer::L1,
        Some("L2") => Normalizer::L2,
        Some(other) => return Err(Fault::invalid(format!("norm `{other}`"))),
    };
    Ok(Built::new(operator, vec![ElementType::Fp32]))
}

impl Normalizer {
    fn normalize(self, row: &mut [f32]) {
        let norm = match self {
            Self::Max => row.iter().copied().fold(f32::MIN, f32::max),
            Self::L1 => row.iter().map(|value| value.abs()).sum(),
            Self::L2 => row.iter().map(|value| value * value).sum::<f32>().sqrt(),
        };
        if norm != 0.0 {
            for value in row {
                *value /= norm;
            }
        }
    }
}

impl Operator for Normalizer {
    fn evaluate(&self, inputs: Inputs<'_>) -> Result<Vec<Tensor>, Fault> {
        let input = inputs.tensor(0)?;
        let (_, columns) = rows_and_columns(&input.shape)?;
        let mut values = as_f32(input)?.into_owned();
        values.chunks_mut(columns.max(1)).for_each(|row| self.normalize(row));
        Ok(vec![Tensor { shape: input.shape.clone(), data: values.into() }])
    }
}

/// What stands for a missing value, and what takes its place.
#[derive(Debug)]
enum Imputer {
    Real { missing: f32, imputed: Vec<f32> },
    Integer { missing: i64, imputed: Vec<i64> },
}

/// `Imputer`: a value in place of each missing one; NaN is equal to NaN here.
pub(super) fn imputer(definition: &mut Definition<'_>) -> Result<Built, Fault> {
    definition.input_count(1, 1)?;
    let input = definition.input_of(0, &ML_NUMBERS)?;
    let attributes = &mut definition.attributes;
    let reals = attributes.floats("imputed_value_floats")?.filter(|values| !values.is_empty());
    let integers = attributes.ints("imputed_value_int64s")?.filter(|values| !values.is_empty());
    let missing_real = attributes.float("replaced_value_float")?.unwrap_or(0.0);
    let missing_integer = attributes.int("replaced_value_int64")?.unwrap_or(0);
    let is_real = matches!(input, ElementType::Fp32 | ElementType::Fp64);
    let operator = match (reals, integers) {
        (Some(imputed), None) if is_real => Imputer::Real { missing: missing_real, imputed },
        (None, Some(imputed)) if !is_real => Imputer::Integer { missing: missing_integer, imputed },
        _ => return Err(Fault::invalid(format!("imputed values do not fit an input of type {input}"))),
    };
    Ok(Built::new(operator, vec![input]))
}

fn imputed<T: Element + Copy + PartialEq>(input: &Tensor, missing: T, list: &[T]) -> Result<Vec<Tensor>, Fault> {
    let (_, columns) = rows_and_columns(&input.shape)?;
    check_length(list.len(), columns, "imputed_value")?;
    #[expect(clippy::eq_op, reason = "only NaN differs from itself, and `T` may be an integer")]
    let is_missing = |value: T| value == missing || (value != value && missing != missing);
    let replace = |(index, value): (usize, &T)| {
        if is_missing(*value) { entry(list, index % columns).unwrap_or(*value) } else { *value }
    };
    let out = values::<T>(input)?.iter().enumerate().map(replace).collect();
    Ok(vec![Tensor { shape: input.shape.clone(), data: T::wrap(out) }])
}

impl Operator for Imputer {
    fn evaluate(&self, inputs: Inputs<'_>) -> Result<Vec<Tensor>, Fault> {
        let input = inputs.tensor(0)?;
        match (self, &input.data) {
            (Self::Real { missing, imputed: list }, TensorData::Fp32(_)) => imputed(input, *missing, list),
            (Self::Real { missing, imputed: list }, _) => {
                let list: Vec<f64> = list.iter().map(|value| f64::from(*value)).collect();
                imputed(input, f64::from(*missing), &list)
            }
            (Self::Integer { missing, imputed: list }, TensorData::Int64(_)) => imputed(input, *missing, list),
            (Self::Integer { missing, imputed: list }, _) => {
                let narrow = |value: i64| {
                    i32::try_from(value).map_err(|_| Fault::invalid(format!("imputed value {value} is no INT32")))
                };
                let list = list.iter().map(|value| narrow(*value)).collect::<Result<Vec<_>, _>>()?;
                imputed(input, narrow(*missing)?, &list)
            }
        }
    }
}

#[derive(Debug)]
struct Binarizer {
    threshold: f32,
}

/// `Binarizer`: 1 above the threshold, else 0.
pub(super) fn binarizer(definition: &mut Definition<'_>) -> Result<Built, Fault> {
    definition.input_count(1, 1)?;
    let output = definition.input_of(0, &ML_NUMBERS)?;
    let threshold = definition.attributes.float("threshold")?.unwrap_or(0.0);
    Ok(Built::new(Binarizer { threshold }, vec![output]))
}

impl Operator for Binarizer {
    fn evaluate(&self, inputs: Inputs<'_>) -> Result<Vec<Tensor>, Fault> {
        let input = inputs.tensor(0)?;
        let above = as_f64(input)?.iter().map(|value| *value > f64::from(self.threshold)).collect::<Vec<_>>();
        let data: TensorData = match &input.data {
            TensorData::Fp32(_) => above.iter().map(|one| f32::from(u8::from(*one))).collect::<Vec<_>>().into(),
            TensorData::Fp64(_) => above.iter().map(|one| f64::from(*one)).collect::<Vec<_>>().into(),
            TensorData::Int32(_) => above.iter().map(|one| i32::from(*one)).collect::<Vec<_>>().into(),
            _ => above.iter().map(|one| i64::from(*one)).collect::<Vec<_>>().into(),
        };
        Ok(vec![Tensor { shape: input.shape.clone(), data }])
    }
}
