mod decode;
mod describe;

use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use futures::stream::BoxStream;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteRow};
use sqlx::{AssertSqlSafe, ConnectOptions as _};

use crate::cell::Cell;
use crate::{ConnectorError, redacted, without_secrets};

use super::SqlRequest;
use super::dialect::Dialect;
use super::source::{Described, Source, within};

use decode::Kind;
use describe::Telling;

/// Rows that the driver's thread reads ahead: each hand-over between threads costs more than many rows.
const ROWS_AHEAD: usize = 1024;

#[derive(Clone)]
pub(super) struct Sqlite {
    options: Arc<SqliteConnectOptions>,
    location: Arc<str>,
    timeout: Duration,
    telling: Arc<Telling>,
}

impl Sqlite {
    /// `sqlite:PATH` below the request's directory, `sqlite:///PATH` (RFC 8089's form of an absolute path).
    pub(super) fn new(request: &SqlRequest) -> Result<Self, ConnectorError> {
        let wrong = |reason: &str| ConnectorError::url(&request.url, reason);
        let rest = request.url.strip_prefix("sqlite:").unwrap_or_default();
        let path = match rest.strip_prefix("//") {
            Some(absolute) if absolute.starts_with('/') => absolute,
            Some(_) => return Err(wrong("write `sqlite:PATH`, or `sqlite:///PATH` for an absolute one")),
            None => rest,
        };
        // Whatever is a parameter with a secret, behind a `#` too, would be told as part of the file's name.
        let is_parameter = path.contains('?') || without_secrets(&request.url).is_some();
        if path.is_empty() || is_parameter || path == ":memory:" {
            return Err(wrong("it must name a file, and takes no parameters"));
        }
        let path = request.directory.join(path);
        // Opening a file that is not there would say no more than "code 14".
        if !ropewalk_store::files::exists(&path)? {
            return Err(wrong(&format!("there is no file {}", path.display())));
        }
        let options = SqliteConnectOptions::new()
            .filename(path)
            .read_only(true)
            .create_if_missing(false)
            .row_buffer_size(ROWS_AHEAD)
            .disable_statement_logging();
        Ok(Self {
            options: Arc::new(options),
            location: redacted(&request.url).into(),
            timeout: request.connect_timeout,
            telling: Arc::new(Telling {
                decimals: request.decimals.clone(),
                tolerance: request.type_tolerance,
                whole: request.inferred_whole.clone(),
                text: request.text.clone(),
            }),
        })
    }
}

impl Source for Sqlite {
    const DIALECT: Dialect = Dialect::Sqlite;
    type Kind = Kind;
    type Connection = SqliteConnection;
    type Row = SqliteRow;

    fn location(&self) -> &str {
        &self.location
    }

    fn connect(&self) -> BoxFuture<'_, Result<SqliteConnection, ConnectorError>> {
        Box::pin(async move {
            let mut connection = within(self.timeout, &self.location, self.options.connect()).await?;
            let started = sqlx::raw_sql("BEGIN").execute(&mut connection).await;
            started.map_err(self.failed("starting to read"))?;
            Ok(connection)
        })
    }

    fn share<'a>(
        &'a self,
        _: &'a mut SqliteConnection,
    ) -> BoxFuture<'a, Result<(Self, Option<String>), ConnectorError>> {
        Box::pin(async move { Ok((self.clone(), None)) })
    }

    fn version<'a>(&'a self, connection: &'a mut SqliteConnection) -> BoxFuture<'a, Result<String, ConnectorError>> {
        Box::pin(async move {
            let version: String = sqlx::query_scalar("SELECT sqlite_version()")
                .fetch_one(connection)
                .await
                .map_err(self.failed("asking for its version"))?;
            Ok(format!("SQLite {version}"))
        })
    }

    fn describe<'a>(
        &'a self,
        connection: &'a mut SqliteConnection,
        sql: &'a str,
    ) -> BoxFuture<'a, Result<Vec<Described<Kind>>, ConnectorError>> {
        Box::pin(async move {
            let described = describe::describe(connection, sql, &self.telling).await;
            described.map_err(self.failed("preparing the query"))
        })
    }

    fn rows(
        connection: &mut SqliteConnection,
        sql: String,
        parameters: Vec<String>,
    ) -> BoxStream<'_, Result<SqliteRow, sqlx::Error>> {
        let query = sqlx::query(AssertSqlSafe(sql));
        parameters.into_iter().fold(query, sqlx::query::Query::bind).fetch(connection)
    }

    fn cell<'r>(row: &'r SqliteRow, index: usize, kind: &Kind) -> Cell<'r> {
        decode::cell(row, index, *kind)
    }

    fn count_kind() -> Kind {
        Kind::Stored
    }

    /// As it is stored: dates are compared as text, and what has another type than its column has to be seen.
    fn bound_kind(_: &Kind) -> Kind {
        Kind::Stored
    }

    fn is_decimal(kind: &Kind) -> bool {
        *kind == Kind::Decimal
    }
}
