use std::collections::BTreeMap;
use std::sync::Arc;

use ropewalk_config::ServeKey;
use ropewalk_listening::{Secret, private_text};

use crate::rate::Bucket;
use crate::{InferenceServerError, Rate};

/// Shorter keys are guessed.
const SHORTEST: usize = 16;

/// The variables of the environment, as the binary hands them on.
pub type Environment = BTreeMap<String, String>;

/// Who asks, once it is known.
#[derive(Clone, Debug)]
pub struct Caller {
    /// The name of the key, or the subject of the token.
    pub name: Arc<str>,
    /// The models that may be asked; none for all.
    pub models: Option<Arc<[String]>>,
}

impl Caller {
    /// Whether this model may be asked.
    pub fn may_ask(&self, model: &str) -> bool {
        self.models.as_ref().is_none_or(|models| models.iter().any(|one| one == model))
    }
}

/// One key.
#[derive(Debug)]
struct ApiKey {
    secret: Secret,
    caller: Caller,
    bucket: Option<Bucket>,
}

/// The keys of clients.
#[derive(Debug, Default)]
pub struct ApiKeys {
    keys: Vec<ApiKey>,
}

impl ApiKeys {
    /// Reads the keys that the configuration names; `rate` holds where a key has none of its own.
    ///
    /// # Errors
    /// A variable is not set, a file cannot be read or lies open to others, a key is shorter than 16 characters, or two
    /// names have one key.
    pub fn read(
        tables: &BTreeMap<String, ServeKey>,
        rate: Option<f64>,
        environment: &Environment,
    ) -> Result<Self, InferenceServerError> {
        let mut keys: Vec<ApiKey> = Vec::new();
        for (name, table) in tables {
            let secret = Secret::new(&text_of(name, table, environment)?);
            if let Some(other) = keys.iter().find(|key| key.secret == secret) {
                return Err(unusable(name, &format!("it is that of `{}`, too", other.caller.name)));
            }
            let models = Some(&table.models).filter(|models| !models.is_empty());
            let caller = Caller { name: name.as_str().into(), models: models.map(|models| models.clone().into()) };
            let rate = table.rate.or(rate).map(|per_second| Rate::new(per_second, table.burst));
            keys.push(ApiKey { secret, caller, bucket: rate.map(Bucket::new) });
        }
        Ok(Self { keys })
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Whose key this is, with what is left of its rate. All keys are compared, each in constant time.
    pub(crate) fn find(&self, presented: &[u8]) -> Option<(&Caller, Option<&Bucket>)> {
        let mut found = None;
        for key in &self.keys {
            if key.secret.is(presented) {
                found = Some((&key.caller, key.bucket.as_ref()));
            }
        }
        found
    }
}

fn unusable(name: &str, reason: &str) -> InferenceServerError {
    InferenceServerError::Key { name: name.to_owned(), reason: reason.to_owned() }
}

fn text_of(name: &str, table: &ServeKey, environment: &Environment) -> Result<String, InferenceServerError> {
    let text = match (&table.env, &table.file) {
        (Some(variable), None) => environment
            .get(variable)
            .cloned()
            .ok_or_else(|| unusable(name, &format!("the variable {variable} is not set")))?,
        (None, Some(path)) => private_text(path)?,
        _ => return Err(unusable(name, "give `env` or `file`")),
    };
    let text = text.trim();
    if text.len() < SHORTEST {
        let reason = format!("it has {} characters, fewer than {SHORTEST}", text.len());
        return Err(unusable(name, &reason));
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(env: &str, models: &[&str]) -> ServeKey {
        ServeKey {
            env: Some(env.to_owned()),
            models: models.iter().map(|&model| model.to_owned()).collect(),
            ..ServeKey::default()
        }
    }

    fn environment() -> Environment {
        let pairs = [("A", "a-key-of-hemp-and-tar"), ("B", " b-key-of-hemp-and-tar\n"), ("SHORT", "hemp")];
        pairs.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    }

    #[test]
    fn a_key_says_who_asks_and_for_what() {
        let tables = [("shop", table("A", &["flights"])), ("all", table("B", &[]))];
        let tables = tables.into_iter().map(|(name, table)| (name.to_owned(), table)).collect();
        let keys = ApiKeys::read(&tables, Some(5.0), &environment()).expect("keys");
        let (caller, bucket) = keys.find(b"a-key-of-hemp-and-tar").expect("known");
        assert_eq!(&*caller.name, "shop");
        assert!(caller.may_ask("flights") && !caller.may_ask("demand"));
        assert!(bucket.is_some());
        assert!(keys.find(b"b-key-of-hemp-and-tar").expect("known").0.may_ask("demand"));
        assert!(keys.find(b"").is_none() && keys.find(b"a-key").is_none());
    }

    #[test]
    fn what_would_open_the_door_by_accident_is_refused() {
        let read = |pairs: &[(&str, &str)]| {
            let tables = pairs.iter().map(|(name, env)| ((*name).to_owned(), table(env, &[]))).collect();
            ApiKeys::read(&tables, None, &environment()).map(|_| ()).map_err(|error| error.to_string())
        };
        assert!(read(&[("x", "NONE")]).expect_err("not set").contains("NONE is not set"));
        let short = read(&[("x", "SHORT")]).expect_err("short");
        assert!(short.contains("4 characters") && !short.contains("hemp"), "{short}");
        assert!(read(&[("x", "A"), ("y", "A")]).expect_err("twice").contains("`x`"));
        assert!(ApiKeys::read(&BTreeMap::new(), None, &environment()).expect("none").is_empty());
    }
}
