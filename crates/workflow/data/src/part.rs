use std::fs::File;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::{EnabledStatistics, WriterProperties};

use crate::DataError;

/// Rows of a row group: one unit of reading for queries.
const ROW_GROUP_ROWS: usize = 128 << 10;

/// Writes a Parquet file whose bytes depend on nothing but the batches: no time, no version of a library.
pub(crate) struct PartWriter {
    writer: ArrowWriter<File>,
}

impl PartWriter {
    pub(crate) fn new(file: File, schema: &SchemaRef) -> Result<Self, DataError> {
        let properties = WriterProperties::builder()
            .set_created_by("ropewalk".to_owned())
            .set_compression(Compression::ZSTD(ZstdLevel::default()))
            .set_statistics_enabled(EnabledStatistics::Page)
            .set_max_row_group_row_count(Some(ROW_GROUP_ROWS))
            .build();
        let writer = ArrowWriter::try_new(file, SchemaRef::clone(schema), Some(properties));
        Ok(Self { writer: writer.map_err(DataError::parquet("begin a Parquet file"))? })
    }

    pub(crate) fn write(&mut self, batch: &RecordBatch) -> Result<(), DataError> {
        self.writer.write(batch).map_err(DataError::parquet("write a Parquet file"))
    }

    pub(crate) fn finish(self) -> Result<(), DataError> {
        self.writer.close().map(|_| ()).map_err(DataError::parquet("end a Parquet file"))
    }
}
