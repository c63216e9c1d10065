use std::collections::HashMap;
use std::sync::Arc;

use ropewalk_open_inference::proto::infer_parameter::ParameterChoice;
use ropewalk_open_inference::proto::{InferParameter, ModelInferRequest, RepositoryIndexRequest, TraceSettingRequest};
use ropewalk_open_inference::{OpenInference, ProtocolLimits, Repository};
use tokio_stream::StreamExt;
use tonic::codec::CompressionEncoding;
use tonic::{Code, Status};

use crate::grpc::{Client, connect_to, raw};
use crate::rest_memory::Waiting;
use crate::world::host;

/// A server where two messages of 90,000 bytes do not fit, and a client of each kind: one that compresses and one that
/// does not.
async fn small(repository: &Arc<Waiting>) -> (Client, Client) {
    let limits = ProtocolLimits { message_bytes: 100_000, memory_bytes: 100_000, ..ProtocolLimits::default() };
    let server = OpenInference::new(host().await, limits);
    let (plain, channel) = connect_to(&server.with_repository(Arc::clone(repository) as Arc<dyn Repository>)).await;
    (Client::new(channel).send_compressed(CompressionEncoding::Gzip), plain)
}

/// Some hundred bytes once it is compressed.
fn long() -> ModelInferRequest {
    let blank = InferParameter { parameter_choice: Some(ParameterChoice::StringParam(" ".repeat(90_000))) };
    ModelInferRequest { parameters: HashMap::from([("note".to_owned(), blank)]), ..raw() }
}

fn no_room<T: std::fmt::Debug>(answer: Result<T, Status>) {
    let refused = answer.unwrap_err();
    assert_eq!(refused.code(), Code::Unavailable, "{refused}");
    assert!(refused.message().contains("compressed requests take up"), "{refused}");
    assert!(refused.metadata().contains_key("grpc-retry-pushback-ms"), "{refused}");
}

#[tokio::test]
async fn what_compressed_messages_take_in_memory_is_bounded_over_all_requests() {
    let repository = Waiting::new();
    let (mut packing, mut plain) = small(&repository).await;
    assert!(packing.model_infer(long()).await.is_ok(), "it fits alone");

    let mut other = packing.clone();
    let index = RepositoryIndexRequest { repository_name: " ".repeat(90_000), ready: false };
    let first = tokio::spawn(async move { other.repository_index(index).await });
    repository.asked.acquire().await.unwrap().forget();
    no_room(packing.model_infer(long()).await);
    let settings = TraceSettingRequest { model_name: " ".repeat(90_000), ..TraceSettingRequest::default() };
    no_room(packing.trace_setting(settings).await);
    let mut answers = packing.model_stream_infer(tokio_stream::iter([long()])).await.unwrap().into_inner();
    no_room(answers.next().await.unwrap());
    assert!(plain.model_infer(long()).await.is_ok(), "what comes as it is takes none of it");

    repository.told.add_permits(1);
    first.await.unwrap().unwrap();
    assert!(packing.model_infer(long()).await.is_ok(), "what was answered gave its room back");
}

/// Each of its messages takes a hundredth of what there is.
#[tokio::test]
async fn a_stream_of_compressed_messages_gives_their_room_back_one_by_one() {
    let (mut packing, _) = small(&Waiting::new()).await;
    let requests = tokio_stream::iter(std::iter::repeat_with(raw).take(300));
    let answers = packing.model_stream_infer(requests).await.unwrap().into_inner();
    let answers: Vec<_> = answers.map(Result::unwrap).collect().await;
    assert_eq!(answers.len(), 300);
    assert!(answers.iter().all(|answer| answer.error_message.is_empty()));
}

#[tokio::test]
async fn a_message_that_becomes_too_large_is_refused() {
    let (mut packing, mut plain) = small(&Waiting::new()).await;
    let large = ModelInferRequest { raw_input_contents: vec![vec![0; 200_000].into()], ..raw() };
    assert_eq!(packing.model_infer(large.clone()).await.unwrap_err().code(), Code::ResourceExhausted);
    assert_eq!(plain.model_infer(large).await.unwrap_err().code(), Code::OutOfRange);
    assert!(packing.model_infer(raw()).await.is_ok());
}
