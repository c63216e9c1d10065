use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::redacted;

/// What needs no encoding in any place of a URL (RFC 3986, section 2.3).
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Why a URL cannot take a value from the environment.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlaceholderError {
    /// No variable can have this name.
    #[error("`${{{0}}}` names no variable of the environment")]
    Name(String),
    /// There is no such variable.
    #[error("the environment variable `{0}` is not set")]
    Missing(String),
    /// The value would be shown and recorded.
    #[error("`${{{0}}}` stands where the URL is shown")]
    Shown(String),
}

/// The variable of the environment that `text` is, as `${NAME}` and nothing beside it.
pub fn variable_name(text: &str) -> Option<&str> {
    text.strip_prefix("${").and_then(|rest| rest.strip_suffix('}')).filter(|name| is_name(name))
}

/// As POSIX has the names of variables.
fn is_name(text: &str) -> bool {
    !text.is_empty()
        && !text.starts_with(|letter: char| letter.is_ascii_digit())
        && text.bytes().all(|byte| byte == b'_' || byte.is_ascii_alphanumeric())
}

/// `url` with the variables of the environment that it names as `${NAME}`, percent-encoded.
///
/// # Errors
/// A variable cannot have its name, is not set, or stands elsewhere than in the value of a parameter that [`redacted`] hides: whoever writes
/// `${NAME}` wants it to be seen by nobody.
pub fn with_environment(url: &str, variable: impl Fn(&str) -> Option<String>) -> Result<String, PlaceholderError> {
    let (mut whole, mut probe, mut rest) = (String::new(), String::new(), url);
    let mut probes = Vec::new();
    while let Some((before, behind)) = rest.split_once("${")
        && let Some((name, after)) = behind.split_once('}')
    {
        if !is_name(name) {
            return Err(PlaceholderError::Name(name.to_owned()));
        }
        let value = variable(name).ok_or_else(|| PlaceholderError::Missing(name.to_owned()))?;
        whole.push_str(before);
        whole.extend(utf8_percent_encode(&value, ENCODED));
        probe.push_str(before);
        // What stands for the value while it is looked whether it would be shown; another one for each.
        let stand_in = format!("0value{}of0the0environment0", probes.len());
        probe.push_str(&stand_in);
        probes.push((name, stand_in));
        rest = after;
    }
    whole.push_str(rest);
    probe.push_str(rest);
    let shown = redacted(&probe);
    match probes.into_iter().find(|(_, stand_in)| shown.contains(stand_in.as_str())) {
        Some((name, _)) => Err(PlaceholderError::Shown(name.to_owned())),
        None => Ok(whole),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_come_from_the_environment_where_nobody_sees_them() {
        let variable = |name: &str| (name == "TOKEN").then(|| "a+b/c=".to_owned());
        let read = |url: &str| with_environment(url, variable);
        for (url, whole) in [
            ("https://a.example/x?token=${TOKEN}&page=1", "https://a.example/x?token=a%2Bb%2Fc%3D&page=1"),
            ("https://a.example/x?key=${TOKEN}&sig=${TOKEN}", "https://a.example/x?key=a%2Bb%2Fc%3D&sig=a%2Bb%2Fc%3D"),
            ("s3://bucket/{a,b}/*.csv", "s3://bucket/{a,b}/*.csv"),
            ("https://a.example/x?price=$5", "https://a.example/x?price=$5"),
            ("https://a.example/x?price=${5", "https://a.example/x?price=${5"),
        ] {
            assert_eq!(read(url).as_deref(), Ok(whole));
        }
        let missing = PlaceholderError::Missing("OTHER".to_owned());
        assert_eq!(read("https://a.example/x?token=${OTHER}"), Err(missing));
        for url in ["https://${TOKEN}/x", "https://a.example/${TOKEN}?key=1", "https://a.example/x?page=${TOKEN}"] {
            let error = read(url).unwrap_err();
            assert_eq!(error.to_string(), "`${TOKEN}` stands where the URL is shown", "{url}");
        }
        for name in ["", "a b", "5", "a-b"] {
            assert_eq!(
                read(&format!("https://a.example/x?token=${{{name}}}")),
                Err(PlaceholderError::Name(name.to_owned()))
            );
        }
    }

    #[test]
    fn the_variable_that_would_be_shown_is_the_one_that_is_named() {
        let read = |url: &str| with_environment(url, |name| Some(name.to_lowercase()));
        for url in [
            "https://a.example/x?token=${TOKEN}&page=${PAGE}",
            "https://a.example/x?page=${PAGE}&token=${TOKEN}",
            "https://a.example/x?token=${TOKEN}&page=${PAGE}&key=${TOKEN}",
        ] {
            assert_eq!(read(url), Err(PlaceholderError::Shown("PAGE".to_owned())), "{url}");
        }
    }

    #[test]
    fn a_variable_is_a_name_in_braces_and_nothing_else() {
        for (text, name) in [
            ("${TOKEN}", Some("TOKEN")),
            ("${_a1}", Some("_a1")),
            ("${}", None),
            ("${1A}", None),
            ("${A-B}", None),
            ("${A}${B}", None),
            ("Bearer ${A}", None),
            ("$A", None),
        ] {
            assert_eq!(variable_name(text), name, "{text}");
        }
    }
}
