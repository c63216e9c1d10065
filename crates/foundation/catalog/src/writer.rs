use std::any::Any;
use std::fmt;
use std::panic::AssertUnwindSafe;

use futures::FutureExt;
use futures::future::BoxFuture;
use sqlx::{AnyConnection, Connection};
use tokio::sync::{Mutex, mpsc, oneshot};
use tokio::task::JoinHandle;

use crate::CatalogError;
use crate::sqlite::{BEGIN_WRITE, Database};

/// Works that one transaction takes at most: bounds how long the first of them waits for its answer.
const GROUP: usize = 256;
/// Works that may wait; past that, `write` itself waits.
const QUEUE: usize = 1024;

type Job = Box<dyn Work>;

tokio::task_local! {
    /// The queue of the writer that runs the present work.
    static RUNNING: mpsc::WeakSender<Job>;
    /// The file of the writer that runs in the present task.
    static FILE: String;
}

/// The file that the present task writes, if it is a writer's.
pub(crate) fn file() -> Option<String> {
    FILE.try_with(String::clone).ok()
}

/// The front of the one task that writes.
pub(crate) struct Writer {
    queue: mpsc::Sender<Job>,
    stop: Mutex<Option<(oneshot::Sender<()>, JoinHandle<()>)>>,
}

impl fmt::Debug for Writer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Writer").field("waiting", &(QUEUE - self.queue.capacity())).finish_non_exhaustive()
    }
}

impl Writer {
    /// Starts the task; it ends when it is closed or when the last handle is dropped, after the works that wait.
    pub(crate) fn start(database: Database, connection: AnyConnection) -> Self {
        let (queue, jobs) = mpsc::channel(QUEUE);
        let (stop, stopped) = oneshot::channel();
        let group = Group { database, connection: Some(connection) };
        let file = group.database.path.clone();
        let serving = RUNNING.scope(queue.downgrade(), group.serve(jobs, stopped));
        let task = tokio::spawn(FILE.scope(file, serving));
        Self { queue, stop: Mutex::new(Some((stop, task))) }
    }

    pub(crate) async fn write<T, E, F>(&self, work: F) -> Result<T, E>
    where
        F: for<'c> FnOnce(&'c mut AnyConnection) -> BoxFuture<'c, Result<T, E>> + Send + 'static,
        T: Send + 'static,
        E: From<CatalogError> + Send + 'static,
    {
        // Checked, since it would wait for ever.
        let inside = RUNNING.try_with(mpsc::WeakSender::upgrade).ok().flatten();
        if inside.is_some_and(|running| running.same_channel(&self.queue)) {
            return Err(CatalogError::NestedWrite.into());
        }
        let (answer, answered) = oneshot::channel();
        let sent = self.queue.send(Box::new(Task { work, answer })).await;
        sent.map_err(|_| CatalogError::Closed)?;
        answered.await.unwrap_or_else(|_| Err(CatalogError::Closed.into()))
    }

    /// Finishes the works that wait and closes the connection.
    pub(crate) async fn close(&self) {
        if let Some((stop, task)) = self.stop.lock().await.take() {
            let _ = stop.send(());
            let _ = task.await;
        }
    }
}

/// A work whose types are hidden.
trait Work: Send + 'static {
    fn run(self: Box<Self>, connection: &mut AnyConnection) -> BoxFuture<'_, Box<dyn Done>>;
    fn refuse(self: Box<Self>, error: CatalogError);
}

/// A work that ran and waits for the commit.
trait Done: Send {
    fn succeeded(&self) -> bool;
    fn answer(self: Box<Self>, committed: Result<(), CatalogError>);
}

struct Task<F, T, E> {
    work: F,
    answer: oneshot::Sender<Result<T, E>>,
}

struct Ran<T, E> {
    result: Result<T, E>,
    answer: oneshot::Sender<Result<T, E>>,
}

impl<F, T, E> Work for Task<F, T, E>
where
    F: for<'c> FnOnce(&'c mut AnyConnection) -> BoxFuture<'c, Result<T, E>> + Send + 'static,
    T: Send + 'static,
    E: From<CatalogError> + Send + 'static,
{
    fn run(self: Box<Self>, connection: &mut AnyConnection) -> BoxFuture<'_, Box<dyn Done>> {
        let Self { work, answer } = *self;
        Box::pin(async move {
            // The savepoint is rolled back after a panic, so no half-done state is seen.
            let caught = AssertUnwindSafe(async move { work(connection).await }).catch_unwind().await;
            let result = caught.unwrap_or_else(|panic| Err(CatalogError::Panicked(text(&*panic)).into()));
            Box::new(Ran { result, answer }) as Box<dyn Done>
        })
    }

    fn refuse(self: Box<Self>, error: CatalogError) {
        let _ = self.answer.send(Err(error.into()));
    }
}

impl<T, E> Done for Ran<T, E>
where
    T: Send + 'static,
    E: From<CatalogError> + Send + 'static,
{
    fn succeeded(&self) -> bool {
        self.result.is_ok()
    }

    fn answer(self: Box<Self>, committed: Result<(), CatalogError>) {
        let result = self.result.and_then(|value| committed.map(|()| value).map_err(E::from));
        // A caller that went away is not told; what it asked for is done.
        let _ = self.answer.send(result);
    }
}

fn text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no message".to_owned())
}

/// The task's state: the one connection that writes, made anew after a transaction that could not be ended well.
struct Group {
    database: Database,
    connection: Option<AnyConnection>,
}

impl Group {
    async fn serve(mut self, mut jobs: mpsc::Receiver<Job>, mut stopped: oneshot::Receiver<()>) {
        let mut open = true;
        let mut group = Vec::with_capacity(GROUP);
        loop {
            tokio::select! {
                _ = &mut stopped, if open => {
                    open = false;
                    jobs.close();
                }
                count = jobs.recv_many(&mut group, GROUP) => {
                    if count == 0 {
                        break;
                    }
                    self.commit(std::mem::take(&mut group)).await;
                }
            }
        }
        if let Some(connection) = self.connection {
            // The log is kept and read at the next start if this cannot be done.
            let _ = connection.close().await;
        }
    }

    async fn commit(&mut self, group: Vec<Job>) {
        let mut connection = match self.connect().await {
            Ok(connection) => connection,
            Err(error) => return refuse(group, &error),
        };
        if commit(&mut connection, group).await.is_ok() {
            self.connection = Some(connection);
        } else {
            let _ = connection.close_hard().await;
        }
    }

    async fn connect(&mut self) -> Result<AnyConnection, CatalogError> {
        match self.connection.take() {
            Some(connection) => Ok(connection),
            None => self.database.connect().await,
        }
    }
}

fn refuse(group: Vec<Job>, error: &CatalogError) {
    for job in group {
        job.refuse(CatalogError::NotCommitted(Box::new(error.clone())));
    }
}

/// One transaction for all of `group`; every work is answered, and an error means the connection is not to be kept.
async fn commit(connection: &mut AnyConnection, group: Vec<Job>) -> Result<(), CatalogError> {
    let mut transaction = match connection.begin_with(BEGIN_WRITE).await {
        Ok(transaction) => transaction,
        Err(error) => {
            let error = CatalogError::from(error);
            refuse(group, &error);
            return Err(error);
        }
    };
    let mut ran = Vec::with_capacity(group.len());
    let mut jobs = group.into_iter();
    let mut outcome = Ok(());
    for job in jobs.by_ref() {
        outcome = run(&mut transaction, job, &mut ran).await;
        if outcome.is_err() {
            break;
        }
    }
    let committed = match outcome {
        Ok(()) => transaction.commit().await.map_err(CatalogError::from),
        Err(error) => Err(error),
    };
    let committed = committed.map_err(|error| CatalogError::NotCommitted(Box::new(error)));
    for done in ran {
        done.answer(committed.clone());
    }
    if let Err(error) = &committed {
        jobs.for_each(|job| job.refuse(error.clone()));
    }
    committed
}

/// Runs one work inside a savepoint. An error means that the whole transaction is lost.
async fn run(connection: &mut AnyConnection, job: Job, ran: &mut Vec<Box<dyn Done>>) -> Result<(), CatalogError> {
    let mut savepoint = match connection.begin().await {
        Ok(savepoint) => savepoint,
        Err(error) => {
            let error = CatalogError::from(error);
            job.refuse(CatalogError::NotCommitted(Box::new(error.clone())));
            return Err(error);
        }
    };
    let done = job.run(&mut savepoint).await;
    let kept = done.succeeded();
    ran.push(done);
    let ended = if kept { savepoint.commit().await } else { savepoint.rollback().await };
    ended.map_err(CatalogError::from)
}
