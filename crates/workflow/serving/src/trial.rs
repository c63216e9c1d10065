use ropewalk_inference::{NamedTensor, Tensor};
use ropewalk_types::{Signature, TensorSpec};

/// The most elements of an input that is made up.
const ELEMENTS: usize = 1 << 22;

/// Inputs of one row to warm a model up with: zeros (as text `0`), every open extent 1; none if they would be large.
pub(crate) fn made_up(signature: &Signature) -> Option<Vec<NamedTensor>> {
    signature.inputs.iter().map(|spec| Some(NamedTensor::new(spec.name.clone(), zeros(spec)?))).collect()
}

fn zeros(spec: &TensorSpec) -> Option<Tensor> {
    Tensor::zeros(spec.datatype, &spec.shape, 1, ELEMENTS)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use ropewalk_types::ElementType;

    use super::*;

    fn spec(datatype: ElementType, shape: &[i64]) -> TensorSpec {
        TensorSpec { name: "x".to_owned(), datatype, shape: shape.to_vec() }
    }

    #[test]
    fn open_extents_are_one() {
        let made = zeros(&spec(ElementType::Bytes, &[-1, 2])).unwrap();
        assert_eq!((made.shape, made.data), (vec![1, 2], vec![Bytes::from_static(b"0"); 2].into()));
    }

    #[test]
    fn nothing_large_is_made_up() {
        assert!(zeros(&spec(ElementType::Bool, &[-1, 1 << 30])).is_none());
        assert!(zeros(&spec(ElementType::Bool, &[i64::MAX, i64::MAX])).is_none());
    }
}
