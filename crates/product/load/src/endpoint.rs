use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{CONTENT_TYPE, HOST, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Request};
use ropewalk_inference::NamedTensor;
use ropewalk_open_inference::{encode_binary, proto};
use ropewalk_types::TensorSpec;
use serde::Deserialize;
use tonic::metadata::MetadataMap;

use crate::address::Address;
use crate::client::{Client, Failed, GrpcClient, RestClient};
use crate::requests::{Body, LoadRequest};
use crate::{LoadError, tensors};
use proto::model_infer_request::InferInputTensor;

const METADATA: &str = "the model's metadata";
const JSON: HeaderValue = HeaderValue::from_static("application/json");
const BINARY: HeaderValue = HeaderValue::from_static("application/octet-stream");
const HEADER_LENGTH: HeaderName = HeaderName::from_static("inference-header-content-length");

/// How an endpoint is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Transport {
    /// REST with everything in JSON.
    RestJson,
    /// REST with binary tensors.
    RestBinary,
    /// gRPC with raw contents.
    Grpc,
    /// A body as it is, to this path: what another protocol than Open Inference wants, such as `/invocations` of MLflow.
    Path(String),
}

/// What is asked, how, and by whom.
pub struct EndpointSettings {
    /// URL, or HOST:PORT.
    pub address: String,
    /// How it is asked.
    pub transport: Transport,
    /// The model.
    pub model: String,
    /// Its version; none for the one that the server chooses.
    pub version: Option<u64>,
    /// Headers of HTTP or metadata of gRPC that each request has, such as a key. They are never shown.
    pub headers: Vec<(String, String)>,
    /// Certificates in PEM to which that of the endpoint must lead; none for those that this machine trusts.
    pub trusted: Option<Vec<u8>>,
}

/// A model behind an endpoint.
#[derive(Clone)]
pub struct Endpoint {
    address: Address,
    transport: Transport,
    model: String,
    version: Option<u64>,
    headers: HeaderMap,
}

impl std::fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Endpoint").field("address", &self.address).field("model", &self.model).finish_non_exhaustive()
    }
}

#[derive(Deserialize)]
struct Metadata {
    inputs: Vec<TensorSpec>,
}

impl Endpoint {
    /// Asks nobody yet.
    ///
    /// # Errors
    /// The address, a header or the certificates cannot be used.
    pub fn new(settings: EndpointSettings) -> Result<Self, LoadError> {
        let EndpointSettings { address, transport, model, version, headers, trusted } = settings;
        let protocol = if transport == Transport::Grpc { "h2" } else { "http/1.1" };
        let address = Address::parse(&address, protocol, trusted.as_deref())?;
        if matches!(&transport, Transport::Path(path) if !path.starts_with('/')) {
            let reason = "a path begins with a slash".to_owned();
            return Err(LoadError::Address { endpoint: address.url(), reason });
        }
        Ok(Self { address, transport, model, version, headers: header_map(&headers)? })
    }

    pub(crate) async fn client(&self) -> Result<Client, Failed> {
        if self.transport == Transport::Grpc {
            let metadata = MetadataMap::from_headers(self.headers.clone());
            return Ok(Client::Grpc(GrpcClient::open(self.address.clone(), metadata).await?));
        }
        Ok(Client::Rest(RestClient::open(self.address.clone()).await?))
    }

    /// What the model takes, as it says itself.
    pub(crate) async fn inputs(&self) -> Result<Vec<TensorSpec>, LoadError> {
        let refused = |failed| self.refused(METADATA, failed);
        match self.client().await.map_err(refused)? {
            Client::Grpc(mut client) => client.inputs(self.model.clone(), self.version_text()).await.map_err(refused),
            Client::Rest(mut client) => {
                let request = self.http(Method::GET, &self.model_path(), Bytes::new())?;
                let body = client.send(request).await.map_err(refused)?;
                let metadata: Result<Metadata, _> = serde_json::from_slice(&body);
                let unreadable =
                    |error: serde_json::Error| LoadError::Unreadable { what: METADATA, reason: error.to_string() };
                Ok(metadata.map_err(unreadable)?.inputs)
            }
        }
    }

    /// A request with these inputs.
    pub(crate) fn request_of(&self, inputs: &[NamedTensor]) -> Result<LoadRequest, LoadError> {
        let rows = inputs.first().and_then(|input| input.tensor.shape.first()).copied().unwrap_or(1);
        let infer = format!("{}/infer", self.model_path());
        let body = match &self.transport {
            Transport::Grpc => Body::Grpc(Box::new(self.grpc_request(inputs))),
            Transport::RestBinary => {
                let (bytes, json) = tensors::binary_body(inputs);
                let mut request = self.http(Method::POST, &infer, bytes.into())?;
                request.headers_mut().insert(CONTENT_TYPE, BINARY);
                request.headers_mut().insert(HEADER_LENGTH, json.into());
                Body::Rest(Box::new(request))
            }
            Transport::RestJson => {
                Body::Rest(Box::new(self.http(Method::POST, &infer, tensors::json_body(inputs).into())?))
            }
            Transport::Path(_) => return Err(no_body()),
        };
        Ok(LoadRequest { rows, body })
    }

    /// A request of a body as it is written.
    pub(crate) fn request_written(&self, body: &str) -> Result<LoadRequest, LoadError> {
        if let Transport::Path(path) = &self.transport {
            let request = self.http(Method::POST, path, Bytes::from(body.to_owned()))?;
            return Ok(LoadRequest { rows: 1, body: Body::Rest(Box::new(request)) });
        }
        let mut request = self.request_of(&tensors::written(body)?)?;
        if self.transport == Transport::RestJson {
            let infer = format!("{}/infer", self.model_path());
            request.body = Body::Rest(Box::new(self.http(Method::POST, &infer, Bytes::from(body.to_owned()))?));
        }
        Ok(request)
    }

    /// Sends a request once.
    pub(crate) async fn asked(&self, request: &LoadRequest) -> Result<(), LoadError> {
        let refused = |failed| self.refused("the request", failed);
        let mut client = self.client().await.map_err(refused)?;
        client.send(&request.body).await.map_err(refused)
    }

    fn http(&self, method: Method, path: &str, body: Bytes) -> Result<Request<Full<Bytes>>, LoadError> {
        let wrong = |reason: String| LoadError::Address { endpoint: self.address.url(), reason };
        let is_empty = body.is_empty();
        let request = Request::builder().method(method).uri(self.address.target(path)).body(Full::new(body));
        let mut request = request.map_err(|error| wrong(error.to_string()))?;
        let headers = request.headers_mut();
        let host = HeaderValue::try_from(self.address.authority()).map_err(|error| wrong(error.to_string()))?;
        headers.insert(HOST, host);
        if !is_empty {
            headers.insert(CONTENT_TYPE, JSON);
        }
        headers.extend(self.headers.clone());
        Ok(request)
    }

    fn version_text(&self) -> String {
        self.version.map_or_else(String::new, |version| version.to_string())
    }

    fn model_path(&self) -> String {
        let version = self.version.map_or_else(String::new, |version| format!("/versions/{version}"));
        format!("/v2/models/{}{version}", self.model)
    }

    fn grpc_request(&self, inputs: &[NamedTensor]) -> proto::ModelInferRequest {
        let (mut tensors, mut raw) = (Vec::new(), Vec::new());
        for NamedTensor { name, tensor } in inputs {
            let mut bytes = Vec::new();
            encode_binary(&tensor.data, &mut bytes);
            raw.push(Bytes::from(bytes));
            tensors.push(InferInputTensor {
                name: name.clone(),
                datatype: tensor.element_type().to_string(),
                shape: tensor.shape.iter().map(|extent| *extent as i64).collect(),
                ..InferInputTensor::default()
            });
        }
        proto::ModelInferRequest {
            model_name: self.model.clone(),
            model_version: self.version_text(),
            inputs: tensors,
            raw_input_contents: raw,
            ..proto::ModelInferRequest::default()
        }
    }

    fn refused(&self, what: &'static str, Failed { status, said }: Failed) -> LoadError {
        let (endpoint, reason) = (self.address.url(), said);
        match status.as_str() {
            "connection" | "timeout" => LoadError::Unreachable { endpoint, reason },
            "metadata" => LoadError::Unreadable { what, reason },
            _ => LoadError::Refused { endpoint, what, status, reason },
        }
    }
}

fn no_body() -> LoadError {
    LoadError::Unreadable { what: "the request", reason: "a path is asked with the body of a file only".to_owned() }
}

fn header_map(headers: &[(String, String)]) -> Result<HeaderMap, LoadError> {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        // The value may be a secret: only the name is told.
        let wrong = |reason: String| LoadError::Header { name: name.clone(), reason };
        let header = HeaderName::try_from(name.as_str()).map_err(|error| wrong(error.to_string()))?;
        let mut value = HeaderValue::try_from(value.as_str()).map_err(|error| wrong(error.to_string()))?;
        value.set_sensitive(true);
        map.append(header, value);
    }
    Ok(map)
}
