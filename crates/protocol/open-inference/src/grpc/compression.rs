use std::io::Read as _;
use std::task::{Context, Poll};

use axum::http;
use flate2::read::{GzDecoder, ZlibDecoder};
use tonic::codegen::Service;
use tonic::server::NamedService;

use crate::ProtocolError;

/// A message of gRPC as it was before it was compressed as the header `grpc-encoding` says, with `limit` bytes at most. Blocks.
///
/// # Errors
/// [`ProtocolError::Encoding`], [`ProtocolError::TooLarge`], and [`ProtocolError::Malformed`] if it is not compressed so.
pub fn message_decompressed(encoding: &str, message: &[u8], limit: usize) -> Result<Vec<u8>, ProtocolError> {
    let (bound, mut plain) = ((limit as u64).saturating_add(1), Vec::new());
    let read = match encoding {
        "gzip" => GzDecoder::new(message).take(bound).read_to_end(&mut plain),
        "deflate" => ZlibDecoder::new(message).take(bound).read_to_end(&mut plain),
        _ => return Err(ProtocolError::Encoding { encoding: encoding.to_owned() }),
    };
    read.map_err(|problem| ProtocolError::malformed(&format!("the message cannot be decompressed: {problem}")))?;
    if plain.len() > limit { Err(ProtocolError::TooLarge { limit }) } else { Ok(plain) }
}

/// Compresses answers only to those who compress what they ask.
///
/// Every client of gRPC's own libraries says that it accepts gzip, whether it wants it or not, so that saying so is
/// no wish; one that compresses its requests has made its choice.
#[derive(Clone, Debug)]
pub struct AsAsked<S> {
    inner: S,
}

impl<S> AsAsked<S> {
    pub(super) fn new(inner: S) -> Self {
        Self { inner }
    }
}

impl<S: NamedService> NamedService for AsAsked<S> {
    const NAME: &'static str = S::NAME;
}

impl<S: Service<http::Request<B>>, B> Service<http::Request<B>> for AsAsked<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: http::Request<B>) -> Self::Future {
        let headers = request.headers_mut();
        if headers.get("grpc-encoding").is_none_or(|encoding| encoding == "identity") {
            headers.remove("grpc-accept-encoding");
        }
        self.inner.call(request)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use flate2::Compression;
    use flate2::write::{GzEncoder, ZlibEncoder};

    use super::*;

    #[test]
    fn a_message_is_read_up_to_a_bound() {
        let message = b"one two three ".repeat(100);
        let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
        gzip.write_all(&message).unwrap();
        let mut deflate = ZlibEncoder::new(Vec::new(), Compression::fast());
        deflate.write_all(&message).unwrap();
        for (encoding, packed) in [("gzip", gzip.finish().unwrap()), ("deflate", deflate.finish().unwrap())] {
            assert_eq!(message_decompressed(encoding, &packed, message.len()).unwrap(), message);
            let long = message_decompressed(encoding, &packed, message.len() - 1);
            assert!(matches!(long, Err(ProtocolError::TooLarge { .. })));
            assert!(matches!(message_decompressed(encoding, b"?", 9), Err(ProtocolError::Malformed { .. })));
        }
        assert!(matches!(message_decompressed("zstd", b"", 9), Err(ProtocolError::Encoding { .. })));
    }
}
