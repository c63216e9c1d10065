//! The held-out months as requests: what a booking system would have asked, flight by flight.

use futures::{StreamExt as _, TryStreamExt as _};
use ropewalk_inference_server::InferenceServer;
use ropewalk_server::{OpenProject, ServerError};
use serde_json::{Value, json};

/// Requests that are under way at once.
const CONCURRENCY: usize = 8;

/// One request body for each flight that the model has not learnt from.
pub(super) async fn flights(project: &OpenProject, server: &InferenceServer) -> Result<Vec<Value>, ServerError> {
    let inputs: Vec<(String, String)> = server
        .models()
        .iter()
        .flat_map(|model| &model.signature.inputs)
        .map(|input| (input.name.clone(), input.datatype.to_string()))
        .collect();
    let rows = project.ask("SELECT * FROM features WHERE split = 'test'").await?.write_json()?;
    let rows: Vec<Value> = serde_json::from_slice(&rows).map_err(|error| ServerError::Serve(error.to_string()))?;
    Ok(rows.iter().map(|row| request(row, &inputs)).collect())
}

/// A request of the Open Inference Protocol v2: each raw column is one input of shape [1, 1].
fn request(row: &Value, inputs: &[(String, String)]) -> Value {
    let tensors: Vec<Value> = inputs
        .iter()
        .map(|(name, datatype)| {
            let value = row.get(name).cloned().unwrap_or_default();
            json!({ "name": name, "shape": [1, 1], "datatype": datatype, "data": [value] })
        })
        .collect();
    json!({ "id": row["flight_id"], "inputs": tensors })
}

/// Sends every request; the first that is refused ends it.
pub(super) async fn send(server: &InferenceServer, requests: &[Value]) -> Result<(), ServerError> {
    let model = server.models().first().map(|model| model.name.to_string()).unwrap_or_default();
    let url = format!("{}/v2/models/{model}/infer", server.rest_url());
    let client = reqwest::Client::builder().no_proxy().build().map_err(|error| failed(&error))?;
    futures::stream::iter(requests)
        .map(Ok::<_, ServerError>)
        .try_for_each_concurrent(CONCURRENCY, |request| ask(&client, &url, request))
        .await
}

async fn ask(client: &reqwest::Client, url: &str, request: &Value) -> Result<(), ServerError> {
    let answer = client.post(url).json(request).send().await.map_err(|error| failed(&error))?;
    let status = answer.status();
    let text = answer.text().await.map_err(|error| failed(&error))?;
    if status.is_success() { Ok(()) } else { Err(ServerError::Serve(format!("{url} answered {status}: {text}"))) }
}

fn failed(error: &reqwest::Error) -> ServerError {
    ServerError::Serve(format!("a request failed: {error}"))
}
