use std::collections::{BTreeMap, HashMap};

use ropewalk_catalog::{Connection, query};
use ropewalk_types::{ExperimentId, Timestamp};
use serde::Serialize;

use crate::limits::{artifact_location_check, experiment_name_check, experiment_tag_check};
use crate::run::read::of_numbers;
use crate::tracking::{reading, transaction};
use crate::{Tag, Tracking, TrackingError, rows};

/// The experiment that always exists, named `Default`.
pub const DEFAULT_EXPERIMENT: ExperimentId = ExperimentId(0);

/// Runs that belong together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Experiment {
    /// Its id: counted from 1; 0 is the default experiment.
    pub id: ExperimentId,
    /// Its name, unique, also among those that were deleted.
    pub name: String,
    /// When it was created; 0 for the default experiment until [`Tracking::default_experiment_date`].
    pub created: Timestamp,
    /// When it was last changed; its tags do not count.
    pub updated: Timestamp,
    /// Whether it was deleted: it takes no runs and no tags until it is restored.
    pub deleted: bool,
    /// Where its runs keep artifacts, if that is not the server's own store.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub artifact_location: Option<String>,
    /// Its tags, by key.
    pub tags: BTreeMap<String, String>,
}

/// An experiment to create.
#[derive(Clone, Debug, Default)]
pub struct NewExperiment {
    /// Its name, unique.
    pub name: String,
    /// Where its runs keep artifacts; the server's own store if nothing is said.
    pub artifact_location: Option<String>,
    /// Its first tags.
    pub tags: Vec<Tag>,
}

impl Tracking {
    /// Creates an experiment; a name that is taken, be it by a deleted one, is an error.
    pub async fn experiment_create_as(&self, new: NewExperiment) -> Result<Experiment, TrackingError> {
        let at = self.ambient.now();
        transaction!(self, |connection| experiment_create(connection, &new, at))
    }

    /// Gives the default experiment, which migrations made without a clock, the date of now, if it has none yet.
    ///
    /// For the start of a server: clients show the date and sort by it.
    pub async fn default_experiment_date(&self) -> Result<(), TrackingError> {
        if self.experiment_get(DEFAULT_EXPERIMENT).await?.created.0 > 0 {
            return Ok(());
        }
        let at = self.ambient.now();
        transaction!(self, |connection| default_date(connection, at))
    }

    /// Names an experiment anew; one that was deleted keeps its name.
    pub async fn experiment_rename(&self, id: ExperimentId, name: &str) -> Result<(), TrackingError> {
        let (name, at) = (name.to_owned(), self.ambient.now());
        transaction!(self, |connection| rename(connection, id, &name, at))
    }

    /// Marks an experiment and all its runs as deleted.
    pub async fn experiment_delete(&self, id: ExperimentId) -> Result<(), TrackingError> {
        let at = self.ambient.now();
        transaction!(self, |connection| deleted_set(connection, id, true, at))
    }

    /// Takes back [`Tracking::experiment_delete`]: all runs come back, also those that were deleted one by one.
    pub async fn experiment_restore(&self, id: ExperimentId) -> Result<(), TrackingError> {
        let at = self.ambient.now();
        transaction!(self, |connection| deleted_set(connection, id, false, at))
    }

    /// Deletes a tag of an experiment.
    pub async fn experiment_tag_delete(&self, id: ExperimentId, key: &str) -> Result<(), TrackingError> {
        let key = key.to_owned();
        transaction!(self, |connection| tag_delete(connection, id, &key))
    }

    /// The experiments with these ids, in this order, deleted or not: what a search found.
    pub async fn experiment_get_all(&self, ids: Vec<ExperimentId>) -> Result<Vec<Experiment>, TrackingError> {
        reading!(self, |connection| by_ids(connection, &ids))
    }
}

const COLUMNS: &str = "SELECT id, name, created_at, updated_at, deleted_at, artifact_location FROM experiment ";

type Row = (i64, String, i64, i64, Option<i64>, Option<String>);

/// Creates an experiment in the caller's transaction; a name that is taken is an error.
pub async fn experiment_create(
    connection: &mut Connection,
    new: &NewExperiment,
    at: Timestamp,
) -> Result<Experiment, TrackingError> {
    experiment_name_check(&new.name)?;
    let artifact_location = new.artifact_location.clone().filter(|location| !location.is_empty());
    artifact_location.as_deref().map_or(Ok(()), artifact_location_check)?;
    new.tags.iter().try_for_each(|tag| experiment_tag_check(&tag.key, &tag.value))?;
    let taken: Option<i64> =
        query("SELECT id FROM experiment WHERE name = $1").bind(new.name.as_str()).fetch_optional(connection).await?;
    if taken.is_some() {
        return Err(TrackingError::ExperimentExists(new.name.clone()));
    }
    let id = ExperimentId(count_up(connection, "experiment", 1).await?);
    let insert = "INSERT INTO experiment (id, name, created_at, updated_at, artifact_location) \
                  VALUES ($1, $2, $3, $3, $4)";
    let insert = query(insert).bind(id.0).bind(new.name.as_str()).bind(at.0).bind(artifact_location.as_deref());
    insert.execute(connection).await?;
    for tag in &new.tags {
        tag_upsert(connection, id, tag).await?;
    }
    Ok(Experiment {
        id,
        name: new.name.clone(),
        created: at,
        updated: at,
        deleted: false,
        artifact_location,
        tags: new.tags.iter().map(|tag| (tag.key.clone(), tag.value.clone())).collect(),
    })
}

async fn default_date(connection: &mut Connection, at: Timestamp) -> Result<(), TrackingError> {
    // It may have been renamed since, which is later than its creation.
    let update = "UPDATE experiment SET created_at = $2, \
                  updated_at = CASE WHEN updated_at = 0 THEN $2 ELSE updated_at END \
                  WHERE id = $1 AND created_at = 0";
    query(update).bind(DEFAULT_EXPERIMENT.0).bind(at.0).execute(connection).await?;
    Ok(())
}

/// The experiment of this name, created in the caller's transaction if there is none.
pub async fn experiment_ensure(
    connection: &mut Connection,
    name: &str,
    at: Timestamp,
) -> Result<Experiment, TrackingError> {
    if let Some(experiment) = find(connection, name).await? {
        return Ok(experiment);
    }
    let new = NewExperiment { name: name.to_owned(), ..NewExperiment::default() };
    experiment_create(connection, &new, at).await
}

/// The last of the next `count` numbers of a counter.
pub(crate) async fn count_up(
    connection: &mut Connection,
    counter: &'static str,
    count: i64,
) -> Result<i64, TrackingError> {
    let update = "UPDATE tracking_counter SET last = last + $2 WHERE name = $1 RETURNING last";
    Ok(query(update).bind(counter).bind(count).fetch_one(connection).await?)
}

/// Refuses an experiment that is absent or was deleted; says where it keeps artifacts, if that is elsewhere.
pub(crate) async fn active(connection: &mut Connection, id: ExperimentId) -> Result<Option<String>, TrackingError> {
    let select = "SELECT deleted_at, artifact_location FROM experiment WHERE id = $1";
    let found: Option<(Option<i64>, Option<String>)> = query(select).bind(id.0).fetch_optional(connection).await?;
    match found {
        Some((None, location)) => Ok(location),
        Some((Some(_), _)) => Err(TrackingError::ExperimentDeleted(id)),
        None => Err(TrackingError::ExperimentAbsent(id)),
    }
}

async fn rename(connection: &mut Connection, id: ExperimentId, name: &str, at: Timestamp) -> Result<(), TrackingError> {
    experiment_name_check(name)?;
    active(connection, id).await.map_err(|error| match error {
        TrackingError::ExperimentDeleted(id) => TrackingError::ExperimentRenameDeleted(id),
        other => other,
    })?;
    let taken: Option<i64> =
        query("SELECT id FROM experiment WHERE name = $1").bind(name).fetch_optional(connection).await?;
    if taken.is_some_and(|other| other != id.0) {
        return Err(TrackingError::ExperimentExists(name.to_owned()));
    }
    let update = query("UPDATE experiment SET name = $2, updated_at = $3 WHERE id = $1");
    update.bind(id.0).bind(name).bind(at.0).execute(connection).await?;
    Ok(())
}

/// An experiment that is in that state already is not found, as in MLflow.
async fn deleted_set(
    connection: &mut Connection,
    id: ExperimentId,
    deleted: bool,
    at: Timestamp,
) -> Result<(), TrackingError> {
    let (experiment, runs) = if deleted {
        (
            "UPDATE experiment SET deleted_at = $2, updated_at = $2 WHERE id = $1 AND deleted_at IS NULL",
            query("UPDATE run SET deleted_at = $2 WHERE experiment_id = $1").bind(id.0).bind(at.0),
        )
    } else {
        (
            "UPDATE experiment SET deleted_at = NULL, updated_at = $2 WHERE id = $1 AND deleted_at IS NOT NULL",
            query("UPDATE run SET deleted_at = NULL WHERE experiment_id = $1").bind(id.0),
        )
    };
    if query(experiment).bind(id.0).bind(at.0).execute(connection).await? == 0 {
        return Err(TrackingError::ExperimentAbsent(id));
    }
    runs.execute(connection).await?;
    Ok(())
}

pub(crate) async fn tag_set(connection: &mut Connection, id: ExperimentId, tag: &Tag) -> Result<(), TrackingError> {
    experiment_tag_check(&tag.key, &tag.value)?;
    active(connection, id).await?;
    tag_upsert(connection, id, tag).await
}

async fn tag_upsert(connection: &mut Connection, id: ExperimentId, tag: &Tag) -> Result<(), TrackingError> {
    let upsert = "INSERT INTO experiment_tag (experiment_id, key, value) VALUES ($1, $2, $3) \
                  ON CONFLICT (experiment_id, key) DO UPDATE SET value = excluded.value";
    query(upsert).bind(id.0).bind(tag.key.as_str()).bind(tag.value.as_str()).execute(connection).await?;
    Ok(())
}

async fn tag_delete(connection: &mut Connection, id: ExperimentId, key: &str) -> Result<(), TrackingError> {
    active(connection, id).await?;
    let delete = query("DELETE FROM experiment_tag WHERE experiment_id = $1 AND key = $2");
    if delete.bind(id.0).bind(key).execute(connection).await? == 0 {
        return Err(TrackingError::ExperimentTagAbsent { experiment: id, key: key.to_owned() });
    }
    Ok(())
}

pub(crate) async fn get(connection: &mut Connection, id: ExperimentId) -> Result<Experiment, TrackingError> {
    let row: Option<Row> = query(format!("{COLUMNS}WHERE id = $1")).bind(id.0).fetch_optional(connection).await?;
    with_tags(connection, row.ok_or(TrackingError::ExperimentAbsent(id))?).await
}

pub(crate) async fn by_name(connection: &mut Connection, name: &str) -> Result<Experiment, TrackingError> {
    find(connection, name).await?.ok_or_else(|| TrackingError::ExperimentNameAbsent(name.to_owned()))
}

/// The experiments with these ids, in this order; those that do not exist are left out.
pub(crate) async fn by_ids(
    connection: &mut Connection,
    ids: &[ExperimentId],
) -> Result<Vec<Experiment>, TrackingError> {
    let numbers: Vec<i64> = ids.iter().map(|id| id.0).collect();
    let mut found: HashMap<i64, Experiment> = HashMap::with_capacity(ids.len());
    for piece in rows::pieces(&numbers) {
        let listed = of_numbers(&format!("{COLUMNS}WHERE id IN "), &piece, "");
        let listed: Vec<Row> = listed.fetch_all(connection).await?;
        found.extend(listed.into_iter().map(|row| (row.0, experiment(row, BTreeMap::new()))));
        let select = "SELECT experiment_id, key, value FROM experiment_tag WHERE experiment_id IN ";
        let tags: Vec<(i64, String, String)> = of_numbers(select, &piece, "").fetch_all(connection).await?;
        for (id, key, value) in tags {
            if let Some(one) = found.get_mut(&id) {
                one.tags.insert(key, value);
            }
        }
    }
    Ok(numbers.iter().filter_map(|number| found.remove(number)).collect())
}

async fn find(connection: &mut Connection, name: &str) -> Result<Option<Experiment>, TrackingError> {
    let row: Option<Row> = query(format!("{COLUMNS}WHERE name = $1")).bind(name).fetch_optional(connection).await?;
    match row {
        Some(row) => with_tags(connection, row).await.map(Some),
        None => Ok(None),
    }
}

async fn with_tags(connection: &mut Connection, row: Row) -> Result<Experiment, TrackingError> {
    let select = "SELECT key, value FROM experiment_tag WHERE experiment_id = $1";
    let tags: Vec<(String, String)> = query(select).bind(row.0).fetch_all(connection).await?;
    Ok(experiment(row, tags.into_iter().collect()))
}

fn experiment((id, name, created, updated, deleted, location): Row, tags: BTreeMap<String, String>) -> Experiment {
    Experiment {
        id: ExperimentId(id),
        name,
        created: Timestamp(created),
        updated: Timestamp(updated),
        deleted: deleted.is_some(),
        artifact_location: location,
        tags,
    }
}

/// The newest experiments with an id below `before` that were not deleted, at most `limit`.
pub(crate) async fn list(
    connection: &mut Connection,
    before: Option<ExperimentId>,
    limit: usize,
) -> Result<Vec<Experiment>, TrackingError> {
    let select = format!("{COLUMNS}WHERE id < $1 AND deleted_at IS NULL ORDER BY id DESC LIMIT $2");
    let before = before.map_or(i64::MAX, |id| id.0);
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let rows: Vec<Row> = query(select).bind(before).bind(limit).fetch_all(connection).await?;
    let Some(last) = rows.last() else { return Ok(Vec::new()) };
    let select =
        "SELECT experiment_id, key, value FROM experiment_tag WHERE experiment_id >= $1 AND experiment_id < $2";
    let found: Vec<(i64, String, String)> = query(select).bind(last.0).bind(before).fetch_all(connection).await?;
    let mut tags: HashMap<i64, BTreeMap<String, String>> = HashMap::new();
    for (id, key, value) in found {
        tags.entry(id).or_default().insert(key, value);
    }
    Ok(rows
        .into_iter()
        .map(|row| {
            let tags = tags.remove(&row.0).unwrap_or_default();
            experiment(row, tags)
        })
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::NewRun;
    use crate::testing::tracking;

    #[tokio::test]
    async fn the_default_experiment_is_there() {
        let tracking = tracking().await;
        assert_eq!(tracking.experiment_get(DEFAULT_EXPERIMENT).await.expect("default").name, "Default");
        assert_eq!(tracking.experiment_ensure("Default").await.expect("default").id, DEFAULT_EXPERIMENT);
    }

    #[tokio::test]
    async fn the_default_experiment_is_dated_once() {
        let tracking = tracking().await;
        assert_eq!(tracking.experiment_get(DEFAULT_EXPERIMENT).await.expect("default").created, Timestamp(0));
        tracking.default_experiment_date().await.expect("dated");
        let dated = tracking.experiment_get(DEFAULT_EXPERIMENT).await.expect("default");
        assert!(dated.created.0 > 0 && dated.updated == dated.created, "{dated:?}");
        tracking.default_experiment_date().await.expect("again");
        assert_eq!(tracking.experiment_get(DEFAULT_EXPERIMENT).await.expect("default"), dated);
    }

    #[tokio::test]
    async fn ids_count_from_one_and_a_name_is_taken_once() {
        let tracking = tracking().await;
        let first = tracking.experiment_ensure("flights").await.expect("first");
        assert_eq!(first.id, ExperimentId(1));
        assert_eq!(tracking.experiment_ensure("flights").await.expect("again"), first);
        let error = tracking.experiment_create("flights", Vec::new()).await;
        assert!(matches!(error, Err(TrackingError::ExperimentExists(_))));
        let tagged = tracking.experiment_create("weather", vec![Tag::new("team", "a")]).await.expect("second");
        assert_eq!((tagged.id, tagged.tags["team"].as_str()), (ExperimentId(2), "a"));
    }

    #[tokio::test]
    async fn a_listing_is_newest_first_with_tags_and_goes_on() {
        let tracking = tracking().await;
        for name in ["a", "b", "c"] {
            tracking.experiment_create(name, vec![Tag::new("name", name)]).await.expect(name);
        }
        let page = tracking.experiment_list(None, 2).await.expect("page");
        assert_eq!(page.iter().map(|one| one.tags["name"].as_str()).collect::<Vec<_>>(), ["c", "b"]);
        let ids = vec![page[1].id, ExperimentId(99), page[0].id];
        let found = tracking.experiment_get_all(ids).await.expect("found");
        assert_eq!(found, [page[1].clone(), page[0].clone()]);
        let rest = tracking.experiment_list(Some(page[1].id), 10).await.expect("rest");
        assert_eq!(rest.iter().map(|one| one.name.as_str()).collect::<Vec<_>>(), ["a", "Default"]);
    }

    #[tokio::test]
    async fn tags_are_replaced_and_names_checked() {
        let tracking = tracking().await;
        tracking.experiment_tag_set(DEFAULT_EXPERIMENT, Tag::new("k", "1")).await.expect("set");
        tracking.experiment_tag_set(DEFAULT_EXPERIMENT, Tag::new("k", "2")).await.expect("set again");
        assert_eq!(tracking.experiment_get(DEFAULT_EXPERIMENT).await.expect("default").tags["k"], "2");
        let absent = tracking.experiment_tag_set(ExperimentId(99), Tag::new("k", "2")).await;
        assert!(matches!(absent, Err(TrackingError::ExperimentAbsent(_))));
        for bad in ["", "a\nb", &"x".repeat(501)] {
            assert!(matches!(tracking.experiment_ensure(bad).await, Err(TrackingError::Name { .. })), "{bad:?}");
        }
    }

    #[tokio::test]
    async fn a_deleted_experiment_takes_its_runs_along_keeps_its_name_and_comes_back_whole() {
        let tracking = tracking().await;
        let id = tracking.experiment_create("flights", vec![Tag::new("k", "v")]).await.expect("created").id;
        let new = NewRun::new(id, Timestamp(1));
        let run = tracking.run_create(new.clone()).await.expect("run").info.id;
        let before = tracking.run_create(new.clone()).await.expect("run").info.id;
        tracking.run_delete(before).await.expect("deleted before");
        tracking.experiment_delete(id).await.expect("deleted");
        assert!(tracking.experiment_get(id).await.expect("still read").deleted);
        assert!(tracking.run_get(run).await.expect("still read").info.deleted);
        let deleted = |result: Result<(), TrackingError>| matches!(result, Err(TrackingError::ExperimentDeleted(_)));
        assert!(deleted(tracking.run_create(new).await.map(|_| ())));
        assert!(deleted(tracking.experiment_tag_set(id, Tag::new("k", "w")).await));
        assert!(deleted(tracking.experiment_tag_delete(id, "k").await));
        let renamed = tracking.experiment_rename(id, "other").await;
        assert!(matches!(renamed, Err(TrackingError::ExperimentRenameDeleted(_))));
        let again = tracking.experiment_create("flights", Vec::new()).await;
        assert!(matches!(again, Err(TrackingError::ExperimentExists(_))));
        assert!(matches!(tracking.experiment_delete(id).await, Err(TrackingError::ExperimentAbsent(_))));
        assert_eq!(tracking.experiment_list(None, 9).await.expect("listed").len(), 1);
        tracking.experiment_restore(id).await.expect("restored");
        assert!(matches!(tracking.experiment_restore(id).await, Err(TrackingError::ExperimentAbsent(_))));
        for run in [run, before] {
            assert!(!tracking.run_get(run).await.expect("run").info.deleted);
        }
    }

    #[tokio::test]
    async fn a_rename_takes_a_free_name_only() {
        let tracking = tracking().await;
        let id = tracking.experiment_create("a", Vec::new()).await.expect("created").id;
        tracking.experiment_rename(id, "a").await.expect("its own name");
        tracking.experiment_rename(id, "b").await.expect("a free name");
        assert_eq!(tracking.experiment_get_by_name("b").await.expect("found").id, id);
        let taken = tracking.experiment_rename(id, "Default").await;
        assert!(matches!(taken, Err(TrackingError::ExperimentExists(_))));
        assert!(matches!(tracking.experiment_rename(id, "").await, Err(TrackingError::Name { .. })));
        let absent = tracking.experiment_rename(ExperimentId(9), "c").await;
        assert!(matches!(absent, Err(TrackingError::ExperimentAbsent(_))));
    }

    #[tokio::test]
    async fn a_location_is_kept_and_told_to_runs() {
        let tracking = tracking().await;
        let at = |location: &str| NewExperiment {
            name: location.to_owned(),
            artifact_location: Some(location.to_owned()),
            ..NewExperiment::default()
        };
        let experiment = tracking.experiment_create_as(at("s3://bucket/x")).await.expect("created");
        assert_eq!(tracking.experiment_get(experiment.id).await.expect("read"), experiment);
        let run = tracking.run_create(NewRun::new(experiment.id, Timestamp(1))).await.expect("run");
        assert_eq!(run.info.artifact_location.as_deref(), Some("s3://bucket/x"));
        assert_eq!(tracking.run_info(run.info.id).await.expect("info"), run.info);
        for bad in ["runs:/abc/x", "s3://bucket/a#b", "s3://bucket/../x", "mlflow-artifacts:/%2e%2e/x"] {
            assert!(tracking.experiment_create_as(at(bad)).await.is_err(), "{bad}");
        }
    }

    #[tokio::test]
    async fn a_deleted_tag_is_gone_once() {
        let tracking = tracking().await;
        tracking.experiment_tag_set(DEFAULT_EXPERIMENT, Tag::new("k", "1")).await.expect("set");
        tracking.experiment_tag_delete(DEFAULT_EXPERIMENT, "k").await.expect("deleted");
        let gone = tracking.experiment_tag_delete(DEFAULT_EXPERIMENT, "k").await;
        assert!(matches!(gone, Err(TrackingError::ExperimentTagAbsent { .. })));
        assert!(tracking.experiment_get(DEFAULT_EXPERIMENT).await.expect("default").tags.is_empty());
    }
}
