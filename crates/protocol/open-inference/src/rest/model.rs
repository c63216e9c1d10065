use axum::response::Response;
use ropewalk_serving::{ModelMetadata, Readiness};
use ropewalk_types::TensorSpec;
use serde_json::{Value, json};

use super::route::ModelCall;
use crate::config::{config_json, model_config, platform};
use crate::statistics::model_statistics;
use crate::{OpenInference, ProtocolError};

/// Answers what is asked of a model beside inference.
pub(super) fn answer(
    server: &OpenInference,
    model: &str,
    version: Option<&str>,
    call: ModelCall,
) -> Result<Response, ProtocolError> {
    match call {
        ModelCall::Ready => {
            check(server.host.ready(model, version)?)?;
            super::json(&json!({ "name": model, "ready": true }))
        }
        ModelCall::Config => {
            let metadata = server.host.metadata(model, version)?;
            let settings = server.host.settings(model, version)?;
            super::json(&config_json(&model_config(&metadata, &settings)))
        }
        ModelCall::Statistics => statistics(server, model, version),
        ModelCall::Metadata | ModelCall::Infer => super::json(&metadata(&server.host.metadata(model, version)?)),
    }
}

/// What models have done; all of them if `model` is empty.
pub(super) fn statistics(
    server: &OpenInference,
    model: &str,
    version: Option<&str>,
) -> Result<Response, ProtocolError> {
    super::json(&json!({ "model_stats": model_statistics(&server.host, model, version)? }))
}

/// The error of what is not ready.
pub(super) fn check(readiness: Readiness) -> Result<(), ProtocolError> {
    match readiness {
        Readiness::Ready => Ok(()),
        Readiness::NotReady { reason } => Err(ProtocolError::NotReady { reason }),
    }
}

fn metadata(metadata: &ModelMetadata) -> Value {
    let tensors = |specs: &[TensorSpec]| -> Vec<Value> {
        specs.iter().map(|spec| json!({ "name": spec.name, "datatype": spec.datatype, "shape": spec.shape })).collect()
    };
    json!({
        "name": metadata.name,
        "versions": metadata.versions.iter().map(u64::to_string).collect::<Vec<_>>(),
        "platform": platform(metadata),
        "inputs": tensors(&metadata.signature.inputs),
        "outputs": tensors(&metadata.signature.outputs),
    })
}
