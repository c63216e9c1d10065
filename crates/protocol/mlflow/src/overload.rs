use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use serde_json::json;

/// The answer to a request that is not taken because there are too many: status 503 and `Retry-After`, in MLflow's shape.
///
/// MLflow's client waits for so many seconds and sends the request again (`mlflow/utils/request_utils.py`), so it must not
/// have been begun.
pub fn overloaded(seconds: u32, reason: &str) -> Response {
    let message = format!("{reason}; try again in {seconds} s");
    let body = json!({ "error_code": "TEMPORARILY_UNAVAILABLE", "message": message });
    let mut response = (StatusCode::SERVICE_UNAVAILABLE, Json(body)).into_response();
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    response
}
