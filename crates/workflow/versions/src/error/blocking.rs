use super::VersionsError;

/// Runs work that computes or blocks, off the reactor.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, VersionsError> + Send + 'static,
) -> Result<T, VersionsError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        // A panic goes on in the task that asked for the work.
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_) => Err(VersionsError::Interrupted),
        },
    }
}
