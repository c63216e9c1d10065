//! The host, with models made for the test.
#![expect(clippy::unwrap_used, reason = "tests may")]

mod host;
mod world;
