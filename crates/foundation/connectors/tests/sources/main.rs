//! Against servers of our own that misbehave as real ones do, and against real SQLite files.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod fetch;
mod json_api;
mod mongo;
mod objects;
mod sqlite;
mod support;
