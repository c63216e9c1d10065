use std::error::Error;
use std::io::Read;

use axum::body::to_bytes;
use axum::extract::Request;
use axum::http::header::CONTENT_ENCODING;
use axum::http::{HeaderMap, HeaderName};
use bytes::Bytes;
use flate2::read::{MultiGzDecoder, ZlibDecoder};
use http_body_util::LengthLimitError;
use tokio::time::timeout;

use crate::{ProtocolError, ProtocolLimits};

/// How a body is compressed. `deflate` is the zlib format (RFC 9110 section 8.4.1.2).
#[derive(Clone, Copy, Debug)]
enum Encoding {
    Gzip,
    Deflate,
}

/// Reads a request's body: bounded in bytes, before and after decompression, and in time.
pub(super) async fn read(request: Request, limits: &ProtocolLimits) -> Result<Bytes, ProtocolError> {
    let encoding = encoding(request.headers())?;
    let limit = limits.message_bytes;
    let body = timeout(limits.body_time, to_bytes(request.into_body(), limit)).await;
    let body = body.map_err(|_| ProtocolError::Slow(limits.body_time))?.map_err(|problem| {
        if problem.source().is_some_and(<dyn Error>::is::<LengthLimitError>) {
            ProtocolError::TooLarge { limit }
        } else {
            ProtocolError::malformed(&problem)
        }
    })?;
    match encoding {
        None => Ok(body),
        Some(encoding) => {
            let decompression = tokio::task::spawn_blocking(move || decompress(encoding, &body, limit));
            decompression.await.map_err(|_| ProtocolError::Failed)?
        }
    }
}

/// A header's text, if it is there once and is text.
pub(super) fn header<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a str>, ProtocolError> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(value), None) => match value.to_str() {
            Ok(text) => Ok(Some(text.trim())),
            Err(_) => Err(ProtocolError::malformed(&format!("the header `{name}` is no text"))),
        },
        _ => Err(ProtocolError::malformed(&format!("the header `{name}` is there twice"))),
    }
}

fn encoding(headers: &HeaderMap) -> Result<Option<Encoding>, ProtocolError> {
    let Some(text) = header(headers, &CONTENT_ENCODING)? else {
        return Ok(None);
    };
    match text.to_ascii_lowercase().as_str() {
        "" | "identity" => Ok(None),
        "gzip" | "x-gzip" => Ok(Some(Encoding::Gzip)),
        "deflate" => Ok(Some(Encoding::Deflate)),
        _ => Err(ProtocolError::Encoding { encoding: text.to_owned() }),
    }
}

fn decompress(encoding: Encoding, body: &[u8], limit: usize) -> Result<Bytes, ProtocolError> {
    let bound = limit as u64 + 1;
    let mut plain = Vec::new();
    let read = match encoding {
        Encoding::Gzip => MultiGzDecoder::new(body).take(bound).read_to_end(&mut plain),
        Encoding::Deflate => ZlibDecoder::new(body).take(bound).read_to_end(&mut plain),
    };
    read.map_err(|problem| ProtocolError::malformed(&format!("the body cannot be decompressed: {problem}")))?;
    if plain.len() > limit {
        return Err(ProtocolError::TooLarge { limit });
    }
    Ok(plain.into())
}
