use std::collections::HashMap;

use ropewalk_catalog::{Connection, Query, Row, Value, query};
use ropewalk_types::{ExperimentId, RunId, RunStatus, Timestamp};

use super::{Lifecycle, Run, RunCursor, RunFilter, RunInfo, RunPage};
use crate::limits::{RUN_PAGE, name_error};
use crate::metric::latest;
use crate::{ModelOutput, TrackingError, input, rows};

/// Most experiments that one listing may name: each is a parameter of the statement.
const EXPERIMENTS: usize = 10_000;

const INFOS: &str = "SELECT run.number, run.id, run.experiment_id, run.name, run.user_name, run.status, \
                     run.started_at, run.ended_at, run.deleted_at, experiment.artifact_location \
                     FROM run JOIN experiment ON experiment.id = run.experiment_id WHERE ";

type InfoRow = (i64, String, i64, String, String, String, i64, Option<i64>, Option<i64>, Option<String>);

/// What a run is, with the number under which what was logged to it is kept.
struct Numbered {
    number: i64,
    info: RunInfo,
}

pub(crate) fn id(text: &str) -> Result<RunId, TrackingError> {
    text.parse().map_err(|_| TrackingError::Damaged { table: "run", value: text.to_owned(), expected: "run id" })
}

fn numbered(row: InfoRow) -> Result<Numbered, TrackingError> {
    let (number, run, experiment, name, user, status, start, end, deleted, artifact_location) = row;
    let status: RunStatus =
        status.parse().map_err(|_| TrackingError::Damaged { table: "run", value: status, expected: "run status" })?;
    let info = RunInfo {
        id: id(&run)?,
        experiment: ExperimentId(experiment),
        name,
        user,
        status,
        start: Timestamp(start),
        end: end.map(Timestamp),
        deleted: deleted.is_some(),
        artifact_location,
    };
    Ok(Numbered { number, info })
}

async fn by_id(connection: &mut Connection, run: RunId) -> Result<Numbered, TrackingError> {
    let found: Option<InfoRow> =
        query(format!("{INFOS}run.id = $1")).bind(run.to_string()).fetch_optional(connection).await?;
    numbered(found.ok_or(TrackingError::RunAbsent(run))?)
}

/// What a run is, deleted or not.
pub(crate) async fn info(connection: &mut Connection, run: RunId) -> Result<RunInfo, TrackingError> {
    Ok(by_id(connection, run).await?.info)
}

pub(crate) async fn get(connection: &mut Connection, run: RunId) -> Result<Run, TrackingError> {
    let found = by_id(connection, run).await?;
    let mut runs = with_data(connection, vec![found]).await?;
    runs.pop().ok_or(TrackingError::RunAbsent(run))
}

/// The runs with these numbers, in this order, with what was logged to them: what a search found.
pub(crate) async fn by_numbers(connection: &mut Connection, numbers: &[i64]) -> Result<Vec<Run>, TrackingError> {
    let mut found = Vec::with_capacity(numbers.len());
    for piece in rows::pieces(numbers) {
        let infos: Vec<InfoRow> =
            of_numbers(&format!("{INFOS}run.number IN "), &piece, "").fetch_all(connection).await?;
        for row in infos {
            found.push(numbered(row)?);
        }
    }
    let places: HashMap<i64, usize> = numbers.iter().copied().zip(0..).collect();
    found.sort_unstable_by_key(|one| places.get(&one.number).copied());
    with_data(connection, found).await
}

pub(crate) async fn list(
    connection: &mut Connection,
    filter: &RunFilter,
    limit: usize,
) -> Result<RunPage, TrackingError> {
    let limit = limit.clamp(1, RUN_PAGE);
    if let Some(experiments) = &filter.experiments {
        if experiments.is_empty() {
            return Ok(RunPage { runs: Vec::new(), next: None });
        }
        if experiments.len() > EXPERIMENTS {
            let rule = format!("a listing names at most {EXPERIMENTS} experiments");
            return Err(name_error("list of experiments", &format!("{} ids", experiments.len()), &rule));
        }
    }
    let (statement, values) = select(filter, limit + 1);
    let listing: Query = values.into_iter().fold(query(statement), Query::bind);
    let found: Vec<InfoRow> = listing.fetch_all(connection).await?;
    let more = found.len() > limit;
    let found = found.into_iter().take(limit).map(numbered).collect::<Result<Vec<Numbered>, TrackingError>>()?;
    let next = found.last().filter(|_| more).map(|last| RunCursor { start: last.info.start, id: last.info.id });
    Ok(RunPage { runs: with_data(connection, found).await?, next })
}

fn select(filter: &RunFilter, limit: usize) -> (String, Vec<Value>) {
    let mut statement = format!("{INFOS}1 = 1");
    let mut values: Vec<Value> = Vec::new();
    if let Some(experiments) = &filter.experiments {
        statement.push_str(" AND run.experiment_id IN (");
        rows::list(&mut statement, values.len() + 1, experiments.len());
        statement.push(')');
        values.extend(experiments.iter().map(|id| Value::from(id.0)));
    }
    if let Some(status) = filter.status {
        values.push(Value::from(status.as_str()));
        statement.push_str(" AND run.status = ");
        rows::list(&mut statement, values.len(), 1);
    }
    statement.push_str(match filter.lifecycle {
        Lifecycle::Active => " AND run.deleted_at IS NULL",
        Lifecycle::Deleted => " AND run.deleted_at IS NOT NULL",
        Lifecycle::Any => "",
    });
    if let Some(after) = filter.after {
        values.push(Value::from(after.start.0));
        values.push(Value::from(after.id.to_string()));
        let (start, id) = (values.len() - 1, values.len());
        // Not `started_at < … OR …` alone: the index is entered at the first condition.
        statement.push_str(" AND run.started_at <= ");
        rows::list(&mut statement, start, 1);
        statement.push_str(" AND (run.started_at < ");
        rows::list(&mut statement, start, 1);
        statement.push_str(" OR run.id > ");
        rows::list(&mut statement, id, 1);
        statement.push(')');
    }
    values.push(Value::from(limit as i64));
    statement.push_str(" ORDER BY run.started_at DESC, run.id LIMIT ");
    rows::list(&mut statement, values.len(), 1);
    (statement, values)
}

/// `select` with `piece` as its `IN` list, and `end` behind it.
pub(crate) fn of_numbers(select: &str, piece: &[i64], end: &str) -> Query {
    let statement = format!("{select}({}){end}", rows::places(piece.len()));
    piece.iter().copied().fold(query(statement), Query::bind)
}

/// Runs that are being filled. Rows come run after run, so the run of the row before is looked at first.
pub(crate) struct Page {
    runs: Vec<Run>,
    places: HashMap<i64, usize>,
    last: Option<(i64, usize)>,
}

impl Page {
    fn new(found: Vec<Numbered>) -> Self {
        let places = found.iter().map(|one| one.number).zip(0..).collect();
        Self { runs: found.into_iter().map(|one| Run::bare(one.info)).collect(), places, last: None }
    }

    /// The run with this number.
    pub(crate) fn run(&mut self, number: i64) -> Option<&mut Run> {
        let place = match self.last {
            Some((known, place)) if known == number => place,
            _ => *self.places.get(&number)?,
        };
        self.last = Some((number, place));
        self.runs.get_mut(place)
    }

    fn finish(mut self) -> Vec<Run> {
        for run in &mut self.runs {
            run.params.sort();
            run.tags.sort();
            run.metrics.sort_unstable_by(|a, b| a.key.cmp(&b.key));
        }
        self.runs
    }
}

/// Fills in what was logged to the runs, with a handful of statements for some hundreds of runs.
async fn with_data(connection: &mut Connection, found: Vec<Numbered>) -> Result<Vec<Run>, TrackingError> {
    let numbers: Vec<i64> = found.iter().map(|one| one.number).collect();
    let mut page = Page::new(found);
    for piece in rows::pieces(&numbers) {
        logged(connection, &piece, &mut page).await?;
        input::of_runs(connection, &piece, &mut page).await?;
        models(connection, &piece, &mut page).await?;
    }
    Ok(page.finish())
}

async fn logged(connection: &mut Connection, piece: &[i64], page: &mut Page) -> Result<(), TrackingError> {
    let params = of_numbers("SELECT run, key, value FROM param WHERE run IN ", piece, "");
    params
        .for_each(connection, |row: &Row<'_>| {
            if let Some(run) = page.run(row.get::<i64>(0)?) {
                run.params.push(row.get::<String>(1)?, row.get::<String>(2)?);
            }
            Ok(())
        })
        .await?;
    let tags = of_numbers("SELECT run, key, value FROM run_tag WHERE run IN ", piece, "");
    tags.for_each(connection, |row: &Row<'_>| {
        if let Some(run) = page.run(row.get::<i64>(0)?) {
            run.tags.push(row.get::<String>(1)?, row.get::<String>(2)?);
        }
        Ok(())
    })
    .await?;
    let select = "SELECT run, key, step, logged_at, value, not_a_number FROM metric_series WHERE run IN ";
    let metrics = of_numbers(select, piece, "");
    metrics
        .for_each(connection, |row: &Row<'_>| {
            if let Some(run) = page.run(row.get::<i64>(0)?) {
                run.metrics.push(latest(row)?);
            }
            Ok(())
        })
        .await?;
    Ok(())
}

async fn models(connection: &mut Connection, piece: &[i64], page: &mut Page) -> Result<(), TrackingError> {
    let select = "SELECT run, role, model, step FROM run_model WHERE run IN ";
    let models = of_numbers(select, piece, " ORDER BY run, role, model, step");
    models
        .for_each(connection, |row: &Row<'_>| {
            let Some(run) = page.run(row.get::<i64>(0)?) else { return Ok(()) };
            let model: String = row.get(2)?;
            if row.get::<&str>(1)? == input::MODEL_INPUT {
                run.models_read.push(model);
            } else {
                run.models_made.push(ModelOutput { model, step: row.get(3)? });
            }
            Ok(())
        })
        .await?;
    Ok(())
}

/// All values that some run has for a tag, each once.
pub(crate) async fn tag_values(connection: &mut Connection, key: &str) -> Result<Vec<String>, TrackingError> {
    let select = "SELECT DISTINCT value FROM run_tag WHERE key = $1 ORDER BY value";
    Ok(query(select).bind(key).fetch_all(connection).await?)
}

/// The names of the runs that have this value for a tag, the newest first.
pub(crate) async fn tag_holders(
    connection: &mut Connection,
    key: &str,
    value: &str,
) -> Result<Vec<String>, TrackingError> {
    // The first condition on the value is what the index knows.
    let select = "SELECT run.name FROM run_tag JOIN run ON run.number = run_tag.run \
                  WHERE run_tag.key = $1 AND substr(run_tag.value, 1, 64) = substr($2, 1, 64) \
                  AND run_tag.value = $2 ORDER BY run.started_at DESC, run.id DESC";
    Ok(query(select).bind(key).bind(value).fetch_all(connection).await?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::tracking;
    use crate::{DEFAULT_EXPERIMENT, Metric, NewRun, Param, Tracking};

    async fn runs_at(tracking: &Tracking, experiment: ExperimentId, starts: &[i64]) -> Vec<RunId> {
        let mut ids = Vec::new();
        for start in starts {
            let run = tracking.run_create(NewRun::new(experiment, Timestamp(*start))).await.expect("run");
            ids.push(run.info.id);
        }
        ids
    }

    #[tokio::test]
    async fn pages_are_newest_first_and_meet_without_gap_or_overlap() {
        let tracking = tracking().await;
        let mut expected = Vec::new();
        for start in [7, 3, 7, 9, 7, 1] {
            let ids = runs_at(&tracking, DEFAULT_EXPERIMENT, &[start]).await;
            expected.push((std::cmp::Reverse(start), ids[0]));
        }
        expected.sort();
        let mut filter = RunFilter::default();
        let mut seen = Vec::new();
        loop {
            let page = tracking.run_list(filter.clone(), 2).await.expect("page");
            seen.extend(page.runs.iter().map(|run| run.info.id));
            match page.next {
                Some(next) => filter.after = Some(next.to_string().parse().expect("cursor")),
                None => break,
            }
        }
        assert_eq!(seen, expected.into_iter().map(|(_, id)| id).collect::<Vec<_>>());
    }

    #[tokio::test]
    async fn filters_hold_together() {
        let tracking = tracking().await;
        let other = tracking.experiment_ensure("other").await.expect("experiment").id;
        let here = runs_at(&tracking, DEFAULT_EXPERIMENT, &[1, 2, 3]).await;
        let there = runs_at(&tracking, other, &[4]).await;
        tracking.run_finish(here[0], RunStatus::Finished).await.expect("finish");
        tracking.run_delete(here[1]).await.expect("delete");
        let ids = async |filter: RunFilter| {
            let page = tracking.run_list(filter, 100).await.expect("page");
            page.runs.iter().map(|run| run.info.id).collect::<Vec<_>>()
        };
        let default = RunFilter { experiments: Some(vec![DEFAULT_EXPERIMENT]), ..RunFilter::default() };
        assert_eq!(ids(default.clone()).await, [here[2], here[0]]);
        assert_eq!(ids(RunFilter { status: Some(RunStatus::Finished), ..default.clone() }).await, [here[0]]);
        assert_eq!(ids(RunFilter { lifecycle: Lifecycle::Deleted, ..default }).await, [here[1]]);
        assert_eq!(ids(RunFilter::default()).await, [there[0], here[2], here[0]]);
        assert!(ids(RunFilter { experiments: Some(Vec::new()), ..RunFilter::default() }).await.is_empty());
        let all = RunFilter { lifecycle: Lifecycle::Any, ..RunFilter::default() };
        assert_eq!(ids(all).await.len(), 4);
    }

    #[tokio::test]
    async fn numbers_give_whole_runs_in_the_order_asked_for() {
        let tracking = tracking().await;
        let ids = runs_at(&tracking, DEFAULT_EXPERIMENT, &[1, 2, 3]).await;
        tracking.param_log(ids[0], Param::new("b", "1")).await.expect("param");
        tracking.param_log(ids[0], Param::new("a", "2")).await.expect("param");
        let found = tracking
            .catalog
            .read(|connection| Box::pin(async move { by_numbers(connection, &[3, 1, 2]).await }))
            .await
            .expect("runs");
        assert_eq!(found.iter().map(|run| run.info.id).collect::<Vec<_>>(), [ids[2], ids[0], ids[1]]);
        assert_eq!(found[1].params.iter().map(|(key, _)| key.as_str()).collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(found[1], tracking.run_get(ids[0]).await.expect("run"));
    }

    #[tokio::test]
    async fn each_listed_run_has_its_own_data() {
        let tracking = tracking().await;
        let ids = runs_at(&tracking, DEFAULT_EXPERIMENT, &(0..150).collect::<Vec<_>>()).await;
        for (number, id) in ids.iter().enumerate() {
            tracking.param_log(*id, Param::new("number", number.to_string())).await.expect("param");
            let metric = Metric::new("value", number as f64, 0, Timestamp(0));
            tracking.metric_log(*id, metric).await.expect("metric");
        }
        let page = tracking.run_list(RunFilter::default(), 1000).await.expect("page");
        assert_eq!(page.runs.len(), 150);
        for (position, run) in page.runs.iter().enumerate() {
            let number = 149 - position;
            assert_eq!(run.params["number"], number.to_string());
            assert!((run.metric("value").expect("metric").value - number as f64).abs() < f64::EPSILON);
        }
    }
}
