use crate::IngestError;

/// Runs work that computes or blocks away from the threads that wait for I/O.
pub async fn blocking<T, E, F>(work: F) -> Result<T, E>
where
    T: Send + 'static,
    E: From<IngestError> + Send + 'static,
    F: FnOnce() -> Result<T, E> + Send + 'static,
{
    tokio::task::spawn_blocking(work).await.map_err(|error| IngestError::joined(&error))?
}
