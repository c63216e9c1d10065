use std::sync::Arc;

use axum::http::{Method, Uri};
use axum::middleware::from_fn_with_state;
use axum::routing::{delete, get, patch, post};
use axum::{Json, Router};
use serde_json::{Value, json};

use crate::guard::guard;
use crate::{
    MLFLOW_VERSION, MlflowError, MlflowState, artifacts, experiments, inputs, logged_models, logging, metrics,
    model_versions, registered_models, runs, search, traces, webhooks,
};

type States = Arc<MlflowState>;

/// All endpoints, behind the check of the request's host and token.
pub fn router(state: MlflowState) -> Router {
    let state = Arc::new(state);
    let mut router = Router::new()
        .route("/health", get(async || "OK"))
        .route("/version", get(async || MLFLOW_VERSION))
        .route("/get-artifact", get(artifacts::get))
        .route("/model-versions/get-artifact", get(model_versions::artifact))
        .route("/v1/traces", post(traces::otlp::export))
        // Not MLflow's: its API has no word for it.
        .route("/api/2.0/ropewalk/model-versions/approve", post(model_versions::approve));
    for prefix in ["/api", "/ajax-api"] {
        // Which version of the API an endpoint belongs to differs between MLflow's own: each is answered under both.
        for version in ["2.0", "3.0"] {
            router = router.nest(&format!("{prefix}/{version}/mlflow"), tracking().merge(registry()));
        }
        router =
            router.nest(&format!("{prefix}/2.0/mlflow-artifacts"), proxied_artifacts()).merge(traces::routes(prefix));
    }
    router
        .fallback(endpoint_absent)
        .method_not_allowed_fallback(endpoint_absent)
        .layer(from_fn_with_state(Arc::clone(&state), guard))
        .with_state(state)
}

fn tracking() -> Router<States> {
    Router::new()
        .route("/server-info", get(server_info))
        .route("/experiments/create", post(experiments::create))
        .route("/experiments/get", get(experiments::get))
        .route("/experiments/get-by-name", get(experiments::get_by_name))
        .route("/experiments/update", post(experiments::update))
        .route("/experiments/delete", post(experiments::delete))
        .route("/experiments/restore", post(experiments::restore))
        .route("/experiments/search", get(search::experiments_by_query).post(search::experiments_by_body))
        .route("/experiments/search-datasets", post(inputs::search_datasets))
        .route("/experiments/set-experiment-tag", post(experiments::set_tag))
        .route("/experiments/delete-experiment-tag", post(experiments::delete_tag))
        .route("/runs/create", post(runs::create))
        .route("/runs/get", get(runs::get))
        .route("/runs/update", post(runs::update))
        .route("/runs/delete", post(runs::delete))
        .route("/runs/restore", post(runs::restore))
        .route("/runs/search", post(search::runs))
        .route("/runs/log-metric", post(logging::metric))
        .route("/runs/log-parameter", post(logging::param))
        .route("/runs/log-batch", post(logging::batch))
        .route("/runs/log-inputs", post(inputs::log_inputs))
        .route("/runs/log-model", post(inputs::log_model))
        .route("/runs/outputs", post(inputs::log_outputs))
        .route("/runs/set-tag", post(logging::tag))
        .route("/runs/delete-tag", post(logging::tag_delete))
        .route("/metrics/get-history", get(metrics::history))
        .route("/metrics/get-history-bulk", get(metrics::history_bulk))
        .route("/metrics/get-history-bulk-interval", get(metrics::history_bulk_interval))
        .route("/artifacts/list", get(artifacts::list))
        .route("/artifacts/presigned-upload-url", post(artifacts::direct::presigned_upload))
        .route("/artifacts/presigned-download-url", post(artifacts::direct::presigned_download))
        .route("/upload-artifact", post(artifacts::put))
        .merge(logged_models::routes())
}

fn registry() -> Router<States> {
    Router::new()
        .route("/registered-models/create", post(registered_models::create))
        .route("/registered-models/rename", post(registered_models::rename))
        .route("/registered-models/update", patch(registered_models::update))
        .route("/registered-models/delete", delete(registered_models::delete))
        .route("/registered-models/get", get(registered_models::get))
        .route("/registered-models/search", get(registered_models::search))
        .route(
            "/registered-models/get-latest-versions",
            get(model_versions::latest_by_query).post(model_versions::latest_by_body),
        )
        .route("/registered-models/set-tag", post(registered_models::set_tag))
        .route("/registered-models/delete-tag", delete(registered_models::delete_tag))
        .route(
            "/registered-models/alias",
            get(registered_models::by_alias).post(registered_models::set_alias).delete(registered_models::delete_alias),
        )
        .route("/model-versions/create", post(model_versions::create))
        .route("/model-versions/update", patch(model_versions::update))
        .route("/model-versions/transition-stage", post(model_versions::transition_stage))
        .route("/model-versions/delete", delete(model_versions::delete))
        .route("/model-versions/get", get(model_versions::get))
        .route("/model-versions/search", get(model_versions::search))
        .route("/model-versions/get-download-uri", get(model_versions::download_uri))
        .route("/model-versions/set-tag", post(model_versions::set_tag))
        .route("/model-versions/delete-tag", delete(model_versions::delete_tag))
        .route("/webhooks", get(webhooks::list).post(webhooks::create))
        .route("/webhooks/{id}", get(webhooks::get).patch(webhooks::update).delete(webhooks::delete))
        .route("/webhooks/{id}/test", post(webhooks::test))
}

fn proxied_artifacts() -> Router<States> {
    use artifacts::{direct, proxied};
    Router::new()
        .route("/artifacts", get(proxied::list))
        .route("/artifacts/{*path}", get(proxied::download).put(proxied::upload).delete(proxied::delete))
        .route("/mpu/create/{*path}", post(direct::multipart_upload))
        .route("/mpu/complete/{*path}", post(direct::multipart_upload))
        .route("/mpu/abort/{*path}", post(direct::multipart_upload))
        .route("/presigned/{*path}", get(direct::multipart_download))
}

/// What a client asks before it tries what not every server can; see `mlflow/utils/server_info.py`.
async fn server_info() -> Json<Value> {
    Json(json!({
        "store_type": "SqlStore",
        "workspaces_enabled": false,
        "trace_archival_enabled": false,
        "multipart_uploads_enabled": false,
        "multipart_downloads_enabled": false,
        "presigned_upload_run_id_supported": false,
        "presigned_upload_model_id_supported": false,
        "features_enabled": {},
    }))
}

/// The answer to a path or a method that is not there.
pub(crate) async fn endpoint_absent(method: Method, uri: Uri) -> MlflowError {
    MlflowError::EndpointAbsent { method: method.to_string(), path: uri.path().chars().take(200).collect() }
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::http::StatusCode;
    use bytes::Bytes;
    use serde_json::json;

    use crate::testing::{Server, delete, get, post};

    #[tokio::test]
    async fn what_is_not_there_is_said_in_mlflows_shape() {
        let server = Server::new().await;
        let absent = [
            get("/"),
            get("/nowhere"),
            post("/api/2.0/mlflow/registered-models/transition", &json!({})),
            get("/api/2.0/mlflow/runs/create"),
            delete("/health"),
            get("/api/2.0/mlflow-artifacts/nowhere/x"),
        ];
        for request in absent {
            server.refuses(request, 404, "ENDPOINT_NOT_FOUND").await;
        }
    }

    #[tokio::test]
    async fn paths_that_are_no_text_are_refused_in_mlflows_shape() {
        let server = Server::new().await;
        for path in [
            "/api/2.0/mlflow/logged-models/%ff",
            "/api/2.0/mlflow/logged-models/%ff/artifacts/directories",
            "/api/2.0/mlflow/webhooks/%ff",
            "/api/2.0/mlflow/traces/%ff/info",
            "/api/3.0/mlflow/traces/%ff",
            "/api/3.0/mlflow/traces/tr-1/assessments/%ff",
        ] {
            server.refuses(get(path), 400, "INVALID_PARAMETER_VALUE").await;
        }
        let tag = delete("/api/2.0/mlflow/logged-models/m-1/tags/%ff");
        server.refuses(tag, 400, "INVALID_PARAMETER_VALUE").await;
    }

    #[tokio::test]
    async fn bodies_that_break_off_are_told_apart_from_long_ones() {
        let server = Server::new().await;
        let mut broken = post("/api/2.0/mlflow/experiments/create", &json!({}));
        let pieces = [Ok(Bytes::from_static(b"{")), Err(std::io::Error::other("gone"))];
        *broken.body_mut() = Body::from_stream(futures::stream::iter(pieces));
        let message = server.refuses(broken, 400, "BAD_REQUEST").await;
        assert!(message.contains("ended early"), "{message}");
        let long = json!({"name": "x".repeat(crate::request::MESSAGE_BYTES)});
        let long = post("/api/2.0/mlflow/experiments/create", &long);
        let message = server.refuses(long, 400, "INVALID_PARAMETER_VALUE").await;
        assert!(message.contains("longer than"), "{message}");
    }

    #[tokio::test]
    async fn health_version_and_capabilities_are_told() {
        let server = Server::new().await;
        for (path, text) in [("/health", "OK"), ("/version", crate::MLFLOW_VERSION)] {
            let response = server.raw(get(path)).await;
            assert_eq!(response.status(), StatusCode::OK);
            assert_eq!(axum::body::to_bytes(response.into_body(), 100).await.expect("body"), text);
        }
        let info = server.ok(get("/api/3.0/mlflow/server-info")).await;
        assert_eq!(info["workspaces_enabled"], false);
    }
}
