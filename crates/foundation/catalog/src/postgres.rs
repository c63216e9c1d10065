//! All that holds for PostgreSQL only: URLs, how a write begins, error codes, the text of migrations.

use std::str::FromStr as _;
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{ConnectOptions as _, Executor as _, PgPool};

use crate::connection::Kind;
use crate::{CatalogError, Connection};

/// One writer at a time, as in SQLite: what a work reads before it writes stays true, and two servers never meet in a
/// deadlock. Groups share the lock, so that it is taken once for many works
/// (<https://www.postgresql.org/docs/15/explicit-locking.html#ADVISORY-LOCKS>).
///
/// Read committed, whatever the database's default: under a stricter level the state would be that from before the lock was
/// had. A server that is cut off inside a transaction keeps the lock until PostgreSQL ends its session.
pub(crate) const BEGIN_WRITE: &str = "BEGIN ISOLATION LEVEL READ COMMITTED; SET LOCAL lock_timeout = '30s'; \
    SET LOCAL idle_in_transaction_session_timeout = '60s'; \
    SELECT pg_advisory_xact_lock(hashtextextended('ropewalk catalogue ' || current_schema(), 0))";

/// The same for a migration, which waits for another server's as long as that takes.
pub(crate) const BEGIN_MIGRATION: &str = "BEGIN ISOLATION LEVEL READ COMMITTED; \
    SELECT pg_advisory_xact_lock(hashtextextended('ropewalk catalogue ' || current_schema(), 0))";

/// A transaction in which a statement failed ends with ROLLBACK, and no error, when it is told to commit; a statement
/// before that says it.
pub(crate) const COMMIT: &str = "SELECT 1; COMMIT";

/// How long all that one group of works says may take.
pub(crate) const GROUP_PATIENCE: Duration = Duration::from_mins(1);

/// How long a savepoint or a ROLLBACK may take: none of them waits for a disk or a lock.
pub(crate) const STEP_PATIENCE: Duration = Duration::from_secs(3);

/// How long the beginning and the end of a transaction may take; a server that cannot be reached any more says nothing.
pub(crate) const PATIENCE: Duration = Duration::from_secs(45);

/// No question may keep one of the few readers for ever: a hostile filter can be one that is never answered.
pub(crate) const BEGIN_READ: &str =
    "BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY; SET LOCAL statement_timeout = '120s'";

/// Connections that read at the same time.
pub(crate) const READERS: u32 = 8;
/// How long a new connection may take. The one that writes is waited for by all writers, who are told soon that it cannot be
/// had.
const CONNECT: Duration = Duration::from_secs(10);
const WAIT: Duration = Duration::from_secs(30);
const STATEMENTS: usize = 512;

/// One database of a server, and how it is opened.
#[derive(Clone, Debug)]
pub(crate) struct Server {
    options: PgConnectOptions,
    /// A schema of its own, made when it is opened: for tests.
    schema: Option<String>,
}

/// Connections to a server: one that writes, some that read.
#[derive(Clone, Debug)]
pub(crate) struct Pools {
    pub(crate) writer: PgPool,
    pub(crate) readers: PgPool,
}

impl Server {
    /// The server that `url` names.
    pub(crate) fn from_url(url: &str) -> Result<Self, CatalogError> {
        let options = PgConnectOptions::from_str(url).map_err(|error| CatalogError::Url {
            // The URL may hold a password.
            url: "postgresql://…".to_owned(),
            reason: error.to_string(),
        })?;
        let options = options.application_name("ropewalk").statement_cache_capacity(STATEMENTS);
        Ok(Self { options: options.disable_statement_logging(), schema: None })
    }

    /// In a schema of its own, whose commits do not wait for the disk.
    pub(crate) fn in_schema(mut self, schema: String) -> Self {
        self.options = self.options.options([("search_path", schema.as_str()), ("synchronous_commit", "off")]);
        self.schema = Some(schema);
        self
    }

    /// Host, port and database, without a password.
    pub(crate) fn place(&self) -> String {
        let database = self.options.get_database().unwrap_or_default();
        format!("postgresql://{}:{}/{database}", self.options.get_host(), self.options.get_port())
    }

    /// Opens the pools; a server that cannot be reached is found by the first connection.
    pub(crate) async fn open(&self) -> Result<Pools, CatalogError> {
        let pool = |most: u32| {
            PgPoolOptions::new()
                .max_connections(most)
                .acquire_timeout(if most == 1 { CONNECT } else { WAIT })
                .test_before_acquire(most == 1)
                .connect_lazy_with(self.options.clone())
        };
        let pools = Pools { writer: pool(1), readers: pool(READERS) };
        // A pool tries until its time is over; a wrong password or address is known at the first attempt.
        let mut first = self.options.connect().await?;
        if let Some(schema) = &self.schema {
            let create = format!("CREATE SCHEMA IF NOT EXISTS \"{schema}\"");
            first.execute(sqlx::AssertSqlSafe(create)).await?;
        }
        sqlx::Connection::close(first).await?;
        Ok(pools)
    }
}

impl Pools {
    pub(crate) async fn connect(&self) -> Result<Connection, CatalogError> {
        Ok(Connection { kind: Kind::Postgres(self.writer.acquire().await?) })
    }

    pub(crate) async fn reader(&self) -> Result<Connection, CatalogError> {
        Ok(Connection { kind: Kind::Postgres(self.readers.acquire().await?) })
    }
}

/// A migration's text for PostgreSQL: text is compared by its bytes, as in SQLite, and tables have no rowid to do
/// without.
pub(crate) fn migration(sql: &str) -> String {
    let mut text = String::with_capacity(sql.len() + 512);
    let mut rest = sql;
    while let Some(at) = rest.find(" TEXT") {
        let (before, after) = rest.split_at(at + " TEXT".len());
        text.push_str(before);
        let whole = !after.starts_with(|next: char| next.is_ascii_alphanumeric() || next == '_');
        if whole && !before.ends_with("AS TEXT") {
            text.push_str(" COLLATE \"C\"");
        }
        rest = after;
    }
    text.push_str(rest);
    text.replace(" WITHOUT ROWID", "")
}

type Variant = fn(crate::error::Cause) -> CatalogError;

/// The variant for an SQLSTATE (<https://www.postgresql.org/docs/15/errcodes-appendix.html>).
pub(crate) fn classify(code: &str) -> Variant {
    match code {
        "25006" | "42501" => CatalogError::ReadOnly,
        "53100" => CatalogError::DiskFull,
        "22021" => |_| CatalogError::Nul,
        "2201B" => CatalogError::Pattern,
        "57014" => CatalogError::Slow,
        "55P03" | "40P01" | "40001" => CatalogError::Locked,
        "XX001" | "XX002" => CatalogError::Damaged,
        "58030" => CatalogError::Disk,
        "28000" | "28P01" | "3D000" => CatalogError::CannotConnect,
        _ if code.starts_with("23") => CatalogError::Constraint,
        _ if code.starts_with("08") || code.starts_with("57P") || code.starts_with("53") => CatalogError::CannotConnect,
        _ => CatalogError::Statement,
    }
}

#[cfg(test)]
mod tests {
    use super::migration;

    #[test]
    fn text_is_compared_by_bytes_and_tables_have_no_rowid() {
        let sql = "CREATE TABLE a (b TEXT NOT NULL, c TEXT, TEXTURE BIGINT, PRIMARY KEY (b)) WITHOUT ROWID;\n\
                   UPDATE a SET c = CAST(b AS TEXT)";
        let says = "CREATE TABLE a (b TEXT COLLATE \"C\" NOT NULL, c TEXT COLLATE \"C\", TEXTURE BIGINT, PRIMARY KEY (b));\n\
                    UPDATE a SET c = CAST(b AS TEXT)";
        assert_eq!(migration(sql), says);
    }
}
