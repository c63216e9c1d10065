//! A table of a foreign source: its schema, and parts that stream it in batches.

mod builder;

use std::fmt;
use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use futures::stream::{self, BoxStream};
use futures::{FutureExt as _, StreamExt as _};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use crate::{ConnectorError, Provenance};

pub(crate) use builder::TableBuilder;

/// Batches that wait for their reader: one is being written by the consumer, one is ready, one is being made.
const READY: usize = 1;

/// The rows of one part of a [`Table`], in bounded memory.
pub type BatchStream = BoxStream<'static, Result<Batch, ConnectorError>>;

/// A table that a source is ready to give.
#[derive(Debug)]
pub struct Table {
    /// Its columns; all may be null.
    pub schema: SchemaRef,
    /// What a reader of the schema must know.
    pub notes: Vec<Note>,
    /// Its rows, in parts that may be read at the same time. Every row is in exactly one of them.
    pub partitions: Vec<PartitionSource>,
    /// For an incremental read: what to give as `after` the next time.
    pub cursor: Option<String>,
    /// Where it comes from; its rows and their digest are known to whoever reads them.
    pub provenance: Provenance,
}

/// Something that the schema alone does not say, such as a number that is kept as text to stay exact.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    /// The column that it is about.
    pub column: Option<String>,
    /// What there is to know.
    pub text: String,
}

impl Note {
    /// That `count` rows have no value in the cursor `column`.
    pub(crate) fn cursorless(column: &str, count: u64) -> Self {
        let (rows, has, is, they) = match count {
            1 => ("row", "has", "is", "it is"),
            _ => ("rows", "have", "are", "they are"),
        };
        let text = format!("{count} {rows} {has}{CURSORLESS}{is} not read: {they} neither old nor new");
        Self { column: Some(column.to_owned()), text }
    }

    /// Whether a note tells how many rows have no value in the cursor: each read counts anew, so that only the last one
    /// holds.
    pub fn is_cursorless(text: &str) -> bool {
        text.contains(CURSORLESS)
    }
}

const CURSORLESS: &str = " no value in it and ";

/// Some rows of a table.
#[derive(Clone, Debug)]
pub struct Batch {
    /// The rows.
    pub records: RecordBatch,
    /// Values of these rows that are null in `records` because their column cannot hold them.
    pub misfits: Vec<Misfit>,
}

/// A value that the source has and its column cannot hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Misfit {
    /// Its row, counted from 1 in its partition.
    pub row: u64,
    /// Its column; `a.b` for the field `b` of the documents in column `a`.
    pub column: String,
    /// The value as the source shows it, cut short.
    pub value: String,
    /// Why it does not fit.
    pub reason: String,
}

/// What to do about values that do not fit their column.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MisfitPolicy {
    /// The first one is an error.
    #[default]
    Refuse,
    /// Each becomes null and is listed in its batch; more than `limit` rows of one table that have any are an error.
    Collect {
        /// How many rows with misfits are accepted.
        limit: u64,
    },
}

/// One part of a table, not yet being read.
pub struct PartitionSource {
    index: usize,
    description: String,
    /// Behind a lock that is never taken, so that a table can be shared although a connection cannot.
    open: Mutex<Box<dyn FnOnce() -> BatchStream + Send>>,
}

impl PartitionSource {
    pub(crate) fn new(
        index: usize,
        description: impl Into<String>,
        open: impl FnOnce() -> BatchStream + Send + 'static,
    ) -> Self {
        Self { index, description: description.into(), open: Mutex::new(Box::new(open)) }
    }

    /// Its number, from 0.
    pub fn index(&self) -> usize {
        self.index
    }

    /// Which rows it has, for people.
    pub fn description(&self) -> &str {
        &self.description
    }

    /// Starts to read it; inside a Tokio runtime. A stream that is dropped early ends its connection.
    pub fn open(self) -> BatchStream {
        (self.open.into_inner().unwrap_or_else(PoisonError::into_inner))()
    }
}

impl fmt::Debug for PartitionSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PartitionSource({}: {})", self.index, self.description)
    }
}

/// Counts the rows with misfits of all partitions of a table against its policy.
#[derive(Clone, Debug)]
pub(crate) struct MisfitCounter {
    policy: MisfitPolicy,
    found: Arc<AtomicU64>,
    place: Arc<str>,
}

impl MisfitCounter {
    /// `place` is the source as errors call it, redacted.
    pub(crate) fn new(policy: MisfitPolicy, place: &str) -> Self {
        Self { policy, found: Arc::default(), place: place.into() }
    }

    /// Counts a row; `misfit` is one of its values.
    fn count(&self, misfit: &Misfit) -> Result<(), ConnectorError> {
        let place = || self.place.to_string();
        match self.policy {
            MisfitPolicy::Refuse => Err(ConnectorError::Misfit { place: place(), misfit: misfit.clone() }),
            MisfitPolicy::Collect { limit } if self.found.fetch_add(1, Ordering::Relaxed) >= limit => {
                Err(ConnectorError::TooManyMisfits { limit, place: place(), example: misfit.clone() })
            }
            MisfitPolicy::Collect { .. } => Ok(()),
        }
    }
}

/// Where a task puts finished batches; an error when nobody reads them any more.
pub(crate) type BatchSender = mpsc::Sender<Batch>;

/// Runs `work` as a task of its own while its batches are read, so that the source works ahead of its reader.
pub(crate) fn stream_of<F, W>(work: W) -> BatchStream
where
    W: FnOnce(BatchSender) -> F,
    F: Future<Output = Result<(), ConnectorError>> + Send + 'static,
{
    let (sender, receiver) = mpsc::channel(READY);
    let task = Task(tokio::spawn(work(sender)));
    stream::unfold(Some((receiver, task)), |state| async {
        let (mut receiver, mut task) = state?;
        if let Some(batch) = receiver.recv().await {
            return Some((Ok(batch), Some((receiver, task))));
        }
        // The channel closes also when the task panics: only its result tells that all rows came.
        match (&mut task.0).map(|result| result.unwrap_or(Err(ConnectorError::Interrupted))).await {
            Ok(()) => None,
            Err(error) => Some((Err(error), None)),
        }
    })
    .boxed()
}

struct Task(tokio::task::JoinHandle<Result<(), ConnectorError>>);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::Schema;

    use super::*;

    fn batch() -> Batch {
        Batch { records: RecordBatch::new_empty(Arc::new(Schema::empty())), misfits: Vec::new() }
    }

    #[tokio::test]
    async fn an_error_comes_after_the_batches_before_it() {
        let stream = stream_of(|sender| async move {
            let _ = sender.send(batch()).await;
            Err(ConnectorError::Interrupted)
        });
        let items: Vec<_> = stream.collect().await;
        assert!(matches!(items.as_slice(), [Ok(_), Err(ConnectorError::Interrupted)]));
    }

    #[tokio::test]
    async fn a_panic_is_not_the_end_of_the_rows() {
        let stream = stream_of(|_sender| async { panic!("torn") });
        assert!(matches!(stream.collect::<Vec<_>>().await.as_slice(), [Err(ConnectorError::Interrupted)]));
    }

    #[test]
    fn misfits_are_counted_over_all_partitions() {
        let misfit = Misfit { row: 1, column: "c".to_owned(), value: "v".to_owned(), reason: "r".to_owned() };
        assert!(MisfitCounter::new(MisfitPolicy::Refuse, "x").count(&misfit).is_err());
        let counter = MisfitCounter::new(MisfitPolicy::Collect { limit: 2 }, "x");
        let other = counter.clone();
        assert!(counter.count(&misfit).is_ok() && other.count(&misfit).is_ok());
        assert!(matches!(counter.count(&misfit), Err(ConnectorError::TooManyMisfits { limit: 2, .. })));
    }
}
