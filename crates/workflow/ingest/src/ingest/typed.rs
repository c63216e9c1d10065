use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufReader, Read as _, Seek as _};
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow::ipc::reader::{FileReader, StreamReader};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::file::metadata::{ParquetMetaData, RowGroupMetaData};

use super::archive::RATIO_FREE_BYTES;
use super::format::TableFormat;
use super::limits::{COLUMNS, Limits};
use crate::IngestError;
use crate::error::{DAMAGED, LIMIT};

const BATCH_ROWS: usize = 8192;
/// How an Arrow IPC file begins; a stream does not.
const ARROW_FILE: &[u8] = b"ARROW1";

/// A file whose columns have types of their own: Parquet, or Arrow IPC.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TypedFile<'a> {
    pub(crate) name: &'a str,
    pub(crate) format: TableFormat,
    pub(crate) limits: &'a Limits,
}

type Batches = Box<dyn Iterator<Item = Result<RecordBatch, String>>>;

impl TypedFile<'_> {
    /// The schema of the file, from its footer or its beginning.
    pub(crate) fn schema(self, file: File) -> Result<SchemaRef, IngestError> {
        let schema = self.opened(file)?.0;
        if schema.fields().len() > COLUMNS {
            return Err(self.broken(format!("it has {} columns, {COLUMNS} are accepted", schema.fields().len())));
        }
        let mut names = BTreeSet::new();
        match schema.fields().iter().find(|field| !names.insert(field.name())) {
            Some(twice) => Err(self.broken(format!("two of its columns are called `{}`", twice.name()))),
            None => Ok(schema),
        }
    }

    /// Reads the rows in their order.
    pub(crate) fn read(
        self,
        file: File,
        mut take: impl FnMut(&RecordBatch) -> Result<(), IngestError>,
    ) -> Result<(), IngestError> {
        for batch in self.opened(file)?.1 {
            take(&batch.map_err(|error| self.cut_off(&error))?)?;
        }
        Ok(())
    }

    fn broken(self, reason: String) -> IngestError {
        IngestError::table(self.name, reason, "write the file again with other columns")
    }

    fn cut_off(self, error: &dyn std::fmt::Display) -> IngestError {
        IngestError::table(self.name, format!("it is damaged or cut off ({error})"), DAMAGED)
    }

    fn opened(self, file: File) -> Result<(SchemaRef, Batches), IngestError> {
        if self.format == TableFormat::Parquet { self.parquet(file) } else { self.arrow(file) }
    }

    fn parquet(self, file: File) -> Result<(SchemaRef, Batches), IngestError> {
        let builder = ParquetRecordBatchReaderBuilder::try_new(file).map_err(|error| self.cut_off(&error))?;
        self.guard(builder.metadata())?;
        let schema = Arc::clone(builder.schema());
        let reader = builder.with_batch_size(BATCH_ROWS).build().map_err(|error| self.cut_off(&error))?;
        Ok((schema, Box::new(reader.map(|batch| batch.map_err(|error| error.to_string())))))
    }

    /// Pages are unpacked in memory, so what they declare is checked as an entry of an archive is.
    fn guard(self, metadata: &ParquetMetaData) -> Result<(), IngestError> {
        for column in metadata.row_groups().iter().flat_map(RowGroupMetaData::columns) {
            let (size, packed) = (column.uncompressed_size().max(0) as u64, column.compressed_size().max(1) as u64);
            if size > RATIO_FREE_BYTES && size / packed > self.limits.ratio {
                let (name, times, limit) = (column.column_path().string(), size / packed, self.limits.ratio);
                let reason = format!(
                    "column `{name}` unpacks to {times} times its size, {limit} times are accepted (`limits.ratio`)"
                );
                return Err(IngestError::table(self.name, reason, LIMIT));
            }
        }
        Ok(())
    }

    fn arrow(self, mut file: File) -> Result<(SchemaRef, Batches), IngestError> {
        let failed = || IngestError::stream(format!("read `{}`", self.name));
        let mut start = Vec::new();
        (&mut file).take(ARROW_FILE.len() as u64).read_to_end(&mut start).map_err(failed())?;
        file.rewind().map_err(failed())?;
        let file = BufReader::new(file);
        if start == ARROW_FILE {
            let reader = FileReader::try_new(file, None).map_err(|error| self.cut_off(&error))?;
            Ok((reader.schema(), Box::new(reader.map(|batch| batch.map_err(|error| error.to_string())))))
        } else {
            let reader = StreamReader::try_new(file, None).map_err(|error| self.cut_off(&error))?;
            Ok((reader.schema(), Box::new(reader.map(|batch| batch.map_err(|error| error.to_string())))))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use arrow::array::{ArrayRef, Int32Array};
    use arrow::ipc::writer::{FileWriter, StreamWriter};

    use super::*;
    use crate::part::PartWriter;

    fn batch() -> RecordBatch {
        let ids: ArrayRef = Arc::new(Int32Array::from_iter_values(0..1000));
        RecordBatch::try_from_iter([("id", ids)]).unwrap()
    }

    fn parquet() -> Vec<u8> {
        let directory = tempfile::tempdir().unwrap();
        let file = tempfile::NamedTempFile::new_in(directory.path()).unwrap();
        let mut part = PartWriter::new(file.as_file().try_clone().unwrap(), &batch().schema()).unwrap();
        part.write(&batch()).unwrap();
        part.finish().unwrap();
        ropewalk_store::files::read(file.path()).unwrap()
    }

    fn arrow_file() -> Vec<u8> {
        let mut writer = FileWriter::try_new(Vec::new(), &batch().schema()).unwrap();
        writer.write(&batch()).unwrap();
        writer.finish().unwrap();
        writer.into_inner().unwrap()
    }

    fn arrow_stream() -> Vec<u8> {
        let mut writer = StreamWriter::try_new(Vec::new(), &batch().schema()).unwrap();
        writer.write(&batch()).unwrap();
        writer.into_inner().unwrap()
    }

    fn rows(bytes: &[u8], format: TableFormat) -> Result<usize, String> {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        file.rewind().unwrap();
        let limits = Limits::default();
        let typed = TypedFile { name: "t", format, limits: &limits };
        let schema = typed.schema(file.try_clone().unwrap()).map_err(|error| error.to_string())?;
        assert_eq!(schema.field(0).name(), "id");
        file.rewind().unwrap();
        let mut rows = 0;
        let read = typed.read(file, |batch| {
            rows += batch.num_rows();
            Ok(())
        });
        read.map(|()| rows).map_err(|error| error.to_string())
    }

    #[test]
    fn whole_files() {
        assert_eq!(rows(&parquet(), TableFormat::Parquet), Ok(1000));
        assert_eq!(rows(&arrow_file(), TableFormat::Arrow), Ok(1000));
        assert_eq!(rows(&arrow_stream(), TableFormat::Arrow), Ok(1000));
    }

    #[test]
    fn cut_off_files() {
        for (bytes, format) in [
            (parquet(), TableFormat::Parquet),
            (arrow_file(), TableFormat::Arrow),
            (arrow_stream(), TableFormat::Arrow),
        ] {
            for end in [9, bytes.len() / 2] {
                let error = rows(&bytes[..end], format).unwrap_err();
                assert!(error.contains("damaged or cut off"), "{format} {end}: {error}");
            }
        }
    }
}
