use std::fmt::Write as _;

use bytes::Bytes;
use ropewalk_inference::{NamedTensor, Tensor, TensorData};
use ropewalk_open_inference::{decode_json, encode_binary};
use ropewalk_serving::json::{push_flat, push_text};
use ropewalk_types::{ElementType, TensorSpec};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::LoadError;

/// An input as the protocol writes it in JSON.
#[derive(Deserialize)]
struct WrittenInput {
    name: String,
    datatype: ElementType,
    shape: Vec<i64>,
    data: Box<RawValue>,
}

#[derive(Deserialize)]
struct WrittenRequest {
    inputs: Vec<WrittenInput>,
}

/// Made-up inputs: the same each time, small numbers that differ.
pub(crate) fn made_up(specs: &[TensorSpec], rows: usize) -> Result<Vec<NamedTensor>, LoadError> {
    specs.iter().map(|spec| one(spec, rows)).collect()
}

fn one(spec: &TensorSpec, rows: usize) -> Result<NamedTensor, LoadError> {
    let extents = spec.shape.iter().enumerate();
    // A free first dimension is the batch; another one is as small as it can be.
    let extents = extents.map(|(place, extent)| usize::try_from(*extent).unwrap_or(if place == 0 { rows } else { 1 }));
    let shape: Vec<usize> = extents.collect();
    let count = shape.iter().try_fold(1_usize, |count, extent| count.checked_mul(*extent));
    let unreadable = |reason: String| LoadError::Unreadable { what: "the model's metadata", reason };
    let count = count.filter(|count| *count <= 1 << 28);
    let count = count.ok_or_else(|| unreadable(format!("{spec} is too large to be made up")))?;
    let tensor = Tensor::new(shape, elements(spec.datatype, count));
    Ok(NamedTensor::new(spec.name.clone(), tensor.map_err(|error| unreadable(error.to_string()))?))
}

fn elements(datatype: ElementType, count: usize) -> TensorData {
    macro_rules! whole {
        ($type:ty) => {
            (0..count).map(|place| (place % 10) as $type).collect::<Vec<$type>>().into()
        };
    }
    let tenths = (0..count).map(|place| (place % 10) as f32 / 10.0);
    match datatype {
        ElementType::Bool => (0..count).map(|place| place % 2 == 1).collect::<Vec<bool>>().into(),
        ElementType::Uint8 => whole!(u8),
        ElementType::Uint16 => whole!(u16),
        ElementType::Uint32 => whole!(u32),
        ElementType::Uint64 => whole!(u64),
        ElementType::Int8 => whole!(i8),
        ElementType::Int16 => whole!(i16),
        ElementType::Int32 => whole!(i32),
        ElementType::Int64 => whole!(i64),
        ElementType::Fp16 => TensorData::Fp16(tenths.map(half::f16::from_f32).collect()),
        ElementType::Bf16 => TensorData::Bf16(tenths.map(half::bf16::from_f32).collect()),
        ElementType::Fp32 => TensorData::Fp32(tenths.collect()),
        ElementType::Fp64 => TensorData::Fp64(tenths.map(f64::from).collect()),
        ElementType::Bytes => TensorData::Bytes(vec![Bytes::from_static(b"a"); count]),
    }
}

/// The inputs of a request in JSON.
pub(crate) fn written(body: &str) -> Result<Vec<NamedTensor>, LoadError> {
    let unreadable = |reason: String| LoadError::Unreadable { what: "the request", reason };
    let request: WrittenRequest = serde_json::from_str(body).map_err(|error| unreadable(error.to_string()))?;
    let inputs = request.inputs.into_iter().map(|input| {
        let tensor = decode_json(input.datatype, &input.shape, input.data.get());
        let tensor = tensor.map_err(|error| unreadable(format!("input `{}`: {error}", input.name)))?;
        Ok(NamedTensor::new(input.name, tensor))
    });
    inputs.collect()
}

/// A request in JSON with the elements in it.
pub(crate) fn json_body(inputs: &[NamedTensor]) -> String {
    body(inputs, |tensor, text| {
        text.push_str(",\"data\":");
        push_flat(&tensor.data, text);
    })
}

/// A request whose elements stand behind its JSON, and the length of that (Triton's binary tensor data extension).
pub(crate) fn binary_body(inputs: &[NamedTensor]) -> (Vec<u8>, usize) {
    let mut binary = Vec::new();
    let json = body(inputs, |tensor, text| {
        let before = binary.len();
        encode_binary(&tensor.data, &mut binary);
        // Writing to a String never fails.
        let _ = write!(text, ",\"parameters\":{{\"binary_data_size\":{}}}", binary.len() - before);
    });
    // Asked in binary, answered in binary.
    let json = format!("{{\"parameters\":{{\"binary_data_output\":true}},{}", json.get(1..).unwrap_or_default());
    let length = json.len();
    let mut all = json.into_bytes();
    all.append(&mut binary);
    (all, length)
}

fn body(inputs: &[NamedTensor], mut data: impl FnMut(&Tensor, &mut String)) -> String {
    let mut text = "{\"inputs\":[".to_owned();
    for (place, input) in inputs.iter().enumerate() {
        if place > 0 {
            text.push(',');
        }
        text.push_str("{\"name\":");
        push_text(&input.name, &mut text);
        let (datatype, shape) = (input.tensor.element_type(), &input.tensor.shape);
        let _ = write!(text, ",\"datatype\":\"{datatype}\",\"shape\":{shape:?}");
        data(&input.tensor, &mut text);
        text.push('}');
    }
    text.push_str("]}");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(name: &str, datatype: ElementType, shape: &[i64]) -> TensorSpec {
        TensorSpec { name: name.to_owned(), datatype, shape: shape.to_vec() }
    }

    #[test]
    fn what_is_made_up_is_written_and_read_again() {
        let specs = [
            spec("x", ElementType::Fp32, &[-1, 3]),
            spec("t\"", ElementType::Bytes, &[-1, -1]),
            spec("b", ElementType::Bool, &[2]),
        ];
        let inputs = made_up(&specs, 4).unwrap();
        let shapes: Vec<_> = inputs.iter().map(|input| input.tensor.shape.clone()).collect();
        assert_eq!(shapes, [vec![4, 3], vec![4, 1], vec![2]]);
        assert_eq!(written(&json_body(&inputs)).unwrap(), inputs);
        let (body, length) = binary_body(&inputs);
        let head: serde_json::Value = serde_json::from_slice(&body[..length]).unwrap();
        assert_eq!(head["inputs"][0]["parameters"]["binary_data_size"], 48);
        assert_eq!(head["parameters"]["binary_data_output"], true);
        assert_eq!(body.len() - length, 48 + 4 * 5 + 2);
    }

    #[test]
    fn what_cannot_be_made_up_or_read_is_said() {
        assert!(made_up(&[spec("x", ElementType::Fp32, &[i64::MAX, 9])], 1).is_err());
        assert!(written("{}").unwrap_err().to_string().contains("inputs"));
        let wrong = r#"{"inputs":[{"name":"x","datatype":"INT8","shape":[1],"data":[300]}]}"#;
        assert!(written(wrong).unwrap_err().to_string().contains("input `x`"));
    }
}
