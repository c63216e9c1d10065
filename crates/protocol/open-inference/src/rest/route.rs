use std::borrow::Cow;

use axum::http::Method;
use percent_encoding::percent_decode_str;

use crate::ProtocolError;

/// What a path asks for, with its percent signs decoded.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Route<'a> {
    ServerMetadata,
    Live,
    Ready,
    Model { model: Cow<'a, str>, version: Option<Cow<'a, str>>, call: ModelCall },
    AllStatistics,
    Index,
    Load(Cow<'a, str>),
    Unload(Cow<'a, str>),
    Trace,
    Logging,
    MemoryStatus { kind: &'static str, region: Option<Cow<'a, str>> },
    MemoryRegister { kind: &'static str },
    MemoryUnregister,
}

/// What is asked of a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ModelCall {
    Metadata,
    Ready,
    Infer,
    Config,
    Statistics,
}

/// The longest path has as many segments below `/v2`.
const SEGMENTS: usize = 5;

impl<'a> Route<'a> {
    /// Reads a path.
    pub(super) fn read(path: &'a str) -> Result<Self, ProtocolError> {
        let unknown = || ProtocolError::UnknownPath { path: path.to_owned() };
        let rest = path.strip_prefix("/v2").ok_or_else(unknown)?;
        let mut segments = [""; SEGMENTS];
        let mut count = 0;
        // The path is absolute, so what is before its first slash is not one of its segments.
        let mut parts = rest.split('/');
        if parts.next() != Some("") {
            return Err(unknown());
        }
        for part in parts {
            *segments.get_mut(count).ok_or_else(unknown)? = part;
            count += 1;
        }
        match segments.get(..count).unwrap_or_default() {
            [] | [""] => Ok(Self::ServerMetadata),
            ["health", "live"] => Ok(Self::Live),
            ["health", "ready"] => Ok(Self::Ready),
            ["models", "stats"] => Ok(Self::AllStatistics),
            ["models", model] => Self::model(model, None, ModelCall::Metadata),
            ["models", model, "versions", version] => Self::model(model, Some(version), ModelCall::Metadata),
            ["models", model, call] => Self::model(model, None, call_of(call).ok_or_else(unknown)?),
            ["models", model, "versions", version, call] => {
                Self::model(model, Some(version), call_of(call).ok_or_else(unknown)?)
            }
            ["models", _, "trace", "setting"] | ["trace", "setting"] => Ok(Self::Trace),
            ["repository", "index"] => Ok(Self::Index),
            ["repository", "models", model, "load"] => Ok(Self::Load(decode(model)?)),
            ["repository", "models", model, "unload"] => Ok(Self::Unload(decode(model)?)),
            ["logging"] => Ok(Self::Logging),
            [memory, rest @ ..] => Self::memory(kind_of(memory).ok_or_else(unknown)?, rest)?.ok_or_else(unknown),
        }
    }

    fn model(model: &'a str, version: Option<&'a str>, call: ModelCall) -> Result<Self, ProtocolError> {
        Ok(Self::Model { model: decode(model)?, version: version.map(decode).transpose()?, call })
    }

    fn memory(kind: &'static str, rest: &[&'a str]) -> Result<Option<Self>, ProtocolError> {
        Ok(Some(match rest {
            ["status"] => Self::MemoryStatus { kind, region: None },
            ["region", region, "status"] => Self::MemoryStatus { kind, region: Some(decode(region)?) },
            ["region", _, "register"] => Self::MemoryRegister { kind },
            ["unregister"] | ["region", _, "unregister"] => Self::MemoryUnregister,
            _ => return Ok(None),
        }))
    }

    /// Whether the path takes this method; what takes GET takes HEAD.
    pub(super) fn check(&self, method: &Method) -> Result<(), ProtocolError> {
        let allowed = match self {
            Self::Model { call: ModelCall::Infer, .. }
            | Self::Index
            | Self::Load(_)
            | Self::Unload(_)
            | Self::MemoryRegister { .. }
            | Self::MemoryUnregister => "POST",
            Self::Trace | Self::Logging => "GET, POST",
            _ => "GET",
        };
        let method = if method == Method::HEAD { "GET" } else { method.as_str() };
        if allowed.split(", ").any(|one| one == method) {
            return Ok(());
        }
        Err(ProtocolError::Method { method: method.to_owned(), allowed })
    }
}

fn call_of(segment: &str) -> Option<ModelCall> {
    Some(match segment {
        "infer" => ModelCall::Infer,
        "ready" => ModelCall::Ready,
        "config" => ModelCall::Config,
        "stats" => ModelCall::Statistics,
        _ => return None,
    })
}

fn kind_of(segment: &str) -> Option<&'static str> {
    match segment {
        "systemsharedmemory" => Some("system"),
        "cudasharedmemory" => Some("CUDA"),
        _ => None,
    }
}

fn decode(segment: &str) -> Result<Cow<'_, str>, ProtocolError> {
    percent_decode_str(segment)
        .decode_utf8()
        .map_err(|_| ProtocolError::malformed(&format!("`{segment}` in the path is no UTF-8")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_read() {
        for path in ["/v2", "/v2/"] {
            assert_eq!(Route::read(path).unwrap(), Route::ServerMetadata);
        }
        let infer = |model: &'static str, version: Option<&'static str>| Route::Model {
            model: model.into(),
            version: version.map(Cow::from),
            call: ModelCall::Infer,
        };
        assert_eq!(Route::read("/v2/models/a/infer").unwrap(), infer("a", None));
        assert_eq!(Route::read("/v2/models/a%2Fb%20c/versions/7/infer").unwrap(), infer("a/b c", Some("7")));
        assert_eq!(Route::read("/v2/models/stats").unwrap(), Route::AllStatistics);
        assert_eq!(Route::read("/v2/repository/models/m/load").unwrap(), Route::Load("m".into()));
        assert_eq!(Route::read("/v2/cudasharedmemory/unregister").unwrap(), Route::MemoryUnregister);
        let region = Route::MemoryStatus { kind: "system", region: Some("r".into()) };
        assert_eq!(Route::read("/v2/systemsharedmemory/region/r/status").unwrap(), region);
    }

    #[test]
    fn other_paths_are_unknown() {
        for path in ["/", "/v3", "/v22", "/v2/models", "/v2/models/a/other", "/v2/models/a/versions/1/infer/x", "/v2/x"]
        {
            assert!(matches!(Route::read(path), Err(ProtocolError::UnknownPath { .. })), "{path}");
        }
        assert!(matches!(Route::read("/v2/models/%ff"), Err(ProtocolError::Malformed { .. })));
    }

    #[test]
    fn each_path_has_its_method() {
        let refused = Route::read("/v2/models/a/infer").unwrap().check(&Method::GET).unwrap_err();
        assert!(matches!(refused, ProtocolError::Method { allowed: "POST", .. }));
        assert!(Route::Logging.check(&Method::POST).is_ok() && Route::Logging.check(&Method::GET).is_ok());
        assert!(Route::Live.check(&Method::HEAD).is_ok() && Route::Live.check(&Method::POST).is_err());
    }
}
