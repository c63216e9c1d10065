use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use crate::ConnectorError;

/// Settings and secrets of connections, by name, as the product gives them.
///
/// This crate never looks them up in the environment by itself. `Debug` shows the names only.
#[derive(Clone, Default)]
pub struct ConnectionOptions {
    values: Arc<BTreeMap<String, String>>,
    heard: Option<Arc<Hears>>,
}

/// Who hears what a source has to say while it is asked.
type Hears = dyn Fn(&str) + Send + Sync;

impl ConnectionOptions {
    /// The options of these names and values; of two with one name the last counts.
    pub fn new(values: impl IntoIterator<Item = (String, String)>) -> Self {
        Self { values: Arc::new(values.into_iter().collect()), heard: None }
    }

    /// With somebody who hears what a source has to say while it is asked, such as that it wants us to wait.
    #[must_use]
    pub fn heard_by(self, heard: impl Fn(&str) + Send + Sync + 'static) -> Self {
        Self { heard: Some(Arc::new(heard)), ..self }
    }

    pub(crate) fn tell(&self, text: &str) {
        if let Some(heard) = &self.heard {
            heard(text);
        }
    }

    /// The value of `name`.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(String::as_str)
    }

    /// All of them, for a back-end that knows its own names.
    pub(crate) fn all(&self) -> impl Iterator<Item = (String, String)> + '_ {
        self.values.iter().map(|(name, value)| (name.clone(), value.clone()))
    }
}

impl fmt::Debug for ConnectionOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.values.keys()).finish()
    }
}

/// A header that is sent with every request to the host of the request's URL, and to no other host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// Its name, such as `Authorization`.
    pub name: String,
    /// What it says.
    pub value: HeaderValue,
}

/// The value of a [`Header`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HeaderValue {
    /// Text that is no secret.
    Plain(String),
    /// `prefix` and then the value of the option `name`: `Bearer ` and the option `API_TOKEN`.
    Option {
        /// The option that holds the secret.
        name: String,
        /// What comes before it.
        prefix: String,
    },
}

impl Header {
    pub(crate) fn resolve(
        &self,
        options: &ConnectionOptions,
    ) -> Result<(reqwest::header::HeaderName, reqwest::header::HeaderValue), ConnectorError> {
        let text = match &self.value {
            HeaderValue::Plain(text) => text.clone(),
            HeaderValue::Option { name, prefix } => match options.get(name) {
                Some(secret) => format!("{prefix}{secret}"),
                None => return Err(ConnectorError::MissingOption { name: name.clone(), purpose: self.name.clone() }),
            },
        };
        let invalid = |reason: &str| ConnectorError::Request {
            what: format!("header `{}`", self.name),
            // The text itself may be a secret.
            reason: reason.to_owned(),
        };
        let name = self.name.parse().map_err(|_| invalid("it is not a header name"))?;
        let mut value: reqwest::header::HeaderValue =
            text.parse().map_err(|_| invalid("its value has characters that no header can hold"))?;
        value.set_sensitive(true);
        Ok((name, value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_names_only() {
        let options = ConnectionOptions::new([("TOKEN".to_owned(), "hunter2".to_owned())]);
        let shown = format!("{options:?}");
        assert!(shown.contains("TOKEN") && !shown.contains("hunter2"), "{shown}");
    }

    #[test]
    fn headers_take_secrets_by_name() {
        let options = ConnectionOptions::new([("TOKEN".to_owned(), "hunter2".to_owned())]);
        let value = HeaderValue::Option { name: "TOKEN".to_owned(), prefix: "Bearer ".to_owned() };
        let (name, value) = Header { name: "Authorization".to_owned(), value }.resolve(&options).unwrap();
        assert_eq!((name.as_str(), value.to_str().unwrap()), ("authorization", "Bearer hunter2"));
        assert!(value.is_sensitive());
        let value = HeaderValue::Option { name: "OTHER".to_owned(), prefix: String::new() };
        let error = Header { name: "X-Key".to_owned(), value }.resolve(&options).unwrap_err();
        assert!(error.to_string().contains("`OTHER`"), "{error}");
        let value = HeaderValue::Plain("a\nb".to_owned());
        assert!(Header { name: "X-Key".to_owned(), value }.resolve(&options).is_err());
    }
}
