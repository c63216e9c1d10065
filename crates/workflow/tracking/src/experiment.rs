use std::collections::{BTreeMap, HashMap};

use ropewalk_types::{ExperimentId, Timestamp};
use serde::Serialize;
use sqlx::{Any, AnyConnection};

use crate::limits::{experiment_name_check, experiment_tag_check};
use crate::{Tag, TrackingError};

/// The experiment that always exists, named `Default`.
pub const DEFAULT_EXPERIMENT: ExperimentId = ExperimentId(0);

/// Runs that belong together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Experiment {
    /// Its id: counted from 1; 0 is the default experiment.
    pub id: ExperimentId,
    /// Its name, unique.
    pub name: String,
    /// When it was created; 0 for the default experiment.
    pub created: Timestamp,
    /// When it was last changed.
    pub updated: Timestamp,
    /// Its tags, by key.
    pub tags: BTreeMap<String, String>,
}

type Row = (i64, String, i64, i64);

/// Creates an experiment in the caller's transaction; a name that is taken is an error.
pub async fn experiment_create(
    connection: &mut AnyConnection,
    name: &str,
    tags: &[Tag],
    at: Timestamp,
) -> Result<Experiment, TrackingError> {
    experiment_name_check(name)?;
    tags.iter().try_for_each(|tag| experiment_tag_check(&tag.key, &tag.value))?;
    if find(connection, name).await?.is_some() {
        return Err(TrackingError::ExperimentExists(name.to_owned()));
    }
    let id = ExperimentId(count_up(connection, "experiment", 1).await?);
    // Another server may have taken the name since it was looked up.
    let insert = "INSERT INTO experiment (id, name, created_at, updated_at) VALUES ($1, $2, $3, $3) \
                  ON CONFLICT (name) DO NOTHING";
    let inserted = sqlx::query(insert).bind(id.0).bind(name).bind(at.0).execute(&mut *connection).await?;
    if inserted.rows_affected() == 0 {
        return Err(TrackingError::ExperimentExists(name.to_owned()));
    }
    for tag in tags {
        tag_upsert(connection, id, tag).await?;
    }
    get(connection, id).await
}

/// The experiment of this name, created in the caller's transaction if there is none.
pub async fn experiment_ensure(
    connection: &mut AnyConnection,
    name: &str,
    at: Timestamp,
) -> Result<Experiment, TrackingError> {
    match find(connection, name).await? {
        Some(experiment) => Ok(experiment),
        None => match experiment_create(connection, name, &[], at).await {
            Err(TrackingError::ExperimentExists(name)) => by_name(connection, &name).await,
            created => created,
        },
    }
}

/// The last of the next `count` numbers of a counter.
pub(crate) async fn count_up(connection: &mut AnyConnection, counter: &str, count: i64) -> Result<i64, TrackingError> {
    let update = "UPDATE tracking_counter SET last = last + $2 WHERE name = $1 RETURNING last";
    Ok(sqlx::query_scalar(update).bind(counter).bind(count).fetch_one(connection).await?)
}

pub(crate) async fn tag_set(
    connection: &mut AnyConnection,
    id: ExperimentId,
    tag: &Tag,
    at: Timestamp,
) -> Result<(), TrackingError> {
    experiment_tag_check(&tag.key, &tag.value)?;
    let update = "UPDATE experiment SET updated_at = $2 WHERE id = $1";
    let updated = sqlx::query(update).bind(id.0).bind(at.0).execute(&mut *connection).await?;
    if updated.rows_affected() == 0 {
        return Err(TrackingError::ExperimentAbsent(id));
    }
    tag_upsert(connection, id, tag).await
}

async fn tag_upsert(connection: &mut AnyConnection, id: ExperimentId, tag: &Tag) -> Result<(), TrackingError> {
    let upsert = "INSERT INTO experiment_tag (experiment_id, key, value) VALUES ($1, $2, $3) \
                  ON CONFLICT (experiment_id, key) DO UPDATE SET value = excluded.value";
    sqlx::query(upsert).bind(id.0).bind(tag.key.as_str()).bind(tag.value.as_str()).execute(connection).await?;
    Ok(())
}

pub(crate) async fn get(connection: &mut AnyConnection, id: ExperimentId) -> Result<Experiment, TrackingError> {
    let select = "SELECT id, name, created_at, updated_at FROM experiment WHERE id = $1";
    let row: Option<Row> = sqlx::query_as::<Any, _>(select).bind(id.0).fetch_optional(&mut *connection).await?;
    with_tags(connection, row.ok_or(TrackingError::ExperimentAbsent(id))?).await
}

pub(crate) async fn by_name(connection: &mut AnyConnection, name: &str) -> Result<Experiment, TrackingError> {
    find(connection, name).await?.ok_or_else(|| TrackingError::ExperimentNameAbsent(name.to_owned()))
}

async fn find(connection: &mut AnyConnection, name: &str) -> Result<Option<Experiment>, TrackingError> {
    let select = "SELECT id, name, created_at, updated_at FROM experiment WHERE name = $1";
    let row: Option<Row> = sqlx::query_as::<Any, _>(select).bind(name).fetch_optional(&mut *connection).await?;
    match row {
        Some(row) => with_tags(connection, row).await.map(Some),
        None => Ok(None),
    }
}

async fn with_tags(connection: &mut AnyConnection, row: Row) -> Result<Experiment, TrackingError> {
    let select = "SELECT key, value FROM experiment_tag WHERE experiment_id = $1";
    let tags: Vec<(String, String)> = sqlx::query_as::<Any, _>(select).bind(row.0).fetch_all(connection).await?;
    Ok(experiment(row, tags.into_iter().collect()))
}

fn experiment((id, name, created, updated): Row, tags: BTreeMap<String, String>) -> Experiment {
    Experiment { id: ExperimentId(id), name, created: Timestamp(created), updated: Timestamp(updated), tags }
}

/// The newest experiments with an id below `before`, at most `limit`.
pub(crate) async fn list(
    connection: &mut AnyConnection,
    before: Option<ExperimentId>,
    limit: usize,
) -> Result<Vec<Experiment>, TrackingError> {
    let select = "SELECT id, name, created_at, updated_at FROM experiment WHERE id < $1 ORDER BY id DESC LIMIT $2";
    let before = before.map_or(i64::MAX, |id| id.0);
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let rows: Vec<Row> = sqlx::query_as::<Any, _>(select).bind(before).bind(limit).fetch_all(&mut *connection).await?;
    let Some(last) = rows.last() else { return Ok(Vec::new()) };
    let select =
        "SELECT experiment_id, key, value FROM experiment_tag WHERE experiment_id >= $1 AND experiment_id < $2";
    let found: Vec<(i64, String, String)> =
        sqlx::query_as::<Any, _>(select).bind(last.0).bind(before).fetch_all(connection).await?;
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
    use crate::testing::tracking;

    #[tokio::test]
    async fn the_default_experiment_is_there() {
        let tracking = tracking().await;
        assert_eq!(tracking.experiment_get(DEFAULT_EXPERIMENT).await.expect("default").name, "Default");
        assert_eq!(tracking.experiment_ensure("Default").await.expect("default").id, DEFAULT_EXPERIMENT);
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
}
