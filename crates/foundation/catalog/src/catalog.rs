use std::sync::Arc;

use futures::future::BoxFuture;
use tempfile::TempDir;

use crate::migration::migrate;
use crate::place::Place;
use crate::reader::Readers;
use crate::writer::Writer;
use crate::{CatalogError, Connection, Dialect, MigrationSet};

/// Where tests find a server, when they are not to run on files.
const TEST_SERVER: &str = "ROPEWALK_TEST_CATALOG";

/// The metadata database: connections that read and one writer. Clones share both.
#[derive(Clone, Debug)]
pub struct Catalog {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    dialect: Dialect,
    readers: Readers,
    writer: Writer,
    /// Removed with the last clone.
    _directory: Option<TempDir>,
}

impl Catalog {
    /// Opens the database that `url` names, makes it if it is not there, and brings its tables up to date.
    ///
    /// `url` is `sqlite:PATH` — PATH is taken as it stands, and its folder must exist — or `postgresql://…`
    /// (<https://www.postgresql.org/docs/15/libpq-connect.html#LIBPQ-CONNSTRING-URIS>). Errors: [`CatalogError::Url`]
    /// for another kind of database, [`CatalogError::Open`] around what went wrong with this one.
    pub async fn open(url: &str, sets: &[MigrationSet]) -> Result<Self, CatalogError> {
        Self::open_place(Place::from_url(url)?, sets, None).await
    }

    /// A database that only this catalogue sees: for tests.
    ///
    /// It is a file in a temporary directory that goes with the catalogue, because SQLite's databases in memory lock
    /// otherwise than files do; or a new schema of the server that `ROPEWALK_TEST_CATALOG` names, so that one suite of
    /// tests runs on both. Commits do not wait for the disk.
    pub async fn in_memory(sets: &[MigrationSet]) -> Result<Self, CatalogError> {
        let directory = tempfile::tempdir().map_err(CatalogError::thread)?;
        if let Ok(url) = std::env::var(TEST_SERVER) {
            // The directory's name is random, so the schema's is.
            let name = directory.path().file_name().unwrap_or_default().to_string_lossy().into_owned();
            return match Place::from_url(&url)? {
                Place::Server(server) => {
                    let server = server.in_schema(format!(
                        "test_{}_{}",
                        std::process::id(),
                        name.trim_matches('.').to_lowercase()
                    ));
                    Self::open_place(Place::Server(Box::new(server)), sets, None).await
                }
                Place::File(_) => Err(CatalogError::Url { url, reason: format!("{TEST_SERVER} names no server") }),
            };
        }
        let path = directory.path().join("catalog.db").to_string_lossy().into_owned();
        let mut place = Place::from_url(&format!("sqlite:{path}"))?;
        if let Place::File(database) = &mut place {
            database.durable = false;
        }
        Self::open_place(place, sets, Some(directory)).await
    }

    pub(crate) async fn open_place(
        place: Place,
        sets: &[MigrationSet],
        directory: Option<TempDir>,
    ) -> Result<Self, CatalogError> {
        let name = place.name();
        let ready = async {
            let opened = place.open().await?;
            let mut connection = opened.connect().await?;
            migrate(&mut connection, sets).await?;
            let dialect = opened.dialect();
            let writer = Writer::start(opened.clone(), name.clone(), connection)?;
            Ok(Self {
                inner: Arc::new(Inner { dialect, readers: Readers::new(opened), writer, _directory: directory }),
            })
        };
        // Boxed: the drivers' futures are large, and every caller's would hold them.
        Box::pin(ready).await.map_err(|problem| match problem {
            CatalogError::Url { .. } => problem,
            problem => CatalogError::Open { path: name.clone(), problem: Box::new(problem) },
        })
    }

    /// Which database it is.
    pub fn dialect(&self) -> Dialect {
        self.inner.dialect
    }

    /// Works that wait for the writer, at most a fixed number.
    pub fn waiting(&self) -> usize {
        self.inner.writer.waiting()
    }

    /// Runs `work` on one state of the database: what was committed before its first statement.
    ///
    /// A statement that would write is refused with [`CatalogError::ReadOnly`]. `work` must do nothing but speak to the
    /// database.
    pub async fn read<T, E, F>(&self, work: F) -> Result<T, E>
    where
        F: for<'c> FnOnce(&'c mut Connection) -> BoxFuture<'c, Result<T, E>> + Send + 'static,
        T: Send + 'static,
        E: From<CatalogError> + Send + 'static,
    {
        self.inner.readers.read(work).await
    }

    /// As [`Catalog::read`], for a few rows that are found by their keys: a file is read on the thread that asks, since the
    /// way to another thread and back costs more than such a reading.
    pub async fn read_at_once<T, E, F>(&self, work: F) -> Result<T, E>
    where
        F: for<'c> FnOnce(&'c mut Connection) -> BoxFuture<'c, Result<T, E>> + Send + 'static,
        T: Send + 'static,
        E: From<CatalogError> + Send + 'static,
    {
        self.inner.readers.read_at_once(work).await
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
        F: for<'c> FnOnce(&'c mut Connection) -> BoxFuture<'c, Result<T, E>> + Send + 'static,
        T: Send + 'static,
        E: From<CatalogError> + Send + 'static,
    {
        self.inner.writer.write(work).await
    }

    /// Finishes the works that wait, then closes every connection; other clones answer [`CatalogError::Closed`] after.
    pub async fn close(self) {
        self.inner.writer.close().await;
        self.inner.readers.close().await;
    }
}

#[cfg(test)]
mod tests;
