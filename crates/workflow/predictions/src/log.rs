mod buffer;
mod writer;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use futures::future::BoxFuture;
use ropewalk_serving::{Answered, PredictionSink, ServingError, SinkCounts};
use ropewalk_types::{Ambient, ModelName, PredictionId};
use tokio::sync::watch;

use crate::encode::weight;
use crate::seal::{Finished, Sealed, Sealer, writer_begin, writer_end};
use crate::{LogSettings, PredictionHome, PredictionsError};
use buffer::{Buffer, Waiting};
use writer::{Progress, Writer};

/// How the log is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogState {
    /// Records are written.
    Working,
    /// The journal could not be written; the records are kept in memory, as far as there is room, and tried again until they
    /// are written.
    Broken {
        /// Why not.
        problem: String,
    },
    /// Everything that was taken is written, and the log takes no more.
    Closed,
    /// The log takes no more, and some records that were taken are written nowhere.
    Lost {
        /// How many.
        records: usize,
        /// Why they could not be written.
        problem: String,
    },
}

impl LogState {
    fn is_failing(&self) -> bool {
        matches!(self, Self::Broken { .. } | Self::Lost { .. })
    }
}

/// What the log has done so far.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogReport {
    /// How it is doing.
    pub state: LogState,
    /// Records that survive the end of the process, that are on their way, and that there was no room for.
    pub counts: SinkCounts,
    /// Answers that were not sampled.
    pub passed: u64,
    /// Records whose inputs and outputs were too large to be written.
    pub cut: u64,
    /// Journals that wait to be sealed, and their bytes.
    pub unsealed: (u64, u64),
    /// What was sealed.
    pub sealed: Sealed,
    /// What could not be sealed, joined or let go the last time, if something could not; it was passed over and is tried again.
    /// Records that are not sealed are in their journals.
    pub sealing_problem: Option<String>,
}

/// The durable log of predictions: records go into memory, and from there into a journal by one thread.
///
/// Clones share the thread. When the last of them is dropped, what was taken is written, and sealed by whoever opens the log
/// next; [`PredictionLog::close`] seals it at once.
#[derive(Clone, Debug)]
pub struct PredictionLog {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    settings: Arc<LogSettings>,
    buffer: Arc<Buffer>,
    counts: Arc<Counts>,
    progress: watch::Receiver<Progress>,
    finished: Arc<Finished>,
    /// Whether everything has ended, and how the sealing did.
    ended: watch::Receiver<Option<Result<(), String>>>,
}

#[derive(Debug, Default)]
struct Counts {
    taken: AtomicU64,
    logged: AtomicU64,
    lost: AtomicU64,
    passed: AtomicU64,
    cut: AtomicU64,
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.buffer.close();
    }
}

impl PredictionLog {
    /// Opens the log at `home`, beside others of this or other processes.
    ///
    /// Starts a thread that writes, and on the runtime it is called in a task that seals: journals that dead processes left,
    /// and what lies in the table of earlier versions, first of all.
    ///
    /// Errors: a setting out of its range, or a folder that cannot be written.
    pub async fn open(
        home: PredictionHome,
        settings: LogSettings,
        ambient: Arc<dyn Ambient>,
    ) -> Result<Self, PredictionsError> {
        settings.payload.check()?;
        let (writer, lock) = writer_begin(&home, &*ambient).await?;
        let settings = Arc::new(settings);
        let (buffer, counts) = (Arc::new(Buffer::new(&settings)), Arc::new(Counts::default()));
        let finished = Arc::new(Finished::default());
        let (announce, progress) = watch::channel(Progress::default());
        let thread = Writer::new(
            writer,
            home.folder.clone(),
            Arc::clone(&settings),
            Arc::clone(&buffer),
            Arc::clone(&counts),
            Arc::clone(&finished),
            announce,
        );
        thread.start()?;
        let sealer = Sealer {
            home: home.clone(),
            writer,
            ambient,
            keep: settings.keep,
            retry: settings.retry,
            finished: Arc::clone(&finished),
        };
        let (end, ended) = watch::channel(None);
        let done = Arc::clone(&finished);
        tokio::spawn(async move {
            sealer.run().await;
            let unsealed = done.unsealed();
            if unsealed.is_some() {
                // Before it is told: whoever opens the log then finds a dead writer.
                drop(lock);
            } else if let Err(problem) = writer_end(&home, writer, lock).await {
                // Whoever opens the log next removes what is left.
                done.tell(Some(problem.to_string()));
            }
            end.send_replace(Some(unsealed.map_or(Ok(()), Err)));
        });
        Ok(Self { shared: Arc::new(Shared { settings, buffer, counts, progress, finished, ended }) })
    }

    /// How the log is doing.
    pub fn state(&self) -> LogState {
        self.shared.progress.borrow().state.clone()
    }

    /// What it has done so far.
    pub fn report(&self) -> LogReport {
        LogReport {
            state: self.state(),
            counts: self.counts(),
            passed: self.shared.counts.passed.load(Ordering::Relaxed),
            cut: self.shared.counts.cut.load(Ordering::Relaxed),
            unsealed: self.shared.finished.waiting(),
            sealed: self.shared.finished.sealed(),
            sealing_problem: self.shared.finished.problem(),
        }
    }

    /// Waits until everything that was taken before this call is in a journal.
    ///
    /// Errors: [`ServingError::LogBroken`] at once if it cannot be written now; the log goes on trying.
    pub async fn flush(&self) -> Result<(), ServingError> {
        let goal = self.shared.buffer.flush();
        let mut progress = self.shared.progress.clone();
        let reached = |progress: &Progress| progress.done >= goal || progress.state != LogState::Working;
        let progress = progress.wait_for(reached).await.map_err(|_| ServingError::LogClosed)?.clone();
        match progress.state {
            LogState::Lost { records, problem } => Err(ServingError::LogLost { records, problem }),
            LogState::Broken { problem } if progress.done < goal => Err(ServingError::LogBroken { problem }),
            _ => Ok(()),
        }
    }

    /// Takes no more records, writes those that it has, and seals its journals.
    ///
    /// Errors: [`ServingError::LogLost`] if the journal could not be written after several tries; [`ServingError::LogBroken`]
    /// if it could not be sealed: no record is lost then, and whoever opens the log next seals it. What else could not be done
    /// is in [`LogReport::sealing_problem`].
    pub async fn close(&self) -> Result<(), ServingError> {
        self.shared.buffer.close();
        let mut ended = self.shared.ended.clone();
        let sealed = ended.wait_for(Option::is_some).await.map_err(|_| ServingError::LogClosed)?.clone();
        match (self.state(), sealed) {
            (LogState::Lost { records, problem }, _) => Err(ServingError::LogLost { records, problem }),
            (_, Some(Err(problem))) => {
                let problem = format!("what is logged is safe in its journal, which could not be sealed: {problem}");
                Err(ServingError::LogBroken { problem })
            }
            _ => Ok(()),
        }
    }
}

impl PredictionSink for PredictionLog {
    fn wants(&self, model: &ModelName, _version: u64, prediction: PredictionId) -> bool {
        let takes = self.shared.settings.payload.takes(model, prediction);
        self.shared.counts.passed.fetch_add(u64::from(!takes), Ordering::Relaxed);
        takes
    }

    fn record(&self, mut answered: Answered) {
        // Also for those who did not ask.
        if !self.wants(&answered.model, answered.version, answered.prediction) {
            return;
        }
        let Shared { settings, buffer, counts, .. } = &*self.shared;
        let cut = settings.payload.strip(&mut answered);
        let weight = weight(&answered);
        // Before it is handed over: what is logged is never more than what was taken.
        counts.taken.fetch_add(1, Ordering::AcqRel);
        if buffer.push(Waiting { answered, cut, weight }) {
            counts.cut.fetch_add(u64::from(cut), Ordering::Relaxed);
        } else {
            counts.taken.fetch_sub(1, Ordering::AcqRel);
            counts.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn counts(&self) -> SinkCounts {
        let counts = &self.shared.counts;
        let logged = counts.logged.load(Ordering::Acquire);
        let logging = counts.taken.load(Ordering::Acquire).saturating_sub(logged);
        let failing = self.shared.progress.borrow().state.is_failing() || self.shared.finished.problem().is_some();
        SinkCounts { logged, logging, lost: counts.lost.load(Ordering::Relaxed), failing }
    }

    fn flush(&self) -> BoxFuture<'_, Result<(), ServingError>> {
        Box::pin(self.flush())
    }

    fn close(&self) -> BoxFuture<'_, Result<(), ServingError>> {
        Box::pin(self.close())
    }
}
