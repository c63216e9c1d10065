use std::fmt;
use std::str::FromStr;

use ropewalk_types::Ambient;
use serde::{Serialize, Serializer};

use super::LoggedModelError;

/// A logged model: `m-` and 32 hexadecimal digits, as MLflow's.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LoggedModelId(u128);

impl LoggedModelId {
    /// A new random id.
    pub fn new(ambient: &dyn Ambient) -> Self {
        Self(ambient.random())
    }
}

impl fmt::Display for LoggedModelId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "m-{:032x}", self.0)
    }
}

impl fmt::Debug for LoggedModelId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LoggedModelId({self})")
    }
}

impl FromStr for LoggedModelId {
    type Err = LoggedModelError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let digits = text.strip_prefix("m-").filter(|digits| digits.len() == 32);
        let plain = |digits: &&str| digits.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        let number = digits.filter(plain).and_then(|digits| u128::from_str_radix(digits, 16).ok());
        number.map(Self).ok_or_else(|| LoggedModelError::Id(super::shown(text)))
    }
}

impl Serialize for LoggedModelId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_has_one_spelling() {
        let text = "m-00000000000000000000000000000abc";
        assert_eq!(text.parse::<LoggedModelId>().expect("id").to_string(), text);
        for bad in [
            "",
            "m-",
            "00000000000000000000000000000abc",
            "m-00000000000000000000000000000ABC",
            "m-+0000000000000000000000000000abc",
            "m-00000000000000000000000000000abc0",
        ] {
            assert!(bad.parse::<LoggedModelId>().is_err(), "{bad}");
        }
    }
}
