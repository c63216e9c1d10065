use std::sync::Arc;

use futures::FutureExt as _;
use ropewalk_catalog::{Catalog, CatalogError, Connection, FromRow, Row, query};
use ropewalk_types::{Digest, PredictionId, Timestamp};

use crate::PredictionsError;

const LIST: &str = "SELECT digest, first_id, last_id, from_at, to_at, rows, bytes, models FROM prediction_segment \
                    ORDER BY first_id, digest";
const INSERT: &str = "INSERT INTO prediction_segment \
                      (digest, first_id, last_id, from_at, to_at, rows, bytes, models, made_at) \
                      VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT (digest) DO NOTHING";

/// A Parquet file of records, sorted by id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Its blob.
    pub digest: Digest,
    /// The lowest id in it.
    pub first: PredictionId,
    /// The highest id in it.
    pub last: PredictionId,
    /// Its records.
    pub rows: u64,
    /// Its size.
    pub bytes: u64,
    /// The models and versions that answered; none where there are too many to be listed.
    pub models: Option<Vec<(String, u64)>>,
}

impl Segment {
    /// The earliest [`at`](crate::PredictionRecord::at) in it.
    pub fn from(&self) -> Timestamp {
        Timestamp(self.first.millis())
    }

    /// The latest [`at`](crate::PredictionRecord::at) in it.
    pub fn to(&self) -> Timestamp {
        Timestamp(self.last.millis())
    }
}

impl FromRow for Segment {
    fn from_row(row: &Row<'_>) -> Result<Self, CatalogError> {
        let models: Option<String> = row.get(7)?;
        Ok(Self {
            digest: parse(row.get(0)?)?,
            first: parse(row.get(1)?)?,
            last: parse(row.get(2)?)?,
            rows: row.get::<i64>(5)?.cast_unsigned(),
            bytes: row.get::<i64>(6)?.cast_unsigned(),
            models: models.and_then(|text| serde_json::from_str(&text).ok()),
        })
    }
}

fn parse<T: std::str::FromStr<Err: std::fmt::Display>>(text: &str) -> Result<T, CatalogError> {
    text.parse().map_err(|error| CatalogError::decode(format!("a row of `prediction_segment`: {error}")))
}

/// All segments, in the order of their first ids.
pub async fn segment_list(catalog: &Catalog) -> Result<Vec<Segment>, PredictionsError> {
    Ok(segments(catalog).await?)
}

/// The blobs of all segments: roots of the store.
pub async fn segment_digests(catalog: &Catalog) -> Result<Vec<Digest>, PredictionsError> {
    Ok(segments(catalog).await?.into_iter().map(|segment| segment.digest).collect())
}

/// Lists a segment no longer whose blob nobody has; says whether it was listed.
pub async fn segment_forget(catalog: &Catalog, digest: &Digest) -> Result<bool, PredictionsError> {
    let digest = digest.to_string();
    let write = catalog.write(move |connection| {
        async move { query("DELETE FROM prediction_segment WHERE digest = $1").bind(digest).execute(connection).await }
            .boxed()
    });
    Ok(write.await? > 0)
}

pub(crate) async fn segments(catalog: &Catalog) -> Result<Vec<Segment>, CatalogError> {
    query(LIST).read_all(catalog).await
}

/// As [`segments`], in a reading that is under way.
pub(crate) async fn segments_in(connection: &mut Connection) -> Result<Vec<Segment>, CatalogError> {
    query(LIST).fetch_all(connection).await
}

/// Lists the segment of a journal, once for each journal.
pub(crate) async fn segment_register(
    catalog: &Catalog,
    journal: String,
    segment: Arc<Segment>,
    at: Timestamp,
) -> Result<(), CatalogError> {
    let write = catalog.write(move |connection| {
        async move {
            let noted =
                query("INSERT INTO prediction_journal (name, digest) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING")
                    .bind(journal)
                    .bind(segment.digest.to_string())
                    .execute(connection)
                    .await?;
            if noted == 0 {
                return Ok(());
            }
            insert(connection, &segment, at).await
        }
        .boxed()
    });
    write.await
}

/// Lists `made`, if there is one, in the place of the segments `gone`; says whether it did: not if one of them has gone
/// meanwhile.
pub(crate) async fn segment_replace(
    catalog: &Catalog,
    gone: Vec<Digest>,
    made: Option<Arc<Segment>>,
    at: Timestamp,
) -> Result<bool, CatalogError> {
    let write = catalog.write(move |connection| {
        async move {
            for digest in gone {
                let removed = query("DELETE FROM prediction_segment WHERE digest = $1")
                    .bind(digest.to_string())
                    .execute(connection)
                    .await?;
                if removed == 0 {
                    // An error takes back what was removed before.
                    return Err(CatalogError::RowAbsent);
                }
            }
            if let Some(made) = made {
                insert(connection, &made, at).await?;
            }
            Ok(())
        }
        .boxed()
    });
    match write.await {
        Err(CatalogError::RowAbsent) => Ok(false),
        done => done.map(|()| true),
    }
}

pub(crate) async fn insert(connection: &mut Connection, made: &Segment, at: Timestamp) -> Result<(), CatalogError> {
    let statement = query(INSERT)
        .bind(made.digest.to_string())
        .bind(made.first.to_string())
        .bind(made.last.to_string())
        .bind(made.first.millis())
        .bind(made.last.millis())
        .bind(made.rows.cast_signed())
        .bind(made.bytes.cast_signed())
        .bind(made.models.as_ref().and_then(|models| serde_json::to_string(models).ok()))
        .bind(at.millis());
    statement.execute(connection).await.map(|_| ())
}
