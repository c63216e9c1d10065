use std::collections::HashMap;

use futures::{Stream, StreamExt};
use ropewalk_serving::RequestContext;
use tonic::{Status, Streaming};

use super::GrpcService;
use super::messages::Taken;
use super::proto::infer_parameter::ParameterChoice;
use super::proto::{InferParameter, ModelInferRequest, ModelInferResponse, ModelStreamInferResponse};
use crate::room::Room;

/// Requests of one stream that are answered at the same time; a client that sends more waits to be read.
const IN_FLIGHT: usize = 16;
/// Says that a request has no further answer. Each has one here, so it says so whether or not the client has set
/// `triton_enable_empty_final_response`: the answer is the final one, and no empty one follows it.
const FINAL: &str = "triton_final_response";

/// The answers of a stream, in the order of its requests. What is wrong with a request is told in its place; only
/// what cannot be read at all ends the stream.
pub(super) fn answers(
    service: GrpcService,
    context: RequestContext,
    taken: Option<Taken>,
    requests: Streaming<ModelInferRequest>,
) -> impl Stream<Item = Result<ModelStreamInferResponse, Status>> + Send + 'static {
    requests
        .map(move |request| {
            let (service, context) = (service.clone(), context.clone());
            let room = taken.as_ref().and_then(Taken::pop);
            async move { Ok(one(&service, context, request?, room).await) }
        })
        .buffered(IN_FLIGHT)
}

async fn one(
    service: &GrpcService,
    context: RequestContext,
    request: ModelInferRequest,
    room: Option<Room>,
) -> ModelStreamInferResponse {
    let (id, model_name, model_version) =
        (request.id.clone(), request.model_name.clone(), request.model_version.clone());
    let (error_message, mut response) = match service.infer(request, context, room).await {
        Ok(response) => (String::new(), response),
        Err(error) => {
            let response = ModelInferResponse { id, model_name, model_version, ..ModelInferResponse::default() };
            (error.to_string(), response)
        }
    };
    set_final(&mut response.parameters);
    ModelStreamInferResponse { error_message, infer_response: Some(response) }
}

fn set_final(parameters: &mut HashMap<String, InferParameter>) {
    parameters.insert(FINAL.to_owned(), InferParameter { parameter_choice: Some(ParameterChoice::BoolParam(true)) });
}
