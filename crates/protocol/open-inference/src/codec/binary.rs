use bytes::Bytes;
use half::{bf16, f16};
use ropewalk_inference::{Tensor, TensorData};
use ropewalk_types::ElementType;

use super::{TensorError, extents};

/// Reads the elements of the binary tensor data extension and of gRPC's raw contents: little-endian, row-major,
/// without gaps; BOOL is a byte 0 or 1; an element of BYTES stands after its length in 4 bytes.
pub fn decode_binary(datatype: ElementType, shape: &[i64], bytes: &[u8]) -> Result<Tensor, TensorError> {
    let (shape, count) = extents(shape)?;
    if let Some(size) = datatype.size() {
        // The count is at most 2^31, so this is at most 2^34.
        let expected = count * size;
        if expected != bytes.len() {
            return Err(TensorError::ByteCount { datatype, shape, expected, found: bytes.len() });
        }
    }
    macro_rules! numbers {
        ($variant:ident, $number:ty) => {{
            let (words, _) = bytes.as_chunks::<{ size_of::<$number>() }>();
            TensorData::$variant(words.iter().map(|word| <$number>::from_le_bytes(*word)).collect())
        }};
    }
    let data = match datatype {
        ElementType::Bool => TensorData::Bool(decode_booleans(bytes)?),
        ElementType::Uint8 => TensorData::Uint8(bytes.to_vec()),
        ElementType::Uint16 => numbers!(Uint16, u16),
        ElementType::Uint32 => numbers!(Uint32, u32),
        ElementType::Uint64 => numbers!(Uint64, u64),
        ElementType::Int8 => numbers!(Int8, i8),
        ElementType::Int16 => numbers!(Int16, i16),
        ElementType::Int32 => numbers!(Int32, i32),
        ElementType::Int64 => numbers!(Int64, i64),
        ElementType::Fp16 => numbers!(Fp16, f16),
        ElementType::Bf16 => numbers!(Bf16, bf16),
        ElementType::Fp32 => numbers!(Fp32, f32),
        ElementType::Fp64 => numbers!(Fp64, f64),
        ElementType::Bytes => TensorData::Bytes(decode_framed(count, bytes)?),
    };
    Ok(Tensor { shape, data })
}

fn decode_booleans(bytes: &[u8]) -> Result<Vec<bool>, TensorError> {
    let read = |(position, byte): (usize, &u8)| match byte {
        0 => Ok(false),
        1 => Ok(true),
        other => {
            let found = format!("byte {other}");
            Err(TensorError::Element { position, datatype: ElementType::Bool, found })
        }
    };
    bytes.iter().enumerate().map(read).collect()
}

/// The elements share one copy of the bytes: slices of the message would keep all of it in memory as long as the
/// shortest of them is waiting to be logged.
fn decode_framed(count: usize, bytes: &[u8]) -> Result<Vec<Bytes>, TensorError> {
    let refuse = |problem| TensorError::Framing { expected: count, problem };
    let owned = Bytes::copy_from_slice(bytes);
    let mut elements = Vec::with_capacity(count.min(bytes.len() / 4));
    let mut start = 0;
    for position in 0..count {
        let frame = bytes.get(start..).and_then(|rest| rest.split_first_chunk::<4>());
        let Some((length, rest)) = frame else {
            return Err(refuse(format!("they end before the length of element {position}")));
        };
        let length = u32::from_le_bytes(*length) as usize;
        if length > rest.len() {
            return Err(refuse(format!("element {position} has {length} bytes, {} are left", rest.len())));
        }
        start += 4 + length;
        elements.push(owned.slice(start - length..start));
    }
    match bytes.len() - start {
        0 => Ok(elements),
        left => Err(refuse(format!("{left} bytes are left after the last element"))),
    }
}

/// Bytes that [`encode_binary`] writes.
pub(crate) fn encoded_length(data: &TensorData) -> usize {
    match data {
        TensorData::Bytes(elements) => elements.iter().map(|element| 4 + element.len()).sum(),
        other => other.len() * other.element_type().size().unwrap_or(0),
    }
}

/// Writes what [`decode_binary`] reads. An element of BYTES is cut to the 4 GiB that its length can say, which no
/// model's output reaches.
pub fn encode_binary(data: &TensorData, out: &mut Vec<u8>) {
    macro_rules! numbers {
        ($values:expr) => {
            $values.iter().for_each(|value| out.extend_from_slice(&value.to_le_bytes()))
        };
    }
    out.reserve(encoded_length(data));
    match data {
        TensorData::Bool(values) => out.extend(values.iter().map(|value| u8::from(*value))),
        TensorData::Uint8(values) => out.extend_from_slice(values),
        TensorData::Uint16(values) => numbers!(values),
        TensorData::Uint32(values) => numbers!(values),
        TensorData::Uint64(values) => numbers!(values),
        TensorData::Int8(values) => numbers!(values),
        TensorData::Int16(values) => numbers!(values),
        TensorData::Int32(values) => numbers!(values),
        TensorData::Int64(values) => numbers!(values),
        TensorData::Fp16(values) => numbers!(values),
        TensorData::Bf16(values) => numbers!(values),
        TensorData::Fp32(values) => numbers!(values),
        TensorData::Fp64(values) => numbers!(values),
        TensorData::Bytes(values) => values.iter().for_each(|value| encode_framed(value, out)),
    }
}

fn encode_framed(value: &Bytes, out: &mut Vec<u8>) {
    let length = u32::try_from(value.len()).unwrap_or(u32::MAX);
    out.extend_from_slice(&length.to_le_bytes());
    out.extend(value.iter().take(length as usize));
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn any_data() -> impl Strategy<Value = TensorData> {
        fn vector<T: std::fmt::Debug>(element: impl Strategy<Value = T>) -> impl Strategy<Value = Vec<T>> {
            prop::collection::vec(element, 0..40)
        }
        prop_oneof![
            vector(any::<bool>()).prop_map(TensorData::Bool),
            vector(any::<u8>()).prop_map(TensorData::Uint8),
            vector(any::<u16>()).prop_map(TensorData::Uint16),
            vector(any::<i16>()).prop_map(TensorData::Int16),
            vector(any::<i64>()).prop_map(TensorData::Int64),
            vector(any::<u64>()).prop_map(TensorData::Uint64),
            vector(any::<f32>()).prop_map(TensorData::Fp32),
            vector(any::<f64>()).prop_map(TensorData::Fp64),
            vector(any::<f32>().prop_map(f16::from_f32)).prop_map(TensorData::Fp16),
            vector(vector(any::<u8>()).prop_map(Bytes::from)).prop_map(TensorData::Bytes),
        ]
    }

    proptest! {
        #[test]
        fn elements_come_back_bit_by_bit(data in any_data()) {
            let mut bytes = Vec::new();
            encode_binary(&data, &mut bytes);
            prop_assert_eq!(bytes.len(), encoded_length(&data));
            let tensor = decode_binary(data.element_type(), &[data.len() as i64], &bytes).unwrap();
            let mut again = Vec::new();
            encode_binary(&tensor.data, &mut again);
            prop_assert_eq!(bytes, again);
        }

        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), shape in prop::collection::vec(any::<i64>(), 0..4)) {
            for datatype in [ElementType::Bool, ElementType::Fp16, ElementType::Int64, ElementType::Bytes] {
                let _ = decode_binary(datatype, &shape, &bytes);
                let _ = decode_binary(datatype, &[bytes.len() as i64 / 8], &bytes);
            }
        }
    }

    #[test]
    fn lengths_that_lie_are_refused() {
        let framed = |bytes: &[u8], count| decode_binary(ElementType::Bytes, &[count], bytes);
        assert_eq!(framed(b"\x02\0\0\0UA\0\0\0\0", 2).unwrap().data.len(), 2);
        for (bytes, count) in [
            (&b"\xff\xff\xff\xffUA"[..], 1),
            (b"\x02\0\0\0UA", 2),
            (b"\x02\0\0\0UA", 0),
            (b"\x02\0\0", 1),
            (b"\x02\0\0\0UAB", 1),
            (b"", 1 << 31),
        ] {
            assert!(matches!(framed(bytes, count), Err(TensorError::Framing { .. })), "{bytes:?} {count}");
        }
    }

    #[test]
    fn a_wrong_number_of_bytes_is_said() {
        let error = decode_binary(ElementType::Fp32, &[2, 3], &[0; 20]).unwrap_err();
        assert_eq!(error.to_string(), "FP32[2, 3] takes 24 bytes, 20 came");
        assert!(decode_binary(ElementType::Fp64, &[i64::MAX / 2, 8], &[0; 8]).is_err());
        assert!(decode_binary(ElementType::Bool, &[1], &[2]).is_err());
    }
}
