//! What a request gives, held against what a model takes.

use ropewalk_types::{Signature, TensorSpec};

use crate::{InferenceError, NamedTensor, Tensor};

/// So many extents of a shape need no memory of their own.
const FEW: usize = 8;

/// The most that the other extents of an input without elements may come to: evaluation walks over them.
const EMPTY_LIMIT: usize = 1 << 31;

/// The given tensors in the order of the signature, none left out.
pub(crate) fn ordered<'a>(signature: &Signature, given: &'a [NamedTensor]) -> Result<Vec<&'a Tensor>, InferenceError> {
    let specs = &signature.inputs;
    let placed = placed(specs, given, TensorSpec::accepts)?;
    placed.into_iter().zip(specs).map(|(tensor, spec)| tensor.ok_or_else(|| missing(spec))).collect()
}

/// The given tensors in the order of `specs`, their shapes checked by `fits`; none where one is left out.
pub(crate) fn placed<'a>(
    specs: &[TensorSpec],
    given: &'a [NamedTensor],
    fits: impl Fn(&TensorSpec, &[i64]) -> bool,
) -> Result<Vec<Option<&'a Tensor>>, InferenceError> {
    let mut placed = vec![None; specs.len()];
    let mut next = 0;
    for named in given {
        let place = place(specs, next, &named.name).ok_or_else(|| unknown(specs, &named.name))?;
        next = place + 1;
        if let (Some(spec), Some(slot)) = (specs.get(place), placed.get_mut(place)) {
            check(spec, &named.tensor, &fits)?;
            if slot.replace(&named.tensor).is_some() {
                return Err(invalid_input(&named.name, "it once".to_owned(), "it twice"));
            }
        }
    }
    Ok(placed)
}

/// The place of an input. Inputs mostly come in the signature's order, so `next` is looked at first.
fn place(specs: &[TensorSpec], next: usize, name: &str) -> Option<usize> {
    let in_order = specs.get(next).is_some_and(|spec| spec.name == name);
    if in_order { Some(next) } else { specs.iter().position(|spec| spec.name == name) }
}

fn unknown(specs: &[TensorSpec], name: &str) -> InferenceError {
    let known = specs.iter().map(|spec| format!("`{}`", spec.name)).collect::<Vec<_>>().join(", ");
    invalid_input(name, format!("one of {known}"), "an input that the model does not have")
}

/// The request left out an input.
pub(crate) fn missing(spec: &TensorSpec) -> InferenceError {
    invalid_input(&spec.name, expected(spec), "nothing")
}

/// The error that an input does not fit.
pub(crate) fn invalid_input(input: &str, expected: String, found: impl Into<String>) -> InferenceError {
    InferenceError::InvalidInput { input: input.to_owned(), expected, found: found.into() }
}

fn expected(spec: &TensorSpec) -> String {
    format!("{}{:?}", spec.datatype, spec.shape)
}

fn check(spec: &TensorSpec, tensor: &Tensor, fits: impl Fn(&TensorSpec, &[i64]) -> bool) -> Result<(), InferenceError> {
    let found = || format!("{}{:?}", tensor.element_type(), tensor.shape);
    let extent = |extent: &usize| i64::try_from(*extent).unwrap_or(i64::MAX);
    let mut few = [0; FEW];
    let many: Vec<i64>;
    let shape = if let Some(few) = few.get_mut(..tensor.shape.len()) {
        few.iter_mut().zip(&tensor.shape).for_each(|(place, one)| *place = extent(one));
        &*few
    } else {
        many = tensor.shape.iter().map(extent).collect();
        &many
    };
    if tensor.element_type() != spec.datatype || !fits(spec, shape) {
        return Err(invalid_input(&spec.name, expected(spec), found()));
    }
    if !tensor.is_consistent() {
        let found = format!("{} with {} elements", found(), tensor.data.len());
        return Err(invalid_input(&spec.name, expected(spec), found));
    }
    if tensor.data.is_empty() {
        let others = tensor.shape.iter().filter(|extent| **extent > 0);
        let others = others.fold(1_usize, |product, extent| product.saturating_mul(*extent));
        if others > EMPTY_LIMIT {
            let expected = format!("other extents than 0 whose product is at most {EMPTY_LIMIT}");
            return Err(invalid_input(&spec.name, expected, found()));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use ropewalk_types::ElementType;

    use super::*;

    fn signature() -> Signature {
        let spec = |name: &str| TensorSpec { name: name.to_owned(), datatype: ElementType::Int64, shape: vec![-1] };
        Signature { inputs: ["a", "b", "c"].map(spec).to_vec(), outputs: Vec::new() }
    }

    fn given(names: &[&str]) -> Vec<NamedTensor> {
        let tensor = |name: &&str| Tensor::new(vec![1], vec![name.len() as i64]).unwrap();
        names.iter().map(|name| NamedTensor::new(*name, tensor(name))).collect()
    }

    #[test]
    fn inputs_find_their_places_in_any_order() {
        for names in [["a", "b", "c"], ["c", "a", "b"], ["b", "c", "a"]] {
            let given = given(&names);
            let found = ordered(&signature(), &given).unwrap();
            for (spec, tensor) in signature().inputs.iter().zip(found) {
                let named = given.iter().find(|named| named.name == spec.name).unwrap();
                assert!(std::ptr::eq(tensor, &raw const named.tensor), "{names:?}");
            }
        }
    }

    #[test]
    fn an_input_without_elements_is_not_endless() {
        let spec = TensorSpec { name: "a".to_owned(), datatype: ElementType::Int64, shape: vec![-1, -1, -1] };
        let signature = Signature { inputs: vec![spec], outputs: Vec::new() };
        let fits = |shape: [usize; 3]| {
            let given = [NamedTensor::new("a", Tensor::new(shape.to_vec(), Vec::<i64>::new()).unwrap())];
            ordered(&signature, &given).map(drop).map_err(|error| error.to_string())
        };
        assert_eq!(fits([0, 1 << 31, 1]), Ok(()));
        for endless in [[1 << 31, 2, 0], [1 << 62, 0, 0], [0, 1 << 62, 1 << 62]] {
            assert!(fits(endless).unwrap_err().contains("at most 2147483648"), "{endless:?}");
        }
    }

    #[test]
    fn only_optional_inputs_may_be_left_out_and_none_given_twice() {
        let inputs = signature().inputs;
        let left_out = given(&["a", "c"]);
        let found = placed(&inputs, &left_out, TensorSpec::accepts).unwrap();
        assert_eq!(found.iter().map(Option::is_some).collect::<Vec<_>>(), [true, false, true]);
        let refused = |names: &[&str]| ordered(&signature(), &given(names)).unwrap_err().to_string();
        assert_eq!(refused(&["a", "c"]), missing(&inputs[1]).to_string());
        assert!(refused(&["a", "b", "b"]).contains("it twice"));
        assert!(refused(&["a", "d"]).contains("one of `a`, `b`, `c`"));
    }
}
