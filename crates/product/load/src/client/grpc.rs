use hyper::Uri;
use hyper_util::rt::TokioIo;
use ropewalk_open_inference::proto;
use ropewalk_types::TensorSpec;
use tonic::metadata::MetadataMap;
use tonic::transport::{Channel, Endpoint};
use tower::service_fn;

use super::{Failed, LONGEST, in_full, shortened};
use crate::address::Address;
use proto::grpc_inference_service_client::GrpcInferenceServiceClient;

/// A client of gRPC.
pub(crate) struct GrpcClient {
    service: GrpcInferenceServiceClient<Channel>,
    metadata: MetadataMap,
}

/// That there is no connection, as an error that tonic can carry.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Unconnected(String);

impl GrpcClient {
    pub(crate) async fn open(address: Address, metadata: MetadataMap) -> Result<Self, Failed> {
        let failed = |said: String| Failed::new("connection", said);
        let origin: Uri = address.url().parse().map_err(|error| failed(format!("{error}")))?;
        // The connector encrypts; tonic shall not do so again.
        let plain = format!("http://{}", address.authority());
        let endpoint = Endpoint::from_shared(plain).map_err(|error| failed(in_full(&error)))?;
        let connector = service_fn(move |_: Uri| {
            let address = address.clone();
            async move { address.connect().await.map(TokioIo::new).map_err(|failed| Unconnected(failed.said)) }
        });
        let endpoint = endpoint.origin(origin).timeout(LONGEST);
        let channel = endpoint.connect_with_connector(connector).await.map_err(|error| failed(in_full(&error)))?;
        let service = GrpcInferenceServiceClient::new(channel).max_decoding_message_size(usize::MAX);
        Ok(Self { service, metadata })
    }

    pub(crate) async fn infer(&mut self, message: proto::ModelInferRequest) -> Result<(), Failed> {
        let message = self.with_metadata(message);
        self.service.model_infer(message).await.map(|_| ()).map_err(|status| of_grpc(&status))
    }

    /// What a model takes, as it says itself.
    pub(crate) async fn inputs(&mut self, name: String, version: String) -> Result<Vec<TensorSpec>, Failed> {
        let asked = self.with_metadata(proto::ModelMetadataRequest { name, version });
        let answer = self.service.model_metadata(asked).await.map_err(|status| of_grpc(&status))?;
        let inputs = answer.into_inner().inputs.into_iter().map(|input| {
            let datatype = input.datatype.parse();
            let datatype = datatype.map_err(|error| Failed::new("metadata", format!("{}: {error}", input.name)))?;
            Ok(TensorSpec { name: input.name, datatype, shape: input.shape })
        });
        inputs.collect()
    }

    fn with_metadata<M>(&self, message: M) -> tonic::Request<M> {
        let mut request = tonic::Request::new(message);
        *request.metadata_mut() = self.metadata.clone();
        request
    }
}

fn of_grpc(status: &tonic::Status) -> Failed {
    let status_code = match status.code() {
        // tonic says so when there is no connection, and a server when it has no room: only one of them has a cause.
        tonic::Code::Unavailable if std::error::Error::source(status).is_some() => "connection".to_owned(),
        tonic::Code::Cancelled if status.message() == "Timeout expired" => "timeout".to_owned(),
        code => format!("{code:?}"),
    };
    Failed { status: status_code, said: shortened(status.message()) }
}
