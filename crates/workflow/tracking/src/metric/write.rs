use std::collections::BTreeMap;

use ropewalk_types::RunId;
use sqlx::{Any, AnyConnection, AssertSqlSafe};

use super::{LatestRow, Point};
use crate::experiment::count_up;
use crate::{Metric, TrackingError, rows};

/// Up to so many keys are looked up one by one; for more the run's metrics are read at once.
const KEYS_ONE_BY_ONE: usize = 8;

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

/// Appends points to a run that is locked; a point that is there already is not stored again.
pub(crate) async fn points_write(
    connection: &mut AnyConnection,
    run: RunId,
    metrics: &[Metric],
) -> Result<(), TrackingError> {
    if metrics.is_empty() {
        return Ok(());
    }
    let run = run.to_string();
    let mut series = latest_of(metrics);
    merge_stored(connection, &run, &mut series).await?;
    number_new(connection, &mut series).await?;
    series_upsert(connection, &run, &series).await?;
    let points: Vec<(i64, Point)> =
        metrics.iter().filter_map(|metric| Some((series.get(metric.key.as_str())?.id?, Point::of(metric)))).collect();
    points_insert(connection, &points).await
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
    connection: &mut AnyConnection,
    run: &str,
    series: &mut SeriesByKey<'_>,
) -> Result<(), TrackingError> {
    for (id, (_, key, step, at, value, not_a_number)) in stored(connection, run, series).await? {
        if let Some(one) = series.get_mut(key.as_str()) {
            let stored = Point { at, step, value, not_a_number: not_a_number != 0 };
            let given = std::mem::replace(one, Series { id: Some(id), latest: stored, changed: false });
            one.add(given.latest);
        }
    }
    Ok(())
}

/// The number of a metric and its latest point.
type StoredRow = (i64, LatestRow);

async fn stored(
    connection: &mut AnyConnection,
    run: &str,
    series: &SeriesByKey<'_>,
) -> Result<Vec<StoredRow>, TrackingError> {
    type Row = (i64, String, i64, i64, f64, i64);
    let mut found: Vec<Row> = Vec::new();
    if series.len() > KEYS_ONE_BY_ONE {
        let select = "SELECT id, key, step, logged_at, value, not_a_number FROM metric_series WHERE run_id = $1";
        found = sqlx::query_as::<Any, _>(select).bind(run).fetch_all(connection).await?;
    } else {
        let select = "SELECT id, key, step, logged_at, value, not_a_number FROM metric_series \
                      WHERE run_id = $1 AND key = $2";
        for key in series.keys() {
            found.extend(
                sqlx::query_as::<Any, Row>(select).bind(run).bind(*key).fetch_optional(&mut *connection).await?,
            );
        }
    }
    let row = |(id, key, step, at, value, not_a_number)| (id, (run.to_owned(), key, step, at, value, not_a_number));
    Ok(found.into_iter().map(row).collect())
}

async fn number_new(connection: &mut AnyConnection, series: &mut SeriesByKey<'_>) -> Result<(), TrackingError> {
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

async fn series_upsert(
    connection: &mut AnyConnection,
    run: &str,
    series: &SeriesByKey<'_>,
) -> Result<(), TrackingError> {
    let changed: Vec<_> = series.iter().filter(|(_, one)| one.changed).collect();
    for slice in rows::slices(&changed) {
        let statement = format!(
            "INSERT INTO metric_series (id, run_id, key, step, logged_at, value, not_a_number) VALUES {} \
             ON CONFLICT (run_id, key) DO UPDATE SET step = excluded.step, logged_at = excluded.logged_at, \
             value = excluded.value, not_a_number = excluded.not_a_number",
            rows::tuples(slice.len(), 7)
        );
        let mut query = sqlx::query(AssertSqlSafe(statement));
        for (key, one) in slice {
            let Point { at, step, value, not_a_number } = one.latest;
            query =
                query.bind(one.id).bind(run).bind(**key).bind(step).bind(at).bind(value).bind(i64::from(not_a_number));
        }
        query.execute(&mut *connection).await?;
    }
    Ok(())
}

async fn points_insert(connection: &mut AnyConnection, points: &[(i64, Point)]) -> Result<(), TrackingError> {
    for slice in rows::slices(points) {
        let statement = format!(
            "INSERT INTO metric_point (series, logged_at, step, value, not_a_number) VALUES {} ON CONFLICT DO NOTHING",
            rows::tuples(slice.len(), 5)
        );
        let mut query = sqlx::query(AssertSqlSafe(statement));
        for (series, Point { at, step, value, not_a_number }) in slice {
            query = query.bind(*series).bind(*at).bind(*step).bind(*value).bind(i64::from(*not_a_number));
        }
        query.execute(&mut *connection).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use ropewalk_types::Timestamp;

    use super::*;
    use crate::testing::tracking_with_run;

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
