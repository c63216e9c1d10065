//! The metadata database: its connections, the order of its migrations, and the one writer that commits in groups.
//!
//! A workflow crate owns its tables, its SQL and its migrations ([`MigrationSet`]); this crate knows none of them.
//! It must never hold a statement about the workflow, and nothing above it may open a connection of its own.
//!
//! Reads go through [`Catalog::read`], whose connections refuse to write. Writes go through [`Catalog::write`]:
//! works that wait at the same time share one transaction, each inside its own savepoint, so that one flush to the
//! disk pays for all of them. What `write` has answered survives a crash and a power cut. There is one writer at a time
//! in a database, whatever the number of processes: a lock of the file in SQLite, an advisory lock in PostgreSQL.
//!
//! # What one text of SQL for SQLite and PostgreSQL asks for
//! - Columns are `BIGINT`, `TEXT`, `DOUBLE PRECISION` or `BYTEA`; yes and no are a `BIGINT` of 1 and 0.
//! - Placeholders are `$1`, `$2`. `RETURNING`, `ON CONFLICT` and recursive `WITH` work on both.
//! - `COUNT(*)` reads as `i64`; write `CAST(SUM(x) AS BIGINT)`, since PostgreSQL widens the sum of a `BIGINT`.
//! - Text is ordered and compared by its bytes, and `LIKE` tells capitals apart.
//! - SQLite stores a NaN as NULL (infinities survive): a table that keeps measured figures needs a way to say NaN.
//! - A migration's `WITHOUT ROWID` is SQLite's alone and left out for PostgreSQL.

mod catalog;
mod connection;
mod error;
mod migration;
mod place;
mod postgres;
mod query;
mod reader;
mod sqlite;
mod value;
mod writer;

pub use catalog::Catalog;
pub use connection::{Connection, Dialect};
pub use error::{CatalogError, Cause};
pub use migration::{Migration, MigrationSet};
pub use query::{Query, execute_script, query, rows_insert};
pub use value::{Bindable, FromRow, FromValue, Row, Sealed, Value};
