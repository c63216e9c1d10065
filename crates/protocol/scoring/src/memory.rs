//! Memory for tables: a byte of a request may become some thirty before it is answered, which who listens does not count.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::json::Json;
use crate::{ScoringError, ScoringLimits};

/// Bytes that one permit stands for.
const UNIT: usize = 1 << 10;
/// Bytes that a byte of JSON or CSV becomes at most, about: records of numbers of one digit take 36.
const GROWTH: usize = 36;

/// How much all tables may take that are read, asked for and answered at once.
#[derive(Clone, Debug)]
pub(crate) struct Memory {
    units: Arc<Semaphore>,
    bytes: usize,
}

/// What one table has of it, given back when dropped.
#[derive(Debug)]
pub(crate) struct Room {
    _held: OwnedSemaphorePermit,
}

impl Memory {
    pub(crate) fn new(limits: &ScoringLimits) -> Self {
        let most = Semaphore::MAX_PERMITS.min(u32::MAX as usize);
        let units = (limits.table_bytes / UNIT).clamp(1, most);
        Self { units: Arc::new(Semaphore::new(units)), bytes: units * UNIT }
    }

    /// Room for the table of a text of so many bytes. One that may take more than there is has all of it.
    ///
    /// # Errors
    /// [`ScoringError::NoRoom`]
    pub(crate) fn of_text(&self, length: usize) -> Result<Room, ScoringError> {
        self.room(length.saturating_mul(GROWTH))
    }

    /// Room for a table of which nothing is known but what it may be at most.
    ///
    /// # Errors
    /// [`ScoringError::NoRoom`]
    pub(crate) fn of_any(&self, limits: &ScoringLimits) -> Result<Room, ScoringError> {
        self.room(limits.cells.saturating_mul(size_of::<Json>()))
    }

    fn room(&self, bytes: usize) -> Result<Room, ScoringError> {
        let units = u32::try_from(bytes.min(self.bytes).div_ceil(UNIT)).unwrap_or(u32::MAX);
        let held = Arc::clone(&self.units).try_acquire_many_owned(units);
        held.map(|held| Room { _held: held }).map_err(|_| ScoringError::NoRoom { bytes: self.bytes })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_share_what_there_is() {
        let limits = ScoringLimits { table_bytes: 100 * GROWTH * UNIT, cells: 1 << 40, ..ScoringLimits::default() };
        let memory = Memory::new(&limits);
        let most = memory.of_text(99 * UNIT).unwrap();
        let little = memory.of_text(UNIT).unwrap();
        let refused = memory.of_text(1).unwrap_err();
        assert!(matches!(refused, ScoringError::NoRoom { bytes } if bytes == 100 * GROWTH * UNIT), "{refused}");
        assert_eq!((refused.status().0.as_u16(), refused.retry_after().is_some()), (503, true));
        drop(little);
        assert!(memory.of_text(1).is_ok());
        assert!(memory.of_any(&limits).is_err());
        drop(most);
        // Alone, what may be larger than all there is is read.
        let all = memory.of_any(&limits).unwrap();
        assert!(memory.of_text(1).is_err());
        drop(all);
        assert!(memory.of_text(usize::MAX).is_ok());
    }
}
