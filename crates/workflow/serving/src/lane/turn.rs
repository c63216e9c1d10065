use std::sync::Arc;

use super::Lane;
use super::queue::Key;

/// A request's place in the queue; when it is dropped, because the client went away, the request leaves.
pub(super) struct Turn {
    lane: Arc<Lane>,
    key: Key,
    over: bool,
}

impl Turn {
    pub(super) fn new(lane: &Arc<Lane>, key: Key) -> Self {
        Self { lane: Arc::clone(lane), key, over: false }
    }

    /// Leaves the queue; false if the request is no longer in it, because its turn has come.
    pub(super) fn withdraw(&self) -> bool {
        let mut state = self.lane.lock();
        let job = state.queue.remove(self.key);
        self.lane.told(&state);
        drop(state);
        job.is_some()
    }

    /// The request was answered.
    pub(super) fn over(mut self) {
        self.over = true;
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if !self.over {
            self.withdraw();
            self.lane.counters.count_canceled();
        }
    }
}
