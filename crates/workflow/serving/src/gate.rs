use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::Notify;

/// Counts who is inside, so that one can wait until all have left.
#[derive(Debug, Default)]
pub(crate) struct Gate {
    inside: AtomicU64,
    empty: Notify,
}

impl Gate {
    /// One more is inside; how many there were before.
    pub(crate) fn enter(&self) -> u64 {
        // Whoever closes a door and then finds nobody inside must not overlook one who enters: one order for all.
        self.inside.fetch_add(1, Ordering::SeqCst)
    }

    pub(crate) fn leave(&self) {
        if self.inside.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.empty.notify_waiters();
        }
    }

    pub(crate) fn inside(&self) -> u64 {
        self.inside.load(Ordering::SeqCst)
    }

    /// Waits for a moment at which nobody is inside.
    pub(crate) async fn wait_until_empty(&self) {
        loop {
            let mut emptied = std::pin::pin!(self.empty.notified());
            emptied.as_mut().enable();
            if self.inside() == 0 {
                return;
            }
            emptied.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[tokio::test]
    async fn the_wait_ends_when_the_last_has_left() {
        let gate = Gate::default();
        gate.wait_until_empty().await;
        assert_eq!((gate.enter(), gate.enter()), (0, 1));
        let mut empty = Box::pin(gate.wait_until_empty());
        assert!(empty.as_mut().now_or_never().is_none());
        gate.leave();
        assert!(empty.as_mut().now_or_never().is_none());
        gate.leave();
        empty.await;
    }
}
