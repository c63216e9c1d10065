use std::sync::Arc;

use futures::future::BoxFuture;
use sqlx::{AnyConnection, AnyPool};
use tempfile::TempDir;

use crate::migration::migrate;
use crate::sqlite::Database;
use crate::writer::Writer;
use crate::{CatalogError, MigrationSet};

/// The metadata database: a pool that reads and one writer. Clones share both.
#[derive(Clone, Debug)]
pub struct Catalog {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    pool: AnyPool,
    writer: Writer,
    /// Removed with the last clone.
    _directory: Option<TempDir>,
}

impl Catalog {
    /// Opens the database that `url` names, makes it if it is not there, and brings its tables up to date.
    ///
    /// `url` is `sqlite:PATH`; PATH is taken as it stands, and its folder must exist. The runtime that opens the
    /// catalogue runs its writer. Errors: [`CatalogError::Url`] for another kind of database, [`CatalogError::Open`]
    /// around what went wrong with this one.
    pub async fn open(url: &str, sets: &[MigrationSet]) -> Result<Self, CatalogError> {
        Self::open_database(Database::from_url(url)?, sets, None).await
    }

    /// A database that only this catalogue sees and that goes with it: for tests.
    ///
    /// It is a file in a temporary directory, because SQLite's databases in memory lock otherwise than files do;
    /// commits do not wait for the disk.
    pub async fn in_memory(sets: &[MigrationSet]) -> Result<Self, CatalogError> {
        let directory = tempfile::tempdir().map_err(sqlx::Error::Io)?;
        let path = directory.path().join("catalog.db").to_string_lossy().into_owned();
        let mut database = Database::from_url(&format!("sqlite:{path}"))?;
        database.durable = false;
        Self::open_database(database, sets, Some(directory)).await
    }

    pub(crate) async fn open_database(
        database: Database,
        sets: &[MigrationSet],
        directory: Option<TempDir>,
    ) -> Result<Self, CatalogError> {
        let ready = async {
            let mut connection = database.connect().await?;
            migrate(&mut connection, sets).await?;
            Ok((connection, database.readers()?))
        };
        let (connection, pool) = ready.await.map_err(|problem| match problem {
            CatalogError::Url { .. } => problem,
            problem => CatalogError::Open { path: database.path.clone(), problem: Box::new(problem) },
        })?;
        let writer = Writer::start(database, connection);
        Ok(Self { inner: Arc::new(Inner { pool, writer, _directory: directory }) })
    }

    /// Connections for reading; a statement that would write is refused with [`CatalogError::ReadOnly`].
    ///
    /// Each statement sees every write that was answered before it began.
    pub fn pool(&self) -> &AnyPool {
        &self.inner.pool
    }

    /// Runs `work` in a transaction of the one writer and answers when it is committed and durable.
    ///
    /// Works that wait together are committed together. `work` runs inside a savepoint: its `Err` or its panic takes
    /// back only what it did itself; a commit that fails takes back the works of the whole group and answers each with
    /// [`CatalogError::NotCommitted`]. All other writers wait while it runs, so it must do nothing but speak to the
    /// database; a write inside a work answers [`CatalogError::NestedWrite`]. A caller that drops this future does not
    /// take the work back.
    pub async fn write<T, E, F>(&self, work: F) -> Result<T, E>
    where
        F: for<'c> FnOnce(&'c mut AnyConnection) -> BoxFuture<'c, Result<T, E>> + Send + 'static,
        T: Send + 'static,
        E: From<CatalogError> + Send + 'static,
    {
        self.inner.writer.write(work).await
    }

    /// Finishes the works that wait, then closes every connection; other clones answer [`CatalogError::Closed`] after.
    pub async fn close(self) {
        self.inner.writer.close().await;
        self.inner.pool.close().await;
    }
}

#[cfg(test)]
mod tests;
