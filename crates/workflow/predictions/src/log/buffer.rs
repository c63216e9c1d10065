use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use ropewalk_serving::Answered;

use crate::LogSettings;

/// A record that waits to be written.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) answered: Answered,
    /// Whether its inputs and outputs were taken away.
    pub(super) cut: bool,
    /// Bytes that it holds.
    pub(super) weight: usize,
}

/// What waits to be written: bounded, and nobody waits for room.
#[derive(Debug)]
pub(super) struct Buffer {
    inner: Mutex<Inner>,
    wake: Condvar,
    linger: Duration,
    most: usize,
    most_bytes: usize,
}

#[derive(Debug, Default)]
struct Inner {
    waiting: Vec<Waiting>,
    /// When the first of them came.
    since: Option<Instant>,
    /// Records that are held, waiting or being written, and their bytes.
    held: usize,
    held_bytes: usize,
    /// Records that were ever taken.
    taken: u64,
    /// Whether somebody waits for what is there.
    flush: bool,
    closed: bool,
}

/// What the writer is given.
#[derive(Debug)]
pub(super) struct Taken {
    /// May be empty: then it is time to look after the journal.
    pub(super) records: Vec<Waiting>,
    /// Whether these are the last.
    pub(super) last: bool,
}

impl Buffer {
    pub(super) fn new(settings: &LogSettings) -> Self {
        Self {
            inner: Mutex::default(),
            wake: Condvar::new(),
            linger: settings.linger,
            most: settings.waiting.max(1),
            most_bytes: settings.waiting_bytes,
        }
    }

    /// Takes a record if there is room; says whether there was.
    pub(super) fn push(&self, record: Waiting) -> bool {
        let mut inner = self.lock();
        // One record is taken however large it is.
        let fits = inner.held == 0 || inner.held_bytes.saturating_add(record.weight) <= self.most_bytes;
        if inner.closed || inner.held >= self.most || !fits {
            return false;
        }
        inner.held += 1;
        inner.held_bytes += record.weight;
        inner.taken += 1;
        inner.waiting.push(record);
        let first = inner.since.is_none();
        if first {
            inner.since = Some(Instant::now());
        }
        // Half full is soon enough.
        let pressing = self.is_pressing(&inner);
        drop(inner);
        if first || pressing {
            self.wake.notify_one();
        }
        true
    }

    /// Gives back the room of records that were written or given up.
    pub(super) fn release(&self, records: usize, bytes: usize) {
        let mut inner = self.lock();
        inner.held = inner.held.saturating_sub(records);
        inner.held_bytes = inner.held_bytes.saturating_sub(bytes);
    }

    /// Asks for what is there to be written at once; says how many records were taken so far.
    pub(super) fn flush(&self) -> u64 {
        let mut inner = self.lock();
        inner.flush = true;
        let taken = inner.taken;
        drop(inner);
        self.wake.notify_one();
        taken
    }

    /// Takes no more.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.wake.notify_one();
    }

    pub(super) fn is_closed(&self) -> bool {
        self.lock().closed
    }

    /// What has gathered: when the first record has waited long enough, when there is much, when somebody asks for it, or after
    /// `idle`.
    pub(super) fn take(&self, idle: Duration) -> Taken {
        let began = Instant::now();
        let mut inner = self.lock();
        loop {
            let due = inner.since.map_or(began + idle, |since| since + self.linger);
            let left = due.saturating_duration_since(Instant::now());
            if inner.closed || inner.flush || left.is_zero() || self.is_pressing(&inner) {
                inner.flush = false;
                inner.since = None;
                return Taken { records: std::mem::take(&mut inner.waiting), last: inner.closed };
            }
            inner = self.wake.wait_timeout(inner, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Waits until the log is closed, or for `pause`.
    pub(super) fn pause(&self, pause: Duration) {
        let inner = self.lock();
        let waited = self.wake.wait_timeout_while(inner, pause, |inner| !inner.closed);
        drop(waited.unwrap_or_else(PoisonError::into_inner));
    }

    fn is_pressing(&self, inner: &Inner) -> bool {
        let half = inner.held.saturating_mul(2) >= self.most || inner.held_bytes.saturating_mul(2) >= self.most_bytes;
        half && !inner.waiting.is_empty()
    }

    /// No step under the lock leaves it half changed, so a panic of another thread does not matter.
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
