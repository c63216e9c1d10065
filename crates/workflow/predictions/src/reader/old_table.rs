use ropewalk_catalog::{CatalogError, Connection, FromRow, FromValue, Row, query};
use ropewalk_types::PredictionId;

use crate::PredictionsError;
use crate::record::StoredRecord;

const LIST: &str = "SELECT id, request_id, model, version, latency_us, rows, inputs, outputs FROM prediction \
                    WHERE id >= $1 AND id <= $2 ORDER BY id LIMIT $3";
/// A reading ends after the row with which its text goes over this.
const TEXT: usize = 16 << 20;

/// Rows of the table in which records lay before there were segments.
pub(crate) struct OldRows {
    pub(crate) rows: Vec<StoredRecord>,
    /// Where more begin; none if there are no more.
    pub(crate) next: Option<u128>,
}

/// The rows from id `low` to `high`, at most `limit`, fewer where they are large.
pub(crate) async fn old_rows(
    connection: &mut Connection,
    low: u128,
    high: u128,
    limit: usize,
) -> Result<OldRows, PredictionsError> {
    let bound = |id: u128| PredictionId::from_bits(id).to_string();
    // One more than is wanted tells whether there are more.
    let query = query(LIST).bind(bound(low)).bind(bound(high)).bind(limit as i64 + 1);
    let mut old: Result<OldRows, PredictionsError> = Ok(OldRows { rows: Vec::new(), next: None });
    let mut text = 0;
    let each = |row: &Row<'_>| {
        if let Ok(filling) = &mut old {
            if filling.rows.len() == limit || text > TEXT {
                filling.next = filling.rows.last().and_then(|row| row.prediction.bits().checked_add(1));
                return Ok(());
            }
            match OldRow::from_row(row)?.0 {
                Ok(record) => {
                    text += record.text();
                    filling.rows.push(record);
                }
                Err(error) => old = Err(error),
            }
        }
        Ok(())
    };
    query.for_each(connection, each).await?;
    old
}

/// A row as it was read, damaged or not.
struct OldRow(Result<StoredRecord, PredictionsError>);

impl FromRow for OldRow {
    fn from_row(row: &Row<'_>) -> Result<Self, CatalogError> {
        Ok(Self(read(row)))
    }
}

fn read(row: &Row<'_>) -> Result<StoredRecord, PredictionsError> {
    let id: String = get(row, "id", "?")?;
    let damaged = |problem: String| PredictionsError::DamagedRecord { prediction: id.clone(), problem };
    Ok(StoredRecord {
        prediction: id.parse().map_err(|problem| damaged(format!("{problem}")))?,
        request: get(row, "request_id", &id)?,
        model: get(row, "model", &id)?,
        version: get::<i64>(row, "version", &id)?.cast_unsigned(),
        latency_us: get::<i64>(row, "latency_us", &id)?.cast_unsigned(),
        rows: get::<i64>(row, "rows", &id)?.cast_unsigned(),
        inputs: Some(get(row, "inputs", &id)?),
        outputs: Some(get(row, "outputs", &id)?),
        client: None,
    })
}

fn get<T>(row: &Row<'_>, column: &str, id: &str) -> Result<T, PredictionsError>
where
    T: for<'r> FromValue<'r>,
{
    row.named(column)
        .map_err(|problem| PredictionsError::DamagedRecord { prediction: id.to_owned(), problem: problem.to_string() })
}
