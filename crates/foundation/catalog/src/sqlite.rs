//! All that holds for SQLite only: URLs, PRAGMAs, how a write begins, result codes.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use regex::{Regex, RegexBuilder};
use rusqlite::OpenFlags;
use rusqlite::functions::FunctionFlags;
use rusqlite::types::ValueRef;

use crate::connection::Kind;
use crate::error::Cause;
use crate::{CatalogError, Connection};

/// Takes the write lock at once: a read that turns into a write later could meet a changed database.
pub(crate) const BEGIN_WRITE: &str = "BEGIN IMMEDIATE";

const BUSY: Duration = Duration::from_secs(30);
const RETRY: Duration = Duration::from_millis(20);
/// Prepared statements that a connection keeps.
const STATEMENTS: usize = 256;
/// `SQLITE_CONSTRAINT_FUNCTION`: what rusqlite makes of the error of a function that the program gave.
const FUNCTION_FAILED: i32 = 0x413;
/// What a compiled regular expression may take.
const PATTERN_BYTES: usize = 1 << 20;

/// A reading may take so long: as long as a statement on PostgreSQL. A hostile search can be one that never ends.
const READING: Duration = Duration::from_mins(2);
/// Steps of SQLite's machine between two looks at the clock.
const STEPS_BETWEEN_LOOKS: i32 = 50_000;

/// A connection to a file.
#[derive(Debug)]
pub(crate) struct File {
    pub(crate) connection: rusqlite::Connection,
    pub(crate) watch: Watch,
}

/// When the present reading is to end, in milliseconds after `from`.
#[derive(Clone, Debug)]
pub(crate) struct Watch {
    from: Instant,
    until: Arc<AtomicU64>,
}

impl Default for Watch {
    fn default() -> Self {
        Self { from: Instant::now(), until: Arc::new(AtomicU64::new(u64::MAX)) }
    }
}

impl Watch {
    /// A reading begins.
    pub(crate) fn begin(&self) {
        let until = self.from.elapsed() + READING;
        self.until.store(until.as_millis() as u64, Ordering::Relaxed);
    }

    fn is_over(&self) -> bool {
        self.from.elapsed().as_millis() as u64 > self.until.load(Ordering::Relaxed)
    }
}

/// One database file and how it is to be opened.
#[derive(Clone, Debug)]
pub(crate) struct Database {
    /// The file's path as it was given.
    pub(crate) path: String,
    /// How long to wait for a lock of another process.
    pub(crate) busy: Duration,
    /// Whether a commit waits for the disk.
    pub(crate) durable: bool,
}

impl Database {
    /// The file that the part of a URL after `sqlite:` names; `None` if it names none.
    pub(crate) fn at(path: &str) -> Option<Self> {
        let path = path.strip_prefix("//").unwrap_or(path);
        let names_a_file = !path.is_empty() && !path.starts_with(":memory:") && !path.contains('\0');
        names_a_file.then(|| Self { path: path.to_owned(), busy: BUSY, durable: true })
    }

    /// A connection that may write, to a database in WAL mode. Waits; call it where that is allowed.
    pub(crate) fn connect(&self) -> Result<Connection, CatalogError> {
        let connection = self.open()?;
        self.journal(&connection)?;
        Ok(Connection { kind: Kind::Sqlite(Box::new(File { connection, watch: Watch::default() })) })
    }

    /// A connection that reads and refuses to write.
    pub(crate) fn reader(&self) -> Result<Connection, CatalogError> {
        let connection = self.open()?;
        connection.execute_batch("PRAGMA query_only = ON")?;
        let watch = Watch::default();
        let watching = watch.clone();
        connection.progress_handler(STEPS_BETWEEN_LOOKS, Some(move || watching.is_over()))?;
        Ok(Connection { kind: Kind::Sqlite(Box::new(File { connection, watch })) })
    }

    /// `synchronous = FULL`: in WAL mode the lower settings may lose the last commits in a power cut
    /// (<https://www.sqlite.org/pragma.html#pragma_synchronous>). The size limit cuts the log back after a large write.
    fn open(&self) -> Result<rusqlite::Connection, CatalogError> {
        // Without SQLITE_OPEN_URI nothing in the path is syntax; `./` keeps `:name:` and `file:` from being special.
        let path = if self.path.starts_with('/') { self.path.clone() } else { format!("./{}", self.path) };
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = rusqlite::Connection::open_with_flags(path, flags)?;
        connection.set_prepared_statement_cache_capacity(STATEMENTS);
        let (busy, synchronous) = (self.busy.as_millis(), if self.durable { "FULL" } else { "OFF" });
        connection.execute_batch(&format!(
            "PRAGMA busy_timeout = {busy}; PRAGMA synchronous = {synchronous}; PRAGMA foreign_keys = ON; \
             PRAGMA journal_size_limit = 67108864; PRAGMA case_sensitive_like = ON; PRAGMA cache_size = -16384"
        ))?;
        regexp(&connection)?;
        Ok(connection)
    }

    /// Entering WAL mode needs the file for itself and does not wait by `busy_timeout`
    /// (<https://www.sqlite.org/wal.html#activating_and_configuring_wal_mode>), so we wait here.
    fn journal(&self, connection: &rusqlite::Connection) -> Result<(), CatalogError> {
        let deadline = Instant::now() + self.busy;
        loop {
            let mode = connection.query_row("PRAGMA journal_mode = WAL", [], |row| row.get::<_, String>(0));
            match mode.map_err(CatalogError::from) {
                Ok(mode) if mode == "wal" => return Ok(()),
                Ok(mode) => {
                    let reason = format!("its file system cannot keep a write-ahead log (journal mode is `{mode}`)");
                    return Err(CatalogError::Url { url: format!("sqlite:{}", self.path), reason });
                }
                Err(CatalogError::Locked(_)) if Instant::now() < deadline => thread::sleep(RETRY),
                Err(error) => return Err(error),
            }
        }
    }
}

/// A database of somebody else's, which is only read.
pub(crate) fn foreign(path: &Path) -> Result<File, CatalogError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = rusqlite::Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY)?;
    Ok(File { connection, watch: Watch::default() })
}

/// The operator `REGEXP`, for which SQLite asks the program (<https://www.sqlite.org/lang_expr.html#regexp>): true if
/// the pattern is found anywhere in the text, as with PostgreSQL's `~`. A pattern is compiled once for a statement.
fn regexp(connection: &rusqlite::Connection) -> Result<(), rusqlite::Error> {
    let flags = FunctionFlags::SQLITE_UTF8 | FunctionFlags::SQLITE_DETERMINISTIC;
    connection.create_scalar_function("regexp", 2, flags, |context| {
        let compile = |pattern: ValueRef<'_>| {
            let limited = RegexBuilder::new(pattern.as_str()?).size_limit(PATTERN_BYTES).build();
            Ok::<_, Box<dyn std::error::Error + Send + Sync>>(limited?)
        };
        // An error with a text of its own would lose its code.
        let failed = |_| rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(FUNCTION_FAILED), None);
        let pattern: Arc<Regex> = context.get_or_create_aux(0, compile).map_err(failed)?;
        Ok(context.get_raw(1).as_str_or_null()?.is_some_and(|text| pattern.is_match(text)))
    })
}

type Variant = fn(Cause) -> CatalogError;

/// The variant for a result code; the low byte is the primary code (<https://www.sqlite.org/rescode.html>).
pub(crate) fn classify(error: &rusqlite::Error) -> Variant {
    let rusqlite::Error::SqliteFailure(failure, _) = error else {
        return CatalogError::Statement;
    };
    if failure.extended_code == FUNCTION_FAILED {
        // The one function of ours is that of regular expressions.
        return CatalogError::Pattern;
    }
    match failure.extended_code & 0xff {
        5 | 6 => CatalogError::Locked,
        8 => CatalogError::ReadOnly,
        9 => CatalogError::Slow,
        10 => CatalogError::Disk,
        11 => CatalogError::Damaged,
        13 => CatalogError::DiskFull,
        14 => CatalogError::CannotOpen,
        19 => CatalogError::Constraint,
        26 => CatalogError::NotADatabase,
        _ => CatalogError::Statement,
    }
}

#[cfg(test)]
mod tests {
    use ropewalk_types::Diagnose as _;

    use super::*;
    use crate::query;

    #[test]
    fn a_reading_that_never_ends_is_ended() {
        let directory = tempfile::tempdir().expect("directory");
        let database = Database::at(&directory.path().join("catalog.db").to_string_lossy()).expect("path");
        drop(database.connect().expect("made"));
        let mut reader = database.reader().expect("reader");
        let endless = "WITH RECURSIVE c (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM c) SELECT COUNT(*) FROM c";
        if let Kind::Sqlite(file) = &reader.kind {
            file.watch.until.store(0, Ordering::Relaxed);
        }
        let ended = futures::executor::block_on(query(endless).fetch_one::<i64>(&mut reader));
        assert_eq!(ended.expect_err("too long").code(), "catalog.slow");
    }
}
