use std::num::NonZeroUsize;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread;

use ropewalk_store::{Blob, Store};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{Semaphore, oneshot};

use crate::IngestError;

/// A fixed number of threads for the work of one ingest that takes much memory.
///
/// The caller's runtime has threads for blocking work too, but many, and they take turns; and glibc keeps for each
/// thread what it once needed. So every one of them came to hold as much as the largest file, and memory grew with the
/// number of files until all had had their turn: from 48 to 101 MB between 3 and 48 workbooks on one core.
#[derive(Debug)]
pub(crate) struct Workers {
    /// The threads end when this is dropped, each after the job that it is at.
    jobs: mpsc::Sender<Job>,
    /// Puts files into stores; there until this is dropped.
    storing: Option<Runtime>,
    /// Bounds the files that are stored at once.
    storers: Semaphore,
}

type Job = Box<dyn FnOnce() + Send>;

impl Workers {
    pub(crate) fn new(count: NonZeroUsize) -> Result<Self, IngestError> {
        let (jobs, waiting) = mpsc::channel();
        let waiting = Arc::new(Mutex::new(waiting));
        for number in 0..count.get() {
            let waiting = Arc::clone(&waiting);
            let thread = thread::Builder::new().name(format!("ingest-{number}"));
            thread.spawn(move || work_off(&waiting)).map_err(IngestError::stream("start a worker"))?;
        }
        // A file that is stored takes one thread that cuts it, and waits until others have written what was cut before:
        // with fewer threads than two for each file nobody might be left to write.
        let storing = Builder::new_multi_thread()
            .thread_name("ingest-store")
            .worker_threads(count.get())
            .max_blocking_threads(2 * count.get())
            .enable_all()
            .build()
            .map_err(IngestError::stream("start the threads that store files"))?;
        Ok(Self { jobs, storing: Some(storing), storers: Semaphore::new(count.get()) })
    }

    /// Puts the file at `path` into `store`.
    pub(crate) async fn put_file(&self, store: &Store, path: &Path) -> Result<Blob, IngestError> {
        if !store.is_local() {
            // A connection lives on the runtime that opened it, and must not end with this one.
            return Ok(store.put_file(path).await?);
        }
        let stopped = |reason: &str| IngestError::Interrupted(reason.to_owned());
        let _permit = self.storers.acquire().await.map_err(|error| stopped(&error.to_string()))?;
        let storing = self.storing.as_ref().ok_or_else(|| stopped("no thread is left"))?;
        let (store, path) = (store.clone(), path.to_owned());
        let stored = storing.spawn(async move { store.put_file(&path).await });
        Ok(stored.await.map_err(|error| IngestError::joined(&error))??)
    }

    /// Does `work` as soon as a thread is free; one that nobody waits for any more is not begun.
    pub(crate) async fn run<T, F>(&self, work: F) -> Result<T, IngestError>
    where
        T: Send + 'static,
        F: FnOnce() -> Result<T, IngestError> + Send + 'static,
    {
        let (answer, answered) = oneshot::channel();
        let job = move || {
            if !answer.is_closed() {
                // Nobody may wait for it by now.
                let _ = answer.send(work());
            }
        };
        let stopped = |reason: &str| IngestError::Interrupted(reason.to_owned());
        self.jobs.send(Box::new(job)).map_err(|_| stopped("no thread is left"))?;
        answered.await.map_err(|_| stopped("it panicked"))?
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        // Dropping a runtime waits for its threads, which must not be done where others wait for a reactor.
        if let Some(storing) = self.storing.take() {
            storing.shutdown_background();
        }
    }
}

fn work_off(jobs: &Mutex<mpsc::Receiver<Job>>) {
    loop {
        // Whoever waits for a job holds the lock, and lets it go before the job is done.
        let job = jobs.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(job) = job else { return };
        // A panic has been reported, and whoever waits sees that no answer comes; other jobs need the thread.
        drop(catch_unwind(AssertUnwindSafe(job)));
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::thread::ThreadId;

    use futures::future::{join_all, try_join_all};

    use super::*;

    fn workers(count: usize) -> Workers {
        Workers::new(NonZeroUsize::new(count).unwrap()).unwrap()
    }

    #[tokio::test]
    async fn no_more_threads_than_asked_for() {
        let workers = workers(2);
        let works = (0..100).map(|_| workers.run(|| Ok(thread::current().id())));
        let threads: BTreeSet<String> =
            try_join_all(works).await.unwrap().iter().map(|id: &ThreadId| format!("{id:?}")).collect();
        assert!(threads.len() <= 2, "{threads:?}");
    }

    #[tokio::test]
    async fn a_panic_is_an_error_and_the_thread_goes_on() {
        let workers = workers(1);
        let works = (0..3).map(|number| {
            workers.run(move || {
                assert_ne!(number, 1, "one of them fails");
                Ok(number)
            })
        });
        let answers = join_all(works).await;
        let shown: Vec<_> = answers.into_iter().map(|answer| answer.map_err(|error| error.to_string())).collect();
        assert_eq!(shown, [Ok(0), Err("a worker stopped: it panicked".to_owned()), Ok(2)]);
    }
}
