use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ropewalk_data::AnswerFormat;
use ropewalk_server::{Question, ServerError};
use ropewalk_store::files::{self, AtomicFile, EntryKind, FileError};

use crate::arguments::{Format, Shared, Sql, SqlFormat};
use crate::failure::Ending;
use crate::output::printable;
use crate::{commands, terminal};

/// Rows of an answer that people are shown.
const SHOWN: usize = 1000;

pub(super) async fn run(shared: &Shared, arguments: &Sql) -> Ending {
    let project = commands::open(shared).await?;
    let question = Question {
        sql: arguments.query.clone(),
        format: format(shared, arguments),
        rows: SHOWN,
        memory_limit: arguments.memory.get().saturating_mul(1_000_000),
    };
    let answer = match &arguments.file {
        None => {
            let pipe = Pipe::default();
            match project.sql(&question, Box::new(pipe.clone())).await {
                // Whoever reads may stop early, as `head` does.
                Err(_) if pipe.closed.load(Ordering::Relaxed) => {
                    project.close().await;
                    return Ok(ExitCode::SUCCESS);
                }
                answer => answer?,
            }
        }
        Some(path) => {
            let file = WholeFile::create(path)?;
            let answer = project.sql(&question, Box::new(file.clone())).await?;
            file.commit()?;
            answer
        }
    };
    project.close().await;
    for note in answer.notes.iter().cloned().chain(answer.note()) {
        terminal::say(&printable(&note));
    }
    Ok(ExitCode::SUCCESS)
}

fn format(shared: &Shared, arguments: &Sql) -> AnswerFormat {
    let by_name = arguments.file.as_ref().and_then(|path| match path.extension()?.to_str()? {
        "csv" => Some(SqlFormat::Csv),
        "json" => Some(SqlFormat::Json),
        "jsonl" | "ndjson" => Some(SqlFormat::Jsonl),
        "parquet" => Some(SqlFormat::Parquet),
        "arrow" => Some(SqlFormat::Arrow),
        _ => None,
    });
    match (arguments.format.or(by_name), shared.output) {
        (Some(SqlFormat::Csv), _) => AnswerFormat::Csv,
        (Some(SqlFormat::Json), _) | (None, Format::Json) => AnswerFormat::Json,
        (Some(SqlFormat::Jsonl), _) => AnswerFormat::JsonLines,
        (Some(SqlFormat::Parquet), _) => AnswerFormat::Parquet,
        (Some(SqlFormat::Arrow), _) => AnswerFormat::Arrow,
        (Some(SqlFormat::Table) | None, _) => AnswerFormat::Table,
    }
}

/// Standard output, and whether nobody reads it any more.
#[derive(Clone, Default)]
struct Pipe {
    closed: Arc<AtomicBool>,
}

impl Pipe {
    fn noted<T>(&self, result: io::Result<T>) -> io::Result<T> {
        if result.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::BrokenPipe) {
            self.closed.store(true, Ordering::Relaxed);
        }
        result
    }
}

impl Write for Pipe {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.noted(io::stdout().write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.noted(io::stdout().flush())
    }
}

/// A file that appears whole, once its last byte is there; both ends of it are one.
#[derive(Clone)]
struct WholeFile(Arc<Mutex<Option<AtomicFile>>>);

impl WholeFile {
    /// Refuses a device, a pipe or a link: a file would take its place.
    fn create(path: &Path) -> Result<Self, ServerError> {
        if files::kind(path)?.is_some_and(|kind| kind != EntryKind::File) {
            return Err(FileError::InTheWay { path: path.to_owned() }.into());
        }
        Ok(Self(Arc::new(Mutex::new(Some(AtomicFile::create(path)?)))))
    }

    fn file(&self) -> MutexGuard<'_, Option<AtomicFile>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives the file its name; what is written afterwards is refused.
    fn commit(&self) -> Result<(), ServerError> {
        let file = self.file().take();
        Ok(file.map_or(Ok(()), AtomicFile::commit)?)
    }
}

impl Write for WholeFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file().as_mut().ok_or(io::ErrorKind::BrokenPipe)?.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file().as_mut().map_or(Ok(()), AtomicFile::flush)
    }
}
