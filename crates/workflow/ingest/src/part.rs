use std::fs::File;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::{EnabledStatistics, WriterProperties};

use crate::IngestError;

/// Rows of a row group: one unit of reading for queries.
const ROW_GROUP_ROWS: usize = 128 << 10;

/// Writes a Parquet file whose bytes depend on nothing but the batches: no time, no version of a library.
#[derive(Debug)]
pub struct PartWriter {
    writer: ArrowWriter<File>,
}

impl PartWriter {
    /// Begins the file.
    pub fn new(file: File, schema: &SchemaRef) -> Result<Self, IngestError> {
        let properties = WriterProperties::builder()
            .set_created_by("ropewalk".to_owned())
            .set_compression(Compression::ZSTD(ZstdLevel::default()))
            .set_statistics_enabled(EnabledStatistics::Page)
            .set_max_row_group_row_count(Some(ROW_GROUP_ROWS))
            .build();
        let writer = ArrowWriter::try_new(file, SchemaRef::clone(schema), Some(properties));
        Ok(Self { writer: writer.map_err(IngestError::parquet("begin a Parquet file"))? })
    }

    /// Adds rows.
    pub fn write(&mut self, batch: &RecordBatch) -> Result<(), IngestError> {
        self.writer.write(batch).map_err(IngestError::parquet("write a Parquet file"))
    }

    /// Writes the footer.
    pub fn finish(self) -> Result<(), IngestError> {
        self.writer.close().map(|_| ()).map_err(IngestError::parquet("end a Parquet file"))
    }
}
