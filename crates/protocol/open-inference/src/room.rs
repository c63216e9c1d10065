//! Memory for bodies and messages that are decompressed. Who listens counts what comes over the wire, of which a body
//! may make a thousand times as much.

use std::io::Read;
use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::{ProtocolError, ProtocolLimits};

/// Bytes that one permit stands for.
const UNIT: usize = 1 << 10;
/// The memory that a body is decompressed into at first.
pub(crate) const STEP: usize = 64 << 10;

/// How much of decompressed bodies and messages there may be at once.
#[derive(Clone, Debug)]
pub struct Rooms {
    units: Arc<Semaphore>,
    bytes: usize,
}

/// What one body or message has of it, given back when dropped.
#[derive(Debug)]
pub struct Room {
    of: Rooms,
    held: Option<OwnedSemaphorePermit>,
}

impl Rooms {
    pub(crate) fn new(limits: &ProtocolLimits) -> Self {
        // One message must fit, and the byte by which a longer one is known.
        let bytes = limits.memory_bytes.max(limits.message_bytes.saturating_add(1));
        let most = Semaphore::MAX_PERMITS.min(u32::MAX as usize);
        Self { units: Arc::new(Semaphore::new(bytes.div_ceil(UNIT).min(most))), bytes }
    }

    /// A room of nothing yet.
    pub fn room(&self) -> Room {
        Room { of: self.clone(), held: None }
    }
}

impl Room {
    /// Takes so many bytes more, if they are there.
    pub(crate) fn grow(&mut self, bytes: usize) -> Result<(), ProtocolError> {
        let units = u32::try_from(bytes.div_ceil(UNIT)).unwrap_or(u32::MAX);
        let more = Arc::clone(&self.of.units).try_acquire_many_owned(units);
        let more = more.map_err(|_| ProtocolError::NoRoom { bytes: self.of.bytes })?;
        match &mut self.held {
            Some(held) => held.merge(more),
            None => self.held = Some(more),
        }
        Ok(())
    }

    /// Reads to the end, up to a bound, in steps that double; each has its room before it has its memory. `what` is
    /// read, in the words of an error.
    pub(crate) fn read(&mut self, mut decoder: impl Read, limit: usize, what: &str) -> Result<Vec<u8>, ProtocolError> {
        let mut plain = Vec::new();
        loop {
            // By one byte beyond the limit it is known that there are more than that.
            let step = plain.len().max(STEP).min(limit.saturating_add(1).saturating_sub(plain.len()));
            self.grow(step)?;
            plain.reserve_exact(step);
            let read = decoder.by_ref().take(step as u64).read_to_end(&mut plain);
            let read = read.map_err(|problem| {
                ProtocolError::malformed(&format!("the {what} cannot be decompressed: {problem}"))
            })?;
            if plain.len() > limit {
                return Err(ProtocolError::TooLarge { limit });
            }
            if read < step {
                break;
            }
        }
        plain.shrink_to_fit();
        self.shrink(plain.len());
        Ok(plain)
    }

    #[cfg(test)]
    pub(crate) fn units(&self) -> usize {
        self.held.as_ref().map_or(0, OwnedSemaphorePermit::num_permits)
    }

    /// Gives back what is not needed for so many bytes.
    pub(crate) fn shrink(&mut self, bytes: usize) {
        if let Some(held) = &mut self.held {
            let surplus = held.num_permits().saturating_sub(bytes.div_ceil(UNIT));
            drop(held.split(surplus));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rooms(message_bytes: usize, memory_bytes: usize) -> Rooms {
        Rooms::new(&ProtocolLimits { message_bytes, memory_bytes, ..ProtocolLimits::default() })
    }

    #[test]
    fn what_one_body_has_no_other_gets() {
        let rooms = rooms(1 << 10, 10 << 10);
        let (mut one, mut two) = (rooms.room(), rooms.room());
        one.grow(7 << 10).unwrap();
        assert!(matches!(two.grow(4 << 10), Err(ProtocolError::NoRoom { bytes: 10_240 })));
        two.grow(3 << 10).unwrap();
        assert!(one.grow(1).is_err());
        one.shrink(5 << 10);
        two.grow(2 << 10).unwrap();
        drop(one);
        two.grow(5 << 10).unwrap();
        assert!(two.grow(1).is_err());
        drop(two);
        rooms.room().grow(10 << 10).unwrap();
    }

    #[test]
    fn there_is_room_for_one_message_whatever_is_asked_for() {
        for message in [0, 1000, 1024, 5000] {
            rooms(message, 0).room().grow(message + 1).unwrap();
        }
    }
}
