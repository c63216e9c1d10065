//! Requests held against a signature, before an engine outside of the program is asked.

use std::collections::HashMap;

use ropewalk_types::{Signature, TensorSpec};

use crate::{InferenceError, NamedTensor, Tensor};

/// The places of a signature's inputs, by name.
#[derive(Debug)]
pub(crate) struct Places(HashMap<String, usize>);

impl Places {
    pub(crate) fn new(signature: &Signature) -> Self {
        Self(signature.inputs.iter().enumerate().map(|(place, spec)| (spec.name.clone(), place)).collect())
    }

    /// The given tensors in the order of `specs`, each checked by `fits`; none where one is left out.
    pub(crate) fn ordered<'a>(
        &self,
        specs: &[TensorSpec],
        given: &'a [NamedTensor],
        fits: impl Fn(&TensorSpec, &[i64]) -> bool,
    ) -> Result<Vec<Option<&'a Tensor>>, InferenceError> {
        let mut ordered = vec![None; specs.len()];
        for named in given {
            let place = self.0.get(&named.name).copied();
            let (Some(spec), Some(slot)) =
                (place.and_then(|at| specs.get(at)), place.and_then(|at| ordered.get_mut(at)))
            else {
                let known = specs.iter().map(|spec| format!("`{}`", spec.name)).collect::<Vec<_>>().join(", ");
                return Err(invalid(&named.name, format!("one of {known}"), "an input that the model does not have"));
            };
            if slot.replace(check(spec, &named.tensor, &fits)?).is_some() {
                return Err(invalid(&named.name, "it once".to_owned(), "it twice"));
            }
        }
        Ok(ordered)
    }
}

/// The request left out an input.
pub(crate) fn missing(spec: &TensorSpec) -> InferenceError {
    invalid(&spec.name, expected(spec), "nothing")
}

pub(crate) fn invalid(input: &str, expected: String, found: impl Into<String>) -> InferenceError {
    InferenceError::InvalidInput { input: input.to_owned(), expected, found: found.into() }
}

fn expected(spec: &TensorSpec) -> String {
    format!("{}{:?}", spec.datatype, spec.shape)
}

fn check<'a>(
    spec: &TensorSpec,
    tensor: &'a Tensor,
    fits: &impl Fn(&TensorSpec, &[i64]) -> bool,
) -> Result<&'a Tensor, InferenceError> {
    let found = || format!("{}{:?}", tensor.element_type(), tensor.shape);
    let shape: Vec<i64> = tensor.shape.iter().map(|extent| i64::try_from(*extent).unwrap_or(i64::MAX)).collect();
    if tensor.element_type() != spec.datatype || !fits(spec, &shape) {
        return Err(invalid(&spec.name, expected(spec), found()));
    }
    if !tensor.is_consistent() {
        return Err(invalid(&spec.name, expected(spec), format!("{} with {} elements", found(), tensor.data.len())));
    }
    Ok(tensor)
}
