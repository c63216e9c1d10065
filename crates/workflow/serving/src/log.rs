mod read;
mod record;
mod writer;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures::future::BoxFuture;
use ropewalk_catalog::Catalog;
use tokio::sync::{Semaphore, mpsc, oneshot, watch};

pub use read::{PredictionFilter, PredictionPage};
pub use record::PredictionRecord;
use writer::{Message, Writer};

use crate::{Answered, PredictionSink, ServingError, SinkCounts};

/// How the log gathers records before it writes them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogSettings {
    /// Records written by one transaction at most.
    pub batch: usize,
    /// How long the first record of a batch waits for others: what a crash can lose, at most.
    pub linger: Duration,
    /// Records that may wait to be written; past that, requests wait.
    pub waiting: usize,
    /// Bytes of tensors that may wait to be written; past that, requests wait.
    pub waiting_bytes: usize,
    /// Pause before a batch that could not be written is tried again.
    pub retry: Duration,
}

impl Default for LogSettings {
    fn default() -> Self {
        Self {
            batch: 512,
            linger: Duration::from_millis(20),
            waiting: 8192,
            waiting_bytes: 256 << 20,
            retry: Duration::from_millis(500),
        }
    }
}

/// How the log is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogState {
    /// Records are written.
    Working,
    /// The catalogue could not be written; the records are kept in memory and tried again until they are.
    Broken {
        /// What the catalogue said.
        problem: String,
    },
    /// Everything handed over was written, and the log takes no more.
    Closed,
    /// The log takes no more, and some records are in no table.
    Lost {
        /// How many.
        records: usize,
        /// What the catalogue said.
        problem: String,
    },
}

/// The durable log of predictions: records go in through a bounded channel and are written in groups by one task.
///
/// A record is in the catalogue within [`LogSettings::linger`] and a commit of its answer. If the process is killed
/// before, it is lost, and that is the only way: a full channel makes requests wait, and while the catalogue cannot
/// be written no request is answered and the host is not ready. Clones share the task.
#[derive(Clone, Debug)]
pub struct PredictionLog {
    catalog: Catalog,
    messages: mpsc::Sender<Message>,
    state: watch::Receiver<LogState>,
    budget: Arc<Semaphore>,
    budget_bytes: usize,
    counts: Arc<Counts>,
}

#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) taken: AtomicU64,
    pub(crate) logged: AtomicU64,
    pub(crate) lost: AtomicU64,
}

impl PredictionLog {
    /// Opens the log on a catalogue that has this crate's [`MIGRATIONS`](crate::MIGRATIONS).
    ///
    /// Starts the task that writes on the runtime it is called in.
    pub fn open(catalog: Catalog, settings: LogSettings) -> Self {
        let (messages, receiver) = mpsc::channel(settings.waiting.max(1));
        let (announce, state) = watch::channel(LogState::Working);
        let counts = Arc::new(Counts::default());
        let writer = Writer::new(catalog.clone(), settings, receiver, announce, Arc::clone(&counts));
        tokio::spawn(writer.run());
        // One permit for each KiB: a permit count is 32 bits wide where many are taken at once.
        let budget_bytes = settings.waiting_bytes.clamp(1024, (u32::MAX as usize) << 10);
        let budget = Arc::new(Semaphore::new(budget_bytes >> 10));
        Self { catalog, messages, state, budget, budget_bytes, counts }
    }

    /// How the log is doing.
    pub fn state(&self) -> LogState {
        self.state.borrow().clone()
    }

    /// Waits until everything that was answered before this call is in the catalogue.
    ///
    /// Errors: [`ServingError::LogBroken`] at once if it cannot be written now; the log goes on trying.
    pub async fn flush(&self) -> Result<(), ServingError> {
        let (done, written) = oneshot::channel();
        self.messages.send(Message::Flush(done)).await.map_err(|_| ServingError::LogClosed)?;
        tokio::select! {
            biased;
            written = written => written.map_err(|_| self.refusal().unwrap_or(ServingError::LogClosed)),
            refusal = self.broken() => Err(refusal),
        }
    }

    /// Takes no more records, writes those that it has and ends the task.
    ///
    /// Errors: [`ServingError::LogLost`] if the catalogue could not be written after several tries.
    pub async fn close(&self) -> Result<(), ServingError> {
        // A log that is closed already has no receiver; its last state tells how it ended.
        let _ = self.messages.send(Message::Close).await;
        let mut state = self.state.clone();
        let ended = state.wait_for(|state| matches!(state, LogState::Closed | LogState::Lost { .. })).await;
        match ended.map_err(|_| ServingError::LogClosed)?.clone() {
            LogState::Lost { records, problem } => Err(ServingError::LogLost { records, problem }),
            _ => Ok(()),
        }
    }

    fn refusal(&self) -> Option<ServingError> {
        match &*self.state.borrow() {
            LogState::Working => None,
            LogState::Broken { problem } => Some(ServingError::LogBroken { problem: problem.clone() }),
            LogState::Closed | LogState::Lost { .. } => Some(ServingError::LogClosed),
        }
    }

    /// Waits until records cannot be written.
    async fn broken(&self) -> ServingError {
        let mut state = self.state.clone();
        let _ = state.wait_for(|state| *state != LogState::Working).await;
        self.refusal().unwrap_or(ServingError::LogClosed)
    }

    pub(crate) fn catalog(&self) -> &Catalog {
        &self.catalog
    }
}

impl PredictionSink for PredictionLog {
    fn record(&self, answered: Answered) {
        let weight = answered.weight().clamp(1, self.budget_bytes).div_ceil(1024) as u32;
        let weight = weight.min((self.budget_bytes >> 10) as u32);
        let permit = Arc::clone(&self.budget).try_acquire_many_owned(weight);
        let place = permit.ok().zip(self.messages.try_reserve().ok());
        if let Some((permit, slot)) = place {
            self.counts.taken.fetch_add(1, Ordering::AcqRel);
            slot.send(Message::Record(Box::new(answered), permit));
        } else {
            self.counts.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn counts(&self) -> SinkCounts {
        let logged = self.counts.logged.load(Ordering::Acquire);
        let logging = self.counts.taken.load(Ordering::Acquire).saturating_sub(logged);
        SinkCounts { logged, logging, lost: self.counts.lost.load(Ordering::Relaxed) }
    }

    fn flush(&self) -> BoxFuture<'_, Result<(), ServingError>> {
        Box::pin(self.flush())
    }

    fn close(&self) -> BoxFuture<'_, Result<(), ServingError>> {
        Box::pin(self.close())
    }
}
