//! An engine's answer beside the expected one.

use serde_json::Value;

use super::Values;
use super::fill::{elements, flatten};
use crate::tensor::for_any_type;
use crate::{InferenceError, Model, NamedTensor, TensorData};

/// The largest difference of two numbers, relative to the larger of 1 and the expected one.
const TOLERANCE: f64 = 1e-4;

pub(super) fn agree(model: &dyn Model, outputs: &[NamedTensor], expected: &Values) -> Result<(), InferenceError> {
    let disagrees = |output: &str, difference: String| InferenceError::Disagrees {
        engine: model.engine(),
        output: output.to_owned(),
        difference,
    };
    let parts = parts(expected);
    // A single array without a name is the first output: what `predict` gives, before any probabilities.
    for (place, (name, values)) in parts.iter().enumerate() {
        let by_name = outputs.iter().find(|output| name.is_some_and(|name| output.name == name));
        let by_place = || outputs.get(place).filter(|_| parts.len() <= outputs.len());
        let Some(output) = by_name.or_else(by_place) else {
            return Err(disagrees(name.unwrap_or("output"), "the engine does not answer it".to_owned()));
        };
        if let Some(difference) = difference(&output.tensor.data, values) {
            return Err(disagrees(&output.name, difference));
        }
    }
    Ok(())
}

/// The parts of an answer: their names, if they have one, and elements.
fn parts(expected: &Values) -> Vec<(Option<&str>, Vec<&Value>)> {
    let flat = |value| {
        let mut out = Vec::new();
        flatten(value, &mut out);
        out
    };
    match expected {
        Values::Columns(columns) => {
            columns.iter().map(|(name, values)| (Some(name.as_str()), values.iter().collect())).collect()
        }
        Values::Array(array) => vec![(None, flat(array))],
        Values::Named(named) => named.iter().map(|(name, value)| (Some(name.as_str()), flat(value))).collect(),
    }
}

/// How two lists of elements differ; none if they agree.
fn difference(found: &TensorData, expected: &[&Value]) -> Option<String> {
    if found.len() != expected.len() {
        return Some(format!("expected {} elements, found {}", expected.len(), found.len()));
    }
    let Some(expected) = elements(found.element_type(), expected) else {
        return Some(format!("the expected values are no {}", found.element_type()));
    };
    let place = match (found, &expected) {
        (TensorData::Fp64(found), TensorData::Fp64(expected)) => apart(found, expected, |one| *one),
        (TensorData::Fp32(found), TensorData::Fp32(expected)) => apart(found, expected, |one| f64::from(*one)),
        (TensorData::Fp16(found), TensorData::Fp16(expected)) => apart(found, expected, |one| f64::from(*one)),
        (TensorData::Bf16(found), TensorData::Bf16(expected)) => apart(found, expected, |one| f64::from(*one)),
        (found, expected) if found == expected => None,
        (found, expected) => (0..found.len()).find(|place| shown(found, *place) != shown(expected, *place)),
    }?;
    Some(format!("expected {}, found {} at element {place}", shown(&expected, place), shown(found, place)))
}

fn apart<T>(found: &[T], expected: &[T], number: impl Fn(&T) -> f64) -> Option<usize> {
    found.iter().zip(expected).position(|(found, expected)| {
        let (found, expected) = (number(found), number(expected));
        // Infinities have no distance, and NaN has none to itself.
        let same = found.total_cmp(&expected).is_eq() || (found.is_nan() && expected.is_nan());
        // Written so that NaN beside a number is apart.
        !(same || (expected.is_finite() && (found - expected).abs() <= TOLERANCE * expected.abs().max(1.0)))
    })
}

fn shown(data: &TensorData, place: usize) -> String {
    for_any_type!(data, values => values.get(place).map(|value| format!("{value:?}")).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn differ(found: impl Into<TensorData>, expected: &Value) -> Option<String> {
        let mut flat = Vec::new();
        flatten(expected, &mut flat);
        difference(&found.into(), &flat)
    }

    #[test]
    fn numbers_may_differ_a_little_and_labels_not_at_all() {
        assert_eq!(differ(vec![1.0_f32, 20_000.0], &json!([[1.00005, 20_001.0]])), None);
        assert_eq!(differ(vec![0.5_f64], &json!([0.6])).unwrap(), "expected 0.6, found 0.5 at element 0");
        assert_eq!(differ(vec![1_i64, 2], &json!([1.0, 2])), None);
        assert_eq!(differ(vec![1_i64, 2], &json!([1, 3])).unwrap(), "expected 3, found 2 at element 1");
        assert!(differ(vec![bytes::Bytes::from("a")], &json!(["b"])).unwrap().contains("at element 0"));
        assert_eq!(differ(vec![1_i64], &json!([1, 2])).unwrap(), "expected 2 elements, found 1");
        assert_eq!(differ(vec![f32::NAN], &json!([null])), None);
        assert!(differ(vec![f32::NAN], &json!([1.0])).is_some());
        assert_eq!(differ(vec![f32::INFINITY], &json!([1e39])), None);
        assert!(differ(vec![1.0_f32], &json!([1e39])).is_some());
        assert!(differ(vec![1_i64], &json!(["one"])).is_some());
    }
}
