use std::time::Duration;

use bytes::Bytes;
use reqwest::header::CONTENT_TYPE;
use ropewalk_inference::NamedTensor;
use ropewalk_open_inference::{encode_binary, proto};
use ropewalk_types::TensorSpec;
use serde::Deserialize;
use tonic::metadata::MetadataValue;
use tonic::transport::Channel;

use crate::{LoadError, tensors};
use proto::grpc_inference_service_client::GrpcInferenceServiceClient;
use proto::model_infer_request::InferInputTensor;

/// A request that takes longer is given up.
const LONGEST: Duration = Duration::from_mins(1);
/// Longest of an answer's text that is told.
const SAID: usize = 500;

/// How an endpoint is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// REST with everything in JSON.
    RestJson,
    /// REST with binary tensors.
    RestBinary,
    /// gRPC with raw contents.
    Grpc,
}

/// A model behind an endpoint.
#[derive(Clone, Debug)]
pub struct Endpoint {
    url: String,
    transport: Transport,
    model: String,
    version: Option<u64>,
    key: Option<Key>,
    http: reqwest::Client,
}

/// What is not shown.
#[derive(Clone)]
struct Key(String);

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Key")
    }
}

/// A request that is sent again and again.
#[derive(Clone, Debug)]
pub struct LoadRequest {
    /// Rows that it asks for.
    pub rows: usize,
    body: Body,
}

#[derive(Clone, Debug)]
enum Body {
    Rest {
        bytes: Bytes,
        /// Length of the JSON before binary tensors.
        json: Option<usize>,
    },
    Grpc(Box<proto::ModelInferRequest>),
}

#[derive(Deserialize)]
struct Metadata {
    inputs: Vec<TensorSpec>,
}

/// One client; each has a connection of its own where the transport shares one.
#[derive(Debug)]
pub(crate) enum Client {
    Rest,
    Grpc(GrpcInferenceServiceClient<Channel>),
}

/// The status of a request that was not answered, and what was said.
pub(crate) struct Failed {
    pub(crate) status: String,
    pub(crate) said: String,
}

impl Endpoint {
    /// The model `model` of an endpoint, asked with `key` if there is one.
    ///
    /// # Errors
    /// The address cannot be used.
    pub fn new(
        endpoint: &str,
        transport: Transport,
        model: &str,
        version: Option<u64>,
        key: Option<String>,
    ) -> Result<Self, LoadError> {
        let wrong = |reason: String| LoadError::Address { endpoint: endpoint.to_owned(), reason };
        let url = if endpoint.contains("://") { endpoint.to_owned() } else { format!("http://{endpoint}") };
        let parsed = reqwest::Url::parse(&url).map_err(|error| wrong(error.to_string()))?;
        let schemes: &[&str] = if transport == Transport::Grpc { &["http"] } else { &["http", "https"] };
        if !schemes.contains(&parsed.scheme()) {
            return Err(wrong(format!("it is asked by {}", schemes.join(" or "))));
        }
        let http = reqwest::Client::builder().timeout(LONGEST).no_proxy().build();
        let http = http.map_err(|error| wrong(error.to_string()))?;
        let (url, model) = (url.trim_end_matches('/').to_owned(), model.to_owned());
        Ok(Self { url, transport, model, version, key: key.map(Key), http })
    }

    /// The request that is sent: `body` in JSON, or one of `rows` rows that is made up. It is sent once, to see that it is
    /// answered.
    ///
    /// # Errors
    /// Nobody answers, or with a refusal.
    pub async fn request(&self, rows: usize, body: Option<&str>) -> Result<LoadRequest, LoadError> {
        let inputs = match body {
            Some(body) => tensors::written(body)?,
            None => tensors::made_up(&self.inputs().await?, rows)?,
        };
        let rows = inputs.first().and_then(|input| input.tensor.shape.first()).copied().unwrap_or(1);
        let body = match (self.transport, body) {
            (Transport::RestJson, Some(body)) => Body::Rest { bytes: Bytes::from(body.to_owned()), json: None },
            (Transport::RestJson, None) => Body::Rest { bytes: tensors::json_body(&inputs).into(), json: None },
            (Transport::RestBinary, _) => {
                let (bytes, json) = tensors::binary_body(&inputs);
                Body::Rest { bytes: bytes.into(), json: Some(json) }
            }
            (Transport::Grpc, _) => Body::Grpc(Box::new(self.grpc_request(&inputs))),
        };
        let request = LoadRequest { rows, body };
        let mut client = self.client().await?;
        match self.send(&mut client, &request).await {
            Ok(()) => Ok(request),
            Err(Failed { status, said }) => Err(self.refused("the request", status, said)),
        }
    }

    pub(crate) async fn client(&self) -> Result<Client, LoadError> {
        if self.transport != Transport::Grpc {
            return Ok(Client::Rest);
        }
        let wrong = |reason: String| LoadError::Unreachable { endpoint: self.url.clone(), reason };
        let channel = Channel::from_shared(self.url.clone()).map_err(|error| wrong(error.to_string()))?;
        let channel = channel.timeout(LONGEST).tcp_nodelay(true).connect().await;
        let channel = channel.map_err(|error| wrong(in_full(&error)))?;
        Ok(Client::Grpc(GrpcInferenceServiceClient::new(channel).max_decoding_message_size(usize::MAX)))
    }

    /// Sends a request and reads all of the answer.
    pub(crate) async fn send(&self, client: &mut Client, request: &LoadRequest) -> Result<(), Failed> {
        match (client, &request.body) {
            (Client::Grpc(client), Body::Grpc(message)) => {
                let message = self.grpc_message((**message).clone())?;
                client.model_infer(message).await.map(|_| ()).map_err(|status| Failed::of_grpc(&status))
            }
            (_, Body::Rest { bytes, json }) => self.send_rest(bytes, *json).await,
            (Client::Rest, Body::Grpc(_)) => {
                Err(Failed { status: "client".to_owned(), said: "a request of gRPC over REST".to_owned() })
            }
        }
    }

    async fn send_rest(&self, bytes: &Bytes, json: Option<usize>) -> Result<(), Failed> {
        let mut request = self.http.post(format!("{}/infer", self.model_url())).body(bytes.clone());
        request = match json {
            Some(length) => request
                .header(CONTENT_TYPE, "application/octet-stream")
                .header("Inference-Header-Content-Length", length.to_string()),
            None => request.header(CONTENT_TYPE, "application/json"),
        };
        self.answered(request).await.map(|_| ())
    }

    async fn answered(&self, request: reqwest::RequestBuilder) -> Result<Bytes, Failed> {
        let request = match &self.key {
            Some(key) => request.bearer_auth(&key.0),
            None => request,
        };
        let response = request.send().await.map_err(|error| Failed::of_http(&error))?;
        let status = response.status();
        let body = response.bytes().await.map_err(|error| Failed::of_http(&error))?;
        if status.is_success() {
            return Ok(body);
        }
        let said = String::from_utf8_lossy(&body).chars().take(SAID).collect();
        Err(Failed { status: status.as_u16().to_string(), said })
    }

    /// What the model takes, as it says itself.
    async fn inputs(&self) -> Result<Vec<TensorSpec>, LoadError> {
        const WHAT: &str = "the model's metadata";
        let refused = |Failed { status, said }| self.refused(WHAT, status, said);
        let unreadable = |reason: String| LoadError::Unreadable { what: WHAT, reason };
        if let Client::Grpc(mut client) = self.client().await? {
            let version = self.version.map_or_else(String::new, |version| version.to_string());
            let asked = proto::ModelMetadataRequest { name: self.model.clone(), version };
            let asked = self.grpc_message(asked).map_err(refused)?;
            let answer = client.model_metadata(asked).await.map_err(|status| refused(Failed::of_grpc(&status)))?;
            let inputs = answer.into_inner().inputs.into_iter().map(|input| {
                let datatype = input.datatype.parse().map_err(|error| unreadable(format!("{error}")))?;
                Ok(TensorSpec { name: input.name, datatype, shape: input.shape })
            });
            return inputs.collect();
        }
        let body = self.answered(self.http.get(self.model_url())).await.map_err(refused)?;
        let metadata: Metadata = serde_json::from_slice(&body).map_err(|error| unreadable(error.to_string()))?;
        Ok(metadata.inputs)
    }

    fn model_url(&self) -> String {
        let version = self.version.map_or_else(String::new, |version| format!("/versions/{version}"));
        format!("{}/v2/models/{}{version}", self.url, self.model)
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
            model_version: self.version.map_or_else(String::new, |version| version.to_string()),
            inputs: tensors,
            raw_input_contents: raw,
            ..proto::ModelInferRequest::default()
        }
    }

    fn grpc_message<M>(&self, message: M) -> Result<tonic::Request<M>, Failed> {
        let mut message = tonic::Request::new(message);
        if let Some(key) = &self.key {
            let value = MetadataValue::try_from(format!("Bearer {}", key.0));
            let wrong = |_| Failed { status: "client".to_owned(), said: "the key is no text of a header".to_owned() };
            message.metadata_mut().insert("authorization", value.map_err(wrong)?);
        }
        Ok(message)
    }

    fn refused(&self, what: &'static str, status: String, reason: String) -> LoadError {
        let endpoint = self.url.clone();
        match status.as_str() {
            "connection" | "timeout" => LoadError::Unreachable { endpoint, reason },
            _ => LoadError::Refused { endpoint, what, status, reason },
        }
    }
}

impl Failed {
    fn of_http(error: &reqwest::Error) -> Self {
        let status = if error.is_timeout() { "timeout" } else { "connection" };
        Self { status: status.to_owned(), said: in_full(error) }
    }

    fn of_grpc(status: &tonic::Status) -> Self {
        let said = status.message().chars().take(SAID).collect();
        Self { status: format!("{:?}", status.code()), said }
    }
}

/// An error with its causes.
fn in_full(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
