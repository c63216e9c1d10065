use ropewalk_types::TensorSpec;

use super::proto;
use super::proto::model_metadata_response::TensorMetadata;
use crate::config::{model_config, platform};
use crate::statistics::model_statistics;
use crate::{EXTENSIONS, OpenInference, ProtocolError, SERVER};

pub(super) fn server() -> proto::ServerMetadataResponse {
    proto::ServerMetadataResponse {
        name: SERVER.to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        extensions: EXTENSIONS.map(str::to_owned).to_vec(),
    }
}

pub(super) fn model(
    server: &OpenInference,
    name: &str,
    version: Option<&str>,
) -> Result<proto::ModelMetadataResponse, ProtocolError> {
    let metadata = server.host.metadata(name, version)?;
    let tensors = |specs: &[TensorSpec]| -> Vec<TensorMetadata> {
        let tensor = |spec: &TensorSpec| TensorMetadata {
            name: spec.name.clone(),
            datatype: spec.datatype.to_string(),
            shape: spec.shape.clone(),
        };
        specs.iter().map(tensor).collect()
    };
    Ok(proto::ModelMetadataResponse {
        name: metadata.name.to_string(),
        versions: metadata.versions.iter().map(u64::to_string).collect(),
        platform: platform(&metadata),
        inputs: tensors(&metadata.signature.inputs),
        outputs: tensors(&metadata.signature.outputs),
    })
}

pub(super) fn config(
    server: &OpenInference,
    name: &str,
    version: Option<&str>,
) -> Result<proto::ModelConfigResponse, ProtocolError> {
    let metadata = server.host.metadata(name, version)?;
    let settings = server.host.settings(name, version)?;
    Ok(proto::ModelConfigResponse { config: Some(model_config(&metadata, &settings)) })
}

pub(super) fn statistics(
    server: &OpenInference,
    name: &str,
    version: Option<&str>,
) -> Result<proto::ModelStatisticsResponse, ProtocolError> {
    Ok(proto::ModelStatisticsResponse { model_stats: model_statistics(&server.host, name, version)? })
}
