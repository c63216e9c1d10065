use std::time::Duration;

use axum::Json;
use axum::http::header::RETRY_AFTER;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use ropewalk_serving::{Fault, ServingError, whole_seconds};
use ropewalk_types::Diagnose;
use serde_json::json;

/// When to come again, where nobody knows better.
const RETRY: Duration = Duration::from_secs(1);

/// What can be wrong with a request for scores, or with the answer to it. Rows are counted from 1.
#[derive(Debug, thiserror::Error)]
pub enum ScoringError {
    /// The body cannot be read as what it says it is.
    #[error("cannot read the request as {form}: {problem}")]
    Malformed {
        /// JSON, CSV or Parquet.
        form: &'static str,
        /// What is wrong with it.
        problem: String,
    },
    /// The JSON object has none of the keys that hold a table, or several.
    #[error(
        "the input must be a JSON object with exactly one of `dataframe_split`, `dataframe_records`, `instances` and \
         `inputs`; found {found}"
    )]
    Format {
        /// The keys that came, or what came instead of an object.
        found: String,
    },
    /// The content type is none of those that are read.
    #[error(
        "this endpoint reads {accepted}; found content type `{found}`: for JSON add the header `Content-Type: \
         application/json`"
    )]
    ContentType {
        /// Those that are read.
        accepted: &'static str,
        /// What came.
        found: String,
    },
    /// The content type has a parameter that cannot be followed.
    #[error("content type parameter `{0}` cannot be followed: only `charset=utf-8` is read")]
    ContentParameter(String),
    /// The body is compressed.
    #[error("content encoding `{0}` is not supported: send the body as it is")]
    Encoding(String),
    /// A cell does not fit the model.
    #[error("column `{column}`, row {row}: expected {expected}, found {found}")]
    Cell {
        /// The column, by name or by number.
        column: String,
        /// The row, from 1.
        row: usize,
        /// What the model takes.
        expected: String,
        /// What came.
        found: String,
    },
    /// The rows of a table differ in their form.
    #[error("row {row}: expected {expected}, found {found}")]
    Row {
        /// The row, from 1.
        row: usize,
        /// What the rows before it have.
        expected: String,
        /// What came.
        found: String,
    },
    /// The table lacks a column.
    #[error("{place}column `{column}` is missing; found {found}")]
    MissingColumn {
        /// `row N: ` or nothing.
        place: String,
        /// The column.
        column: String,
        /// The columns that came.
        found: String,
    },
    /// The row has a column that the model does not know.
    #[error("row {row}: the model has no column `{column}`{suggestion}; it takes {known}")]
    UnknownColumn {
        /// The row, from 1.
        row: usize,
        /// The column.
        column: String,
        /// `, did you mean …?` or nothing.
        suggestion: String,
        /// The columns that the model has.
        known: String,
    },
    /// The table has no names of columns where the model needs them, or not as many columns as the model has values.
    #[error("the columns do not fit the model: expected {expected}, found {found}")]
    Columns {
        /// What the model takes.
        expected: String,
        /// What came.
        found: String,
    },
    /// The table is over a limit.
    #[error("the table has more than {limit} {what}")]
    TooManyCells {
        /// Rows, columns, cells or bytes of text.
        what: &'static str,
        /// How many are allowed.
        limit: usize,
    },
    /// The request does not say which of several models answers.
    #[error("several models are loaded: name one in the header `X-Ropewalk-Model`; loaded: {loaded}")]
    NoChoice {
        /// Their names.
        loaded: String,
    },
    /// No model is loaded.
    #[error("no model is loaded")]
    NoModel,
    /// The model takes no inputs, so a table says nothing to it.
    #[error("model `{model}` has no inputs: there is nothing to score")]
    NoInputs {
        /// The model.
        model: String,
    },
    /// An output has not one entry for each row.
    #[error("output `{output}` of shape {shape:?} has not one entry for each of the {rows} rows")]
    NotRows {
        /// The output.
        output: String,
        /// Its shape.
        shape: Vec<usize>,
        /// Rows of the request.
        rows: usize,
    },
    /// A header or a parameter of the query cannot be read.
    #[error("`{name}`: expected {expected}")]
    Parameter {
        /// Its name.
        name: &'static str,
        /// What it takes.
        expected: &'static str,
    },
    /// The body is over the limit.
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
    /// As much memory is taken by tables that are being scored as may be.
    #[error("tables that are being scored take up the {bytes} bytes that there are for them, no more are taken")]
    NoRoom {
        /// Bytes that they may take at once.
        bytes: usize,
    },
    /// The path does not take this method.
    #[error("{method} is not allowed here")]
    Method {
        /// The method.
        method: String,
    },
    /// We failed in the middle of a request.
    #[error("the server failed while it answered")]
    Failed,
    /// The host's answer.
    #[error(transparent)]
    Serving(#[from] ServingError),
}

impl ScoringError {
    pub(crate) fn malformed(form: &'static str, problem: &impl ToString) -> Self {
        Self::Malformed { form, problem: problem.to_string() }
    }

    /// The status, and the code by which MLflow's clients know it.
    pub fn status(&self) -> (StatusCode, &'static str) {
        match self {
            Self::ContentType { .. } | Self::ContentParameter(_) | Self::Encoding(_) => {
                (StatusCode::UNSUPPORTED_MEDIA_TYPE, "BAD_REQUEST")
            }
            Self::TooManyCells { .. } | Self::TooLarge { .. } => (StatusCode::PAYLOAD_TOO_LARGE, "BAD_REQUEST"),
            Self::Slow(_) => (StatusCode::REQUEST_TIMEOUT, "BAD_REQUEST"),
            Self::Method { .. } => (StatusCode::METHOD_NOT_ALLOWED, "BAD_REQUEST"),
            Self::NoModel | Self::Busy { .. } | Self::NoRoom { .. } => {
                (StatusCode::SERVICE_UNAVAILABLE, "TEMPORARILY_UNAVAILABLE")
            }
            Self::Failed => (StatusCode::INTERNAL_SERVER_ERROR, "INTERNAL_ERROR"),
            Self::Serving(problem) => {
                let fault = problem.fault();
                let status = StatusCode::from_u16(fault.http_status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
                (status, mlflow_code(fault))
            }
            _ => (StatusCode::BAD_REQUEST, "BAD_REQUEST"),
        }
    }

    /// When the same request may be tried again, where it may.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Serving(problem) => problem.retry_after(),
            Self::NoModel | Self::Busy { .. } | Self::NoRoom { .. } => Some(RETRY),
            _ => None,
        }
    }
}

/// MLflow's name of what is wrong.
fn mlflow_code(fault: Fault) -> &'static str {
    match fault {
        Fault::Request | Fault::TooLarge => "BAD_REQUEST",
        Fault::NotFound => "RESOURCE_DOES_NOT_EXIST",
        Fault::Overloaded => "REQUEST_LIMIT_EXCEEDED",
        Fault::Late => "DEADLINE_EXCEEDED",
        Fault::Unavailable => "TEMPORARILY_UNAVAILABLE",
        Fault::Server => "INTERNAL_ERROR",
    }
}

impl IntoResponse for ScoringError {
    fn into_response(self) -> Response {
        let (status, code) = self.status();
        let mut response = (status, Json(json!({"error_code": code, "message": self.to_string()}))).into_response();
        if let Some(wait) = self.retry_after() {
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(whole_seconds(wait)));
        }
        response
    }
}

impl Diagnose for ScoringError {
    fn code(&self) -> &'static str {
        match self {
            Self::Malformed { .. } => "scoring.malformed",
            Self::Format { .. } => "scoring.format",
            Self::ContentType { .. } => "scoring.content_type",
            Self::ContentParameter(_) => "scoring.content_parameter",
            Self::Encoding(_) => "scoring.encoding",
            Self::Cell { .. } => "scoring.cell",
            Self::Row { .. } => "scoring.row",
            Self::MissingColumn { .. } => "scoring.missing_column",
            Self::UnknownColumn { .. } => "scoring.unknown_column",
            Self::Columns { .. } => "scoring.columns",
            Self::TooManyCells { .. } => "scoring.too_many_cells",
            Self::NoChoice { .. } => "scoring.no_choice",
            Self::NoModel => "scoring.no_model",
            Self::NoInputs { .. } => "scoring.no_inputs",
            Self::NotRows { .. } => "scoring.not_rows",
            Self::Parameter { .. } => "scoring.parameter",
            Self::TooLarge { .. } => "scoring.too_large",
            Self::Slow(_) => "scoring.slow",
            Self::Busy { .. } => "scoring.busy",
            Self::NoRoom { .. } => "scoring.no_room",
            Self::Method { .. } => "scoring.method",
            Self::Failed => "scoring.failed",
            Self::Serving(problem) => problem.code(),
        }
    }

    fn hint(&self) -> Option<String> {
        let text = match self {
            Self::Serving(problem) => return problem.hint(),
            Self::Malformed { .. } | Self::Format { .. } | Self::Parameter { .. } | Self::Method { .. } => {
                "/openapi.json describes every request, with an example for each model"
            }
            Self::ContentType { .. } | Self::ContentParameter(_) | Self::Encoding(_) => {
                "set `Content-Type: application/json`, and do not compress the body"
            }
            Self::Cell { .. }
            | Self::Row { .. }
            | Self::MissingColumn { .. }
            | Self::UnknownColumn { .. }
            | Self::Columns { .. } => "compare the table with the model's inputs, which /docs shows",
            Self::TooManyCells { .. } | Self::TooLarge { .. } => "send the rows in several requests",
            Self::NoChoice { .. } => "or post to /models/{model}/invocations",
            Self::NoModel | Self::Busy { .. } => "try again after a moment",
            Self::NoRoom { .. } => "try again after a moment, or send the rows in several requests",
            Self::NoInputs { .. } | Self::NotRows { .. } => "ask this model over /v2/models/{model}/infer",
            Self::Slow(_) => "send the body without a pause, or in several requests",
            Self::Failed => "this is a defect: report it with the request",
        };
        Some(text.to_owned())
    }
}
