//! The info of a trace that has ended.

use std::collections::BTreeMap;

use ropewalk_catalog::{Connection, Value, query, rows_insert};
use ropewalk_types::ExperimentId;

use super::{
    FINALIZED, PREVIEW_CHARACTERS, TRACE_ARTIFACT_TAG, TRACE_METADATA_CHARACTERS, TRACE_TAG_CHARACTERS, TraceError,
    TraceInfo, assessment, read,
};
use crate::limits::{KEY_CHARACTERS, cut, name_error};
use crate::{ArtifactRoot, TrackingError};

/// Longest id of a trace; OpenTelemetry's make 35.
const ID_CHARACTERS: usize = 64;

pub(super) async fn start(connection: &mut Connection, info: &TraceInfo) -> Result<TraceInfo, TrackingError> {
    id_check(&info.id)?;
    let location = artifact_uri(connection, info.experiment, &info.id).await?;
    let number = match read::number(connection, &info.id).await? {
        Some(number) => {
            update(connection, number, info).await?;
            number
        }
        None => insert(connection, info, true).await?,
    };
    let mut tags = bounded(&info.tags, TRACE_TAG_CHARACTERS);
    tags.insert(TRACE_ARTIFACT_TAG.to_owned(), location);
    tags_put(connection, number, tags).await?;
    let mut metadata = bounded(&info.metadata, TRACE_METADATA_CHARACTERS);
    metadata.insert(FINALIZED.to_owned(), "true".to_owned());
    metadata_put(connection, number, metadata).await?;
    for one in &info.assessments {
        assessment::put(connection, number, one).await?;
    }
    read::info(connection, &info.id).await
}

/// An id is a part of the artifacts' path, so it must be a plain name.
pub(super) fn id_check(id: &str) -> Result<(), TrackingError> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    if id.is_empty() || id.len() > ID_CHARACTERS || !id.bytes().all(plain) {
        let rule = format!("use 1 to {ID_CHARACTERS} letters, digits, `-` and `_`");
        return Err(name_error("trace id", id, &rule));
    }
    Ok(())
}

/// Where the artifacts of a trace lie, by the experiment, which must be there and not deleted.
pub(super) async fn artifact_uri(
    connection: &mut Connection,
    experiment: ExperimentId,
    trace: &str,
) -> Result<String, TrackingError> {
    let select = "SELECT artifact_location, deleted_at FROM experiment WHERE id = $1";
    let row: Option<(Option<String>, Option<i64>)> =
        query(select).bind(experiment.0).fetch_optional(connection).await?;
    let (location, deleted) = row.ok_or(TrackingError::ExperimentAbsent(experiment))?;
    if deleted.is_some() {
        return Err(TraceError::ExperimentDeleted(experiment).into());
    }
    Ok(ArtifactRoot::Trace { experiment, trace: trace.to_owned() }.uri(location.as_deref()))
}

/// Inserts the row of a trace; gives its number.
pub(super) async fn insert(
    connection: &mut Connection,
    info: &TraceInfo,
    finalized: bool,
) -> Result<i64, TrackingError> {
    let number: i64 = query("SELECT COALESCE(MAX(number), 0) + 1 FROM trace").fetch_one(connection).await?;
    let insert = "INSERT INTO trace (number, id, experiment_id, requested_at, duration, state, client_request_id, \
                  request_preview, response_preview, finalized) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)";
    query(insert)
        .bind(number)
        .bind(&info.id)
        .bind(info.experiment.0)
        .bind(info.requested.0)
        .bind(info.duration)
        .bind(info.state.as_str())
        .bind(info.client_request_id.as_deref())
        .bind(preview(info.request_preview.as_deref()))
        .bind(preview(info.response_preview.as_deref()))
        .bind(finalized)
        .execute(connection)
        .await?;
    Ok(number)
}

/// What the client says at the end counts; a preview that it does not give stays.
async fn update(connection: &mut Connection, number: i64, info: &TraceInfo) -> Result<(), TrackingError> {
    let update = "UPDATE trace SET experiment_id = $2, requested_at = $3, duration = $4, state = $5, \
                  client_request_id = $6, request_preview = COALESCE($7, request_preview), \
                  response_preview = COALESCE($8, response_preview), finalized = 1 WHERE number = $1";
    query(update)
        .bind(number)
        .bind(info.experiment.0)
        .bind(info.requested.0)
        .bind(info.duration)
        .bind(info.state.as_str())
        .bind(info.client_request_id.as_deref())
        .bind(preview(info.request_preview.as_deref()))
        .bind(preview(info.response_preview.as_deref()))
        .execute(connection)
        .await?;
    Ok(())
}

fn preview(text: Option<&str>) -> Option<&str> {
    text.map(|text| cut(text, PREVIEW_CHARACTERS).0)
}

/// Keys and values cut to what is kept.
fn bounded(map: &BTreeMap<String, String>, characters: usize) -> BTreeMap<String, String> {
    let pair =
        |(key, value): (&String, &String)| (cut(key, KEY_CHARACTERS).0.to_owned(), cut(value, characters).0.to_owned());
    map.iter().map(pair).collect()
}

pub(super) async fn tags_put(
    connection: &mut Connection,
    number: i64,
    tags: BTreeMap<String, String>,
) -> Result<(), TrackingError> {
    let head = "INSERT INTO trace_tag (trace, key, value)";
    rows_insert(connection, head, rows(number, tags), REPLACE).await?;
    Ok(())
}

pub(super) async fn metadata_put(
    connection: &mut Connection,
    number: i64,
    metadata: BTreeMap<String, String>,
) -> Result<(), TrackingError> {
    let head = "INSERT INTO trace_metadata (trace, key, value)";
    rows_insert(connection, head, rows(number, metadata), REPLACE).await?;
    Ok(())
}

const REPLACE: &str = "ON CONFLICT (trace, key) DO UPDATE SET value = excluded.value";

fn rows(number: i64, pairs: BTreeMap<String, String>) -> Vec<[Value; 3]> {
    pairs.into_iter().map(|(key, value)| [number.into(), key.into(), value.into()]).collect()
}
