use ropewalk_catalog::{Connection, query};
use ropewalk_types::{ExperimentId, Timestamp};

use super::read::{Places, texts};
use crate::{ArtifactHome, ArtifactRoot, Tracking, TrackingError, transaction};

/// Traces that one transaction deletes at most, so that other writers need not wait long.
const STEP: usize = 500;

/// Which traces of an experiment to delete.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TraceSelection {
    /// Those with one of these ids.
    Ids(Vec<String>),
    /// Those that began at `at` or before, the oldest first, at most `most`.
    Until {
        /// The time.
        at: Timestamp,
        /// How many at most.
        most: Option<usize>,
    },
}

impl Tracking {
    /// Deletes traces of an experiment with their artifacts; says how many there were.
    ///
    /// Many are deleted in several transactions, some hundreds in each.
    pub async fn trace_delete(
        &self,
        experiment: ExperimentId,
        selection: TraceSelection,
    ) -> Result<u64, TrackingError> {
        let mut deleted = 0;
        match selection {
            TraceSelection::Ids(mut ids) => {
                ids.sort_unstable();
                ids.dedup();
                for part in ids.chunks(STEP) {
                    let part = part.to_vec();
                    deleted += self
                        .catalog
                        .write(move |connection| Box::pin(async move { by_ids(connection, experiment, &part).await }))
                        .await?;
                }
            }
            TraceSelection::Until { at, most } => {
                let most = most.map_or(u64::MAX, |most| most as u64);
                while deleted < most {
                    let step = (STEP as u64).min(most - deleted);
                    let count = self
                        .catalog
                        .write(move |connection| Box::pin(async move { until(connection, experiment, at, step).await }))
                        .await?;
                    deleted += count;
                    if count < step {
                        break;
                    }
                }
            }
        }
        Ok(deleted)
    }
}

async fn by_ids(connection: &mut Connection, experiment: ExperimentId, ids: &[String]) -> Result<u64, TrackingError> {
    let places = Places::of(ids.len());
    let select = format!("SELECT number, id FROM trace WHERE experiment_id = $1 AND id IN ({})", places.text(2));
    let found = places.bind(query(select).bind(experiment.0), texts(ids)).fetch_all(connection).await?;
    remove(connection, experiment, found).await
}

async fn until(
    connection: &mut Connection,
    experiment: ExperimentId,
    at: Timestamp,
    most: u64,
) -> Result<u64, TrackingError> {
    let select = "SELECT number, id FROM trace WHERE experiment_id = $1 AND requested_at <= $2 \
                  ORDER BY requested_at, id LIMIT $3";
    let found = query(select).bind(experiment.0).bind(at.0).bind(most as i64).fetch_all(connection).await?;
    remove(connection, experiment, found).await
}

async fn remove(
    connection: &mut Connection,
    experiment: ExperimentId,
    traces: Vec<(i64, String)>,
) -> Result<u64, TrackingError> {
    let select = "SELECT artifact_location FROM experiment WHERE id = $1";
    let location: Option<Option<String>> = query(select).bind(experiment.0).fetch_optional(connection).await?;
    let location = location.flatten();
    let count = traces.len() as u64;
    for (number, id) in traces {
        // By the experiment and not by the trace's tag, which clients may set.
        let root = ArtifactRoot::Trace { experiment, trace: id.clone() };
        if let Ok(ArtifactHome::Here(root)) = ArtifactHome::of_uri(&root.uri(location.as_deref())) {
            transaction::artifact_remove(connection, &root, None).await?;
        }
        for delete in [
            "DELETE FROM trace_tag WHERE trace = $1",
            "DELETE FROM trace_metadata WHERE trace = $1",
            "DELETE FROM trace_span WHERE trace = $1",
            "DELETE FROM trace_usage WHERE trace = $1",
            "DELETE FROM trace_assessment WHERE trace = $1",
            "DELETE FROM trace_prompt WHERE trace = $1",
            "DELETE FROM trace WHERE number = $1",
        ] {
            query(delete).bind(number).execute(connection).await?;
        }
        query("DELETE FROM trace_run WHERE trace_id = $1").bind(id).execute(connection).await?;
    }
    Ok(count)
}
