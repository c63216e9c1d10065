//! gRPC: the services and their messages.

mod health;
mod request;
mod response;

use std::sync::Arc;

use ropewalk_serving::{ModelHost, ModelMetadata};
use ropewalk_types::TensorSpec;
use tonic::{Request, Response, Status};

use crate::codec::encoded_length;
use crate::{EXTENSIONS, ProtocolError, ProtocolLimits, SERVER, off_reactor};
use proto::grpc_inference_service_server::{GrpcInferenceService, GrpcInferenceServiceServer};
use proto::model_metadata_response::TensorMetadata;
use proto::repository_index_response::ModelIndex;

pub use health::{HealthService, health_service};

/// Messages, client and server of package `inference`, made from `proto/open_inference.proto`.
pub mod proto {
    #![expect(clippy::pedantic, reason = "written by tonic-prost-build")]
    tonic::include_proto!("inference");
}

/// `inference.GRPCInferenceService` on a host.
#[derive(Clone, Debug)]
pub struct GrpcService {
    host: Arc<ModelHost>,
}

/// The service for a tonic server; messages are bounded in both directions.
pub fn grpc_service(host: Arc<ModelHost>, limits: ProtocolLimits) -> GrpcInferenceServiceServer<GrpcService> {
    GrpcInferenceServiceServer::new(GrpcService { host })
        .max_decoding_message_size(limits.message_bytes)
        .max_encoding_message_size(limits.message_bytes)
}

/// The protocol writes an absent version as an empty text.
fn version(text: &str) -> Option<&str> {
    Some(text).filter(|text| !text.is_empty())
}

#[tonic::async_trait]
impl GrpcInferenceService for GrpcService {
    async fn server_live(
        &self,
        _request: Request<proto::ServerLiveRequest>,
    ) -> Result<Response<proto::ServerLiveResponse>, Status> {
        Ok(Response::new(proto::ServerLiveResponse { live: true }))
    }

    async fn server_ready(
        &self,
        _request: Request<proto::ServerReadyRequest>,
    ) -> Result<Response<proto::ServerReadyResponse>, Status> {
        Ok(Response::new(proto::ServerReadyResponse { ready: self.host.readiness().is_ready() }))
    }

    /// A model that is not here is not ready; clients ask so before they wait for it.
    async fn model_ready(
        &self,
        request: Request<proto::ModelReadyRequest>,
    ) -> Result<Response<proto::ModelReadyResponse>, Status> {
        let request = request.into_inner();
        let ready = self.host.ready(&request.name, version(&request.version));
        Ok(Response::new(proto::ModelReadyResponse { ready: ready.is_ok_and(|readiness| readiness.is_ready()) }))
    }

    async fn server_metadata(
        &self,
        _request: Request<proto::ServerMetadataRequest>,
    ) -> Result<Response<proto::ServerMetadataResponse>, Status> {
        Ok(Response::new(proto::ServerMetadataResponse {
            name: SERVER.to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            extensions: EXTENSIONS.map(str::to_owned).to_vec(),
        }))
    }

    async fn model_metadata(
        &self,
        request: Request<proto::ModelMetadataRequest>,
    ) -> Result<Response<proto::ModelMetadataResponse>, Status> {
        let request = request.into_inner();
        let metadata = self.host.metadata(&request.name, version(&request.version)).map_err(ProtocolError::from)?;
        let tensors = |specs: &[TensorSpec]| -> Vec<TensorMetadata> {
            let tensor = |spec: &TensorSpec| TensorMetadata {
                name: spec.name.clone(),
                datatype: spec.datatype.to_string(),
                shape: spec.shape.clone(),
            };
            specs.iter().map(tensor).collect()
        };
        Ok(Response::new(proto::ModelMetadataResponse {
            name: metadata.name.to_string(),
            versions: metadata.versions.iter().map(u64::to_string).collect(),
            platform: format!("{}_onnx", metadata.engine),
            inputs: tensors(&metadata.signature.inputs),
            outputs: tensors(&metadata.signature.outputs),
        }))
    }

    async fn model_infer(
        &self,
        request: Request<proto::ModelInferRequest>,
    ) -> Result<Response<proto::ModelInferResponse>, Status> {
        let mut request = request.into_inner();
        let model = std::mem::take(&mut request.model_name);
        let version_text = std::mem::take(&mut request.model_version);
        let length = prost::Message::encoded_len(&request);
        let (request, raw) = off_reactor(length, move || request::read(request)).await?;
        let answer = self.host.infer(&model, version(&version_text), request).await.map_err(ProtocolError::from)?;
        let length = answer.outputs.iter().map(|output| encoded_length(&output.tensor.data)).sum();
        let response = off_reactor(length, move || Ok(response::write(answer, raw))).await?;
        Ok(Response::new(response))
    }

    async fn repository_index(
        &self,
        request: Request<proto::RepositoryIndexRequest>,
    ) -> Result<Response<proto::RepositoryIndexResponse>, Status> {
        let readiness = self.host.readiness();
        let (state, reason) = match &readiness {
            ropewalk_serving::Readiness::Ready => ("READY", ""),
            ropewalk_serving::Readiness::NotReady { reason } => ("UNAVAILABLE", reason.as_str()),
        };
        let index = |model: ModelMetadata| ModelIndex {
            name: model.name.to_string(),
            version: model.version.to_string(),
            state: state.to_owned(),
            reason: reason.to_owned(),
        };
        let models = if request.into_inner().ready && !readiness.is_ready() {
            Vec::new()
        } else {
            self.host.model_list().into_iter().map(index).collect()
        };
        Ok(Response::new(proto::RepositoryIndexResponse { models }))
    }
}
