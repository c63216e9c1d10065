//! The signature of a model that was logged without one, from its example and its answer to it.

use ropewalk_types::{ElementType, TensorSpec};
use serde_json::Value;

use super::folder::{Field, Form};
use crate::NamedTensor;
use crate::example::{Values, extents, flatten};

/// Inputs as the example shows them; none if it mixes types.
pub(super) fn inputs(example: &Values) -> Option<(Form, Vec<Field>)> {
    match example {
        Values::Columns(columns) => {
            let field = |(name, values): &(String, Vec<Value>)| {
                let datatype = common_type(&values.iter().collect::<Vec<_>>())?;
                Some(field(name, Some(name), datatype, vec![-1, 1], column_kind(datatype)))
            };
            Some((Form::Frame, columns.iter().map(field).collect::<Option<_>>()?))
        }
        Values::Array(array) => Some((Form::Array, vec![tensor("input", None, array)?])),
        Values::Named(named) => {
            let fields = named.iter().map(|(name, value)| tensor(name, Some(name), value));
            Some((Form::Named, fields.collect::<Option<_>>()?))
        }
    }
}

fn field(name: &str, key: Option<&str>, datatype: ElementType, shape: Vec<i64>, kind: &str) -> Field {
    let spec = TensorSpec { name: name.to_owned(), datatype, shape };
    Field { spec, key: key.map(str::to_owned), kind: kind.to_owned(), required: true }
}

fn column_kind(datatype: ElementType) -> &'static str {
    if datatype == ElementType::Bytes { "string" } else { "number" }
}

fn tensor(name: &str, key: Option<&str>, value: &Value) -> Option<Field> {
    let mut elements = Vec::new();
    flatten(value, &mut elements);
    let datatype = common_type(&elements)?;
    let shape = extents(value).into_iter().enumerate();
    let shape: Vec<i64> = shape.map(|(axis, extent)| if axis == 0 { -1 } else { extent as i64 }).collect();
    (!shape.is_empty()).then(|| field(name, key, datatype, shape, "object"))
}

fn common_type(values: &[&Value]) -> Option<ElementType> {
    let of = |value: &Value| match value {
        Value::Bool(_) => Some(ElementType::Bool),
        Value::Number(number) if number.is_i64() => Some(ElementType::Int64),
        Value::Number(_) | Value::Null => Some(ElementType::Fp64),
        Value::String(_) => Some(ElementType::Bytes),
        _ => None,
    };
    let mut common = None;
    for value in values {
        common = match (common, of(value)?) {
            (None, found) => Some(found),
            (Some(before), found) if before == found => Some(found),
            (Some(ElementType::Int64 | ElementType::Fp64), ElementType::Int64 | ElementType::Fp64) => {
                Some(ElementType::Fp64)
            }
            _ => return None,
        };
    }
    common
}

/// Outputs as an answer to `rows` rows shows them.
pub(super) fn outputs(answer: &[NamedTensor], rows: Option<usize>) -> Vec<Field> {
    let each = answer.iter().map(|named| {
        let extents = named.tensor.shape.iter().enumerate();
        let open = |axis, extent| axis == 0 && Some(extent) == rows;
        let shape = extents.map(|(axis, extent)| if open(axis, *extent) { -1 } else { *extent as i64 }).collect();
        field(&named.name, Some(&named.name), named.tensor.element_type(), shape, "")
    });
    each.collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::Tensor;

    #[test]
    fn types_are_those_of_the_example() {
        let column = |name: &str, values: Vec<Value>| (name.to_owned(), values);
        let columns = vec![
            column("a", vec![json!(1), json!(2.5)]),
            column("b", vec![json!("x"), json!("y")]),
            column("c", vec![json!(1), json!(2)]),
        ];
        let (form, fields) = inputs(&Values::Columns(columns)).unwrap();
        let shown: Vec<String> = fields.iter().map(|field| field.spec.to_string()).collect();
        assert_eq!((form, shown.join("; ")), (Form::Frame, "a: FP64[-1, 1]; b: BYTES[-1, 1]; c: INT64[-1, 1]".into()));
        let (form, fields) = inputs(&Values::Array(json!([[1.5, 2.0]]))).unwrap();
        assert_eq!((form, fields[0].spec.to_string()), (Form::Array, "input: FP64[-1, 2]".into()));
        assert!(inputs(&Values::Array(json!([[1.5, "x"]]))).is_none());
    }

    #[test]
    fn outputs_follow_the_batch() {
        let answer = [NamedTensor::new("y", Tensor::new(vec![2, 3], vec![0_f32; 6]).unwrap())];
        assert_eq!(outputs(&answer, Some(2))[0].spec.to_string(), "y: FP32[-1, 3]");
        assert_eq!(outputs(&answer, Some(4))[0].spec.to_string(), "y: FP32[2, 3]");
    }
}
