mod kind;
mod range;

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures::{StreamExt as _, TryStreamExt as _};
use ropewalk_store::StoreError;
use ropewalk_tracking::Artifact;

use crate::{MlflowError, MlflowState};
use range::Wanted;

/// The bytes of an artifact, or the range of them that is asked for, never to be shown by a browser as a page of this
/// server.
pub(super) async fn answer(
    state: &MlflowState,
    artifact: &Artifact,
    request: &HeaderMap,
) -> Result<Response, MlflowError> {
    let size = artifact.size;
    let tag = format!("\"{}\"", artifact.digest);
    let wanted = range::wanted(request, size, &tag);
    let (status, part) = match wanted {
        Wanted::Whole => (StatusCode::OK, 0..size),
        Wanted::Part(ref part) => (StatusCode::PARTIAL_CONTENT, part.clone()),
        Wanted::Unchanged => (StatusCode::NOT_MODIFIED, 0..0),
        Wanted::Beyond => (StatusCode::RANGE_NOT_SATISFIABLE, 0..0),
    };
    let length = part.end - part.start;
    let body = if length == 0 {
        Body::empty()
    } else {
        let mut pieces = state.tracking.store().blob_body(&artifact.digest, part);
        // The first piece comes before the head of the answer: bytes that are not there are an error, not a broken answer.
        let first = pieces.try_next().await?.unwrap_or_default();
        if first.len() as u64 == length {
            Body::from(first)
        } else {
            Body::from_stream(futures::stream::iter([Ok::<_, StoreError>(first)]).chain(pieces))
        }
    };
    let mut response = (status, body).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind::content_type(artifact.path.name())));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::CONTENT_DISPOSITION, disposition(artifact.path.name()));
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    // The bytes at a path may be replaced: what was kept of them is asked for again, and mostly answered without them.
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    if let Ok(tag) = HeaderValue::try_from(tag) {
        headers.insert(header::ETAG, tag);
    }
    if wanted != Wanted::Unchanged {
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    }
    let content_range = match wanted {
        Wanted::Part(part) => Some(format!("bytes {}-{}/{size}", part.start, part.end - 1)),
        Wanted::Beyond => Some(format!("bytes */{size}")),
        Wanted::Whole | Wanted::Unchanged => None,
    };
    if let Some(Ok(value)) = content_range.map(HeaderValue::try_from) {
        headers.insert(header::CONTENT_RANGE, value);
    }
    Ok(response)
}

/// `attachment` with the file's name (RFC 6266; the name in UTF-8 after RFC 8187).
fn disposition(name: &str) -> HeaderValue {
    let plain = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-') { c } else { '_' };
    let plain: String = name.chars().map(plain).collect();
    let encode = |byte: u8| match byte {
        b'.' | b'_' | b'-' | b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' => char::from(byte).to_string(),
        other => format!("%{other:02X}"),
    };
    let encoded: String = name.bytes().map(encode).collect();
    let text = format!("attachment; filename=\"{plain}\"; filename*=UTF-8''{encoded}");
    HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static("attachment"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cannot_break_out_of_the_header() {
        assert_eq!(disposition("m.onnx"), "attachment; filename=\"m.onnx\"; filename*=UTF-8''m.onnx");
        let odd = disposition("ü \"x\";.txt");
        assert_eq!(odd, "attachment; filename=\"___x__.txt\"; filename*=UTF-8''%C3%BC%20%22x%22%3B.txt");
    }
}
