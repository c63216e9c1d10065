//! What the fuzz targets call, and what short property tests call in CI: the readers of foreign bytes.

use prost::Message;
use ropewalk_inference::{NamedTensor, TensorData};
use ropewalk_serving::{InferenceRequest, InferenceResponse};
use ropewalk_types::{ElementType, ManualAmbient, ModelName, PredictionId, Signature, TensorSpec};

use crate::{ResponseForm, grpc, rest};

/// A model of one input of each type, named after it.
fn signature(datatypes: &[ElementType]) -> Signature {
    let spec =
        |datatype: &ElementType| TensorSpec { name: datatype.to_string(), datatype: *datatype, shape: vec![-1, -1] };
    let inputs: Vec<TensorSpec> = datatypes.iter().map(spec).collect();
    Signature { outputs: inputs.clone(), inputs }
}

fn all_types() -> Signature {
    use ElementType::{Bf16, Bool, Bytes, Fp16, Fp32, Fp64, Int8, Int16, Int32, Int64, Uint8, Uint16, Uint32, Uint64};
    signature(&[Bool, Uint8, Uint16, Uint32, Uint64, Int8, Int16, Int32, Int64, Fp16, Bf16, Fp32, Fp64, Bytes])
}

fn answer_of(request: InferenceRequest) -> InferenceResponse {
    InferenceResponse {
        prediction: PredictionId::new(&ManualAmbient::default()),
        id: request.id,
        model: ModelName::new("m").unwrap_or_else(|_| unreachable!("the name is a name")),
        version: 1,
        outputs: request.inputs,
    }
}

/// What is equal bit by bit; NaN is no equal of itself.
fn same(left: &[NamedTensor], right: &[NamedTensor]) -> bool {
    left.len() == right.len()
        && left.iter().zip(right).all(|(left, right)| {
            let bits = |data: &TensorData| {
                let mut bytes = Vec::new();
                crate::encode_binary(data, &mut bytes);
                bytes
            };
            left.name == right.name
                && left.tensor.shape == right.tensor.shape
                && left.tensor.element_type() == right.tensor.element_type()
                && bits(&left.tensor.data) == bits(&right.tensor.data)
        })
}

/// Reads the body of a request that is JSON alone.
///
/// # Panics
/// What was read and is written as binary data is read as something else.
pub fn json(body: &[u8]) {
    if let Ok((request, _)) = rest::read(body, None, &all_types()) {
        written_is_read(request);
    }
}

/// Reads a request with binary data; the first two bytes are the length of its JSON.
///
/// # Panics
/// What was read and is written as binary data is read as something else.
pub fn binary(bytes: &[u8]) {
    let Some((length, body)) = bytes.split_first_chunk::<2>() else { return };
    let length = usize::from(u16::from_le_bytes(*length));
    let signature = if length == 0 { signature(&[ElementType::Fp32]) } else { all_types() };
    if let Ok((request, _)) = rest::read(body, Some(length), &signature) {
        written_is_read(request);
    }
}

fn written_is_read(request: InferenceRequest) {
    let expected = request.inputs.clone();
    let answer = answer_of(request);
    let Ok((body, Some(length))) = rest::encode(&answer, &ResponseForm::binary()) else {
        assert!(expected.is_empty(), "binary data cannot be written");
        return;
    };
    // An answer is a request but for the name of one key.
    let text =
        String::from_utf8_lossy(body.get(..length).unwrap_or_default()).replacen("\"outputs\":[", "\"inputs\":[", 1);
    let (length, tail) = (text.len(), body.get(length..).unwrap_or_default());
    let body = [text.as_bytes(), tail].concat();
    match rest::read(&body, Some(length), &all_types()) {
        Ok((again, _)) => assert!(same(&again.inputs, &expected), "binary data reads as something else"),
        Err(error) => panic!("what was written is refused: {error}"),
    }
}

/// Reads a gRPC request.
///
/// # Panics
/// What was read and is written, raw or typed, is read as something else.
pub fn grpc(bytes: &[u8]) {
    // The service's codec lets nothing else through to the decoder.
    if !grpc::is_bounded(bytes, bytes.len()) {
        return;
    }
    let Ok(request) = grpc::proto::ModelInferRequest::decode(bytes) else { return };
    let Ok((request, _)) = grpc::read(request) else { return };
    let expected = request.inputs.clone();
    let answer = answer_of(request);
    for raw in [true, false] {
        let form = ResponseForm::new(raw);
        let Ok(written) = grpc::write(answer.clone(), &form, &all_types()) else {
            panic!("an answer cannot be written")
        };
        let inputs = written.outputs.into_iter().map(|output| grpc::proto::model_infer_request::InferInputTensor {
            name: output.name,
            datatype: output.datatype,
            shape: output.shape,
            parameters: output.parameters,
            contents: output.contents,
        });
        let again = grpc::proto::ModelInferRequest {
            inputs: inputs.collect(),
            raw_input_contents: written.raw_output_contents,
            ..Default::default()
        };
        match grpc::read(again) {
            Ok((again, _)) => assert!(same(&again.inputs, &expected), "a gRPC tensor reads as something else"),
            Err(error) => panic!("what was written is refused: {error}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A request that is nearly right.
    fn text() -> impl Strategy<Value = String> {
        let datatype = prop::sample::select(vec!["FP32", "INT64", "BYTES", "BOOL", "FP16", "UINT8", "TEXT"]);
        let element =
            prop::sample::select(vec!["1", "-1.5", "\"a\"", "true", "null", "1e400", "\"\\u00e9\"", "[2]", "{}"]);
        let elements = prop::collection::vec(element, 0..5);
        let size = prop::option::of(0_usize..20);
        (datatype, -1_i64..4, 0_i64..3, elements, size).prop_map(|(datatype, rows, columns, elements, size)| {
            let data = match size {
                Some(size) => format!("\"parameters\":{{\"binary_data_size\":{size}}}"),
                None => format!("\"data\":[{}]", elements.join(",")),
            };
            format!("{{\"inputs\":[{{\"name\":\"{datatype}\",\"datatype\":\"{datatype}\",\"shape\":[{rows},{columns}],{data}}}]}}")
        })
    }

    proptest! {
        #[test]
        fn no_json_breaks_the_reader(text in text(), cut in any::<prop::sample::Index>()) {
            json(text.as_bytes());
            let cut = cut.index(text.len());
            json(text.as_bytes().get(..cut).unwrap_or_default());
        }

        #[test]
        fn no_binary_data_breaks_the_reader(text in text(), tail in prop::collection::vec(any::<u8>(), 0..30), lie in 0_u16..3) {
            let length = (text.len() as u16).saturating_sub(lie);
            let mut bytes = [&length.to_le_bytes()[..], text.as_bytes(), &tail].concat();
            binary(&bytes);
            if let Some(head) = bytes.first_chunk_mut::<2>() {
                *head = [0, 0];
            }
            binary(&bytes);
        }

        #[test]
        fn no_message_breaks_the_reader(
            datatype in prop::sample::select(vec!["FP32", "BYTES", "BOOL", "FP16", "UINT8", "INT16", ""]),
            shape in prop::collection::vec(-1_i64..4, 0..3),
            raw in prop::option::of(prop::collection::vec(any::<u8>(), 0..30)),
            floats in prop::collection::vec(any::<f32>(), 0..5),
            ints in prop::collection::vec(any::<i32>(), 0..5),
        ) {
            let contents = grpc::proto::InferTensorContents { fp32_contents: floats, int_contents: ints, ..Default::default() };
            let input = grpc::proto::model_infer_request::InferInputTensor {
                name: "x".into(),
                datatype: datatype.into(),
                shape,
                contents: raw.is_none().then_some(contents),
                ..Default::default()
            };
            let request = grpc::proto::ModelInferRequest {
                inputs: vec![input],
                raw_input_contents: raw.into_iter().map(bytes::Bytes::from).collect(),
                ..Default::default()
            };
            grpc(&request.encode_to_vec());
        }

        #[test]
        fn no_bytes_break_a_reader(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            json(&bytes);
            binary(&bytes);
            grpc(&bytes);
        }
    }

    #[test]
    fn every_seed_is_read() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../fuzz/inference/seeds");
        for (target, read) in [("json", json as fn(&[u8])), ("binary", binary), ("grpc", grpc)] {
            let mut seeds = 0;
            for seed in std::fs::read_dir(format!("{folder}/{target}")).unwrap() {
                read(&std::fs::read(seed.unwrap().path()).unwrap());
                seeds += 1;
            }
            assert!(seeds > 0, "{target} has no seeds");
        }
    }
}
