//! Which endpoints there are. Further protocols are added here: their router is merged with the others, behind one gate.

use std::sync::Arc;

use axum::Router;
use axum::middleware::from_fn_with_state;
use axum::routing::get;
use ropewalk_open_inference::OpenInference;
use ropewalk_scoring::Scoring;
use ropewalk_serving::ModelHost;

use crate::InferenceServerError;
use crate::gate::{Gate, Wire, measured, pass};

/// Where the measures are.
pub(crate) const METRICS_PATH: &str = "/metrics";

/// Everything that is answered over HTTP/1.1.
pub(crate) fn rest(protocol: &OpenInference, scoring: &Scoring, host: &Arc<ModelHost>, gate: &Arc<Gate>) -> Router {
    let (counted, measures) = (Arc::clone(host), Arc::clone(&gate.measures));
    let tell = move || {
        let text = measures.text(&counted.statistics());
        async move { measured(text) }
    };
    protocol
        .router()
        .route(METRICS_PATH, get(tell))
        .merge(scoring.router())
        .layer(from_fn_with_state((Arc::clone(gate), Wire::Rest), pass))
}

/// Everything that is answered over gRPC.
pub(crate) fn grpc(protocol: &OpenInference, gate: &Arc<Gate>) -> Result<Router, InferenceServerError> {
    let routes = protocol.grpc_routes().map_err(|error| InferenceServerError::Serve(error.to_string()))?;
    Ok(routes.into_axum_router().layer(from_fn_with_state((Arc::clone(gate), Wire::Grpc), pass)))
}

/// The pattern of a path of REST: as many as there are endpoints, whatever clients ask for; empty for none of them.
pub(crate) fn pattern(path: &str) -> &'static str {
    let mut parts = path.trim_matches('/').split('/');
    if path == METRICS_PATH {
        return METRICS_PATH;
    }
    match parts.next() {
        Some("v2") => {}
        first => return of_scoring(first, parts.collect::<Vec<_>>().as_slice()),
    }
    match parts.next() {
        None => "/v2",
        Some("health") => match parts.next() {
            Some("live") => "/v2/health/live",
            Some("ready") => "/v2/health/ready",
            _ => "",
        },
        Some("models") => of_model(parts.collect::<Vec<_>>().as_slice()),
        Some("repository") => match parts.collect::<Vec<_>>().as_slice() {
            ["index"] => "/v2/repository/index",
            ["models", _, "load"] => "/v2/repository/models/{model}/load",
            ["models", _, "unload"] => "/v2/repository/models/{model}/unload",
            _ => "",
        },
        Some(_) => "",
    }
}

fn of_scoring(first: Option<&str>, parts: &[&str]) -> &'static str {
    match (first, parts) {
        (Some("invocations"), []) => "/invocations",
        (Some("models"), [_, "invocations"] | [_, "versions", _, "invocations"]) => "/models/{model}/invocations",
        (Some("predict"), [_] | [_, "versions", _]) => "/predict/{model}",
        (Some("ping"), []) => "/ping",
        (Some("health"), []) => "/health",
        (Some("version"), []) => "/version",
        (Some("openapi.json"), []) => "/openapi.json",
        (Some("docs"), []) => "/docs",
        (Some("docs"), ["models"]) => "/docs/models",
        _ => "",
    }
}

fn of_model(parts: &[&str]) -> &'static str {
    match parts {
        ["stats"] => "/v2/models/stats",
        [_] | [_, "versions", _] => "/v2/models/{model}",
        [_, "infer"] | [_, "versions", _, "infer"] => "/v2/models/{model}/infer",
        [_, "ready"] | [_, "versions", _, "ready"] => "/v2/models/{model}/ready",
        [_, "config"] | [_, "versions", _, "config"] => "/v2/models/{model}/config",
        [_, "stats"] | [_, "versions", _, "stats"] => "/v2/models/{model}/stats",
        _ => "",
    }
}
