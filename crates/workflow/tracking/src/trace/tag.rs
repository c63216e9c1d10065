use ropewalk_catalog::{Connection, query};

use super::{SPANS_TAG, TRACE_TAG_CHARACTERS, TraceError, read, start};
use crate::limits::{cut, key_check};
use crate::{Tag, TrackingError};

/// Tags that say where the server keeps a trace.
const KEPT: [&str; 2] = [SPANS_TAG, "mlflow.trace.archiveLocation"];
/// As [`KEPT`], but to delete it means to try again.
const KEPT_UNTIL_DELETED: &str = "mlflow.trace.archivalFailure";

pub(super) async fn set(connection: &mut Connection, trace: &str, tag: &Tag) -> Result<(), TrackingError> {
    if KEPT.contains(&tag.key.as_str()) || tag.key == KEPT_UNTIL_DELETED {
        return Err(TraceError::TagKept(tag.key.clone()).into());
    }
    key_check("tag key", &tag.key)?;
    let number = read::number_of(connection, trace).await?;
    let value = cut(&tag.value, TRACE_TAG_CHARACTERS).0.to_owned();
    start::tags_put(connection, number, [(tag.key.clone(), value)].into()).await
}

pub(super) async fn delete(connection: &mut Connection, trace: &str, key: &str) -> Result<(), TrackingError> {
    if KEPT.contains(&key) {
        return Err(TraceError::TagKept(key.to_owned()).into());
    }
    let number = read::number_of(connection, trace).await?;
    let delete = "DELETE FROM trace_tag WHERE trace = $1 AND key = $2";
    match query(delete).bind(number).bind(key).execute(connection).await? {
        0 => Err(TraceError::TagAbsent { trace: trace.to_owned(), key: key.to_owned() }.into()),
        _ => Ok(()),
    }
}
