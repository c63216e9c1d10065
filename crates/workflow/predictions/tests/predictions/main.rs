//! The log of predictions, with a store in memory, a folder of the test and a database of its own.
#![expect(clippy::unwrap_used, reason = "tests may")]

mod full_disk;
mod log;
mod old_table;
mod payloads;
mod segments;
mod world;
