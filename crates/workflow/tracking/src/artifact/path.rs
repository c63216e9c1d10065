use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::limits::ARTIFACT_PATH_BYTES;

/// Times that a path is percent-decoded to see what it hides; more layers than this are refused.
const LAYERS: usize = 10;

/// Where an artifact lies under its root, such as its run: relative, with `/` between the parts, safe to be made a file.
///
/// Refused: an absolute path, empty parts, `.` and `..`, backslashes, drive letters, control characters, `#`
/// (a client would cut the path there), and whatever becomes one of these when it is percent-decoded again.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ArtifactPath(String);

/// A text that cannot be an artifact's path.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{path}` is not an artifact path: {rule}")]
pub struct ArtifactPathError {
    path: String,
    rule: &'static str,
}

impl ArtifactPath {
    /// Checks `path` against the rules.
    pub fn new(path: impl Into<String>) -> Result<Self, ArtifactPathError> {
        let path = path.into();
        match rule_broken(&path) {
            None => Ok(Self(path)),
            Some(rule) => {
                let path = path.chars().take(80).flat_map(char::escape_debug).collect();
                Err(ArtifactPathError { path, rule })
            }
        }
    }

    /// The path as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Its last part.
    pub fn name(&self) -> &str {
        self.0.rsplit('/').next().unwrap_or(&self.0)
    }

    /// The path of the folder that it lies in; empty at the top.
    pub fn folder(&self) -> &str {
        self.0.rsplit_once('/').map_or("", |(folder, _)| folder)
    }

    /// A name in a folder, as the catalogue holds it. The rules may have been fewer when it was written; what would climb
    /// out of the folder was never taken.
    pub(crate) fn of_catalog(name: &str) -> Option<Self> {
        let plain = !matches!(name, "" | "." | "..") && !name.contains(['/', '\\', '\0']);
        plain.then(|| Self(name.to_owned()))
    }

    /// The path of what lies at `path` in this folder. Both are checked, and a `/` between them makes nothing new of them.
    pub(crate) fn join(&self, path: &Self) -> Self {
        Self(format!("{}/{}", self.0, path.0))
    }

    /// The paths of all folders above it, outermost first.
    pub(crate) fn folders(&self) -> impl Iterator<Item = &str> {
        self.0.match_indices('/').filter_map(|(end, _)| self.0.get(..end))
    }
}

fn rule_broken(path: &str) -> Option<&'static str> {
    if path.len() > ARTIFACT_PATH_BYTES {
        return Some("it is longer than 1024 bytes");
    }
    let mut text = path.to_owned();
    for _ in 0..LAYERS {
        if let Some(rule) = layer_rule_broken(&text) {
            return Some(rule);
        }
        let decoded = percent_decoded(&text);
        if decoded == text {
            return None;
        }
        text = decoded;
    }
    Some("it is percent-encoded too many times over")
}

fn layer_rule_broken(path: &str) -> Option<&'static str> {
    if path.chars().any(|c| c.is_control() || c == char::REPLACEMENT_CHARACTER) {
        return Some("it holds a control character or is not UTF-8");
    }
    if path.contains(['\\', '#']) {
        return Some("it holds a backslash or `#`");
    }
    if path.split('/').any(|part| matches!(part, "" | "." | "..")) {
        return Some("a relative path without empty parts, `.` and `..` is expected");
    }
    if path.split('/').any(begins_with_drive) {
        return Some("a part of it begins with a drive letter");
    }
    None
}

/// Also behind a folder: what is asked for in that folder begins with it.
fn begins_with_drive(part: &str) -> bool {
    matches!(part.as_bytes(), [letter, b':', ..] if letter.is_ascii_alphabetic())
}

/// `%41` becomes `A`; what is not two hexadecimal digits after `%` stays (RFC 3986 section 2.1).
fn percent_decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let escaped = match after {
            [high, low, ..] if *first == b'%' => hex(*high).zip(hex(*low)),
            _ => None,
        };
        if let Some((high, low)) = escaped {
            bytes.push(high << 4 | low);
            rest = after.get(2..).unwrap_or_default();
        } else {
            bytes.push(*first);
            rest = after;
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

impl fmt::Display for ArtifactPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl FromStr for ArtifactPath {
    type Err = ArtifactPathError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::new(text)
    }
}

impl Serialize for ArtifactPath {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for ArtifactPath {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::new(String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn plain_paths_pass() {
        for good in ["a", "model/model.onnx", "a b/ü.txt", "a..b/c", "100%.txt", "50%25", "xx:y", "..."] {
            assert!(ArtifactPath::new(good).is_ok(), "{good}");
        }
    }

    #[test]
    fn hostile_paths_do_not() {
        let plain = [
            "",
            "/",
            "/etc/passwd",
            "../x",
            "a/../b",
            "a//b",
            "a/",
            "./a",
            "a\\b",
            "C:/x",
            "c:x",
            "a/c:x",
            "a\u{0}",
            "a#b",
        ];
        let encoded =
            ["%2e%2e/x", "%252e%252e/x", "a/%2e%2e", "a%2f..%2fb", "%2fetc", "a%5cb", "%25%35%63", "a%00", "%43:/x"];
        for bad in plain.into_iter().chain(encoded) {
            assert!(ArtifactPath::new(bad).is_err(), "{bad:?}");
        }
        assert!(ArtifactPath::new("x".repeat(1025)).is_err());
        assert!(ArtifactPath::new(format!("%{}41", "25".repeat(20))).is_err());
    }

    #[test]
    fn parts() {
        let path = ArtifactPath::new("a/b/c.txt").expect("path");
        assert_eq!((path.folder(), path.name()), ("a/b", "c.txt"));
        assert_eq!(path.folders().collect::<Vec<_>>(), ["a", "a/b"]);
        assert_eq!(ArtifactPath::new("c").expect("path").folder(), "");
    }

    proptest! {
        #[test]
        fn what_passes_stays_inside(text in "[a-c./%2eEfF5cC\\\\:#]{0,24}") {
            if let Ok(path) = ArtifactPath::new(text) {
                let mut decoded = path.as_str().to_owned();
                for _ in 0..20 {
                    prop_assert!(!decoded.starts_with('/') && !decoded.contains('\\'));
                    prop_assert!(decoded.split('/').all(|part| part != ".." && !part.is_empty()));
                    decoded = percent_decoded(&decoded);
                }
            }
        }
    }
}
