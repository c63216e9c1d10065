//! gRPC: the services and their messages.

mod bounded;
mod compression;
mod describe;
mod health;
mod message;
mod messages;
mod operations;
mod reflection;
mod request;
mod response;
mod stream;

use std::pin::Pin;
use std::sync::Arc;
use std::time::Instant;

use futures::Stream;
use tonic::codec::CompressionEncoding;
use tonic::{Request, Response, Status, Streaming};

use crate::classification::Labels;
use crate::codec::encoded_length;
use crate::context::{came_with, context, grpc_timeout};
use crate::{OpenInference, ProtocolError, off_reactor};
use messages::Taken;
use proto::grpc_inference_service_server::GrpcInferenceService;
use ropewalk_serving::RequestContext;

pub use compression::{AsAsked, message_decompressed};
pub(crate) use health::health_service;
pub use health::{HealthServer, HealthService};
pub(crate) use message::carried;
pub use proto::grpc_inference_service_server::GrpcInferenceServiceServer as GrpcServer;
pub(crate) use reflection::{add_reflection, paths};
#[cfg(any(test, fuzzing))]
pub(crate) use {bounded::is_bounded, request::read, response::write};

/// Messages, client and server of package `inference`, made from `proto/open_inference.proto`.
pub mod proto {
    #![expect(clippy::pedantic, reason = "written by tonic-prost-build")]
    tonic::include_proto!("inference");
}

/// `inference.GRPCInferenceService` on a host.
#[derive(Clone, Debug)]
pub struct GrpcService {
    server: Arc<OpenInference>,
}

/// The service for a tonic server; messages are bounded in both directions.
pub(crate) fn service(server: Arc<OpenInference>) -> AsAsked<GrpcServer<GrpcService>> {
    let (limit, rooms) = (server.limits.message_bytes, server.rooms.clone());
    let mut service =
        GrpcServer::new(GrpcService { server }).max_decoding_message_size(limit).max_encoding_message_size(limit);
    for encoding in [CompressionEncoding::Gzip, CompressionEncoding::Deflate] {
        service = service.accept_compressed(encoding).send_compressed(encoding);
    }
    AsAsked::new(service, limit, rooms)
}

/// The protocol writes an absent version as an empty text.
fn version(text: &str) -> Option<&str> {
    Some(text).filter(|text| !text.is_empty())
}

impl GrpcService {
    /// One inference request; `room` is what it takes if it came compressed.
    async fn infer(
        &self,
        mut request: proto::ModelInferRequest,
        context: RequestContext,
        room: impl Send + 'static,
    ) -> Result<proto::ModelInferResponse, ProtocolError> {
        let host = &self.server.host;
        let model = std::mem::take(&mut request.model_name);
        let version_text = std::mem::take(&mut request.model_version);
        let version = version(&version_text);
        let entered = host.enter(&model, version, Some(&request.id), &context)?;
        let signature = Arc::clone(entered.target().signature());
        let length = request.raw_input_contents.iter().map(bytes::Bytes::len).sum::<usize>();
        let length = if length > 0 { length } else { prost::Message::encoded_len(&request) };
        let began = Instant::now();
        let read = off_reactor(length, move || {
            let (request, form) = request::read(request)?;
            // Given back from here, so that it is held also where the client has gone away meanwhile.
            Ok((request, form, room))
        });
        let (mut request, mut form, _room) = read.await.inspect_err(|_| host.count_unread(&entered))?;
        let reading = began.elapsed();
        came_with(&mut request.context, context);
        let answer = host.infer_entered(entered, request).await?;
        form.set_labels(|output| Labels::of(host, &model, answer.version, output));
        let length = answer.outputs.iter().map(|output| encoded_length(&output.tensor.data)).sum();
        let (name, number) = (answer.model.clone(), answer.version);
        let began = Instant::now();
        let response = off_reactor(length, move || response::write(answer, &form, &signature)).await?;
        host.count_codec(&name, number, reading, began.elapsed());
        Ok(response)
    }

    fn context<T>(&self, request: &Request<T>) -> RequestContext {
        context(request.metadata().as_ref(), request.extensions(), &self.server.host.watched_labels())
    }
}

type Answer<T> = Result<Response<T>, Status>;

fn answer<T>(message: Result<T, ProtocolError>) -> Answer<T> {
    Ok(Response::new(message?))
}

#[tonic::async_trait]
impl GrpcInferenceService for GrpcService {
    type ModelStreamInferStream =
        Pin<Box<dyn Stream<Item = Result<proto::ModelStreamInferResponse, Status>> + Send + 'static>>;

    async fn model_infer(&self, request: Request<proto::ModelInferRequest>) -> Answer<proto::ModelInferResponse> {
        let mut context = self.context(&request);
        context.deadline = grpc_timeout(request.metadata().as_ref());
        let taken = request.extensions().get::<Taken>().cloned();
        answer(self.infer(request.into_inner(), context, taken).await)
    }

    async fn model_stream_infer(
        &self,
        request: Request<Streaming<proto::ModelInferRequest>>,
    ) -> Answer<Self::ModelStreamInferStream> {
        // The call's deadline is that of the whole stream, not of one of its requests.
        let context = self.context(&request);
        let taken = request.extensions().get::<Taken>().cloned();
        Ok(Response::new(Box::pin(stream::answers(self.clone(), context, taken, request.into_inner()))))
    }

    async fn server_live(&self, _request: Request<proto::ServerLiveRequest>) -> Answer<proto::ServerLiveResponse> {
        Ok(Response::new(proto::ServerLiveResponse { live: true }))
    }

    async fn server_ready(&self, _request: Request<proto::ServerReadyRequest>) -> Answer<proto::ServerReadyResponse> {
        Ok(Response::new(proto::ServerReadyResponse { ready: self.server.host.readiness().is_ready() }))
    }

    /// A model that is not here is not ready; clients ask so before they wait for it.
    async fn model_ready(&self, request: Request<proto::ModelReadyRequest>) -> Answer<proto::ModelReadyResponse> {
        let request = request.into_inner();
        let ready = self.server.host.ready(&request.name, version(&request.version));
        Ok(Response::new(proto::ModelReadyResponse { ready: ready.is_ok_and(|readiness| readiness.is_ready()) }))
    }

    async fn server_metadata(
        &self,
        _request: Request<proto::ServerMetadataRequest>,
    ) -> Answer<proto::ServerMetadataResponse> {
        Ok(Response::new(describe::server()))
    }

    async fn model_metadata(
        &self,
        request: Request<proto::ModelMetadataRequest>,
    ) -> Answer<proto::ModelMetadataResponse> {
        let request = request.into_inner();
        answer(describe::model(&self.server, &request.name, version(&request.version)))
    }

    async fn model_config(&self, request: Request<proto::ModelConfigRequest>) -> Answer<proto::ModelConfigResponse> {
        let request = request.into_inner();
        answer(describe::config(&self.server, &request.name, version(&request.version)))
    }

    async fn model_statistics(
        &self,
        request: Request<proto::ModelStatisticsRequest>,
    ) -> Answer<proto::ModelStatisticsResponse> {
        let request = request.into_inner();
        answer(describe::statistics(&self.server, &request.name, version(&request.version)))
    }

    async fn repository_index(
        &self,
        request: Request<proto::RepositoryIndexRequest>,
    ) -> Answer<proto::RepositoryIndexResponse> {
        answer(operations::index(&self.server, request.into_inner().ready).await)
    }

    async fn repository_model_load(
        &self,
        request: Request<proto::RepositoryModelLoadRequest>,
    ) -> Answer<proto::RepositoryModelLoadResponse> {
        answer(operations::load(&self.server, &request.into_inner()).await)
    }

    async fn repository_model_unload(
        &self,
        request: Request<proto::RepositoryModelUnloadRequest>,
    ) -> Answer<proto::RepositoryModelUnloadResponse> {
        answer(operations::unload(&self.server, &request.into_inner()).await)
    }

    async fn system_shared_memory_status(
        &self,
        request: Request<proto::SystemSharedMemoryStatusRequest>,
    ) -> Answer<proto::SystemSharedMemoryStatusResponse> {
        operations::no_region("system", request.into_inner().name)?;
        Ok(Response::new(proto::SystemSharedMemoryStatusResponse::default()))
    }

    async fn system_shared_memory_register(
        &self,
        _request: Request<proto::SystemSharedMemoryRegisterRequest>,
    ) -> Answer<proto::SystemSharedMemoryRegisterResponse> {
        answer(Err(ProtocolError::SharedMemory { kind: "system" }))
    }

    async fn system_shared_memory_unregister(
        &self,
        _request: Request<proto::SystemSharedMemoryUnregisterRequest>,
    ) -> Answer<proto::SystemSharedMemoryUnregisterResponse> {
        Ok(Response::new(proto::SystemSharedMemoryUnregisterResponse {}))
    }

    async fn cuda_shared_memory_status(
        &self,
        request: Request<proto::CudaSharedMemoryStatusRequest>,
    ) -> Answer<proto::CudaSharedMemoryStatusResponse> {
        operations::no_region("CUDA", request.into_inner().name)?;
        Ok(Response::new(proto::CudaSharedMemoryStatusResponse::default()))
    }

    async fn cuda_shared_memory_register(
        &self,
        _request: Request<proto::CudaSharedMemoryRegisterRequest>,
    ) -> Answer<proto::CudaSharedMemoryRegisterResponse> {
        answer(Err(ProtocolError::SharedMemory { kind: "CUDA" }))
    }

    async fn cuda_shared_memory_unregister(
        &self,
        _request: Request<proto::CudaSharedMemoryUnregisterRequest>,
    ) -> Answer<proto::CudaSharedMemoryUnregisterResponse> {
        Ok(Response::new(proto::CudaSharedMemoryUnregisterResponse {}))
    }

    async fn trace_setting(&self, request: Request<proto::TraceSettingRequest>) -> Answer<proto::TraceSettingResponse> {
        answer(operations::trace(&request.into_inner()))
    }

    async fn log_settings(&self, request: Request<proto::LogSettingsRequest>) -> Answer<proto::LogSettingsResponse> {
        answer(operations::log(&request.into_inner()))
    }
}
