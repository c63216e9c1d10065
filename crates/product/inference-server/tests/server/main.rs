//! The inference server on real sockets of loopback: who is let in, what is refused, how it ends.
#![expect(clippy::expect_used, reason = "a test that cannot go on fails")]

mod credentials;
mod drain;
mod limits;
mod models;
mod observed;
mod raw;
mod tls;
mod world;
