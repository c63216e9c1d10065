//! JSON Web Tokens (RFC 7519), signed (RFC 7515) with HS256, RS256 or ES256 (RFC 7518, section 3.1).
//!
//! The algorithm belongs to the key, never to the token: a token that names another is refused, and so is one with `crit`.

mod key;

use std::path::PathBuf;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ropewalk_config::ServeJwt;
use serde::Deserialize;

use crate::{Caller, InferenceServerError};
use key::VerifyingKey;

/// Longest token that is looked at, in bytes.
const LONGEST: usize = 16 << 10;
/// Seconds by which clocks may differ, where nothing else is said.
const LEEWAY: u64 = 30;

/// Checks tokens.
#[derive(Debug)]
pub struct JwtVerifier {
    keys: Vec<VerifyingKey>,
    audience: Option<String>,
    issuer: Option<String>,
    leeway: i64,
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    crit: Option<serde_json::Value>,
}

#[derive(Deserialize)]
struct Claims {
    sub: Option<String>,
    iss: Option<String>,
    aud: Option<OneOrMany>,
    /// RFC 7519, section 2: NumericDate, which may have a fraction.
    exp: Option<f64>,
    nbf: Option<f64>,
    /// Ours: the models that may be asked.
    models: Option<Vec<String>>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

impl JwtVerifier {
    /// Reads the keys.
    ///
    /// # Errors
    /// A file cannot be read or holds no key of a kind that is known.
    pub fn read(table: &ServeJwt) -> Result<Self, InferenceServerError> {
        let keys = match (&table.secret_file, &table.key_file, &table.jwks_file) {
            (Some(path), None, None) => key::of_secret(path)?,
            (None, Some(path), None) => key::of_pem(path)?,
            (None, None, Some(path)) => key::of_set(path)?,
            _ => return Err(unusable(PathBuf::from("[serve.jwt]"), "it has not one source of keys")),
        };
        Ok(Self {
            keys,
            audience: table.audience.clone(),
            issuer: table.issuer.clone(),
            leeway: i64::try_from(table.leeway_seconds.unwrap_or(LEEWAY)).unwrap_or(i64::MAX),
        })
    }

    /// Who a token speaks for at `now`, in seconds since 1970; the error says to its holder what is wrong with it.
    pub(crate) fn verify(&self, token: &str, now: i64) -> Result<Caller, &'static str> {
        if token.len() > LONGEST {
            return Err("the token is too long");
        }
        let (signed, signature) = token.rsplit_once('.').ok_or("the token is malformed")?;
        let (header, claims) = signed.split_once('.').ok_or("the token is malformed")?;
        let header: Header = decoded(header)?;
        if header.crit.is_some() {
            return Err("the token needs an extension that is not known");
        }
        let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|_| "the token is malformed")?;
        let fits = |key: &&VerifyingKey| key.algorithm() == header.alg && key.is_named(header.kid.as_deref());
        let mut candidates = self.keys.iter().filter(fits);
        if !candidates.any(|key| key.verifies(signed.as_bytes(), &signature)) {
            return Err("the token's signature does not fit");
        }
        self.accepted(decoded(claims)?, now)
    }

    fn accepted(&self, claims: Claims, now: i64) -> Result<Caller, &'static str> {
        let (now, leeway) = (now as f64, self.leeway as f64);
        // A token that never ends could not be taken back.
        let expiry = claims.exp.ok_or("the token has no expiry")?;
        if expiry + leeway <= now {
            return Err("the token has expired");
        }
        if claims.nbf.is_some_and(|begin| begin - leeway > now) {
            return Err("the token is not valid yet");
        }
        if self.issuer.is_some() && self.issuer != claims.iss {
            return Err("the token is of another issuer");
        }
        if let Some(audience) = &self.audience {
            let meant = match &claims.aud {
                Some(OneOrMany::One(one)) => one == audience,
                Some(OneOrMany::Many(many)) => many.contains(audience),
                None => false,
            };
            if !meant {
                return Err("the token is for another audience");
            }
        }
        let name: Arc<str> = claims.sub.as_deref().unwrap_or("token").into();
        Ok(Caller { name, models: claims.models.map(Into::into) })
    }
}

fn decoded<T: for<'de> Deserialize<'de>>(part: &str) -> Result<T, &'static str> {
    let bytes = URL_SAFE_NO_PAD.decode(part).map_err(|_| "the token is malformed")?;
    serde_json::from_slice(&bytes).map_err(|_| "the token is malformed")
}

fn unusable(path: PathBuf, reason: &str) -> InferenceServerError {
    InferenceServerError::JwtKeys { path, reason: reason.to_owned() }
}

#[cfg(test)]
mod tests;
