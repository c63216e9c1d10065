use bytes::Bytes;
use half::{bf16, f16};
use ropewalk_types::ElementType;

use super::{DataType, TensorProto};
use crate::tensor::element_count;
use crate::{InferenceError, Tensor, TensorData};

/// The element type that an ONNX type is called here; none if we do not know the type (complex, 8-bit floats…).
pub fn element_type_of(data_type: i32) -> Option<ElementType> {
    Some(match DataType::try_from(data_type).ok()? {
        DataType::Float => ElementType::Fp32,
        DataType::Uint8 => ElementType::Uint8,
        DataType::Int8 => ElementType::Int8,
        DataType::Uint16 => ElementType::Uint16,
        DataType::Int16 => ElementType::Int16,
        DataType::Int32 => ElementType::Int32,
        DataType::Int64 => ElementType::Int64,
        DataType::String => ElementType::Bytes,
        DataType::Bool => ElementType::Bool,
        DataType::Float16 => ElementType::Fp16,
        DataType::Bfloat16 => ElementType::Bf16,
        DataType::Double => ElementType::Fp64,
        DataType::Uint32 => ElementType::Uint32,
        DataType::Uint64 => ElementType::Uint64,
        DataType::Undefined | DataType::Complex64 | DataType::Complex128 => return None,
    })
}

/// The ONNX name of an element type.
pub fn onnx_type_of(element_type: ElementType) -> DataType {
    match element_type {
        ElementType::Bool => DataType::Bool,
        ElementType::Uint8 => DataType::Uint8,
        ElementType::Uint16 => DataType::Uint16,
        ElementType::Uint32 => DataType::Uint32,
        ElementType::Uint64 => DataType::Uint64,
        ElementType::Int8 => DataType::Int8,
        ElementType::Int16 => DataType::Int16,
        ElementType::Int32 => DataType::Int32,
        ElementType::Int64 => DataType::Int64,
        ElementType::Fp16 => DataType::Float16,
        ElementType::Bf16 => DataType::Bfloat16,
        ElementType::Fp32 => DataType::Float,
        ElementType::Fp64 => DataType::Double,
        ElementType::Bytes => DataType::String,
    }
}

/// Reads a constant; its elements stand either in `raw_data` or in the field of their type.
///
/// # Errors
/// [`InferenceError::InvalidGraph`] if the type is unknown, the data lies in another file, or shape and data differ.
pub fn tensor_from_proto(proto: &TensorProto) -> Result<Tensor, InferenceError> {
    let place = || format!("tensor `{}`", proto.name);
    let invalid = |reason: String| InferenceError::InvalidGraph { place: place(), reason };
    let element_type = element_type_of(proto.data_type)
        .ok_or_else(|| invalid(format!("data type {} is not supported", proto.data_type)))?;
    if proto.data_location != 0 {
        return Err(invalid("its data lies in another file: save the model as one file".into()));
    }
    let shape = proto
        .dims
        .iter()
        .map(|extent| usize::try_from(*extent))
        .collect::<Result<Vec<_>, _>>()
        .map_err(|_| invalid(format!("negative extent in {:?}", proto.dims)))?;
    let data = elements(proto, element_type).ok_or_else(|| {
        invalid(format!("its elements are not whole {element_type} values, or stand in the wrong field"))
    })?;
    if element_count(&shape) != Some(data.len()) {
        return Err(invalid(format!("shape {shape:?} with {} elements", data.len())));
    }
    Ok(Tensor { shape, data })
}

fn elements(proto: &TensorProto, element_type: ElementType) -> Option<TensorData> {
    if !proto.raw_data.is_empty() {
        return raw_elements(&proto.raw_data, element_type);
    }
    Some(match element_type {
        ElementType::Fp32 => proto.float_data.clone().into(),
        ElementType::Fp64 => proto.double_data.clone().into(),
        ElementType::Int64 => proto.int64_data.clone().into(),
        ElementType::Uint64 => proto.uint64_data.clone().into(),
        ElementType::Uint32 => narrowed::<u64, u32>(&proto.uint64_data)?.into(),
        ElementType::Int32 => proto.int32_data.clone().into(),
        ElementType::Int16 => narrowed::<i32, i16>(&proto.int32_data)?.into(),
        ElementType::Int8 => narrowed::<i32, i8>(&proto.int32_data)?.into(),
        ElementType::Uint16 => narrowed::<i32, u16>(&proto.int32_data)?.into(),
        ElementType::Uint8 => narrowed::<i32, u8>(&proto.int32_data)?.into(),
        ElementType::Fp16 => {
            narrowed::<i32, u16>(&proto.int32_data)?.into_iter().map(f16::from_bits).collect::<Vec<_>>().into()
        }
        ElementType::Bf16 => {
            narrowed::<i32, u16>(&proto.int32_data)?.into_iter().map(bf16::from_bits).collect::<Vec<_>>().into()
        }
        ElementType::Bool => proto.int32_data.iter().map(|value| *value != 0).collect::<Vec<_>>().into(),
        ElementType::Bytes => {
            proto.string_data.iter().map(|value| Bytes::copy_from_slice(value)).collect::<Vec<_>>().into()
        }
    })
}

fn narrowed<Wide: Copy, Narrow: TryFrom<Wide>>(values: &[Wide]) -> Option<Vec<Narrow>> {
    values.iter().map(|value| Narrow::try_from(*value).ok()).collect()
}

fn raw_elements(raw: &[u8], element_type: ElementType) -> Option<TensorData> {
    fn read<const SIZE: usize, T>(raw: &[u8], from: fn([u8; SIZE]) -> T) -> Option<Vec<T>> {
        let (chunks, rest) = raw.as_chunks::<SIZE>();
        rest.is_empty().then(|| chunks.iter().copied().map(from).collect())
    }
    Some(match element_type {
        ElementType::Bool => raw.iter().map(|byte| *byte != 0).collect::<Vec<_>>().into(),
        ElementType::Uint8 => raw.to_vec().into(),
        ElementType::Int8 => read(raw, i8::from_le_bytes)?.into(),
        ElementType::Uint16 => read(raw, u16::from_le_bytes)?.into(),
        ElementType::Int16 => read(raw, i16::from_le_bytes)?.into(),
        ElementType::Fp16 => read(raw, f16::from_le_bytes)?.into(),
        ElementType::Bf16 => read(raw, bf16::from_le_bytes)?.into(),
        ElementType::Uint32 => read(raw, u32::from_le_bytes)?.into(),
        ElementType::Int32 => read(raw, i32::from_le_bytes)?.into(),
        ElementType::Fp32 => read(raw, f32::from_le_bytes)?.into(),
        ElementType::Uint64 => read(raw, u64::from_le_bytes)?.into(),
        ElementType::Int64 => read(raw, i64::from_le_bytes)?.into(),
        ElementType::Fp64 => read(raw, f64::from_le_bytes)?.into(),
        ElementType::Bytes => return None,
    })
}

/// Writes a constant: strings in `string_data`, all else in `raw_data`.
pub fn tensor_to_proto(name: &str, tensor: &Tensor) -> TensorProto {
    let mut proto = TensorProto {
        dims: tensor.shape.iter().map(|extent| *extent as i64).collect(),
        data_type: onnx_type_of(tensor.element_type()) as i32,
        name: name.to_owned(),
        ..TensorProto::default()
    };
    match &tensor.data {
        TensorData::Bytes(values) => proto.string_data = values.iter().map(|value| value.to_vec()).collect(),
        TensorData::Bool(values) => proto.raw_data = values.iter().map(|value| u8::from(*value)).collect(),
        TensorData::Uint8(values) => proto.raw_data.clone_from(values),
        TensorData::Int8(values) => proto.raw_data = little_endian(values, i8::to_le_bytes),
        TensorData::Uint16(values) => proto.raw_data = little_endian(values, u16::to_le_bytes),
        TensorData::Int16(values) => proto.raw_data = little_endian(values, i16::to_le_bytes),
        TensorData::Fp16(values) => proto.raw_data = little_endian(values, f16::to_le_bytes),
        TensorData::Bf16(values) => proto.raw_data = little_endian(values, bf16::to_le_bytes),
        TensorData::Uint32(values) => proto.raw_data = little_endian(values, u32::to_le_bytes),
        TensorData::Int32(values) => proto.raw_data = little_endian(values, i32::to_le_bytes),
        TensorData::Fp32(values) => proto.raw_data = little_endian(values, f32::to_le_bytes),
        TensorData::Uint64(values) => proto.raw_data = little_endian(values, u64::to_le_bytes),
        TensorData::Int64(values) => proto.raw_data = little_endian(values, i64::to_le_bytes),
        TensorData::Fp64(values) => proto.raw_data = little_endian(values, f64::to_le_bytes),
    }
    proto
}

fn little_endian<T: Copy, const SIZE: usize>(values: &[T], bytes: fn(T) -> [u8; SIZE]) -> Vec<u8> {
    values.iter().flat_map(|value| bytes(*value)).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use prost::Message;

    use super::*;

    fn data() -> impl Strategy<Value = TensorData> {
        use prop::collection::vec;
        prop_oneof![
            vec(any::<bool>(), 0..9).prop_map(TensorData::from),
            vec(any::<u8>(), 0..9).prop_map(TensorData::from),
            vec(any::<i16>(), 0..9).prop_map(TensorData::from),
            vec(any::<u32>(), 0..9).prop_map(TensorData::from),
            vec(any::<i64>(), 0..9).prop_map(TensorData::from),
            vec(any::<f32>(), 0..9).prop_map(TensorData::from),
            vec(any::<f64>(), 0..9).prop_map(TensorData::from),
            vec(any::<u16>().prop_map(f16::from_bits).prop_filter("NaN", |one| !one.is_nan()), 0..9)
                .prop_map(TensorData::from),
            vec(vec(any::<u8>(), 0..5).prop_map(Bytes::from), 0..9).prop_map(TensorData::from),
        ]
    }

    proptest! {
        #[test]
        fn constants_survive_writing_and_reading(data in data()) {
            let tensor = Tensor::new(vec![data.len(), 1], data).unwrap();
            let bytes = tensor_to_proto("t", &tensor).encode_to_vec();
            let read = tensor_from_proto(&TensorProto::decode(&*bytes).unwrap()).unwrap();
            prop_assert_eq!(read, tensor);
        }
    }

    #[test]
    fn typed_fields_are_read_too() {
        let proto = TensorProto { dims: vec![2], int32_data: vec![1, -1], ..TensorProto::default() };
        let read =
            |data_type: DataType| tensor_from_proto(&TensorProto { data_type: data_type as i32, ..proto.clone() });
        assert_eq!(read(DataType::Int8).unwrap().data, vec![1_i8, -1].into());
        assert_eq!(read(DataType::Bool).unwrap().data, vec![true, true].into());
        assert!(read(DataType::Uint8).is_err(), "-1 is no UINT8");
        assert!(read(DataType::Float).is_err(), "the elements stand in another field");
        assert!(read(DataType::Bfloat16).is_err(), "-1 is not the bits of a BF16");
        assert!(read(DataType::Complex64).is_err(), "a type that is not supported");
    }

    #[test]
    fn elements_in_another_file_are_refused() {
        let proto = TensorProto { data_type: DataType::Float as i32, data_location: 1, ..TensorProto::default() };
        assert!(tensor_from_proto(&proto).unwrap_err().to_string().contains("another file"));
    }
}
