//! Messages to and from a worker: lengths, a header in JSON, raw little-endian tensors. BYTES as in the Open Inference
//! Protocol: each element led by its length in four bytes.

use bytes::Bytes;
use half::{bf16, f16};
use ropewalk_types::ElementType;
use serde::{Deserialize, Serialize};

use super::failed;
use crate::{InferenceError, Tensor, TensorData};

/// The largest header and the largest body, in bytes.
pub(super) const HEADER_LIMIT: usize = 16 << 20;
pub(super) const BODY_LIMIT: u64 = 2 << 30;
/// Length of what leads a message.
pub(super) const LEAD: usize = 12;

/// A tensor in a request's header.
#[derive(Debug, Serialize)]
pub(super) struct Sent<'a> {
    pub(super) name: &'a str,
    /// The model's own name for it.
    pub(super) key: Option<&'a str>,
    #[serde(rename = "type")]
    pub(super) kind: &'a str,
    pub(super) datatype: ElementType,
    pub(super) shape: &'a [usize],
    pub(super) size: usize,
}

/// A tensor in an answer's header.
#[derive(Debug, Deserialize)]
pub(super) struct Received {
    pub(super) name: String,
    datatype: ElementType,
    shape: Vec<usize>,
    size: usize,
}

/// The header of an answer.
#[derive(Debug, Deserialize)]
pub(super) struct Answer {
    #[serde(default)]
    pub(super) tensors: Vec<Received>,
    pub(super) error: Option<String>,
    #[serde(default)]
    pub(super) fault: String,
}

/// A whole message.
pub(super) fn message(header: &impl Serialize, body: &[u8]) -> Result<Vec<u8>, InferenceError> {
    let header = serde_json::to_vec(header).map_err(|error| failed(&error))?;
    let mut out = Vec::with_capacity(LEAD + header.len() + body.len());
    out.extend_from_slice(&u32::try_from(header.len()).map_err(|error| failed(&error))?.to_le_bytes());
    out.extend_from_slice(&(body.len() as u64).to_le_bytes());
    out.extend_from_slice(&header);
    out.extend_from_slice(body);
    Ok(out)
}

/// Lengths of header and body.
pub(super) fn lengths(lead: [u8; LEAD]) -> Result<(usize, usize), InferenceError> {
    let [a, b, c, d, rest @ ..] = lead;
    let (header, body) = (u32::from_le_bytes([a, b, c, d]) as usize, u64::from_le_bytes(rest));
    if header > HEADER_LIMIT || body > BODY_LIMIT {
        let what = "answer of a Python worker in bytes".to_owned();
        return Err(InferenceError::TooLarge { what, size: body.max(header as u64), limit: BODY_LIMIT });
    }
    Ok((header, usize::try_from(body).map_err(|error| failed(&error))?))
}

macro_rules! put {
    ($out:expr, $values:expr) => {
        $values.iter().for_each(|value| $out.extend_from_slice(&value.to_le_bytes()))
    };
}

/// Appends the elements of a tensor.
pub(super) fn put(out: &mut Vec<u8>, data: &TensorData) {
    match data {
        TensorData::Bool(values) => out.extend(values.iter().map(|value| u8::from(*value))),
        TensorData::Uint8(values) => out.extend_from_slice(values),
        TensorData::Uint16(values) => put!(out, values),
        TensorData::Uint32(values) => put!(out, values),
        TensorData::Uint64(values) => put!(out, values),
        TensorData::Int8(values) => put!(out, values),
        TensorData::Int16(values) => put!(out, values),
        TensorData::Int32(values) => put!(out, values),
        TensorData::Int64(values) => put!(out, values),
        TensorData::Fp16(values) => put!(out, values),
        TensorData::Bf16(values) => put!(out, values),
        TensorData::Fp32(values) => put!(out, values),
        TensorData::Fp64(values) => put!(out, values),
        TensorData::Bytes(values) => {
            for value in values {
                out.extend_from_slice(&(value.len() as u32).to_le_bytes());
                out.extend_from_slice(value);
            }
        }
    }
}

macro_rules! get {
    ($kind:ty, $bytes:expr) => {{
        let (chunks, rest) = $bytes.as_chunks();
        if !rest.is_empty() {
            return Err(failed("a worker cut off a tensor"));
        }
        chunks.iter().map(|chunk| <$kind>::from_le_bytes(*chunk)).collect::<Vec<$kind>>().into()
    }};
}

fn get(datatype: ElementType, bytes: &[u8]) -> Result<TensorData, InferenceError> {
    Ok(match datatype {
        ElementType::Bool => bytes.iter().map(|byte| *byte != 0).collect::<Vec<_>>().into(),
        ElementType::Uint8 => bytes.to_vec().into(),
        ElementType::Uint16 => get!(u16, bytes),
        ElementType::Uint32 => get!(u32, bytes),
        ElementType::Uint64 => get!(u64, bytes),
        ElementType::Int8 => get!(i8, bytes),
        ElementType::Int16 => get!(i16, bytes),
        ElementType::Int32 => get!(i32, bytes),
        ElementType::Int64 => get!(i64, bytes),
        ElementType::Fp16 => get!(f16, bytes),
        ElementType::Bf16 => get!(bf16, bytes),
        ElementType::Fp32 => get!(f32, bytes),
        ElementType::Fp64 => get!(f64, bytes),
        ElementType::Bytes => texts(bytes)?.into(),
    })
}

fn texts(mut bytes: &[u8]) -> Result<Vec<Bytes>, InferenceError> {
    let mut out = Vec::new();
    while !bytes.is_empty() {
        let cut = || failed("a worker cut off a text");
        let (length, rest) = bytes.split_first_chunk().ok_or_else(cut)?;
        let (text, rest) = rest.split_at_checked(u32::from_le_bytes(*length) as usize).ok_or_else(cut)?;
        out.push(Bytes::copy_from_slice(text));
        bytes = rest;
    }
    Ok(out)
}

impl Received {
    /// Takes the tensor from the front of `body`.
    pub(super) fn take(&self, body: &mut &[u8]) -> Result<Tensor, InferenceError> {
        let cut = || failed(&format!("a worker cut off output `{}`", self.name));
        let (bytes, rest) = body.split_at_checked(self.size).ok_or_else(cut)?;
        *body = rest;
        Tensor::new(self.shape.clone(), get(self.datatype, bytes)?)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn back(data: &TensorData) -> TensorData {
        let mut bytes = Vec::new();
        put(&mut bytes, data);
        let received =
            Received { name: "x".into(), datatype: data.element_type(), shape: vec![data.len()], size: bytes.len() };
        received.take(&mut &*bytes).unwrap().data
    }

    proptest! {
        #[test]
        fn numbers_come_back(values: Vec<i64>, small: Vec<u16>, bits: Vec<u32>, flags: Vec<bool>) {
            let floats: Vec<f64> = bits.iter().map(|bits| f64::from(*bits) / 7.0).collect();
            let halves: Vec<f16> = small.iter().map(|value| f16::from_f32(f32::from(*value))).collect();
            for data in [TensorData::from(values), small.into(), floats.into(), halves.into(), flags.into()] {
                prop_assert_eq!(back(&data), data);
            }
        }

        #[test]
        fn texts_come_back(values: Vec<Vec<u8>>) {
            let data = TensorData::from(values.into_iter().map(Bytes::from).collect::<Vec<_>>());
            prop_assert_eq!(back(&data), data);
        }

        #[test]
        fn damaged_texts_are_refused_or_read(bytes: Vec<u8>) {
            let _ = texts(&bytes);
        }
    }

    #[test]
    fn what_is_cut_off_or_too_large_is_refused() {
        let received = Received { name: "x".into(), datatype: ElementType::Fp32, shape: vec![2], size: 8 };
        assert!(received.take(&mut &[0_u8; 7][..]).is_err());
        assert!(get(ElementType::Int64, &[0; 7]).is_err());
        assert!(texts(&[5, 0, 0, 0, 1]).is_err());
        assert!(lengths([0xff; LEAD]).is_err());
        let message = message(&serde_json::json!({}), b"abc").unwrap();
        assert_eq!(lengths(*message.first_chunk().unwrap()).unwrap(), (2, 3));
    }
}
