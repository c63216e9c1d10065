use std::error::Error;
use std::fmt;
use std::marker::PhantomData;

use axum::body::{Body, to_bytes};
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::header;
use axum::http::request::Parts;
use bytes::Bytes;
use http_body_util::LengthLimitError;
use ropewalk_types::{ExperimentId, RunId};
use serde::de::{DeserializeOwned, Error as _, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::error::Category;

use crate::MlflowError;

/// Longest JSON body of most messages. A list in it may take twenty times as much memory as its text.
pub(crate) const MESSAGE_BYTES: usize = 2_000_000;
/// Longest JSON body of the few messages that carry documents: a dataset's profile may have 16 million characters.
pub(crate) const LONG_MESSAGE_BYTES: usize = 20_000_000;
/// Longest text of a batch, in characters of its keys and values: MLflow's `MAX_BATCH_LOG_REQUEST_SIZE`.
///
/// Not counted in bytes of the body: Python's clients write `ä` in 6 bytes and an emoji in 12, so that
/// `mlflow.set_tags` with 100 long values, which MLflow takes, has a body of many megabytes.
pub(crate) const BATCH_CHARACTERS: usize = 1_000_000;

/// A request message from a JSON body of at most `BYTES` bytes. Unknown fields are passed over, as MLflow does; no body
/// is an empty message.
pub(crate) struct Message<T, const BYTES: usize = MESSAGE_BYTES>(pub(crate) T);

impl<T: DeserializeOwned, S: Send + Sync, const BYTES: usize> FromRequest<S> for Message<T, BYTES> {
    type Rejection = MlflowError;

    async fn from_request(request: Request, _: &S) -> Result<Self, MlflowError> {
        // Asked for as MLflow asks for it: a browser sends this type to another site only after that site agreed.
        let kind = request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("");
        let essence = kind.split(';').next().unwrap_or_default().trim();
        if !essence.eq_ignore_ascii_case("application/json") {
            return Err(MlflowError::ContentType(essence.escape_debug().take(80).collect()));
        }
        let body = whole(request.into_body(), BYTES).await?;
        let body: &[u8] = if body.is_empty() { b"{}" } else { &body };
        // Serde would take a list as the values of the fields in their order.
        if body.trim_ascii_start().starts_with(b"[") {
            return Err(MlflowError::Message("an object is expected, not a list".to_owned()));
        }
        serde_json::from_slice(body).map(Self).map_err(|error| match error.classify() {
            Category::Data => MlflowError::Message(error.to_string()),
            _ => MlflowError::NotJson(error.to_string()),
        })
    }
}

/// All of a body, which may have `limit` bytes.
pub(crate) async fn whole(body: Body, limit: usize) -> Result<Bytes, MlflowError> {
    to_bytes(body, limit).await.map_err(|error| {
        if error.source().is_some_and(<dyn Error>::is::<LengthLimitError>) {
            MlflowError::TooLarge { limit: limit as u64 }
        } else {
            MlflowError::BodyBroken(error.to_string())
        }
    })
}

/// A list that is not read on beyond [`FEW`] entries: many short ones take far more memory than their text.
#[derive(Debug)]
pub(crate) struct Few<T>(pub(crate) Vec<T>);

/// Ten times what any message that has such a list may have, so that its own limit is what clients read of.
const FEW: usize = 10_000;

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Few<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reading<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for Reading<T> {
            type Value = Few<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "a list of at most {FEW} entries")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Few<T>, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = list.next_element()? {
                    if entries.len() == FEW {
                        return Err(A::Error::custom(format!("a list has more than {FEW} entries")));
                    }
                    entries.push(entry);
                }
                Ok(Few(entries))
            }
        }

        deserializer.deserialize_seq(Reading(PhantomData))
    }
}

/// What stands in a URL's path, decoded once; what is not UTF-8 is refused in MLflow's shape.
pub(crate) struct PathText<T = String>(pub(crate) T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for PathText<T> {
    type Rejection = MlflowError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, MlflowError> {
        match Path::<T>::from_request_parts(parts, state).await {
            Ok(Path(text)) => Ok(Self(text)),
            Err(error) => Err(MlflowError::invalid("path", &error.body_text())),
        }
    }
}

/// A request message from a query string.
pub(crate) struct Parameters<T>(pub(crate) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Parameters<T> {
    type Rejection = MlflowError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, MlflowError> {
        match Query::from_request_parts(parts, state).await {
            Ok(Query(message)) => Ok(Self(message)),
            Err(error) => Err(MlflowError::Message(error.body_text())),
        }
    }
}

/// A value that must be given, and an empty text is not.
pub(crate) fn required(parameter: &'static str, value: Option<String>) -> Result<String, MlflowError> {
    value.filter(|value| !value.is_empty()).ok_or(MlflowError::Missing(parameter))
}

/// The run that is meant by `run_id` or by its older name `run_uuid`.
pub(crate) fn run_id(id: Option<String>, uuid: Option<String>) -> Result<RunId, MlflowError> {
    let id = required("run_id", id.filter(|id| !id.is_empty()).or(uuid))?;
    if let Ok(run) = id.parse() {
        return Ok(run);
    }
    let mut letters = id.chars();
    let first = letters.next().is_some_and(|c| c.is_ascii_alphanumeric());
    if first && id.len() <= 256 && letters.all(|c| c.is_alphanumeric() || matches!(c, '_' | '-')) {
        // What MLflow could have given, but this server did not.
        return Err(MlflowError::RunUnknown(id));
    }
    Err(MlflowError::invalid("run_id", &"32 lower-case hexadecimal digits are expected"))
}

pub(crate) fn experiment_id(id: &str) -> Result<ExperimentId, MlflowError> {
    id.parse().map_err(|error| MlflowError::invalid("experiment_id", &error))
}

/// The parameters of a query string that may stand there more than once.
pub(crate) struct Repeated(Vec<(String, String)>);

impl Repeated {
    pub(crate) fn new(pairs: Vec<(String, String)>) -> Self {
        Self(pairs)
    }

    /// All values of a parameter.
    pub(crate) fn all(&self, name: &'static str) -> impl Iterator<Item = &str> {
        self.0.iter().filter(move |(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The value of a parameter that must be given.
    pub(crate) fn required(&self, name: &'static str) -> Result<&str, MlflowError> {
        self.all(name).next().filter(|value| !value.is_empty()).ok_or(MlflowError::Missing(name))
    }

    /// The number that a parameter is.
    pub(crate) fn number(&self, name: &'static str) -> Result<Option<i64>, MlflowError> {
        let number = self.all(name).next().filter(|text| !text.is_empty()).map(str::parse);
        number.transpose().map_err(|_| MlflowError::invalid(name, &"an integer of 64 bits is expected"))
    }

    /// The runs that a parameter names, at most `most`.
    pub(crate) fn runs(&self, name: &'static str, most: usize) -> Result<Vec<RunId>, MlflowError> {
        let count = self.all(name).count();
        if count == 0 {
            return Err(MlflowError::Missing(name));
        }
        if count > most {
            let reason = format!("the request must specify at most {most} {name}s. Received {count}");
            return Err(MlflowError::invalid(name, &reason));
        }
        // An id that is none of ours is of a run without history, as MLflow has it.
        Ok(self.all(name).filter_map(|id| id.parse().ok()).collect())
    }
}
