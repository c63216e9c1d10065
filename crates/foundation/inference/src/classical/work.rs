//! What the bodies of loops and branches may cost while one request is answered.

use std::cell::Cell;

use super::fault::Fault;
use crate::Tensor;

/// The most units of work that all bodies may do together: a second or so for each 2^31, by what they do.
const UNITS_LIMIT: u64 = 1 << 34;
/// Units of the evaluation of a node, whatever it makes; each element that it makes is one more.
const UNITS_OF_A_NODE: u64 = 64;
/// The most turns of one loop.
pub(super) const TURNS_LIMIT: usize = 1 << 20;

/// Counts the work of one request.
#[derive(Debug, Default)]
pub(super) struct Work {
    done: Cell<u64>,
}

impl Work {
    /// Counts a node, or one turn of a body, that made these tensors.
    pub(super) fn count(&self, made: &[Tensor]) -> Result<(), Fault> {
        let elements: u64 = made.iter().map(|tensor| tensor.data.len() as u64).sum();
        let done = self.done.get().saturating_add(elements).saturating_add(UNITS_OF_A_NODE);
        self.done.set(done);
        if done > UNITS_LIMIT {
            let what = "work in loops (elements made, and 64 for each node evaluated)".to_owned();
            return Err(Fault::TooLarge { what, size: done, limit: UNITS_LIMIT });
        }
        Ok(())
    }
}

/// Refuses a loop that turns more often than [`TURNS_LIMIT`].
pub(super) fn check_turns(turns: usize) -> Result<(), Fault> {
    if turns > TURNS_LIMIT {
        let (size, limit) = (turns as u64, TURNS_LIMIT as u64);
        return Err(Fault::TooLarge { what: "turns".to_owned(), size, limit });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_ends_at_its_limit() {
        let work = Work { done: Cell::new(UNITS_LIMIT - UNITS_OF_A_NODE - 3) };
        let made = Tensor::new(vec![3], vec![0_u8; 3]).unwrap();
        work.count(std::slice::from_ref(&made)).unwrap();
        assert!(matches!(work.count(&[]), Err(Fault::TooLarge { .. })));
        assert!(check_turns(TURNS_LIMIT).is_ok() && check_turns(TURNS_LIMIT + 1).is_err());
    }
}
