use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Builder, RecordBatch, StringBuilder, TimestampMillisecondBuilder};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::metadata::SortingColumn;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::schema::types::ColumnPath;
use ropewalk_store::files::{self, AtomicFile};
use ropewalk_store::{Blob, Store};
use ropewalk_types::PredictionId;

use super::Segment;
use crate::PredictionsError;
use crate::record::StoredRecord;

/// Records of a row group at most: what a reader skips or reads.
const GROUP_ROWS: usize = 16_384;
/// Bytes of a row group, about.
const GROUP_BYTES: usize = 8 << 20;
/// Records that are turned into arrays at once.
const BATCH_ROWS: usize = 1024;
/// Text that is turned into arrays at once.
const BATCH_TEXT: usize = 4 << 20;
/// Rows of a page: what is read to find one record.
const PAGE_ROWS: usize = 512;
/// Models and versions that are listed of a segment.
const MODELS: usize = 256;

/// A segment that is a file and no blob yet.
#[derive(Debug)]
pub(crate) struct Draft {
    path: PathBuf,
    first: PredictionId,
    last: PredictionId,
    rows: u64,
    models: Option<Vec<(String, u64)>>,
}

/// Writes records, which come in the order of their ids, each id once, into a Parquet file.
pub(crate) struct SegmentWriter {
    path: PathBuf,
    writer: ArrowWriter<AtomicFile>,
    columns: Columns,
    ends: Option<(PredictionId, PredictionId)>,
    rows: u64,
    models: BTreeSet<(String, u64)>,
}

/// The arrays that are being filled.
#[derive(Default)]
struct Columns {
    prediction: StringBuilder,
    request: StringBuilder,
    model: StringBuilder,
    version: Int64Builder,
    at: TimestampMillisecondBuilder,
    latency: Int64Builder,
    rows: Int64Builder,
    inputs: StringBuilder,
    outputs: StringBuilder,
    client: StringBuilder,
    count: usize,
    text: usize,
}

/// The columns of a segment.
fn schema() -> SchemaRef {
    let text = |name: &str, nullable| Field::new(name, DataType::Utf8, nullable);
    let number = |name: &str| Field::new(name, DataType::Int64, false);
    Arc::new(Schema::new(vec![
        text("prediction", false),
        text("request_id", true),
        text("model", false),
        number("version"),
        Field::new("at", DataType::Timestamp(TimeUnit::Millisecond, None), false),
        number("latency_us"),
        number("rows"),
        text("inputs", true),
        text("outputs", true),
        text("client", true),
    ]))
}

/// Nothing of it may depend on the moment or the machine: the same records make the same bytes.
fn properties() -> Result<WriterProperties, PredictionsError> {
    let column = |name: &str| ColumnPath::new(vec![name.to_owned()]);
    let sorted = SortingColumn { column_idx: 0, descending: false, nulls_first: false };
    let mut builder = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(3)?))
        .set_created_by(concat!("ropewalk ", env!("CARGO_PKG_VERSION")).to_owned())
        .set_max_row_group_row_count(Some(GROUP_ROWS))
        .set_max_row_group_bytes(Some(GROUP_BYTES))
        .set_data_page_row_count_limit(PAGE_ROWS)
        .set_write_batch_size(PAGE_ROWS)
        .set_statistics_enabled(EnabledStatistics::Page)
        .set_sorting_columns(Some(vec![sorted]));
    for name in ["prediction", "request_id", "inputs", "outputs"] {
        builder = builder.set_column_dictionary_enabled(column(name), false);
    }
    for name in ["request_id", "inputs", "outputs"] {
        builder = builder.set_column_statistics_enabled(column(name), EnabledStatistics::None);
    }
    Ok(builder.build())
}

impl SegmentWriter {
    /// Begins the file at `path`.
    pub(crate) fn create(path: &Path) -> Result<Self, PredictionsError> {
        let writer = ArrowWriter::try_new(AtomicFile::create(path)?, schema(), Some(properties()?))?;
        let (path, models) = (path.to_owned(), BTreeSet::new());
        Ok(Self { path, writer, columns: Columns::default(), ends: None, rows: 0, models })
    }

    /// Takes the next record.
    pub(crate) fn push(&mut self, record: &StoredRecord) -> Result<(), PredictionsError> {
        let first = self.ends.map_or(record.prediction, |(first, _)| first);
        self.ends = Some((first, record.prediction));
        self.rows += 1;
        if self.models.len() <= MODELS && !self.models.contains(&(record.model.clone(), record.version)) {
            self.models.insert((record.model.clone(), record.version));
        }
        self.columns.push(record);
        if self.columns.count >= BATCH_ROWS || self.columns.text >= BATCH_TEXT {
            self.writer.write(&self.columns.batch()?)?;
        }
        Ok(())
    }

    /// Ends the file; none, and no file, if it has no record.
    pub(crate) fn finish(mut self) -> Result<Option<Draft>, PredictionsError> {
        let Some((first, last)) = self.ends else { return Ok(None) };
        if self.columns.count > 0 {
            self.writer.write(&self.columns.batch()?)?;
        }
        self.writer.into_inner()?.commit()?;
        let models = (self.models.len() <= MODELS).then(|| self.models.into_iter().collect());
        Ok(Some(Draft { path: self.path, first, last, rows: self.rows, models }))
    }
}

impl Draft {
    /// Makes it a blob, and removes the file.
    pub(crate) async fn store(self, store: &Store) -> Result<Segment, PredictionsError> {
        let Blob { digest, size } = store.put_file(&self.path).await?;
        let Self { path, first, last, rows, models } = self;
        tokio::task::spawn_blocking(move || files::remove_file(&path)).await??;
        Ok(Segment { digest, first, last, rows, bytes: size, models })
    }
}

impl Columns {
    fn push(&mut self, record: &StoredRecord) {
        self.prediction.append_value(record.prediction.to_string());
        self.request.append_option(record.request.as_deref());
        self.model.append_value(&record.model);
        self.version.append_value(record.version.cast_signed());
        self.at.append_value(record.prediction.millis());
        self.latency.append_value(record.latency_us.cast_signed());
        self.rows.append_value(record.rows.cast_signed());
        self.inputs.append_option(record.inputs.as_deref());
        self.outputs.append_option(record.outputs.as_deref());
        self.client.append_option(record.client.as_deref());
        self.count += 1;
        self.text += record.text();
    }

    fn batch(&mut self) -> Result<RecordBatch, PredictionsError> {
        (self.count, self.text) = (0, 0);
        let columns: Vec<ArrayRef> = vec![
            Arc::new(self.prediction.finish()),
            Arc::new(self.request.finish()),
            Arc::new(self.model.finish()),
            Arc::new(self.version.finish()),
            Arc::new(self.at.finish()),
            Arc::new(self.latency.finish()),
            Arc::new(self.rows.finish()),
            Arc::new(self.inputs.finish()),
            Arc::new(self.outputs.finish()),
            Arc::new(self.client.finish()),
        ];
        Ok(RecordBatch::try_new(schema(), columns)?)
    }
}
