use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::{HostLimits, ServingError};

/// Bounds the requests inside: a few are evaluated, some wait, the rest are refused at once.
#[derive(Debug)]
pub(crate) struct Admission {
    places: Arc<Semaphore>,
    workers: Arc<Semaphore>,
    capacity: usize,
}

/// The right to evaluate; given up when dropped.
#[derive(Debug)]
pub(crate) struct Admitted {
    _place: OwnedSemaphorePermit,
    _worker: OwnedSemaphorePermit,
}

impl Admission {
    pub(crate) fn new(limits: HostLimits) -> Self {
        let concurrency = limits.concurrency.clamp(1, Semaphore::MAX_PERMITS);
        let capacity = concurrency.saturating_add(limits.waiting).min(Semaphore::MAX_PERMITS);
        Self { places: Arc::new(Semaphore::new(capacity)), workers: Arc::new(Semaphore::new(concurrency)), capacity }
    }

    /// Waits for its turn, first come first served.
    pub(crate) async fn enter(&self) -> Result<Admitted, ServingError> {
        let overloaded = || ServingError::Overloaded { waiting: self.capacity };
        let place = Arc::clone(&self.places).try_acquire_owned().map_err(|_| overloaded())?;
        // The semaphores are never closed, so waiting cannot fail.
        let worker = Arc::clone(&self.workers).acquire_owned().await.map_err(|_| overloaded())?;
        Ok(Admitted { _place: place, _worker: worker })
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[tokio::test]
    async fn some_run_some_wait_the_rest_are_refused() {
        let admission = Admission::new(HostLimits { concurrency: 1, waiting: 1, rows: 1 });
        let running = admission.enter().await.unwrap();
        let mut waiting = Box::pin(admission.enter());
        assert!(waiting.as_mut().now_or_never().is_none());
        assert!(matches!(admission.enter().await, Err(ServingError::Overloaded { waiting: 2 })));
        drop(running);
        assert!(waiting.await.is_ok());
        assert!(admission.enter().await.is_ok());
    }
}
