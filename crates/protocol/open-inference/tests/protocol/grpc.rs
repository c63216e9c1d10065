use std::sync::Arc;

use bytes::Bytes;
use ropewalk_inference::TensorData;
use ropewalk_open_inference::proto::grpc_inference_service_client::GrpcInferenceServiceClient;
use ropewalk_open_inference::proto::infer_parameter::ParameterChoice;
use ropewalk_open_inference::proto::model_infer_request::{InferInputTensor, InferRequestedOutputTensor};
use ropewalk_open_inference::proto::{
    InferParameter, InferTensorContents, ModelInferRequest, ModelMetadataRequest, ModelReadyRequest,
    RepositoryIndexRequest, ServerMetadataRequest, ServerReadyRequest,
};
use ropewalk_open_inference::{OpenInference, ProtocolLimits};
use ropewalk_serving::{ModelHost, PredictionSink};
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::{Channel, Endpoint, Server};
use tonic::{Code, Request};
use tonic_prost::ProstCodec;

use crate::world::{Answers, host, host_on};

pub(crate) type Client = GrpcInferenceServiceClient<Channel>;

/// A server on a free port of the loopback address; it ends with the test's runtime.
pub(crate) async fn connect(host: Arc<ModelHost>) -> (Client, Channel) {
    let limits = ProtocolLimits { message_bytes: 100_000, ..ProtocolLimits::default() };
    connect_to(&OpenInference::new(host, limits)).await
}

pub(crate) async fn connect_to(server: &OpenInference) -> (Client, Channel) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = Server::builder()
        .add_routes(server.grpc_routes().unwrap())
        .serve_with_incoming(TcpListenerStream::new(listener));
    tokio::spawn(server);
    let channel = Endpoint::from_shared(format!("http://{address}")).unwrap().connect().await.unwrap();
    (Client::new(channel.clone()), channel)
}

pub(crate) async fn server(host: Arc<ModelHost>) -> Client {
    connect(host).await.0
}

fn input(name: &str, datatype: &str, shape: &[i64], contents: Option<InferTensorContents>) -> InferInputTensor {
    let (name, datatype) = (name.to_owned(), datatype.to_owned());
    InferInputTensor { name, datatype, shape: shape.to_vec(), contents, ..Default::default() }
}

pub(crate) fn typed() -> ModelInferRequest {
    let carriers = vec![Bytes::from_static(b"UA"), Bytes::from_static(b"\xff")];
    ModelInferRequest {
        model_name: "flight delays".to_owned(),
        id: "mine".to_owned(),
        inputs: vec![
            input(
                "carrier",
                "BYTES",
                &[2, 1],
                Some(InferTensorContents { bytes_contents: carriers, ..Default::default() }),
            ),
            input(
                "distance",
                "FP32",
                &[2, 1],
                Some(InferTensorContents { fp32_contents: vec![250.0, 1000.0], ..Default::default() }),
            ),
            input(
                "hour",
                "INT64",
                &[2, 1],
                Some(InferTensorContents { int64_contents: vec![7, 23], ..Default::default() }),
            ),
        ],
        ..Default::default()
    }
}

pub(crate) fn raw() -> ModelInferRequest {
    let mut request = typed();
    for input in &mut request.inputs {
        input.contents = None;
    }
    let distance: Vec<u8> = [250.0_f32, 1000.0].iter().flat_map(|value| value.to_le_bytes()).collect();
    let hour: Vec<u8> = [7_i64, 23].iter().flat_map(|value| value.to_le_bytes()).collect();
    request.raw_input_contents = vec![Bytes::from_static(b"\x02\0\0\0UA\x01\0\0\0\xff"), distance.into(), hour.into()];
    request
}

#[tokio::test]
async fn what_is_here_is_told() {
    let mut client = server(host().await).await;
    assert!(client.server_ready(ServerReadyRequest {}).await.unwrap().into_inner().ready);
    assert_eq!(client.server_metadata(ServerMetadataRequest {}).await.unwrap().into_inner().name, "ropewalk");
    let named = |name: &str, version: &str| ModelReadyRequest { name: name.to_owned(), version: version.to_owned() };
    assert!(client.model_ready(named("flight delays", "3")).await.unwrap().into_inner().ready);
    assert!(!client.model_ready(named("flight delays", "2")).await.unwrap().into_inner().ready);
    let request = ModelMetadataRequest { name: "flight delays".to_owned(), version: String::new() };
    let metadata = client.model_metadata(request).await.unwrap().into_inner();
    assert_eq!(metadata.versions, ["1", "3"]);
    assert_eq!((metadata.inputs[1].datatype.as_str(), &metadata.inputs[1].shape), ("FP32", &vec![-1, 1]));
    let index = client.repository_index(RepositoryIndexRequest::default()).await.unwrap().into_inner();
    assert_eq!(index.models.iter().map(|model| model.state.as_str()).collect::<Vec<_>>(), ["READY", "READY"]);
}

#[tokio::test]
async fn raw_is_answered_raw_and_typed_is_answered_typed() {
    let mut client = server(host().await).await;
    let answer = client.model_infer(raw()).await.unwrap().into_inner();
    assert_eq!((answer.id.as_str(), answer.model_version.as_str()), ("mine", "3"));
    assert_eq!(answer.raw_output_contents.len(), 3);
    assert!(answer.outputs.iter().all(|output| output.contents.is_none()));
    assert_eq!(&answer.raw_output_contents[2][..], b"\x02\0\0\0UA\x01\0\0\0\xff");
    let probability: Vec<u8> = [0.75_f32, 0.25, 0.0, 1.0].iter().flat_map(|value| value.to_le_bytes()).collect();
    assert_eq!(&answer.raw_output_contents[1][..], probability);

    let mut request = typed();
    request.outputs = vec![InferRequestedOutputTensor { name: "probability".to_owned(), ..Default::default() }];
    let answer = client.model_infer(request).await.unwrap().into_inner();
    assert!(answer.raw_output_contents.is_empty());
    assert_eq!(answer.outputs.len(), 1);
    assert_eq!(answer.outputs[0].shape, [2, 2]);
    assert_eq!(answer.outputs[0].contents.as_ref().unwrap().fp32_contents, [0.75, 0.25, 0.0, 1.0]);
}

#[tokio::test]
async fn the_answers_parameter_names_its_record() {
    let log = Arc::new(Answers::default());
    let mut client = server(host_on(Arc::clone(&log) as Arc<dyn PredictionSink>).await).await;
    let answer = client.model_infer(raw()).await.unwrap().into_inner();
    let Some(ParameterChoice::StringParam(id)) = &answer.parameters["prediction_id"].parameter_choice else {
        panic!("{:?}", answer.parameters);
    };
    let [record] = log.list().try_into().unwrap();
    assert_eq!(*id, record.prediction.to_string());
    let carrier = record.inputs.iter().find(|input| input.name == "carrier").unwrap();
    assert_eq!(carrier.tensor.data, TensorData::Bytes(vec![Bytes::from_static(b"UA"), Bytes::from_static(b"\xff")]));
}

#[tokio::test]
async fn each_fault_has_its_code() {
    let mut client = server(host().await).await;
    let mut code = async |request: ModelInferRequest| client.model_infer(request).await.unwrap_err().code();
    assert_eq!(code(ModelInferRequest { model_name: "other".to_owned(), ..raw() }).await, Code::NotFound);
    assert_eq!(code(ModelInferRequest { model_version: "2".to_owned(), ..raw() }).await, Code::NotFound);
    assert_eq!(code(ModelInferRequest { model_version: "x".to_owned(), ..raw() }).await, Code::InvalidArgument);

    let change = |change: &dyn Fn(&mut ModelInferRequest)| {
        let mut request = raw();
        change(&mut request);
        request
    };
    let shared = InferParameter { parameter_choice: Some(ParameterChoice::StringParam("region".to_owned())) };
    for request in [
        change(&|request| drop(request.inputs.pop())),
        change(&|request| drop(request.raw_input_contents.pop())),
        change(&|request| request.inputs[1].datatype = "FP64".to_owned()),
        change(&|request| request.inputs[1].datatype = "float".to_owned()),
        change(&|request| request.inputs[1].shape = vec![i64::MAX, 4]),
        change(&|request| request.inputs[1].name = "dist".to_owned()),
        change(&|request| request.inputs[1].contents = Some(InferTensorContents::default())),
        change(&|request| request.raw_input_contents[0] = Bytes::from_static(b"\xff\xff\xff\xff")),
        change(&|request| {
            request.inputs[1].parameters.insert("shared_memory_region".to_owned(), shared.clone());
        }),
        ModelInferRequest { inputs: vec![], raw_input_contents: vec![], ..raw() },
    ] {
        assert_eq!(code(request).await, Code::InvalidArgument);
    }
    // The transport refuses what is over the limit before it is decoded.
    let large = ModelInferRequest { raw_input_contents: vec![Bytes::from(vec![0; 200_000])], ..raw() };
    assert_eq!(code(large).await, Code::OutOfRange);
    // And the server goes on.
    assert!(client.model_infer(raw()).await.is_ok());
}

/// The messages of `grpc.health.v1`, as a probe has them.
#[derive(Clone, PartialEq, prost::Message)]
struct HealthCheckRequest {
    #[prost(string, tag = "1")]
    service: String,
}

#[derive(Clone, PartialEq, prost::Message)]
struct HealthCheckResponse {
    #[prost(int32, tag = "1")]
    status: i32,
}

async fn probe(channel: &Channel, service: &str) -> Result<i32, Code> {
    let mut client = tonic::client::Grpc::new(channel.clone());
    client.ready().await.unwrap();
    let request = Request::new(HealthCheckRequest { service: service.to_owned() });
    let path = PathAndQuery::from_static("/grpc.health.v1.Health/Check");
    let codec = ProstCodec::<HealthCheckRequest, HealthCheckResponse>::default();
    let response = client.unary(request, path, codec).await.map_err(|status| status.code())?;
    Ok(response.into_inner().status)
}

#[tokio::test]
async fn a_probe_is_told_whether_the_host_is_ready() {
    const SERVING: i32 = 1;
    const NOT_SERVING: i32 = 2;
    let host = host().await;
    let (mut client, channel) = connect(Arc::clone(&host)).await;
    for service in ["", "inference.GRPCInferenceService"] {
        assert_eq!(probe(&channel, service).await, Ok(SERVING));
    }
    assert_eq!(probe(&channel, "other").await, Err(Code::NotFound));
    host.unload(&"flight delays".parse().unwrap(), None);
    assert_eq!(probe(&channel, "").await, Ok(NOT_SERVING));
    assert!(!client.server_ready(ServerReadyRequest {}).await.unwrap().into_inner().ready);
    assert_eq!(client.model_infer(raw()).await.unwrap_err().code(), Code::NotFound);
}

#[tokio::test]
async fn who_watches_is_told_at_once_that_the_server_ends() {
    const SERVING: i32 = 1;
    const NOT_SERVING: i32 = 2;
    let server = OpenInference::new(host().await, ProtocolLimits::default());
    let (mut inference, channel) = connect_to(&server).await;
    let mut client = tonic::client::Grpc::new(channel.clone());
    client.ready().await.unwrap();
    let path = PathAndQuery::from_static("/grpc.health.v1.Health/Watch");
    let codec = ProstCodec::<HealthCheckRequest, HealthCheckResponse>::default();
    let asked = Request::new(HealthCheckRequest::default());
    let mut watched = client.server_streaming(asked, path, codec).await.unwrap().into_inner();
    assert_eq!(watched.message().await.unwrap().unwrap().status, SERVING);
    server.end();
    assert_eq!(watched.message().await.unwrap().unwrap().status, NOT_SERVING);
    assert_eq!(probe(&channel, "").await, Ok(NOT_SERVING));
    assert!(inference.model_infer(raw()).await.is_ok(), "what is asked is answered still");
}

#[test]
fn the_paths_of_all_methods_are_known() {
    let paths = OpenInference::grpc_paths().unwrap();
    for path in [
        "/inference.GRPCInferenceService/ModelInfer",
        "/inference.GRPCInferenceService/ModelStreamInfer",
        "/grpc.health.v1.Health/Watch",
        "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
    ] {
        assert_eq!(paths.iter().filter(|known| *known == path).count(), 1, "{path} in {paths:?}");
    }
}
