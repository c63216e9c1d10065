use std::ops::Range;

use bytes::Bytes;
use futures::TryStreamExt as _;
use parquet::arrow::parquet_to_arrow_schema;
use parquet::errors::ParquetError;
use parquet::file::metadata::{FooterTail, ParquetMetaDataReader};
use ropewalk_store::Store;
use ropewalk_types::Digest;

use crate::blocking::blocking;
use crate::version::{parts, report_within};
use crate::{Column, IngestError};

/// Length and mark at the end of a Parquet file.
const TAIL: u64 = 8;
/// The longest footer that is read, in bytes.
const LONGEST_FOOTER: u64 = 256 << 20;
/// The longest report that is read, in bytes.
const LONGEST_REPORT: u64 = 64 << 20;

/// What the bytes of a dataset version are, whatever was said about them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inspected {
    /// Rows of all parts.
    pub rows: u64,
    /// Columns of every part, in order.
    pub columns: Vec<Column>,
    /// Source rows that are not in the table.
    pub quarantined: u64,
}

/// Looks into every part of a version that another machine made; reads the ends of the files, not their rows.
///
/// Errors: [`IngestError::Damaged`] where something is no version, where parts have other columns than the first, and
/// where the report counts other rows or names other columns than the parts hold.
pub async fn inspect(store: &Store, tree: &Digest) -> Result<Inspected, IngestError> {
    let damaged = |reason: String| IngestError::Damaged { what: "dataset", digest: *tree, reason };
    let report = report_within(store, tree, LONGEST_REPORT).await?;
    let mut rows = 0_u64;
    let mut columns: Option<Vec<Column>> = None;
    for (number, (digest, size)) in parts(store, tree).await?.into_iter().enumerate() {
        let footer =
            footer(store, &digest, size).await?.map_err(|reason| damaged(format!("part {number}: {reason}")))?;
        let read = blocking(move || Ok::<_, IngestError>(read_footer(&footer))).await?;
        let (part_rows, part_columns) = read.map_err(|error| damaged(format!("part {number}: {error}")))?;
        rows = rows.saturating_add(part_rows);
        match &columns {
            None => columns = Some(part_columns),
            Some(first) if *first == part_columns => {}
            Some(_) => return Err(damaged(format!("part {number} has other columns than the first one"))),
        }
    }
    if rows != report.rows {
        return Err(damaged(format!("its report says {} rows, its parts hold {rows}", report.rows)));
    }
    let columns = columns.unwrap_or_default();
    let named = report.columns.iter().map(|column| (&column.name, &column.data_type));
    if !named.eq(columns.iter().map(|column| (&column.name, &column.data_type))) {
        return Err(damaged("its report names other columns than its parts have".to_owned()));
    }
    Ok(Inspected { rows, columns, quarantined: report.quarantined })
}

/// The description at the end of a Parquet file; the inner error is a file that cannot be one.
async fn footer(store: &Store, digest: &Digest, size: u64) -> Result<Result<Bytes, String>, IngestError> {
    let Some(start) = size.checked_sub(TAIL) else { return Ok(Err("it is too short for Parquet".to_owned())) };
    let tail = range(store, digest, start..size).await?;
    let Ok(tail) = <[u8; TAIL as usize]>::try_from(tail.as_ref()) else {
        return Ok(Err("it is shorter than the tree says".to_owned()));
    };
    let length = match FooterTail::try_new(&tail) {
        Ok(tail) => tail.metadata_length() as u64,
        Err(error) => return Ok(Err(error.to_string())),
    };
    if length > LONGEST_FOOTER {
        return Ok(Err(format!("its description has {length} bytes, {LONGEST_FOOTER} are accepted")));
    }
    let Some(begin) = start.checked_sub(length) else {
        return Ok(Err("its description is longer than the file".to_owned()));
    };
    range(store, digest, begin..start).await.map(Ok)
}

async fn range(store: &Store, digest: &Digest, range: Range<u64>) -> Result<Bytes, IngestError> {
    let pieces: Vec<Bytes> = store.blob_stream(digest, range).try_collect().await?;
    Ok(pieces.concat().into())
}

fn read_footer(footer: &[u8]) -> Result<(u64, Vec<Column>), ParquetError> {
    let metadata = ParquetMetaDataReader::decode_metadata(footer)?;
    let file = metadata.file_metadata();
    let schema = parquet_to_arrow_schema(file.schema_descr(), file.key_value_metadata())?;
    // What a reader gives are the rows of the groups, not what the file says of all of them.
    let groups = metadata.row_groups().iter().map(|group| u64::try_from(group.num_rows()).unwrap_or(0));
    let rows = groups.fold(0, u64::saturating_add);
    Ok((rows, schema.fields().iter().map(|field| Column::of(field)).collect()))
}

#[cfg(test)]
mod tests;
