use std::io::Cursor;
use std::path::PathBuf;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::compute::cast;
use arrow::csv::reader::Format;
use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use ropewalk_ingest::{Column, ColumnReport, PartWriter, REPORT_FORMAT, Scratch, TableReport, publish};
use ropewalk_store::Store;
use ropewalk_types::Digest;

use crate::read_table;

/// A project folder with a store, both gone when dropped.
pub(crate) struct Project {
    directory: tempfile::TempDir,
    pub(crate) store: Store,
}

impl Project {
    pub(crate) async fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open("memory:").await.unwrap().with_cache(directory.path().join("cache"));
        Self { directory, store }
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.directory.path().to_owned()
    }

    pub(crate) fn scratch(&self) -> PathBuf {
        self.directory.path().join("scratch")
    }

    /// A dataset from CSV text.
    pub(crate) async fn csv(&self, text: &str) -> Digest {
        self.table(&[csv(text)]).await
    }

    /// A dataset of batches, each a part of its own.
    pub(crate) async fn table(&self, batches: &[RecordBatch]) -> Digest {
        let scratch = Scratch::new(&self.scratch()).unwrap();
        let schema = batches[0].schema();
        let mut blobs = Vec::new();
        for batch in batches {
            let file = scratch.file().unwrap();
            let mut writer = PartWriter::new(file.as_file().try_clone().unwrap(), &schema).unwrap();
            writer.write(batch).unwrap();
            writer.finish().unwrap();
            blobs.push(self.store.put_file(file.path()).await.unwrap());
        }
        let columns = schema.fields().iter().map(|field| {
            let Column { name, data_type } = Column::of(field);
            ColumnReport { name, data_type, nulls: 0, misfits: 0, notes: Vec::new() }
        });
        let report = TableReport {
            format: REPORT_FORMAT,
            rows: batches.iter().map(|batch| batch.num_rows() as u64).sum(),
            columns: columns.collect(),
            files: Vec::new(),
            skipped: Vec::new(),
            quarantined: 0,
            empty_rows: 0,
            error_cells: 0,
            notes: Vec::new(),
            kept_files: None,
            origin: None,
        };
        publish(&self.store, &blobs, None, &report).await.unwrap().0
    }

    /// The rows of a dataset version as texts, nulls as empty ones.
    pub(crate) async fn rows(&self, tree: &Digest) -> Vec<String> {
        texts(&read_table(&self.store, tree, None, None).await.unwrap())
    }
}

/// The table that a CSV text holds; times in microseconds, as datasets have them.
pub(crate) fn csv(text: &str) -> RecordBatch {
    let format = Format::default().with_header(true);
    let (schema, _) = format.infer_schema(Cursor::new(text), None).unwrap();
    let reader = arrow::csv::ReaderBuilder::new(Arc::new(schema)).with_format(format).with_batch_size(1 << 20);
    let batch = reader.build(Cursor::new(text)).unwrap().next().unwrap().unwrap();
    let plain = |field: &Field| match field.data_type() {
        DataType::Timestamp(..) => DataType::Timestamp(TimeUnit::Microsecond, None),
        other => other.clone(),
    };
    let fields: Vec<_> =
        batch.schema().fields().iter().map(|field| Field::new(field.name(), plain(field), true)).collect();
    let columns = batch.columns().iter().zip(&fields).map(|(array, field)| cast(array, field.data_type()).unwrap());
    RecordBatch::try_new(Arc::new(Schema::new(fields.clone())), columns.collect()).unwrap()
}

/// The rows of batches, cells joined by bars.
pub(crate) fn texts(batches: &[RecordBatch]) -> Vec<String> {
    let options = FormatOptions::default();
    let mut rows = Vec::new();
    for batch in batches {
        let columns: Vec<_> =
            batch.columns().iter().map(|array| ArrayFormatter::try_new(array, &options).unwrap()).collect();
        for row in 0..batch.num_rows() {
            let cells: Vec<_> = columns.iter().map(|column| column.value(row).to_string()).collect();
            rows.push(cells.join("|"));
        }
    }
    rows
}
