use serde_json::Value;

use super::proto;
use super::proto::model_repository_parameter::ParameterChoice;
use super::proto::repository_index_response::ModelIndex;
use super::proto::{log_settings_request, log_settings_response, trace_setting_response};
use crate::repository::{self, IndexEntry};
use crate::settings::{TRACE, check_log, check_trace, log_settings};
use crate::{OpenInference, ProtocolError, context};

pub(super) async fn index(
    server: &OpenInference,
    ready: bool,
) -> Result<proto::RepositoryIndexResponse, ProtocolError> {
    let entry = |entry: IndexEntry| ModelIndex {
        version: entry.version_text(),
        name: entry.name,
        state: entry.state.as_str().to_owned(),
        reason: entry.reason,
    };
    let entries = repository::index(server, ready).await?;
    Ok(proto::RepositoryIndexResponse { models: entries.into_iter().map(entry).collect() })
}

pub(super) async fn load(
    server: &OpenInference,
    request: &proto::RepositoryModelLoadRequest,
) -> Result<proto::RepositoryModelLoadResponse, ProtocolError> {
    repository::load(server, &request.model_name, request.parameters.keys().map(String::as_str)).await?;
    Ok(proto::RepositoryModelLoadResponse {})
}

pub(super) async fn unload(
    server: &OpenInference,
    request: &proto::RepositoryModelUnloadRequest,
) -> Result<proto::RepositoryModelUnloadResponse, ProtocolError> {
    let dependents = request.parameters.get("unload_dependents");
    let dependents = match dependents.map(|parameter| &parameter.parameter_choice) {
        None => false,
        Some(Some(ParameterChoice::BoolParam(dependents))) => *dependents,
        Some(_) => return Err(context::wrong("unload_dependents", "a bool_param is expected")),
    };
    repository::unload(server, &request.model_name, dependents).await?;
    Ok(proto::RepositoryModelUnloadResponse {})
}

/// No region is registered, so only all of them can be asked for.
pub(super) fn no_region(kind: &'static str, region: String) -> Result<(), ProtocolError> {
    if region.is_empty() { Ok(()) } else { Err(ProtocolError::UnknownRegion { kind, region }) }
}

pub(super) fn trace(request: &proto::TraceSettingRequest) -> Result<proto::TraceSettingResponse, ProtocolError> {
    for (name, setting) in &request.settings {
        check_trace(name, setting.value.iter().map(String::as_str))?;
    }
    let setting = |(name, value): (&str, &str)| {
        (name.to_owned(), trace_setting_response::SettingValue { value: vec![value.to_owned()] })
    };
    Ok(proto::TraceSettingResponse { settings: TRACE.into_iter().map(setting).collect() })
}

pub(super) fn log(request: &proto::LogSettingsRequest) -> Result<proto::LogSettingsResponse, ProtocolError> {
    use log_settings_request::setting_value::ParameterChoice as Asked;
    use log_settings_response::setting_value::ParameterChoice as Told;

    for (name, setting) in &request.settings {
        let value = match &setting.parameter_choice {
            Some(Asked::BoolParam(value)) => Value::from(*value),
            Some(Asked::Uint32Param(value)) => Value::from(*value),
            Some(Asked::StringParam(value)) => Value::from(value.as_str()),
            None => Value::Null,
        };
        check_log(name, &value)?;
    }
    let told = |value: Value| match value {
        Value::Bool(value) => Some(Told::BoolParam(value)),
        Value::String(value) => Some(Told::StringParam(value)),
        other => other.as_u64().and_then(|value| u32::try_from(value).ok()).map(Told::Uint32Param),
    };
    let setting = |(name, value): (&str, Value)| {
        (name.to_owned(), log_settings_response::SettingValue { parameter_choice: told(value) })
    };
    Ok(proto::LogSettingsResponse { settings: log_settings().into_iter().map(setting).collect() })
}
