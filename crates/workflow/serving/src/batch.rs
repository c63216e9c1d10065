//! Requests joined along the first dimension, and answers split again.

use std::ops::Range;

use ropewalk_inference::{NamedTensor, Tensor, TensorData};
use ropewalk_types::{Signature, TensorSpec};

macro_rules! each_type {
    ($apply:ident) => {
        $apply!(Bool, Uint8, Uint16, Uint32, Uint64, Int8, Int16, Int32, Int64, Fp16, Bf16, Fp32, Fp64, Bytes)
    };
}

/// Which requests of a model can be joined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Joins {
    /// None: an input or output has no open first dimension.
    Never,
    /// Those whose inputs agree in all other extents.
    SameShapes,
    /// Any two: no other extent is open.
    Always,
}

impl Joins {
    pub(crate) fn of(signature: &Signature) -> Self {
        let open = |spec: &TensorSpec| spec.shape.first() == Some(&-1);
        if signature.inputs.is_empty() || !signature.inputs.iter().chain(&signature.outputs).all(open) {
            return Self::Never;
        }
        let others_fixed = |spec: &TensorSpec| spec.shape.iter().skip(1).all(|extent| *extent >= 0);
        if signature.inputs.iter().all(others_fixed) { Self::Always } else { Self::SameShapes }
    }

    /// Whether two requests, each checked against the signature, can be joined.
    pub(crate) fn fit(self, one: &[NamedTensor], other: &[NamedTensor]) -> bool {
        match self {
            Self::Never => false,
            Self::Always => true,
            Self::SameShapes => one.iter().all(|input| {
                let same = |candidate: &&NamedTensor| candidate.name == input.name;
                other.iter().find(same).is_some_and(|found| found.tensor.shape.get(1..) == input.tensor.shape.get(1..))
            }),
        }
    }
}

/// Whether all inputs have as many rows as the first, and some.
pub(crate) fn has_rows(inputs: &[NamedTensor], rows: usize) -> bool {
    rows > 0 && inputs.iter().all(|input| input.tensor.shape.first() == Some(&rows))
}

/// One request of all rows, in the signature's order; none if one lacks an input.
pub(crate) fn join(signature: &Signature, requests: &[&[NamedTensor]]) -> Option<Vec<NamedTensor>> {
    let input = |spec: &TensorSpec| {
        let find = |request: &&[NamedTensor]| request.iter().position(|input| input.name == spec.name);
        let found = |request| Some(&request_input(request, find(request)?)?.tensor);
        let parts: Vec<&Tensor> = requests.iter().map(found).collect::<Option<_>>()?;
        Some(NamedTensor::new(spec.name.clone(), join_tensors(&parts)?))
    };
    signature.inputs.iter().map(input).collect()
}

fn request_input<'a>(request: &&'a [NamedTensor], position: usize) -> Option<&'a NamedTensor> {
    request.get(position)
}

fn join_tensors(parts: &[&Tensor]) -> Option<Tensor> {
    let rows = parts.iter().try_fold(0_usize, |sum, part| sum.checked_add(*part.shape.first()?))?;
    let mut shape = parts.first()?.shape.clone();
    *shape.first_mut()? = rows;
    Tensor::new(shape, join_data(parts)?).ok()
}

fn join_data(parts: &[&Tensor]) -> Option<TensorData> {
    let length = parts.iter().map(|part| part.data.len()).sum();
    macro_rules! joined {
        ($($variant:ident),*) => {
            match &parts.first()?.data {
                $(TensorData::$variant(_) => {
                    let mut all = Vec::with_capacity(length);
                    for part in parts {
                        let TensorData::$variant(values) = &part.data else { return None };
                        all.extend_from_slice(values);
                    }
                    Some(TensorData::$variant(all))
                })*
            }
        };
    }
    each_type!(joined)
}

/// The outputs of each request, which had `rows` rows; none if an output's first dimension is not all of them.
pub(crate) fn split(outputs: &[NamedTensor], rows: &[usize]) -> Option<Vec<Vec<NamedTensor>>> {
    let total: usize = rows.iter().sum();
    let mut parts: Vec<Vec<NamedTensor>> = rows.iter().map(|_| Vec::with_capacity(outputs.len())).collect();
    for output in outputs {
        if total == 0 || output.tensor.shape.first() != Some(&total) {
            return None;
        }
        let stride = output.tensor.data.len() / total;
        let mut start = 0;
        for (part, rows) in parts.iter_mut().zip(rows) {
            let mut shape = output.tensor.shape.clone();
            *shape.first_mut()? = *rows;
            let data = slice(&output.tensor.data, start * stride..(start + rows) * stride)?;
            part.push(NamedTensor::new(output.name.clone(), Tensor::new(shape, data).ok()?));
            start += rows;
        }
    }
    Some(parts)
}

fn slice(data: &TensorData, range: Range<usize>) -> Option<TensorData> {
    macro_rules! sliced {
        ($($variant:ident),*) => {
            match data { $(TensorData::$variant(values) => Some(TensorData::$variant(values.get(range)?.to_vec())),)* }
        };
    }
    each_type!(sliced)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use ropewalk_types::ElementType;

    use super::*;

    fn spec(name: &str, shape: &[i64]) -> TensorSpec {
        TensorSpec { name: name.to_owned(), datatype: ElementType::Fp32, shape: shape.to_vec() }
    }

    fn tensor(name: &str, shape: &[usize], first: f32) -> NamedTensor {
        let count: usize = shape.iter().product();
        let values: Vec<f32> = (0..count).map(|at| first + at as f32).collect();
        NamedTensor::new(name, Tensor::new(shape.to_vec(), values).unwrap())
    }

    #[test]
    fn only_models_whose_first_dimensions_are_all_open_are_joined() {
        let signature = |inputs: &[&[i64]], outputs: &[&[i64]]| Signature {
            inputs: inputs.iter().map(|shape| spec("x", shape)).collect(),
            outputs: outputs.iter().map(|shape| spec("y", shape)).collect(),
        };
        assert_eq!(Joins::of(&signature(&[&[-1, 4], &[-1]], &[&[-1]])), Joins::Always);
        assert_eq!(Joins::of(&signature(&[&[-1, -1]], &[&[-1, -1]])), Joins::SameShapes);
        assert_eq!(Joins::of(&signature(&[&[-1, 4]], &[&[1]])), Joins::Never);
        assert_eq!(Joins::of(&signature(&[&[3, 4]], &[&[-1]])), Joins::Never);
        assert_eq!(Joins::of(&signature(&[&[]], &[&[-1]])), Joins::Never);
        assert_eq!(Joins::of(&signature(&[], &[&[-1]])), Joins::Never);
    }

    #[test]
    fn requests_fit_when_all_but_the_rows_agree() {
        let one = [tensor("a", &[2, 3], 0.0), tensor("b", &[2], 0.0)];
        let same = [tensor("b", &[5], 0.0), tensor("a", &[5, 3], 0.0)];
        let other = [tensor("a", &[2, 4], 0.0), tensor("b", &[2], 0.0)];
        assert!(Joins::SameShapes.fit(&one, &same));
        assert!(!Joins::SameShapes.fit(&one, &other));
        assert!(has_rows(&one, 2));
        assert!(!has_rows(&[tensor("a", &[2], 0.0), tensor("b", &[3], 0.0)], 2));
    }

    #[test]
    fn an_answer_of_another_length_is_not_split() {
        assert!(split(&[tensor("y", &[3], 0.0)], &[1, 1]).is_none());
        assert!(split(&[tensor("y", &[], 0.0)], &[1]).is_none());
    }

    proptest! {
        #[test]
        fn what_is_joined_and_split_is_what_it_was(rows in prop::collection::vec(1_usize..5, 1..6), width in 0_usize..4) {
            let signature = Signature { inputs: vec![spec("x", &[-1, -1])], outputs: vec![] };
            let requests: Vec<Vec<NamedTensor>> =
                rows.iter().enumerate().map(|(at, rows)| vec![tensor("x", &[*rows, width], at as f32)]).collect();
            let slices: Vec<&[NamedTensor]> = requests.iter().map(Vec::as_slice).collect();
            let joined = join(&signature, &slices).unwrap();
            prop_assert_eq!(&joined[0].tensor.shape, &vec![rows.iter().sum::<usize>(), width]);
            prop_assert_eq!(split(&joined, &rows).unwrap(), requests);
        }
    }
}
