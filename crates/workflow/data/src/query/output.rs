use std::io::{BufWriter, Write};
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow::ipc::writer::{FileWriter, IpcWriteOptions};
use arrow::json::writer::{JsonArray, LineDelimited};
use arrow::util::pretty::pretty_format_batches_with_schema;
use datafusion::parquet::arrow::ArrowWriter;
use datafusion::parquet::basic::{Compression, ZstdLevel};
use datafusion::parquet::file::properties::WriterProperties;
use futures::future::BoxFuture;
use ropewalk_ingest::blocking;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use super::QueryStream;
use crate::DataError;
use crate::query::output::nested::flattened;
use crate::sql::Spilled;
use crate::transform::unique_names;

mod nested;

/// Batches that wait to be encoded.
const QUEUE: usize = 4;
/// Bytes of a Parquet row group in memory before it is written.
const GROUP_BYTES: usize = 64 << 20;

/// The form of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AnswerFormat {
    /// A table for a terminal: the first rows only.
    Table,
    /// Comma-separated values with a header (RFC 4180): a null is an empty field, lists and structs are JSON texts.
    Csv,
    /// One JSON array of objects, with nulls.
    Json,
    /// A JSON object a line, with nulls.
    JsonLines,
    /// Apache Parquet, zstd.
    Parquet,
    /// Apache Arrow IPC file.
    Arrow,
}

/// What was written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Answer {
    /// Rows that were written.
    pub rows: u64,
    /// Whether there are more that were not: only a table ends before its answer does.
    pub more: bool,
    /// What its reader should know of the files that were read.
    #[serde(skip)]
    pub notes: Vec<String>,
    /// What was spilled to disk on the way.
    #[serde(skip)]
    pub spilled: Spilled,
}

impl Answer {
    /// What a reader of a cut table should be told; none where all is there.
    pub fn note(&self) -> Option<String> {
        let rows = self.rows;
        self.more
            .then(|| format!("the first {rows} rows are shown, there are more: write the answer to a file for all"))
    }
}

/// Writes an answer as it comes, in bounded memory, on a thread that may block.
///
/// `rows` is how many rows a [`AnswerFormat::Table`] has at most. Errors: [`DataError::Output`] where `output` fails.
pub fn write_answer(
    mut stream: QueryStream,
    format: AnswerFormat,
    rows: usize,
    output: Box<dyn Write + Send>,
) -> BoxFuture<'static, Result<Answer, DataError>> {
    Box::pin(async move {
        let schema = Arc::clone(stream.schema());
        let (sender, receiver) = mpsc::channel(QUEUE);
        let writer = blocking(move || match format {
            AnswerFormat::Table => write_table(receiver, &schema, rows, output),
            _ => write_batches(receiver, format, &schema, output),
        });
        let feed = async move {
            while let Some(batch) = stream.next_batch().await? {
                // The writer stops early when it has enough, or fails.
                if sender.send(batch).await.is_err() {
                    break;
                }
            }
            Ok::<_, DataError>((stream.spilled(), stream.notes()))
        };
        let (fed, written) = futures::join!(feed, writer);
        let (spilled, notes) = fed?;
        let (rows, more) = written?;
        Ok(Answer { rows, more, notes, spilled })
    })
}

fn write_table(
    mut batches: mpsc::Receiver<RecordBatch>,
    schema: &SchemaRef,
    limit: usize,
    mut output: Box<dyn Write + Send>,
) -> Result<(u64, bool), DataError> {
    let (mut kept, mut rows, mut more) = (Vec::new(), 0, false);
    while let Some(batch) = batches.blocking_recv() {
        let room = limit - rows;
        more = batch.num_rows() > room;
        let part = batch.slice(0, batch.num_rows().min(room));
        rows += part.num_rows();
        kept.push(part);
        if more {
            break;
        }
    }
    let table = drawn_table(schema, &kept)?;
    writeln!(output, "{table}").and_then(|()| output.flush()).map_err(DataError::Output)?;
    Ok((rows as u64, more))
}

/// Rows as a table for a terminal. Control characters are escaped, for rows may come from anybody; the lines of a cell stay
/// within its frame.
pub(super) fn drawn_table(schema: &SchemaRef, batches: &[RecordBatch]) -> Result<String, DataError> {
    let table = pretty_format_batches_with_schema(Arc::clone(schema), batches);
    let table = table.map_err(DataError::arrow("draw a table"))?.to_string();
    let letter = |letter: char| match letter {
        '\n' => "\n".to_owned(),
        letter if letter.is_control() => letter.escape_default().collect(),
        letter => letter.to_string(),
    };
    Ok(table.chars().map(letter).collect())
}

fn write_batches(
    mut batches: mpsc::Receiver<RecordBatch>,
    format: AnswerFormat,
    schema: &SchemaRef,
    output: Box<dyn Write + Send>,
) -> Result<(u64, bool), DataError> {
    let mut encoder = Encoder::new(format, schema, BufWriter::new(output))?;
    let mut rows = 0;
    while let Some(batch) = batches.blocking_recv() {
        rows += batch.num_rows() as u64;
        encoder.write(&batch)?;
    }
    encoder.finish()?;
    Ok((rows, false))
}

/// Writes batches in one of the forms.
pub(super) struct Encoder<W: Write + Send> {
    form: Form<W>,
}

enum Form<W: Write + Send> {
    Csv(Box<arrow::csv::Writer<W>>),
    Json(arrow::json::Writer<W, JsonArray>),
    Lines(arrow::json::Writer<W, LineDelimited>),
    Parquet(Box<ArrowWriter<W>>),
    Arrow(Box<FileWriter<W>>),
}

impl<W: Write + Send> Encoder<W> {
    pub(super) fn new(format: AnswerFormat, schema: &SchemaRef, output: W) -> Result<Self, DataError> {
        let json = || arrow::json::WriterBuilder::new().with_explicit_nulls(true);
        if matches!(format, AnswerFormat::Json | AnswerFormat::JsonLines | AnswerFormat::Parquet) {
            unique_names(schema)?;
        }
        let form = match format {
            AnswerFormat::Table => {
                return Err(DataError::Encoding {
                    action: "encode an answer",
                    reason: "a table is drawn as a whole".to_owned(),
                });
            }
            AnswerFormat::Csv => Form::Csv(Box::new(arrow::csv::WriterBuilder::new().with_header(true).build(output))),
            AnswerFormat::Json => Form::Json(json().build(output)),
            AnswerFormat::JsonLines => Form::Lines(json().build(output)),
            AnswerFormat::Parquet => {
                let properties = WriterProperties::builder()
                    .set_created_by("ropewalk".to_owned())
                    .set_compression(Compression::ZSTD(ZstdLevel::default()))
                    .build();
                let writer = ArrowWriter::try_new(output, Arc::clone(schema), Some(properties));
                Form::Parquet(Box::new(writer.map_err(|error| failed("write Parquet", &error))?))
            }
            AnswerFormat::Arrow => {
                let options = IpcWriteOptions::default();
                let writer = FileWriter::try_new_with_options(output, schema, options);
                Form::Arrow(Box::new(writer.map_err(DataError::arrow("write Arrow"))?))
            }
        };
        let mut encoder = Self { form };
        if let Form::Csv(writer) = &mut encoder.form {
            // The header, also of an answer without rows.
            let header = flattened(&RecordBatch::new_empty(Arc::clone(schema)))?;
            writer.write(&header).map_err(DataError::arrow("write CSV"))?;
        }
        Ok(encoder)
    }

    pub(super) fn write(&mut self, batch: &RecordBatch) -> Result<(), DataError> {
        match &mut self.form {
            Form::Csv(writer) => writer.write(&flattened(batch)?).map_err(DataError::arrow("write CSV")),
            Form::Json(writer) => writer.write(batch).map_err(DataError::arrow("write JSON")),
            Form::Lines(writer) => writer.write(batch).map_err(DataError::arrow("write JSON")),
            Form::Parquet(writer) => {
                writer.write(batch).map_err(|error| failed("write Parquet", &error))?;
                if writer.in_progress_size() > GROUP_BYTES {
                    writer.flush().map_err(|error| failed("write Parquet", &error))?;
                }
                Ok(())
            }
            Form::Arrow(writer) => writer.write(batch).map_err(DataError::arrow("write Arrow")),
        }
    }

    pub(super) fn finish(self) -> Result<(), DataError> {
        match self.form {
            Form::Csv(writer) => writer.into_inner().flush().map_err(DataError::Output),
            Form::Json(mut writer) => {
                writer.finish().map_err(DataError::arrow("write JSON"))?;
                writer.into_inner().flush().map_err(DataError::Output)
            }
            Form::Lines(mut writer) => {
                writer.finish().map_err(DataError::arrow("write JSON"))?;
                writer.into_inner().flush().map_err(DataError::Output)
            }
            Form::Parquet(writer) => {
                let mut output = writer.into_inner().map_err(|error| failed("write Parquet", &error))?;
                output.flush().map_err(DataError::Output)
            }
            Form::Arrow(writer) => {
                let mut output = writer.into_inner().map_err(DataError::arrow("write Arrow"))?;
                output.flush().map_err(DataError::Output)
            }
        }
    }
}

fn failed(action: &'static str, error: &dyn std::error::Error) -> DataError {
    DataError::Encoding { action, reason: error.to_string() }
}
