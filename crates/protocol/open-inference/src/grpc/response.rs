use std::collections::HashMap;

use bytes::Bytes;
use ropewalk_inference::{NamedTensor, TensorData};
use ropewalk_serving::InferenceResponse;
use ropewalk_types::{ElementType, Signature};

use super::proto::infer_parameter::ParameterChoice;
use super::proto::model_infer_response::InferOutputTensor;
use super::proto::{InferParameter, InferTensorContents, ModelInferResponse};
use crate::codec::{encode_binary, encoded_length, wire_shape};
use crate::{PREDICTION_ID, ProtocolError, ResponseForm};

/// Writes an answer in the form that is wanted. FP16 and BF16 have no field of their own, so with them it is raw.
pub(crate) fn write(
    mut answer: InferenceResponse,
    form: &ResponseForm,
    signature: &Signature,
) -> Result<ModelInferResponse, ProtocolError> {
    form.classify(&mut answer.outputs, signature)?;
    let has_no_field = |datatype| matches!(datatype, ElementType::Fp16 | ElementType::Bf16);
    let raw = form.is_all_binary() || answer.outputs.iter().any(|one| has_no_field(one.tensor.element_type()));
    let prediction = ParameterChoice::StringParam(answer.prediction.to_string());
    let prediction = InferParameter { parameter_choice: Some(prediction) };
    let mut response = ModelInferResponse {
        model_name: answer.model.to_string(),
        model_version: answer.version.to_string(),
        id: answer.id.unwrap_or_default(),
        parameters: HashMap::from([(PREDICTION_ID.to_owned(), prediction)]),
        ..ModelInferResponse::default()
    };
    for NamedTensor { name, tensor } in answer.outputs {
        let mut output = InferOutputTensor {
            name,
            datatype: tensor.element_type().to_string(),
            shape: wire_shape(&tensor.shape),
            ..InferOutputTensor::default()
        };
        if raw {
            response.raw_output_contents.push(raw_contents(&tensor.data));
        } else {
            output.contents = Some(contents(tensor.data));
        }
        response.outputs.push(output);
    }
    Ok(response)
}

fn raw_contents(data: &TensorData) -> Bytes {
    let mut bytes = Vec::with_capacity(encoded_length(data));
    encode_binary(data, &mut bytes);
    bytes.into()
}

fn contents(data: TensorData) -> InferTensorContents {
    let mut contents = InferTensorContents::default();
    match data {
        TensorData::Bool(values) => contents.bool_contents = values,
        TensorData::Int8(values) => contents.int_contents = widen(values),
        TensorData::Int16(values) => contents.int_contents = widen(values),
        TensorData::Int32(values) => contents.int_contents = values,
        TensorData::Int64(values) => contents.int64_contents = values,
        TensorData::Uint8(values) => contents.uint_contents = widen(values),
        TensorData::Uint16(values) => contents.uint_contents = widen(values),
        TensorData::Uint32(values) => contents.uint_contents = values,
        TensorData::Uint64(values) => contents.uint64_contents = values,
        // Written raw; a number of 16 bits is also one of 32.
        TensorData::Fp16(values) => contents.fp32_contents = widen(values),
        TensorData::Bf16(values) => contents.fp32_contents = widen(values),
        TensorData::Fp32(values) => contents.fp32_contents = values,
        TensorData::Fp64(values) => contents.fp64_contents = values,
        TensorData::Bytes(values) => contents.bytes_contents = values,
    }
    contents
}

fn widen<N: Into<W>, W>(values: Vec<N>) -> Vec<W> {
    values.into_iter().map(Into::into).collect()
}
