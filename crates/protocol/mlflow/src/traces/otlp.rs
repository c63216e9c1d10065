//! `POST /v1/traces`: spans by OpenTelemetry's protocol over HTTP, protobuf or JSON
//! (<https://opentelemetry.io/docs/specs/otlp/#otlphttp>).

mod decode;
mod json;

use std::io::Read;
use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use flate2::read::{DeflateDecoder, MultiGzDecoder, ZlibDecoder};
use ropewalk_types::{Diagnose as _, RunId};
use serde_json::json;
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;

use crate::error::with_retry;
use crate::request::{experiment_id, required, whole};
use crate::{MlflowError, MlflowState};
use decode::{Decoded, decode};

/// The messages, made from `proto/otlp.proto`.
mod proto {
    #![expect(unreachable_pub, clippy::struct_field_names, reason = "written by prost-build")]
    include!(concat!(env!("OUT_DIR"), "/ropewalk.otlp.rs"));
}

/// Longest body, and what it may unpack to.
const BODY_BYTES: usize = 32 << 20;
const UNPACKED_BYTES: u64 = 32 << 20;

/// Turns to read what takes much memory, some times the length of its text: a body has one turn for each of its parts of
/// [`TURN_BYTES`], and all of them if it is packed, since nobody knows then how long it is.
static TURNS: Semaphore = Semaphore::const_new(ALL_TURNS);
const ALL_TURNS: usize = 8;
const TURN_BYTES: usize = 4 << 20;

/// How a body is written; the answer is written so too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Encoding {
    Protobuf,
    Json,
}

const PROTOBUF: &str = "application/x-protobuf";

fn field<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

pub(crate) async fn export(State(state): State<Arc<MlflowState>>, headers: HeaderMap, body: Body) -> Response {
    let kind = field(&headers, "content-type").unwrap_or_default().split(';').next().unwrap_or_default().trim();
    let encoding = match kind {
        kind if kind.eq_ignore_ascii_case(PROTOBUF) => Encoding::Protobuf,
        kind if kind.eq_ignore_ascii_case("application/json") => Encoding::Json,
        other => {
            let reason = format!("'{}' is neither {PROTOBUF} nor application/json", other.escape_debug());
            return MlflowError::invalid("content-type", &reason).into_response();
        }
    };
    match taken(&state, &headers, encoding, body).await {
        Ok(rejected) => accepted(encoding, &rejected),
        Err(error) => refused(encoding, &error),
    }
}

async fn taken(
    state: &MlflowState,
    headers: &HeaderMap,
    encoding: Encoding,
    body: Body,
) -> Result<Rejected, MlflowError> {
    let experiment = required("x-mlflow-experiment-id", field(headers, "x-mlflow-experiment-id").map(str::to_owned))?;
    let experiment = experiment_id(&experiment)?;
    let packing = field(headers, "content-encoding").unwrap_or_default().trim().to_ascii_lowercase();
    let body = whole(body, BODY_BYTES).await?;
    let wanted = if matches!(&*packing, "" | "identity") { body.len().div_ceil(TURN_BYTES) } else { ALL_TURNS };
    // Short ones need no turn, so that they pass by the long ones. It is never closed.
    let wanted = if wanted <= 1 { 0 } else { wanted.min(ALL_TURNS) as u32 };
    let _turns = TURNS.acquire_many(wanted).await.ok();
    let Decoded { spans, rejected } = spawn_blocking(move || decode(encoding, &unpacked(&packing, body)?)).await??;
    let rooted = state.tracking.spans_log(experiment, spans).await?;
    if let Some(run) = field(headers, "x-mlflow-run-id").filter(|run| !run.is_empty() && !rooted.is_empty()) {
        link(state, run, &rooted).await;
    }
    Ok(rejected)
}

/// The spans are taken by now: that they cannot be linked to a run must not make the client send them again.
async fn link(state: &MlflowState, run: &str, traces: &[String]) {
    let Ok(id) = run.parse::<RunId>() else {
        tracing::warn!("traces cannot be linked: '{}' is not a run id", run.escape_debug());
        return;
    };
    for part in traces.chunks(ropewalk_tracking::TRACE_LINKS) {
        if let Err(error) = state.tracking.trace_link(id, part.to_vec()).await {
            tracing::warn!(code = error.code(), "traces cannot be linked to run {id}: {error}");
        }
    }
}

/// Spans of a request that could not be taken.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Rejected {
    count: i64,
    reason: String,
}

fn unpacked(packing: &str, body: Bytes) -> Result<Bytes, MlflowError> {
    match packing {
        "" | "identity" => Ok(body),
        "gzip" => read(MultiGzDecoder::new(&*body), "gzip"),
        // RFC 9110 says zlib; some clients send the naked stream.
        "deflate" => match read(ZlibDecoder::new(&*body), "deflate") {
            Err(MlflowError::Invalid { .. }) => read(DeflateDecoder::new(&*body), "deflate"),
            unpacked => unpacked,
        },
        other => {
            let reason = format!("'{}' is neither gzip nor deflate", other.escape_debug());
            Err(MlflowError::invalid("content-encoding", &reason))
        }
    }
}

fn read(decoder: impl Read, name: &str) -> Result<Bytes, MlflowError> {
    let mut unpacked = Vec::new();
    let size = decoder.take(UNPACKED_BYTES + 1).read_to_end(&mut unpacked);
    let size = size.map_err(|error| MlflowError::invalid("content-encoding", &format!("not {name}: {error}")))?;
    if size as u64 > UNPACKED_BYTES {
        return Err(MlflowError::TooLarge { limit: UNPACKED_BYTES });
    }
    Ok(unpacked.into())
}

fn protobuf(status: StatusCode, message: &impl prost::Message) -> Response {
    let kind = [(header::CONTENT_TYPE, HeaderValue::from_static(PROTOBUF))];
    (status, kind, message.encode_to_vec()).into_response()
}

/// Full success is an empty message; otherwise it says how many spans were not taken, and why.
fn accepted(encoding: Encoding, rejected: &Rejected) -> Response {
    let Rejected { count, reason } = rejected;
    match encoding {
        Encoding::Protobuf => {
            let part = proto::ExportTracePartialSuccess { rejected_spans: *count, error_message: reason.clone() };
            let partial_success = (*count > 0).then_some(part);
            protobuf(StatusCode::OK, &proto::ExportTraceServiceResponse { partial_success })
        }
        Encoding::Json if *count > 0 => {
            // int64 is a text in ProtoJSON.
            let part = json!({ "rejectedSpans": count.to_string(), "errorMessage": reason });
            Json(json!({ "partialSuccess": part })).into_response()
        }
        Encoding::Json => Json(json!({})).into_response(),
    }
}

/// `google.rpc.Status`; in JSON also MLflow's members.
fn refused(encoding: Encoding, error: &MlflowError) -> Response {
    let (error_code, status) = error.error_code();
    let code = match status {
        StatusCode::BAD_REQUEST => 3,
        StatusCode::NOT_FOUND => 5,
        StatusCode::CONFLICT => 6,
        StatusCode::FORBIDDEN => 7,
        StatusCode::SERVICE_UNAVAILABLE => 14,
        StatusCode::UNAUTHORIZED => 16,
        _ => 13,
    };
    let message = error.to_string();
    if status.is_server_error() {
        tracing::error!(code = error.code(), "{message}");
    }
    with_retry(match encoding {
        Encoding::Protobuf => protobuf(status, &proto::ErrorStatus { code, message }),
        Encoding::Json => {
            (status, Json(json!({ "code": code, "message": message, "error_code": error_code }))).into_response()
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exporters_are_told_when_to_come_again() {
        for encoding in [Encoding::Protobuf, Encoding::Json] {
            let later = refused(encoding, &MlflowError::Overloaded);
            assert_eq!(later.status(), StatusCode::SERVICE_UNAVAILABLE);
            assert_eq!(later.headers().get(header::RETRY_AFTER), Some(&HeaderValue::from_static("1")));
            assert!(!refused(encoding, &MlflowError::Missing("x")).headers().contains_key(header::RETRY_AFTER));
        }
    }
}
