use bytes::Bytes;

use super::{Built, Definition, Operator};
use crate::Tensor;
use crate::classical::fault::Fault;
use crate::classical::inputs::Inputs;

#[derive(Debug)]
struct Constant(Tensor);

/// `Constant`: exactly one of `value`, `value_float(s)`, `value_int(s)`, `value_string(s)`.
pub(super) fn constant(definition: &mut Definition<'_>) -> Result<Built, Fault> {
    definition.input_count(0, 0)?;
    let attributes = &mut definition.attributes;
    let scalar = |data| Tensor { shape: Vec::new(), data };
    let line = |length, data| Tensor { shape: vec![length], data };
    let strings: Option<Vec<Bytes>> = attributes.byte_strings("value_strings")?;
    let given = [
        attributes.tensor("value")?,
        attributes.float("value_float")?.map(|value| scalar(vec![value].into())),
        attributes.int("value_int")?.map(|value| scalar(vec![value].into())),
        attributes.byte_string("value_string")?.map(|value| scalar(vec![value].into())),
        attributes.floats("value_floats")?.map(|values| line(values.len(), values.into())),
        attributes.ints("value_ints")?.map(|values| line(values.len(), values.into())),
        strings.map(|values| line(values.len(), values.into())),
    ];
    let mut given = given.into_iter().flatten();
    match (given.next(), given.next()) {
        (Some(value), None) => {
            let output = value.element_type();
            Ok(Built::new(Constant(value), vec![output]))
        }
        (None, _) => Err(Fault::unsupported("a constant that is neither a tensor, a number nor text")),
        (Some(_), Some(_)) => Err(Fault::invalid("a constant with two values")),
    }
}

impl Operator for Constant {
    fn evaluate(&self, _inputs: Inputs<'_>) -> Result<Vec<Tensor>, Fault> {
        Ok(vec![self.0.clone()])
    }
}
