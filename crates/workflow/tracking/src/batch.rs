use std::collections::HashSet;

use ropewalk_types::RunId;
use serde::Serialize;
use sqlx::AnyConnection;

use crate::limits::{self, PARAM_CHARACTERS, TAG_CHARACTERS};
use crate::run::{RUN_NAME_TAG, write as run};
use crate::{Metric, TrackingError, metric};

/// A setting of a run: never changes once logged.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Param {
    /// Its key, unique in the run.
    pub key: String,
    /// Its value; cut at [`PARAM_CHARACTERS`](crate::PARAM_CHARACTERS).
    pub value: String,
}

/// A remark on a run: may be set again and deleted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Tag {
    /// Its key, unique in the run.
    pub key: String,
    /// Its value; cut at [`TAG_CHARACTERS`](crate::TAG_CHARACTERS).
    pub value: String,
}

impl Param {
    /// A param of this key and value.
    pub fn new(key: impl Into<String>, value: impl Into<String>) -> Self {
        Self { key: key.into(), value: value.into() }
    }
}

impl Tag {
    /// A tag of this key and value.
    pub fn new(key: impl Into<String>, value: impl Into<String>) -> Self {
        Self { key: key.into(), value: value.into() }
    }
}

/// What is logged to a run at once: all of it or nothing.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    /// Points of metrics, in any order.
    pub metrics: Vec<Metric>,
    /// Params, each key once.
    pub params: Vec<Param>,
    /// Tags; of two with one key the last counts.
    pub tags: Vec<Tag>,
}

/// What a write changed on the way.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// Keys of the params and tags whose values were longer than what is kept, and were cut.
    pub cut: Vec<String>,
}

/// Logs a batch to a run in the caller's transaction. After an error the transaction must be rolled back.
///
/// Limits, and what makes two points of a metric the same: see [`Tracking::batch_log`](crate::Tracking::batch_log).
pub async fn batch_log(connection: &mut AnyConnection, run: RunId, batch: &Batch) -> Result<Written, TrackingError> {
    check(batch)?;
    run::lock(connection, run).await?;
    let mut written = Written::default();
    for param in &batch.params {
        param_write(connection, run, param, &mut written).await?;
    }
    for tag in &batch.tags {
        tag_write(connection, run, tag, &mut written).await?;
    }
    metric::write::points_write(connection, run, &batch.metrics).await?;
    Ok(written)
}

fn check(batch: &Batch) -> Result<(), TrackingError> {
    limits::batch_check(batch)?;
    batch.metrics.iter().try_for_each(Metric::check)?;
    batch.tags.iter().try_for_each(|tag| limits::key_check("tag key", &tag.key))?;
    let mut keys = HashSet::new();
    for param in &batch.params {
        limits::key_check("param key", &param.key)?;
        if !keys.insert(&param.key) {
            return Err(TrackingError::ParamRepeated(param.key.clone()));
        }
    }
    Ok(())
}

async fn param_write(
    connection: &mut AnyConnection,
    run: RunId,
    param: &Param,
    written: &mut Written,
) -> Result<(), TrackingError> {
    let value = kept(&param.key, &param.value, PARAM_CHARACTERS, written);
    let id = run.to_string();
    let insert = "INSERT INTO param (run_id, key, value) VALUES ($1, $2, $3) ON CONFLICT (run_id, key) DO NOTHING";
    let inserted =
        sqlx::query(insert).bind(id.as_str()).bind(param.key.as_str()).bind(value).execute(&mut *connection).await?;
    if inserted.rows_affected() == 1 {
        return Ok(());
    }
    let old: String = sqlx::query_scalar("SELECT value FROM param WHERE run_id = $1 AND key = $2")
        .bind(id.as_str())
        .bind(param.key.as_str())
        .fetch_one(connection)
        .await?;
    if old == value {
        return Ok(());
    }
    Err(TrackingError::ParamChanged { run, key: param.key.clone(), old, new: value.to_owned() })
}

pub(crate) async fn tag_write(
    connection: &mut AnyConnection,
    run: RunId,
    tag: &Tag,
    written: &mut Written,
) -> Result<(), TrackingError> {
    let value = kept(&tag.key, &tag.value, TAG_CHARACTERS, written);
    if tag.key == RUN_NAME_TAG {
        return run::rename(connection, run, value).await;
    }
    run::tag_upsert(connection, run, &tag.key, value).await
}

fn kept<'v>(key: &str, value: &'v str, limit: usize, written: &mut Written) -> &'v str {
    let (kept, cut) = limits::cut(value, limit);
    if cut {
        written.cut.push(key.to_owned());
    }
    kept
}

/// Deletes a tag of a run in the caller's transaction.
pub async fn tag_delete(connection: &mut AnyConnection, run: RunId, key: &str) -> Result<(), TrackingError> {
    run::lock(connection, run).await?;
    let deleted = sqlx::query("DELETE FROM run_tag WHERE run_id = $1 AND key = $2")
        .bind(run.to_string())
        .bind(key)
        .execute(connection)
        .await?;
    if deleted.rows_affected() == 0 {
        return Err(TrackingError::TagAbsent { run, key: key.to_owned() });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use ropewalk_types::Timestamp;

    use super::*;
    use crate::testing::tracking_with_run;

    #[tokio::test]
    async fn a_param_never_changes() {
        let (tracking, run) = tracking_with_run().await;
        tracking.param_log(run, Param::new("depth", "3")).await.expect("first");
        tracking.param_log(run, Param::new("depth", "3")).await.expect("the same again");
        let error = tracking.param_log(run, Param::new("depth", "5")).await.expect_err("changed").to_string();
        assert!(error.contains("`depth`") && error.contains("`3`") && error.contains("`5`"), "{error}");
        assert_eq!(tracking.run_get(run).await.expect("run").params["depth"], "3");
    }

    #[tokio::test]
    async fn a_refused_batch_writes_nothing() {
        let (tracking, run) = tracking_with_run().await;
        tracking.param_log(run, Param::new("b", "1")).await.expect("param");
        let before = tracking.run_get(run).await.expect("run");
        let batch = Batch {
            metrics: vec![Metric::new("auc", 0.7, 0, Timestamp(1))],
            params: vec![Param::new("a", "1"), Param::new("b", "2")],
            tags: vec![Tag::new("t", "1")],
        };
        assert!(matches!(tracking.batch_log(run, batch).await, Err(TrackingError::ParamChanged { .. })));
        assert_eq!(tracking.run_get(run).await.expect("run"), before);
    }

    #[tokio::test]
    async fn long_values_are_cut_and_said() {
        let (tracking, run) = tracking_with_run().await;
        let long = "é".repeat(9_000);
        let batch = Batch {
            params: vec![Param::new("p", long.clone()), Param::new("short", "x")],
            tags: vec![Tag::new("t", long.clone())],
            ..Batch::default()
        };
        assert_eq!(tracking.batch_log(run, batch).await.expect("written").cut, ["p", "t"]);
        let stored = tracking.run_get(run).await.expect("run");
        assert_eq!(stored.params["p"].chars().count(), PARAM_CHARACTERS);
        assert_eq!(stored.tags["t"].chars().count(), TAG_CHARACTERS);
        tracking.param_log(run, Param::new("p", long)).await.expect("the same value is cut the same way");
    }

    #[tokio::test]
    async fn too_large_batches_and_repeated_params_are_refused() {
        let (tracking, run) = tracking_with_run().await;
        let many = |count: usize| (0..count).map(|n| Param::new(format!("p{n}"), "")).collect::<Vec<_>>();
        assert!(tracking.params_log(run, many(100)).await.is_ok());
        assert!(matches!(tracking.params_log(run, many(101)).await, Err(TrackingError::BatchTooLarge { .. })));
        let twice = vec![Param::new("q", "1"), Param::new("q", "1")];
        assert!(matches!(tracking.params_log(run, twice).await, Err(TrackingError::ParamRepeated(_))));
    }

    #[tokio::test]
    async fn tags_are_replaced_and_deleted() {
        let (tracking, run) = tracking_with_run().await;
        tracking.tag_set(run, Tag::new("stage", "a")).await.expect("set");
        tracking.tag_set(run, Tag::new("stage", "b")).await.expect("set again");
        assert_eq!(tracking.run_get(run).await.expect("run").tags["stage"], "b");
        tracking.tag_delete(run, "stage").await.expect("deleted");
        assert!(matches!(tracking.tag_delete(run, "stage").await, Err(TrackingError::TagAbsent { .. })));
        assert!(tracking.tag_set(run, Tag::new("../x", "")).await.is_err());
    }
}
