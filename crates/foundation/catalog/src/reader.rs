use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::FutureExt as _;
use futures::executor::block_on;
use futures::future::BoxFuture;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::place::Opened;
use crate::postgres::{Pools, READERS as READERS_OF_SERVER};
use crate::writer::panic_text;
use crate::{CatalogError, Connection};

/// Connections to a file that read at the same time.
const READERS: usize = 4;
/// Besides these, for lookups by key alone.
const LOOKUPS: usize = 2;
const WAIT: Duration = Duration::from_secs(30);

/// The connections that read.
#[derive(Debug)]
pub(crate) struct Readers {
    opened: Opened,
    /// Of a file; a server's pool keeps its own.
    idle: Arc<Mutex<Vec<Connection>>>,
    places: Arc<Semaphore>,
    /// Of lookups, so that they do not wait for long readings.
    quick: Arc<Semaphore>,
}

impl Readers {
    pub(crate) fn new(opened: Opened) -> Self {
        Self {
            opened,
            idle: Arc::default(),
            places: Arc::new(Semaphore::new(READERS)),
            quick: Arc::new(Semaphore::new(LOOKUPS)),
        }
    }

    /// Runs `work` on one state of the database; it may only read.
    pub(crate) async fn read<T, E, F>(&self, work: F) -> Result<T, E>
    where
        F: for<'c> FnOnce(&'c mut Connection) -> BoxFuture<'c, Result<T, E>> + Send + 'static,
        T: Send + 'static,
        E: From<CatalogError> + Send + 'static,
    {
        let task = match &self.opened {
            Opened::File(database) => {
                let place = waited(&self.places).await?;
                let (database, idle) = (Arc::clone(database), Arc::clone(&self.idle));
                tokio::task::spawn_blocking(move || {
                    let kept = idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
                    let mut connection = match kept {
                        Some(connection) => connection,
                        None => database.reader()?,
                    };
                    // Everything of a file answers at once, on this thread.
                    let (result, sound) = block_on(async {
                        match connection.begin_read().await {
                            Ok(()) => in_transaction(&mut connection, work).await,
                            Err(error) => (Err(error.into()), false),
                        }
                    });
                    if sound {
                        idle.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
                    }
                    drop(place);
                    result
                })
            }
            Opened::Server(pools) => {
                let pools = pools.clone();
                // A task of its own: a caller that goes away must not leave a transaction open in the pool.
                tokio::spawn(async move {
                    let mut connection = begun(&pools).await?;
                    let (result, sound) = in_transaction(&mut connection, work).await;
                    if !sound {
                        connection.abandon();
                    }
                    result
                })
            }
        };
        match task.await {
            Ok(result) => result,
            Err(error) if error.is_panic() => Err(CatalogError::Panicked(panic_text(&*error.into_panic())).into()),
            Err(_) => Err(CatalogError::Closed.into()),
        }
    }

    /// As [`Readers::read`]; a file is read on the calling thread, without the way to another one and back.
    pub(crate) async fn read_at_once<T, E, F>(&self, work: F) -> Result<T, E>
    where
        F: for<'c> FnOnce(&'c mut Connection) -> BoxFuture<'c, Result<T, E>> + Send + 'static,
        T: Send + 'static,
        E: From<CatalogError> + Send + 'static,
    {
        let Opened::File(_) = &self.opened else { return self.read(work).await };
        let place = waited(&self.quick).await?;
        let kept = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let Some(mut connection) = kept else {
            // The first one is opened where that may take its time.
            drop(place);
            return self.read(work).await;
        };
        let (result, sound) = match connection.begin_read().await {
            Ok(()) => in_transaction(&mut connection, work).await,
            Err(error) => (Err(error.into()), false),
        };
        if sound {
            self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
        }
        drop(place);
        result
    }

    /// Refuses further reads and closes what is idle.
    pub(crate) async fn close(&self) {
        self.places.close();
        self.quick.close();
        if let Opened::Server(pools) = &self.opened {
            pools.readers.close().await;
            pools.writer.close().await;
        }
        let idle = std::mem::take(&mut *self.idle.lock().unwrap_or_else(PoisonError::into_inner));
        for connection in idle {
            connection.close().await;
        }
    }
}

async fn waited(places: &Arc<Semaphore>) -> Result<OwnedSemaphorePermit, CatalogError> {
    let place = tokio::time::timeout(WAIT, Arc::clone(places).acquire_owned()).await;
    place.map_err(|_| CatalogError::Busy)?.map_err(|_| CatalogError::Closed)
}

/// A connection with a reading begun. Those that were lost, as when the server was started anew, are passed over.
async fn begun(pools: &Pools) -> Result<Connection, CatalogError> {
    let mut lost = 0;
    loop {
        let mut connection = pools.reader().await?;
        match connection.begin_read().await {
            Ok(()) => return Ok(connection),
            Err(error) => {
                connection.abandon();
                lost += 1;
                if lost > READERS_OF_SERVER || !matches!(error, CatalogError::CannotConnect(_)) {
                    return Err(error);
                }
            }
        }
    }
}

/// The result of a work in the transaction that is begun, and whether the connection can be used again.
async fn in_transaction<T, E, F>(connection: &mut Connection, work: F) -> (Result<T, E>, bool)
where
    F: for<'c> FnOnce(&'c mut Connection) -> BoxFuture<'c, Result<T, E>> + Send,
    E: From<CatalogError>,
{
    let caught = {
        let running = AssertUnwindSafe(async { work(connection).await });
        running.catch_unwind().await
    };
    let result = caught.unwrap_or_else(|panic| Err(CatalogError::Panicked(panic_text(&*panic)).into()));
    let ended = connection.step("ROLLBACK").await;
    (result, ended.is_ok())
}
