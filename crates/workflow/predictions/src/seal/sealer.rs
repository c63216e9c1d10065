use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ropewalk_types::{Ambient, Timestamp};
use tokio::sync::Notify;

use super::Sealed;
use super::compaction::{compact, prune_as};
use super::journal::{journal_seal, noted};
use super::old_table::old_table_move;
use super::presence::{journals_of, lock_of, writer_end};
use crate::journal::{JournalName, WriterName, list_writers};
use crate::{PredictionHome, PredictionsError};

/// How often the sealer looks for journals of the dead and for what is old.
const ROUND: Duration = Duration::from_mins(15);

/// Journals of this process to which nothing is appended any more, and what became of those before them.
#[derive(Debug, Default)]
pub(crate) struct Finished {
    inner: Mutex<Inner>,
    pub(crate) more: Notify,
}

#[derive(Debug, Default)]
struct Inner {
    waiting: Vec<(JournalName, u64)>,
    ended: bool,
    sealed: Sealed,
    problem: Option<String>,
}

/// Seals the journals of this process and of dead ones, joins small segments and lets go of old ones.
pub(crate) struct Sealer {
    pub(crate) home: PredictionHome,
    pub(crate) writer: WriterName,
    pub(crate) ambient: Arc<dyn Ambient>,
    pub(crate) keep: Option<Duration>,
    pub(crate) retry: Duration,
    pub(crate) finished: Arc<Finished>,
}

impl Finished {
    /// Hands over a journal of `bytes`.
    pub(crate) fn push(&self, name: JournalName, bytes: u64) {
        self.lock().waiting.push((name, bytes));
        self.more.notify_one();
    }

    /// Says that no more come.
    pub(crate) fn end(&self) {
        self.lock().ended = true;
        self.more.notify_one();
    }

    /// Journals that wait, and their bytes.
    pub(crate) fn waiting(&self) -> (u64, u64) {
        let inner = self.lock();
        (inner.waiting.len() as u64, inner.waiting.iter().map(|(_, bytes)| bytes).sum())
    }

    /// What was sealed so far.
    pub(crate) fn sealed(&self) -> Sealed {
        self.lock().sealed
    }

    /// Why the last attempt failed, if it did.
    pub(crate) fn problem(&self) -> Option<String> {
        self.lock().problem.clone()
    }

    fn first(&self) -> Option<JournalName> {
        self.lock().waiting.first().map(|(name, _)| *name)
    }

    fn done(&self, name: JournalName, sealed: Sealed) {
        let mut inner = self.lock();
        inner.waiting.retain(|(waiting, _)| *waiting != name);
        inner.sealed.add(sealed);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Sealer {
    /// Ends when no more journals come and those that came are sealed, or cannot be.
    pub(crate) async fn run(self) {
        let mut round = true;
        loop {
            let worked = self.work(round).await;
            let ended = self.finished.lock().ended;
            self.finished.lock().problem = worked.as_ref().err().map(ToString::to_string);
            round = worked.is_err();
            if ended && (worked.is_err() || self.finished.first().is_none()) {
                return;
            }
            let pause = if worked.is_err() { self.retry } else { ROUND };
            if worked.is_ok() && self.finished.first().is_some() {
                continue;
            }
            let more = tokio::time::timeout(pause, self.finished.more.notified()).await;
            round |= more.is_err();
        }
    }

    /// Seals what waits; in a `round` also does all else that there is to do.
    async fn work(&self, round: bool) -> Result<(), PredictionsError> {
        let now = || self.ambient.now();
        while let Some(name) = self.finished.first() {
            let sealed = journal_seal(&self.home, name, self.writer, now()).await?;
            self.finished.done(name, sealed);
        }
        if round {
            let mut sealed = self.seal_dead(now()).await?;
            sealed.moved = old_table_move(&self.home, self.writer, now()).await?;
            self.finished.lock().sealed.add(sealed);
        }
        if let Some(before) = self.keep.map(|keep| before(now(), keep)).filter(|_| round) {
            prune_as(&self.home, self.writer, before, now()).await?;
        }
        compact(&self.home, self.writer, now()).await?;
        Ok(())
    }

    /// Seals the journals of writers that have died, and removes what else they left.
    async fn seal_dead(&self, at: Timestamp) -> Result<Sealed, PredictionsError> {
        let folder = self.home.folder.clone();
        let writers = tokio::task::spawn_blocking(move || list_writers(&folder)).await??;
        let mut sealed = Sealed::default();
        for writer in writers.into_iter().filter(|writer| *writer != self.writer) {
            let Some(lock) = lock_of(&self.home, writer).await? else { continue };
            // Whoever was killed before a note was removed left the lock here: on another machine are notes of others.
            let mut names = journals_of(&self.home, writer).await?;
            names.extend(noted(&self.home, writer).await?);
            for name in names {
                sealed.add(journal_seal(&self.home, name, self.writer, at).await?);
            }
            writer_end(&self.home, writer, lock).await?;
        }
        Ok(sealed)
    }
}

fn before(now: Timestamp, keep: Duration) -> Timestamp {
    Timestamp(now.millis().saturating_sub(i64::try_from(keep.as_millis()).unwrap_or(i64::MAX)))
}
