//! Both sides of the protocol, asked as clients ask, with a model made for the test.
#![expect(clippy::unwrap_used, reason = "tests may")]

mod deadlines;
mod grpc;
mod grpc_extensions;
mod grpc_memory;
mod rest;
mod rest_extensions;
mod rest_memory;
mod rest_mistakes;
mod routes;
mod world;
