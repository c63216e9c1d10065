//! `/predict/{model}`: objects of raw columns in, objects of outputs out.

use std::time::Instant;

use axum::extract::{Path, Request, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::request::Parts;
use axum::response::Response;

use crate::answer::Answer;
use crate::cells::Reading;
use crate::columns::tensors;
use crate::json::JSON;
use crate::service::{Growth, Named, Place, Scoring, answered};
use crate::table::Table;
use crate::{ScoringError, off_reactor, records};

pub(crate) async fn of_path(
    State(scoring): State<Scoring>,
    Path(named): Path<Named>,
    request: Request,
) -> Result<Response, ScoringError> {
    answer(&scoring, named.place(), request).await
}

async fn answer(scoring: &Scoring, place: Place<'_>, request: Request) -> Result<Response, ScoringError> {
    let _entered = scoring.enter()?;
    let request = request.into_parts();
    let foreign = foreign_type(&request.0);
    let by_label = by_label(&request.0)?;
    let read = scoring.score(place, request, Growth::Text, |body, target, limits| {
        let (records, alone) = records::read(&body)?;
        records::check(&records, target.signature())?;
        let table = Table::of_records(records, Reading::Typed, limits)?;
        Ok((tensors(&table, target.model().as_str(), target.signature())?, (alone, table.rows)))
    });
    let (answer, (alone, rows), told) = read.await.map_err(|error| no_json(error, foreign))?;
    let started = Instant::now();
    let whole = Answer::new(&scoring.host, answer, by_label);
    let (whole, text) = off_reactor(whole.size(), move || {
        let mut text = String::new();
        if alone {
            whole.check_rows(rows)?;
            whole.push_row(0, &mut text);
        } else {
            whole.push_rows(rows, &mut text)?;
        }
        Ok((whole, text))
    })
    .await?;
    scoring.host.count_codec(&whole.response.model, whole.response.version, told.reading, started.elapsed());
    answered(&whole.response, text)
}

/// The content type, where it names another form than JSON. It does not decide: what sends JSON by hand often says
/// nothing of it, or the wrong thing (`curl -d` says `application/x-www-form-urlencoded`).
fn foreign_type(parts: &Parts) -> Option<String> {
    let found = parts.headers.get(CONTENT_TYPE)?.to_str().unwrap_or("?");
    let kind = found.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    (kind != "application/json" && !kind.ends_with("+json")).then(|| found.to_owned())
}

/// What is no JSON and does not say that it is is of a form that is not read here.
fn no_json(error: ScoringError, foreign: Option<String>) -> ScoringError {
    match (error, foreign) {
        (ScoringError::Malformed { form: JSON, .. }, Some(found)) => {
            ScoringError::ContentType { accepted: "application/json", found }
        }
        (error, _) => error,
    }
}

/// Whether probabilities are objects by class, where the model names its classes: yes, if the query has no
/// `labels=false`.
fn by_label(parts: &Parts) -> Result<bool, ScoringError> {
    let query = parts.uri.query().unwrap_or_default();
    match query.split('&').find_map(|pair| pair.strip_prefix("labels=")) {
        None | Some("true") => Ok(true),
        Some("false") => Ok(false),
        Some(_) => Err(ScoringError::Parameter { name: "labels", expected: "true or false" }),
    }
}
