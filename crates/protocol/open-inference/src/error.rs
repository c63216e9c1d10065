use std::time::Duration;

use axum::body::Body;
use axum::http::header::{ALLOW, CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use ropewalk_serving::json::push_text;
use ropewalk_serving::{Fault, ServingError, whole_seconds};
use ropewalk_types::Diagnose;
use tonic::metadata::MetadataValue;
use tonic::{Code, Status};

use crate::TensorError;
use crate::grpc::carried;

/// When to come again, where nobody knows better.
const RETRY: Duration = Duration::from_secs(1);

/// What can be wrong with a message of the protocol, or with the answer to it.
#[derive(Debug, thiserror::Error)]
pub enum ProtocolError {
    /// The message cannot be read.
    #[error("cannot read the request: {problem}")]
    Malformed {
        /// What is wrong with it.
        problem: String,
    },
    /// The elements of an input cannot be read.
    #[error("input `{input}`: {problem}")]
    Input {
        /// The input.
        input: String,
        /// What is wrong with it.
        problem: TensorError,
    },
    /// A tensor of text is wanted as JSON, but is no text.
    #[error("output `{output}` is not UTF-8 and cannot be written as JSON")]
    NotText {
        /// The output.
        output: String,
    },
    /// The request needs an extension of the protocol that is not spoken here.
    #[error("{parameter} of `{tensor}` is not supported")]
    Unsupported {
        /// The tensor.
        tensor: String,
        /// The parameter that asks for it.
        parameter: &'static str,
    },
    /// A parameter's value cannot be taken.
    #[error("parameter `{parameter}`: {problem}")]
    Parameter {
        /// The parameter.
        parameter: String,
        /// What is wrong with its value.
        problem: String,
    },
    /// An output's elements have no order in which the classes could be told.
    #[error("output `{output}` cannot be classified: {problem}")]
    Classification {
        /// The output.
        output: String,
        /// Why not.
        problem: &'static str,
    },
    /// Models are loaded and unloaded by the server itself only.
    #[error("explicit model load / unload is not allowed if polling is enabled")]
    NoControl,
    /// The repository has no such model.
    #[error("failed to load '{model}': the repository has no such model")]
    UnknownInRepository {
        /// The model.
        model: String,
    },
    /// The repository has the model, but it cannot be loaded or unloaded.
    #[error("failed to {action} '{model}': {reason}")]
    Control {
        /// `load` or `unload`.
        action: &'static str,
        /// The model.
        model: String,
        /// Why.
        reason: String,
    },
    /// Memory is not shared with clients.
    #[error("{kind} shared memory is not supported: send tensors in the request and take them from the response")]
    SharedMemory {
        /// `system` or `CUDA`.
        kind: &'static str,
    },
    /// No region of that name is registered.
    #[error("Unable to find {kind} shared memory region: '{region}'")]
    UnknownRegion {
        /// `system` or `CUDA`.
        kind: &'static str,
        /// The region.
        region: String,
    },
    /// A setting of the server is not a client's to change.
    #[error("{what} settings are the server's own and cannot be changed here: `{setting}`")]
    Setting {
        /// `trace` or `log`.
        what: &'static str,
        /// The setting.
        setting: String,
    },
    /// The body is compressed in a way that is not read here.
    #[error("content encoding `{encoding}` is not supported")]
    Encoding {
        /// The encoding.
        encoding: String,
    },
    /// The message is over the limit.
    #[error("the request is larger than {limit} bytes")]
    TooLarge {
        /// Bytes that are allowed.
        limit: usize,
    },
    /// The body did not arrive in time.
    #[error("the request's body did not arrive within {0:?}")]
    Slow(Duration),
    /// As many requests are being read and answered as may be.
    #[error("{requests} requests are being answered, no more are taken")]
    Busy {
        /// Requests that are taken at once.
        requests: usize,
    },
    /// As much memory is taken by bodies and messages that were compressed as may be.
    #[error("compressed requests take up the {bytes} bytes that there are for them, no more are taken")]
    NoRoom {
        /// Bytes that they may take at once.
        bytes: usize,
    },
    /// There is nothing at that path.
    #[error("no such path: {path}")]
    UnknownPath {
        /// The path.
        path: String,
    },
    /// The path does not take this method.
    #[error("{method} is not allowed here, use {allowed}")]
    Method {
        /// The method.
        method: String,
        /// The method that the path takes.
        allowed: &'static str,
    },
    /// The server cannot answer now.
    #[error("not ready: {reason}")]
    NotReady {
        /// Why.
        reason: String,
    },
    /// We failed in the middle of a request.
    #[error("the server failed while it answered")]
    Failed,
    /// The host's answer.
    #[error(transparent)]
    Serving(#[from] ServingError),
}

impl ProtocolError {
    pub(crate) fn malformed(problem: &impl ToString) -> Self {
        Self::Malformed { problem: problem.to_string() }
    }

    fn fault(&self) -> Fault {
        match self {
            Self::Serving(problem) => problem.fault(),
            Self::Malformed { .. }
            | Self::Input { .. }
            | Self::NotText { .. }
            | Self::Unsupported { .. }
            | Self::Parameter { .. }
            | Self::Classification { .. }
            | Self::Control { .. }
            | Self::SharedMemory { .. }
            | Self::Setting { .. }
            | Self::Encoding { .. }
            | Self::Slow(_)
            | Self::Method { .. } => Fault::Request,
            Self::UnknownPath { .. } | Self::UnknownInRepository { .. } | Self::UnknownRegion { .. } => Fault::NotFound,
            Self::TooLarge { .. } => Fault::TooLarge,
            Self::Busy { .. } | Self::NoRoom { .. } | Self::NotReady { .. } | Self::NoControl => Fault::Unavailable,
            Self::Failed => Fault::Server,
        }
    }

    /// The status over HTTP.
    pub fn status(&self) -> StatusCode {
        match (self, self.fault()) {
            (Self::Encoding { .. }, _) => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            (Self::Slow(_), _) => StatusCode::REQUEST_TIMEOUT,
            (Self::Method { .. }, _) => StatusCode::METHOD_NOT_ALLOWED,
            (_, fault) => StatusCode::from_u16(fault.http_status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
        }
    }

    /// When the same request may be tried again, where it may.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::NoControl => None,
            Self::Serving(problem) => problem.retry_after(),
            _ => (self.fault() == Fault::Unavailable).then_some(RETRY),
        }
    }

    /// The status over gRPC.
    pub fn grpc_code(&self) -> Code {
        match self.fault() {
            Fault::Request | Fault::TooLarge => Code::InvalidArgument,
            Fault::NotFound => Code::NotFound,
            // Not RESOURCE_EXHAUSTED: Triton's clients, and gRPC's own retries, come again on UNAVAILABLE.
            Fault::Overloaded | Fault::Unavailable => Code::Unavailable,
            Fault::Late => Code::DeadlineExceeded,
            Fault::Server => Code::Internal,
        }
    }
}

impl IntoResponse for ProtocolError {
    fn into_response(self) -> Response {
        let mut body = String::from("{\"error\":");
        push_text(&self.to_string(), &mut body);
        body.push('}');
        let mut response = Response::new(Body::from(body));
        *response.status_mut() = self.status();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Some(wait) = self.retry_after() {
            headers.insert(RETRY_AFTER, HeaderValue::from(whole_seconds(wait)));
        }
        if let Self::Method { allowed, .. } = self {
            headers.insert(ALLOW, HeaderValue::from_static(allowed));
        }
        response
    }
}

impl From<ProtocolError> for Status {
    fn from(error: ProtocolError) -> Self {
        let mut status = Self::new(error.grpc_code(), carried(error.to_string()));
        if let Some(wait) = error.retry_after() {
            // What gRPC's clients heed (proposal A6, "Pushback").
            let wait = MetadataValue::from(u64::try_from(wait.as_millis()).unwrap_or(u64::MAX));
            status.metadata_mut().insert("grpc-retry-pushback-ms", wait);
        }
        status
    }
}

impl Diagnose for ProtocolError {
    fn code(&self) -> &'static str {
        match self {
            Self::Malformed { .. } => "open_inference.malformed",
            Self::Input { .. } => "open_inference.input",
            Self::NotText { .. } => "open_inference.not_text",
            Self::Unsupported { .. } => "open_inference.unsupported",
            Self::Parameter { .. } => "open_inference.parameter",
            Self::Classification { .. } => "open_inference.classification",
            Self::NoControl => "open_inference.no_control",
            Self::UnknownInRepository { .. } => "open_inference.unknown_in_repository",
            Self::Control { .. } => "open_inference.control",
            Self::SharedMemory { .. } => "open_inference.shared_memory",
            Self::UnknownRegion { .. } => "open_inference.unknown_region",
            Self::Setting { .. } => "open_inference.setting",
            Self::Encoding { .. } => "open_inference.encoding",
            Self::TooLarge { .. } => "open_inference.too_large",
            Self::Slow(_) => "open_inference.slow",
            Self::Busy { .. } => "open_inference.busy",
            Self::NoRoom { .. } => "open_inference.no_room",
            Self::UnknownPath { .. } => "open_inference.unknown_path",
            Self::Method { .. } => "open_inference.method",
            Self::NotReady { .. } => "open_inference.not_ready",
            Self::Failed => "open_inference.failed",
            Self::Serving(problem) => problem.code(),
        }
    }

    fn hint(&self) -> Option<String> {
        let text = match self {
            Self::Serving(problem) => return problem.hint(),
            Self::Malformed { .. } | Self::Input { .. } => "compare the request with the model's metadata",
            Self::NotText { .. } => "ask for this output as binary data",
            Self::Parameter { .. } => "leave the parameter out, or give it a value of its kind",
            Self::Classification { .. } => "take the output as it is",
            Self::NoControl => "let the server's configuration say what is served",
            Self::UnknownInRepository { .. } => "ask for the repository's index",
            Self::Control { .. } => "mend the model in the repository and load it again",
            Self::Setting { .. } => "change the server's configuration",
            Self::Unsupported { .. } | Self::SharedMemory { .. } | Self::UnknownRegion { .. } => {
                "send tensors in the request and take them from the response"
            }
            Self::Encoding { .. } => "compress with gzip or deflate, or not at all",
            Self::TooLarge { .. } => "send the rows in several requests",
            Self::Slow(_) | Self::Busy { .. } | Self::NotReady { .. } => "try again after a moment",
            Self::NoRoom { .. } => "try again after a moment, or send the request as it is",
            Self::UnknownPath { .. } | Self::Method { .. } => "paths begin with /v2; see the protocol's specification",
            Self::Failed => "this is a defect: report it with the request",
        };
        Some(text.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_fault_has_one_status_in_each_protocol() {
        let not_found = ProtocolError::from(ServingError::UnknownModel { model: "m".into(), loaded: "none".into() });
        assert_eq!((not_found.status(), not_found.grpc_code()), (StatusCode::NOT_FOUND, Code::NotFound));
        let broken = ProtocolError::from(ServingError::Draining);
        assert_eq!((broken.status(), broken.grpc_code()), (StatusCode::SERVICE_UNAVAILABLE, Code::Unavailable));
        let full = ProtocolError::from(ServingError::Overloaded {
            model: "m".into(),
            waiting: 1,
            retry_after: Duration::from_millis(1500),
        });
        assert_eq!((full.status(), full.grpc_code()), (StatusCode::TOO_MANY_REQUESTS, Code::Unavailable));
        assert_eq!(full.into_response().headers()["retry-after"], "2");
        let late = ServingError::DeadlineExceeded { model: "m".into(), waited: Duration::from_secs(1) };
        let late = ProtocolError::from(late);
        assert_eq!((late.status(), late.grpc_code()), (StatusCode::GATEWAY_TIMEOUT, Code::DeadlineExceeded));
        let large = ProtocolError::TooLarge { limit: 1 };
        assert_eq!((large.status(), large.grpc_code()), (StatusCode::PAYLOAD_TOO_LARGE, Code::InvalidArgument));
        let packed = ProtocolError::NoRoom { bytes: 1 };
        assert_eq!((packed.status(), packed.grpc_code()), (StatusCode::SERVICE_UNAVAILABLE, Code::Unavailable));
    }
}
