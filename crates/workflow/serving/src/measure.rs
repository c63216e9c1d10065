use ropewalk_inference::{NamedTensor, Tensor, TensorData};

/// What an element of text or bytes takes beside its content.
const BYTES_HEAD: usize = size_of::<bytes::Bytes>();

/// Bytes that tensors hold in memory.
pub(crate) fn tensor_bytes(tensors: &[NamedTensor]) -> u64 {
    tensors.iter().map(|named| data_bytes(&named.tensor.data) as u64).sum()
}

fn data_bytes(data: &TensorData) -> usize {
    match data {
        TensorData::Bytes(values) => values.iter().map(|value| BYTES_HEAD + value.len()).sum(),
        other => other.len() * other.element_type().size().unwrap_or(1),
    }
}

/// The first dimension is the batch; a scalar is one row.
pub(crate) fn rows(inputs: &[NamedTensor]) -> usize {
    inputs.first().map_or(0, |input| input.tensor.shape.first().copied().unwrap_or(1))
}

/// Whether shape and data agree: the fields are public, so a caller can make them differ.
pub(crate) fn is_consistent(tensor: &Tensor) -> bool {
    let count = tensor.shape.iter().try_fold(1_usize, |product, extent| product.checked_mul(*extent));
    count == Some(tensor.data.len())
}
