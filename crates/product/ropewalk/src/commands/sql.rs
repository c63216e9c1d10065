use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use ropewalk_data::AnswerFormat;
use ropewalk_server::{Question, ServerError};
use ropewalk_store::files::AtomicFile;

use crate::arguments::{Format, Shared, Sql, SqlFormat};
use crate::failure::Ending;
use crate::{commands, terminal};

/// Rows of an answer that people are shown.
const SHOWN: usize = 1000;

pub(super) async fn run(shared: &Shared, arguments: &Sql) -> Ending {
    let project = commands::open(shared).await?;
    let question = Question {
        sql: arguments.query.clone(),
        format: format(shared, arguments),
        rows: SHOWN,
        memory_limit: arguments.memory.saturating_mul(1_000_000),
    };
    let answer = match &arguments.file {
        None => project.sql(&question, Box::new(std::io::stdout())).await?,
        Some(path) => {
            let (file, written) = WholeFile::create(path)?;
            let answer = project.sql(&question, Box::new(file)).await?;
            written.commit()?;
            answer
        }
    };
    project.close().await;
    if let Some(note) = answer.note() {
        terminal::say(&note);
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

/// A file that appears whole, once its last byte is there.
struct WholeFile {
    shared: std::sync::Arc<std::sync::Mutex<Option<AtomicFile>>>,
}

/// The other end of a [`WholeFile`], which gives it its name.
struct Written {
    shared: std::sync::Arc<std::sync::Mutex<Option<AtomicFile>>>,
}

impl WholeFile {
    fn create(path: &Path) -> Result<(Self, Written), ServerError> {
        let shared = std::sync::Arc::new(std::sync::Mutex::new(Some(AtomicFile::create(path)?)));
        Ok((Self { shared: std::sync::Arc::clone(&shared) }, Written { shared }))
    }
}

impl Written {
    fn commit(self) -> Result<(), ServerError> {
        let file = self.shared.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take();
        Ok(file.map_or(Ok(()), AtomicFile::commit)?)
    }
}

impl Write for WholeFile {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        match self.shared.lock().unwrap_or_else(std::sync::PoisonError::into_inner).as_mut() {
            Some(file) => file.write(bytes),
            None => Err(std::io::ErrorKind::BrokenPipe.into()),
        }
    }

    fn flush(&mut self) -> std::io::Result<()> {
        match self.shared.lock().unwrap_or_else(std::sync::PoisonError::into_inner).as_mut() {
            Some(file) => file.flush(),
            None => Ok(()),
        }
    }
}
