use std::collections::HashMap;

use bytes::Bytes;
use ropewalk_inference::{NamedTensor, Tensor, TensorData};
use ropewalk_serving::InferenceRequest;
use ropewalk_types::ElementType;

use super::proto::infer_parameter::ParameterChoice;
use super::proto::model_infer_request::{InferInputTensor, InferRequestedOutputTensor};
use super::proto::{InferParameter, InferTensorContents, ModelInferRequest};
use crate::codec::{self, TensorError, decode_binary, extents};
use crate::context::{Scheduling, no_sequences, wrong};
use crate::{ProtocolError, ResponseForm};

/// Reads a request. If its tensors are raw, the answer's are wanted so.
pub(crate) fn read(request: ModelInferRequest) -> Result<(InferenceRequest, ResponseForm), ProtocolError> {
    let ModelInferRequest { id, parameters, inputs, outputs, raw_input_contents: raw, .. } = request;
    if !raw.is_empty() && raw.len() != inputs.len() {
        let problem = format!("there are {} inputs and {} raw contents", inputs.len(), raw.len());
        return Err(ProtocolError::Malformed { problem });
    }
    let is_raw = !raw.is_empty();
    let mut raw = raw.into_iter();
    let inputs = inputs.into_iter().map(|input| read_input(input, raw.next())).collect::<Result<_, _>>()?;
    let mut form = ResponseForm::new(is_raw);
    let outputs = outputs.into_iter().map(|output| read_output(output, is_raw, &mut form)).collect::<Result<_, _>>()?;
    let scheduling = scheduling(&parameters)?;
    let id = Some(id).filter(|id| !id.is_empty());
    let mut request = InferenceRequest { id, inputs, outputs, ..InferenceRequest::default() };
    request.context.priority = scheduling.priority;
    request.context.timeout = scheduling.timeout;
    Ok((request, form))
}

/// The parameters that say how the request is to be answered.
fn scheduling(parameters: &HashMap<String, InferParameter>) -> Result<Scheduling, ProtocolError> {
    let mut scheduling = Scheduling::default();
    for (name, parameter) in parameters {
        match (name.as_str(), &parameter.parameter_choice) {
            ("sequence_id", Some(ParameterChoice::Int64Param(0) | ParameterChoice::Uint64Param(0)) | None) => {}
            ("sequence_id", Some(ParameterChoice::StringParam(id))) if id.is_empty() => {}
            ("sequence_id", _) => return Err(no_sequences()),
            ("priority", Some(choice)) => scheduling.set_priority(whole("priority", choice)?),
            ("timeout", Some(choice)) => {
                let micros = whole("timeout", choice)?;
                scheduling.set_timeout(i64::try_from(micros).unwrap_or(i64::MAX))?;
            }
            _ => {}
        }
    }
    Ok(scheduling)
}

/// A number from 0 on, in either of the fields for whole numbers.
fn whole(parameter: &str, choice: &ParameterChoice) -> Result<u64, ProtocolError> {
    let number = match choice {
        ParameterChoice::Uint64Param(number) => Some(*number),
        ParameterChoice::Int64Param(number) => u64::try_from(*number).ok(),
        _ => None,
    };
    number.ok_or_else(|| wrong(parameter, "a whole number from 0 on is expected, as int64_param or uint64_param"))
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

fn read_output(
    output: InferRequestedOutputTensor,
    is_raw: bool,
    form: &mut ResponseForm,
) -> Result<String, ProtocolError> {
    refuse(&output.name, &output.parameters, codec::SHARED_MEMORY)?;
    if let Some(choice) = output.parameters.get(codec::CLASSIFICATION).and_then(|one| one.parameter_choice.as_ref()) {
        let classes = whole(codec::CLASSIFICATION, choice)?;
        form.name(&output.name, is_raw, usize::try_from(classes).unwrap_or(usize::MAX));
    }
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

    #[test]
    fn priority_and_timeout_are_the_hosts_and_sequences_are_refused() {
        let with = |name: &str, choice| {
            let parameter = InferParameter { parameter_choice: Some(choice) };
            let parameters = HashMap::from([(name.to_owned(), parameter)]);
            read(ModelInferRequest { parameters, ..Default::default() }).map(|(request, _)| request.context)
        };
        assert_eq!(with("priority", ParameterChoice::Uint64Param(2)).unwrap().priority, 2);
        let timeout = with("timeout", ParameterChoice::Int64Param(1500)).unwrap().timeout;
        assert_eq!(timeout, Some(std::time::Duration::from_micros(1500)));
        assert!(with("timeout", ParameterChoice::Int64Param(-1)).is_err());
        assert!(with("priority", ParameterChoice::StringParam("high".into())).is_err());
        assert!(with("sequence_id", ParameterChoice::Int64Param(0)).is_ok());
        assert!(with("sequence_id", ParameterChoice::StringParam("s".into())).is_err());
        assert!(with("anything", ParameterChoice::BoolParam(true)).is_ok());
    }
}
