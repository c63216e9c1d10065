use ropewalk_catalog::{Connection, Value, query, rows_insert};
use ropewalk_types::{ExperimentId, RunId, RunStatus, Timestamp};

use super::{NewRun, PARENT_RUN_TAG, RUN_NAME_TAG, Run, RunInfo, RunUpdate, name, read};
use crate::experiment::{self, count_up};
use crate::limits::{TAG_CHARACTERS, cut, key_check};
use crate::{Tag, TrackingError};

/// A run that may be written, by the number under which what is logged to it is kept.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Held {
    pub(crate) number: i64,
    pub(crate) experiment: ExperimentId,
}

/// Begins a run in the caller's transaction, in state RUNNING. An experiment that was deleted takes none.
pub async fn run_create(connection: &mut Connection, id: RunId, new: &NewRun) -> Result<Run, TrackingError> {
    let name = name_of(id, new)?;
    new.tags.iter().try_for_each(|tag| key_check("tag key", &tag.key))?;
    let artifact_location = experiment::active(connection, new.experiment).await?;
    if let Some(parent) = new.parent {
        read::info(connection, parent).await?;
    }
    let number = count_up(connection, "run", 1).await?;
    let insert = "INSERT INTO run (number, id, experiment_id, name, user_name, status, started_at, owner) \
                  VALUES ($1, $2, $3, $4, $5, $6, $7, $8)";
    query(insert)
        .bind(number)
        .bind(id.to_string())
        .bind(new.experiment.0)
        .bind(name.as_str())
        .bind(new.user.as_str())
        .bind(RunStatus::Running.as_str())
        .bind(new.start.0)
        .bind(new.owner.as_deref())
        .execute(connection)
        .await?;
    let info = RunInfo {
        id,
        experiment: new.experiment,
        name: name.clone(),
        user: new.user.clone(),
        status: RunStatus::Running,
        start: new.start,
        end: None,
        deleted: false,
        artifact_location,
    };
    let mut run = Run::bare(info);
    let own = [(RUN_NAME_TAG, Some(name)), (PARENT_RUN_TAG, new.parent.map(|parent| parent.to_string()))];
    let own = own.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?)));
    let given = new.tags.iter().filter(|tag| tag.key != RUN_NAME_TAG);
    let given = given.map(|tag| (tag.key.clone(), cut(&tag.value, TAG_CHARACTERS).0.to_owned()));
    run.tags = own.chain(given).collect();
    let mut rows: Vec<[Value; 3]> = Vec::with_capacity(run.tags.len());
    for (key, value) in &run.tags {
        rows.push([number.into(), key.as_str().into(), value.as_str().into()]);
    }
    rows_insert(connection, "INSERT INTO run_tag (run, key, value)", rows, "").await?;
    Ok(run)
}

fn name_of(id: RunId, new: &NewRun) -> Result<String, TrackingError> {
    let given = new.name.as_deref().filter(|name| !name.is_empty());
    let tagged = new.tags.iter().rev().find(|tag| tag.key == RUN_NAME_TAG && !tag.value.is_empty());
    let name = match (given, tagged) {
        (Some(name), Some(Tag { value, .. })) if name != value => {
            return Err(TrackingError::RunNameDiffers { name: name.to_owned(), tag: value.clone() });
        }
        (Some(name), _) => name,
        (None, Some(tag)) => &tag.value,
        (None, None) => return Ok(name::from_id(id)),
    };
    Ok(cut(name, TAG_CHARACTERS).0.to_owned())
}

/// Makes sure that the run may be written. Writers are one at a time, so it stays so until the transaction ends.
pub(crate) async fn lock(connection: &mut Connection, run: RunId) -> Result<Held, TrackingError> {
    let select = "SELECT number, experiment_id, deleted_at FROM run WHERE id = $1";
    let found: Option<(i64, i64, Option<i64>)> = query(select).bind(run.to_string()).fetch_optional(connection).await?;
    match found {
        Some((number, experiment, None)) => Ok(Held { number, experiment: ExperimentId(experiment) }),
        Some((_, _, Some(_))) => Err(TrackingError::RunDeleted(run)),
        None => Err(TrackingError::RunAbsent(run)),
    }
}

/// Changes a run's state, end or name in the caller's transaction.
pub async fn run_update(connection: &mut Connection, run: RunId, update: &RunUpdate) -> Result<RunInfo, TrackingError> {
    let held = lock(connection, run).await?;
    let statement = "UPDATE run SET status = COALESCE($2, status), ended_at = COALESCE($3, ended_at) WHERE number = $1";
    query(statement)
        .bind(held.number)
        .bind(update.status.map(RunStatus::as_str))
        .bind(update.end.map(Timestamp::millis))
        .execute(connection)
        .await?;
    if let Some(name) = &update.name {
        rename(connection, held, cut(name, TAG_CHARACTERS).0).await?;
    }
    read::info(connection, run).await
}

/// Ends a run in the caller's transaction.
pub async fn run_finish(
    connection: &mut Connection,
    run: RunId,
    status: RunStatus,
    at: Timestamp,
) -> Result<RunInfo, TrackingError> {
    run_update(connection, run, &RunUpdate { status: Some(status), end: Some(at), name: None }).await
}

/// Names a run; its tag follows. An empty name changes nothing.
pub(crate) async fn rename(connection: &mut Connection, held: Held, name: &str) -> Result<(), TrackingError> {
    if name.is_empty() {
        return Ok(());
    }
    query("UPDATE run SET name = $2 WHERE number = $1").bind(held.number).bind(name).execute(connection).await?;
    tag_upsert(connection, held, RUN_NAME_TAG, name).await
}

pub(crate) async fn tag_upsert(
    connection: &mut Connection,
    held: Held,
    key: &str,
    value: &str,
) -> Result<(), TrackingError> {
    let upsert = "INSERT INTO run_tag (run, key, value) VALUES ($1, $2, $3) \
                  ON CONFLICT (run, key) DO UPDATE SET value = excluded.value";
    query(upsert).bind(held.number).bind(key).bind(value).execute(connection).await?;
    Ok(())
}

/// Marks a run as deleted, or no longer; done twice it changes nothing.
pub(crate) async fn deleted_set(
    connection: &mut Connection,
    run: RunId,
    at: Option<Timestamp>,
) -> Result<(), TrackingError> {
    let update = query("UPDATE run SET deleted_at = $2 WHERE id = $1").bind(run.to_string());
    if update.bind(at.map(Timestamp::millis)).execute(connection).await? == 0 {
        return Err(TrackingError::RunAbsent(run));
    }
    Ok(())
}

/// Ends the runs of `owner` that still run and are not among `live`, as killed; says which.
pub(crate) async fn abandoned_mark(
    connection: &mut Connection,
    owner: &str,
    live: &[RunId],
    at: Timestamp,
) -> Result<Vec<RunId>, TrackingError> {
    let select = "SELECT id FROM run WHERE owner = $1 AND status = $2 ORDER BY id";
    let running: Vec<String> =
        query(select).bind(owner).bind(RunStatus::Running.as_str()).fetch_all(connection).await?;
    let mut marked = Vec::new();
    for id in running {
        let id = read::id(&id)?;
        if !live.contains(&id) {
            // Not `run_finish`: a deleted run of a dead process has ended too.
            let update = query("UPDATE run SET status = $2, ended_at = $3 WHERE id = $1").bind(id.to_string());
            update.bind(RunStatus::Killed.as_str()).bind(at.0).execute(connection).await?;
            marked.push(id);
        }
    }
    Ok(marked)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{tracking, tracking_with_run};
    use crate::{DEFAULT_EXPERIMENT, Param};

    fn new() -> NewRun {
        NewRun::new(DEFAULT_EXPERIMENT, Timestamp(5))
    }

    #[tokio::test]
    async fn a_new_run_is_running_and_named() {
        let tracking = tracking().await;
        let run = tracking.run_create(new()).await.expect("run");
        assert_eq!((run.info.status, run.info.start, run.info.end), (RunStatus::Running, Timestamp(5), None));
        assert_eq!(run.info.name.split('-').count(), 3);
        assert_eq!(run.tags[RUN_NAME_TAG], run.info.name);
        let absent = tracking.run_create(NewRun::new(ExperimentId(9), Timestamp(5))).await;
        assert!(matches!(absent, Err(TrackingError::ExperimentAbsent(_))));
    }

    #[tokio::test]
    async fn name_and_tag_keep_in_step() {
        let tracking = tracking().await;
        let tagged = NewRun { tags: vec![Tag::new(RUN_NAME_TAG, "by-tag"), Tag::new("a", "b")], ..new() };
        let run = tracking.run_create(tagged.clone()).await.expect("run").info;
        assert_eq!(run.name, "by-tag");
        let both = NewRun { name: Some("other".to_owned()), ..tagged };
        assert!(matches!(tracking.run_create(both).await, Err(TrackingError::RunNameDiffers { .. })));
        tracking.tag_set(run.id, Tag::new(RUN_NAME_TAG, "retagged")).await.expect("tag");
        assert_eq!(tracking.run_get(run.id).await.expect("run").info.name, "retagged");
        let update = RunUpdate { name: Some("renamed".to_owned()), ..RunUpdate::default() };
        assert_eq!(tracking.run_update(run.id, update).await.expect("update").name, "renamed");
        assert_eq!(tracking.run_get(run.id).await.expect("run").tags[RUN_NAME_TAG], "renamed");
    }

    #[tokio::test]
    async fn what_a_new_run_answers_is_what_is_read_back() {
        let (tracking, parent) = tracking_with_run().await;
        let tags = vec![Tag::new("z", "1"), Tag::new("a", "x".repeat(9_000)), Tag::new("z", "2")];
        let new = NewRun { parent: Some(parent), tags, user: "ada".to_owned(), name: Some("n".to_owned()), ..new() };
        let run = tracking.run_create(new).await.expect("run");
        assert_eq!(run, tracking.run_get(run.info.id).await.expect("read"));
        assert_eq!((run.tags["z"].as_str(), run.tags["a"].len()), ("2", TAG_CHARACTERS));
    }

    #[tokio::test]
    async fn a_child_knows_its_parent() {
        let (tracking, parent) = tracking_with_run().await;
        let child = tracking.run_create(NewRun { parent: Some(parent), ..new() }).await.expect("child");
        assert_eq!(child.parent(), Some(parent));
        let orphan: RunId = "0123456789abcdef0123456789abcdef".parse().expect("id");
        let error = tracking.run_create(NewRun { parent: Some(orphan), ..new() }).await;
        assert!(matches!(error, Err(TrackingError::RunAbsent(_))));
    }

    #[tokio::test]
    async fn a_resumed_run_keeps_its_end() {
        let (tracking, run) = tracking_with_run().await;
        let ended = tracking.run_finish(run, RunStatus::Finished).await.expect("finish");
        assert!(ended.end.is_some());
        let resume = RunUpdate { status: Some(RunStatus::Running), ..RunUpdate::default() };
        let resumed = tracking.run_update(run, resume).await.expect("resume");
        assert_eq!((resumed.status, resumed.end), (RunStatus::Running, ended.end));
    }

    #[tokio::test]
    async fn a_deleted_run_is_read_not_written_until_restored() {
        let (tracking, run) = tracking_with_run().await;
        tracking.run_delete(run).await.expect("delete");
        assert!(tracking.run_get(run).await.expect("still read").info.deleted);
        let error = tracking.param_log(run, Param::new("a", "1")).await;
        assert!(matches!(error, Err(TrackingError::RunDeleted(_))));
        assert!(tracking.run_finish(run, RunStatus::Failed).await.is_err());
        tracking.run_restore(run).await.expect("restore");
        tracking.param_log(run, Param::new("a", "1")).await.expect("written again");
    }

    #[tokio::test]
    async fn only_the_dead_owners_runs_are_killed() {
        let tracking = tracking().await;
        let owned = |owner: &str| NewRun { owner: Some(owner.to_owned()), ..new() };
        let dead = tracking.run_create(owned("project")).await.expect("dead").info.id;
        let live = tracking.run_create(owned("project")).await.expect("live").info.id;
        let ended = tracking.run_create(owned("project")).await.expect("ended").info.id;
        tracking.run_finish(ended, RunStatus::Failed).await.expect("finish");
        let others = [tracking.run_create(owned("else")).await, tracking.run_create(new()).await];
        assert_eq!(tracking.run_abandoned_mark("project", vec![live]).await.expect("mark"), [dead]);
        assert_eq!(tracking.run_abandoned_mark("project", vec![live]).await.expect("again"), []);
        let status = async |id| tracking.run_get(id).await.expect("run").info.status;
        assert_eq!(status(dead).await, RunStatus::Killed);
        assert_eq!(status(ended).await, RunStatus::Failed);
        for other in others {
            assert_eq!(status(other.expect("other").info.id).await, RunStatus::Running);
        }
    }
}
