use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use ropewalk_store::FileError;
use ropewalk_store::files::{self, AppendFile};
use tokio::sync::watch;

use super::buffer::{Buffer, Taken};
use super::{Counts, LogState};
use crate::journal::{JournalName, MARK, WriterName};
use crate::seal::Finished;
use crate::{LogSettings, PredictionsError};

/// Frames that are written at once.
const CHUNK: usize = 1 << 20;
/// Tries to write what is left of a log that is being closed.
const LAST_TRIES: u32 = 5;
/// How often a journal is looked after while nothing comes.
const IDLE: Duration = Duration::from_secs(1);

/// How far the writer is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Progress {
    /// Records that were written or given up.
    pub(super) done: u64,
    pub(super) state: LogState,
}

impl Default for Progress {
    fn default() -> Self {
        Self { done: 0, state: LogState::Working }
    }
}

/// The thread that turns records into frames and appends them.
pub(super) struct Writer {
    name: WriterName,
    folder: PathBuf,
    settings: Arc<LogSettings>,
    buffer: Arc<Buffer>,
    counts: Arc<Counts>,
    finished: Arc<Finished>,
    progress: watch::Sender<Progress>,
    journal: Option<Journal>,
    next: u64,
    /// Once a batch could not be written at the end, those after it get one try.
    last_tries: u32,
    lost: Option<(usize, String)>,
}

/// The journal that is being written.
struct Journal {
    name: JournalName,
    file: AppendFile,
    records: u64,
    since: Instant,
    synced: Instant,
    /// Whether something was appended since then.
    unsynced: bool,
}

/// Frames that are to be written together.
#[derive(Default)]
struct Frames {
    bytes: Vec<u8>,
    records: usize,
    /// What they held in memory.
    weight: usize,
}

impl Writer {
    pub(super) fn new(
        name: WriterName,
        folder: PathBuf,
        settings: Arc<LogSettings>,
        buffer: Arc<Buffer>,
        counts: Arc<Counts>,
        finished: Arc<Finished>,
        progress: watch::Sender<Progress>,
    ) -> Self {
        let (journal, lost) = (None, None);
        Self {
            name,
            folder,
            settings,
            buffer,
            counts,
            finished,
            progress,
            journal,
            next: 1,
            last_tries: LAST_TRIES,
            lost,
        }
    }

    /// Starts the thread, which ends when the log is closed and what it took is written.
    pub(super) fn start(self) -> Result<(), PredictionsError> {
        let thread = std::thread::Builder::new().name("predictions".to_owned()).spawn(move || self.run());
        thread.map(|_| ()).map_err(|error| PredictionsError::Broken(format!("no thread can be started: {error}")))
    }

    fn run(mut self) {
        let (mut text, mut frames) = (String::new(), Frames::default());
        loop {
            let Taken { records, last } = self.buffer.take(self.settings.sync.min(IDLE));
            for record in records {
                self.settings.payload.encode(&record.answered, record.cut, &mut text, &mut frames.bytes);
                frames.records += 1;
                frames.weight += record.weight;
                if frames.bytes.len() >= CHUNK {
                    self.write(&mut frames);
                }
            }
            if frames.records > 0 {
                self.write(&mut frames);
            }
            // What one large record needed is not kept for small ones.
            text.shrink_to(CHUNK);
            frames.bytes.shrink_to(2 * CHUNK);
            self.look_after();
            if last {
                break;
            }
        }
        self.end();
    }

    fn end(mut self) {
        self.roll();
        let state = match self.lost {
            None => LogState::Closed,
            Some((records, problem)) => LogState::Lost { records, problem },
        };
        self.progress.send_modify(|progress| progress.state = state);
        // Last: whoever waits for the sealer to end looks at the state then.
        self.finished.end();
    }

    /// Writes frames, however often that has to be tried. Once the log is being closed it gives up after a few tries.
    fn write(&mut self, frames: &mut Frames) {
        let mut tries = 0;
        let written = loop {
            match self.append(frames) {
                Ok(()) => break true,
                Err(problem) => {
                    let closing = self.buffer.is_closed();
                    tries += u32::from(closing);
                    if tries >= self.last_tries {
                        self.last_tries = 1;
                        let before = self.lost.take().map_or(0, |(before, _)| before);
                        self.lost = Some((before + frames.records, problem));
                        break false;
                    }
                    self.progress.send_modify(|progress| {
                        if progress.state == LogState::Working {
                            tracing::warn!("predictions cannot be written, and wait in memory: {problem}");
                        }
                        progress.state = LogState::Broken { problem };
                    });
                    if closing {
                        std::thread::sleep(self.settings.retry);
                    } else {
                        self.buffer.pause(self.settings.retry);
                    }
                }
            }
        };
        let count = frames.records as u64;
        if written {
            self.counts.logged.fetch_add(count, Ordering::AcqRel);
        } else {
            self.counts.lost.fetch_add(count, Ordering::Relaxed);
            self.counts.taken.fetch_sub(count, Ordering::AcqRel);
        }
        self.buffer.release(frames.records, frames.weight);
        self.progress.send_modify(|progress| {
            progress.done += count;
            if written {
                if progress.state != LogState::Working {
                    tracing::warn!("predictions are written again");
                }
                progress.state = LogState::Working;
            }
        });
        frames.bytes.clear();
        (frames.records, frames.weight) = (0, 0);
    }

    /// One try.
    fn append(&mut self, frames: &Frames) -> Result<(), String> {
        if self.journal.as_ref().is_some_and(|journal| journal.is_full(&self.settings)) {
            self.roll();
        }
        let mut journal = match self.journal.take() {
            Some(journal) => journal,
            None => self.begin()?,
        };
        match journal.file.append(&frames.bytes) {
            Ok(()) => {
                journal.records += frames.records as u64;
                journal.unsynced = true;
                self.journal = Some(journal);
                Ok(())
            }
            Err(problem) => {
                self.journal = Some(journal);
                if matches!(problem, FileError::Torn { .. }) {
                    // What is whole in it is sealed; what was begun is written anew.
                    self.roll();
                }
                Err(problem.to_string())
            }
        }
    }

    fn begin(&mut self) -> Result<Journal, String> {
        let (journals, bytes) = self.finished.waiting();
        // What is left at the end fitted into memory: it is written rather than lost.
        if bytes >= self.settings.unsealed_bytes
            && !self.buffer.is_closed()
            && let Some(why) = self.finished.unsealed()
        {
            return Err(format!("{journals} journals of {bytes} bytes wait to be sealed: {why}"));
        }
        let name = JournalName { writer: self.name, number: self.next };
        self.next += 1;
        let path = name.path(&self.folder);
        let mut file = AppendFile::create(&path).map_err(|problem| problem.to_string())?;
        if let Err(problem) = file.append(&MARK) {
            // An empty journal says nothing.
            let _ = files::remove_file(&path);
            return Err(problem.to_string());
        }
        let now = Instant::now();
        Ok(Journal { name, file, records: 0, since: now, synced: now, unsynced: true })
    }

    /// Ends the journal, if there is one, and hands it to the sealer.
    fn roll(&mut self) {
        if let Some(mut journal) = self.journal.take() {
            // It is read again at once, and what it becomes is durable.
            let _ = journal.file.sync();
            self.finished.push(journal.name, journal.file.length());
        }
    }

    /// Forces the journal to the disk and ends it where that is due.
    fn look_after(&mut self) {
        let Some(journal) = &mut self.journal else { return };
        if journal.unsynced && journal.synced.elapsed() >= self.settings.sync {
            (journal.synced, journal.unsynced) = (Instant::now(), false);
            if let Err(problem) = journal.file.sync() {
                // What the system could not write it may have given up: what comes then goes elsewhere.
                self.progress
                    .send_modify(|progress| progress.state = LogState::Broken { problem: problem.to_string() });
                return self.roll();
            }
        }
        if journal.since.elapsed() >= self.settings.journal_age {
            self.roll();
        }
    }
}

impl Journal {
    fn is_full(&self, settings: &LogSettings) -> bool {
        self.records >= settings.journal_records || self.file.length() >= settings.journal_bytes
    }
}
