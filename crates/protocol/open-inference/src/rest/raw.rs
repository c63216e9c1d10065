use bytes::Bytes;
use ropewalk_inference::{NamedTensor, Tensor, TensorData};
use ropewalk_types::{ElementType, Signature, TensorSpec};

use crate::ProtocolError;
use crate::codec::decode_binary;

/// Reads a body that is nothing but the elements of the model's one input (Triton's raw binary request): a client can
/// send a file as it is. At most one extent is found from the number of bytes; before others that are open, the first
/// is 1. A body for an input of type BYTES is its one element, without a length before it.
pub(super) fn read(body: &[u8], signature: &Signature) -> Result<NamedTensor, ProtocolError> {
    let refuse = |problem: String| ProtocolError::Malformed { problem };
    let [spec] = signature.inputs.as_slice() else {
        let inputs = signature.inputs.len();
        return Err(refuse(format!("a raw binary request is for a model with one input, this one has {inputs}")));
    };
    let Some(size) = spec.datatype.size() else {
        return one_element(body, spec);
    };
    let shape = shape(spec, body.len(), size).ok_or_else(|| {
        let wanted = format!("{}{:?}", spec.datatype, spec.shape);
        refuse(format!(
            "a raw binary request of {} bytes does not tell the shape of `{}`, {wanted}",
            body.len(),
            spec.name
        ))
    })?;
    decode_binary(spec.datatype, &shape, body)
        .map(|tensor| NamedTensor::new(spec.name.as_str(), tensor))
        .map_err(|problem| ProtocolError::Input { input: spec.name.clone(), problem })
}

fn one_element(body: &[u8], spec: &TensorSpec) -> Result<NamedTensor, ProtocolError> {
    if spec.datatype != ElementType::Bytes || spec.shape.iter().any(|extent| !matches!(extent, -1 | 1)) {
        let problem = format!("a raw binary request is one element, `{}` takes {:?}", spec.name, spec.shape);
        return Err(ProtocolError::Malformed { problem });
    }
    let data = TensorData::Bytes(vec![Bytes::copy_from_slice(body)]);
    Ok(NamedTensor::new(spec.name.as_str(), Tensor { shape: vec![1; spec.shape.len()], data }))
}

/// The shape of so many bytes, if there is one.
fn shape(spec: &TensorSpec, bytes: usize, size: usize) -> Option<Vec<i64>> {
    let mut shape = spec.shape.clone();
    let open = shape.iter().filter(|extent| **extent < 0).count();
    if open > 1 {
        let first = shape.first_mut().filter(|extent| **extent < 0)?;
        *first = 1;
    }
    let mut known = shape.iter().filter(|extent| **extent >= 0);
    let known = known.try_fold(size, |product, extent| product.checked_mul(usize::try_from(*extent).ok()?))?;
    let mut open = shape.iter_mut().filter(|extent| **extent < 0);
    match (open.next(), open.next()) {
        (Some(extent), None) if known > 0 && bytes.is_multiple_of(known) => {
            *extent = i64::try_from(bytes / known).ok()?;
            Some(shape)
        }
        (None, _) => Some(shape),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signature(datatype: ElementType, shape: &[i64]) -> Signature {
        let inputs = vec![TensorSpec { name: "x".into(), datatype, shape: shape.to_vec() }];
        Signature { inputs, outputs: Vec::new() }
    }

    fn shape_of(shape: &[i64], bytes: usize) -> Option<Vec<usize>> {
        read(&vec![0; bytes], &signature(ElementType::Fp32, shape)).ok().map(|input| input.tensor.shape)
    }

    #[test]
    fn the_shape_is_found_from_the_bytes() {
        assert_eq!(shape_of(&[-1, 4], 16), Some(vec![1, 4]));
        assert_eq!(shape_of(&[-1, 4], 48), Some(vec![3, 4]));
        assert_eq!(shape_of(&[-1, -1], 12), Some(vec![1, 3]));
        assert_eq!(shape_of(&[2, 2], 16), Some(vec![2, 2]));
        for (shape, bytes) in [(&[-1, 4][..], 15), (&[2, 2], 12), (&[-1, -1, -1], 12), (&[3, -1, -1], 12)] {
            assert_eq!(shape_of(shape, bytes), None, "{shape:?}");
        }
    }

    #[test]
    fn a_text_is_one_element() {
        let text = |shape: &[i64]| read(b"a text", &signature(ElementType::Bytes, shape));
        let tensor = text(&[-1, 1]).unwrap().tensor;
        assert_eq!((tensor.shape, tensor.data), (vec![1, 1], TensorData::Bytes(vec!["a text".into()])));
        assert!(text(&[-1, 2]).is_err());
        assert!(read(b"", &Signature { inputs: Vec::new(), outputs: Vec::new() }).is_err());
    }
}
