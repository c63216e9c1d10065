//! Blobs that are given without being checked again.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use ropewalk_types::Digest;

/// So long a disk is trusted to give what was written to it, or read from it and found right.
const HOUR: Duration = Duration::from_hours(1);
/// So many blobs are known at most; when there are more, all are forgotten and checked again.
const MOST: usize = 10_000;

/// Blobs all of whose bytes this process has written or read and checked.
#[derive(Debug, Default)]
pub(super) struct Trusted {
    blobs: Mutex<HashMap<Digest, Instant>>,
}

impl Trusted {
    pub(super) fn note(&self, digest: Digest) {
        let mut blobs = self.blobs.lock().unwrap_or_else(PoisonError::into_inner);
        if blobs.len() >= MOST {
            blobs.clear();
        }
        blobs.insert(digest, Instant::now());
    }

    pub(super) fn has(&self, digest: &Digest) -> bool {
        let blobs = self.blobs.lock().unwrap_or_else(PoisonError::into_inner);
        blobs.get(digest).is_some_and(|at| Instant::now().saturating_duration_since(*at) < HOUR)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_hour_passes_and_many_are_forgotten() {
        let trusted = Trusted::default();
        let (one, other) = (Digest::of(b"one"), Digest::of(b"other"));
        trusted.note(one);
        assert!(trusted.has(&one) && !trusted.has(&other));
        let long_ago = Instant::now().checked_sub(HOUR).unwrap();
        trusted.blobs.lock().unwrap().insert(one, long_ago);
        assert!(!trusted.has(&one));
        for number in 0..=MOST as u64 {
            trusted.note(Digest::of(&number.to_le_bytes()));
        }
        assert!(trusted.blobs.lock().unwrap().len() <= MOST);
    }
}
