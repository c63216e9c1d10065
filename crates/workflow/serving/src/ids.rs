use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use ropewalk_types::{Ambient, Timestamp};

/// The clock of another ambient, and unpredictable bits that are drawn from a key of its own.
///
/// The key is drawn once from the other's randomness. Each draw is the BLAKE3 hash under that key of a number that
/// never repeats, so that an id costs no system call, and who knows some of the ids cannot tell the others.
#[derive(Debug)]
pub(crate) struct KeyedAmbient {
    clock: Arc<dyn Ambient>,
    key: Key,
    drawn: AtomicU64,
}

struct Key([u8; 32]);

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Key")
    }
}

impl KeyedAmbient {
    pub(crate) fn new(ambient: Arc<dyn Ambient>) -> Self {
        let mut key = [0; 32];
        let (first, second) = key.split_at_mut(16);
        first.copy_from_slice(&ambient.random().to_le_bytes());
        second.copy_from_slice(&ambient.random().to_le_bytes());
        Self { clock: ambient, key: Key(key), drawn: AtomicU64::new(0) }
    }
}

impl Ambient for KeyedAmbient {
    fn now(&self) -> Timestamp {
        self.clock.now()
    }

    fn random(&self) -> u128 {
        let drawn = self.drawn.fetch_add(1, Ordering::Relaxed);
        let hash = blake3::keyed_hash(&self.key.0, &drawn.to_le_bytes());
        let (half, _) = hash.as_bytes().split_first_chunk::<16>().unwrap_or((&[0; 16], &[]));
        u128::from_le_bytes(*half)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use ropewalk_types::{ManualAmbient, PredictionId};

    use super::*;

    #[test]
    fn ids_differ_within_a_host_and_between_hosts() {
        let ambient: Arc<dyn Ambient> = Arc::new(ManualAmbient::default());
        let hosts = [KeyedAmbient::new(Arc::clone(&ambient)), KeyedAmbient::new(ambient)];
        let ids: HashSet<PredictionId> =
            hosts.iter().flat_map(|host| (0..1000).map(|_| PredictionId::new(host))).collect();
        assert_eq!(ids.len(), 2000);
        let bits: HashSet<u128> = hosts.iter().flat_map(|host| (0..1000).map(|_| host.random())).collect();
        assert_eq!(bits.len(), 2000);
    }
}
