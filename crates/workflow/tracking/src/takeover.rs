//! What another tracking server kept becomes ours, with the ids, times and states that it has there.
//!
//! What is here already stays as it is: a run that is taken over again gets what is new there, such as points, and
//! its end. So the same again changes nothing.

use std::collections::{BTreeMap, HashSet};

use ropewalk_catalog::{Connection, Value, query, rows_insert};
use ropewalk_types::{ExperimentId, RunId, RunStatus, Timestamp};

use crate::experiment::count_up;
use crate::input::{inputs_log, outputs_log};
use crate::limits::{PARAM_CHARACTERS, TAG_CHARACTERS, cut};
use crate::logged_model::logged_model_put;
use crate::metric::write::points_write;
use crate::run::write::Held;
use crate::tracking::{reading, transaction};
use crate::{DatasetInput, LoggedModel, Metric, ModelOutput, Param, RUN_NAME_TAG, Tag, Tracking, TrackingError};

/// Ids below this were counted, and ours go on above them; those of MLflow's folders are drawn, and far above it.
const COUNTED: i64 = 1_000_000_000_000;

/// An experiment of another server.
#[derive(Clone, Debug)]
pub struct TakenExperiment {
    /// Its id there and here.
    pub id: ExperimentId,
    /// Its name.
    pub name: String,
    /// When it was created.
    pub created: Timestamp,
    /// When it was last changed.
    pub updated: Timestamp,
    /// Whether it was deleted.
    pub deleted: bool,
    /// Where its runs keep their artifacts, if they stay there; none if they are taken over, too.
    pub artifact_location: Option<String>,
    /// Its tags.
    pub tags: Vec<Tag>,
}

/// A run of another server, without the points of its metrics.
#[derive(Clone, Debug)]
pub struct TakenRun {
    /// Its id there and here.
    pub id: RunId,
    /// Its experiment, which was taken over before.
    pub experiment: ExperimentId,
    /// Its name.
    pub name: String,
    /// Whose it is.
    pub user: String,
    /// How far it is.
    pub status: RunStatus,
    /// When it began.
    pub start: Timestamp,
    /// When it ended.
    pub end: Option<Timestamp>,
    /// Whether it was deleted.
    pub deleted: bool,
    /// Its params.
    pub params: Vec<Param>,
    /// Its tags.
    pub tags: Vec<Tag>,
    /// What it read.
    pub datasets: Vec<DatasetInput>,
    /// Ids of the logged models that it read.
    pub model_inputs: Vec<String>,
    /// The logged models that it made.
    pub model_outputs: Vec<ModelOutput>,
}

impl Tracking {
    /// Takes an experiment over; true if it was not here.
    ///
    /// # Errors
    /// [`TrackingError::ExperimentExists`] if its name or its id is that of another experiment here.
    pub async fn experiment_take_over(&self, taken: TakenExperiment) -> Result<bool, TrackingError> {
        transaction!(self, |connection| experiment(connection, &taken))
    }

    /// The ids of all experiments, also of those that were deleted, the smallest first: for an export.
    pub async fn experiment_ids(&self) -> Result<Vec<ExperimentId>, TrackingError> {
        let ids: Vec<i64> = reading!(self, |connection| async move {
            Ok::<_, TrackingError>(query("SELECT id FROM experiment ORDER BY id").fetch_all(connection).await?)
        })?;
        Ok(ids.into_iter().map(ExperimentId).collect())
    }

    /// Takes a run over; true if it was not here. Its points follow by [`Tracking::points_take_over`].
    pub async fn run_take_over(&self, taken: TakenRun) -> Result<bool, TrackingError> {
        transaction!(self, |connection| run(connection, &taken))
    }

    /// Takes over points of metrics of a run, be it deleted or not; points that are here are not stored again.
    pub async fn points_take_over(&self, run: RunId, metrics: Vec<Metric>) -> Result<(), TrackingError> {
        transaction!(self, |connection| points(connection, run, &metrics))
    }

    /// Takes a logged model over; true if it was not here. Points that were measured by runs that are gone are left out.
    pub async fn logged_model_take_over(&self, taken: LoggedModel) -> Result<bool, TrackingError> {
        transaction!(self, |connection| logged_model(connection, taken))
    }
}

async fn experiment(connection: &mut Connection, taken: &TakenExperiment) -> Result<bool, TrackingError> {
    let select = "SELECT id, name, created_at FROM experiment WHERE id = $1 OR name = $2";
    let found: Vec<(i64, String, i64)> =
        query(select).bind(taken.id.0).bind(taken.name.as_str()).fetch_all(connection).await?;
    // The default one is here from the beginning; another one may have been renamed since it was taken over.
    let same = |id: i64, created: i64| id == taken.id.0 && (id == 0 || created == taken.created.0);
    if let Some((_, name, _)) = found.iter().find(|(id, _, created)| !same(*id, *created)) {
        return Err(TrackingError::ExperimentExists(name.clone()));
    }
    let new = found.is_empty();
    if new {
        let insert = "INSERT INTO experiment (id, name, created_at, updated_at, deleted_at, artifact_location) \
                      VALUES ($1, $2, $3, $4, $5, $6)";
        query(insert)
            .bind(taken.id.0)
            .bind(taken.name.as_str())
            .bind(taken.created.0)
            .bind(taken.updated.0)
            .bind(taken.deleted.then_some(taken.updated.0))
            .bind(taken.artifact_location.as_deref())
            .execute(connection)
            .await?;
    }
    if taken.id.0 == 0 {
        default_take_over(connection, taken).await?;
    }
    if taken.id.0 < COUNTED {
        let past = "UPDATE tracking_counter SET last = $1 WHERE name = 'experiment' AND last < $1";
        query(past).bind(taken.id.0).execute(connection).await?;
    }
    let mut rows: Vec<[Value; 3]> = Vec::with_capacity(taken.tags.len());
    for tag in &taken.tags {
        rows.push([taken.id.0.into(), tag.key.as_str().into(), tag.value.as_str().into()]);
    }
    rows_insert(connection, "INSERT INTO experiment_tag (experiment_id, key, value)", rows, KEPT).await?;
    Ok(new)
}

/// The default experiment is here from the beginning: until something is in it, the other one takes its place.
async fn default_take_over(connection: &mut Connection, taken: &TakenExperiment) -> Result<(), TrackingError> {
    let update = "UPDATE experiment SET name = $1, created_at = $2, updated_at = $3, deleted_at = $4, \
                  artifact_location = $5 \
                  WHERE id = 0 AND created_at <> $2 AND NOT EXISTS (SELECT 1 FROM run WHERE experiment_id = 0)";
    query(update)
        .bind(taken.name.as_str())
        .bind(taken.created.0)
        .bind(taken.updated.0)
        .bind(taken.deleted.then_some(taken.updated.0))
        .bind(taken.artifact_location.as_deref())
        .execute(connection)
        .await?;
    Ok(())
}

/// What is here stays as it is.
const KEPT: &str = "ON CONFLICT DO NOTHING";

async fn run(connection: &mut Connection, taken: &TakenRun) -> Result<bool, TrackingError> {
    let select = "SELECT number, deleted_at FROM run WHERE id = $1";
    let found: Option<(i64, Option<i64>)> = query(select).bind(taken.id.to_string()).fetch_optional(connection).await?;
    let new = found.is_none();
    let (number, deleted) = match found {
        Some((number, deleted)) => {
            // It ended there since.
            let end = "UPDATE run SET status = $2, ended_at = $3 \
                       WHERE number = $1 AND ended_at IS NULL";
            let end = query(end).bind(number).bind(taken.status.as_str());
            end.bind(taken.end.map(Timestamp::millis)).execute(connection).await?;
            query("UPDATE run SET deleted_at = NULL WHERE number = $1").bind(number).execute(connection).await?;
            (number, deleted)
        }
        None => (run_insert(connection, taken).await?, taken.deleted.then(|| taken.end.unwrap_or(taken.start).0)),
    };
    pairs_insert(connection, number, taken).await?;
    inputs_log(connection, taken.id, &taken.datasets, &taken.model_inputs).await?;
    outputs_log(connection, taken.id, &taken.model_outputs).await?;
    // Last: a deleted run takes nothing.
    let delete = query("UPDATE run SET deleted_at = $2 WHERE number = $1").bind(number);
    delete.bind(deleted).execute(connection).await?;
    Ok(new)
}

async fn run_insert(connection: &mut Connection, taken: &TakenRun) -> Result<i64, TrackingError> {
    let number = count_up(connection, "run", 1).await?;
    let insert = "INSERT INTO run (number, id, experiment_id, name, user_name, status, started_at, ended_at) \
                  VALUES ($1, $2, $3, $4, $5, $6, $7, $8)";
    query(insert)
        .bind(number)
        .bind(taken.id.to_string())
        .bind(taken.experiment.0)
        .bind(taken.name.as_str())
        .bind(taken.user.as_str())
        .bind(taken.status.as_str())
        .bind(taken.start.0)
        .bind(taken.end.map(Timestamp::millis))
        .execute(connection)
        .await?;
    Ok(number)
}

async fn pairs_insert(connection: &mut Connection, number: i64, taken: &TakenRun) -> Result<(), TrackingError> {
    let params = taken.params.iter().map(|param| (param.key.as_str(), cut(&param.value, PARAM_CHARACTERS).0));
    let params: BTreeMap<&str, &str> = params.collect();
    let name = (RUN_NAME_TAG, taken.name.as_str());
    let tags = taken.tags.iter().map(|tag| (tag.key.as_str(), cut(&tag.value, TAG_CHARACTERS).0));
    let tags: BTreeMap<&str, &str> = tags.chain([name]).collect();
    for (head, pairs) in
        [("INSERT INTO param (run, key, value)", params), ("INSERT INTO run_tag (run, key, value)", tags)]
    {
        let mut rows: Vec<[Value; 3]> = Vec::with_capacity(pairs.len());
        for (key, value) in pairs {
            rows.push([number.into(), key.into(), value.into()]);
        }
        rows_insert(connection, head, rows, KEPT).await?;
    }
    Ok(())
}

async fn points(connection: &mut Connection, run: RunId, metrics: &[Metric]) -> Result<(), TrackingError> {
    let select = "SELECT number, experiment_id FROM run WHERE id = $1";
    let found: Option<(i64, i64)> = query(select).bind(run.to_string()).fetch_optional(connection).await?;
    let (number, experiment) = found.ok_or(TrackingError::RunAbsent(run))?;
    points_write(connection, Held { number, experiment: ExperimentId(experiment) }, metrics).await
}

async fn logged_model(connection: &mut Connection, mut taken: LoggedModel) -> Result<bool, TrackingError> {
    let select = "SELECT number FROM logged_model WHERE id = $1";
    let found: Option<i64> = query(select).bind(taken.id.to_string()).fetch_optional(connection).await?;
    if found.is_some() {
        // Its status and tags may have been changed here since.
        return Ok(false);
    }
    let measured: HashSet<RunId> = taken.metrics.iter().map(|metric| metric.run).collect();
    let mut gone: HashSet<RunId> = HashSet::new();
    for run in measured {
        let select = "SELECT number FROM run WHERE id = $1";
        let found: Option<i64> = query(select).bind(run.to_string()).fetch_optional(connection).await?;
        if found.is_none() {
            gone.insert(run);
        }
    }
    taken.metrics.retain(|metric| !gone.contains(&metric.run));
    logged_model_put(connection, &taken).await?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::tracking;
    use crate::{ArtifactPath, ArtifactRoot};

    fn taken_experiment(id: i64, name: &str) -> TakenExperiment {
        TakenExperiment {
            id: ExperimentId(id),
            name: name.to_owned(),
            created: Timestamp(7),
            updated: Timestamp(8),
            deleted: false,
            artifact_location: None,
            tags: vec![Tag::new("team", "weather")],
        }
    }

    fn taken_run(experiment: i64) -> TakenRun {
        TakenRun {
            id: "0123456789abcdef0123456789abcdef".parse().expect("id"),
            experiment: ExperimentId(experiment),
            name: "a run".to_owned(),
            user: "ada".to_owned(),
            status: RunStatus::Running,
            start: Timestamp(5),
            end: None,
            deleted: true,
            params: vec![Param::new("depth", "3")],
            tags: vec![Tag::new("kind", "x")],
            datasets: Vec::new(),
            model_inputs: Vec::new(),
            model_outputs: Vec::new(),
        }
    }

    #[tokio::test]
    async fn an_experiment_keeps_its_id_and_ids_go_on_above_it() {
        let tracking = tracking().await;
        assert!(tracking.experiment_take_over(taken_experiment(41, "first")).await.expect("taken"));
        assert!(!tracking.experiment_take_over(taken_experiment(41, "first")).await.expect("again"));
        assert!(
            tracking.experiment_take_over(taken_experiment(918_714_780_860_508_292, "drawn")).await.expect("drawn")
        );
        let found = tracking.experiment_get(ExperimentId(41)).await.expect("there");
        assert_eq!((found.name.as_str(), found.created, found.updated), ("first", Timestamp(7), Timestamp(8)));
        assert_eq!(tracking.experiment_create("next", Vec::new()).await.expect("created").id, ExperimentId(42));
        let other = TakenExperiment { created: Timestamp(9), ..taken_experiment(42, "theirs") };
        for clash in [other, taken_experiment(50, "first")] {
            let error = tracking.experiment_take_over(clash).await;
            assert!(matches!(error, Err(TrackingError::ExperimentExists(_))));
        }
    }

    #[tokio::test]
    async fn the_default_experiment_is_taken_over_as_long_as_nothing_is_in_it() {
        let tracking = tracking().await;
        let theirs = TakenExperiment {
            artifact_location: Some("s3://bucket/0".to_owned()),
            deleted: true,
            ..taken_experiment(0, "Renamed")
        };
        assert!(!tracking.experiment_take_over(theirs.clone()).await.expect("taken"));
        let found = tracking.experiment_get(ExperimentId(0)).await.expect("there");
        assert_eq!((found.name.as_str(), found.created, found.deleted), ("Renamed", Timestamp(7), true));
        assert_eq!(found.artifact_location.as_deref(), Some("s3://bucket/0"));
        assert!(tracking.run_take_over(taken_run(0)).await.expect("run"));
        let later = TakenExperiment { created: Timestamp(9), ..taken_experiment(0, "Again") };
        tracking.experiment_take_over(later).await.expect("again");
        assert_eq!(tracking.experiment_get(ExperimentId(0)).await.expect("there").name, "Renamed");
    }

    #[tokio::test]
    async fn files_of_a_deleted_run_are_taken_over() {
        let tracking = tracking().await;
        tracking.experiment_take_over(taken_experiment(1, "first")).await.expect("experiment");
        let run = taken_run(1);
        tracking.run_take_over(run.clone()).await.expect("run");
        let blob = tracking.store().put_bytes("x".into()).await.expect("bytes");
        let root = ArtifactRoot::Run { experiment: ExperimentId(1), run: run.id };
        let path = ArtifactPath::new("a/b").expect("path");
        tracking.artifact_take_over(&root, path.clone(), blob.digest, blob.size).await.expect("taken");
        assert_eq!(tracking.artifact_at(&root, &path).await.expect("there").digest, blob.digest);
        let refused = tracking.artifact_record(&root, path, blob.digest, blob.size).await;
        assert!(matches!(refused, Err(TrackingError::RunDeleted(_))));
    }

    #[tokio::test]
    async fn a_run_that_is_taken_over_again_gets_what_is_new() {
        let tracking = tracking().await;
        tracking.experiment_take_over(taken_experiment(1, "first")).await.expect("experiment");
        let taken = taken_run(1);
        assert!(tracking.run_take_over(taken.clone()).await.expect("taken"));
        let points = vec![Metric::new("m", 0.5, 1, Timestamp(1)), Metric::new("m", f64::NAN, 2, Timestamp(2))];
        for _ in 0..2 {
            tracking.points_take_over(taken.id, points.clone()).await.expect("points");
        }
        let first = tracking.run_get(taken.id).await.expect("run");
        assert!(first.info.deleted && first.tags["mlflow.runName"] == "a run");
        assert_eq!(tracking.metric_history(taken.id, "m", None, 9).await.expect("history").metrics.len(), 2);
        assert!(!tracking.run_take_over(taken.clone()).await.expect("again"));
        assert_eq!(tracking.run_get(taken.id).await.expect("run").info, first.info);
        let ended = TakenRun {
            status: RunStatus::Failed,
            end: Some(Timestamp(9)),
            params: vec![Param::new("depth", "4"), Param::new("new", "1")],
            ..taken
        };
        tracking.run_take_over(ended).await.expect("ended");
        let last = tracking.run_get(first.info.id).await.expect("run");
        assert_eq!((last.info.status, last.info.end), (RunStatus::Failed, Some(Timestamp(9))));
        assert_eq!((last.params["depth"].as_str(), last.params["new"].as_str()), ("3", "1"));
        assert!(last.info.deleted);
    }
}
