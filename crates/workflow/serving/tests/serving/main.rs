//! The host, with engines that do what the test says.
#![expect(clippy::unwrap_used, reason = "tests may")]

mod batching;
mod host;
mod lifecycle;
mod routes;
mod turns;
mod world;
