use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use ropewalk_tracking::{DatasetChoice, LOGGED_MODEL_PAGE, LoggedModelOrder, LoggedModelSearch};
use ropewalk_types::ExperimentId;
use serde::Deserialize;
use serde_json::{Value, json};

use super::wire::LoggedModelOut;
use crate::request::{Message, experiment_id};
use crate::wire::number::Int64;
use crate::{MlflowError, MlflowState};

/// `SearchLoggedModels`.
#[derive(Debug, Deserialize)]
pub(super) struct Search {
    experiment_ids: Option<Vec<String>>,
    filter: Option<String>,
    datasets: Option<Vec<Dataset>>,
    max_results: Option<Int64>,
    order_by: Option<Vec<OrderBy>>,
    page_token: Option<String>,
}

/// `SearchLoggedModels.Dataset`.
#[derive(Debug, Deserialize)]
struct Dataset {
    dataset_name: Option<String>,
    dataset_digest: Option<String>,
}

/// `SearchLoggedModels.OrderBy`.
#[derive(Debug, Deserialize)]
struct OrderBy {
    field_name: Option<String>,
    ascending: Option<bool>,
    dataset_name: Option<String>,
    dataset_digest: Option<String>,
}

fn choice(name: String, digest: Option<String>) -> DatasetChoice {
    DatasetChoice { name, digest: digest.filter(|digest| !digest.is_empty()) }
}

impl OrderBy {
    fn order(self) -> LoggedModelOrder {
        let name = self.dataset_name.filter(|name| !name.is_empty());
        LoggedModelOrder {
            field: self.field_name.unwrap_or_default(),
            descending: self.ascending == Some(false),
            dataset: name.map(|name| choice(name, self.dataset_digest)),
        }
    }
}

/// `0` and nothing are the usual number; MLflow has no greatest one, here a page is bounded and the token goes on.
fn limit(wanted: Option<Int64>) -> Result<usize, MlflowError> {
    match wanted {
        None | Some(Int64(0)) => Ok(LOGGED_MODEL_PAGE),
        Some(Int64(wanted)) => usize::try_from(wanted)
            .map_err(|_| MlflowError::invalid("max_results", &format!("{wanted} is less than 0"))),
    }
}

pub(super) async fn search(
    State(state): State<Arc<MlflowState>>,
    Message(message): Message<Search>,
) -> Result<Json<Value>, MlflowError> {
    let experiments = message.experiment_ids.ok_or(MlflowError::Missing("experiment_ids"))?;
    let experiments = experiments.iter().map(|id| experiment_id(id));
    let datasets = message.datasets.unwrap_or_default().into_iter();
    let search = LoggedModelSearch {
        experiments: experiments.collect::<Result<Vec<ExperimentId>, MlflowError>>()?,
        filter: message.filter.unwrap_or_default(),
        datasets: datasets.map(|one| choice(one.dataset_name.unwrap_or_default(), one.dataset_digest)).collect(),
        order: message.order_by.unwrap_or_default().into_iter().map(OrderBy::order).collect(),
        limit: limit(message.max_results)?,
        page_token: message.page_token.filter(|token| !token.is_empty()),
    };
    let page = state.tracking.logged_model_search(search).await?;
    let mut answer = json!({});
    if !page.models.is_empty() {
        let models: Vec<LoggedModelOut<'_>> = page.models.iter().map(LoggedModelOut::from).collect();
        answer["models"] = json!(models);
    }
    if let Some(token) = page.next_page_token {
        answer["next_page_token"] = json!(token);
    }
    Ok(Json(answer))
}
