use std::fmt::Display;
use std::fs::File;
use std::io::{BufReader, Read as _, Seek as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::SystemTime;

use arrow::array::RecordBatch;
use arrow::datatypes::{Schema, SchemaRef};
use arrow::error::ArrowError;
use arrow::{csv, ipc, json};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use ropewalk_store::files;
use ropewalk_types::Digest;

use crate::BatchError;

/// Bytes that are read at once.
const BUFFER: usize = 1 << 20;

/// How a table lies in a file, as its name says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TableFormat {
    /// Apache Parquet.
    Parquet,
    /// Separated values with a header (RFC 4180), by this byte.
    Separated(u8),
    /// One JSON object a line.
    JsonLines,
    /// Arrow IPC, file (Feather V2).
    ArrowFile,
    /// Arrow IPC, stream.
    ArrowStream,
}

impl TableFormat {
    /// The format that a file of this name has; none if it is no table.
    pub fn of(path: &Path) -> Option<Self> {
        let extension = path.extension()?.to_str()?.to_ascii_lowercase();
        match extension.as_str() {
            "parquet" | "pq" => Some(Self::Parquet),
            "csv" => Some(Self::Separated(b',')),
            "tsv" => Some(Self::Separated(b'\t')),
            "ndjson" | "jsonl" => Some(Self::JsonLines),
            "arrow" | "feather" | "ipc" => Some(Self::ArrowFile),
            "arrows" => Some(Self::ArrowStream),
            _ => None,
        }
    }
}

/// A table in a file of this machine.
#[derive(Debug)]
pub struct TableFile {
    path: PathBuf,
    format: TableFormat,
    stamp: (u64, Option<SystemTime>),
    schema: OnceLock<SchemaRef>,
}

type Batches = Box<dyn Iterator<Item = Result<RecordBatch, BatchError>> + Send>;

impl TableFile {
    /// Looks at a file.
    ///
    /// # Errors
    /// It is not there, or its name has no ending of a table.
    pub fn open(path: &Path) -> Result<Self, BatchError> {
        let unknown = || BatchError::Format { path: path.to_owned(), verb: "read" };
        let format = TableFormat::of(path).ok_or_else(unknown)?;
        Self::of_format(path, format)
    }

    /// Looks at a file whose name does not say what it is.
    ///
    /// # Errors
    /// It is not there.
    pub fn of_format(path: &Path, format: TableFormat) -> Result<Self, BatchError> {
        Ok(Self { path: path.to_owned(), format, stamp: stamp(path)?, schema: OnceLock::new() })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The digest of its bytes.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn digest(&self) -> Result<Digest, BatchError> {
        let mut file = files::open(&self.path)?;
        let (mut hasher, mut buffer) = (blake3::Hasher::new(), vec![0; BUFFER]);
        loop {
            let read = file.read(&mut buffer).map_err(|error| self.wrong("read", &error))?;
            let Some(bytes) = buffer.get(..read).filter(|bytes| !bytes.is_empty()) else { break };
            hasher.update(bytes);
        }
        Ok(hasher.finalize().into())
    }

    /// Its columns. Those of texts are found out by reading all of the file.
    ///
    /// # Errors
    /// It cannot be read, or is damaged.
    pub fn schema(&self) -> Result<SchemaRef, BatchError> {
        if let Some(schema) = self.schema.get() {
            return Ok(Arc::clone(schema));
        }
        let file = files::open(&self.path)?;
        let wrong = |error: ArrowError| self.wrong("read", &error);
        let schema = match self.format {
            TableFormat::Parquet => {
                let builder = ParquetRecordBatchReaderBuilder::try_new(file);
                Arc::clone(builder.map_err(|error| self.wrong("read", &error))?.schema())
            }
            TableFormat::Separated(delimiter) => {
                let format = csv::reader::Format::default().with_header(true).with_delimiter(delimiter);
                Arc::new(format.infer_schema(BufReader::with_capacity(BUFFER, file), None).map_err(wrong)?.0)
            }
            TableFormat::JsonLines => {
                let text = BufReader::with_capacity(BUFFER, file);
                Arc::new(json::reader::infer_json_schema(text, None).map_err(wrong)?.0)
            }
            TableFormat::ArrowFile => ipc::reader::FileReader::try_new(file, None).map_err(wrong)?.schema(),
            TableFormat::ArrowStream => ipc::reader::StreamReader::try_new(file, None).map_err(wrong)?.schema(),
        };
        // What a file says beside its columns, such as the index of pandas, is not true of what is made of it.
        let plain = Arc::new(Schema::new(schema.fields().clone()));
        Ok(Arc::clone(self.schema.get_or_init(|| plain)))
    }

    /// Its rows, in batches of at most `rows`.
    ///
    /// # Errors
    /// It cannot be read, or is damaged.
    pub fn batches(&self, rows: usize) -> Result<Batches, BatchError> {
        let (rows, schema) = (rows.max(1), self.schema()?);
        let mut file = files::open(&self.path)?;
        let wrong = |error: ArrowError| self.wrong("read", &error);
        file.rewind().map_err(|error| self.wrong("read", &error))?;
        Ok(match self.format {
            TableFormat::Parquet => {
                let builder = ParquetRecordBatchReaderBuilder::try_new(file);
                let reader = builder.and_then(|builder| builder.with_batch_size(rows).build());
                self.plain(reader.map_err(|error| self.wrong("read", &error))?, schema)
            }
            TableFormat::Separated(delimiter) => {
                let builder = csv::ReaderBuilder::new(Arc::clone(&schema)).with_header(true).with_delimiter(delimiter);
                self.plain(builder.with_batch_size(rows).build(file).map_err(wrong)?, schema)
            }
            TableFormat::JsonLines => {
                let builder = json::ReaderBuilder::new(Arc::clone(&schema)).with_batch_size(rows);
                self.plain(builder.build(BufReader::with_capacity(BUFFER, file)).map_err(wrong)?, schema)
            }
            TableFormat::ArrowFile => {
                let reader = ipc::reader::FileReader::try_new_buffered(file, None).map_err(wrong)?;
                self.plain(cut(reader, rows), schema)
            }
            TableFormat::ArrowStream => {
                let reader = ipc::reader::StreamReader::try_new_buffered(file, None).map_err(wrong)?;
                self.plain(cut(reader, rows), schema)
            }
        })
    }

    /// Refuses a file that is not what it was when it was looked at.
    pub(super) fn unchanged(&self) -> Result<(), BatchError> {
        if stamp(&self.path)? == self.stamp { Ok(()) } else { Err(BatchError::Changed(self.path.clone())) }
    }

    fn plain(
        &self,
        batches: impl Iterator<Item = Result<RecordBatch, ArrowError>> + Send + 'static,
        schema: SchemaRef,
    ) -> Batches {
        let path = self.path.clone();
        Box::new(batches.map(move |batch| {
            let plain = batch.and_then(|batch| batch.with_schema(Arc::clone(&schema)));
            plain.map_err(|error| wrong("read", &path, &error))
        }))
    }

    fn wrong(&self, action: &'static str, error: &dyn Display) -> BatchError {
        wrong(action, &self.path, error)
    }
}

/// The rows of all tables, one after another; each is opened when its turn has come.
pub fn batches(tables: &[TableFile], rows: usize) -> impl Iterator<Item = Result<RecordBatch, BatchError>> + Send + '_ {
    tables.iter().flat_map(move |table| -> Batches {
        match table.batches(rows) {
            Ok(batches) => batches,
            Err(error) => Box::new(std::iter::once(Err(error))),
        }
    })
}

/// Batches of any length in pieces of at most `rows`.
fn cut(
    batches: impl Iterator<Item = Result<RecordBatch, ArrowError>> + Send + 'static,
    rows: usize,
) -> impl Iterator<Item = Result<RecordBatch, ArrowError>> + Send + 'static {
    batches.flat_map(move |batch| {
        let (pieces, error) = match batch {
            Ok(batch) => {
                let begins = (0..batch.num_rows()).step_by(rows);
                (begins.map(|begin| batch.slice(begin, rows.min(batch.num_rows() - begin))).collect(), None)
            }
            Err(error) => (Vec::new(), Some(Err(error))),
        };
        pieces.into_iter().map(Ok).chain(error)
    })
}

fn stamp(path: &Path) -> Result<(u64, Option<SystemTime>), BatchError> {
    let file: File = files::open(path)?;
    let metadata = file.metadata().map_err(|error| wrong("look at", path, &error))?;
    Ok((metadata.len(), metadata.modified().ok()))
}

pub(super) fn wrong(action: &'static str, path: &Path, error: &dyn Display) -> BatchError {
    BatchError::Table { action, path: path.to_owned(), reason: error.to_string() }
}
