use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use ropewalk_open_inference::proto::infer_parameter::ParameterChoice;
use ropewalk_open_inference::proto::model_infer_request::{InferInputTensor, InferRequestedOutputTensor};
use ropewalk_open_inference::proto::{
    CudaSharedMemoryStatusRequest, InferParameter, LogSettingsRequest, ModelConfigRequest, ModelInferRequest,
    ModelRepositoryParameter, ModelStatisticsRequest, RepositoryIndexRequest, RepositoryModelLoadRequest,
    RepositoryModelUnloadRequest, SystemSharedMemoryRegisterRequest, SystemSharedMemoryStatusRequest,
    TraceSettingRequest, model_repository_parameter, trace_setting_request,
};
use ropewalk_open_inference::{OpenInference, ProtocolLimits};
use tokio_stream::StreamExt;
use tonic::codec::CompressionEncoding;
use tonic::{Code, Request};

use crate::grpc::{Client, connect, connect_to, raw, server, typed};
use crate::world::{TestRepository, host};

#[tokio::test]
async fn a_stream_is_answered_in_order_with_errors_in_their_places() {
    let mut client = server(host().await).await;
    let requests: Vec<_> = (0..50)
        .map(|number| ModelInferRequest {
            id: number.to_string(),
            model_name: if number % 7 == 3 { "other".to_owned() } else { "flight delays".to_owned() },
            ..raw()
        })
        .collect();
    let stream = client.model_stream_infer(tokio_stream::iter(requests)).await.unwrap().into_inner();
    let answers: Vec<_> = stream.map(Result::unwrap).collect().await;
    assert_eq!(answers.len(), 50);
    for (number, answer) in answers.into_iter().enumerate() {
        let response = answer.infer_response.unwrap();
        assert_eq!(response.id, number.to_string());
        let last = &response.parameters["triton_final_response"].parameter_choice;
        assert_eq!(*last, Some(ParameterChoice::BoolParam(true)));
        assert_eq!(answer.error_message.contains("model `other` is not loaded"), number % 7 == 3);
        assert_eq!(response.outputs.len(), if number % 7 == 3 { 0 } else { 3 });
    }
}

#[tokio::test]
async fn a_message_over_the_limit_ends_its_stream_and_nothing_else() {
    let mut client = server(host().await).await;
    let large = ModelInferRequest { raw_input_contents: vec![vec![0; 200_000].into()], ..raw() };
    let requests = tokio_stream::iter([raw(), large, raw()]);
    let mut stream = client.model_stream_infer(requests).await.unwrap().into_inner();
    let mut last = None;
    while let Some(answer) = stream.next().await {
        last = Some(answer);
    }
    assert_eq!(last.unwrap().unwrap_err().code(), Code::OutOfRange);
    assert!(client.model_infer(raw()).await.is_ok());
}

async fn controlled() -> Client {
    let host = host().await;
    let repository = Arc::new(TestRepository(Arc::clone(&host)));
    connect_to(&OpenInference::new(host, ProtocolLimits::default()).with_repository(repository)).await.0
}

fn load(model: &str, parameters: &[&str]) -> RepositoryModelLoadRequest {
    let choice = model_repository_parameter::ParameterChoice::BytesParam(vec![1].into());
    let parameter = ModelRepositoryParameter { parameter_choice: Some(choice) };
    let parameters = parameters.iter().map(|name| ((*name).to_owned(), parameter.clone())).collect();
    RepositoryModelLoadRequest { model_name: model.to_owned(), parameters, ..Default::default() }
}

#[tokio::test]
async fn models_are_loaded_and_unloaded_by_name() {
    let mut alone = server(host().await).await;
    let refused = alone.repository_model_load(load("flight delays", &[])).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unavailable);
    assert_eq!(refused.message(), "explicit model load / unload is not allowed if polling is enabled");
    let mut client = controlled().await;
    client.repository_model_load(load("flight delays", &[])).await.unwrap();
    assert_eq!(client.model_infer(raw()).await.unwrap().into_inner().model_version, "4");
    let mut code = async |request| client.repository_model_load(request).await.unwrap_err().code();
    assert_eq!(code(load("flight delays", &["file:1/model.onnx"])).await, Code::InvalidArgument);
    assert_eq!(code(load("damaged", &[])).await, Code::InvalidArgument);
    assert_eq!(code(load("other", &[])).await, Code::NotFound);
    let unload = RepositoryModelUnloadRequest { model_name: "flight delays".to_owned(), ..Default::default() };
    client.repository_model_unload(unload).await.unwrap();
    let ready = RepositoryIndexRequest { ready: true, ..Default::default() };
    assert!(client.repository_index(ready).await.unwrap().into_inner().models.is_empty());
    assert_eq!(client.model_infer(raw()).await.unwrap_err().code(), Code::NotFound);
}

#[tokio::test]
async fn configuration_and_statistics_are_told() {
    let mut client = server(host().await).await;
    let named = |name: &str| ModelConfigRequest { name: name.to_owned(), version: String::new() };
    let config = client.model_config(named("flight delays")).await.unwrap().into_inner().config.unwrap();
    assert_eq!((config.name.as_str(), config.input.len(), config.backend.as_str()), ("flight delays", 3, "embedded"));
    assert_eq!(client.model_config(named("other")).await.unwrap_err().code(), Code::NotFound);
    client.model_infer(raw()).await.unwrap();
    let stats = ModelStatisticsRequest { name: "flight delays".to_owned(), version: "3".to_owned() };
    let [stats] = client.model_statistics(stats).await.unwrap().into_inner().model_stats.try_into().unwrap();
    assert_eq!((stats.inference_count, stats.inference_stats.unwrap().success.unwrap().count), (2, 1));
    let all = client.model_statistics(ModelStatisticsRequest::default()).await.unwrap().into_inner();
    assert_eq!(all.model_stats.len(), 2);
}

#[tokio::test]
async fn classes_are_told_by_value_index_and_label() {
    let mut client = server(host().await).await;
    let two = InferParameter { parameter_choice: Some(ParameterChoice::Int64Param(2)) };
    let parameters = HashMap::from([("classification".to_owned(), two)]);
    let outputs = vec![InferRequestedOutputTensor { name: "probability".to_owned(), parameters }];
    let answer = client.model_infer(ModelInferRequest { outputs, ..typed() }).await.unwrap().into_inner();
    assert_eq!((answer.outputs[0].datatype.as_str(), &answer.outputs[0].shape), ("BYTES", &vec![2, 2]));
    let classes = &answer.outputs[0].contents.as_ref().unwrap().bytes_contents;
    assert_eq!(classes, &["0.750000:0:late", "0.250000:1", "1.000000:1", "0.000000:0:late"]);
}

#[tokio::test]
async fn a_message_that_would_take_more_memory_than_it_has_bytes_is_refused() {
    let mut client = connect_to(&OpenInference::new(host().await, ProtocolLimits::default())).await.0;
    let inputs = vec![InferInputTensor::default(); 1 << 17];
    let refused = client.model_infer(ModelInferRequest { inputs, ..raw() }).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    assert!(refused.message().contains("more than 65536 fields"), "{}", refused.message());
}

#[tokio::test]
async fn settings_and_shared_memory_answer_as_when_they_are_off() {
    let mut client = server(host().await).await;
    let trace = client.trace_setting(TraceSettingRequest::default()).await.unwrap().into_inner();
    assert_eq!(trace.settings["trace_level"].value, ["OFF"]);
    let value = trace_setting_request::SettingValue { value: vec!["TIMESTAMPS".to_owned()] };
    let settings = HashMap::from([("trace_level".to_owned(), value)]);
    let change = TraceSettingRequest { settings, ..Default::default() };
    assert_eq!(client.trace_setting(change).await.unwrap_err().code(), Code::InvalidArgument);
    assert_eq!(client.log_settings(LogSettingsRequest::default()).await.unwrap().into_inner().settings.len(), 6);
    let status = client.system_shared_memory_status(SystemSharedMemoryStatusRequest::default()).await;
    assert!(status.unwrap().into_inner().regions.is_empty());
    let named = CudaSharedMemoryStatusRequest { name: "r".to_owned() };
    assert_eq!(client.cuda_shared_memory_status(named).await.unwrap_err().code(), Code::NotFound);
    let register = client.system_shared_memory_register(SystemSharedMemoryRegisterRequest::default()).await;
    assert_eq!(register.unwrap_err().code(), Code::InvalidArgument);
}

#[tokio::test]
async fn answers_are_compressed_for_those_who_compress() {
    let (_, channel) = connect(host().await).await;
    let asks = async |mut client: Client| {
        let answer = client.model_infer(Request::new(raw())).await.unwrap();
        answer.metadata().get("grpc-encoding").map(|encoding| encoding.to_str().unwrap().to_owned())
    };
    let accepting = Client::new(channel).accept_compressed(CompressionEncoding::Gzip);
    assert_eq!(asks(accepting.clone()).await, None);
    assert_eq!(asks(accepting.send_compressed(CompressionEncoding::Gzip)).await.as_deref(), Some("gzip"));
}

#[tokio::test]
async fn a_deadline_of_the_call_is_taken() {
    let mut client = server(host().await).await;
    let mut request = Request::new(raw());
    request.set_timeout(Duration::from_secs(30));
    assert!(client.model_infer(request).await.is_ok());
}
