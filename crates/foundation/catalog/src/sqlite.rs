//! All that holds for SQLite only: URLs, PRAGMAs, how a write begins, result codes.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use sqlx::any::{AnyConnectOptions, AnyPoolOptions};
use sqlx::error::DatabaseError;
use sqlx::sqlite::SqliteError;
use sqlx::{AnyConnection, AnyPool, ConnectOptions};

use crate::CatalogError;

/// Takes the write lock at once: a read that turns into a write later could meet a changed database.
pub(crate) const BEGIN_WRITE: &str = "BEGIN IMMEDIATE";

const READERS: u32 = 4;
const BUSY: Duration = Duration::from_secs(30);
const RETRY: Duration = Duration::from_millis(20);

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
    /// The file that `url` names.
    pub(crate) fn from_url(url: &str) -> Result<Self, CatalogError> {
        let refuse = |reason: &str| CatalogError::Url { url: url.to_owned(), reason: reason.to_owned() };
        let Some((scheme, path)) = url.split_once(':') else {
            return Err(refuse("it has no scheme"));
        };
        match scheme {
            "sqlite" => Self::at(path).ok_or_else(|| refuse("`sqlite:` needs the path of a file")),
            "postgres" | "postgresql" => Err(refuse("PostgreSQL is not built into this program")),
            _ => Err(refuse(&format!("`{scheme}` is not a kind of catalogue that is built in"))),
        }
    }

    fn at(path: &str) -> Option<Self> {
        let path = path.strip_prefix("//").unwrap_or(path);
        let names_a_file = !path.is_empty() && !path.starts_with(":memory:") && !path.contains('\0');
        names_a_file.then(|| Self { path: path.to_owned(), busy: BUSY, durable: true })
    }

    /// `sqlx::Any` takes options from a URL only, so the path goes in spelled so that nothing in it is read as syntax.
    fn options(&self) -> Result<AnyConnectOptions, CatalogError> {
        let mut url = String::from("sqlite:");
        let path = self.path.trim_start_matches('/');
        url.push_str(if path.len() == self.path.len() { "./" } else { "/" });
        for byte in path.bytes() {
            if byte.is_ascii_alphanumeric() || matches!(byte, b'/' | b'.' | b'_' | b'-') {
                url.push(char::from(byte));
            } else {
                let _ = write!(url, "%{byte:02X}");
            }
        }
        url.push_str("?mode=rwc");
        Ok(url.parse::<AnyConnectOptions>()?)
    }

    /// A connection that may write, to a database in WAL mode.
    pub(crate) async fn connect(&self) -> Result<AnyConnection, CatalogError> {
        sqlx::any::install_default_drivers();
        let mut connection = self.options()?.connect().await?;
        settle(&mut connection, &self.settings()).await?;
        self.journal(&mut connection).await?;
        Ok(connection)
    }

    /// A few connections that read and refuse to write.
    pub(crate) fn readers(&self) -> Result<AnyPool, CatalogError> {
        let settings: Arc<str> = format!("{}; PRAGMA query_only = ON", self.settings()).into();
        let pool = AnyPoolOptions::new()
            .max_connections(READERS)
            .acquire_timeout(self.busy)
            .idle_timeout(None)
            .max_lifetime(None)
            .test_before_acquire(false)
            .after_connect(move |connection, _| {
                let settings = Arc::clone(&settings);
                Box::pin(async move { settle(connection, &settings).await })
            });
        Ok(pool.connect_lazy_with(self.options()?))
    }

    /// `synchronous = FULL`: in WAL mode the lower settings may lose the last commits in a power cut
    /// (<https://www.sqlite.org/pragma.html#pragma_synchronous>). The size limit cuts the log back after a large write.
    fn settings(&self) -> String {
        let (busy, synchronous) = (self.busy.as_millis(), if self.durable { "FULL" } else { "OFF" });
        format!(
            "PRAGMA busy_timeout = {busy}; PRAGMA synchronous = {synchronous}; PRAGMA foreign_keys = ON; \
             PRAGMA journal_size_limit = 67108864"
        )
    }

    /// Entering WAL mode needs the file for itself and does not wait by `busy_timeout`
    /// (<https://www.sqlite.org/wal.html#activating_and_configuring_wal_mode>), so we wait here.
    async fn journal(&self, connection: &mut AnyConnection) -> Result<(), CatalogError> {
        let deadline = Instant::now() + self.busy;
        loop {
            let mode = sqlx::query_scalar::<_, String>("PRAGMA journal_mode = WAL").fetch_one(&mut *connection).await;
            match mode.map_err(CatalogError::from) {
                Ok(mode) if mode == "wal" => return Ok(()),
                Ok(mode) => {
                    let reason = format!("its file system cannot keep a write-ahead log (journal mode is `{mode}`)");
                    return Err(CatalogError::Url { url: format!("sqlite:{}", self.path), reason });
                }
                Err(CatalogError::Locked(_)) if Instant::now() < deadline => tokio::time::sleep(RETRY).await,
                Err(error) => return Err(error),
            }
        }
    }
}

async fn settle(connection: &mut AnyConnection, settings: &str) -> Result<(), sqlx::Error> {
    sqlx::raw_sql(sqlx::AssertSqlSafe(settings)).execute(connection).await?;
    Ok(())
}

type Variant = fn(Arc<sqlx::Error>) -> CatalogError;

/// The variant for a result code; the low byte is the primary code (<https://www.sqlite.org/rescode.html>).
pub(crate) fn classify(error: &(dyn DatabaseError + 'static)) -> Variant {
    let Some(error) = error.try_downcast_ref::<SqliteError>() else {
        return CatalogError::Statement;
    };
    let code = DatabaseError::code(error).and_then(|code| code.parse::<u32>().ok()).unwrap_or_default();
    match code & 0xff {
        5 | 6 => CatalogError::Locked,
        8 => CatalogError::ReadOnly,
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
    use ropewalk_types::Diagnose;

    use super::Database;

    #[test]
    fn urls_of_other_kinds_are_refused_with_a_reason() {
        for (url, says) in [
            ("catalog.db", "no scheme"),
            ("postgres://localhost/x", "PostgreSQL is not built into this program"),
            ("mysql://localhost/x", "`mysql` is not a kind"),
            ("sqlite:", "path of a file"),
            ("sqlite::memory:", "path of a file"),
            ("sqlite:a\0b", "path of a file"),
        ] {
            let error = Database::from_url(url).expect_err(url);
            assert_eq!(error.code(), "catalog.url");
            assert!(error.to_string().contains(says), "{error}");
        }
    }

    #[test]
    fn paths_are_spelled_so_that_nothing_is_syntax() {
        for (path, url) in [
            ("a b?mode=memory#x%.db", "sqlite:./a%20b%3Fmode%3Dmemory%23x%25.db?mode=rwc"),
            ("///tmp/c.db", "sqlite:/tmp/c.db?mode=rwc"),
            ("file:x", "sqlite:./file%3Ax?mode=rwc"),
        ] {
            let database = Database::from_url(&format!("sqlite:{path}")).expect(path);
            assert_eq!(database.options().expect(path).database_url.as_str(), url);
        }
    }
}
