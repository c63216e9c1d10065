use std::collections::HashMap;

use axum::extract::{FromRequestParts, Path};
use axum::http::request::Parts;

use crate::ProtocolError;

/// Model and version in a path, with their percent signs decoded.
#[derive(Debug)]
pub(super) struct ModelPath {
    pub(super) model: String,
    pub(super) version: Option<String>,
}

impl<S: Send + Sync> FromRequestParts<S> for ModelPath {
    type Rejection = ProtocolError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ProtocolError> {
        let path = Path::<HashMap<String, String>>::from_request_parts(parts, state).await;
        let Path(mut path) = path.map_err(|problem| ProtocolError::malformed(&problem.body_text()))?;
        let model = path.remove("model").ok_or(ProtocolError::Failed)?;
        Ok(Self { model, version: path.remove("version") })
    }
}
