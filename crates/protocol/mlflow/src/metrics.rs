use std::sync::Arc;

use axum::extract::State;
use ropewalk_tracking::{HISTORY_PAGE, HistoryPage, Metric, SAMPLE_POINTS, SAMPLE_RUNS, TrackingError};
use ropewalk_types::RunId;
use serde::{Deserialize, Serialize, Serializer};

use crate::answer::{Answer, answer};
use crate::request::{Parameters, Repeated, required, run_id};
use crate::wire::number::{Double, Int64};
use crate::wire::page_size;
use crate::wire::run::MetricsOut;
use crate::{MlflowError, MlflowState};

/// `GetMetricHistory`.
#[derive(Debug, Deserialize)]
pub(crate) struct GetHistory {
    run_id: Option<String>,
    run_uuid: Option<String>,
    metric_key: Option<String>,
    max_results: Option<Int64>,
    page_token: Option<String>,
}

#[derive(Debug, Serialize)]
struct History<'a> {
    metrics: MetricsOut<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_page_token: Option<String>,
}

pub(crate) async fn history(
    State(state): State<Arc<MlflowState>>,
    Parameters(message): Parameters<GetHistory>,
) -> Answer {
    let run = match run_id(message.run_id, message.run_uuid) {
        Err(MlflowError::RunUnknown(_)) => None,
        known => Some(known?),
    };
    let key = required("metric_key", message.metric_key)?;
    let token = message.page_token.as_deref().filter(|token| !token.is_empty());
    let after = token.map(str::parse).transpose().map_err(|error| MlflowError::invalid("page_token", &error))?;
    let limit = page_size(message.max_results, HISTORY_PAGE, i32::MAX as usize)?;
    // MLflow does not look for the run here: one that is not there has no history, which is no error.
    let page = match run {
        Some(run) => match state.tracking.metric_history(run, &key, after, limit).await {
            Err(TrackingError::RunAbsent(_)) => HistoryPage { metrics: Vec::new(), next: None },
            found => found?,
        },
        None => HistoryPage { metrics: Vec::new(), next: None },
    };
    let next_page_token = page.next.map(|next| next.to_string());
    answer(&History { metrics: MetricsOut(&page.metrics), next_page_token })
}

/// `MetricWithRunId`.
#[derive(Debug, Serialize)]
struct OfRun<'a> {
    key: &'a str,
    value: Double,
    timestamp: i64,
    step: i64,
    run_id: RunId,
}

impl<'a> OfRun<'a> {
    fn new(metric: &'a Metric, run_id: RunId) -> Self {
        let value = Double(metric.value);
        Self { key: &metric.key, value, timestamp: metric.at.0, step: metric.step, run_id }
    }
}

struct OfRuns<'a>(&'a [(RunId, Vec<Metric>)]);

impl Serialize for OfRuns<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let points =
            self.0.iter().flat_map(|(run, metrics)| metrics.iter().map(move |metric| OfRun::new(metric, *run)));
        serializer.collect_seq(points)
    }
}

#[derive(Serialize)]
struct Histories<'a> {
    metrics: OfRuns<'a>,
}

/// The histories of a metric of several runs, one after the other.
pub(crate) async fn history_bulk(
    State(state): State<Arc<MlflowState>>,
    Parameters(parameters): Parameters<Vec<(String, String)>>,
) -> Answer {
    let parameters = Repeated::new(parameters);
    let runs = parameters.runs("run_id", SAMPLE_RUNS)?;
    let key = parameters.required("metric_key")?;
    let limit = parameters.number("max_results")?.map_or(HISTORY_PAGE, |limit| usize::try_from(limit).unwrap_or(0));
    let found = state.tracking.metric_histories(runs, key, limit).await?;
    answer(&Histories { metrics: OfRuns(&found) })
}

/// `GetMetricHistoryBulkInterval`: the same, thinned out for a chart.
pub(crate) async fn history_bulk_interval(
    State(state): State<Arc<MlflowState>>,
    Parameters(parameters): Parameters<Vec<(String, String)>>,
) -> Answer {
    let parameters = Repeated::new(parameters);
    let runs = parameters.runs("run_ids", SAMPLE_RUNS)?;
    let key = parameters.required("metric_key")?;
    let limit = parameters.number("max_results")?.unwrap_or(SAMPLE_POINTS as i64);
    let limit = usize::try_from(limit).ok().filter(|limit| (1..=SAMPLE_POINTS).contains(limit));
    let out_of_range = || MlflowError::invalid("max_results", &format!("it must be between 1 and {SAMPLE_POINTS}"));
    let limit = limit.ok_or_else(out_of_range)?;
    let steps = match (parameters.number("start_step")?, parameters.number("end_step")?) {
        (Some(first), Some(last)) if first > last => {
            let reason = format!("it must not be less than start_step: {first} to {last}");
            return Err(MlflowError::invalid("end_step", &reason));
        }
        (Some(first), Some(last)) => Some((first, last)),
        (None, None) => None,
        _ => {
            let reason = "If either start step or end step are specified, both must be specified.";
            return Err(MlflowError::invalid("start_step", &reason));
        }
    };
    let found = state.tracking.metric_samples(runs, key, steps, limit).await?;
    answer(&Histories { metrics: OfRuns(&found) })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::testing::{Server, get, post};

    const API: &str = "/api/2.0/mlflow";

    async fn log(server: &Server, run: &str, count: i64) {
        let metrics: Vec<_> = (0..count).map(|n| json!({"key": "m", "value": n, "timestamp": n, "step": n})).collect();
        server.ok(post(&format!("{API}/runs/log-batch"), &json!({"run_id": run, "metrics": metrics}))).await;
    }

    #[tokio::test]
    async fn history_comes_in_pages() {
        let (server, run) = Server::with_run().await;
        let metrics: Vec<_> = (0..5).map(|n| json!({"key": "m", "value": n, "timestamp": n, "step": -n})).collect();
        server.ok(post(&format!("{API}/runs/log-batch"), &json!({"run_id": run, "metrics": metrics}))).await;
        let path = format!("{API}/metrics/get-history?run_id={run}&metric_key=m");
        assert_eq!(server.ok(get(&path)).await["metrics"].as_array().expect("all").len(), 5);
        for absent in ["0123456789abcdef0123456789abcdef", "no-such-run"] {
            let none = server.ok(get(&format!("{API}/metrics/get-history?run_id={absent}&metric_key=m"))).await;
            assert_eq!(none, json!({"metrics": []}));
        }
        let first = server.ok(get(&format!("{path}&max_results=3"))).await;
        let token = first["next_page_token"].as_str().expect("token");
        let rest = server.ok(get(&format!("{path}&max_results=3&page_token={token}"))).await;
        assert_eq!(
            rest["metrics"],
            json!([
                {"key": "m", "value": 3.0, "timestamp": 3, "step": -3},
                {"key": "m", "value": 4.0, "timestamp": 4, "step": -4}
            ])
        );
        for wrong in ["&max_results=0", "&page_token=x", "&max_results=x"] {
            server.refuses(get(&format!("{path}{wrong}")), 400, "INVALID_PARAMETER_VALUE").await;
        }
    }

    fn steps(found: &Value) -> Vec<i64> {
        found["metrics"]
            .as_array()
            .expect("metrics")
            .iter()
            .map(|metric| metric["step"].as_i64().expect("step"))
            .collect()
    }

    #[tokio::test]
    async fn histories_of_runs_come_whole_or_thinned_out() {
        let (server, run) = Server::with_run().await;
        log(&server, &run, 10).await;
        let bulk = format!("/ajax-api/2.0/mlflow/metrics/get-history-bulk?run_id={run}&run_id=abc&metric_key=m");
        let found = server.ok(get(&bulk)).await;
        assert_eq!(found["metrics"][0], json!({"key": "m", "value": 0.0, "timestamp": 0, "step": 0, "run_id": run}));
        assert_eq!(steps(&found), (0..10).collect::<Vec<_>>());
        assert_eq!(steps(&server.ok(get(&format!("{bulk}&max_results=2"))).await), [0, 1]);
        let interval = format!("{API}/metrics/get-history-bulk-interval?run_ids={run}&metric_key=m");
        assert_eq!(steps(&server.ok(get(&interval)).await).len(), 10);
        let thin = format!("{interval}&max_results=3&start_step=2&end_step=6");
        assert_eq!(steps(&server.ok(get(&thin)).await), [2, 4, 6]);
        let wrong = [
            format!("{interval}&max_results=0"),
            format!("{interval}&max_results=2501"),
            format!("{interval}&start_step=1"),
            format!("{interval}&start_step=3&end_step=1"),
            format!("{interval}{}", "&run_ids=a".repeat(100)),
            format!("{API}/metrics/get-history-bulk-interval?metric_key=m"),
            format!("{API}/metrics/get-history-bulk?run_id={run}"),
        ];
        for path in wrong {
            server.refuses(get(&path), 400, "INVALID_PARAMETER_VALUE").await;
        }
    }
}
