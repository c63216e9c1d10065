use std::path::{Path, PathBuf};

use arrow::array::RecordBatch;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;
use parquet::file::reader::{FileReader as _, SerializedFileReader};
use ropewalk_store::files::{self, AtomicFile};

use super::read::wrong;
use crate::BatchError;

/// Rows of a row group: one unit of reading for queries, and what is in memory while it is written.
const ROW_GROUP_ROWS: usize = 128 << 10;

/// What a file says of itself.
type Facts = [(&'static str, String); 3];

/// A Parquet file that appears when it is whole; its columns are those of the first batch.
pub(super) struct Output<'a> {
    path: PathBuf,
    facts: &'a Facts,
    writer: Option<ArrowWriter<AtomicFile>>,
}

impl<'a> Output<'a> {
    pub(super) fn new(path: &Path, facts: &'a Facts) -> Self {
        Self { path: path.to_owned(), facts, writer: None }
    }

    pub(super) fn write(&mut self, batch: &RecordBatch) -> Result<(), BatchError> {
        let mut writer = match self.writer.take() {
            Some(writer) => writer,
            None => self.begin(batch)?,
        };
        writer.write(batch).map_err(|error| wrong("write", &self.path, &error))?;
        self.writer = Some(writer);
        Ok(())
    }

    fn begin(&self, batch: &RecordBatch) -> Result<ArrowWriter<AtomicFile>, BatchError> {
        let facts = self.facts.iter().map(|(key, value)| KeyValue::new((*key).to_owned(), value.clone()));
        let properties = WriterProperties::builder()
            .set_created_by("ropewalk".to_owned())
            .set_compression(Compression::ZSTD(ZstdLevel::default()))
            .set_max_row_group_row_count(Some(ROW_GROUP_ROWS))
            .set_key_value_metadata(Some(facts.collect()))
            .build();
        let file = AtomicFile::create(&self.path)?;
        ArrowWriter::try_new(file, batch.schema(), Some(properties)).map_err(|error| wrong("write", &self.path, &error))
    }

    /// Gives the file its name; its bytes.
    pub(super) fn commit(self) -> Result<u64, BatchError> {
        if let Some(writer) = self.writer {
            writer.into_inner().map_err(|error| wrong("write", &self.path, &error))?.commit()?;
        }
        Ok(files::size(&self.path)?)
    }
}

/// The rows and bytes of a file that is there, if it says these facts of itself.
pub(super) fn known(path: &Path, facts: &Facts) -> Result<Option<(u64, u64)>, BatchError> {
    if files::kind(path)?.is_none() {
        return Ok(None);
    }
    // What is no Parquet file is none of ours, and is made anew.
    let Ok(reader) = SerializedFileReader::new(files::open(path)?) else { return Ok(None) };
    let metadata = reader.metadata().file_metadata();
    let said = metadata.key_value_metadata().map(Vec::as_slice).unwrap_or_default();
    let says =
        |(key, value): &(&str, String)| said.iter().any(|fact| fact.key == *key && fact.value.as_ref() == Some(value));
    let rows = u64::try_from(metadata.num_rows()).unwrap_or_default();
    Ok(if facts.iter().all(says) { Some((rows, files::size(path)?)) } else { None })
}
