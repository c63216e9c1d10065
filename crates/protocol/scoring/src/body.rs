use std::error::Error;
use std::io;
use std::iter::successors;

use axum::body::{Body, to_bytes};
use axum::http::HeaderMap;
use axum::http::header::CONTENT_ENCODING;
use bytes::Bytes;
use http_body_util::LengthLimitError;
use tokio::time::timeout;

use crate::{ScoringError, ScoringLimits};

/// Reads a request's body: bounded in bytes and in time. Compressed bodies are refused, as MLflow has none.
pub(crate) async fn read(headers: &HeaderMap, body: Body, limits: &ScoringLimits) -> Result<Bytes, ScoringError> {
    if let Some(encoding) = headers.get(CONTENT_ENCODING).filter(|value| value.as_bytes() != b"identity") {
        return Err(ScoringError::Encoding(encoding.to_str().unwrap_or("?").to_owned()));
    }
    let limit = limits.body_bytes;
    let body = timeout(limits.body_time, to_bytes(body, limit)).await;
    body.map_err(|_| ScoringError::Slow(limits.body_time))?.map_err(|problem| {
        if problem.source().is_some_and(<dyn Error>::is::<LengthLimitError>) {
            ScoringError::TooLarge { limit }
        } else if is_late(&problem) {
            ScoringError::Slow(limits.body_time)
        } else {
            ScoringError::malformed("a body", &problem)
        }
    })
}

/// Whether who hands the body on has waited for it as long as it may: the product's gate has a timer of the same length.
fn is_late(problem: &(dyn Error + 'static)) -> bool {
    let mut causes = successors(Some(problem), |&problem| problem.source());
    causes.any(|cause| cause.downcast_ref::<io::Error>().is_some_and(|cause| cause.kind() == io::ErrorKind::TimedOut))
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;

    use http_body_util::{BodyExt as _, Full, Limited};

    use super::*;

    /// How the reading of a body ends that fails with an error of this kind.
    async fn failing(kind: ErrorKind) -> ScoringError {
        let body = Limited::new(Full::new(Bytes::from_static(b"too long")), 1);
        let body = Body::new(body.map_err(move |_| io::Error::new(kind, "the body did not come in time")));
        read(&HeaderMap::new(), body, &ScoringLimits::default()).await.unwrap_err()
    }

    #[tokio::test]
    async fn a_body_that_is_given_up_below_is_late_too() {
        let late = failing(ErrorKind::TimedOut).await;
        assert!(matches!(late, ScoringError::Slow(_)), "{late}");
        assert_eq!(late.status().0, 408);
        assert_eq!(failing(ErrorKind::ConnectionReset).await.status().0, 400);
    }
}
