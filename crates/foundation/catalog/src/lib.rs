//! The metadata database: its connections, the order of its migrations, and the one writer that commits in groups.
//!
//! A workflow crate owns its tables, its SQL and its migrations ([`MigrationSet`]); this crate knows none of them.
//! It must never hold a statement about the workflow, and nothing above it may open a connection of its own.
//!
//! Reads go through [`Catalog::pool`], whose connections refuse to write. Writes go through [`Catalog::write`]:
//! works that wait at the same time share one transaction, each inside its own savepoint, so that one flush to the
//! disk pays for all of them. What `write` has answered survives a crash and a power cut.
//!
//! # What one text of SQL for SQLite and PostgreSQL asks for
//! Connections are `sqlx::Any`, which knows few types. Kept by tests here:
//! - Columns are `BIGINT`, `TEXT`, `DOUBLE PRECISION` (or `BLOB`). A column declared `BOOLEAN` or `DATETIME` cannot be
//!   read; bind `i64`, `f64`, `&str`, `String` and `Option`s of them, never `u64`, `bool` or `Arc<str>`.
//! - Placeholders are `$1`, `$2`. `RETURNING`, `ON CONFLICT` and recursive `WITH` work on both.
//! - `COUNT(*)` reads as `i64`; write `CAST(SUM(x) AS BIGINT)`, since PostgreSQL widens the sum of a `BIGINT`.
//! - SQLite stores a NaN as NULL (infinities survive): a table that keeps measured figures needs a way to say NaN.

mod catalog;
mod error;
mod migration;
mod sqlite;
mod writer;

pub use catalog::Catalog;
pub use error::CatalogError;
pub use migration::{Migration, MigrationSet};
