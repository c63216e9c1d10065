use std::sync::{Arc, Mutex, PoisonError};

use rten::ThreadPool;

/// Idle pools that are kept.
const IDLE_LIMIT: usize = 64;

/// Pools of threads for one model: as many as evaluations ran at the same time, so that none waits for another.
#[derive(Debug)]
pub(super) struct Workers {
    threads: usize,
    idle: Mutex<Vec<Arc<ThreadPool>>>,
}

impl Workers {
    /// Pools of `threads` threads, started when first needed.
    pub(super) fn new(threads: usize) -> Self {
        Self { threads: threads.max(1), idle: Mutex::default() }
    }

    /// Runs `work` with a pool of its own.
    pub(super) fn with<R>(&self, work: impl FnOnce(Arc<ThreadPool>) -> R) -> R {
        let idle = || self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = idle().pop();
        let pool = taken.unwrap_or_else(|| Arc::new(ThreadPool::with_num_threads(self.threads)));
        let result = work(Arc::clone(&pool));
        let mut idle = idle();
        if idle.len() < IDLE_LIMIT {
            idle.push(pool);
        }
        result
    }
}
