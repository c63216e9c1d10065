use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Instant, SystemTime};

use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use ropewalk_open_inference::{ProtocolError, Rooms, message_decompressed};

use super::body::Overrun;
use super::{Refusal, Refused, Wire};
use crate::rate::Bucket;
use crate::{ApiKeys, Caller, JwtVerifier, Rate, ServerOptions};

/// Subjects of tokens whose rates are kept apart; all further ones share one.
const SUBJECTS: usize = 4096;
/// Length of the prefix of a gRPC message: whether it is compressed, and its length.
const PREFIX: usize = 5;

/// Knows who asks, and how often.
#[derive(Debug)]
pub(super) struct Callers {
    keys: Arc<ApiKeys>,
    jwt: Option<Arc<JwtVerifier>>,
    asks: bool,
    rate: Option<Rate>,
    others: Option<Bucket>,
    subjects: Mutex<HashMap<Arc<str>, Bucket>>,
}

impl Callers {
    pub(super) fn new(options: &ServerOptions) -> Self {
        Self {
            keys: Arc::clone(&options.keys),
            jwt: options.jwt.clone(),
            asks: options.asks_for_credentials(),
            rate: options.rate(),
            others: options.rate().map(Bucket::new),
            subjects: Mutex::default(),
        }
    }

    /// Who sends these headers; none where nobody must say so.
    pub(super) fn identified(&self, headers: &HeaderMap, now: Instant) -> Result<Option<Caller>, Refusal> {
        if !self.asks {
            return within(self.others.as_ref(), now).map(|()| None);
        }
        let presented = presented(headers).ok_or(Refusal::Unknown)?;
        if let Some((caller, bucket)) = self.keys.find(presented.as_bytes()) {
            return within(bucket, now).map(|()| Some(caller.clone()));
        }
        let jwt =
            self.jwt.as_ref().filter(|_| presented.contains('.')).ok_or(Refusal::Wrong("the key is not known"))?;
        let seconds = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let caller = jwt.verify(presented, i64::try_from(seconds).unwrap_or(i64::MAX)).map_err(Refusal::Wrong)?;
        self.subject_within(&caller.name, now)?;
        Ok(Some(caller))
    }

    fn subject_within(&self, name: &Arc<str>, now: Instant) -> Result<(), Refusal> {
        let Some(rate) = self.rate else { return Ok(()) };
        let mut subjects = self.subjects.lock().unwrap_or_else(PoisonError::into_inner);
        if !subjects.contains_key(name) && subjects.len() >= SUBJECTS {
            return within(self.others.as_ref(), now);
        }
        within(Some(subjects.entry(Arc::clone(name)).or_insert_with(|| Bucket::new(rate))), now)
    }
}

fn within(bucket: Option<&Bucket>, now: Instant) -> Result<(), Refusal> {
    bucket.map_or(Ok(()), |bucket| bucket.take(now)).map_err(Refusal::Rate)
}

/// `Authorization: Bearer KEY` (RFC 6750, section 2.1) or `X-Api-Key: KEY`; metadata of gRPC are headers, too.
fn presented(headers: &HeaderMap) -> Option<&str> {
    if let Some(value) = headers.get("x-api-key") {
        return value.to_str().ok();
    }
    let (scheme, key) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| key.trim())
}

/// Lets a request pass to the models that its caller may ask.
///
/// REST names the model in the path; gRPC in the first field of the message, which is read here for callers that may not
/// ask all.
pub(super) async fn permitted(
    wire: Wire,
    caller: Option<&Caller>,
    request: Request,
    longest: usize,
    decompressed: &Rooms,
    overrun: &Overrun,
) -> Result<Request, Refused> {
    let Some(caller) = caller.filter(|caller| caller.models.is_some()) else { return Ok(request) };
    let forbidden = |what: &str| Refusal::Forbidden(format!("this key may not ask {what}"));
    match (wire, request.uri().path()) {
        // The last two describe the models of the caller and no others.
        (Wire::Rest, "/v2" | "/v2/" | "/openapi.json" | "/docs/models")
        | (Wire::Grpc, "/inference.GRPCInferenceService/ServerMetadata") => Ok(request),
        (Wire::Rest, path) => match model_of_path(path).filter(|model| caller.may_ask(model)) {
            Some(_) => Ok(request),
            None => Err(Refused::new(forbidden("for this"), request)),
        },
        (Wire::Grpc, path) => {
            let method = path.strip_prefix("/inference.GRPCInferenceService/").unwrap_or_default();
            if !matches!(method, "ModelInfer" | "ModelReady" | "ModelMetadata" | "ModelConfig" | "ModelStatistics") {
                return Err(Refused::new(forbidden("for this: it is limited to single calls for its models"), request));
            }
            message_checked(caller, request, longest, decompressed, overrun).await
        }
    }
}

/// `/v2/models/MODEL/…`, `/predict/MODEL` or `/models/MODEL/invocations`; a name with escapes is read as it will be.
fn model_of_path(path: &str) -> Option<String> {
    let rest = ["/v2/models/", "/predict/", "/models/"].iter().find_map(|before| path.strip_prefix(before))?;
    unescaped(rest.split('/').next()?)
}

fn unescaped(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let digits = [rest.next()?, rest.next()?];
            bytes.push(u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?);
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).ok()
}

async fn message_checked(
    caller: &Caller,
    request: Request,
    longest: usize,
    decompressed: &Rooms,
    overrun: &Overrun,
) -> Result<Request, Refused> {
    let (head, body) = collected(request, longest, overrun).await?;
    let body = match plain(&head.headers, body, longest, decompressed, overrun).await {
        Ok(body) => body,
        Err(refusal) => return Err(Refused::new(refusal, Request::from_parts(head, Body::empty()))),
    };
    let forbidden = match message(&body).filter(|_| body.first() == Some(&0)).and_then(first_text) {
        Some(model) if caller.may_ask(model) => None,
        Some(_) => Some("this key may not ask for this model"),
        None => Some("a key that is limited to models must name the model first in its message, and once"),
    };
    let request = Request::from_parts(head, Body::from(body));
    match forbidden {
        None => Ok(request),
        Some(why) => Err(Refused::new(Refusal::Forbidden(why.to_owned()), request)),
    }
}

/// A request whose body has come as a whole, of one message with so many bytes at most.
pub(super) async fn collected(request: Request, longest: usize, overrun: &Overrun) -> Result<(Parts, Bytes), Refused> {
    let (head, body) = request.into_parts();
    match Limited::new(body, longest.saturating_add(PREFIX)).collect().await {
        Ok(collected) => Ok((head, collected.to_bytes())),
        Err(error) => {
            let refusal = match error {
                _ if overrun.happened() => Refusal::Memory,
                error if error.is::<LengthLimitError>() => Refusal::TooLong(longest),
                _ => Refusal::Late,
            };
            Err(Refused::new(refusal, Request::from_parts(head, Body::empty())))
        }
    }
}

/// The message of a body.
fn message(body: &[u8]) -> Option<&[u8]> {
    let (prefix, rest) = body.split_at_checked(PREFIX)?;
    let length = u32::from_be_bytes(prefix.get(1..)?.try_into().ok()?);
    rest.get(..usize::try_from(length).ok()?)
}

/// The body with its message as it was before it was compressed: the endpoint then reads what was read here.
async fn plain(
    headers: &HeaderMap,
    body: Bytes,
    longest: usize,
    decompressed: &Rooms,
    overrun: &Overrun,
) -> Result<Bytes, Refusal> {
    if body.first() != Some(&1) {
        return Ok(body);
    }
    let encoding = headers.get("grpc-encoding").and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
    // A message can grow by a thousand times, so its length says little about the work.
    let mut room = decompressed.room();
    let decompressing = tokio::task::spawn_blocking(move || {
        let message = message(&body).unwrap_or_default();
        message_decompressed(&encoding, message, longest, &mut room).map(|plain| (plain, room))
    });
    let unreadable =
        "a key that is limited to models must send whole messages, compressed by gzip or deflate or not at all";
    match decompressing.await {
        Ok(Ok((plain, room))) => {
            overrun.hold_decompressed(room);
            let length = u32::try_from(plain.len()).map_err(|_| Refusal::TooLong(longest))?;
            Ok([[0].as_slice(), &length.to_be_bytes(), &plain].concat().into())
        }
        Ok(Err(ProtocolError::TooLarge { limit })) => Err(Refusal::TooLong(limit)),
        Ok(Err(ProtocolError::NoRoom { bytes })) => Err(Refusal::Decompressed(bytes)),
        Ok(Err(_)) | Err(_) => Err(Refusal::Forbidden(unreadable.to_owned())),
    }
}

/// The value of field 1 of a message of Protocol Buffers, where it stands first, as all writers have it, and only once.
fn first_text(message: &[u8]) -> Option<&str> {
    // Field 1, wire type 2 (length-delimited).
    let rest = message.strip_prefix(&[0x0a])?;
    let (&length, rest) = rest.split_first()?;
    let (length, rest) = match (length, rest) {
        (0..0x80, rest) => (usize::from(length), rest),
        // Names have 256 characters at most, so that two bytes of a length are enough.
        (_, [high @ 0..0x80, rest @ ..]) => (usize::from(length & 0x7f) | usize::from(*high) << 7, rest),
        _ => return None,
    };
    let (text, rest) = rest.split_at_checked(length)?;
    // The last one of several counts for readers of the format.
    if repeated(rest) {
        return None;
    }
    std::str::from_utf8(text).ok()
}

/// Whether field 1 stands among the fields of a message; one that cannot be read counts as if it did.
fn repeated(mut message: &[u8]) -> bool {
    while !message.is_empty() {
        let Some((key, rest)) = varint(message) else { return true };
        if key >> 3 == 1 {
            return true;
        }
        let skipped = match key & 7 {
            0 => varint(rest).map(|(_, rest)| rest),
            1 => rest.get(8..),
            2 => varint(rest).and_then(|(length, rest)| rest.get(usize::try_from(length).ok()?..)),
            5 => rest.get(4..),
            _ => None,
        };
        let Some(rest) = skipped else { return true };
        message = rest;
    }
    false
}

fn varint(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut value = 0;
    for (place, byte) in bytes.iter().enumerate().take(10) {
        value |= u64::from(byte & 0x7f).checked_shl(u32::try_from(place * 7).ok()?)?;
        if byte & 0x80 == 0 {
            return Some((value, bytes.get(place + 1..)?));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_model_is_read_where_the_endpoint_will_read_it() {
        assert_eq!(model_of_path("/v2/models/flights/versions/1/infer").as_deref(), Some("flights"));
        assert_eq!(model_of_path("/v2/models/%66lights/infer").as_deref(), Some("flights"));
        assert_eq!(model_of_path("/v2/models/a%2Fb").as_deref(), Some("a/b"));
        assert_eq!(model_of_path("/v2/repository/index"), None);
        assert_eq!(model_of_path("/v2/models/%zz"), None);
    }

    #[test]
    fn a_message_ends_where_its_length_says() {
        assert_eq!(message(b"\0\0\0\0\x03abcd"), Some(b"abc".as_slice()));
        assert_eq!(message(b"\0\0\0\0\x03ab"), None);
        assert_eq!(message(b"\0\0"), None);
    }

    #[test]
    fn a_message_names_one_model() {
        assert_eq!(first_text(b"\x0a\x01m\x1a\x02id"), Some("m"));
        assert_eq!(first_text(b"\x0a\x01m\x1a\x02id\x0a\x01n"), None, "the last one would count");
        assert_eq!(first_text(b"\x1a\x02id\x0a\x01m"), None);
        assert_eq!(first_text(b"\x0a\x05m"), None);
        assert_eq!(first_text(b"\x0a\x01m\x1b"), None);
        let long = [b"\x0a\xac\x02".as_slice(), &[b'a'; 300]].concat();
        assert_eq!(first_text(&long).map(str::len), Some(300));
    }

    proptest::proptest! {
        #[test]
        fn foreign_bytes_do_no_harm(bytes: Vec<u8>) {
            let _ = first_text(&bytes);
        }
    }
}
