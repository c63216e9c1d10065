//! The crate as its callers use it.

mod answers;
mod checks;
mod dataset;
pub(crate) mod fixture;
mod governance;
mod query;
mod spill;
mod transform;
mod travel;
