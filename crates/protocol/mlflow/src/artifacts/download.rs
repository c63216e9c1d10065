use axum::body::Body;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures::{Stream, StreamExt as _};
use ropewalk_store::files::{open, temporary_directory};
use ropewalk_tracking::Artifact;
use tokio::fs::File;
use tokio::task::spawn_blocking;
use tokio_util::io::ReaderStream;

use crate::{MlflowError, MlflowState};

/// Up to so many bytes are read from the store into memory; more go over the spool.
const IN_MEMORY: u64 = 1 << 20;

/// Bytes that are read from the spool at a time.
const PIECE: usize = 256 << 10;

/// The bytes of an artifact, never to be shown by a browser as a page of this server.
pub(super) async fn answer(state: &MlflowState, artifact: &Artifact) -> Result<Response, MlflowError> {
    let body = if artifact.size <= IN_MEMORY {
        Body::from(state.tracking.store().get_bytes(&artifact.digest).await?)
    } else {
        Body::from_stream(spooled(state, artifact).await?)
    };
    let mut response = body.into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(artifact.size));
    headers.insert(header::CONTENT_DISPOSITION, disposition(artifact.path.name()));
    Ok(response)
}

async fn spooled(
    state: &MlflowState,
    artifact: &Artifact,
) -> Result<impl Stream<Item = std::io::Result<Bytes>> + use<>, MlflowError> {
    let spool = state.spool.clone();
    let directory = spawn_blocking(move || temporary_directory(&spool)).await??;
    let path = directory.path().join("artifact");
    state.tracking.store().materialize(&artifact.digest, &path).await?;
    let file = spawn_blocking(move || open(&path)).await??;
    let pieces = ReaderStream::with_capacity(File::from_std(file), PIECE);
    // The directory is removed with the stream, read to its end or not.
    Ok(pieces.inspect(move |_| {
        let _ = &directory;
    }))
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
