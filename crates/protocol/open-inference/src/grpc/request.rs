use std::collections::HashMap;

use bytes::Bytes;
use ropewalk_inference::{NamedTensor, Tensor, TensorData};
use ropewalk_serving::InferenceRequest;
use ropewalk_types::ElementType;

use super::proto::model_infer_request::{InferInputTensor, InferRequestedOutputTensor};
use super::proto::{InferParameter, InferTensorContents, ModelInferRequest};
use crate::ProtocolError;
use crate::codec::{self, TensorError, decode_binary, extents};

/// Reads a request, and tells whether its tensors are raw: so is the answer then.
pub(super) fn read(request: ModelInferRequest) -> Result<(InferenceRequest, bool), ProtocolError> {
    let ModelInferRequest { id, inputs, outputs, raw_input_contents: raw, .. } = request;
    if !raw.is_empty() && raw.len() != inputs.len() {
        let problem = format!("there are {} inputs and {} raw contents", inputs.len(), raw.len());
        return Err(ProtocolError::Malformed { problem });
    }
    let is_raw = !raw.is_empty();
    let mut raw = raw.into_iter();
    let inputs = inputs.into_iter().map(|input| read_input(input, raw.next())).collect::<Result<_, _>>()?;
    let outputs = outputs.into_iter().map(read_output).collect::<Result<_, _>>()?;
    Ok((
        InferenceRequest { id: Some(id).filter(|id| !id.is_empty()), inputs, outputs, ..InferenceRequest::default() },
        is_raw,
    ))
}

fn read_input(input: InferInputTensor, raw: Option<Bytes>) -> Result<NamedTensor, ProtocolError> {
    let InferInputTensor { name, datatype, shape, parameters, contents } = input;
    refuse(&name, &parameters, codec::SHARED_MEMORY)?;
    let datatype = datatype.parse::<ElementType>().map_err(TensorError::from);
    let tensor = datatype.and_then(|datatype| match (raw, contents) {
        (Some(_), Some(_)) => Err(TensorError::TwoData),
        (Some(raw), None) => decode_binary(datatype, &shape, &raw),
        (None, contents) => read_contents(datatype, &shape, contents.unwrap_or_default()),
    });
    match tensor {
        Ok(tensor) => Ok(NamedTensor { name, tensor }),
        Err(problem) => Err(ProtocolError::Input { input: name, problem }),
    }
}

fn read_output(output: InferRequestedOutputTensor) -> Result<String, ProtocolError> {
    refuse(&output.name, &output.parameters, codec::SHARED_MEMORY)?;
    refuse(&output.name, &output.parameters, codec::CLASSIFICATION)?;
    Ok(output.name)
}

fn refuse(
    tensor: &str,
    parameters: &HashMap<String, InferParameter>,
    parameter: &'static str,
) -> Result<(), ProtocolError> {
    if parameters.contains_key(parameter) {
        return Err(ProtocolError::Unsupported { tensor: tensor.to_owned(), parameter });
    }
    Ok(())
}

/// Reads the elements from the one field that their type has; the others must be empty.
fn read_contents(datatype: ElementType, shape: &[i64], contents: InferTensorContents) -> Result<Tensor, TensorError> {
    let (shape, expected) = extents(shape)?;
    let in_all_fields = elements_in(&contents);
    let data = match datatype {
        ElementType::Bool => TensorData::Bool(contents.bool_contents),
        ElementType::Int8 => TensorData::Int8(narrow(datatype, contents.int_contents)?),
        ElementType::Int16 => TensorData::Int16(narrow(datatype, contents.int_contents)?),
        ElementType::Int32 => TensorData::Int32(contents.int_contents),
        ElementType::Int64 => TensorData::Int64(contents.int64_contents),
        ElementType::Uint8 => TensorData::Uint8(narrow(datatype, contents.uint_contents)?),
        ElementType::Uint16 => TensorData::Uint16(narrow(datatype, contents.uint_contents)?),
        ElementType::Uint32 => TensorData::Uint32(contents.uint_contents),
        ElementType::Uint64 => TensorData::Uint64(contents.uint64_contents),
        ElementType::Fp32 => TensorData::Fp32(contents.fp32_contents),
        ElementType::Fp64 => TensorData::Fp64(contents.fp64_contents),
        // Each element with its own bytes: as slices they would keep the whole message in memory.
        ElementType::Bytes => {
            let copies = contents.bytes_contents.iter().map(|element| Bytes::copy_from_slice(element));
            TensorData::Bytes(copies.collect())
        }
        ElementType::Fp16 | ElementType::Bf16 => {
            return Err(TensorError::Field { datatype, problem: "can only be raw" });
        }
    };
    if data.len() != in_all_fields {
        return Err(TensorError::Field { datatype, problem: "are in the field of another type" });
    }
    if data.len() != expected {
        return Err(TensorError::ElementCount { shape, expected, found: data.len() });
    }
    Ok(Tensor { shape, data })
}

fn elements_in(contents: &InferTensorContents) -> usize {
    contents.bool_contents.len()
        + contents.int_contents.len()
        + contents.int64_contents.len()
        + contents.uint_contents.len()
        + contents.uint64_contents.len()
        + contents.fp32_contents.len()
        + contents.fp64_contents.len()
        + contents.bytes_contents.len()
}

/// Numbers that are sent in a wider field than their type.
fn narrow<W: Copy + ToString, N: TryFrom<W>>(datatype: ElementType, values: Vec<W>) -> Result<Vec<N>, TensorError> {
    let each = |(position, value): (usize, W)| {
        N::try_from(value).map_err(|_| TensorError::Element { position, datatype, found: value.to_string() })
    };
    values.into_iter().enumerate().map(each).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn input(datatype: &str, shape: &[i64], contents: InferTensorContents) -> InferInputTensor {
        let contents = Some(contents);
        InferInputTensor {
            name: "x".into(),
            datatype: datatype.into(),
            shape: shape.into(),
            contents,
            ..Default::default()
        }
    }

    fn problem(input: InferInputTensor) -> TensorError {
        match read_input(input, None) {
            Err(ProtocolError::Input { problem, .. }) => problem,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn elements_are_read_from_the_field_of_their_type() {
        let ints = |values: &[i32]| InferTensorContents { int_contents: values.into(), ..Default::default() };
        let read = read_input(input("INT8", &[2], ints(&[-128, 127])), None).unwrap();
        assert_eq!(read.tensor.data, TensorData::Int8(vec![-128, 127]));
        assert!(matches!(problem(input("INT8", &[1], ints(&[128]))), TensorError::Element { position: 0, .. }));
        assert!(matches!(problem(input("FP32", &[1], ints(&[1]))), TensorError::Field { .. }));
        assert!(matches!(problem(input("FP16", &[1], ints(&[1]))), TensorError::Field { .. }));
        assert!(matches!(problem(input("INT32", &[2], ints(&[1]))), TensorError::ElementCount { .. }));
        assert!(matches!(problem(input("INT32", &[i64::MAX, 4], ints(&[1]))), TensorError::Shape { .. }));
        assert!(matches!(problem(input("TEXT", &[1], ints(&[1]))), TensorError::UnknownType(_)));
    }

    #[test]
    fn raw_contents_are_for_all_inputs_or_none() {
        let request = ModelInferRequest {
            inputs: vec![InferInputTensor::default(), InferInputTensor::default()],
            raw_input_contents: vec![Bytes::new()],
            ..Default::default()
        };
        assert!(matches!(read(request), Err(ProtocolError::Malformed { .. })));
    }
}
