use std::collections::{BTreeMap, HashMap};

use ropewalk_types::{ExperimentId, RunId, RunStatus, Timestamp};
use sqlx::any::AnyArguments;
use sqlx::query::QueryAs;
use sqlx::{Any, AnyConnection, AssertSqlSafe};

use super::{Lifecycle, Run, RunCursor, RunFilter, RunInfo, RunPage};
use crate::limits::{RUN_PAGE, name_error};
use crate::metric::{LatestRow, latest};
use crate::{Metric, TrackingError, rows};

/// Most experiments that one listing may name: each is a parameter of the statement.
const EXPERIMENTS: usize = 10_000;

const COLUMNS: &str = "id, experiment_id, name, user_name, status, started_at, ended_at, deleted_at";

type InfoRow = (String, i64, String, String, String, i64, Option<i64>, Option<i64>);

pub(crate) fn id(text: &str) -> Result<RunId, TrackingError> {
    text.parse().map_err(|_| TrackingError::Damaged { table: "run", value: text.to_owned(), expected: "run id" })
}

fn info_of(row: InfoRow) -> Result<RunInfo, TrackingError> {
    let (run, experiment, name, user, status, start, end, deleted) = row;
    let status: RunStatus =
        status.parse().map_err(|_| TrackingError::Damaged { table: "run", value: status, expected: "run status" })?;
    Ok(RunInfo {
        id: id(&run)?,
        experiment: ExperimentId(experiment),
        name,
        user,
        status,
        start: Timestamp(start),
        end: end.map(Timestamp),
        deleted: deleted.is_some(),
    })
}

pub(crate) async fn info(connection: &mut AnyConnection, run: RunId) -> Result<RunInfo, TrackingError> {
    let select = "SELECT id, experiment_id, name, user_name, status, started_at, ended_at, deleted_at \
                  FROM run WHERE id = $1";
    let row: Option<InfoRow> =
        sqlx::query_as::<Any, _>(select).bind(run.to_string()).fetch_optional(connection).await?;
    info_of(row.ok_or(TrackingError::RunAbsent(run))?)
}

pub(crate) async fn get(connection: &mut AnyConnection, run: RunId) -> Result<Run, TrackingError> {
    let info = info(connection, run).await?;
    let mut runs = with_data(connection, vec![info]).await?;
    runs.pop().ok_or(TrackingError::RunAbsent(run))
}

pub(crate) async fn list(
    connection: &mut AnyConnection,
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
    // The text depends on the request: kept prepared, it would push the others out.
    let mut query = sqlx::query_as::<Any, InfoRow>(AssertSqlSafe(statement)).persistent(false);
    for value in values {
        query = value.bind(query);
    }
    let mut infos = query.fetch_all(&mut *connection).await?.into_iter().map(info_of).collect::<Result<Vec<_>, _>>()?;
    let more = infos.len() > limit;
    infos.truncate(limit);
    let next = infos.last().filter(|_| more).map(|last| RunCursor { start: last.start, id: last.id });
    Ok(RunPage { runs: with_data(connection, infos).await?, next })
}

type InfoQuery<'q> = QueryAs<'q, Any, InfoRow, AnyArguments>;

/// A value for a placeholder.
enum Value {
    Number(i64),
    Text(String),
}

impl Value {
    fn bind(self, query: InfoQuery<'_>) -> InfoQuery<'_> {
        match self {
            Self::Number(number) => query.bind(number),
            Self::Text(text) => query.bind(text),
        }
    }
}

fn select(filter: &RunFilter, limit: usize) -> (String, Vec<Value>) {
    let mut statement = format!("SELECT {COLUMNS} FROM run WHERE 1 = 1");
    let mut values = Vec::new();
    if let Some(experiments) = &filter.experiments {
        statement.push_str(" AND experiment_id IN (");
        rows::list(&mut statement, values.len() + 1, experiments.len());
        statement.push(')');
        values.extend(experiments.iter().map(|id| Value::Number(id.0)));
    }
    if let Some(status) = filter.status {
        values.push(Value::Text(status.as_str().to_owned()));
        statement.push_str(" AND status = ");
        rows::list(&mut statement, values.len(), 1);
    }
    statement.push_str(match filter.lifecycle {
        Lifecycle::Active => " AND deleted_at IS NULL",
        Lifecycle::Deleted => " AND deleted_at IS NOT NULL",
        Lifecycle::Any => "",
    });
    if let Some(after) = filter.after {
        values.push(Value::Number(after.start.0));
        values.push(Value::Text(after.id.to_string()));
        let (start, id) = (values.len() - 1, values.len());
        // Not `started_at < … OR …` alone: the index is entered at the first condition.
        statement.push_str(" AND started_at <= ");
        rows::list(&mut statement, start, 1);
        statement.push_str(" AND (started_at < ");
        rows::list(&mut statement, start, 1);
        statement.push_str(" OR id > ");
        rows::list(&mut statement, id, 1);
        statement.push(')');
    }
    values.push(Value::Number(limit as i64));
    statement.push_str(" ORDER BY started_at DESC, id LIMIT ");
    rows::list(&mut statement, values.len(), 1);
    (statement, values)
}

/// Fills in what was logged to the runs, with three statements for some dozens of runs.
async fn with_data(connection: &mut AnyConnection, infos: Vec<RunInfo>) -> Result<Vec<Run>, TrackingError> {
    let ids: Vec<String> = infos.iter().map(|info| info.id.to_string()).collect();
    let mut params: Pairs = HashMap::new();
    let mut tags: Pairs = HashMap::new();
    let mut metrics: HashMap<String, Vec<Metric>> = HashMap::new();
    for slice in rows::slices(&ids) {
        pairs(connection, "param", slice, &mut params).await?;
        pairs(connection, "run_tag", slice, &mut tags).await?;
        latest_points(connection, slice, &mut metrics).await?;
    }
    let run = |(info, id): (RunInfo, &String)| Run {
        info,
        params: params.remove(id).unwrap_or_default(),
        metrics: metrics.remove(id).unwrap_or_default(),
        tags: tags.remove(id).unwrap_or_default(),
    };
    Ok(infos.into_iter().zip(&ids).map(run).collect())
}

type Pairs = HashMap<String, BTreeMap<String, String>>;

fn of_runs(columns: &str, table: &str, runs: usize) -> String {
    let mut statement = format!("SELECT {columns} FROM {table} WHERE run_id IN (");
    rows::list(&mut statement, 1, runs);
    statement.push(')');
    statement
}

async fn pairs(
    connection: &mut AnyConnection,
    table: &str,
    ids: &[String],
    into: &mut Pairs,
) -> Result<(), TrackingError> {
    let statement = of_runs("run_id, key, value", table, ids.len());
    let mut query = sqlx::query_as::<Any, (String, String, String)>(AssertSqlSafe(statement));
    for id in ids {
        query = query.bind(id.as_str());
    }
    for (run, key, value) in query.fetch_all(connection).await? {
        into.entry(run).or_default().insert(key, value);
    }
    Ok(())
}

async fn latest_points(
    connection: &mut AnyConnection,
    ids: &[String],
    into: &mut HashMap<String, Vec<Metric>>,
) -> Result<(), TrackingError> {
    let statement = of_runs("run_id, key, step, logged_at, value, not_a_number", "metric_series", ids.len());
    let mut query = sqlx::query_as::<Any, LatestRow>(AssertSqlSafe(statement));
    for id in ids {
        query = query.bind(id.as_str());
    }
    for row in query.fetch_all(connection).await? {
        let (run, metric) = latest(row);
        into.entry(run).or_default().push(metric);
    }
    // Sorted here: databases differ in how they sort text.
    for metrics in into.values_mut() {
        metrics.sort_by(|a, b| a.key.cmp(&b.key));
    }
    Ok(())
}

/// All values that some run has for a tag, each once.
pub(crate) async fn tag_values(connection: &mut AnyConnection, key: &str) -> Result<Vec<String>, TrackingError> {
    let select = "SELECT DISTINCT value FROM run_tag WHERE key = $1 ORDER BY value";
    Ok(sqlx::query_scalar(select).bind(key).fetch_all(connection).await?)
}

/// The names of the runs that have this value for a tag, the newest first.
pub(crate) async fn tag_holders(
    connection: &mut AnyConnection,
    key: &str,
    value: &str,
) -> Result<Vec<String>, TrackingError> {
    let select = "SELECT run.name FROM run JOIN run_tag ON run_tag.run_id = run.id \
                  WHERE run_tag.key = $1 AND run_tag.value = $2 ORDER BY run.started_at DESC, run.id DESC";
    Ok(sqlx::query_scalar(select).bind(key).bind(value).fetch_all(connection).await?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::tracking;
    use crate::{DEFAULT_EXPERIMENT, NewRun, Param, Tracking};

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
