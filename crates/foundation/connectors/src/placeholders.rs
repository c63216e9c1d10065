use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::redacted;

/// What needs no encoding in any place of a URL (RFC 3986, section 2.3).
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// What stands for a value while it is looked whether it would be shown.
const PROBE: &str = "0value0of0the0environment0";

/// Why a URL cannot take a value from the environment.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlaceholderError {
    /// There is no such variable.
    #[error("the environment variable `{0}` is not set")]
    Missing(String),
    /// The value would be shown and recorded.
    #[error("`${{{0}}}` stands where the URL is shown")]
    Shown(String),
}

/// `url` with the variables of the environment that it names as `${NAME}`, percent-encoded.
///
/// # Errors
/// A variable is not set, or stands elsewhere than in the value of a parameter that [`redacted`] hides: whoever writes
/// `${NAME}` wants it to be seen by nobody.
pub fn with_environment(url: &str, variable: impl Fn(&str) -> Option<String>) -> Result<String, PlaceholderError> {
    let (mut whole, mut probe, mut rest) = (String::new(), String::new(), url);
    let mut last = None;
    while let Some((before, behind)) = rest.split_once("${")
        && let Some((name, after)) = behind.split_once('}')
    {
        let value = variable(name).ok_or_else(|| PlaceholderError::Missing(name.to_owned()))?;
        whole.push_str(before);
        whole.extend(utf8_percent_encode(&value, ENCODED));
        probe.push_str(before);
        probe.push_str(PROBE);
        (last, rest) = (Some(name), after);
    }
    whole.push_str(rest);
    probe.push_str(rest);
    match last {
        Some(name) if redacted(&probe).contains(PROBE) => Err(PlaceholderError::Shown(name.to_owned())),
        _ => Ok(whole),
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
    }
}
