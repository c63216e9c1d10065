use std::path::PathBuf;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt as _;
use reqwest::header::RETRY_AFTER;
use reqwest::{Client, RequestBuilder, Response, StatusCode, Url};
use ropewalk_store::{Blob, StoreError, Writer};
use ropewalk_types::ExperimentId;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::origin::{Origin, Page, TheirFile, proxied};
use super::record::{text, whole};
use super::unreadable;
use crate::ServerError;

const API: &str = "api/2.0/mlflow";
const ARTIFACTS: &str = "api/2.0/mlflow-artifacts/artifacts";
/// Records in one page.
const PAGE: u32 = 500;
/// Points in one page.
const POINTS: u32 = 25_000;
/// Traces in one page.
const TRACES: u32 = 100;
/// The tag of a trace that says where its spans are, and its value for those that are no file.
const SPANS_TAG: &str = "mlflow.trace.spansLocation";
const SPANS_IN_DATABASE: &str = "TRACKING_STORE";
/// Pieces of a file that wait to be stored.
const AHEAD: usize = 8;
/// What an error's body is shown of.
const SHOWN: usize = 300;

/// How long a connection may take, and how long nothing may come: a page of a large MLflow takes its time.
const CONNECTING: Duration = Duration::from_secs(30);
const SILENCE: Duration = Duration::from_mins(5);
/// How often a server that has too much to do is asked again, and how long a pause may be.
const AGAIN: u32 = 10;
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// A server that speaks MLflow's REST API.
pub(super) struct Web {
    client: Client,
    base: Url,
    credentials: Option<String>,
    /// What it says is not there although it must be.
    left: Vec<String>,
}

impl Web {
    /// The server at `url`, which is asked nothing yet.
    pub(super) fn new(url: &str, credentials: Option<&str>) -> Result<Self, ServerError> {
        let base = Url::parse(&format!("{}/", url.trim_end_matches('/'))).map_err(unreadable)?;
        let client = Client::builder().connect_timeout(CONNECTING).read_timeout(SILENCE).build().map_err(unreadable)?;
        Ok(Self { client, base, credentials: credentials.map(str::to_owned), left: Vec::new() })
    }

    fn url(&self, path: &str) -> Result<Url, ServerError> {
        self.base.join(path).map_err(unreadable)
    }

    /// Sends a request, again while the server asks for a pause; an answer that is neither 200 nor 404 is an error.
    async fn send(&self, request: RequestBuilder) -> Result<Response, ServerError> {
        let request = match self.credentials.as_deref().map(|text| text.split_once(':').ok_or(text)) {
            Some(Ok((name, password))) => request.basic_auth(name, Some(password)),
            Some(Err(token)) => request.bearer_auth(token),
            None => request,
        };
        let mut pauses = 0;
        let answer = loop {
            let one = request.try_clone().ok_or_else(|| unreadable("a request with a stream cannot be sent twice"))?;
            let answer = one.send().await.map_err(|error| unreadable(error.without_url()))?;
            let asked = pause_asked(&answer);
            match asked {
                Some(pause) if pauses < AGAIN => tokio::time::sleep(pause).await,
                _ => break answer,
            }
            pauses += 1;
        };
        let status = answer.status();
        if status == StatusCode::OK || status == StatusCode::NOT_FOUND {
            return Ok(answer);
        }
        let path = answer.url().path().to_owned();
        let body: String = answer.text().await.unwrap_or_default().chars().take(SHOWN).collect();
        let hint = "set MLFLOW_TRACKING_TOKEN, or MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD".to_owned();
        match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                Err(ServerError::Unknown { what: format!("the server refuses {path}: {body}"), hint })
            }
            _ => Err(unreadable(format!("the server answered {status} to {path}: {body}"))),
        }
    }

    /// What is answered to a GET; see [`Web::held`].
    async fn get(&mut self, what: &str, path: &str, query: &[(&str, &str)]) -> Result<Value, ServerError> {
        let answer = self.send(self.client.get(self.url(path)?).query(query)).await?;
        self.held(Some(what), answer).await
    }

    /// What is answered to a POST; see [`Web::held`].
    async fn post(&mut self, what: Option<&str>, path: &str, body: &Value) -> Result<Value, ServerError> {
        let answer = self.send(self.client.post(self.url(path)?).json(body)).await?;
        self.held(what, answer).await
    }

    /// The JSON of an answer. 404 is an empty object, and `what` is said to be left out; without `what` it is nothing
    /// that this MLflow could have.
    async fn held(&mut self, what: Option<&str>, answer: Response) -> Result<Value, ServerError> {
        if answer.status() == StatusCode::NOT_FOUND {
            if let Some(what) = what {
                self.left.push(format!("{what}: the server answered 404 to {}", answer.url().path()));
            }
            return Ok(json!({}));
        }
        answer.json().await.map_err(|error| unreadable(error.without_url()))
    }

    /// All pages of a search by POST.
    async fn all(&mut self, path: &str, mut body: Value, name: &str) -> Result<Vec<Value>, ServerError> {
        let mut found = Vec::new();
        loop {
            let answer = self.post(None, path, &body).await?;
            found.extend(list(&answer, name));
            match next(&answer) {
                Some(token) => body["page_token"] = Value::String(token),
                None => return Ok(found),
            }
        }
    }

    /// All pages of a search by GET.
    async fn all_of(
        &mut self,
        what: &str,
        path: &str,
        query: &[(&str, &str)],
        name: &str,
    ) -> Result<Vec<Value>, ServerError> {
        let (mut found, mut token) = (Vec::new(), String::new());
        loop {
            let mut query = query.to_vec();
            if !token.is_empty() {
                query.push(("page_token", token.as_str()));
            }
            let answer = self.get(what, path, &query).await?;
            found.extend(list(&answer, name));
            match next(&answer) {
                Some(after) => token = after,
                None => return Ok(found),
            }
        }
    }
}

/// How long a server that has too much to do wants to be left alone, if it says so.
fn pause_asked(answer: &Response) -> Option<Duration> {
    if answer.status() != StatusCode::SERVICE_UNAVAILABLE {
        return None;
    }
    let after = answer.headers().get(RETRY_AFTER)?;
    // It may be a date as well; a server that sends one has more patience than this.
    let seconds = after.to_str().ok().and_then(|text| text.trim().parse().ok()).map(Duration::from_secs);
    Some(seconds.unwrap_or(LONGEST_PAUSE).min(LONGEST_PAUSE))
}

fn list(answer: &Value, name: &str) -> Vec<Value> {
    answer[name].as_array().cloned().unwrap_or_default()
}

fn next(answer: &Value) -> Option<String> {
    Some(text(answer, "next_page_token")).filter(|token| !token.is_empty())
}

#[async_trait]
impl Origin for Web {
    async fn experiments(&mut self) -> Result<Vec<Value>, ServerError> {
        let body = json!({ "view_type": "ALL", "max_results": PAGE, "order_by": ["experiment_id ASC"] });
        let found = self.all(&format!("{API}/experiments/search"), body, "experiments").await?;
        if found.is_empty() {
            return Err(unreadable(format!("{} has no experiments: is it an MLflow server?", self.base)));
        }
        Ok(found)
    }

    async fn runs(&mut self, experiment: ExperimentId, token: Option<String>) -> Result<Page, ServerError> {
        let mut body =
            json!({ "experiment_ids": [experiment.to_string()], "run_view_type": "ALL", "max_results": PAGE });
        if let Some(token) = token {
            body["page_token"] = Value::String(token);
        }
        let what = format!("runs of experiment {experiment}");
        let answer = self.post(Some(&what), &format!("{API}/runs/search"), &body).await?;
        Ok((list(&answer, "runs"), next(&answer)))
    }

    async fn points(&mut self, run: &Value, key: &str, token: Option<String>) -> Result<Page, ServerError> {
        let (id, most) = (text(&run["info"], "run_id"), POINTS.to_string());
        let mut query = vec![("run_id", id.as_str()), ("metric_key", key), ("max_results", most.as_str())];
        if let Some(token) = &token {
            query.push(("page_token", token.as_str()));
        }
        let what = format!("points of `{key}` of run {id}");
        let answer = self.get(&what, &format!("{API}/metrics/get-history"), &query).await?;
        Ok((list(&answer, "metrics"), next(&answer)))
    }

    async fn logged_models(&mut self, experiment: ExperimentId) -> Result<Vec<Value>, ServerError> {
        let body = json!({ "experiment_ids": [experiment.to_string()], "max_results": 50 });
        // A server before MLflow 3 does not know the question, which is 404.
        self.all(&format!("{API}/logged-models/search"), body, "models").await
    }

    async fn traces(&mut self, experiment: ExperimentId, token: Option<String>) -> Result<Page, ServerError> {
        let location = json!({
            "type": "MLFLOW_EXPERIMENT", "mlflow_experiment": { "experiment_id": experiment.to_string() },
        });
        let mut body = json!({ "locations": [location], "max_results": TRACES });
        if let Some(token) = token {
            body["page_token"] = Value::String(token);
        }
        // None of an experiment that was deleted; and an old server does not know the question, which is 404.
        let answer = self.post(None, "api/3.0/mlflow/traces/search", &body).await?;
        let mut traces = Vec::new();
        for info in list(&answer, "traces") {
            let mut trace = json!({ "info": info });
            if text(&trace["info"]["tags"], SPANS_TAG) == SPANS_IN_DATABASE {
                let id = text(&trace["info"], "trace_id");
                let url = self.url("ajax-api/3.0/mlflow/get-trace-artifact")?;
                let file = self.send(self.client.get(url).query(&[("request_id", id.as_str())])).await?;
                if file.status() == StatusCode::NOT_FOUND {
                    self.left.push(format!("spans of trace {id}: the server answered 404 to {}", file.url().path()));
                } else {
                    let file = file.text().await.map_err(|error| unreadable(error.without_url()))?;
                    trace["spans_file"] = Value::String(file);
                }
            }
            traces.push(trace);
        }
        Ok((traces, next(&answer)))
    }

    async fn registered_models(&mut self) -> Result<Vec<Value>, ServerError> {
        let path = format!("{API}/registered-models/search");
        let mut models =
            self.all_of("registered models", &path, &[("max_results", "100")], "registered_models").await?;
        // Prompts are registered models that a search leaves out unless it asks for them.
        let prompts = [("max_results", "100"), ("filter", "tags.`mlflow.prompt.is_prompt` = 'true'")];
        models.extend(self.all_of("prompts", &path, &prompts, "registered_models").await?);
        for model in &mut models {
            let name = text(model, "name");
            let is_prompt = list(model, "tags").iter().any(|tag| text(tag, "key") == "mlflow.prompt.is_prompt");
            let quoted = name.replace('\'', "''");
            let kind = if is_prompt { " and tags.`mlflow.prompt.is_prompt` = 'true'" } else { "" };
            let filter = format!("name = '{quoted}'{kind}");
            let query = [("max_results", "200"), ("filter", filter.as_str())];
            let (what, path) = (format!("versions of `{name}`"), format!("{API}/model-versions/search"));
            let mut versions = self.all_of(&what, &path, &query, "model_versions").await?;
            for version in &mut versions {
                let number = whole(version, "version").unwrap_or(0).to_string();
                let query = [("name", name.as_str()), ("version", number.as_str())];
                let what = format!("the place of version {number} of `{name}`");
                let place = self.get(&what, &format!("{API}/model-versions/get-download-uri"), &query).await?;
                version["storage_location"] = place["artifact_uri"].clone();
            }
            model["versions"] = Value::Array(versions);
        }
        Ok(models)
    }

    fn reaches(&self, location: &str) -> bool {
        proxied(location).is_some()
    }

    async fn files(&mut self, location: &str) -> Result<Vec<TheirFile>, ServerError> {
        let Some(top) = proxied(location) else { return Ok(Vec::new()) };
        let (mut found, mut waiting) = (Vec::new(), vec![String::new()]);
        while let Some(folder) = waiting.pop() {
            let path = if folder.is_empty() { top.clone() } else { format!("{top}/{folder}") };
            let answer = self.get(&format!("files below {path}"), ARTIFACTS, &[("path", path.as_str())]).await?;
            for entry in list(&answer, "files") {
                let name = text(&entry, "path");
                let inner = if folder.is_empty() { name } else { format!("{folder}/{name}") };
                if entry["is_dir"] == Value::Bool(true) {
                    waiting.push(inner);
                } else {
                    let place = PathBuf::from(format!("{top}/{inner}"));
                    found.push(TheirFile { path: inner, place });
                }
            }
        }
        Ok(found)
    }

    fn left(&mut self) -> Vec<String> {
        std::mem::take(&mut self.left)
    }

    async fn file(&mut self, file: &TheirFile, writer: &mut Writer) -> Result<Option<Blob>, ServerError> {
        let mut url = self.url(ARTIFACTS)?;
        if let Ok(mut parts) = url.path_segments_mut() {
            parts.extend(file.place.iter().filter_map(|part| part.to_str()));
        }
        let answer = self.send(self.client.get(url)).await?;
        if answer.status() == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        let (sender, receiver) = mpsc::channel(AHEAD);
        let write = async {
            let incoming = Incoming { receiver, piece: Bytes::new() };
            let open = move || Ok::<Incoming, StoreError>(incoming);
            Ok::<Blob, ServerError>(writer.add_stream(open, &file.place).await?)
        };
        let (blob, ()) = tokio::join!(write, forward(answer, sender));
        blob.map(Some)
    }
}

/// Hands over what comes, and what went wrong.
async fn forward(answer: Response, sender: mpsc::Sender<std::io::Result<Bytes>>) {
    let mut pieces = answer.bytes_stream();
    while let Some(piece) = pieces.next().await {
        // Whoever reads may have given up; that is told there.
        if sender.send(piece.map_err(std::io::Error::other)).await.is_err() {
            return;
        }
    }
}

/// What comes over the network, for a reader that waits on a thread of its own.
struct Incoming {
    receiver: mpsc::Receiver<std::io::Result<Bytes>>,
    piece: Bytes,
}

impl std::io::Read for Incoming {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        while self.piece.is_empty() {
            match self.receiver.blocking_recv() {
                Some(piece) => self.piece = piece?,
                None => return Ok(0),
            }
        }
        let count = buffer.len().min(self.piece.len());
        let given = self.piece.split_to(count);
        buffer[..count].copy_from_slice(&given);
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    use axum::Router;
    use axum::routing::post;

    use super::*;

    #[tokio::test]
    async fn what_is_not_found_is_said_and_a_busy_server_is_asked_again() {
        let asked = Arc::new(AtomicU32::new(0));
        let counted = Arc::clone(&asked);
        let busy_once = move || {
            let first = counted.fetch_add(1, Ordering::Relaxed) == 0;
            let status = if first { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK };
            std::future::ready((status, [(RETRY_AFTER, "0")], r#"{"runs": [{"info": {}}]}"#))
        };
        let router = Router::new().route("/api/2.0/mlflow/runs/search", post(busy_once));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("port");
        let url = format!("http://{}", listener.local_addr().expect("address"));
        let server = tokio::spawn(async move { axum::serve(listener, router).await });
        let mut web = Web::new(&url, None).expect("client");
        let experiment = ExperimentId(0);
        assert_eq!(web.runs(experiment, None).await.expect("runs").0.len(), 1);
        assert_eq!(asked.load(Ordering::Relaxed), 2);
        // An old MLflow knows neither.
        assert!(web.logged_models(experiment).await.expect("models").is_empty());
        assert!(web.traces(experiment, None).await.expect("traces").0.is_empty());
        assert!(web.left().is_empty());
        let run = json!({ "info": { "run_id": "r1" } });
        assert!(web.points(&run, "loss", None).await.expect("points").0.is_empty());
        assert!(web.files("mlflow-artifacts:/0/r1/artifacts").await.expect("files").is_empty());
        let left = web.left();
        assert!(left.len() == 2 && left[0].starts_with("points of `loss` of run r1: "), "{left:?}");
        server.abort();
    }
}
