mod sample;
pub(crate) mod write;

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

use ropewalk_catalog::{CatalogError, Connection, Row, query};
use ropewalk_types::{RunId, Timestamp};
use serde::Serialize;

pub use sample::StepRange;

use crate::TrackingError;
use crate::limits::{HISTORY_PAGE, key_check};
use crate::run::{CursorError, number, read};

/// One point of a metric.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Metric {
    /// The metric's key.
    pub key: String,
    /// Its value. NaN is kept; an infinity becomes the largest finite number of its sign, as in MLflow.
    pub value: f64,
    /// Where in the run it stands: an iteration, an epoch. May be negative.
    pub step: i64,
    /// When it was measured.
    pub at: Timestamp,
    /// What it was measured of, if that was said. Boxed, because nearly always it was not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject: Option<Box<MetricSubject>>,
}

/// What a point of a metric was measured of. A run keeps the point only; a logged model keeps this too.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct MetricSubject {
    /// The id of a logged model.
    pub model: Option<String>,
    /// A dataset's name and digest.
    pub dataset: Option<(String, String)>,
}

impl Metric {
    /// A point of the metric `key`.
    pub fn new(key: impl Into<String>, value: f64, step: i64, at: Timestamp) -> Self {
        Self { key: key.into(), value, step, at, subject: None }
    }

    /// The id of the logged model that was measured.
    pub fn model(&self) -> Option<&str> {
        self.subject.as_deref()?.model.as_deref()
    }

    pub(crate) fn check(&self) -> Result<(), TrackingError> {
        key_check("metric key", &self.key)?;
        if self.at.0 < 0 {
            return Err(TrackingError::MetricTime { key: self.key.clone(), at: self.at.0 });
        }
        Ok(())
    }
}

/// A point as it is stored: databases have no NaN that compares.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Point {
    at: i64,
    step: i64,
    /// Finite; 0 where there is no number.
    value: f64,
    not_a_number: bool,
}

impl Point {
    fn of(metric: &Metric) -> Self {
        let not_a_number = metric.value.is_nan();
        // Adding 0.0 makes one zero of the two, which are one key to the database.
        let value = if not_a_number { 0.0 } else { metric.value.clamp(f64::MIN, f64::MAX) + 0.0 };
        Self { at: metric.at.0, step: metric.step, value, not_a_number }
    }

    /// From the columns `logged_at, step, value, not_a_number`.
    fn read(row: &Row<'_>) -> Result<Self, CatalogError> {
        let not_a_number = row.get::<i64>(3)? != 0;
        Ok(Self { at: row.get(0)?, step: row.get(1)?, value: row.get(2)?, not_a_number })
    }

    fn value(self) -> f64 {
        if self.not_a_number { f64::NAN } else { self.value }
    }

    /// The order in which the last is the latest: step, then time, then value.
    fn order(&self, other: &Self) -> Ordering {
        let key = |point: &Self| (point.step, point.at);
        key(self).cmp(&key(other)).then(self.value.total_cmp(&other.value))
    }

    fn metric(self, key: &str) -> Metric {
        Metric::new(key, self.value(), self.step, Timestamp(self.at))
    }
}

/// The latest point of a metric, from the columns `run, key, step, logged_at, value, not_a_number`.
pub(crate) fn latest(row: &Row<'_>) -> Result<Metric, CatalogError> {
    let point = Point { at: row.get(3)?, step: row.get(2)?, value: row.get(4)?, not_a_number: row.get::<i64>(5)? != 0 };
    Ok(point.metric(row.get::<&str>(1)?))
}

/// Where a page of a metric's history ended. Its text is opaque: it may change with any version.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct HistoryCursor(Point);

impl fmt::Display for HistoryCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Point { at, step, value, not_a_number } = self.0;
        write!(f, "{at}.{step}.{:016x}.{}", value.to_bits(), u8::from(not_a_number))
    }
}

impl FromStr for HistoryCursor {
    type Err = CursorError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let cursor = parse(text).map(Self).ok_or_else(|| CursorError::of(text))?;
        if cursor.to_string() == text { Ok(cursor) } else { Err(CursorError::of(text)) }
    }
}

fn parse(text: &str) -> Option<Point> {
    let mut parts = text.split('.');
    let (at, step) = (number(parts.next()?)?, number(parts.next()?)?);
    let value = f64::from_bits(u64::from_str_radix(parts.next()?, 16).ok()?);
    let not_a_number = match parts.next()? {
        "0" => false,
        "1" => true,
        _ => return None,
    };
    value.is_finite().then_some(Point { at, step, value, not_a_number })
}

/// Some points of a metric, by time, then step, then value.
#[derive(Clone, Debug, PartialEq)]
pub struct HistoryPage {
    /// The points.
    pub metrics: Vec<Metric>,
    /// Where the next page begins; `None` if this was the last.
    pub next: Option<HistoryCursor>,
}

/// Before every point that can be stored: times are not negative.
const BEGINNING: Point = Point { at: -1, step: 0, value: 0.0, not_a_number: false };

pub(crate) async fn history(
    connection: &mut Connection,
    run: RunId,
    key: &str,
    after: Option<HistoryCursor>,
    limit: usize,
) -> Result<HistoryPage, TrackingError> {
    let limit = limit.clamp(1, HISTORY_PAGE);
    let Some(series) = series_of(connection, run, key).await? else {
        read::info(connection, run).await?;
        return Ok(HistoryPage { metrics: Vec::new(), next: None });
    };
    let mut points = history_of(connection, series, after, limit + 1).await?;
    let more = points.len() > limit;
    points.truncate(limit);
    let next = points.last().filter(|_| more).map(|last| HistoryCursor(*last));
    Ok(HistoryPage { metrics: points.into_iter().map(|point| point.metric(key)).collect(), next })
}

/// The number of a metric of a run.
async fn series_of(connection: &mut Connection, run: RunId, key: &str) -> Result<Option<i64>, TrackingError> {
    let select = "SELECT metric_series.id FROM run JOIN metric_series ON metric_series.run = run.number \
                  WHERE run.id = $1 AND metric_series.key = $2";
    Ok(query(select).bind(run.to_string()).bind(key).fetch_optional(connection).await?)
}

/// At most `limit` points, oldest first.
async fn history_of(
    connection: &mut Connection,
    series: i64,
    after: Option<HistoryCursor>,
    limit: usize,
) -> Result<Vec<Point>, TrackingError> {
    let after = after.map_or(BEGINNING, |cursor| cursor.0);
    let select = "SELECT logged_at, step, value, not_a_number FROM metric_point WHERE series = $1 \
                  AND (logged_at, step, value, not_a_number) > ($2, $3, $4, $5) \
                  ORDER BY logged_at, step, value, not_a_number LIMIT $6";
    let found = query(select)
        .bind(series)
        .bind(after.at)
        .bind(after.step)
        .bind(after.value)
        .bind(i64::from(after.not_a_number))
        .bind(limit as i64);
    let mut points = Vec::new();
    found
        .for_each(connection, |row: &Row<'_>| {
            points.push(Point::read(row)?);
            Ok(())
        })
        .await?;
    Ok(points)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing::tracking_with_run;

    fn metric(value: f64, step: i64, at: i64) -> Metric {
        Metric::new("m", value, step, Timestamp(at))
    }

    #[tokio::test]
    async fn history_is_by_time_then_step_then_value_and_pages_meet() {
        let (tracking, run) = tracking_with_run().await;
        let mut points: Vec<Metric> =
            (0..50).map(|n| metric(f64::from(n % 3) - 1.0, i64::from(n % 4) - 2, i64::from(n % 5))).collect();
        tracking.metrics_log(run, points.clone()).await.expect("logged");
        points.sort_by(|a, b| (a.at, a.step).cmp(&(b.at, b.step)).then(a.value.total_cmp(&b.value)));
        points.dedup();
        let (mut after, mut seen) = (None, Vec::new());
        loop {
            let page = tracking.metric_history(run, "m", after, 7).await.expect("page");
            seen.extend(page.metrics);
            match page.next {
                Some(next) => after = Some(next.to_string().parse().expect("cursor")),
                None => break,
            }
        }
        assert_eq!(seen, points);
    }

    #[tokio::test]
    async fn what_is_no_number_and_what_is_infinite_come_back_as_in_mlflow() {
        let (tracking, run) = tracking_with_run().await;
        let values = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -0.0, f64::MIN_POSITIVE];
        let points = values.into_iter().zip(0..).map(|(value, step)| metric(value, step, 1)).collect();
        tracking.metrics_log(run, points).await.expect("logged");
        let history = tracking.metric_history(run, "m", None, 10).await.expect("history").metrics;
        let back: Vec<f64> = history.iter().map(|metric| metric.value).collect();
        assert!(back[0].is_nan());
        assert_eq!(back[1..], [f64::MAX, f64::MIN, 0.0, f64::MIN_POSITIVE]);
    }

    #[tokio::test]
    async fn steps_reach_over_all_of_64_bits() {
        let (tracking, run) = tracking_with_run().await;
        for step in [i64::MIN, i64::MAX, 0] {
            tracking.metric_log(run, metric(1.0, step, 0)).await.expect("logged");
        }
        assert_eq!(tracking.run_get(run).await.expect("run").metrics, [metric(1.0, i64::MAX, 0)]);
        let history = tracking.metric_history(run, "m", None, 10).await.expect("history").metrics;
        assert_eq!(history.iter().map(|metric| metric.step).collect::<Vec<_>>(), [i64::MIN, 0, i64::MAX]);
    }

    #[tokio::test]
    async fn no_such_metric_is_empty_and_no_such_run_an_error() {
        let (tracking, run) = tracking_with_run().await;
        let page = tracking.metric_history(run, "none", None, 10).await.expect("page");
        assert_eq!(page, HistoryPage { metrics: Vec::new(), next: None });
        let absent = "0123456789abcdef0123456789abcdef".parse().expect("id");
        assert!(matches!(tracking.metric_history(absent, "m", None, 1).await, Err(TrackingError::RunAbsent(_))));
    }

    proptest! {
        #[test]
        fn a_cursor_survives_its_text(at in any::<i64>(), step in any::<i64>(), value in -1e300..1e300_f64) {
            let cursor = HistoryCursor(Point { at, step, value, not_a_number: false });
            prop_assert_eq!(cursor.to_string().parse(), Ok(cursor));
        }

        #[test]
        fn no_text_panics(text in "[0-9a-f.+-]{0,60}") {
            if let Ok(cursor) = text.parse::<HistoryCursor>() {
                prop_assert_eq!(cursor.to_string(), text);
            }
        }
    }
}
