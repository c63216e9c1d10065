use std::fmt;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use serde::{Deserialize, Serialize};

/// A moment: milliseconds since the Unix epoch, UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// Milliseconds since the Unix epoch.
    pub fn millis(self) -> i64 {
        self.0
    }
}

/// What a rule may not fetch for itself: the time and randomness.
///
/// The product passes the system's; a test passes [`ManualAmbient`].
pub trait Ambient: Send + Sync + fmt::Debug {
    /// The present moment.
    fn now(&self) -> Timestamp;
    /// 128 unpredictable bits.
    fn random(&self) -> u128;
}

/// Time that moves one millisecond a reading and randomness that repeats: for tests.
#[derive(Debug)]
pub struct ManualAmbient {
    now: AtomicI64,
    drawn: AtomicU64,
}

impl ManualAmbient {
    /// Starts at `now`.
    pub fn starting_at(now: Timestamp) -> Self {
        Self { now: AtomicI64::new(now.0), drawn: AtomicU64::new(0) }
    }
}

impl Default for ManualAmbient {
    fn default() -> Self {
        Self::starting_at(Timestamp(1_700_000_000_000))
    }
}

impl Ambient for ManualAmbient {
    fn now(&self) -> Timestamp {
        Timestamp(self.now.fetch_add(1, Ordering::Relaxed))
    }

    fn random(&self) -> u128 {
        let drawn = self.drawn.fetch_add(1, Ordering::Relaxed);
        let bytes = blake3::hash(&drawn.to_le_bytes());
        let mut half = [0_u8; 16];
        half.copy_from_slice(&bytes.as_bytes()[..16]);
        u128::from_le_bytes(half)
    }
}
