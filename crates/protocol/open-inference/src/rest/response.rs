use axum::body::Body;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderValue, StatusCode};
use axum::response::Response;
use ropewalk_inference::{NamedTensor, TensorData};
use ropewalk_serving::InferenceResponse;
use ropewalk_serving::json::{push_flat, push_text};

use super::infer::HEADER_LENGTH;
use super::request::ResponseForm;
use crate::codec::{encode_binary, encoded_length};
use crate::{PREDICTION_ID, ProtocolError};

/// Writes an answer: the JSON, and after it the outputs that are wanted as binary data, in their order.
pub(super) fn write(answer: &InferenceResponse, form: &ResponseForm) -> Result<Response, ProtocolError> {
    let (json, binary) = encode(answer, form)?;
    let length = binary.is_some().then_some(json.len());
    let mut body = json.into_bytes();
    body.extend(binary.unwrap_or_default());
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = StatusCode::OK;
    let headers = response.headers_mut();
    if let Some(length) = length {
        headers.insert(HEADER_LENGTH, HeaderValue::from(length));
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    } else {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    }
    Ok(response)
}

/// The JSON (`$inference_response`) and the binary data, if any output is wanted so.
fn encode(answer: &InferenceResponse, form: &ResponseForm) -> Result<(String, Option<Vec<u8>>), ProtocolError> {
    let mut json = String::with_capacity(256);
    json.push_str("{\"model_name\":");
    push_text(answer.model.as_str(), &mut json);
    json.push_str(",\"model_version\":");
    push_text(&answer.version.to_string(), &mut json);
    if let Some(id) = &answer.id {
        json.push_str(",\"id\":");
        push_text(id, &mut json);
    }
    json.push_str(",\"parameters\":{");
    push_text(PREDICTION_ID, &mut json);
    json.push(':');
    push_text(&answer.prediction.to_string(), &mut json);
    json.push_str("},\"outputs\":[");
    let mut binary = None;
    for (position, output) in answer.outputs.iter().enumerate() {
        if position > 0 {
            json.push(',');
        }
        encode_output(output, form.is_binary(&output.name), &mut json, &mut binary)?;
    }
    json.push_str("]}");
    Ok((json, binary))
}

fn encode_output(
    output: &NamedTensor,
    as_binary: bool,
    json: &mut String,
    binary: &mut Option<Vec<u8>>,
) -> Result<(), ProtocolError> {
    let NamedTensor { name, tensor } = output;
    json.push_str("{\"name\":");
    push_text(name, json);
    json.push_str(",\"datatype\":");
    push_text(tensor.element_type().as_str(), json);
    json.push_str(",\"shape\":");
    let extents = tensor.shape.iter().map(|extent| *extent as u64).collect();
    push_flat(&TensorData::Uint64(extents), json);
    if as_binary {
        json.push_str(",\"parameters\":{\"binary_data_size\":");
        json.push_str(&encoded_length(&tensor.data).to_string());
        json.push_str("}}");
        encode_binary(&tensor.data, binary.get_or_insert_default());
    } else {
        check_text(name, &tensor.data)?;
        json.push_str(",\"data\":");
        push_flat(&tensor.data, json);
        json.push('}');
    }
    Ok(())
}

/// A client reads an element of BYTES in JSON as text, so there is no way to write one that is none.
fn check_text(output: &str, data: &TensorData) -> Result<(), ProtocolError> {
    match data {
        TensorData::Bytes(values) if values.iter().any(|value| std::str::from_utf8(value).is_err()) => {
            Err(ProtocolError::NotText { output: output.to_owned() })
        }
        _ => Ok(()),
    }
}
