use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use ropewalk_inference::InferenceError;

use crate::gate::Gate;
use crate::{HostLimits, ServingError};

/// Bounds what is inside the whole host: requests, evaluated or waiting, and the bytes of their inputs.
#[derive(Debug)]
pub(crate) struct Admission {
    gate: Gate,
    requests: u64,
    bytes: AtomicU64,
    bytes_limit: u64,
    draining: AtomicBool,
    refused: AtomicU64,
}

/// The right to be inside; given up when dropped.
#[derive(Debug)]
pub(crate) struct Admitted<'a> {
    admission: &'a Admission,
    bytes: u64,
}

impl Admission {
    pub(crate) fn new(limits: HostLimits) -> Self {
        Self {
            gate: Gate::default(),
            requests: limits.concurrency.saturating_add(limits.waiting) as u64,
            bytes: AtomicU64::new(0),
            bytes_limit: limits.bytes,
            draining: AtomicBool::new(false),
            refused: AtomicU64::new(0),
        }
    }

    /// Lets a request in whose inputs take that many bytes; never waits.
    pub(crate) fn enter(&self, bytes: u64) -> Result<Admitted<'_>, ServingError> {
        if bytes > self.bytes_limit {
            let (what, limit) = ("the request in bytes".to_owned(), self.bytes_limit);
            return Err(InferenceError::TooLarge { what, size: bytes, limit }.into());
        }
        let before = self.gate.enter();
        let bytes_before = self.bytes.fetch_add(bytes, Ordering::Relaxed);
        // From here on it is taken out again where it is refused.
        let admitted = Admitted { admission: self, bytes };
        let refusal = if self.draining.load(Ordering::SeqCst) {
            ServingError::Draining
        } else if before >= self.requests {
            ServingError::HostFull { what: "requests", limit: self.requests }
        } else if bytes_before.saturating_add(bytes) > self.bytes_limit {
            ServingError::HostFull { what: "bytes of requests", limit: self.bytes_limit }
        } else {
            return Ok(admitted);
        };
        self.refused.fetch_add(1, Ordering::Relaxed);
        Err(refusal)
    }

    /// Lets nobody in any more, and waits until all are out.
    pub(crate) async fn drain(&self) {
        self.draining.store(true, Ordering::SeqCst);
        self.gate.wait_until_empty().await;
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::SeqCst)
    }

    pub(crate) fn requests(&self) -> u64 {
        self.gate.inside()
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    pub(crate) fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }
}

impl Drop for Admitted<'_> {
    fn drop(&mut self) {
        self.admission.bytes.fetch_sub(self.bytes, Ordering::Relaxed);
        self.admission.gate.leave();
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    fn admission() -> Admission {
        Admission::new(HostLimits { concurrency: 1, waiting: 1, rows: 1, bytes: 100 })
    }

    #[test]
    fn requests_and_their_bytes_are_bounded() {
        let admission = admission();
        let first = admission.enter(60).unwrap();
        assert!(matches!(admission.enter(41), Err(ServingError::HostFull { what: "bytes of requests", limit: 100 })));
        let second = admission.enter(40).unwrap();
        assert!(matches!(admission.enter(0), Err(ServingError::HostFull { what: "requests", limit: 2 })));
        assert_eq!((admission.requests(), admission.bytes(), admission.refused()), (2, 100, 2));
        drop((first, second));
        assert_eq!((admission.requests(), admission.bytes()), (0, 0));
        assert!(admission.enter(100).is_ok());
    }

    #[test]
    fn what_is_over_the_limit_by_itself_will_never_be_taken() {
        let error = admission().enter(101).unwrap_err();
        assert_eq!(error.fault(), crate::Fault::TooLarge);
    }

    #[tokio::test]
    async fn who_drains_lets_nobody_in_and_waits_for_the_last() {
        let admission = admission();
        let inside = admission.enter(1).unwrap();
        let mut drained = Box::pin(admission.drain());
        assert!(drained.as_mut().now_or_never().is_none());
        assert!(matches!(admission.enter(1), Err(ServingError::Draining)));
        drop(inside);
        drained.await;
    }
}
