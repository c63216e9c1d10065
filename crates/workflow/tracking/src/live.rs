//! What is new about runs, for those who listen: found by asking, with nothing written for it (docs/adr/017-live-events.md).

use std::collections::{BTreeMap, HashMap};

use ropewalk_catalog::{Connection, query};
use ropewalk_types::{ExperimentId, RunId, RunStatus, Timestamp};

use crate::{Metric, Tracking, TrackingError, rows};

/// Most runs of an experiment that are watched: the newest that are at work.
const WATCHED: usize = 256;
/// Most new points of one metric, and most new runs, that one question brings; the next one goes on from there.
const NEW: i64 = 1000;

const COLUMNS: &str = "number, id, experiment_id, name, status, started_at, ended_at, deleted_at";

/// What somebody listens to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LiveTopic {
    /// The runs of an experiment that are at work, or begin or end.
    Experiment(ExperimentId),
    /// One run.
    Run(RunId),
}

/// Something that is new.
#[derive(Clone, Debug, PartialEq)]
pub enum LiveChange {
    /// A run began, or is in another state than before.
    Run(LiveRun),
    /// A point of a metric was logged.
    Metric {
        /// The run.
        run: RunId,
        /// The point.
        point: Metric,
    },
}

/// A run's state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LiveRun {
    /// Its id.
    pub id: RunId,
    /// The experiment that it belongs to.
    pub experiment: ExperimentId,
    /// Its name.
    pub name: String,
    /// Its state.
    pub status: RunStatus,
    /// When it began.
    pub start: Timestamp,
    /// When it ended.
    pub end: Option<Timestamp>,
    /// Whether it was deleted.
    pub deleted: bool,
}

/// What is known already. The first question has none, and is answered by how things stand: runs at work with the latest
/// point of each metric.
#[derive(Clone, Debug, Default)]
pub struct LiveCursor {
    begun: bool,
    /// The number of the newest run of all experiments.
    newest: i64,
    runs: BTreeMap<i64, LiveRun>,
    series: HashMap<i64, Seen>,
}

/// How a metric was.
#[derive(Clone, Copy, Debug)]
struct Seen {
    /// Its latest point; another one says that something was logged.
    latest: Point,
    /// The point, in the order of the history, up to which all was told.
    told: Point,
}

/// A point as it is stored.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Point {
    at: i64,
    step: i64,
    value: f64,
    not_a_number: bool,
}

impl Point {
    fn metric(self, key: &str) -> Metric {
        let value = if self.not_a_number { f64::NAN } else { self.value };
        Metric::new(key, value, self.step, Timestamp(self.at))
    }

    /// The order of the history.
    fn is_after(self, other: Self) -> bool {
        (self.at, self.step) > (other.at, other.step)
            || ((self.at, self.step) == (other.at, other.step) && self.value > other.value)
    }
}

impl LiveRun {
    fn is_at_work(&self) -> bool {
        !self.deleted && matches!(self.status, RunStatus::Running | RunStatus::Scheduled)
    }
}

impl Tracking {
    /// What is new about `topic` since `known`, and what is known then.
    ///
    /// A point is new if it lies, in the order of the history (time, step, value), behind all that were told; one that is
    /// logged with an earlier time, and is not the latest, is in the history alone.
    ///
    /// # Errors
    /// The run that is listened to does not exist, or the catalogue failed.
    pub async fn live_changes(
        &self,
        topic: LiveTopic,
        known: LiveCursor,
    ) -> Result<(LiveCursor, Vec<LiveChange>), TrackingError> {
        self.catalog.read(move |connection| Box::pin(changes(connection, topic, known))).await
    }
}

async fn changes(
    connection: &mut Connection,
    topic: LiveTopic,
    mut known: LiveCursor,
) -> Result<(LiveCursor, Vec<LiveChange>), TrackingError> {
    let runs = match topic {
        LiveTopic::Run(run) => one(connection, run).await?,
        LiveTopic::Experiment(experiment) => of_experiment(connection, experiment, &mut known).await?,
    };
    let mut points = points_new(connection, &runs, &mut known).await?;
    let mut changes = Vec::new();
    for (number, run) in runs {
        let differs = known.runs.get(&number) != Some(&run);
        let logged = points.remove(&number).unwrap_or_default();
        let logged = logged.into_iter().map(|point| LiveChange::Metric { run: run.id, point });
        let (stays, is_at_work) = (matches!(topic, LiveTopic::Run(_)), run.is_at_work());
        // A run begins before its points, and ends after them.
        if differs && is_at_work {
            changes.push(LiveChange::Run(run.clone()));
        }
        changes.extend(logged);
        if differs && !is_at_work {
            changes.push(LiveChange::Run(run.clone()));
        }
        if stays || is_at_work {
            known.runs.insert(number, run);
        } else {
            known.runs.remove(&number);
        }
    }
    while known.runs.len() > WATCHED {
        known.runs.pop_first();
    }
    known.begun = true;
    Ok((known, changes))
}

type RunRow = (i64, String, i64, String, String, i64, Option<i64>, Option<i64>);

fn run_of(row: RunRow) -> Result<(i64, LiveRun), TrackingError> {
    let (number, id, experiment, name, status, start, end, deleted) = row;
    let damaged = |value: &str, expected| TrackingError::Damaged { table: "run", value: value.to_owned(), expected };
    let run = LiveRun {
        id: id.parse().map_err(|_| damaged(&id, "run id"))?,
        experiment: ExperimentId(experiment),
        name,
        status: status.parse().map_err(|_| damaged(&status, "run status"))?,
        start: Timestamp(start),
        end: end.map(Timestamp),
        deleted: deleted.is_some(),
    };
    Ok((number, run))
}

async fn one(connection: &mut Connection, run: RunId) -> Result<BTreeMap<i64, LiveRun>, TrackingError> {
    let select = format!("SELECT {COLUMNS} FROM run WHERE id = $1");
    let found: Option<RunRow> = query(select).bind(run.to_string()).fetch_optional(connection).await?;
    Ok(BTreeMap::from([run_of(found.ok_or(TrackingError::RunAbsent(run))?)?]))
}

/// The runs that are at work, those that began since, and those that were at work before.
async fn of_experiment(
    connection: &mut Connection,
    experiment: ExperimentId,
    known: &mut LiveCursor,
) -> Result<BTreeMap<i64, LiveRun>, TrackingError> {
    // The text of the condition is that of the index `run_active`.
    let select = format!(
        "SELECT {COLUMNS} FROM run WHERE experiment_id = $1 AND status IN ('RUNNING', 'SCHEDULED') \
         ORDER BY number DESC LIMIT $2"
    );
    let most = i64::try_from(WATCHED).unwrap_or(i64::MAX);
    let mut found: Vec<RunRow> = query(select).bind(experiment.0).bind(most).fetch_all(connection).await?;
    if known.begun {
        let select = format!("SELECT {COLUMNS} FROM run WHERE number > $1 ORDER BY number LIMIT $2");
        let begun: Vec<RunRow> = query(select).bind(known.newest).bind(NEW).fetch_all(connection).await?;
        known.newest = begun.last().map_or(known.newest, |(number, ..)| *number);
        found.extend(begun.into_iter().filter(|(_, _, of, ..)| *of == experiment.0));
    } else {
        let newest = query("SELECT COALESCE(MAX(number), 0) FROM run");
        known.newest = newest.fetch_one::<i64>(connection).await?;
    }
    let runs: Result<BTreeMap<i64, LiveRun>, TrackingError> = found.into_iter().map(run_of).collect();
    let mut runs = runs?;
    let before: Vec<i64> = known.runs.keys().copied().filter(|number| !runs.contains_key(number)).collect();
    if !before.is_empty() {
        let select = of_numbers(&format!("SELECT {COLUMNS} FROM run WHERE number"), before.len());
        let again: Vec<RunRow> =
            before.into_iter().fold(query(select), ropewalk_catalog::Query::bind).fetch_all(connection).await?;
        for row in again {
            let (number, run) = run_of(row)?;
            runs.insert(number, run);
        }
    }
    Ok(runs)
}

fn of_numbers(beginning: &str, count: usize) -> String {
    let mut select = format!("{beginning} IN (");
    rows::list(&mut select, 1, count);
    select.push(')');
    select
}

type SeriesRow = (i64, String, i64, i64, i64, f64, i64);

/// The new points of `runs`, by the number of the run.
async fn points_new(
    connection: &mut Connection,
    runs: &BTreeMap<i64, LiveRun>,
    known: &mut LiveCursor,
) -> Result<HashMap<i64, Vec<Metric>>, TrackingError> {
    let mut found: HashMap<i64, Vec<Metric>> = HashMap::new();
    let mut series = HashMap::new();
    let numbers: Vec<i64> = runs.keys().copied().collect();
    for numbers in numbers.chunks(WATCHED) {
        let select = "SELECT run, key, id, logged_at, step, value, not_a_number FROM metric_series WHERE run";
        let select = of_numbers(select, numbers.len()) + " ORDER BY run, key";
        let select = numbers.iter().fold(query(select), |query, number| query.bind(*number));
        let latest: Vec<SeriesRow> = select.fetch_all(connection).await?;
        for (run, key, id, at, step, value, not_a_number) in latest {
            let latest = Point { at, step, value, not_a_number: not_a_number != 0 };
            let seen = known.series.get(&id).copied();
            if !known.begun {
                found.entry(run).or_default().push(latest.metric(&key));
                series.insert(id, Seen { latest, told: latest });
                continue;
            }
            let seen = if seen.is_some_and(|seen| seen.latest == latest) {
                seen
            } else {
                let (points, seen) = series_new(connection, id, latest, seen).await?;
                found.entry(run).or_default().extend(points.into_iter().map(|point| point.metric(&key)));
                Some(seen)
            };
            series.extend(seen.map(|seen| (id, seen)));
        }
    }
    // Those of runs that are watched no more are forgotten.
    known.series = series;
    Ok(found)
}

/// The points of one metric behind those that were told.
async fn series_new(
    connection: &mut Connection,
    series: i64,
    latest: Point,
    seen: Option<Seen>,
) -> Result<(Vec<Point>, Seen), TrackingError> {
    let all = Point { at: i64::MIN, step: i64::MIN, value: f64::MIN, not_a_number: false };
    let told = seen.map_or(all, |seen| seen.told);
    let select = "SELECT logged_at, step, value, not_a_number FROM metric_point \
                  WHERE series = $1 AND (logged_at, step, value) > ($2, $3, $4) \
                  ORDER BY logged_at, step, value LIMIT $5";
    let select = query(select).bind(series).bind(told.at).bind(told.step).bind(told.value).bind(NEW);
    let rows: Vec<(i64, i64, f64, i64)> = select.fetch_all(connection).await?;
    let points = rows.into_iter().map(|(at, step, value, nan)| Point { at, step, value, not_a_number: nan != 0 });
    let mut points: Vec<Point> = points.collect();
    let full = i64::try_from(points.len()).is_ok_and(|count| count >= NEW);
    let told = points.last().copied().unwrap_or(told);
    if full {
        // There may be more: as long as the latest point is not taken over, the next question goes on.
        let before = seen.map_or(all, |seen| seen.latest);
        return Ok((points, Seen { latest: before, told }));
    }
    if points.is_empty() {
        // The latest by its step, but logged with an earlier time than what was told.
        points.push(latest);
    }
    let told = if latest.is_after(told) { latest } else { told };
    Ok((points, Seen { latest, told }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{tracking, tracking_with_run};
    use crate::{DEFAULT_EXPERIMENT, NewRun};

    fn told(changes: &[LiveChange]) -> Vec<String> {
        let told = |change: &LiveChange| match change {
            LiveChange::Run(run) => run.status.to_string(),
            LiveChange::Metric { point, .. } => format!("{}@{}={}", point.key, point.step, point.value),
        };
        changes.iter().map(told).collect()
    }

    async fn log(tracking: &Tracking, run: RunId, key: &str, points: &[(i64, i64, f64)]) {
        let metric = |(at, step, value): &(i64, i64, f64)| Metric::new(key, *value, *step, Timestamp(*at));
        tracking.metrics_log(run, points.iter().map(metric).collect()).await.expect("logged");
    }

    #[tokio::test]
    async fn a_run_is_told_once_with_every_point_in_order() {
        let (tracking, run) = tracking_with_run().await;
        let topic = LiveTopic::Run(run);
        log(&tracking, run, "loss", &[(1, 0, 3.0), (2, 1, 2.0)]).await;
        let (known, first) = tracking.live_changes(topic, LiveCursor::default()).await.expect("state");
        assert_eq!(told(&first), ["RUNNING", "loss@1=2"], "how things stand");
        let (known, none) = tracking.live_changes(topic, known).await.expect("nothing");
        assert!(none.is_empty(), "{none:?}");

        log(&tracking, run, "loss", &[(4, 3, 1.0), (3, 2, f64::NAN)]).await;
        log(&tracking, run, "auc", &[(5, 0, 0.5)]).await;
        tracking.run_finish(run, RunStatus::Finished).await.expect("end");
        let (known, mut new) = tracking.live_changes(topic, known).await.expect("new");
        assert_eq!(new.pop().as_ref().map(|last| told(std::slice::from_ref(last))), Some(vec!["FINISHED".to_owned()]));
        assert_eq!(told(&new), ["auc@0=0.5", "loss@2=NaN", "loss@3=1"]);
        // A late point of a higher step is the latest; one of a lower step is in the history alone.
        log(&tracking, run, "loss", &[(1, 9, 0.1)]).await;
        let (known, late) = tracking.live_changes(topic, known).await.expect("late");
        assert_eq!(told(&late), ["loss@9=0.1"]);
        let (_, none) = tracking.live_changes(topic, known).await.expect("nothing");
        assert!(none.is_empty(), "{none:?}");
    }

    #[tokio::test]
    async fn more_points_than_one_answer_holds_come_with_the_next() {
        let (tracking, run) = tracking_with_run().await;
        let topic = LiveTopic::Run(run);
        let (mut known, _) = tracking.live_changes(topic, LiveCursor::default()).await.expect("state");
        for piece in 0..3 {
            let points: Vec<(i64, i64, f64)> = (0..900).map(|at| (piece * 900 + at, piece * 900 + at, 0.0)).collect();
            log(&tracking, run, "loss", &points).await;
        }
        let mut steps = Vec::new();
        for _ in 0..4 {
            let (next, new) = tracking.live_changes(topic, known).await.expect("new");
            known = next;
            steps.extend(new.iter().map(|change| match change {
                LiveChange::Metric { point, .. } => point.step,
                LiveChange::Run(_) => -1,
            }));
        }
        assert_eq!(steps, (0..2700).collect::<Vec<i64>>());
    }

    #[tokio::test]
    async fn an_experiment_tells_of_its_own_runs_also_of_short_ones() {
        let tracking = tracking().await;
        let other = tracking.experiment_create("other", Vec::new()).await.expect("experiment").id;
        let begin = async |experiment: ExperimentId| {
            tracking.run_create(NewRun::new(experiment, Timestamp(1))).await.expect("run").info.id
        };
        let (ended, running) = (begin(DEFAULT_EXPERIMENT).await, begin(DEFAULT_EXPERIMENT).await);
        tracking.run_finish(ended, RunStatus::Finished).await.expect("end");
        let topic = LiveTopic::Experiment(DEFAULT_EXPERIMENT);
        let (known, first) = tracking.live_changes(topic, LiveCursor::default()).await.expect("state");
        assert_eq!(told(&first), ["RUNNING"], "what had ended is no news");

        begin(other).await;
        let short = begin(DEFAULT_EXPERIMENT).await;
        log(&tracking, short, "auc", &[(1, 0, 0.5)]).await;
        tracking.run_finish(short, RunStatus::Failed).await.expect("end");
        tracking.run_finish(running, RunStatus::Finished).await.expect("end");
        let (known, new) = tracking.live_changes(topic, known).await.expect("new");
        assert_eq!(told(&new), ["FINISHED", "auc@0=0.5", "FAILED"]);
        let (known, none) = tracking.live_changes(topic, known).await.expect("nothing");
        assert!(none.is_empty() && known.runs.is_empty() && known.series.is_empty(), "{none:?} {known:?}");
    }

    #[tokio::test]
    async fn a_run_that_is_not_there_is_said() {
        let (tracking, _) = tracking_with_run().await;
        let absent = LiveTopic::Run("0".repeat(32).parse().expect("id"));
        let told = tracking.live_changes(absent, LiveCursor::default()).await;
        assert!(matches!(told, Err(TrackingError::RunAbsent(_))));
    }
}
