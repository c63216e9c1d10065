//! The routes on a host with models whose answers can be told in advance.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod described;
mod invocations;
mod memory;
mod predict;
mod routed;
mod world;
