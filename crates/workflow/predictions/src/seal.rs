//! What becomes of journals: segments, which grow larger, and are let go when they are old.
//!
//! A journal is sealed in steps: a Parquet file is made of it, the file becomes a blob, the catalogue lists the blob and notes
//! the journal, the journal is removed, the note is removed. A process may be killed before or after each: the next one begins
//! anew, makes the same bytes and so the same blob, and sees by the note what was listed.

mod compaction;
mod journal;
mod old_table;
mod presence;
mod sealer;

pub(crate) use presence::{writer_begin, writer_end};
pub(crate) use sealer::{Finished, Sealer};

pub use compaction::{Pruned, prune};

use crate::PredictionsError;

/// Runs what fills much memory on a thread that ends with it, and that follows such a thread, in place of one of a pool: the
/// C library's allocator keeps for each living thread what it once needed, and gives what an ended one had to the next.
async fn apart<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, PredictionsError> + Send + 'static,
) -> Result<T, PredictionsError> {
    let (done, waits) = tokio::sync::oneshot::channel();
    // Who waited for it may be gone.
    let run = move || drop(done.send(work()));
    let thread = std::thread::Builder::new().name("prediction-seal".to_owned());
    thread.spawn(run).map_err(|error| PredictionsError::Broken(format!("cannot start a thread: {error}")))?;
    waits.await.map_err(|_| PredictionsError::Broken("the thread that seals broke off".to_owned()))?
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
