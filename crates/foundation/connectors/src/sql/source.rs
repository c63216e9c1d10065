use arrow::datatypes::DataType;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use sqlx::postgres::PgDatabaseError;

use crate::ConnectorError;
use crate::cell::Cell;

use super::dialect::Dialect;

/// A column of a query's result.
#[derive(Clone, Debug)]
pub(super) struct Described<K> {
    pub(super) name: String,
    pub(super) data_type: DataType,
    /// How its values are decoded.
    pub(super) kind: K,
    /// What the schema does not say.
    pub(super) note: Option<String>,
    /// Whether the server must make it text, because its own form has no type here.
    pub(super) as_text: bool,
}

/// A kind of database: the one seam between what is the same for all and what differs.
pub(super) trait Source: Clone + Send + Sync + 'static {
    /// Which SQL it speaks.
    const DIALECT: Dialect;
    /// How the values of a column are decoded.
    type Kind: Clone + Send + Sync + 'static;
    /// A connection inside a read-only transaction.
    type Connection: sqlx::Connection + Send + 'static;
    type Row: Send + 'static;

    /// How errors call it: redacted.
    fn location(&self) -> &str;

    /// A new connection in a transaction that reads one state, that of [`Source::share`] where there is one.
    fn connect(&self) -> BoxFuture<'_, Result<Self::Connection, ConnectorError>>;

    /// The same source, whose new connections see what `connection` sees, for as long as that is held; its name.
    fn share<'a>(
        &'a self,
        connection: &'a mut Self::Connection,
    ) -> BoxFuture<'a, Result<(Self, Option<String>), ConnectorError>>;

    /// What the server is.
    fn version<'a>(&'a self, connection: &'a mut Self::Connection) -> BoxFuture<'a, Result<String, ConnectorError>>;

    /// The columns of `sql`, without running it.
    fn describe<'a>(
        &'a self,
        connection: &'a mut Self::Connection,
        sql: &'a str,
    ) -> BoxFuture<'a, Result<Vec<Described<Self::Kind>>, ConnectorError>>;

    /// The rows of `sql`, as they come from the server.
    fn rows(
        connection: &mut Self::Connection,
        sql: String,
        parameters: Vec<String>,
    ) -> BoxStream<'_, Result<Self::Row, sqlx::Error>>;

    /// The value of column `index`.
    fn cell<'r>(row: &'r Self::Row, index: usize, kind: &Self::Kind) -> Cell<'r>;

    /// How the result of `COUNT(*)` is decoded.
    fn count_kind() -> Self::Kind;

    /// How an extreme value of a column is decoded that goes back to the database as a bound.
    fn bound_kind(kind: &Self::Kind) -> Self::Kind {
        kind.clone()
    }

    /// Whether the database has one order of values of this kind for both sorting and comparing with text.
    fn has_order(_kind: &Self::Kind) -> bool {
        true
    }

    /// Whether values of this kind are decimal numbers, also where they are kept as text or rounded to floats.
    fn is_decimal(kind: &Self::Kind) -> bool;

    /// Says goodbye to the server.
    fn close(connection: Self::Connection) -> BoxFuture<'static, ()> {
        Box::pin(async move {
            // What matters was read, and nothing was written; a server that is gone is closed too.
            let _ = sqlx::Connection::close(connection).await;
        })
    }

    /// An error of the driver, without secrets.
    fn failed(&self, doing: &'static str) -> impl FnOnce(sqlx::Error) -> ConnectorError {
        let location = self.location().to_owned();
        move |error| ConnectorError::Query { location, doing, reason: said(&error) }
    }
}

/// What the driver says, without the line of its own source code that PostgreSQL names.
fn said(error: &sqlx::Error) -> String {
    if let sqlx::Error::Database(database) = error
        && let Some(postgres) = database.try_downcast_ref::<PgDatabaseError>()
    {
        return format!("error returned from database: {}", postgres.message());
    }
    error.to_string()
}

/// Waits for a new connection, but not for ever.
pub(super) async fn within<T>(
    limit: std::time::Duration,
    location: &str,
    connecting: impl Future<Output = Result<T, sqlx::Error>>,
) -> Result<T, ConnectorError> {
    let refused = |reason: String| ConnectorError::Connect { location: location.to_owned(), reason };
    match tokio::time::timeout(limit, connecting).await {
        Ok(result) => result.map_err(|error| refused(said(&error))),
        Err(_) => Err(refused(format!("no answer within {} seconds", limit.as_secs_f64()))),
    }
}
