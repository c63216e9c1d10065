use axum::http::HeaderMap;
use ropewalk_inference::{NamedTensor, Tensor};
use ropewalk_serving::InferenceRequest;
use ropewalk_types::{ElementType, Signature};
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;

use super::body::header;
use super::infer::HEADER_LENGTH;
use crate::codec::{TensorError, decode_binary, decode_json};
use crate::{ProtocolError, codec};

/// The JSON of a request (`$inference_request`). Keys that are not named here are left to later versions.
#[derive(Debug, Deserialize)]
struct Body<'a> {
    id: Option<String>,
    parameters: Option<Parameters>,
    #[serde(borrow)]
    inputs: Vec<Input<'a>>,
    outputs: Option<Vec<Output>>,
}

/// A tensor (`$request_input`).
#[derive(Debug, Deserialize)]
struct Input<'a> {
    name: String,
    shape: Vec<i64>,
    datatype: String,
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

/// The parameters that extensions give a meaning to; the protocol wants all others ignored.
#[derive(Debug, Default, Deserialize)]
struct Parameters {
    binary_data_size: Option<usize>,
    binary_data: Option<bool>,
    binary_data_output: Option<bool>,
    classification: Option<IgnoredAny>,
    shared_memory_region: Option<IgnoredAny>,
}

/// Which outputs the client wants as binary data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ResponseForm {
    default: bool,
    named: Vec<(String, bool)>,
}

impl ResponseForm {
    /// Whether `output` is wanted as binary data.
    pub(super) fn is_binary(&self, output: &str) -> bool {
        let named = self.named.iter().find(|(name, _)| name == output);
        named.map_or(self.default, |(_, binary)| *binary)
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

/// Reads the body of a request for a model of this signature.
pub(super) fn read(
    body: &[u8],
    header_length: Option<usize>,
    signature: &Signature,
) -> Result<(InferenceRequest, ResponseForm), ProtocolError> {
    let split = body.split_at_checked(header_length.unwrap_or(body.len()));
    let (json, mut binary) = split.ok_or_else(|| {
        let length = header_length.unwrap_or_default();
        ProtocolError::malformed(&format!("{HEADER_LENGTH} is {length}, but the body has {} bytes", body.len()))
    })?;
    let Body { id, parameters, inputs, outputs } =
        serde_json::from_slice(json).map_err(|problem| ProtocolError::malformed(&problem))?;
    let inputs = inputs.into_iter().map(|input| read_input(&input, &mut binary, signature));
    let inputs = inputs.collect::<Result<_, ProtocolError>>()?;
    if !binary.is_empty() {
        let problem = format!("{} bytes of binary data belong to no input", binary.len());
        return Err(ProtocolError::Malformed { problem });
    }
    let default = parameters.and_then(|parameters| parameters.binary_data_output).unwrap_or(false);
    let (outputs, named) = read_outputs(outputs.unwrap_or_default(), default)?;
    Ok((InferenceRequest { id, inputs, outputs, ..InferenceRequest::default() }, ResponseForm { default, named }))
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

type Outputs = (Vec<String>, Vec<(String, bool)>);

fn read_outputs(outputs: Vec<Output>, default: bool) -> Result<Outputs, ProtocolError> {
    let mut named = Vec::with_capacity(outputs.len());
    for Output { name, parameters } in outputs {
        let parameters = parameters.unwrap_or_default();
        refuse_shared_memory(&name, &parameters)?;
        if parameters.classification.is_some() {
            return Err(ProtocolError::Unsupported { tensor: name, parameter: codec::CLASSIFICATION });
        }
        named.push((name, parameters.binary_data.unwrap_or(default)));
    }
    Ok((named.iter().map(|(name, _)| name.clone()).collect(), named))
}

fn refuse_shared_memory(tensor: &str, parameters: &Parameters) -> Result<(), ProtocolError> {
    match parameters.shared_memory_region {
        None => Ok(()),
        Some(_) => Err(ProtocolError::Unsupported { tensor: tensor.to_owned(), parameter: codec::SHARED_MEMORY }),
    }
}
