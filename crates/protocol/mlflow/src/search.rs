use std::sync::Arc;

use axum::extract::State;
use ropewalk_tracking::{Experiment, Lifecycle, RunFilter};
use ropewalk_types::ExperimentId;
use serde::{Deserialize, Serialize, Serializer};

use crate::answer::{Answer, answer};
use crate::request::{Message, Parameters, experiment_id};
use crate::wire::number::Int64;
use crate::wire::run::RunsOut;
use crate::wire::{EnumValue, ExperimentOut, page_size};
use crate::{MlflowError, MlflowState};

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
    not_yet("filter", message.filter.as_deref())?;
    let default = ["start_time DESC", "attribute.start_time DESC", "attributes.start_time DESC"];
    let odd = |order: &&String| !default.iter().any(|one| one.eq_ignore_ascii_case(order.trim()));
    not_yet("order_by", message.order_by.iter().flatten().find(odd).map(String::as_str))?;
    let experiments = message.experiment_ids.unwrap_or_default();
    let experiments = experiments.iter().map(|id| experiment_id(id)).collect::<Result<Vec<ExperimentId>, _>>()?;
    let token = message.page_token.as_deref().filter(|token| !token.is_empty());
    let filter = RunFilter {
        experiments: Some(experiments),
        status: None,
        lifecycle: lifecycle("run_view_type", message.run_view_type.as_ref())?,
        after: token.map(str::parse).transpose().map_err(|error| MlflowError::invalid("page_token", &error))?,
    };
    let page = state.tracking.run_list(filter, page_size(message.max_results, 1_000, 50_000)?).await?;
    answer(&FoundRuns { runs: RunsOut(&page.runs), next_page_token: page.next.map(|next| next.to_string()) })
}

fn not_yet(parameter: &'static str, text: Option<&str>) -> Result<(), MlflowError> {
    match text.filter(|text| !text.trim().is_empty()) {
        Some(text) => Err(MlflowError::Unsupported { parameter, what: format!("'{}'", text.escape_debug()) }),
        None => Ok(()),
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

pub(crate) async fn experiments_by_query(
    State(state): State<Arc<MlflowState>>,
    Parameters(message): Parameters<SearchExperiments>,
) -> Answer {
    experiments(&state, message).await
}

pub(crate) async fn experiments_by_body(
    State(state): State<Arc<MlflowState>>,
    Message(message): Message<SearchExperiments>,
) -> Answer {
    experiments(&state, message).await
}

async fn experiments(state: &MlflowState, message: SearchExperiments) -> Answer {
    not_yet("filter", message.filter.as_deref())?;
    let limit = page_size(message.max_results, 1_000, 50_000)?;
    let token = message.page_token.as_deref().filter(|token| !token.is_empty());
    let before: Option<ExperimentId> = token.map(experiment_id).transpose()?;
    let mut found = state.tracking.experiment_list(before, limit + 1).await?;
    let more = found.len() > limit;
    found.truncate(limit);
    let next_page_token = found.last().filter(|_| more).map(|last| last.id.to_string());
    answer(&FoundExperiments { experiments: ExperimentsOut(&found), next_page_token })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::testing::{Server, get, post};

    const API: &str = "/api/2.0/mlflow";

    async fn begin(server: &Server, start: i64) {
        let create = json!({"experiment_id": "0", "start_time": start.to_string()});
        server.ok(post(&format!("{API}/runs/create"), &create)).await;
    }

    #[tokio::test]
    async fn pages_go_on_where_they_ended() {
        let server = Server::new().await;
        for name in ["a", "b"] {
            server.ok(post(&format!("{API}/experiments/create"), &json!({"name": name}))).await;
        }
        let first = server
            .ok(post(&format!("{API}/experiments/search"), &json!({"max_results": "2", "view_type": "ALL"})))
            .await;
        assert_eq!(first["experiments"].as_array().expect("list").len(), 2);
        let token = first["next_page_token"].as_str().expect("token");
        let rest = server.ok(get(&format!("{API}/experiments/search?max_results=2&page_token={token}"))).await;
        assert_eq!(rest["experiments"][0]["name"], "Default");
        assert!(rest.get("next_page_token").is_none());
    }

    #[tokio::test]
    async fn a_search_is_newest_first_in_pages_and_empty_without_experiments() {
        let server = Server::new().await;
        for start in [1, 3, 2] {
            begin(&server, start).await;
        }
        let search = json!({"experiment_ids": ["0"], "max_results": 2, "order_by": ["attributes.start_time DESC"]});
        let first = server.ok(post(&format!("{API}/runs/search"), &search)).await;
        let starts = |page: &Value| {
            page["runs"]
                .as_array()
                .expect("runs")
                .iter()
                .map(|run| run["info"]["start_time"].clone())
                .collect::<Vec<_>>()
        };
        assert_eq!(starts(&first), [3, 2]);
        let next = json!({"experiment_ids": ["0"], "max_results": 2, "page_token": first["next_page_token"]});
        let last = server.ok(post(&format!("{API}/runs/search"), &next)).await;
        assert_eq!(starts(&last), [1]);
        assert!(last.get("next_page_token").is_none());
        assert_eq!(server.ok(post(&format!("{API}/runs/search"), &json!({}))).await["runs"], json!([]));
    }
}
