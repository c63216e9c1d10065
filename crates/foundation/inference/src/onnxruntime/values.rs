//! Tensors to and from ONNX Runtime: inputs are lent to it, outputs copied once.

use std::fmt::Debug;

use bytes::Bytes;
use ort::session::SessionInputValue;
use ort::value::{DynValue, PrimitiveTensorElementType, TensorElementType, TensorRef, ValueType};
use ropewalk_types::ElementType;

use super::fault::failed;
use crate::request::invalid_input;
use crate::tensor::Element;
use crate::{InferenceError, Tensor, TensorData};

pub(super) fn element_type(found: TensorElementType) -> Option<ElementType> {
    Some(match found {
        TensorElementType::Bool => ElementType::Bool,
        TensorElementType::Uint8 => ElementType::Uint8,
        TensorElementType::Uint16 => ElementType::Uint16,
        TensorElementType::Uint32 => ElementType::Uint32,
        TensorElementType::Uint64 => ElementType::Uint64,
        TensorElementType::Int8 => ElementType::Int8,
        TensorElementType::Int16 => ElementType::Int16,
        TensorElementType::Int32 => ElementType::Int32,
        TensorElementType::Int64 => ElementType::Int64,
        TensorElementType::Float16 => ElementType::Fp16,
        TensorElementType::Bfloat16 => ElementType::Bf16,
        TensorElementType::Float32 => ElementType::Fp32,
        TensorElementType::Float64 => ElementType::Fp64,
        TensorElementType::String => ElementType::Bytes,
        _ => return None,
    })
}

fn lent<'a, T: PrimitiveTensorElementType + Element + Debug>(
    shape: &[usize],
    values: &'a [T],
) -> ort::Result<SessionInputValue<'a>> {
    Ok(TensorRef::from_array_view((shape.to_vec(), values))?.into())
}

/// The tensor as an input of a session; only text is copied.
pub(super) fn to_input<'a>(name: &str, tensor: &'a Tensor) -> Result<SessionInputValue<'a>, InferenceError> {
    let shape = &tensor.shape;
    let input = match &tensor.data {
        TensorData::Bool(values) => lent(shape, values),
        TensorData::Uint8(values) => lent(shape, values),
        TensorData::Uint16(values) => lent(shape, values),
        TensorData::Uint32(values) => lent(shape, values),
        TensorData::Uint64(values) => lent(shape, values),
        TensorData::Int8(values) => lent(shape, values),
        TensorData::Int16(values) => lent(shape, values),
        TensorData::Int32(values) => lent(shape, values),
        TensorData::Int64(values) => lent(shape, values),
        TensorData::Fp16(values) => lent(shape, values),
        TensorData::Bf16(values) => lent(shape, values),
        TensorData::Fp32(values) => lent(shape, values),
        TensorData::Fp64(values) => lent(shape, values),
        TensorData::Bytes(values) => {
            let texts = values.iter().map(|one| text(name, one)).collect::<Result<Vec<_>, _>>()?;
            ort::value::Tensor::from_string_array((shape.clone(), texts.as_slice())).map(Into::into)
        }
    };
    input.map_err(|error| failed(&error))
}

/// ONNX Runtime takes text as it is in C: UTF-8 up to the first zero byte.
fn text(name: &str, bytes: &Bytes) -> Result<String, InferenceError> {
    let refused = |found: &str| invalid_input(name, "text in UTF-8 without zero bytes".to_owned(), found);
    let text = std::str::from_utf8(bytes).map_err(|_| refused("bytes that are not UTF-8"))?;
    if text.contains('\0') { Err(refused("a zero byte")) } else { Ok(text.to_owned()) }
}

fn copied<T: PrimitiveTensorElementType + Element>(value: &DynValue) -> ort::Result<TensorData> {
    let (_, values) = value.try_extract_tensor::<T>()?;
    Ok(T::wrap(values.to_vec()))
}

/// An output of a session, copied.
pub(super) fn from_output(name: &str, value: &DynValue) -> Result<Tensor, InferenceError> {
    let ValueType::Tensor { ty, shape, .. } = value.dtype() else {
        return Err(failed(&format!("output `{name}` is no tensor")));
    };
    let data = match element_type(*ty) {
        Some(ElementType::Bool) => copied::<bool>(value),
        Some(ElementType::Uint8) => copied::<u8>(value),
        Some(ElementType::Uint16) => copied::<u16>(value),
        Some(ElementType::Uint32) => copied::<u32>(value),
        Some(ElementType::Uint64) => copied::<u64>(value),
        Some(ElementType::Int8) => copied::<i8>(value),
        Some(ElementType::Int16) => copied::<i16>(value),
        Some(ElementType::Int32) => copied::<i32>(value),
        Some(ElementType::Int64) => copied::<i64>(value),
        Some(ElementType::Fp16) => copied::<half::f16>(value),
        Some(ElementType::Bf16) => copied::<half::bf16>(value),
        Some(ElementType::Fp32) => copied::<f32>(value),
        Some(ElementType::Fp64) => copied::<f64>(value),
        Some(ElementType::Bytes) => {
            value.try_extract_strings().map(|(_, texts)| texts.into_iter().map(Bytes::from).collect::<Vec<_>>().into())
        }
        None => return Err(failed(&format!("output `{name}` is of type {ty}"))),
    };
    let shape = shape.iter().map(|extent| usize::try_from(*extent).unwrap_or_default()).collect();
    Tensor::new(shape, data.map_err(|error| failed(&error))?)
}
