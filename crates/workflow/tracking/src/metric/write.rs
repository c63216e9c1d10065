use std::collections::BTreeMap;

use ropewalk_catalog::{Connection, Value, query, rows_insert};

use super::Point;
use crate::experiment::count_up;
use crate::run::write::Held;
use crate::{Metric, TrackingError};

/// Up to so many keys are looked up one by one; for more the run's metrics are read at once.
const KEYS_ONE_BY_ONE: usize = 8;

const SERIES_HEAD: &str =
    "INSERT INTO metric_series (run, key, id, experiment_id, step, logged_at, value, not_a_number)";
const POINT_HEAD: &str = "INSERT INTO metric_point (series, logged_at, step, value, not_a_number)";

/// One metric of the run: its number in the database, its latest point, and whether that is new.
#[derive(Clone, Copy, Debug)]
struct Series {
    id: Option<i64>,
    latest: Point,
    changed: bool,
}

impl Series {
    fn add(&mut self, point: Point) {
        if point.order(&self.latest).is_gt() {
            self.latest = point;
            self.changed = true;
        }
    }
}

type SeriesByKey<'m> = BTreeMap<&'m str, Series>;

/// Appends points to a run that may be written; a point that is there already is not stored again.
pub(crate) async fn points_write(
    connection: &mut Connection,
    held: Held,
    metrics: &[Metric],
) -> Result<(), TrackingError> {
    match metrics {
        [] => Ok(()),
        [metric] => point_write(connection, held, metric).await,
        _ => many_write(connection, held, metrics).await,
    }
}

/// What clients do most: two statements if the metric is known.
async fn point_write(connection: &mut Connection, held: Held, metric: &Metric) -> Result<(), TrackingError> {
    let point = Point::of(metric);
    let Point { at, step, value, not_a_number } = point;
    let update = "UPDATE metric_series SET \
                  step = CASE WHEN ($3, $4, $5) > (step, logged_at, value) THEN $3 ELSE step END, \
                  logged_at = CASE WHEN ($3, $4, $5) > (step, logged_at, value) THEN $4 ELSE logged_at END, \
                  value = CASE WHEN ($3, $4, $5) > (step, logged_at, value) THEN $5 ELSE value END, \
                  not_a_number = CASE WHEN ($3, $4, $5) > (step, logged_at, value) THEN $6 ELSE not_a_number END \
                  WHERE run = $1 AND key = $2 RETURNING id";
    let update = query(update).bind(held.number).bind(metric.key.as_str()).bind(step).bind(at).bind(value);
    let known: Option<i64> = update.bind(i64::from(not_a_number)).fetch_optional(connection).await?;
    let id = if let Some(id) = known {
        id
    } else {
        let id = count_up(connection, "metric_series", 1).await?;
        let series = vec![series_row(held, &metric.key, id, point)];
        rows_insert(connection, SERIES_HEAD, series, "").await?;
        id
    };
    let insert = "INSERT INTO metric_point (series, logged_at, step, value, not_a_number) \
                  VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING";
    let insert = query(insert).bind(id).bind(at).bind(step).bind(value).bind(i64::from(not_a_number));
    insert.execute(connection).await?;
    Ok(())
}

async fn many_write(connection: &mut Connection, held: Held, metrics: &[Metric]) -> Result<(), TrackingError> {
    let mut series = latest_of(metrics);
    merge_stored(connection, held, &mut series).await?;
    number_new(connection, &mut series).await?;
    series_upsert(connection, held, &series).await?;
    let mut rows: Vec<[Value; 5]> = Vec::with_capacity(metrics.len());
    for metric in metrics {
        if let Some(id) = series.get(metric.key.as_str()).and_then(|one| one.id) {
            let Point { at, step, value, not_a_number } = Point::of(metric);
            rows.push([id.into(), at.into(), step.into(), value.into(), i64::from(not_a_number).into()]);
        }
    }
    rows_insert(connection, POINT_HEAD, rows, "ON CONFLICT DO NOTHING").await?;
    Ok(())
}

fn latest_of(metrics: &[Metric]) -> SeriesByKey<'_> {
    let mut series = SeriesByKey::new();
    for metric in metrics {
        let point = Point::of(metric);
        let new = Series { id: None, latest: point, changed: true };
        series.entry(metric.key.as_str()).or_insert(new).add(point);
    }
    series
}

/// Gives the metrics that the run has already their numbers, and their stored latest point where that is later.
async fn merge_stored(
    connection: &mut Connection,
    held: Held,
    series: &mut SeriesByKey<'_>,
) -> Result<(), TrackingError> {
    for (id, key, step, at, value, not_a_number) in stored(connection, held, series).await? {
        if let Some(one) = series.get_mut(key.as_str()) {
            let stored = Point { at, step, value, not_a_number: not_a_number != 0 };
            let given = std::mem::replace(one, Series { id: Some(id), latest: stored, changed: false });
            one.add(given.latest);
        }
    }
    Ok(())
}

/// id, key, step, time, value, whether it is no number.
type StoredRow = (i64, String, i64, i64, f64, i64);

async fn stored(
    connection: &mut Connection,
    held: Held,
    series: &SeriesByKey<'_>,
) -> Result<Vec<StoredRow>, TrackingError> {
    if series.len() > KEYS_ONE_BY_ONE {
        let select = "SELECT id, key, step, logged_at, value, not_a_number FROM metric_series WHERE run = $1";
        return Ok(query(select).bind(held.number).fetch_all(connection).await?);
    }
    let mut found: Vec<StoredRow> = Vec::with_capacity(series.len());
    for key in series.keys() {
        let select = "SELECT id, key, step, logged_at, value, not_a_number FROM metric_series \
                      WHERE run = $1 AND key = $2";
        let one: Option<StoredRow> = query(select).bind(held.number).bind(*key).fetch_optional(connection).await?;
        found.extend(one);
    }
    Ok(found)
}

async fn number_new(connection: &mut Connection, series: &mut SeriesByKey<'_>) -> Result<(), TrackingError> {
    let new = series.values().filter(|one| one.id.is_none()).count() as i64;
    if new == 0 {
        return Ok(());
    }
    let last = count_up(connection, "metric_series", new).await?;
    for (one, id) in series.values_mut().filter(|one| one.id.is_none()).zip(last - new + 1..) {
        one.id = Some(id);
    }
    Ok(())
}

fn series_row(held: Held, key: &str, id: i64, latest: Point) -> [Value; 8] {
    let Point { at, step, value, not_a_number } = latest;
    [
        held.number.into(),
        key.into(),
        id.into(),
        held.experiment.0.into(),
        step.into(),
        at.into(),
        value.into(),
        i64::from(not_a_number).into(),
    ]
}

async fn series_upsert(connection: &mut Connection, held: Held, series: &SeriesByKey<'_>) -> Result<(), TrackingError> {
    let changed = series.iter().filter(|(_, one)| one.changed);
    let rows: Vec<[Value; 8]> =
        changed.filter_map(|(key, one)| Some(series_row(held, key, one.id?, one.latest))).collect();
    if !rows.is_empty() {
        let replace = "ON CONFLICT (run, key) DO UPDATE SET step = excluded.step, logged_at = excluded.logged_at, \
                       value = excluded.value, not_a_number = excluded.not_a_number";
        rows_insert(connection, SERIES_HEAD, rows, replace).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use ropewalk_types::Timestamp;

    use super::*;
    use crate::testing::tracking_with_run;
    use crate::{DEFAULT_EXPERIMENT, NewRun};

    fn metric(value: f64, step: i64, at: i64) -> Metric {
        Metric::new("m", value, step, Timestamp(at))
    }

    #[tokio::test]
    async fn the_latest_is_the_highest_step_then_time_then_value() {
        let (tracking, run) = tracking_with_run().await;
        let logged = [(metric(1.0, 5, 10), 1.0), (metric(2.0, 4, 99), 1.0), (metric(3.0, 5, 11), 3.0)];
        let more = [(metric(2.5, 5, 11), 3.0), (metric(3.5, 5, 11), 3.5), (metric(f64::NAN, 6, 0), f64::NAN)];
        for (point, latest) in logged.into_iter().chain(more) {
            tracking.metric_log(run, point).await.expect("logged");
            let value = tracking.run_get(run).await.expect("run").metric("m").expect("metric").value;
            assert!(value.total_cmp(&latest).is_eq(), "{value} is not {latest}");
        }
    }

    #[tokio::test]
    async fn one_batch_finds_the_latest_too() {
        let (tracking, run) = tracking_with_run().await;
        let points = vec![metric(1.0, 3, 0), metric(9.0, 7, 0), metric(2.0, 5, 0)];
        tracking.metrics_log(run, points).await.expect("logged");
        assert_eq!(tracking.run_get(run).await.expect("run").metrics, [metric(9.0, 7, 0)]);
    }

    #[tokio::test]
    async fn one_by_one_and_in_batches_give_the_same() {
        let (tracking, run) = tracking_with_run().await;
        let points: Vec<Metric> = [(3.0, 1, 5), (4.0, 1, 5), (9.0, 0, 9), (f64::NAN, 1, 5), (2.0, 1, 4), (3.0, 1, 5)]
            .into_iter()
            .map(|(value, step, at)| metric(value, step, at))
            .collect();
        let other = tracking.run_create(NewRun::new(DEFAULT_EXPERIMENT, Timestamp(1))).await.expect("run").info.id;
        tracking.metrics_log(run, points.clone()).await.expect("batch");
        for point in points {
            tracking.metric_log(other, point).await.expect("point");
        }
        let latest = tracking.run_get(run).await.expect("run").metrics;
        assert_eq!(latest, tracking.run_get(other).await.expect("run").metrics);
        assert_eq!(latest, [metric(4.0, 1, 5)]);
        let count = async |run| tracking.metric_history(run, "m", None, 10).await.expect("history").metrics.len();
        assert_eq!((count(run).await, count(other).await), (5, 5));
    }

    #[tokio::test]
    async fn the_same_point_is_stored_once() {
        let (tracking, run) = tracking_with_run().await;
        let points = vec![metric(1.0, 3, 0), metric(1.0, 3, 0), metric(f64::NAN, 3, 0), metric(-f64::NAN, 3, 0)];
        tracking.metrics_log(run, points).await.expect("logged");
        tracking.metric_log(run, metric(1.0, 3, 0)).await.expect("again");
        assert_eq!(tracking.metric_history(run, "m", None, 10).await.expect("history").metrics.len(), 2);
    }

    #[tokio::test]
    async fn a_thousand_keys_keep_their_own_points() {
        let (tracking, run) = tracking_with_run().await;
        for round in 0..2 {
            let point = |n: i64| Metric::new(format!("k{n}"), n as f64, round, Timestamp(round));
            tracking.metrics_log(run, (0..1000).map(point).collect()).await.expect("logged");
        }
        let stored = tracking.run_get(run).await.expect("run");
        assert_eq!(stored.metrics.len(), 1000);
        for metric in &stored.metrics {
            assert_eq!((format!("k{}", metric.value), metric.step), (metric.key.clone(), 1));
        }
        let history = tracking.metric_history(run, "k77", None, 10).await.expect("history").metrics;
        assert_eq!(
            history.iter().map(|metric| (metric.value, metric.step)).collect::<Vec<_>>(),
            [(77.0, 0), (77.0, 1)]
        );
    }

    #[tokio::test]
    async fn a_metric_before_1970_or_with_a_hostile_key_writes_nothing() {
        let (tracking, run) = tracking_with_run().await;
        let bad = [metric(1.0, 0, -1), Metric::new("../x", 1.0, 0, Timestamp(0))];
        for bad in bad {
            assert!(tracking.metrics_log(run, vec![metric(1.0, 0, 0), bad]).await.is_err());
        }
        assert!(tracking.run_get(run).await.expect("run").metrics.is_empty());
    }
}
