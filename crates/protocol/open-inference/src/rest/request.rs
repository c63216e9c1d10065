use std::borrow::Cow;

use axum::http::HeaderMap;
use ropewalk_inference::{NamedTensor, Tensor};
use ropewalk_serving::InferenceRequest;
use ropewalk_types::{ElementType, Signature};
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Value;
use serde_json::value::RawValue;

use super::compression::header;
use super::infer::HEADER_LENGTH;
use super::raw;
use crate::codec::{self, TensorError, decode_binary, decode_json};
use crate::context::{Scheduling, no_sequences, wrong};
use crate::{ProtocolError, ResponseForm};

/// The JSON of a request (`$inference_request`). Keys that are not named here are left to later versions.
#[derive(Debug, Deserialize)]
struct Body<'a> {
    id: Option<String>,
    parameters: Option<RequestParameters>,
    #[serde(borrow)]
    inputs: Vec<Input<'a>>,
    outputs: Option<Vec<Output>>,
}

/// A tensor (`$request_input`).
#[derive(Debug, Deserialize)]
struct Input<'a> {
    name: String,
    shape: Vec<i64>,
    #[serde(borrow)]
    datatype: Cow<'a, str>,
    parameters: Option<Parameters>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
}

/// An output that is wanted (`$request_output`).
#[derive(Debug, Deserialize)]
struct Output {
    name: String,
    parameters: Option<Parameters>,
}

/// The parameters of a request that have a meaning; the protocol wants all others ignored.
#[derive(Debug, Default, Deserialize)]
struct RequestParameters {
    binary_data_output: Option<bool>,
    sequence_id: Option<Value>,
    priority: Option<Value>,
    timeout: Option<Value>,
}

/// The parameters of a tensor that have a meaning; the protocol wants all others ignored.
#[derive(Debug, Default, Deserialize)]
struct Parameters {
    binary_data_size: Option<usize>,
    binary_data: Option<bool>,
    classification: Option<usize>,
    shared_memory_region: Option<IgnoredAny>,
}

impl RequestParameters {
    fn scheduling(&self) -> Result<Scheduling, ProtocolError> {
        let is_none = |value: &Value| *value == Value::Null || *value == 0 || *value == "";
        if self.sequence_id.as_ref().is_some_and(|id| !is_none(id)) {
            return Err(no_sequences());
        }
        let mut scheduling = Scheduling::default();
        if let Some(priority) = &self.priority {
            let expected = || wrong("priority", format!("a whole number from 0 on is expected, not {priority}"));
            scheduling.set_priority(priority.as_u64().ok_or_else(expected)?);
        }
        if let Some(timeout) = &self.timeout {
            let expected = || wrong("timeout", format!("a whole number of microseconds is expected, not {timeout}"));
            scheduling.set_timeout(timeout.as_i64().ok_or_else(expected)?)?;
        }
        Ok(scheduling)
    }
}

/// The length of the JSON where binary data follows it.
pub(super) fn header_length(headers: &HeaderMap) -> Result<Option<usize>, ProtocolError> {
    let read = |text: &str| {
        let refuse = || ProtocolError::malformed(&format!("`{text}` is no length, in the header {HEADER_LENGTH}"));
        text.parse().map_err(|_| refuse())
    };
    header(headers, &HEADER_LENGTH)?.map(read).transpose()
}

/// A request whose tensors are not read yet: its id decides which version it goes to, and that one's signature how they
/// are read.
#[derive(Debug)]
pub(super) struct Unread<'a> {
    /// None is a body that is one tensor.
    json: Option<Body<'a>>,
    /// What comes after the JSON.
    binary: &'a [u8],
}

impl<'a> Unread<'a> {
    /// Reads a body but for its tensors.
    pub(super) fn new(body: &'a [u8], header_length: Option<usize>) -> Result<Self, ProtocolError> {
        if header_length == Some(0) {
            return Ok(Self { json: None, binary: body });
        }
        let split = body.split_at_checked(header_length.unwrap_or(body.len()));
        let (json, binary) = split.ok_or_else(|| {
            let length = header_length.unwrap_or_default();
            ProtocolError::malformed(&format!("{HEADER_LENGTH} is {length}, but the body has {} bytes", body.len()))
        })?;
        let json = serde_json::from_slice(json).map_err(|problem| ProtocolError::malformed(&problem))?;
        Ok(Self { json: Some(json), binary })
    }

    pub(super) fn id(&self) -> Option<&str> {
        self.json.as_ref()?.id.as_deref()
    }

    /// Reads the tensors for a version of this signature, and all that is left.
    pub(super) fn read(self, signature: &Signature) -> Result<(InferenceRequest, ResponseForm), ProtocolError> {
        if let Some(json) = self.json {
            return read_body(json, self.binary, signature);
        }
        let inputs = vec![raw::read(self.binary, signature)?];
        Ok((InferenceRequest { inputs, ..InferenceRequest::default() }, ResponseForm::binary()))
    }
}

/// Reads the body of a request for a model of this signature.
#[cfg(any(test, fuzzing))]
pub(crate) fn read(
    body: &[u8],
    header_length: Option<usize>,
    signature: &Signature,
) -> Result<(InferenceRequest, ResponseForm), ProtocolError> {
    Unread::new(body, header_length)?.read(signature)
}

fn read_body(
    body: Body<'_>,
    mut binary: &[u8],
    signature: &Signature,
) -> Result<(InferenceRequest, ResponseForm), ProtocolError> {
    let Body { id, parameters, inputs, outputs } = body;
    let inputs = inputs.into_iter().map(|input| read_input(&input, &mut binary, signature));
    let inputs = inputs.collect::<Result<_, ProtocolError>>()?;
    if !binary.is_empty() {
        let problem = format!("{} bytes of binary data belong to no input", binary.len());
        return Err(ProtocolError::Malformed { problem });
    }
    let parameters = parameters.unwrap_or_default();
    let scheduling = parameters.scheduling()?;
    let (outputs, form) = read_outputs(outputs.unwrap_or_default(), parameters.binary_data_output.unwrap_or(false))?;
    let mut request = InferenceRequest { id, inputs, outputs, ..InferenceRequest::default() };
    request.context.priority = scheduling.priority;
    request.context.timeout = scheduling.timeout;
    Ok((request, form))
}

fn read_input(input: &Input<'_>, binary: &mut &[u8], signature: &Signature) -> Result<NamedTensor, ProtocolError> {
    let none = Parameters::default();
    let parameters = input.parameters.as_ref().unwrap_or(&none);
    refuse_shared_memory(&input.name, parameters)?;
    let tensor = match (input.data, parameters.binary_data_size) {
        (Some(data), None) => read_json(input, data, signature),
        (None, Some(size)) => {
            let (bytes, rest) = binary.split_at_checked(size).ok_or_else(|| {
                let problem = format!("input `{}` has {size} bytes, {} are left", input.name, binary.len());
                ProtocolError::Malformed { problem }
            })?;
            *binary = rest;
            input
                .datatype
                .parse()
                .map_err(TensorError::from)
                .and_then(|datatype| decode_binary(datatype, &input.shape, bytes))
        }
        (None, None) => Err(TensorError::NoData),
        (Some(_), Some(_)) => Err(TensorError::TwoData),
    };
    let tensor = tensor.map_err(|problem| ProtocolError::Input { input: input.name.clone(), problem })?;
    Ok(NamedTensor::new(input.name.as_str(), tensor))
}

/// Numbers are read as the model's type of numbers; everything else as what the request says it is, and the host
/// refuses what the model does not take.
fn read_json(input: &Input<'_>, data: &RawValue, signature: &Signature) -> Result<Tensor, TensorError> {
    let given: ElementType = input.datatype.parse()?;
    let is_number = |datatype| !matches!(datatype, ElementType::Bool | ElementType::Bytes);
    let wanted = signature.inputs.iter().find(|spec| spec.name == input.name).map(|spec| spec.datatype);
    let datatype = wanted.filter(|wanted| is_number(*wanted) && is_number(given)).unwrap_or(given);
    decode_json(datatype, &input.shape, data.get())
}

fn read_outputs(outputs: Vec<Output>, default: bool) -> Result<(Vec<String>, ResponseForm), ProtocolError> {
    let mut form = ResponseForm::new(default);
    let mut names = Vec::with_capacity(outputs.len());
    for Output { name, parameters } in outputs {
        let parameters = parameters.unwrap_or_default();
        refuse_shared_memory(&name, &parameters)?;
        form.name(&name, parameters.binary_data.unwrap_or(default), parameters.classification.unwrap_or(0));
        names.push(name);
    }
    Ok((names, form))
}

fn refuse_shared_memory(tensor: &str, parameters: &Parameters) -> Result<(), ProtocolError> {
    match parameters.shared_memory_region {
        None => Ok(()),
        Some(_) => Err(ProtocolError::Unsupported { tensor: tensor.to_owned(), parameter: codec::SHARED_MEMORY }),
    }
}
