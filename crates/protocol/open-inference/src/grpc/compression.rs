use std::task::{Context, Poll};

use axum::BoxError;
use axum::body::HttpBody;
use axum::http;
use bytes::Bytes;
use flate2::read::{GzDecoder, ZlibDecoder};
use futures::future::{BoxFuture, Either};
use tonic::body::Body;
use tonic::codegen::Service;
use tonic::server::NamedService;

use super::messages::{Messages, Taken};
use crate::ProtocolError;
use crate::room::{Room, Rooms};

/// A message of gRPC as it was before it was compressed as the header `grpc-encoding` says, with `limit` bytes at most
/// and as far as there is room. Blocks.
///
/// # Errors
/// [`ProtocolError::Encoding`], [`ProtocolError::TooLarge`], [`ProtocolError::NoRoom`], and
/// [`ProtocolError::Malformed`] if it is not compressed so.
pub fn message_decompressed(
    encoding: &str,
    message: &[u8],
    limit: usize,
    room: &mut Room,
) -> Result<Vec<u8>, ProtocolError> {
    match encoding {
        "gzip" => room.read(GzDecoder::new(message), limit, "message"),
        "deflate" => room.read(ZlibDecoder::new(message), limit, "message"),
        _ => Err(ProtocolError::Encoding { encoding: encoding.to_owned() }),
    }
}

/// Decompresses what is asked, as far as there is room, and compresses answers only to those who compress what they
/// ask.
///
/// tonic would decompress messages that are bounded each alone, so that many small ones could become large at once.
///
/// Every client of gRPC's own libraries says that it accepts gzip, whether it wants it or not, so that saying so is
/// no wish; one that compresses its requests has made its choice.
#[derive(Clone, Debug)]
pub struct AsAsked<S> {
    inner: S,
    limit: usize,
    rooms: Rooms,
}

impl<S> AsAsked<S> {
    /// Of messages of `limit` bytes at most.
    pub(super) fn new(inner: S, limit: usize, rooms: Rooms) -> Self {
        Self { inner, limit, rooms }
    }
}

impl<S: NamedService> NamedService for AsAsked<S> {
    const NAME: &'static str = S::NAME;
}

impl<S, B> Service<http::Request<B>> for AsAsked<S>
where
    S: Service<http::Request<Body>, Future: Send + 'static>,
    B: HttpBody<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Either<S::Future, BoxFuture<'static, Result<S::Response, S::Error>>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: http::Request<B>) -> Self::Future {
        let headers = request.headers_mut();
        if headers.get("grpc-encoding").is_none_or(|encoding| encoding == "identity") {
            headers.remove("grpc-accept-encoding");
        }
        let encoding = headers.get("grpc-encoding");
        let encoding = encoding.and_then(|said| ["gzip", "deflate"].into_iter().find(|known| said == known));
        let Some(encoding) = encoding else { return Either::Left(self.inner.call(request.map(Body::new))) };
        let taken = Taken::default();
        request.extensions_mut().insert(taken.clone());
        let request = request.map(|body| {
            let body = axum::body::Body::new(body);
            let messages = Messages::new(body, encoding, self.limit, self.rooms.clone(), taken.clone());
            Body::new(axum::body::Body::from_stream(messages.decompressed()))
        });
        let answer = self.inner.call(request);
        Either::Right(Box::pin(async move {
            let answer = answer.await;
            // What a single call asked has its room until here; what a stream asks gives it back message by message.
            drop(taken);
            answer
        }))
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use flate2::Compression;
    use flate2::write::{GzEncoder, ZlibEncoder};

    use super::*;
    use crate::ProtocolLimits;

    #[test]
    fn a_message_is_read_up_to_a_bound() {
        let rooms = Rooms::new(&ProtocolLimits::default());
        let read = |encoding, message: &[u8], limit| message_decompressed(encoding, message, limit, &mut rooms.room());
        let message = b"one two three ".repeat(100);
        let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
        gzip.write_all(&message).unwrap();
        let mut deflate = ZlibEncoder::new(Vec::new(), Compression::fast());
        deflate.write_all(&message).unwrap();
        for (encoding, packed) in [("gzip", gzip.finish().unwrap()), ("deflate", deflate.finish().unwrap())] {
            assert_eq!(read(encoding, &packed, message.len()).unwrap(), message);
            let long = read(encoding, &packed, message.len() - 1);
            assert!(matches!(long, Err(ProtocolError::TooLarge { .. })));
            assert!(matches!(read(encoding, b"?", 9), Err(ProtocolError::Malformed { .. })));
        }
        assert!(matches!(read("zstd", b"", 9), Err(ProtocolError::Encoding { .. })));
    }
}
