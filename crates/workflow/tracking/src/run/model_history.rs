use ropewalk_catalog::{Connection, query};
use ropewalk_types::RunId;

use super::write::{lock, tag_upsert};
use crate::tracking::transaction;
use crate::{Tracking, TrackingError};

/// The tag in which clients before MLflow 3 keep what they know of the models of a run, as a list in JSON.
const MODEL_HISTORY_TAG: &str = "mlflow.log-model.history";

impl Tracking {
    /// Adds a model, described in JSON, to the list that the run's tag `mlflow.log-model.history` holds.
    pub async fn model_record(&self, run: RunId, model_json: String) -> Result<(), TrackingError> {
        transaction!(self, |connection| model_record(connection, run, &model_json))
    }
}

/// Adds a model in the caller's transaction; see [`Tracking::model_record`].
pub async fn model_record(connection: &mut Connection, run: RunId, model_json: &str) -> Result<(), TrackingError> {
    let held = lock(connection, run).await?;
    let select = query("SELECT value FROM run_tag WHERE run = $1 AND key = $2").bind(held.number);
    let before: Option<String> = select.bind(MODEL_HISTORY_TAG).fetch_optional(connection).await?;
    tag_upsert(connection, held, MODEL_HISTORY_TAG, &appended(before.as_deref().unwrap_or("[]"), model_json)).await
}

/// Not cut, unlike other values of tags: half a list is none.
fn appended(list: &str, item: &str) -> String {
    match list.trim_end().strip_suffix(']').map(str::trim_end) {
        Some(open) if open.trim_start() != "[" && open.trim_start().starts_with('[') => format!("{open}, {item}]"),
        _ => format!("[{item}]"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::tracking_with_run;

    #[tokio::test]
    async fn models_are_added_to_one_list() {
        let (tracking, run) = tracking_with_run().await;
        for model in ["{\"a\": 1}", "{\"b\": 2}"] {
            tracking.model_record(run, model.to_owned()).await.expect("recorded");
        }
        let stored = tracking.run_get(run).await.expect("run");
        assert_eq!(stored.tags[MODEL_HISTORY_TAG], "[{\"a\": 1}, {\"b\": 2}]");
    }

    #[test]
    fn what_is_no_list_is_begun_anew() {
        for list in ["[]", " [ ] ", "", "]", "x", "{\"a\": [1]"] {
            assert_eq!(appended(list, "1"), "[1]", "{list}");
        }
        assert_eq!(appended("[1, 2 ] ", "3"), "[1, 2, 3]");
    }
}
