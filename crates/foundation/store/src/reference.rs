use std::fmt;
use std::str::FromStr;

use bytes::Bytes;

use crate::error::StoreError;

/// The name of a ref: segments of portable characters between slashes, such as `stages/7f3a` or `heads/main`.
///
/// Every segment is a safe file name: it begins with a letter, a digit or `_`, so `..` and hidden names cannot occur.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RefName(String);

impl RefName {
    /// The longest name, in bytes.
    pub const MAX_LENGTH: usize = 512;

    /// Checks `name` against the rule.
    pub fn new(name: impl Into<String>) -> Result<Self, StoreError> {
        let name = name.into();
        let valid = name.len() <= Self::MAX_LENGTH && name.split('/').all(is_segment);
        if valid { Ok(Self(name)) } else { Err(StoreError::RefName(name)) }
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn is_segment(segment: &str) -> bool {
    let first = segment.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    first
        && segment.len() <= 128
        && segment.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'))
}

impl fmt::Display for RefName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for RefName {
    type Err = StoreError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::new(text)
    }
}

/// What a ref holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefValue {
    /// The bytes that were set.
    pub bytes: Bytes,
    /// Counts the changes of this ref from 1; the `expected` of the next compare-and-swap.
    pub generation: u64,
}

#[cfg(test)]
mod tests {
    use super::RefName;

    #[test]
    fn names() {
        for good in ["main", "heads/main", "stages/7f/3a.b-c_d", "_x"] {
            assert!(RefName::new(good).is_ok(), "{good}");
        }
        let long_segment = "x".repeat(129);
        let long_name = "x/".repeat(300) + "x";
        for bad in ["", "/", "a/", "/a", "a//b", "..", "a/../b", ".a", "-a", "a b", "ä", "a\\b", "a@b", "a\0"] {
            assert!(RefName::new(bad).is_err(), "{bad}");
        }
        assert!(RefName::new(long_segment).is_err());
        assert!(RefName::new(long_name).is_err());
    }
}
