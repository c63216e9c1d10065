//! Both sides of the protocol, asked as clients ask, with a model made for the test.
#![expect(clippy::unwrap_used, reason = "tests may")]

mod grpc;
mod rest;
mod rest_mistakes;
mod world;
