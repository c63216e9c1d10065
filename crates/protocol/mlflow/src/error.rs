use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use ropewalk_registry::{ErrorKind as RegistryKind, RegistryError};
use ropewalk_store::StoreError;
use ropewalk_tracking::{ErrorKind, TrackingError};
use ropewalk_types::Diagnose;
use serde_json::json;

/// Why a request was not served.
#[derive(Debug, thiserror::Error)]
pub enum MlflowError {
    /// A parameter that must be given is not.
    #[error("Missing value for required parameter '{0}'")]
    Missing(&'static str),
    /// A field of one item of a list must be given and is not.
    #[error("Missing value for required parameter '{list}[{place}].{field}'")]
    MissingIn {
        /// The list.
        list: &'static str,
        /// Where in it, from 0.
        place: usize,
        /// The field.
        field: &'static str,
    },
    /// A parameter has a value that it cannot have.
    #[error("Invalid value for parameter '{parameter}' supplied: {reason}")]
    Invalid {
        /// The parameter.
        parameter: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// What MLflow can and this server cannot: said, not ignored.
    #[error("parameter '{parameter}' has a value that this server does not support: {what}")]
    Unsupported {
        /// The parameter.
        parameter: &'static str,
        /// What is not supported.
        what: String,
    },
    /// What MLflow's server cannot do with some storages, and this server not with any: in MLflow's words, by which clients
    /// know that there is another way.
    #[error("{0}")]
    NotImplemented(&'static str),
    /// The body or query string does not have the shape of the message.
    #[error("the request does not fit the message: {0}")]
    Message(String),
    /// The body is said to be something else than JSON.
    #[error("Bad Request. Content-Type must be one of ['application/json'], not '{0}'")]
    ContentType(String),
    /// No run has this id: it is not one that this server gives.
    #[error("Run with id={0} not found")]
    RunUnknown(String),
    /// The body is not JSON.
    #[error("the request body is not JSON: {0}")]
    NotJson(String),
    /// The body is longer than is taken.
    #[error("the request body is longer than {limit} bytes")]
    TooLarge {
        /// How much is taken.
        limit: u64,
    },
    /// A batch says more than is taken at once.
    #[error("the keys and values of the batch have more than {limit} characters; log them in several batches")]
    BatchTooLong {
        /// How many are taken.
        limit: usize,
    },
    /// The client went away or sent a broken body.
    #[error("the request body ended early: {0}")]
    BodyBroken(String),
    /// Others ask for as much as there is memory for.
    #[error("too many large pages are being read at this moment; try again in 1 s")]
    Overloaded,
    /// There is no such endpoint.
    #[error("there is no endpoint {method} {path}")]
    EndpointAbsent {
        /// The request's method.
        method: String,
        /// The request's path.
        path: String,
    },
    /// The request was addressed to a name that is not ours.
    #[error("this server does not answer for host '{0}'")]
    Host(String),
    /// A page of another server has a browser send the request.
    #[error("this server takes no changes from pages of '{0}'")]
    Origin(String),
    /// The request carries no token, or another one.
    #[error("this server expects its token as `Authorization: Bearer`")]
    Unauthenticated,
    /// What counts by who does it, and the request proves no name.
    #[error("this counts only from a user whom the server knows by name")]
    Nameless,
    /// Tracking refused or failed.
    #[error(transparent)]
    Tracking(#[from] TrackingError),
    /// The registry refused or failed.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// An answer could not be written as JSON.
    #[error("cannot write the answer: {0}")]
    Answer(serde_json::Error),
    /// A worker thread ended without an answer.
    #[error("a worker thread ended without an answer: {0}")]
    Worker(#[from] tokio::task::JoinError),
}

impl MlflowError {
    /// MLflow's `error_code` (`mlflow/protos/databricks.proto`) and its status (`mlflow/exceptions.py`).
    pub(crate) fn error_code(&self) -> (&'static str, StatusCode) {
        const INVALID: (&str, StatusCode) = ("INVALID_PARAMETER_VALUE", StatusCode::BAD_REQUEST);
        // Its client waits and tries again.
        const LATER: (&str, StatusCode) = ("TEMPORARILY_UNAVAILABLE", StatusCode::SERVICE_UNAVAILABLE);
        // Its client does not try again: only a person can help.
        const FULL: (&str, StatusCode) = ("INTERNAL_ERROR", StatusCode::INSUFFICIENT_STORAGE);
        const FAILED: (&str, StatusCode) = ("INTERNAL_ERROR", StatusCode::INTERNAL_SERVER_ERROR);
        match self {
            Self::Missing(_)
            | Self::MissingIn { .. }
            | Self::ContentType(_)
            | Self::Invalid { .. }
            | Self::Unsupported { .. }
            | Self::Message(_)
            | Self::BatchTooLong { .. }
            | Self::TooLarge { .. } => INVALID,
            Self::NotJson(_) | Self::BodyBroken(_) => ("BAD_REQUEST", StatusCode::BAD_REQUEST),
            Self::Overloaded => LATER,
            Self::EndpointAbsent { .. } => ("ENDPOINT_NOT_FOUND", StatusCode::NOT_FOUND),
            Self::NotImplemented(_) => ("NOT_IMPLEMENTED", StatusCode::NOT_IMPLEMENTED),
            Self::RunUnknown(_) => ("RESOURCE_DOES_NOT_EXIST", StatusCode::NOT_FOUND),
            Self::Host(_) | Self::Origin(_) | Self::Nameless => ("PERMISSION_DENIED", StatusCode::FORBIDDEN),
            Self::Unauthenticated => ("UNAUTHENTICATED", StatusCode::UNAUTHORIZED),
            Self::Tracking(error) => match error.kind() {
                ErrorKind::Absent => ("RESOURCE_DOES_NOT_EXIST", StatusCode::NOT_FOUND),
                ErrorKind::Exists => ("RESOURCE_ALREADY_EXISTS", StatusCode::BAD_REQUEST),
                ErrorKind::Invalid => INVALID,
                // MLflow says 500, which its client asks for again and again: the request is what must change.
                ErrorKind::State => ("INVALID_STATE", StatusCode::BAD_REQUEST),
                ErrorKind::Unavailable => LATER,
                ErrorKind::DiskFull => FULL,
                ErrorKind::Internal => FAILED,
            },
            Self::Registry(error) => match error.kind() {
                RegistryKind::Absent => ("RESOURCE_DOES_NOT_EXIST", StatusCode::NOT_FOUND),
                RegistryKind::Exists => ("RESOURCE_ALREADY_EXISTS", StatusCode::BAD_REQUEST),
                RegistryKind::Invalid => INVALID,
                // MLflow's INVALID_STATE would be a 500, which its clients try again.
                RegistryKind::Refused => ("PERMISSION_DENIED", StatusCode::FORBIDDEN),
                RegistryKind::Unavailable => LATER,
                RegistryKind::DiskFull => FULL,
                RegistryKind::Internal => FAILED,
            },
            Self::Store(error) if error.is_disk_full() => FULL,
            Self::Store(_) | Self::Answer(_) | Self::Worker(_) => FAILED,
        }
    }

    pub(crate) fn invalid(parameter: &'static str, reason: &impl ToString) -> Self {
        Self::Invalid { parameter, reason: reason.to_string() }
    }
}

/// What is answered 503 says when to come again.
pub(crate) fn with_retry(mut response: Response) -> Response {
    if response.status() == StatusCode::SERVICE_UNAVAILABLE {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    }
    response
}

impl Diagnose for MlflowError {
    fn code(&self) -> &'static str {
        match self {
            Self::Missing(_) | Self::MissingIn { .. } => "mlflow.missing",
            Self::ContentType(_) => "mlflow.content_type",
            Self::RunUnknown(_) => "mlflow.run_unknown",
            Self::Answer(_) => "mlflow.answer",
            Self::Invalid { .. } => "mlflow.invalid",
            Self::Unsupported { .. } => "mlflow.unsupported",
            Self::NotImplemented(_) => "mlflow.not_implemented",
            Self::Message(_) => "mlflow.message",
            Self::NotJson(_) => "mlflow.not_json",
            Self::BatchTooLong { .. } => "mlflow.batch_too_long",
            Self::TooLarge { .. } => "mlflow.too_large",
            Self::BodyBroken(_) => "mlflow.body_broken",
            Self::Overloaded => "mlflow.overloaded",
            Self::EndpointAbsent { .. } => "mlflow.endpoint_absent",
            Self::Host(_) => "mlflow.host",
            Self::Origin(_) => "mlflow.origin",
            Self::Unauthenticated => "mlflow.unauthenticated",
            Self::Nameless => "mlflow.nameless",
            Self::Tracking(error) => error.code(),
            Self::Registry(error) => error.code(),
            Self::Store(error) => error.code(),
            Self::Worker(_) => "mlflow.worker",
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Host(_) | Self::Origin(_) => Some("allow the host in the server's configuration".to_owned()),
            Self::Unauthenticated => Some("set MLFLOW_TRACKING_TOKEN to the server's token".to_owned()),
            Self::Nameless => Some("start the server with --users-file and send a name and a password".to_owned()),
            Self::Tracking(error) => error.hint(),
            Self::Registry(error) => error.hint(),
            Self::Store(error) => error.hint(),
            _ => None,
        }
    }
}

impl IntoResponse for MlflowError {
    fn into_response(self) -> Response {
        let (error_code, status) = self.error_code();
        let mut message = self.to_string();
        if status.is_server_error() {
            tracing::error!(code = self.code(), "{message}");
        }
        if let Some(hint) = self.hint() {
            message = format!("{message} (hint: {hint})");
        }
        let mut response = (status, Json(json!({ "error_code": error_code, "message": message }))).into_response();
        if matches!(self, Self::Unauthenticated) {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        with_retry(response)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use ropewalk_catalog::CatalogError;

    use super::*;

    /// What a person or time can mend is told apart from a fault of ours: by it a client knows whether to try again.
    #[test]
    fn a_catalogue_that_is_away_or_full_has_its_own_status() {
        let cause = || Arc::new(std::io::Error::other("test"));
        let lost = |problem: CatalogError| {
            MlflowError::from(TrackingError::from(CatalogError::NotCommitted(Box::new(problem)))).into_response()
        };
        let away = lost(CatalogError::CannotConnect(cause()));
        assert_eq!(away.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert!(away.headers().contains_key(header::RETRY_AFTER));
        assert_eq!(lost(CatalogError::DiskFull(cause())).status(), StatusCode::INSUFFICIENT_STORAGE);
        assert_eq!(lost(CatalogError::Damaged(cause())).status(), StatusCode::INTERNAL_SERVER_ERROR);
        let model = MlflowError::from(RegistryError::from(CatalogError::Busy)).into_response();
        assert_eq!(model.status(), StatusCode::SERVICE_UNAVAILABLE);
    }
}
