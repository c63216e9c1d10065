use ropewalk_catalog::{Row, query};
use ropewalk_types::{ModelName, PredictionId, Timestamp};

use super::record::RecordRow;
use super::{PredictionLog, PredictionRecord};
use crate::ServingError;

/// Records of one page at most.
const PAGE_RECORDS: usize = 1000;
/// A page ends after the record with which its text goes over this.
const PAGE_TEXT: usize = 16 << 20;

const GET: &str = "SELECT id, request_id, model, version, at, latency_us, rows, inputs, outputs \
                   FROM prediction WHERE id = $1";
const LIST: &str = "SELECT id, request_id, model, version, at, latency_us, rows, inputs, outputs \
                    FROM prediction WHERE id > $1 AND id < $2 ORDER BY id LIMIT $3";
const LIST_MODEL: &str = "SELECT id, request_id, model, version, at, latency_us, rows, inputs, outputs \
                          FROM prediction WHERE id > $1 AND id < $2 AND model = $4 ORDER BY id LIMIT $3";
const LIST_VERSION: &str = "SELECT id, request_id, model, version, at, latency_us, rows, inputs, outputs \
                            FROM prediction WHERE id > $1 AND id < $2 AND model = $4 AND version = $5 \
                            ORDER BY id LIMIT $3";

/// Which predictions are wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PredictionFilter {
    /// Only those of this model, and of this version of it if one is given.
    pub model: Option<(ModelName, Option<u64>)>,
    /// Only those that came in at this moment or later.
    pub from: Option<Timestamp>,
    /// Only those that came in before this moment.
    pub to: Option<Timestamp>,
}

/// Some of the predictions that were asked for, in the order of their ids, which is the order of time.
#[derive(Clone, Debug, PartialEq)]
pub struct PredictionPage {
    /// The records.
    pub records: Vec<PredictionRecord>,
    /// Give this to get the next page; none after the last one.
    pub next: Option<PredictionId>,
}

impl PredictionLog {
    /// One record. It is there a few milliseconds after the answer, or after [`PredictionLog::flush`].
    pub async fn prediction_get(&self, prediction: PredictionId) -> Result<PredictionRecord, ServingError> {
        let row: Option<RecordRow> = query(GET).bind(prediction.to_string()).read_optional(self.catalog()).await?;
        row.ok_or(ServingError::UnknownPrediction(prediction))?.0
    }

    /// A page of the records that `filter` wants, after the prediction `after`: at most `limit` and at most 1000
    /// records, fewer where they are large.
    ///
    /// Ids are given when a request comes in, so at the end that is still being written a record can appear before
    /// one that was read already; up to a moment that has passed, the pages are complete.
    pub async fn prediction_list(
        &self,
        filter: &PredictionFilter,
        after: Option<PredictionId>,
        limit: usize,
    ) -> Result<PredictionPage, ServingError> {
        let limit = limit.clamp(1, PAGE_RECORDS);
        let (low, high) = bounds(filter, after);
        let (model, version) = filter.model.clone().map_or((None, None), |(model, version)| (Some(model), version));
        let text = match (&model, version) {
            (None, _) => LIST,
            (Some(_), None) => LIST_MODEL,
            (Some(_), Some(_)) => LIST_VERSION,
        };
        // One more than is wanted tells whether there is a next page.
        let mut query = query(text).bind(low).bind(high).bind(limit as i64 + 1);
        if let Some(model) = &model {
            query = query.bind(model.as_str());
        }
        if let Some(version) = version {
            query = query.bind(i64::try_from(version).unwrap_or(i64::MAX));
        }
        let read = self.catalog().read(move |connection| {
            Box::pin(async move {
                let mut page: Result<PredictionPage, ServingError> =
                    Ok(PredictionPage { records: Vec::new(), next: None });
                let mut text = 0;
                let each = |row: &Row<'_>| {
                    let Ok(filling) = &mut page else { return Ok(()) };
                    if filling.next.is_some() {
                        return Ok(());
                    }
                    if filling.records.len() == limit || text > PAGE_TEXT {
                        filling.next = filling.records.last().map(|record| record.prediction);
                        return Ok(());
                    }
                    text += text_length(row);
                    match PredictionRecord::from_row(row) {
                        Ok(record) => filling.records.push(record),
                        Err(error) => page = Err(error),
                    }
                    Ok(())
                };
                query.for_each(connection, each).await?;
                page
            })
        });
        read.await
    }
}

fn text_length(row: &Row<'_>) -> usize {
    ["inputs", "outputs"].into_iter().map(|column| row.named::<&str>(column).map_or(0, str::len)).sum()
}

/// Exclusive bounds of the ids. An id begins with its moment in 12 hexadecimal digits, so these digits alone sort
/// before every id of that moment.
fn bounds(filter: &PredictionFilter, after: Option<PredictionId>) -> (String, String) {
    let moment = |at: Timestamp| format!("{:012x}", at.millis().clamp(0, (1 << 48) - 1));
    let from = filter.from.map(moment).unwrap_or_default();
    let after = after.map(|id| id.to_string()).unwrap_or_default();
    (from.max(after), filter.to.map_or_else(|| "g".to_owned(), moment))
}

#[cfg(test)]
mod tests {
    use ropewalk_types::ManualAmbient;

    use super::*;

    #[test]
    fn a_moment_bounds_the_ids_of_its_millisecond() {
        let ambient = ManualAmbient::starting_at(Timestamp(1_000));
        let (before, inside, after) =
            (PredictionId::new(&ambient), PredictionId::new(&ambient), PredictionId::new(&ambient));
        let filter = PredictionFilter { from: Some(Timestamp(1_001)), to: Some(Timestamp(1_002)), model: None };
        let (low, high) = bounds(&filter, None);
        assert!(before.to_string() < low && inside.to_string() > low);
        assert!(inside.to_string() < high && after.to_string() > high);
        let (low, high) = bounds(&PredictionFilter::default(), Some(inside));
        assert_eq!(low, inside.to_string());
        assert!(after.to_string() < high);
    }
}
