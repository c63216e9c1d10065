use std::io::Write;

use axum::http::header::{ACCEPT_ENCODING, CONTENT_ENCODING};
use axum::http::{HeaderMap, HeaderName};
use bytes::Bytes;
use flate2::Compression;
use flate2::read::{MultiGzDecoder, ZlibDecoder};
use flate2::write::{GzEncoder, ZlibEncoder};

use crate::ProtocolError;
use crate::room::Room;

/// Answers below this many bytes are not compressed: that would cost more than it spares.
pub(super) const SMALLEST: usize = 4096;

/// How a body is compressed. `deflate` is the zlib format (RFC 9110 section 8.4.1.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Encoding {
    Gzip,
    Deflate,
}

impl Encoding {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Deflate => "deflate",
        }
    }

    /// Compresses quickly rather than well: the network is seldom slower than that.
    pub(super) fn compress(self, body: &[u8]) -> Result<Vec<u8>, ProtocolError> {
        let out = Vec::with_capacity(body.len() / 2);
        let compressed = match self {
            Self::Gzip => {
                let mut encoder = GzEncoder::new(out, Compression::fast());
                encoder.write_all(body).and_then(|()| encoder.finish())
            }
            Self::Deflate => {
                let mut encoder = ZlibEncoder::new(out, Compression::fast());
                encoder.write_all(body).and_then(|()| encoder.finish())
            }
        };
        compressed.map_err(|_| ProtocolError::Failed)
    }

    /// Decompresses, up to a bound and as far as there is room.
    pub(super) fn decompress(self, body: &[u8], limit: usize, room: &mut Room) -> Result<Bytes, ProtocolError> {
        match self {
            Self::Gzip => room.read(MultiGzDecoder::new(body), limit, "body"),
            Self::Deflate => room.read(ZlibDecoder::new(body), limit, "body"),
        }
        .map(Bytes::from)
    }
}

/// How a request's body is compressed.
pub(super) fn of_request(headers: &HeaderMap) -> Result<Option<Encoding>, ProtocolError> {
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

/// The encoding that a client likes best of those that are written here (RFC 9110 section 12.5.3). A client that says
/// `*` has named none that it can read, as far as `tritonclient` goes.
pub(super) fn accepted(headers: &HeaderMap) -> Option<Encoding> {
    let mut best = None;
    let values = headers.get_all(ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    for one in values.flat_map(|value| value.split(',')) {
        let mut parts = one.split(';').map(str::trim);
        let encoding = match parts.next() {
            Some(name) if name.eq_ignore_ascii_case("gzip") => Encoding::Gzip,
            Some(name) if name.eq_ignore_ascii_case("deflate") => Encoding::Deflate,
            _ => continue,
        };
        let quality = parts.find_map(|part| part.strip_prefix("q=").or_else(|| part.strip_prefix("Q=")));
        let quality = quality.map_or(1.0, |quality| quality.parse::<f32>().unwrap_or(0.0));
        if quality > 0.0 && best.is_none_or(|(_, other)| quality > other) {
            best = Some((encoding, quality));
        }
    }
    best.map(|(encoding, _)| encoding)
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

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;
    use crate::ProtocolLimits;
    use crate::room::{Rooms, STEP};

    fn accept(text: &'static str) -> Option<Encoding> {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static(text));
        accepted(&headers)
    }

    #[test]
    fn the_encoding_that_the_client_likes_best_is_taken() {
        assert_eq!(accept("gzip, deflate, br"), Some(Encoding::Gzip));
        assert_eq!(accept("deflate"), Some(Encoding::Deflate));
        assert_eq!(accept("gzip;q=0.5, deflate;q=0.8"), Some(Encoding::Deflate));
        assert_eq!(accept("br, GZIP;q=0.1"), Some(Encoding::Gzip));
        for none in ["", "identity", "br", "gzip;q=0", "*", "gzip;q=x"] {
            assert_eq!(accept(none), None, "{none}");
        }
        assert_eq!(accepted(&HeaderMap::new()), None);
    }

    #[test]
    fn what_is_compressed_is_decompressed() {
        let body = b"one two three ".repeat(1000);
        for encoding in [Encoding::Gzip, Encoding::Deflate] {
            let packed = encoding.compress(&body).unwrap();
            assert!(packed.len() < body.len() / 10);
            let rooms = Rooms::new(&ProtocolLimits::default());
            assert_eq!(encoding.decompress(&packed, body.len(), &mut rooms.room()).unwrap(), body);
            let refused = encoding.decompress(&packed, 100, &mut rooms.room());
            assert!(matches!(refused, Err(ProtocolError::TooLarge { limit: 100 })));
        }
    }

    #[test]
    fn bodies_of_every_length_have_the_room_that_they_take() {
        for length in [0, 1, STEP - 1, STEP, STEP + 1, 2 * STEP, 5 * STEP, 5 * STEP + 1] {
            let body = vec![b'x'; length];
            let packed = Encoding::Gzip.compress(&body).unwrap();
            // For one such body, and the byte by which a longer one is known.
            let limits = ProtocolLimits { message_bytes: length, memory_bytes: 0, ..ProtocolLimits::default() };
            let rooms = Rooms::new(&limits);
            let mut room = rooms.room();
            assert_eq!(Encoding::Gzip.decompress(&packed, length, &mut room).unwrap(), body);
            assert!(length == 0 || rooms.room().grow(limits.message_bytes + 1).is_err(), "{length} bytes are held");
            drop(room);
            rooms.room().grow(limits.message_bytes + 1).unwrap();
        }
    }

    #[test]
    fn without_room_nothing_is_decompressed() {
        let body = vec![b'x'; 3 * STEP];
        let packed = Encoding::Deflate.compress(&body).unwrap();
        let rooms =
            Rooms::new(&ProtocolLimits { message_bytes: 0, memory_bytes: 5 * STEP, ..ProtocolLimits::default() });
        let mut held = rooms.room();
        // Its steps are 1, 1 and 2; what it does not need of the last is given back.
        assert_eq!(Encoding::Deflate.decompress(&packed, usize::MAX, &mut held).unwrap(), body);
        let refused = Encoding::Deflate.decompress(&packed, usize::MAX, &mut rooms.room());
        assert!(matches!(refused, Err(ProtocolError::NoRoom { .. })));
        rooms.room().grow(2 * STEP).unwrap();
        drop(held);
        assert!(Encoding::Deflate.decompress(&packed, usize::MAX, &mut rooms.room()).is_ok());
    }
}
