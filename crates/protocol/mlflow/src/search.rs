use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use ropewalk_tracking::{Experiment, ExperimentSearch, Lifecycle, RunSearch};
use ropewalk_types::ExperimentId;
use serde::{Deserialize, Serialize, Serializer};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::timeout;

use crate::answer::{Answer, answer};
use crate::request::{Message, Parameters, Repeated, experiment_id};
use crate::wire::number::Int64;
use crate::wire::run::RunsOut;
use crate::wire::{EnumValue, ExperimentOut, page_size};
use crate::{MlflowError, MlflowState};

/// Things in a page if nothing is said, and at most.
const PAGE: (usize, usize) = (1_000, 50_000);

/// Turns for pages longer than [`LONG_PAGE`] and for traces with long spans, which may take some hundred megabytes each
/// while they are read and written.
static LONG_PAGES: Semaphore = Semaphore::const_new(2);
/// MLflow's `search_runs` always asks for so many.
const LONG_PAGE: usize = 10_000;
/// How long a turn is waited for.
const PATIENCE: Duration = Duration::from_secs(30);

/// `SearchRuns`.
#[derive(Debug, Deserialize)]
pub(crate) struct SearchRuns {
    experiment_ids: Option<Vec<String>>,
    filter: Option<String>,
    run_view_type: Option<EnumValue>,
    max_results: Option<Int64>,
    order_by: Option<Vec<String>>,
    page_token: Option<String>,
}

#[derive(Debug, Serialize)]
struct FoundRuns<'a> {
    runs: RunsOut<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_page_token: Option<String>,
}

pub(crate) async fn runs(State(state): State<Arc<MlflowState>>, Message(message): Message<SearchRuns>) -> Answer {
    let experiments = message.experiment_ids.unwrap_or_default();
    let experiments = experiments.iter().map(|id| experiment_id(id)).collect::<Result<Vec<ExperimentId>, _>>()?;
    let limit = page_size(message.max_results, PAGE.0, PAGE.1)?;
    let _turn = turn(limit).await?;
    let search = RunSearch {
        experiments,
        filter: message.filter.unwrap_or_default(),
        order: message.order_by.unwrap_or_default(),
        lifecycle: lifecycle("run_view_type", message.run_view_type.as_ref())?,
        limit,
        page: message.page_token,
    };
    let found = state.tracking.run_search(search).await?;
    answer(&FoundRuns { runs: RunsOut(&found.runs), next_page_token: found.next })
}

/// A turn for a page of so many things, if it needs one.
async fn turn(limit: usize) -> Result<Option<SemaphorePermit<'static>>, MlflowError> {
    if limit > LONG_PAGE { long_turn().await.map(Some) } else { Ok(None) }
}

/// A turn for an answer that may take some hundred megabytes.
pub(crate) async fn long_turn() -> Result<SemaphorePermit<'static>, MlflowError> {
    match timeout(PATIENCE, LONG_PAGES.acquire()).await {
        Ok(Ok(turn)) => Ok(turn),
        _ => Err(MlflowError::Overloaded),
    }
}

fn lifecycle(parameter: &'static str, view: Option<&EnumValue>) -> Result<Lifecycle, MlflowError> {
    let Some(view) = view else { return Ok(Lifecycle::Active) };
    match view.position(&["ACTIVE_ONLY", "DELETED_ONLY", "ALL"]) {
        Some(0) => Ok(Lifecycle::Active),
        Some(1) => Ok(Lifecycle::Deleted),
        Some(_) => Ok(Lifecycle::Any),
        None => Err(MlflowError::invalid(parameter, &"use ACTIVE_ONLY, DELETED_ONLY or ALL")),
    }
}

/// `SearchExperiments`.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct SearchExperiments {
    max_results: Option<Int64>,
    page_token: Option<String>,
    filter: Option<String>,
    order_by: Option<Vec<String>>,
    view_type: Option<EnumValue>,
}

struct ExperimentsOut<'a>(&'a [Experiment]);

impl Serialize for ExperimentsOut<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().map(ExperimentOut::from))
    }
}

#[derive(Serialize)]
struct FoundExperiments<'a> {
    experiments: ExperimentsOut<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_page_token: Option<String>,
}

/// In a query string a list is a parameter that stands there more than once.
pub(crate) async fn experiments_by_query(
    State(state): State<Arc<MlflowState>>,
    Parameters(pairs): Parameters<Vec<(String, String)>>,
) -> Answer {
    let parameters = Repeated::new(pairs);
    let one = |name: &'static str| parameters.all(name).next().map(str::to_owned);
    let message = SearchExperiments {
        max_results: parameters.number("max_results")?.map(Int64),
        page_token: one("page_token"),
        filter: one("filter"),
        order_by: Some(parameters.all("order_by").map(str::to_owned).collect()),
        view_type: one("view_type").map(EnumValue::Name),
    };
    experiments(&state, message).await
}

pub(crate) async fn experiments_by_body(
    State(state): State<Arc<MlflowState>>,
    Message(message): Message<SearchExperiments>,
) -> Answer {
    experiments(&state, message).await
}

async fn experiments(state: &MlflowState, message: SearchExperiments) -> Answer {
    let search = ExperimentSearch {
        filter: message.filter.unwrap_or_default(),
        order: message.order_by.unwrap_or_default(),
        lifecycle: lifecycle("view_type", message.view_type.as_ref())?,
        limit: page_size(message.max_results, PAGE.0, PAGE.1)?,
        page: message.page_token,
    };
    let found = state.tracking.experiment_search(search).await?;
    answer(&FoundExperiments { experiments: ExperimentsOut(&found.experiments), next_page_token: found.next })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::testing::{Server, get, post};

    const RUNS: &str = "/api/2.0/mlflow/runs";
    const EXPERIMENTS: &str = "/ajax-api/2.0/mlflow/experiments";

    /// Runs of the default experiment, named after their place, with a metric `a b`, if it is a number, and a param.
    async fn runs(server: &Server, metrics: &[Value]) {
        for (place, value) in metrics.iter().enumerate() {
            let create = json!({"experiment_id": "0", "start_time": place, "run_name": format!("run-{place}")});
            let run = server.ok(post(&format!("{RUNS}/create"), &create)).await["run"]["info"]["run_id"].take();
            let param = json!({"key": "place", "value": place.to_string()});
            let mut batch = json!({"run_id": run, "params": [param]});
            if !value.is_null() {
                batch["metrics"] = json!([{"key": "a b", "value": value, "timestamp": 1, "step": 0}]);
            }
            server.ok(post(&format!("{RUNS}/log-batch"), &batch)).await;
        }
    }

    fn names(page: &Value) -> Vec<&str> {
        let runs = page["runs"].as_array().expect("runs").iter();
        runs.map(|run| run["info"]["run_name"].as_str().expect("name")).collect()
    }

    #[tokio::test]
    async fn runs_are_filtered_ordered_and_given_in_pages() {
        let server = Server::new().await;
        runs(&server, &[json!(0.5), json!("NaN"), Value::Null, json!(2), json!(-1)]).await;
        let search = json!({
            "experiment_ids": ["0"],
            "filter": "params.place != '4' AND attributes.status = 'RUNNING'",
            "order_by": ["metrics.`a b` DESC"],
            "max_results": "3",
        });
        let first = server.ok(post(&format!("{RUNS}/search"), &search)).await;
        assert_eq!(names(&first), ["run-3", "run-0", "run-1"]);
        let mut next = search.clone();
        next["page_token"] = first["next_page_token"].clone();
        let last = server.ok(post(&format!("{RUNS}/search"), &next)).await;
        assert_eq!((names(&last), last.get("next_page_token")), (vec!["run-2"], None));
        next["filter"] = json!("metrics.\"a b\" > 0");
        server.refuses(post(&format!("{RUNS}/search"), &next), 400, "INVALID_PARAMETER_VALUE").await;
        next["page_token"] = json!("");
        let other = server.ok(post(&format!("{RUNS}/search"), &next)).await;
        assert_eq!(names(&other), ["run-3", "run-0"]);
        assert_eq!(server.ok(post(&format!("{RUNS}/search"), &json!({}))).await["runs"], json!([]));
        // The order that holds anyway need not be repeated.
        let newest = json!({"experiment_ids": ["0"], "max_results": 3, "order_by": ["attributes.start_time DESC"]});
        let first = server.ok(post(&format!("{RUNS}/search"), &newest)).await;
        assert_eq!(names(&first), ["run-4", "run-3", "run-2"]);
        let next = json!({"experiment_ids": ["0"], "page_token": first["next_page_token"]});
        assert_eq!(names(&server.ok(post(&format!("{RUNS}/search"), &next)).await), ["run-1", "run-0"]);
    }

    #[tokio::test]
    async fn a_wrong_search_is_refused_with_the_place() {
        let server = Server::new().await;
        let filter = json!({"experiment_ids": ["0"], "filter": "metrics.a > 1 OR metrics.b > 1"});
        let message = server.refuses(post(&format!("{RUNS}/search"), &filter), 400, "INVALID_PARAMETER_VALUE").await;
        assert!(message.contains("at character 15"), "{message}");
        for wrong in [
            json!({"experiment_ids": ["0"], "order_by": ["metrics.a", "metrics.a DESC"]}),
            json!({"experiment_ids": ["0"], "max_results": 50_001}),
            json!({"experiment_ids": ["0"], "max_results": 0}),
            json!({"experiment_ids": ["0"], "page_token": "x"}),
            json!({"experiment_ids": ["0"], "run_view_type": "SOME"}),
            json!({"experiment_ids": ["x"]}),
            json!({"experiment_ids": "0"}),
        ] {
            server.refuses(post(&format!("{RUNS}/search"), &wrong), 400, "INVALID_PARAMETER_VALUE").await;
        }
    }

    #[tokio::test]
    async fn experiments_are_found_by_body_and_by_query() {
        let server = Server::new().await;
        for name in ["ant", "bee"] {
            server.ok(post(&format!("{EXPERIMENTS}/create"), &json!({"name": name}))).await;
        }
        let found = |page: Value| {
            let experiments = page["experiments"].as_array().expect("experiments").clone();
            experiments.iter().map(|one| one["name"].as_str().expect("name").to_owned()).collect::<Vec<_>>()
        };
        let search = json!({"filter": "name != 'bee'", "order_by": ["name DESC"], "view_type": "ACTIVE_ONLY"});
        assert_eq!(found(server.ok(post(&format!("{EXPERIMENTS}/search"), &search)).await), ["ant", "Default"]);
        let query = "max_results=2&order_by=name&order_by=experiment_id&view_type=3";
        let first = server.ok(get(&format!("{EXPERIMENTS}/search?{query}"))).await;
        let token = first["next_page_token"].as_str().expect("token").to_owned();
        assert_eq!(found(first), ["Default", "ant"]);
        let last = server.ok(get(&format!("{EXPERIMENTS}/search?{query}&page_token={token}"))).await;
        assert_eq!(found(last), ["bee"]);
        let wrong = get(&format!("{EXPERIMENTS}/search?filter=name%20%3E%20%27a%27"));
        server.refuses(wrong, 400, "INVALID_PARAMETER_VALUE").await;
    }
}
