//! What becomes of journals: segments, which grow larger, and are let go when they are old.
//!
//! A journal is sealed in steps: a Parquet file is made of it, the file becomes a blob, the catalogue lists the blob and notes
//! the journal, the journal is removed, the note is removed. A process may be killed before or after each, by a loss of power,
//! too: the next one begins anew, makes the same bytes and so the same blob, and sees by the note what was listed.
//!
//! What cannot be read is passed over, told and tried again later, and keeps nothing else from being done.

mod compaction;
mod journal;
mod old_table;
mod presence;
mod schedule;
mod sealer;
mod troubles;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::LazyLock;
use std::sync::mpsc::{Sender, channel};

use crate::PredictionsError;

pub(crate) use presence::{writer_begin, writer_end};
pub(crate) use sealer::{Finished, Sealer};

pub use compaction::{Pruned, prune};

type Work = Box<dyn FnOnce() + Send>;

/// The thread of [`apart`], for the life of the process.
static THREAD: LazyLock<Result<Sender<Work>, String>> = LazyLock::new(|| {
    let (sender, works) = channel::<Work>();
    let run = move || works.into_iter().for_each(|work| work());
    let thread = std::thread::Builder::new().name("prediction-seal".to_owned()).spawn(run);
    thread.map(|_| sender).map_err(|error| error.to_string())
});

/// Runs what fills much memory on one thread for all of it, in place of those of a pool: the C library's allocator keeps for
/// each thread what it once needed.
async fn apart<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, PredictionsError> + Send + 'static,
) -> Result<T, PredictionsError> {
    let broken = |why: &str| PredictionsError::Broken(format!("the thread that seals: {why}"));
    let (done, waits) = tokio::sync::oneshot::channel();
    let run = move || {
        // Who waited for it may be gone; who waits for what broke off hears of it by the lost channel.
        if let Ok(result) = catch_unwind(AssertUnwindSafe(work)) {
            drop(done.send(result));
        }
    };
    let thread = THREAD.as_ref().map_err(|error| broken(error))?;
    thread.send(Box::new(run)).map_err(|_| broken("it is gone"))?;
    waits.await.map_err(|_| broken("the work broke off"))?
}

/// What was sealed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sealed {
    /// Journals that became segments.
    pub journals: u64,
    /// Records in them.
    pub records: u64,
    /// Journals at whose end a record was not whole, because its writer was stopped while it wrote.
    pub torn: u64,
    /// Journals that were put aside because a part of them cannot be read.
    pub damaged: u64,
    /// Records that were moved from the table of earlier versions.
    pub moved: u64,
}

impl Sealed {
    fn add(&mut self, other: Self) {
        self.journals += other.journals;
        self.records += other.records;
        self.torn += other.torn;
        self.damaged += other.damaged;
        self.moved += other.moved;
    }
}

#[cfg(test)]
mod tests;
