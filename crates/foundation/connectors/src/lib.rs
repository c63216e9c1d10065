//! Foreign systems that hold data, read: files from web servers and object stores, Arrow record batches from databases
//! and from JSON APIs.
//!
//! | source | URL | gives |
//! |---|---|---|
//! | web server | `https:`, `http:` | a file |
//! | object store | `s3:`, `gs:`, `az:` with a glob | files |
//! | PostgreSQL, MySQL, MariaDB, SQLite | `postgres:`, `mysql:`, `mariadb:`, `sqlite:` and a query | a [`Table`] |
//! | MongoDB | `mongodb:`, `mongodb+srv:` and a collection | a [`Table`] |
//! | JSON API with paging | `https:`, `http:` and where the items are | a [`Table`] |
//!
//! What must never happen here:
//! - Something is written to a source, or more is asked of it than one query.
//! - A value is changed, guessed or dropped without being named: what does not fit its column is a [`Misfit`].
//! - A file is made of bytes of two versions of its source.
//! - Memory grows with the size of a file or the number of rows.
//! - A password stands in an error, a log or a record, or goes to a host that it is not for.

mod cell;
mod column;
mod document;
mod error;
mod fetch;
mod http;
mod json_api;
mod mongo;
mod options;
mod placeholders;
mod provenance;
mod redact;
mod sql;
mod table;

pub use error::ConnectorError;
pub use fetch::{FetchLimits, FetchProgress, FetchRequest, Fetched, FetchedFile, NoProgress, files_fetch};
pub use json_api::{JsonApiLimits, JsonApiRequest, Paging, json_api_open};
pub use mongo::{MONGODB_TESTED_AGAINST, MongoRequest, mongo_open};
pub use options::{ConnectionOptions, Header, HeaderValue};
pub use placeholders::{PlaceholderError, variable_name, with_environment};
pub use provenance::Provenance;
pub use redact::{is_secret_name, redacted, source_key, without_secrets};
pub use sql::{Cursor, Partition, SqlRequest, is_same_database, sql_open};
pub use table::{Batch, BatchStream, Misfit, MisfitPolicy, Note, PartitionSource, Table};
