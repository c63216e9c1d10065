use ropewalk_catalog::{Connection, Row, query};
use ropewalk_types::RunId;

use super::{Point, history_of, series_of};
use crate::limits::{HISTORY_PAGE, SAMPLE_POINTS};
use crate::tracking::reading;
use crate::{Metric, Tracking, TrackingError};

/// Steps from the first to the last, both included.
pub type StepRange = (i64, i64);

impl Tracking {
    /// The histories of a metric of some runs, by run id and then oldest first, at most `limit` points in all.
    ///
    /// A run that does not exist has no history.
    pub async fn metric_histories(
        &self,
        mut runs: Vec<RunId>,
        key: &str,
        limit: usize,
    ) -> Result<Vec<(RunId, Vec<Metric>)>, TrackingError> {
        runs.sort_unstable();
        runs.dedup();
        let key = key.to_owned();
        reading!(self, |connection| histories(connection, &runs, &key, limit))
    }

    /// At most `limit` points (not more than [`SAMPLE_POINTS`](crate::SAMPLE_POINTS)) of a metric of each run, by
    /// step, spread evenly over what was logged, within `steps` if they are given. The last point is always among
    /// them, and the first unless only one is asked for.
    pub async fn metric_samples(
        &self,
        runs: Vec<RunId>,
        key: &str,
        steps: Option<StepRange>,
        limit: usize,
    ) -> Result<Vec<(RunId, Vec<Metric>)>, TrackingError> {
        let (key, limit) = (key.to_owned(), limit.clamp(1, SAMPLE_POINTS));
        let steps = steps.unwrap_or((i64::MIN, i64::MAX));
        reading!(self, |connection| samples(connection, &runs, &key, steps, limit))
    }
}

async fn histories(
    connection: &mut Connection,
    runs: &[RunId],
    key: &str,
    limit: usize,
) -> Result<Vec<(RunId, Vec<Metric>)>, TrackingError> {
    let mut left = limit.min(HISTORY_PAGE);
    let mut found = Vec::new();
    for run in runs {
        if left == 0 {
            break;
        }
        if let Some(series) = series_of(connection, *run, key).await? {
            let points = history_of(connection, series, None, left).await?;
            left -= points.len().min(left);
            found.push((*run, points.into_iter().map(|point| point.metric(key)).collect()));
        }
    }
    Ok(found)
}

async fn samples(
    connection: &mut Connection,
    runs: &[RunId],
    key: &str,
    steps: StepRange,
    limit: usize,
) -> Result<Vec<(RunId, Vec<Metric>)>, TrackingError> {
    let mut found = Vec::new();
    for run in runs {
        if let Some(series) = series_of(connection, *run, key).await? {
            let points = sample(connection, series, steps, limit).await?;
            found.push((*run, points.into_iter().map(|point| point.metric(key)).collect()));
        }
    }
    Ok(found)
}

/// The first points of `limit` buckets that are as equal as they can be, and the last point of all: of more than
/// `limit` points the larger buckets come first, as SQL's `NTILE` and MLflow have it. The database ranks and picks.
async fn sample(
    connection: &mut Connection,
    series: i64,
    (first, last): StepRange,
    limit: usize,
) -> Result<Vec<Point>, TrackingError> {
    let count = "SELECT COUNT(*) FROM metric_point WHERE series = $1 AND step >= $2 AND step <= $3";
    let total: i64 = query(count).bind(series).bind(first).bind(last).fetch_one(connection).await?;
    let buckets = limit as i64;
    let (small, larger) = (total / buckets, total % buckets);
    let picked = if total <= buckets {
        let select = "SELECT logged_at, step, value, not_a_number FROM metric_point \
                      WHERE series = $1 AND step >= $2 AND step <= $3 \
                      ORDER BY step, logged_at, value, not_a_number";
        query(select).bind(series).bind(first).bind(last)
    } else {
        // Where the larger buckets end: `larger` of them, each of `small + 1` points.
        let edge = larger * (small + 1);
        let select = "SELECT logged_at, step, value, not_a_number FROM ( \
                      SELECT logged_at, step, value, not_a_number, \
                      ROW_NUMBER() OVER (ORDER BY step, logged_at, value, not_a_number) - 1 AS place \
                      FROM metric_point WHERE series = $1 AND step >= $2 AND step <= $3) AS ranked \
                      WHERE (place < $4 AND place % $5 = 0) OR (place >= $4 AND (place - $4) % $6 = 0) \
                      OR place = $7 ORDER BY place";
        query(select).bind(series).bind(first).bind(last).bind(edge).bind(small + 1).bind(small).bind(total - 1)
    };
    let mut points = Vec::new();
    picked
        .for_each(connection, |row: &Row<'_>| {
            points.push(Point::read(row)?);
            Ok(())
        })
        .await?;
    if points.len() > limit {
        // The last point takes the place of the last bucket's first.
        points.remove(points.len() - 2);
    }
    Ok(points)
}

#[cfg(test)]
mod tests {
    use ropewalk_types::Timestamp;

    use super::*;
    use crate::testing::tracking_with_run;
    use crate::{DEFAULT_EXPERIMENT, NewRun};

    async fn with_points(count: i64) -> (Tracking, RunId) {
        let (tracking, run) = tracking_with_run().await;
        let points: Vec<Metric> = (0..count).map(|n| Metric::new("m", n as f64, n, Timestamp(count - n))).collect();
        for points in points.chunks(1000) {
            tracking.metrics_log(run, points.to_vec()).await.expect("logged");
        }
        (tracking, run)
    }

    async fn steps(tracking: &Tracking, run: RunId, steps: Option<StepRange>, limit: usize) -> Vec<i64> {
        let found = tracking.metric_samples(vec![run], "m", steps, limit).await.expect("sample");
        found.into_iter().flat_map(|(_, metrics)| metrics).map(|metric| metric.step).collect()
    }

    #[tokio::test]
    async fn a_sample_is_even_and_holds_both_ends() {
        let (tracking, run) = with_points(10).await;
        // NTILE(4) over 10 points: buckets of 3, 3, 2 and 2; the last point in place of the last bucket's first.
        assert_eq!(steps(&tracking, run, None, 4).await, [0, 3, 6, 9]);
        assert_eq!(steps(&tracking, run, None, 9).await, [0, 2, 3, 4, 5, 6, 7, 8, 9]);
        assert_eq!(steps(&tracking, run, None, 10).await, (0..10).collect::<Vec<_>>());
        assert_eq!(steps(&tracking, run, None, 1).await, [9]);
        assert_eq!(steps(&tracking, run, None, 2).await, [0, 9]);
        assert_eq!(steps(&tracking, run, Some((2, 6)), 3).await, [2, 4, 6]);
        assert!(steps(&tracking, run, Some((20, 30)), 3).await.is_empty());
    }

    #[tokio::test]
    async fn many_points_on_one_step_are_sampled_too() {
        let (tracking, run) = tracking_with_run().await;
        let points = (0..1000).map(|n| Metric::new("m", n as f64, 0, Timestamp(n))).collect();
        tracking.metrics_log(run, points).await.expect("logged");
        let found = tracking.metric_samples(vec![run], "m", None, 5).await.expect("sample");
        let values: Vec<f64> = found[0].1.iter().map(|metric| metric.value).collect();
        assert_eq!(values, [0.0, 200.0, 400.0, 600.0, 999.0]);
    }

    #[tokio::test]
    async fn histories_come_by_run_and_end_at_the_limit() {
        let (tracking, first) = with_points(3).await;
        let second = tracking.run_create(NewRun::new(DEFAULT_EXPERIMENT, Timestamp(1))).await.expect("run").info.id;
        tracking.metric_log(second, Metric::new("m", 7.0, 0, Timestamp(1))).await.expect("logged");
        let absent: RunId = "0123456789abcdef0123456789abcdef".parse().expect("id");
        let mut order = [first, second];
        order.sort_unstable();
        let found = tracking.metric_histories(vec![second, absent, first, second], "m", 100).await.expect("found");
        assert_eq!(found.iter().map(|(run, _)| *run).collect::<Vec<_>>(), order);
        let total = |found: &[(RunId, Vec<Metric>)]| found.iter().map(|(_, metrics)| metrics.len()).sum::<usize>();
        assert_eq!(total(&found), 4);
        let some = tracking.metric_histories(vec![first, second], "m", 2).await.expect("found");
        assert_eq!(total(&some), 2);
    }
}
