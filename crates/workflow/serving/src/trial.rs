use bytes::Bytes;
use half::{bf16, f16};
use ropewalk_inference::{NamedTensor, Tensor, TensorData};
use ropewalk_types::{ElementType, Signature, TensorSpec};

/// The most elements of an input that is made up.
const ELEMENTS: usize = 1 << 22;

/// Inputs of one row to warm a model up with: zeros (as text `0`), every open extent 1; none if they would be large.
pub(crate) fn made_up(signature: &Signature) -> Option<Vec<NamedTensor>> {
    signature.inputs.iter().map(|spec| Some(NamedTensor::new(spec.name.clone(), zeros(spec)?))).collect()
}

fn zeros(spec: &TensorSpec) -> Option<Tensor> {
    let shape: Vec<usize> = spec.shape.iter().map(|extent| usize::try_from(*extent).unwrap_or(1)).collect();
    let count = shape.iter().try_fold(1_usize, |product, extent| product.checked_mul(*extent))?;
    if count > ELEMENTS {
        return None;
    }
    let data = match spec.datatype {
        ElementType::Bool => TensorData::Bool(vec![false; count]),
        ElementType::Uint8 => TensorData::Uint8(vec![0; count]),
        ElementType::Uint16 => TensorData::Uint16(vec![0; count]),
        ElementType::Uint32 => TensorData::Uint32(vec![0; count]),
        ElementType::Uint64 => TensorData::Uint64(vec![0; count]),
        ElementType::Int8 => TensorData::Int8(vec![0; count]),
        ElementType::Int16 => TensorData::Int16(vec![0; count]),
        ElementType::Int32 => TensorData::Int32(vec![0; count]),
        ElementType::Int64 => TensorData::Int64(vec![0; count]),
        ElementType::Fp16 => TensorData::Fp16(vec![f16::ZERO; count]),
        ElementType::Bf16 => TensorData::Bf16(vec![bf16::ZERO; count]),
        ElementType::Fp32 => TensorData::Fp32(vec![0.0; count]),
        ElementType::Fp64 => TensorData::Fp64(vec![0.0; count]),
        ElementType::Bytes => TensorData::Bytes(vec![Bytes::from_static(b"0"); count]),
    };
    Tensor::new(shape, data).ok()
}

#[cfg(test)]
mod tests {
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
