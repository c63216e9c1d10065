use futures::FutureExt as _;
use ropewalk_catalog::{CatalogError, query};
use ropewalk_types::Timestamp;

use super::apart;
use crate::journal::WriterName;
use crate::reader::{OldRows, old_rows};
use crate::segment::{SegmentWriter, insert};
use crate::{PredictionHome, PredictionsError};

/// Rows that are read at once, so that memory is bounded.
const ROWS: usize = 1000;
/// Rows of a segment.
const SEGMENT_ROWS: u64 = 100_000;

/// Moves the records of earlier versions from their table into segments; says how many.
///
/// The rows of a segment go in the transaction that lists it.
pub(super) async fn old_table_move(
    home: &PredictionHome,
    sealer: WriterName,
    at: Timestamp,
) -> Result<u64, PredictionsError> {
    let mut moved = 0;
    while let Some(count) = segment_move(home, sealer, at).await? {
        moved += count;
    }
    Ok(moved)
}

/// Moves the first rows; none where there are none.
async fn segment_move(
    home: &PredictionHome,
    sealer: WriterName,
    at: Timestamp,
) -> Result<Option<u64>, PredictionsError> {
    let mut low = 0;
    let mut writer: Option<SegmentWriter> = None;
    let mut count = 0;
    loop {
        let OldRows { rows, next } = rows(home, low).await?;
        if rows.is_empty() {
            break;
        }
        count += rows.len() as u64;
        let path = sealer.scratch(&home.folder).join("old-table");
        let write = move || {
            let mut writer = match writer {
                Some(writer) => writer,
                None => SegmentWriter::create(&path)?,
            };
            rows.iter().try_for_each(|row| writer.push(row))?;
            Ok::<_, PredictionsError>(writer)
        };
        writer = Some(apart(write).await?);
        match next {
            Some(next) if count < SEGMENT_ROWS => low = next,
            _ => break,
        }
    }
    let Some(writer) = writer else { return Ok(None) };
    let Some(draft) = apart(move || writer.finish()).await? else { return Ok(None) };
    let segment = draft.store(&home.store).await?;
    let list = home.catalog.write(move |connection| {
        async move {
            let gone = query("DELETE FROM prediction WHERE id >= $1 AND id <= $2")
                .bind(segment.first.to_string())
                .bind(segment.last.to_string())
                .execute(connection)
                .await?;
            if gone != segment.rows {
                // Another process moves them, or an earlier version still writes: an error takes back what was done here.
                return Err(CatalogError::RowAbsent);
            }
            insert(connection, &segment, at).await
        }
        .boxed()
    });
    match list.await {
        Err(CatalogError::RowAbsent) => Ok(Some(0)),
        done => done.map(|()| Some(count)).map_err(PredictionsError::from),
    }
}

async fn rows(home: &PredictionHome, low: u128) -> Result<OldRows, PredictionsError> {
    home.catalog.read(move |connection| old_rows(connection, low, u128::MAX, ROWS).boxed()).await
}
