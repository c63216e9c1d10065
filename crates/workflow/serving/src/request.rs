use std::sync::Arc;
use std::time::Duration;

use ropewalk_inference::{EngineName, ModelSource, NamedTensor};
use ropewalk_types::{Digest, ModelName, PredictionId, Signature};
use serde::{Serialize, Serializer};

use crate::ModelSettings;

/// A model to be served: the bytes that the registry keeps for one version.
#[derive(Clone, Debug)]
pub struct HostedModel {
    /// The registered model.
    pub name: ModelName,
    /// Its version, counted from 1.
    pub version: u64,
    /// Digest of the bytes.
    pub digest: Digest,
    /// Where its definition is.
    pub source: ModelSource,
    /// How it is served.
    pub settings: ModelSettings,
}

/// What a client asks, in no protocol's words.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct InferenceRequest {
    /// The client's own name for the request, given back with the answer.
    pub id: Option<String>,
    /// The inputs, in any order.
    pub inputs: Vec<NamedTensor>,
    /// The outputs wanted, in the order wanted; empty for all.
    pub outputs: Vec<String>,
    /// What else came with it.
    pub context: RequestContext,
}

/// What came with a request beside its tensors.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RequestContext {
    /// The name of the key with which the client came.
    pub client: Option<Arc<str>>,
    /// From 1, the most urgent; 0 takes the model's default, which is its least urgent.
    pub priority: u32,
    /// How long the request may wait for its turn; none takes the model's own.
    pub timeout: Option<Duration>,
    /// How long the client waits for the answer: the request waits no longer for its turn, whatever timeout it has.
    pub deadline: Option<Duration>,
    /// The request's headers (metadata in gRPC) that routes look at, with names in lower case.
    pub labels: Vec<(String, String)>,
}

/// The answer to one request.
#[derive(Clone, Debug, PartialEq)]
pub struct InferenceResponse {
    /// The id under which the answer is logged.
    pub prediction: PredictionId,
    /// The client's own name for the request.
    pub id: Option<String>,
    /// The model that answered.
    pub model: ModelName,
    /// The version that answered.
    pub version: u64,
    /// The outputs that were asked for, in that order.
    pub outputs: Vec<NamedTensor>,
}

/// What is known of a loaded model.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ModelMetadata {
    /// The model.
    pub name: ModelName,
    /// The version that the rest describes.
    pub version: u64,
    /// The version that answers where none is asked for.
    pub default_version: u64,
    /// All loaded versions, ascending.
    pub versions: Vec<u64>,
    /// Digest of the model's bytes.
    pub digest: Digest,
    /// Name of the engine that runs it.
    #[serde(serialize_with = "engine_name")]
    pub engine: EngineName,
    /// What it takes and gives.
    pub signature: Arc<Signature>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde gives a reference")]
fn engine_name<S: Serializer>(engine: &EngineName, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(engine.as_str())
}

/// Whether requests can be answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Readiness {
    /// They can.
    Ready,
    /// They cannot.
    NotReady {
        /// Why, as a clause for the operator.
        reason: String,
    },
}

impl Readiness {
    /// Whether requests can be answered.
    pub fn is_ready(&self) -> bool {
        *self == Self::Ready
    }
}
