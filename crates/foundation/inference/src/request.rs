//! What a request gives, held against what a model takes.

use ropewalk_types::{Signature, TensorSpec};

use crate::{InferenceError, NamedTensor, Tensor};

/// The given tensors in the order of the signature.
pub(crate) fn ordered<'a>(signature: &Signature, given: &'a [NamedTensor]) -> Result<Vec<&'a Tensor>, InferenceError> {
    let specs = &signature.inputs;
    let mut ordered = vec![None; specs.len()];
    for named in given {
        let place = specs.iter().position(|spec| spec.name == named.name);
        let (Some(spec), Some(slot)) = (place.and_then(|at| specs.get(at)), place.and_then(|at| ordered.get_mut(at)))
        else {
            let known = specs.iter().map(|spec| format!("`{}`", spec.name)).collect::<Vec<_>>().join(", ");
            let found = "an input that the model does not have";
            return Err(invalid_input(&named.name, format!("one of {known}"), found));
        };
        if slot.replace(check(spec, &named.tensor)?).is_some() {
            return Err(invalid_input(&named.name, "it once".to_owned(), "it twice"));
        }
    }
    let missing = |spec: &TensorSpec| invalid_input(&spec.name, expected(spec), "nothing");
    ordered.into_iter().zip(specs).map(|(tensor, spec)| tensor.ok_or_else(|| missing(spec))).collect()
}

/// The error that an input does not fit.
pub(crate) fn invalid_input(input: &str, expected: String, found: impl Into<String>) -> InferenceError {
    InferenceError::InvalidInput { input: input.to_owned(), expected, found: found.into() }
}

fn expected(spec: &TensorSpec) -> String {
    format!("{}{:?}", spec.datatype, spec.shape)
}

fn check<'a>(spec: &TensorSpec, tensor: &'a Tensor) -> Result<&'a Tensor, InferenceError> {
    let found = || format!("{}{:?}", tensor.element_type(), tensor.shape);
    let extent = |extent: &usize| i64::try_from(*extent).unwrap_or(i64::MAX);
    let shape: Vec<i64> = tensor.shape.iter().map(extent).collect();
    if tensor.element_type() != spec.datatype || !spec.accepts(&shape) {
        return Err(invalid_input(&spec.name, expected(spec), found()));
    }
    if !tensor.is_consistent() {
        let found = format!("{} with {} elements", found(), tensor.data.len());
        return Err(invalid_input(&spec.name, expected(spec), found));
    }
    Ok(tensor)
}
