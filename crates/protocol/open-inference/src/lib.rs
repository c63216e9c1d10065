//! The Open Inference Protocol, version 2, over HTTP and gRPC.
//!
//! [`OpenInference`] is the protocol on a host. Its router speaks REST with JSON and with the binary tensor data
//! extension that `tritonclient.http` uses by default; its gRPC services are `inference.GRPCInferenceService` as
//! Triton extends it, health and reflection. Both translate to and from the same
//! [`ModelHost`](ropewalk_serving::ModelHost) and hold no rule: what a model accepts, how many requests run at once
//! and what is logged is decided below. Sockets, TLS and keys belong to the product, which tells who asks by
//! [`ClientName`], and from where models come by [`Repository`].
//!
//! # Where the protocol leaves a choice
//! - Every error over HTTP is `{"error": "…"}`: 400 for a wrong request, 404 for what is not here, 408 for a body
//!   that does not come, 413 for what is too large, 415 for an encoding that we do not read, 429 for a model whose
//!   queue is full and 503 for a server that is busy or not ready, both with `Retry-After`. 500 means that we failed.
//!   Over gRPC: INVALID_ARGUMENT, NOT_FOUND, UNAVAILABLE (with `grpc-retry-pushback-ms`), INTERNAL, and for
//!   a message over the limit tonic's own OUT_OF_RANGE or, where it is over it once decompressed, RESOURCE_EXHAUSTED.
//!   In a stream, the text stands in the answer's place.
//! - A server or model that is not ready answers 503, as KServe does.
//! - `null`, `"NaN"`, `"Infinity"` and `"-Infinity"` are elements of FP16, FP32 and FP64 tensors in JSON, and so
//!   they are written ([`ropewalk_serving::json`]). `null` is a missing value.
//! - A JSON input that says one numeric type where the model takes another is read as the model's type, if every
//!   number is one of it: a client need not know whether an age is INT64 or FP32. Binary tensors must match exactly.
//! - The id under which the answer is logged is the response's parameter `prediction_id`.
//! - Unknown parameters are ignored, as the protocol asks; those of extensions that would change the answer
//!   (shared memory, sequences) are refused.
//! - An answer over HTTP is compressed for a client that accepts it if it is larger than 4 KiB, an error never; over
//!   gRPC, for a client that compresses its requests.
//! - Tracing and logging are not set by clients: what is set is told, and a change is refused. No memory is shared.
//!
//! Specification: <https://github.com/kserve/open-inference-protocol>; extensions:
//! <https://github.com/triton-inference-server/server/tree/main/docs/protocol>.

mod classification;
mod codec;
mod config;
mod context;
mod error;
mod form;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod grpc;
mod limits;
mod repository;
mod rest;
mod room;
mod service;
mod settings;
mod statistics;

pub use codec::{TensorError, decode_binary, decode_json, encode_binary};
pub use context::ClientName;
pub use error::ProtocolError;
pub use grpc::{AsAsked, GrpcServer, GrpcService, HealthServer, HealthService, message_decompressed, proto};
pub use limits::ProtocolLimits;
pub use repository::{IndexEntry, Repository};
pub use room::{Room, Rooms};
pub use service::{OpenInference, grpc_service, health_service, router};

pub(crate) use form::ResponseForm;

/// The name that the server gives itself.
const SERVER: &str = "ropewalk";
/// The extensions of the protocol that the server speaks.
const EXTENSIONS: [&str; 10] = [
    "binary_tensor_data",
    "classification",
    "model_configuration",
    "model_repository",
    "model_repository(unload_dependents)",
    "schedule_policy",
    "statistics",
    "trace",
    "logging",
    "parameters",
];
/// The name of the response parameter that holds the prediction's id.
const PREDICTION_ID: &str = "prediction_id";
/// Work on more bytes than this is not done on the reactor.
const REACTOR_BYTES: usize = 64 << 10;

/// Runs `work`, which touches about `bytes` bytes, where it does not hold up other requests.
async fn off_reactor<T: Send + 'static>(
    bytes: usize,
    work: impl FnOnce() -> Result<T, ProtocolError> + Send + 'static,
) -> Result<T, ProtocolError> {
    if bytes <= REACTOR_BYTES {
        return work();
    }
    tokio::task::spawn_blocking(work).await.map_err(|_| ProtocolError::Failed)?
}
