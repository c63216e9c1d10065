//! Values in JSON as the tensors of a signature.

use bytes::Bytes;
use half::{bf16, f16};
use ropewalk_types::{ElementType, Signature, TensorSpec};
use serde_json::Value;

use super::Values;
use crate::request::invalid_input;
use crate::tensor::Element;
use crate::{InferenceError, NamedTensor, Tensor, TensorData};

pub(super) fn tensors(values: &Values, signature: &Signature) -> Result<Vec<NamedTensor>, InferenceError> {
    let specs = signature.inputs.as_slice();
    match values {
        Values::Columns(columns) => of_columns(columns, specs),
        Values::Array(array) => of_array(array, specs),
        Values::Named(named) => {
            let find = |spec: &TensorSpec| match named.as_slice() {
                [(_, only)] if specs.len() == 1 => Ok(only),
                _ => {
                    named.iter().find(|(name, _)| *name == spec.name).map(|(_, value)| value).ok_or_else(|| lacks(spec))
                }
            };
            specs.iter().map(|spec| nested(spec, find(spec)?)).collect()
        }
    }
}

fn lacks(spec: &TensorSpec) -> InferenceError {
    invalid_input(&spec.name, spec.to_string(), "nothing in the model's example")
}

/// Columns are inputs of their name, or in order, or together the one input of the model.
fn of_columns(columns: &[(String, Vec<Value>)], specs: &[TensorSpec]) -> Result<Vec<NamedTensor>, InferenceError> {
    let by_name = |spec: &TensorSpec| columns.iter().find(|(name, _)| *name == spec.name).map(|(_, values)| values);
    if specs.iter().all(|spec| by_name(spec).is_some()) {
        let each = specs.iter().map(|spec| column(spec, by_name(spec).ok_or_else(|| lacks(spec))?));
        return each.collect();
    }
    match specs {
        [spec] if spec.shape.len() == 2 => {
            let rows = columns.first().map_or(0, |(_, values)| values.len());
            let cell = |row: usize| columns.iter().filter_map(move |(_, values)| values.get(row));
            let elements: Vec<&Value> = (0..rows).flat_map(cell).collect();
            tensor(spec, vec![rows, columns.len()], &elements).map(|one| vec![one])
        }
        _ if specs.len() == columns.len() => {
            specs.iter().zip(columns).map(|(spec, (_, values))| column(spec, values)).collect()
        }
        _ => Err(invalid_input(
            specs.first().map_or("", |spec| &spec.name),
            "an example with the model's inputs".to_owned(),
            format!("columns {:?}", columns.iter().map(|(name, _)| name).collect::<Vec<_>>()),
        )),
    }
}

fn column(spec: &TensorSpec, values: &[Value]) -> Result<NamedTensor, InferenceError> {
    let shape = if spec.shape.len() == 2 { vec![values.len(), 1] } else { vec![values.len()] };
    tensor(spec, shape, &values.iter().collect::<Vec<_>>())
}

/// An array is the one input, or its columns are the inputs in order.
fn of_array(array: &Value, specs: &[TensorSpec]) -> Result<Vec<NamedTensor>, InferenceError> {
    if let [spec] = specs {
        return nested(spec, array).map(|one| vec![one]);
    }
    let rows = array.as_array().map(Vec::as_slice).unwrap_or_default();
    let each = specs.iter().enumerate().map(|(place, spec)| {
        let cells = rows.iter().map(|row| row.get(place).cloned().ok_or_else(|| lacks(spec)));
        column(spec, &cells.collect::<Result<Vec<_>, _>>()?)
    });
    each.collect()
}

fn nested(spec: &TensorSpec, value: &Value) -> Result<NamedTensor, InferenceError> {
    let shape = extents(value);
    let mut elements = Vec::new();
    flatten(value, &mut elements);
    tensor(spec, shape, &elements)
}

/// The extents of a nested array, as its first elements show them.
pub(crate) fn extents(value: &Value) -> Vec<usize> {
    let mut shape = Vec::new();
    let mut at = Some(value);
    while let Some(Value::Array(values)) = at {
        shape.push(values.len());
        at = values.first();
    }
    shape
}

/// The elements of a nested array, in order.
pub(crate) fn flatten<'a>(value: &'a Value, out: &mut Vec<&'a Value>) {
    match value {
        Value::Array(values) => values.iter().for_each(|value| flatten(value, out)),
        other => out.push(other),
    }
}

fn tensor(spec: &TensorSpec, mut shape: Vec<usize>, values: &[&Value]) -> Result<NamedTensor, InferenceError> {
    // One row may stand there without its batch.
    if shape.len() + 1 == spec.shape.len() {
        shape.insert(0, 1);
    }
    let data = elements(spec.datatype, values)
        .ok_or_else(|| invalid_input(&spec.name, spec.to_string(), "another type in the model's example"))?;
    let tensor = Tensor::new(shape, data)
        .map_err(|error| invalid_input(&spec.name, spec.to_string(), format!("{error} in the model's example")))?;
    Ok(NamedTensor::new(&*spec.name, tensor))
}

fn all<T: Element>(values: &[&Value], each: impl Fn(&Value) -> Option<T>) -> Option<TensorData> {
    values.iter().map(|value| each(value)).collect::<Option<Vec<T>>>().map(T::wrap)
}

/// A missing number is NaN, as MLflow writes it.
fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Null => Some(f64::NAN),
        Value::Bool(flag) => Some(f64::from(u8::from(*flag))),
        other => other.as_f64(),
    }
}

fn integer<T: TryFrom<i64>>(value: &Value) -> Option<T> {
    let whole = |number: f64| (number.fract() == 0.0 && number.abs() < 9e15).then_some(number as i64);
    T::try_from(value.as_i64().or_else(|| value.as_f64().and_then(whole))?).ok()
}

fn text(value: &Value) -> Option<Bytes> {
    match value {
        Value::String(text) => Some(Bytes::from(text.clone())),
        Value::Number(number) => Some(Bytes::from(number.to_string())),
        _ => None,
    }
}

/// The values as elements of a type; none if one is of another kind.
pub(crate) fn elements(datatype: ElementType, values: &[&Value]) -> Option<TensorData> {
    match datatype {
        ElementType::Bool => all(values, |value| value.as_bool().or_else(|| integer::<i64>(value).map(|one| one != 0))),
        ElementType::Uint8 => all(values, integer::<u8>),
        ElementType::Uint16 => all(values, integer::<u16>),
        ElementType::Uint32 => all(values, integer::<u32>),
        ElementType::Uint64 => all(values, |value| value.as_u64().or_else(|| integer::<u64>(value))),
        ElementType::Int8 => all(values, integer::<i8>),
        ElementType::Int16 => all(values, integer::<i16>),
        ElementType::Int32 => all(values, integer::<i32>),
        ElementType::Int64 => all(values, integer::<i64>),
        ElementType::Fp16 => all(values, |value| number(value).map(f16::from_f64)),
        ElementType::Bf16 => all(values, |value| number(value).map(bf16::from_f64)),
        ElementType::Fp32 => all(values, |value| number(value).map(|number| number as f32)),
        ElementType::Fp64 => all(values, number),
        ElementType::Bytes => all(values, text),
    }
}
