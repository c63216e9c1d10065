use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A name that breaks the rules of its kind.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{name}` cannot name {kind}: {rule}")]
pub struct NameError {
    kind: &'static str,
    name: String,
    rule: &'static str,
}

const PORTABLE: &str = "use 1 to 128 letters, digits, `.`, `_` or `-`, beginning with a letter or digit";

/// Safe as a file name, in a URL and on a command line without quotes.
fn portable(name: &str) -> bool {
    let bytes = name.as_bytes();
    (1..=128).contains(&bytes.len())
        && bytes[0].is_ascii_alphanumeric()
        && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'))
}

/// MLflow's rule for registered models: anything but `/` and `:`, and not a folder's `.` or `..`; we also refuse
/// control characters.
fn model(name: &str) -> bool {
    (1..=256).contains(&name.chars().count())
        && name.trim() == name
        && !matches!(name, "." | "..")
        && !name.chars().any(|c| matches!(c, '/' | ':') || c.is_control())
}

/// MLflow's rule for aliases, and `.`: an alias must not be mistaken for `latest` or for `v` and a version number.
fn alias(name: &str) -> bool {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    (1..=255).contains(&name.chars().count())
        && name.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '-' | '.'))
        && !name.eq_ignore_ascii_case("latest")
        && !name.strip_prefix(['v', 'V']).is_some_and(digits)
}

/// A tag must not be mistaken for another way to name a version: `latest`, `head`, `v` and a number, a digest.
fn tag(name: &str) -> bool {
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    // A longer number is a year, a day, or the short hash of a commit.
    let number = name.strip_prefix(['v', 'V']).map_or(name.len() < 4 && digits(name), digits);
    let taken = ["latest", "head"].iter().any(|word| name.eq_ignore_ascii_case(word))
        || number
        || name.parse::<crate::Digest>().is_ok();
    portable(name) && !taken
}

macro_rules! name {
    ($(#[$docs:meta])* $name:ident, $kind:literal, $rule:expr, $says:expr) => {
        $(#[$docs])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(String);

        impl $name {
            /// Checks `name` against the rule.
            pub fn new(name: impl Into<String>) -> Result<Self, NameError> {
                let name = name.into();
                if $rule(&name) { Ok(Self(name)) } else { Err(NameError { kind: $kind, name, rule: $says }) }
            }

            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = NameError;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Self::new(text)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                Self::new(String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
            }
        }
    };
}

name! {
    /// A dataset, in any zone.
    DatasetName, "a dataset", portable, PORTABLE
}
name! {
    /// A name that a person gives to one version of a dataset, such as `before-2013`.
    TagName, "a version", tag,
    "use 1 to 128 letters, digits, `.`, `_` or `-`, beginning with a letter or digit, but not `latest`, `head`, a number below 1000, `v` and a number, or a digest"
}

impl TagName {
    /// Whether it may be the beginning of a digest: four or more of its digits, 0 to 9 and a to f.
    ///
    /// A version whose digest begins so is meant first.
    pub fn may_begin_digest(&self) -> bool {
        let Self(name) = self;
        name.len() >= 4 && name.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    }

    /// The error of a tag that is to be set, while the digest of a version begins so: it would never be what is meant.
    pub fn begins_digest(&self) -> NameError {
        let rule = "a version here has a digest with this beginning, which would be meant; add another letter";
        NameError { kind: "a version", name: self.0.clone(), rule }
    }
}

name! {
    /// A stage of a project's pipeline.
    StageName, "a stage", portable, PORTABLE
}
name! {
    /// Another store of a project, such as `origin`.
    RemoteName, "a remote", portable, PORTABLE
}
name! {
    /// A registered model.
    ModelName, "a model", model, "use 1 to 256 characters without `/`, `:`, control characters or spaces at the ends"
}
name! {
    /// A movable name of one version of a registered model, such as `champion`.
    Alias, "an alias", alias, "use 1 to 255 letters, digits, `.`, `_` or `-`; neither `latest` nor `v` and a number"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn portable_names() {
        for good in ["flights", "a", "F-1_2.x"] {
            assert!(DatasetName::new(good).is_ok(), "{good}");
        }
        for bad in ["", "../x", ".hidden", "-rf", "a/b", "a b", "é", &"x".repeat(129)] {
            assert!(DatasetName::new(bad).is_err() && RemoteName::new(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn aliases_cannot_look_like_versions() {
        for bad in ["", "latest", "LATEST", "v12", "V3", "a b", "a/b", "a@b", &"x".repeat(256)] {
            assert!(Alias::new(bad).is_err(), "{bad}");
        }
        for good in ["champion", "vanguard", "v", "v1.0", "3", "_x", "-x", "é", &"x".repeat(255)] {
            assert!(Alias::new(good).is_ok(), "{good}");
        }
    }

    #[test]
    fn tags_cannot_look_like_versions() {
        let digest = crate::Digest::of(b"x").to_string();
        for bad in [
            "",
            "latest",
            "Head",
            "v1",
            "V3",
            "V",
            "v2013",
            "13",
            "a b",
            "a/b",
            "-x",
            ".x",
            "é",
            &"x".repeat(129),
            &digest,
        ] {
            assert!(TagName::new(bad).is_err(), "{bad}");
        }
        for good in
            ["2013-01-31", "2013", "20130131", "beef", "cafe", "train", "v1.0", "2024-q1", "q1-final_2.0", "vanguard"]
        {
            assert!(TagName::new(good).is_ok(), "{good}");
        }
        for (tag, may_be) in [("beef", true), ("1a2b3c4d5e6f", true), ("bee", false), ("Beef", false), ("v1.0", false)]
        {
            assert_eq!(TagName::new(tag).unwrap().may_begin_digest(), may_be, "{tag}");
        }
    }

    #[test]
    fn model_names_may_have_spaces_inside() {
        assert!(ModelName::new("flight delays").is_ok());
        assert!(ModelName::new("a/b").is_err());
        assert!(ModelName::new(" a").is_err());
        assert!(ModelName::new("..").is_err());
    }
}
