use std::fmt::Write;

use axum::body::Body;
use axum::http::HeaderValue;
use axum::http::header::CONTENT_ENCODING;
use axum::response::Response;
use ropewalk_inference::{NamedTensor, TensorData};
use ropewalk_serving::InferenceResponse;
use ropewalk_serving::json::{push_flat, push_text};
use ropewalk_types::Signature;

use super::compression::{Encoding, SMALLEST};
use super::infer::HEADER_LENGTH;
use crate::codec::{encode_binary, encoded_length};
use crate::{PREDICTION_ID, ProtocolError, ResponseForm};

/// Writes an answer: the JSON, and after it the outputs that are wanted as binary data, in their order.
pub(super) fn write(
    mut answer: InferenceResponse,
    form: &ResponseForm,
    signature: &Signature,
    encoding: Option<Encoding>,
) -> Result<Response, ProtocolError> {
    form.classify(&mut answer.outputs, signature)?;
    let (body, json_length) = encode(&answer, form)?;
    let content_type = match json_length {
        Some(_) => HeaderValue::from_static("application/octet-stream"),
        None => HeaderValue::from_static("application/json"),
    };
    let packed = match encoding.filter(|_| body.len() >= SMALLEST) {
        Some(encoding) => Some((encoding, encoding.compress(&body)?)).filter(|(_, packed)| packed.len() < body.len()),
        None => None,
    };
    let (encoding, body) = match packed {
        Some((encoding, packed)) => (Some(encoding), packed),
        None => (None, body),
    };
    let mut response = super::with_type(Body::from(body), content_type);
    let headers = response.headers_mut();
    if let Some(length) = json_length {
        headers.insert(HEADER_LENGTH, HeaderValue::from(length));
    }
    if let Some(encoding) = encoding {
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static(encoding.as_str()));
    }
    Ok(response)
}

/// The body: the JSON (`$inference_response`), and the binary data if any output is wanted so; the length of the JSON
/// is told then.
pub(crate) fn encode(
    answer: &InferenceResponse,
    form: &ResponseForm,
) -> Result<(Vec<u8>, Option<usize>), ProtocolError> {
    let lengths = answer.outputs.iter().map(|output| 96 + output.name.len() + 2 * encoded_length(&output.tensor.data));
    let mut json = String::with_capacity(192 + lengths.sum::<usize>());
    json.push_str("{\"model_name\":");
    push_text(answer.model.as_str(), &mut json);
    push(&mut json, format_args!(",\"model_version\":\"{}\"", answer.version));
    if let Some(id) = &answer.id {
        json.push_str(",\"id\":");
        push_text(id, &mut json);
    }
    push(&mut json, format_args!(",\"parameters\":{{\"{PREDICTION_ID}\":\"{}\"}},\"outputs\":[", answer.prediction));
    for (position, output) in answer.outputs.iter().enumerate() {
        if position > 0 {
            json.push(',');
        }
        encode_output(output, form.is_binary(&output.name), &mut json)?;
    }
    json.push_str("]}");
    let mut body = json.into_bytes();
    let length = body.len();
    let mut has_binary = false;
    for output in answer.outputs.iter().filter(|output| form.is_binary(&output.name)) {
        has_binary = true;
        encode_binary(&output.tensor.data, &mut body);
    }
    Ok((body, has_binary.then_some(length)))
}

fn encode_output(output: &NamedTensor, as_binary: bool, json: &mut String) -> Result<(), ProtocolError> {
    let NamedTensor { name, tensor } = output;
    json.push_str("{\"name\":");
    push_text(name, json);
    push(json, format_args!(",\"datatype\":\"{}\",\"shape\":[", tensor.element_type().as_str()));
    for (axis, extent) in tensor.shape.iter().enumerate() {
        let comma = if axis > 0 { "," } else { "" };
        push(json, format_args!("{comma}{extent}"));
    }
    json.push(']');
    if as_binary {
        push(json, format_args!(",\"parameters\":{{\"binary_data_size\":{}}}}}", encoded_length(&tensor.data)));
    } else {
        check_text(name, &tensor.data)?;
        json.push_str(",\"data\":");
        push_flat(&tensor.data, json);
        json.push('}');
    }
    Ok(())
}

fn push(json: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing to a String never fails.
    let _ = json.write_fmt(text);
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
