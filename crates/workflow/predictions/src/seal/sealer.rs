use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use ropewalk_types::{Ambient, Digest, Timestamp};
use tokio::sync::Notify;

use super::Sealed;
use super::compaction::{compact, prune_as};
use super::journal::{journal_seal, noted};
use super::old_table::old_table_move;
use super::presence::{journals_of, lock_of, writer_end};
use super::schedule::{Schedule, Went};
use super::troubles::Troubles;
use crate::journal::{JournalName, WriterName, list_writers};
use crate::{PredictionHome, PredictionsError};

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
    /// What keeps journals of this process from being sealed.
    unsealed: Option<String>,
    /// What else went wrong.
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

    /// What went wrong the last time, if something did.
    pub(crate) fn problem(&self) -> Option<String> {
        let inner = self.lock();
        inner.unsealed.clone().or_else(|| inner.problem.clone())
    }

    /// Why journals wait to be sealed; none if none do.
    pub(crate) fn unsealed(&self) -> Option<String> {
        let inner = self.lock();
        let why = || inner.unsealed.clone().unwrap_or_else(|| "they come faster than they are sealed".to_owned());
        (!inner.waiting.is_empty()).then(why)
    }

    /// Tells of what went wrong beside the sealing of this process's journals.
    pub(crate) fn tell(&self, problem: Option<String>) {
        told("what was logged cannot be put in order", &mut self.lock().problem, problem);
    }

    /// Tells of what keeps journals of this process from being sealed.
    fn tell_unsealed(&self, problem: Option<String>) {
        told("what is logged stays in its journals, which cannot be sealed", &mut self.lock().unsealed, problem);
    }

    /// The first journal that waits behind `last`: they come in the order of their names.
    fn after(&self, last: Option<JournalName>) -> Option<JournalName> {
        self.lock().waiting.iter().map(|(name, _)| *name).find(|name| Some(*name) > last)
    }

    fn add(&self, sealed: Sealed) {
        self.lock().sealed.add(sealed);
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
        let mut schedule = Schedule::new(self.retry, Instant::now());
        let mut passed = HashSet::new();
        loop {
            // Before the work: what came until then was tried by it.
            let ended = self.finished.lock().ended;
            let round = schedule.is_due(Instant::now());
            let went = self.work(round, &mut passed).await;
            if ended {
                return;
            }
            schedule.after(went, round, Instant::now());
            // A journal that came, or a round that is due: the next go sees which.
            let _ = tokio::time::timeout(schedule.left(Instant::now()), self.finished.more.notified()).await;
        }
    }

    /// Seals what waits; in a `round` also does all else that there is to do. Segments in `passed` are not joined with others.
    pub(super) async fn work(&self, round: bool, passed: &mut HashSet<Digest>) -> Went {
        let (mut own, mut rest) = (Troubles::default(), Troubles::default());
        let worked = match self.seal_own(&mut own).await {
            Ok(()) => self.work_on(round, passed, &mut rest).await.map_err(|problem| rest.note(problem)),
            Err(problem) => {
                own.note(problem);
                Err(())
            }
        };
        let (own, rest) = (own.told(), rest.told());
        let went = match (&own, &rest) {
            (None, None) => Went::Well,
            (None, Some(_)) if worked.is_ok() => Went::Partly,
            _ => Went::Stuck,
        };
        if round || rest.is_some() {
            self.finished.tell(rest);
        }
        self.finished.tell_unsealed(own);
        went
    }

    async fn seal_own(&self, troubles: &mut Troubles) -> Result<(), PredictionsError> {
        let mut last = None;
        while let Some(name) = self.finished.after(last) {
            last = Some(name);
            match journal_seal(&self.home, name, self.writer, self.ambient.now()).await {
                Ok(sealed) => self.finished.done(name, sealed),
                Err(problem) => troubles.pass(problem)?,
            }
        }
        Ok(())
    }

    async fn work_on(
        &self,
        round: bool,
        passed: &mut HashSet<Digest>,
        troubles: &mut Troubles,
    ) -> Result<(), PredictionsError> {
        let now = || self.ambient.now();
        if round {
            passed.clear();
            if let Err(problem) = self.seal_dead(now(), troubles).await {
                troubles.pass(problem)?;
            }
            match old_table_move(&self.home, self.writer, now()).await {
                Ok(moved) => self.finished.add(Sealed { moved, ..Sealed::default() }),
                Err(problem) => troubles.pass(problem)?,
            }
            if let Some(before) = self.keep.map(|keep| before(now(), keep)) {
                prune_as(&self.home, self.writer, before, now(), troubles).await?;
            }
        }
        compact(&self.home, self.writer, now(), passed, troubles).await?;
        Ok(())
    }

    /// Seals the journals of writers that have died, and removes what else they left.
    async fn seal_dead(&self, at: Timestamp, troubles: &mut Troubles) -> Result<(), PredictionsError> {
        let folder = self.home.folder.clone();
        let writers = tokio::task::spawn_blocking(move || list_writers(&folder)).await??;
        for writer in writers.into_iter().filter(|writer| *writer != self.writer) {
            if let Err(problem) = self.seal_writer(writer, at, troubles).await {
                troubles.pass(problem)?;
            }
        }
        Ok(())
    }

    /// As [`Self::seal_dead`], of one writer. One that has a journal that cannot be sealed stays.
    async fn seal_writer(
        &self,
        writer: WriterName,
        at: Timestamp,
        troubles: &mut Troubles,
    ) -> Result<(), PredictionsError> {
        let Some(lock) = lock_of(&self.home, writer).await? else { return Ok(()) };
        let mut names = journals_of(&self.home, writer).await?;
        // Whoever was killed before a note was removed left the lock here: other notes may be of journals on other machines.
        names.extend(noted(&self.home, writer).await?);
        let mut whole = true;
        for name in names {
            match journal_seal(&self.home, name, self.writer, at).await {
                Ok(sealed) => self.finished.add(sealed),
                Err(problem) => {
                    troubles.pass(problem)?;
                    whole = false;
                }
            }
        }
        if whole {
            writer_end(&self.home, writer, lock).await?;
        }
        Ok(())
    }
}

/// Puts what is wrong in the place of what was, and tells the operator where that is news.
fn told(what: &str, before: &mut Option<String>, now: Option<String>) {
    match (&before, &now) {
        (_, Some(problem)) if before.as_ref() != Some(problem) => tracing::warn!("{what}: {problem}"),
        (Some(_), None) => tracing::warn!("{what}: no longer so"),
        _ => {}
    }
    *before = now;
}

fn before(now: Timestamp, keep: Duration) -> Timestamp {
    Timestamp(now.millis().saturating_sub(i64::try_from(keep.as_millis()).unwrap_or(i64::MAX)))
}
