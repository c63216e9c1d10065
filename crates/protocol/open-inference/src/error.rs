use std::time::Duration;

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use ropewalk_serving::{Fault, ServingError};
use ropewalk_types::Diagnose;
use tonic::{Code, Status};

use crate::TensorError;

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
    /// There is nothing at that path.
    #[error("no such path: {path}")]
    UnknownPath {
        /// The path.
        path: String,
    },
    /// The path does not take this method.
    #[error("{method} is not allowed here")]
    Method {
        /// The method.
        method: String,
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
            | Self::Encoding { .. }
            | Self::Slow(_)
            | Self::Method { .. } => Fault::Request,
            Self::UnknownPath { .. } => Fault::NotFound,
            Self::TooLarge { .. } => Fault::TooLarge,
            Self::Busy { .. } | Self::NotReady { .. } => Fault::Unavailable,
            Self::Failed => Fault::Server,
        }
    }

    /// The status over HTTP.
    pub fn status(&self) -> StatusCode {
        match (self, self.fault()) {
            (Self::Encoding { .. }, _) => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            (Self::Slow(_), _) => StatusCode::REQUEST_TIMEOUT,
            (Self::Method { .. }, _) => StatusCode::METHOD_NOT_ALLOWED,
            (_, Fault::Request) => StatusCode::BAD_REQUEST,
            (_, Fault::NotFound) => StatusCode::NOT_FOUND,
            (_, Fault::TooLarge) => StatusCode::PAYLOAD_TOO_LARGE,
            (_, Fault::Unavailable) => StatusCode::SERVICE_UNAVAILABLE,
            (_, Fault::Server) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// The status over gRPC.
    pub fn grpc_code(&self) -> Code {
        match self.fault() {
            Fault::Request | Fault::TooLarge => Code::InvalidArgument,
            Fault::NotFound => Code::NotFound,
            Fault::Unavailable => Code::Unavailable,
            Fault::Server => Code::Internal,
        }
    }
}

impl IntoResponse for ProtocolError {
    fn into_response(self) -> Response {
        (self.status(), axum::Json(serde_json::json!({ "error": self.to_string() }))).into_response()
    }
}

impl From<ProtocolError> for Status {
    fn from(error: ProtocolError) -> Self {
        Self::new(error.grpc_code(), error.to_string())
    }
}

impl Diagnose for ProtocolError {
    fn code(&self) -> &'static str {
        match self {
            Self::Malformed { .. } => "open_inference.malformed",
            Self::Input { .. } => "open_inference.input",
            Self::NotText { .. } => "open_inference.not_text",
            Self::Unsupported { .. } => "open_inference.unsupported",
            Self::Encoding { .. } => "open_inference.encoding",
            Self::TooLarge { .. } => "open_inference.too_large",
            Self::Slow(_) => "open_inference.slow",
            Self::Busy { .. } => "open_inference.busy",
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
            Self::Unsupported { .. } => "send tensors in the request and take them from the response",
            Self::Encoding { .. } => "compress with gzip or deflate, or not at all",
            Self::TooLarge { .. } => "send the rows in several requests",
            Self::Slow(_) | Self::Busy { .. } | Self::NotReady { .. } => "try again after a moment",
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
        let broken = ProtocolError::from(ServingError::LogBroken { problem: "disk full".into() });
        assert_eq!((broken.status(), broken.grpc_code()), (StatusCode::SERVICE_UNAVAILABLE, Code::Unavailable));
        let large = ProtocolError::TooLarge { limit: 1 };
        assert_eq!((large.status(), large.grpc_code()), (StatusCode::PAYLOAD_TOO_LARGE, Code::InvalidArgument));
    }
}
