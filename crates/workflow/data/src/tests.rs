//! The crate as its callers use it.

mod answers;
mod checks;
mod dataset;
mod files;
pub(crate) mod fixture;
mod governance;
mod numbers;
mod query;
mod spill;
mod transform;
mod travel;
