use std::path::Path;

use sqlx::Postgres;
use sqlx::pool::PoolConnection;

use crate::{CatalogError, execute_script, postgres, query, sqlite};

/// Which database a catalogue lies in, for the few statements that differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// SQLite, embedded.
    Sqlite,
    /// PostgreSQL.
    Postgres,
}

/// One open connection to the catalogue's database.
#[derive(Debug)]
pub struct Connection {
    pub(crate) kind: Kind,
}

#[derive(Debug)]
pub(crate) enum Kind {
    /// Answers at once, on the thread that asks.
    Sqlite(Box<sqlite::File>),
    Postgres(PoolConnection<Postgres>),
}

impl Connection {
    /// Which database it is.
    pub fn dialect(&self) -> Dialect {
        match self.kind {
            Kind::Sqlite(_) => Dialect::Sqlite,
            Kind::Postgres(_) => Dialect::Postgres,
        }
    }

    /// A foreign SQLite database, which is only read: for taking over what another program kept. It answers on the
    /// thread that asks.
    pub fn foreign(path: &Path) -> Result<Self, CatalogError> {
        Ok(Self { kind: Kind::Sqlite(Box::new(sqlite::foreign(path)?)) })
    }

    /// Begins a transaction that no other writer of this database shares its time with.
    pub(crate) async fn begin_write(&mut self) -> Result<(), CatalogError> {
        self.end_or_begin(sqlite::BEGIN_WRITE, postgres::BEGIN_WRITE).await
    }

    /// The same for a migration, which may wait for long.
    pub(crate) async fn begin_migration(&mut self) -> Result<(), CatalogError> {
        match self.dialect() {
            Dialect::Sqlite => self.say(sqlite::BEGIN_WRITE).await,
            Dialect::Postgres => self.say(postgres::BEGIN_MIGRATION).await,
        }
    }

    /// Begins a transaction that reads one state of the database.
    pub(crate) async fn begin_read(&mut self) -> Result<(), CatalogError> {
        if let Kind::Sqlite(file) = &self.kind {
            file.watch.begin();
        }
        self.end_or_begin("BEGIN", postgres::BEGIN_READ).await
    }

    /// Ends a transaction and keeps what it wrote.
    pub(crate) async fn commit(&mut self) -> Result<(), CatalogError> {
        self.end_or_begin("COMMIT", postgres::COMMIT).await
    }

    async fn end_or_begin(&mut self, in_file: &'static str, on_server: &'static str) -> Result<(), CatalogError> {
        match self.dialect() {
            Dialect::Sqlite => self.say(in_file).await,
            Dialect::Postgres => {
                let stepped = tokio::time::timeout(postgres::PATIENCE, self.say(on_server)).await;
                stepped.unwrap_or(Err(CatalogError::Busy))
            }
        }
    }

    /// One of the few statements that part transactions.
    ///
    /// None is waited for longer than it can take: a server that cannot be reached any more says nothing. An error means that
    /// the connection is not to be kept.
    pub(crate) async fn step(&mut self, sql: &'static str) -> Result<(), CatalogError> {
        match self.dialect() {
            Dialect::Sqlite => self.say(sql).await,
            Dialect::Postgres => {
                let said = tokio::time::timeout(postgres::STEP_PATIENCE, self.say(sql)).await;
                said.unwrap_or(Err(CatalogError::Busy))
            }
        }
    }

    /// SQLite keeps the statement prepared.
    async fn say(&mut self, sql: &'static str) -> Result<(), CatalogError> {
        match self.dialect() {
            Dialect::Sqlite => query(sql).execute(self).await.map(|_| ()),
            Dialect::Postgres => execute_script(self, sql).await,
        }
    }

    /// Ends the connection without any further word to the database.
    pub(crate) fn abandon(self) {
        match self.kind {
            Kind::Sqlite(file) => drop(file),
            // Not `close_hard`: over TLS it may wait for ever for a word of the server.
            Kind::Postgres(connection) => drop(connection.detach()),
        }
    }

    /// Closes the connection; SQLite moves its log into the file if this was the last one.
    pub(crate) async fn close(self) {
        match self.kind {
            // The log is kept and read at the next start if this cannot be done.
            Kind::Sqlite(file) => drop(file.connection.close()),
            Kind::Postgres(connection) => {
                let closing = sqlx::Connection::close(connection.detach());
                let _ = tokio::time::timeout(postgres::STEP_PATIENCE, closing).await;
            }
        }
    }
}
