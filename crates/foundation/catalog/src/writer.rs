use std::any::Any;
use std::fmt;
use std::panic::AssertUnwindSafe;

use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::sync::{Mutex, mpsc, oneshot};

use crate::place::Opened;
use crate::{CatalogError, Connection, postgres};

/// Works that one transaction takes at most: bounds how long the first of them waits for its answer.
const GROUP: usize = 256;
/// Works that may wait; past that, `write` itself waits.
const QUEUE: usize = 1024;

type Job = Box<dyn Work>;

tokio::task_local! {
    /// The queue of the writer that runs the present work.
    static RUNNING: mpsc::WeakSender<Job>;
    /// The name of the database of the writer that runs in the present task.
    static FILE: String;
}

/// The database that the present task writes, if it is a writer's.
pub(crate) fn file() -> Option<String> {
    FILE.try_with(String::clone).ok()
}

/// The front of the one task that writes.
pub(crate) struct Writer {
    queue: mpsc::Sender<Job>,
    stop: Mutex<Option<(oneshot::Sender<()>, oneshot::Receiver<()>)>>,
}

impl fmt::Debug for Writer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Writer").field("waiting", &self.waiting()).finish_non_exhaustive()
    }
}

impl Writer {
    /// Starts the writer of the database that is called `name`; it ends when it is closed or when the last handle is
    /// dropped, after the works that wait.
    ///
    /// A file's writer has a thread of its own, since SQLite answers on the thread that asks and a commit waits for the
    /// disk there; a server's is a task.
    pub(crate) fn start(opened: Opened, name: String, connection: Connection) -> Result<Self, CatalogError> {
        let (queue, jobs) = mpsc::channel(QUEUE);
        let (stop, stopped) = oneshot::channel();
        let (ended, over) = oneshot::channel();
        let on_thread = matches!(opened, Opened::File(_));
        let group = Group { opened, connection: Some(connection) };
        let serving = RUNNING.scope(queue.downgrade(), group.serve(jobs, stopped));
        let serving = FILE.scope(name, async move {
            serving.await;
            let _ = ended.send(());
        });
        if on_thread {
            let thread = std::thread::Builder::new().name("catalog-writer".to_owned());
            let started = thread.spawn(move || futures::executor::block_on(serving));
            started.map_err(CatalogError::thread)?;
        } else {
            tokio::spawn(serving);
        }
        Ok(Self { queue, stop: Mutex::new(Some((stop, over))) })
    }

    /// Works that wait for the writer.
    pub(crate) fn waiting(&self) -> usize {
        QUEUE - self.queue.capacity()
    }

    pub(crate) async fn write<T, E, F>(&self, work: F) -> Result<T, E>
    where
        F: for<'c> FnOnce(&'c mut Connection) -> BoxFuture<'c, Result<T, E>> + Send + 'static,
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
        answered.await.unwrap_or_else(|_| {
            let lost = CatalogError::NotCommitted(Box::new(CatalogError::Busy));
            Err(if self.queue.is_closed() { CatalogError::Closed } else { lost }.into())
        })
    }

    /// Finishes the works that wait and closes the connection.
    pub(crate) async fn close(&self) {
        if let Some((stop, over)) = self.stop.lock().await.take() {
            let _ = stop.send(());
            let _ = over.await;
        }
    }
}

/// A work whose types are hidden.
trait Work: Send + 'static {
    fn run(self: Box<Self>, connection: &mut Connection) -> BoxFuture<'_, Box<dyn Done>>;
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
    F: for<'c> FnOnce(&'c mut Connection) -> BoxFuture<'c, Result<T, E>> + Send + 'static,
    T: Send + 'static,
    E: From<CatalogError> + Send + 'static,
{
    fn run(self: Box<Self>, connection: &mut Connection) -> BoxFuture<'_, Box<dyn Done>> {
        let Self { work, answer } = *self;
        Box::pin(async move {
            // The savepoint is rolled back after a panic, so no half-done state is seen.
            let caught = AssertUnwindSafe(async move { work(connection).await }).catch_unwind().await;
            let result = caught.unwrap_or_else(|panic| Err(CatalogError::Panicked(panic_text(&*panic)).into()));
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

/// What a panic said.
pub(crate) fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no message".to_owned())
}

/// The writer's state: the one connection that writes, made anew after a transaction that could not be ended well.
struct Group {
    opened: Opened,
    connection: Option<Connection>,
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
            connection.close().await;
        }
    }

    async fn commit(&mut self, group: Vec<Job>) {
        let mut connection = match self.begun().await {
            Ok(connection) => connection,
            Err(error) => return refuse(group, &error),
        };
        let ended = match &self.opened {
            Opened::File(_) => commit(&mut connection, group).await,
            Opened::Server(_) => {
                // A server that cannot be reached any more says nothing; the works of the group are told so.
                let ending = tokio::time::timeout(postgres::GROUP_PATIENCE, commit(&mut connection, group)).await;
                ending.unwrap_or(Err(CatalogError::Busy))
            }
        };
        if ended.is_ok() {
            self.connection = Some(connection);
        } else {
            connection.abandon();
        }
    }

    /// A connection with a transaction begun. One that was lost since the last group is made anew: nothing has run on it.
    async fn begun(&mut self) -> Result<Connection, CatalogError> {
        if let Some(mut connection) = self.connection.take() {
            match connection.begin_write().await {
                Ok(()) => return Ok(connection),
                Err(error) => {
                    connection.abandon();
                    if !matches!(error, CatalogError::CannotConnect(_)) {
                        return Err(error);
                    }
                }
            }
        }
        let mut connection = self.opened.connect().await?;
        match connection.begin_write().await {
            Ok(()) => Ok(connection),
            Err(error) => {
                connection.abandon();
                Err(error)
            }
        }
    }
}

fn refuse(group: Vec<Job>, error: &CatalogError) {
    for job in group {
        job.refuse(CatalogError::NotCommitted(Box::new(error.clone())));
    }
}

/// Works off `group` in the transaction that is begun; every work is answered, and an error means the connection is not to
/// be kept.
async fn commit(connection: &mut Connection, group: Vec<Job>) -> Result<(), CatalogError> {
    let mut ran = Vec::with_capacity(group.len());
    let mut outcome = Ok(());
    let alone = group.len() == 1;
    let mut jobs = group.into_iter();
    for job in jobs.by_ref() {
        if alone {
            // It has the transaction for itself: a savepoint would say nothing that the transaction does not.
            let done = job.run(connection).await;
            if !done.succeeded() {
                let ended = connection.step("ROLLBACK").await;
                done.answer(Ok(()));
                return ended;
            }
            ran.push(done);
        } else {
            outcome = run(connection, job, &mut ran).await;
            if outcome.is_err() {
                break;
            }
        }
    }
    let committed = match outcome {
        Ok(()) => connection.commit().await,
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
async fn run(connection: &mut Connection, job: Job, ran: &mut Vec<Box<dyn Done>>) -> Result<(), CatalogError> {
    if let Err(error) = connection.step("SAVEPOINT work").await {
        job.refuse(CatalogError::NotCommitted(Box::new(error.clone())));
        return Err(error);
    }
    let done = job.run(connection).await;
    if done.succeeded() {
        match connection.step("RELEASE work").await {
            Ok(()) => {
                ran.push(done);
                return Ok(());
            }
            // In PostgreSQL a statement that failed spoils the savepoint, even if the work made light of it.
            Err(error) => done.answer(Err(CatalogError::NotCommitted(Box::new(error)))),
        }
    } else {
        ran.push(done);
    }
    connection.step("ROLLBACK TO work").await?;
    connection.step("RELEASE work").await
}
