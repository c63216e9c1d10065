//! The description of all requests, made from the signatures of the models that are loaded now.

mod schema;

use axum::extract::State;
use axum::http::Extensions;
use axum::response::Response;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use ropewalk_serving::ModelMetadata;
use serde_json::{Map, Value, json};

use crate::service::{Scoring, json as answered};
use crate::{ScoringError, off_reactor};
pub(crate) use schema::{example_cell, has_example, size};

/// What stands in a segment of a path as it is (RFC 3986, section 2.3).
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

pub(crate) async fn answer(State(scoring): State<Scoring>, extensions: Extensions) -> Result<Response, ScoringError> {
    let _entered = scoring.enter()?;
    let models = defaults(&scoring, &extensions);
    let labels = class_labels(&scoring, &models);
    let bytes = models.iter().map(size).fold(0, usize::saturating_add);
    off_reactor(bytes, move || Ok(answered(document(&models, &labels).to_string()))).await
}

/// The default version of each model that the caller may ask.
pub(crate) fn defaults(scoring: &Scoring, extensions: &Extensions) -> Vec<ModelMetadata> {
    let models = scoring.host.model_list().into_iter().filter(|model| model.version == model.default_version);
    models.filter(|model| scoring.may_ask(extensions, model.name.as_str())).collect()
}

/// For each model, the outputs that are written as objects by class.
fn class_labels(scoring: &Scoring, models: &[ModelMetadata]) -> Vec<Vec<String>> {
    let of_model = |model: &ModelMetadata| {
        let version = model.version.to_string();
        let is_labelled = |output: &str| {
            matches!(scoring.host.class_labels(model.name.as_str(), Some(&version), output), Ok(Some(_)))
        };
        let outputs = model.signature.outputs.iter().map(|output| output.name.clone());
        outputs.filter(|output| is_labelled(output)).collect()
    };
    models.iter().map(of_model).collect()
}

/// A model's name as a segment of a path.
pub(crate) fn segment(name: &str) -> String {
    utf8_percent_encode(name, SEGMENT).to_string()
}

/// An OpenAPI 3.1 document: <https://spec.openapis.org/oas/v3.1.1.html>.
pub(crate) fn document(models: &[ModelMetadata], labels: &[Vec<String>]) -> Value {
    let (mut paths, mut schemas) = (server_paths(models), schema::shared());
    for (place, (model, labels)) in models.iter().zip(labels).enumerate() {
        let key = component(model.name.as_str(), place);
        schemas.extend(schema::of_model(&key, model, labels));
        paths.extend(model_paths(&key, model));
    }
    json!({
        "openapi": "3.1.1",
        "info": {
            "title": "Models of this server",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Made from the signatures of the models that are loaded now.",
        },
        "servers": [{"url": "/"}],
        "security": [{}, {"key": []}, {"bearer": []}],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {
                "key": {"type": "apiKey", "in": "header", "name": "X-Api-Key"},
                "bearer": {"type": "http", "scheme": "bearer"},
            },
        },
    })
}

/// The start of a model's names of components: of letters, digits, `.`, `-` and `_` only, and of no other model.
fn component(name: &str, place: usize) -> String {
    let plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte));
    if plain { format!("model.{name}") } else { format!("number.{place}") }
}

fn reference(schema: &str) -> Value {
    json!({"$ref": format!("#/components/schemas/{schema}")})
}

/// `error` is the schema of what is refused: each protocol has its own.
fn responses(description: &str, schema: &Value, error: &str) -> Value {
    let problem = |description: &str| json!({"description": description, "content": {"application/json": {"schema": reference(error)}}});
    json!({
        "200": {
            "description": description,
            "headers": {"X-Prediction-Id": {
                "description": "The id under which the answer is logged", "schema": {"type": "string"},
            }},
            "content": {"application/json": {"schema": schema}},
        },
        "400": problem("The request is wrong; the message says where"),
        "404": problem("No such model or version is loaded"),
        "413": problem("The request is over a limit"),
        "415": problem("The content type is not read"),
        "429": problem("Too many requests wait for this model"),
        "503": problem("The server cannot answer now"),
        "504": problem("The request waited for its turn as long as it may"),
    })
}

fn server_paths(models: &[ModelMetadata]) -> Map<String, Value> {
    let names: Vec<&str> = models.iter().map(|model| model.name.as_str()).collect();
    let plain = |id: &str, summary: &str| {
        json!({"get": {"operationId": id, "summary": summary, "tags": ["server"], "responses": {
            "200": {"description": "Yes"}, "503": {"description": "Not now"},
        }}})
    };
    let mut header = json!({
        "name": "X-Ropewalk-Model", "in": "header", "schema": {"type": "string"}, "required": names.len() > 1,
        "description": "Which model answers; with one model it may be left out",
    });
    if let (Some(schema), false) = (header.get_mut("schema"), names.is_empty()) {
        *schema = json!({"type": "string", "enum": names});
    }
    let paths = json!({
        "/invocations": {"post": {
            "operationId": "invocations",
            "summary": "MLflow's scoring protocol",
            "tags": ["server"],
            "parameters": [header],
            "requestBody": schema::invocations_body(&reference("Invocations"), None),
            "responses": responses("The predictions", &reference("Predictions"), "Error"),
        }},
        "/ping": plain("ping", "Whether the models can answer (MLflow, SageMaker)"),
        "/health": plain("health", "Whether the models can answer (MLflow)"),
        "/version": plain("version", "The version of MLflow whose scoring protocol is spoken"),
        "/v2/health/live": plain("v2.live", "Whether the server runs (Open Inference Protocol)"),
        "/v2/health/ready": plain("v2.ready", "Whether the models can answer (Open Inference Protocol)"),
        "/openapi.json": plain("openapi", "This document"),
    });
    if let Value::Object(paths) = paths { paths } else { Map::new() }
}

fn model_paths(key: &str, model: &ModelMetadata) -> Map<String, Value> {
    let (name, path) = (model.name.as_str(), segment(model.name.as_str()));
    let version =
        json!({"name": "version", "in": "path", "required": true, "schema": {"type": "integer", "minimum": 1}});
    let labels = json!({
        "name": "labels", "in": "query", "schema": {"type": "boolean", "default": true},
        "description": "Whether probabilities are objects by class, where the model names its classes",
    });
    let predict = |id: &str, parameters: Value| {
        let answer = reference(&format!("{key}.Answer"));
        json!({"post": {
            "operationId": format!("{key}.{id}"),
            "summary": format!("Predictions of {name} for objects of columns"),
            "tags": [name],
            "parameters": parameters,
            "requestBody": schema::objects_body(&reference(&format!("{key}.Row")), schema::example_row(model)),
            "responses": responses(
                "One object, or as many as came",
                &json!({"oneOf": [answer, {"type": "array", "items": answer}]}),
                "Error",
            ),
        }})
    };
    let invocations = json!({"post": {
        "operationId": format!("{key}.invocations"),
        "summary": format!("MLflow's scoring protocol for {name}"),
        "tags": [name],
        "requestBody":
            schema::invocations_body(&reference("Invocations"), schema::example_invocation(model)),
        "responses": responses("The predictions", &reference("Predictions"), "Error"),
    }});
    let infer = json!({"post": {
        "operationId": format!("{key}.infer"),
        "summary": format!("Open Inference Protocol version 2 for {name}"),
        "tags": [name],
        "requestBody": schema::json_body(&reference(&format!("{key}.InferRequest")), schema::example_infer(model)),
        "responses": responses("The outputs as tensors", &reference("InferResponse"), "InferError"),
    }});
    Map::from_iter([
        (format!("/predict/{path}"), predict("predict", json!([labels]))),
        (format!("/predict/{path}/versions/{{version}}"), predict("predictVersion", json!([version, labels]))),
        (format!("/models/{path}/invocations"), invocations),
        (format!("/v2/models/{path}/infer"), infer),
    ])
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use axum::body::Body;
    use axum::http::Request;
    use ropewalk_inference::Engines;
    use ropewalk_serving::{HostLimits, ModelHost, NoPredictionLog};
    use ropewalk_types::ManualAmbient;
    use tower::ServiceExt as _;

    use super::*;
    use crate::ScoringLimits;

    #[tokio::test]
    async fn a_description_takes_a_place() {
        let ambient = Arc::new(ManualAmbient::default());
        let host =
            ModelHost::new(Engines::new(Vec::new()), Arc::new(NoPredictionLog), ambient, HostLimits::for_cores(1));
        let scoring = Scoring::new(Arc::new(host), ScoringLimits { requests: 1, ..ScoringLimits::default() });
        let status = async |path: &str| {
            let request = Request::get(path).body(Body::empty()).unwrap();
            scoring.router().oneshot(request).await.unwrap().status().as_u16()
        };
        let statuses = async || [status("/openapi.json").await, status("/docs/models").await];
        assert_eq!(statuses().await, [200, 200]);
        let entered = scoring.enter().unwrap();
        assert_eq!(statuses().await, [503, 503]);
        drop(entered);
        assert_eq!(statuses().await, [200, 200]);
    }
}
