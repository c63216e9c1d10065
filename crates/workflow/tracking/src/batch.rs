use std::collections::{BTreeMap, HashSet};

use ropewalk_catalog::{Connection, Value, query, rows_insert};
use ropewalk_types::RunId;
use serde::Serialize;

use crate::limits::{self, PARAM_CHARACTERS, TAG_CHARACTERS};
use crate::run::RUN_NAME_TAG;
use crate::run::write::{self as run, Held};
use crate::{Metric, TrackingError, logged_model, metric};

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
pub async fn batch_log(connection: &mut Connection, run: RunId, batch: &Batch) -> Result<Written, TrackingError> {
    check(batch)?;
    let held = run::lock(connection, run).await?;
    let mut written = Written::default();
    params_write(connection, run, held, &batch.params, &mut written).await?;
    tags_write(connection, held, &batch.tags, &mut written).await?;
    metric::write::points_write(connection, held, &batch.metrics).await?;
    if batch.metrics.iter().any(|metric| metric.model().is_some()) {
        logged_model::metrics_write(connection, run, &batch.metrics).await?;
    }
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

async fn params_write(
    connection: &mut Connection,
    run: RunId,
    held: Held,
    params: &[Param],
    written: &mut Written,
) -> Result<(), TrackingError> {
    if params.is_empty() {
        return Ok(());
    }
    let mut rows: Vec<[Value; 3]> = Vec::with_capacity(params.len());
    for param in params {
        let value = kept(&param.key, &param.value, PARAM_CHARACTERS, written);
        rows.push([held.number.into(), param.key.as_str().into(), value.into()]);
    }
    let head = "INSERT INTO param (run, key, value)";
    let new = rows_insert(connection, head, rows, "ON CONFLICT (run, key) DO NOTHING").await?;
    if new == params.len() as u64 {
        return Ok(());
    }
    let select = "SELECT key, value FROM param WHERE run = $1";
    let stored: Vec<(String, String)> = query(select).bind(held.number).fetch_all(connection).await?;
    let stored: BTreeMap<String, String> = stored.into_iter().collect();
    for param in params {
        let (new, _) = limits::cut(&param.value, PARAM_CHARACTERS);
        if let Some(old) = stored.get(&param.key).filter(|old| **old != *new) {
            let (key, old, new) = (param.key.clone(), old.clone(), new.to_owned());
            return Err(TrackingError::ParamChanged { run, key, old, new });
        }
    }
    Ok(())
}

async fn tags_write(
    connection: &mut Connection,
    held: Held,
    tags: &[Tag],
    written: &mut Written,
) -> Result<(), TrackingError> {
    let mut last: BTreeMap<&str, &str> = BTreeMap::new();
    for tag in tags {
        last.insert(&tag.key, kept(&tag.key, &tag.value, TAG_CHARACTERS, written));
    }
    if let Some(name) = last.remove(RUN_NAME_TAG) {
        run::rename(connection, held, name).await?;
    }
    if last.is_empty() {
        return Ok(());
    }
    let mut rows: Vec<[Value; 3]> = Vec::with_capacity(last.len());
    for (key, value) in last {
        rows.push([held.number.into(), key.into(), value.into()]);
    }
    let replace = "ON CONFLICT (run, key) DO UPDATE SET value = excluded.value";
    rows_insert(connection, "INSERT INTO run_tag (run, key, value)", rows, replace).await?;
    Ok(())
}

fn kept<'v>(key: &str, value: &'v str, limit: usize, written: &mut Written) -> &'v str {
    let (kept, cut) = limits::cut(value, limit);
    if cut {
        written.cut.push(key.to_owned());
    }
    kept
}

/// Deletes a tag of a run in the caller's transaction.
pub async fn tag_delete(connection: &mut Connection, run: RunId, key: &str) -> Result<(), TrackingError> {
    let held = run::lock(connection, run).await?;
    let delete = query("DELETE FROM run_tag WHERE run = $1 AND key = $2").bind(held.number).bind(key);
    if delete.execute(connection).await? == 0 {
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
        assert!(tracking.param_log(run, Param::new("nul", "a\0b")).await.is_err(), "no catalogue takes a NUL");
        let error = tracking.param_log(run, Param::new("depth", "5")).await.expect_err("changed").to_string();
        assert!(["key='depth'", "value='3'", "'5'"].iter().all(|part| error.contains(part)), "{error}");
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
        let twice = vec![Tag::new("stage", "c"), Tag::new("mlflow.runName", "named"), Tag::new("stage", "d")];
        tracking.batch_log(run, Batch { tags: twice, ..Batch::default() }).await.expect("the last counts");
        let stored = tracking.run_get(run).await.expect("run");
        assert_eq!((stored.tags["stage"].as_str(), stored.info.name.as_str()), ("d", "named"));
        tracking.tag_delete(run, "stage").await.expect("deleted");
        assert!(matches!(tracking.tag_delete(run, "stage").await, Err(TrackingError::TagAbsent { .. })));
        assert!(tracking.tag_set(run, Tag::new("../x", "")).await.is_err());
    }
}
