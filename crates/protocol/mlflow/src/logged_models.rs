use axum::Json;
use serde_json::{Map, Value, json};

use crate::MlflowError;
use crate::request::Message;

/// `SearchLoggedModels`: finds nothing whatever is asked for, because this server has no endpoint that makes one.
///
/// MLflow 3's client asks this before it lists a folder of a run, and takes an error for a failed listing.
pub(crate) async fn search(Message(_): Message<Map<String, Value>>) -> Result<Json<Value>, MlflowError> {
    Ok(Json(json!({ "models": [] })))
}
