//! `/invocations` and what `mlflow models serve` answers beside it.

use std::time::Instant;

use axum::extract::{Path, Request, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use ropewalk_inference::EngineName;

use crate::answer::Answer;
use crate::columns::tensors;
use crate::forms::{Asked, Asking, Kind};
use crate::service::{Growth, Named, Place, Scoring, answered};
use crate::table::listed;
use crate::{MLFLOW_VERSION, ScoringError, off_reactor};

pub(crate) async fn of_header(State(scoring): State<Scoring>, request: Request) -> Result<Response, ScoringError> {
    let model = chosen(&scoring, request.headers())?;
    answer(&scoring, Place { model: &model, version: None }, request).await
}

pub(crate) async fn of_path(
    State(scoring): State<Scoring>,
    Path(named): Path<Named>,
    request: Request,
) -> Result<Response, ScoringError> {
    answer(&scoring, named.place(), request).await
}

/// The model that the header names, or the only one. With several none is guessed.
fn chosen(scoring: &Scoring, headers: &HeaderMap) -> Result<String, ScoringError> {
    if let Some(name) = headers.get("x-ropewalk-model") {
        let expected = "the name of a model";
        let name = name.to_str().map_err(|_| ScoringError::Parameter { name: "X-Ropewalk-Model", expected })?;
        return Ok(name.to_owned());
    }
    let mut names: Vec<String> = scoring.host.model_list().into_iter().map(|model| model.name.to_string()).collect();
    names.dedup();
    match names.as_slice() {
        [] => Err(ScoringError::NoModel),
        [only] => Ok(only.clone()),
        several => Err(ScoringError::NoChoice { loaded: listed(several.iter().map(String::as_str)) }),
    }
}

struct Read {
    asked: Asked,
    rows: usize,
    has_params: bool,
}

async fn answer(scoring: &Scoring, place: Place<'_>, request: Request) -> Result<Response, ScoringError> {
    let _entered = scoring.enter()?;
    let request = request.into_parts();
    let kind = Kind::of(&request.0.headers)?;
    let grows = if kind == Kind::Parquet { Growth::Any } else { Growth::Text };
    let (answer, read, told) = scoring
        .score(place, request, grows, move |body, target, limits| {
            let Asking { table, asked, has_params } = kind.read(body, limits)?;
            let inputs = tensors(&table, target.model().as_str(), target.signature())?;
            Ok((inputs, Read { asked, rows: table.rows, has_params }))
        })
        .await?;
    let started = Instant::now();
    // MLflow has maps by class, too, where the graph makes such (ZipMap).
    let whole = Answer::new(&scoring.host, answer, true);
    let (asked, rows, engine) = (read.asked, read.rows, told.engine);
    let (whole, text) = off_reactor(whole.size(), move || {
        let mut text = String::from("{\"predictions\":");
        match (asked, whole.only().filter(|_| engine == EngineName::Python)) {
            (_, Some(only)) => only.push_column(&mut text),
            (Asked::Frame, None) => whole.push_rows(rows, &mut text)?,
            (Asked::Tensors, None) => whole.push_columns(&mut text),
        }
        text.push('}');
        Ok((whole, text))
    })
    .await?;
    scoring.host.count_codec(&whole.response.model, whole.response.version, told.reading, started.elapsed());
    let mut response = answered(&whole.response, text)?;
    if read.has_params {
        response.headers_mut().insert("x-ropewalk-ignored", HeaderValue::from_static("params"));
    }
    Ok(response)
}

/// Whether requests can be answered; the body is MLflow's.
pub(crate) async fn ping(State(scoring): State<Scoring>) -> Response {
    let ready = scoring.host.readiness().is_ready();
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, [(CONTENT_TYPE, "application/json")], "\n").into_response()
}

/// The version of MLflow that is spoken.
pub(crate) async fn version() -> Response {
    ([(CONTENT_TYPE, "application/json")], MLFLOW_VERSION).into_response()
}
