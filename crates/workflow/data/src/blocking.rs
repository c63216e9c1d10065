use crate::DataError;

/// Runs work that computes or blocks away from the threads that wait for I/O.
pub(crate) async fn blocking<T, F>(work: F) -> Result<T, DataError>
where
    T: Send + 'static,
    F: FnOnce() -> Result<T, DataError> + Send + 'static,
{
    tokio::task::spawn_blocking(work).await.map_err(|error| DataError::joined(&error))?
}
