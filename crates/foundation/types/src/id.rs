use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::Ambient;

/// A text that is not an id of the kind that was asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a {kind} id: {expected}")]
pub struct IdError {
    kind: &'static str,
    text: String,
    expected: &'static str,
}

macro_rules! hex_id {
    ($(#[$docs:meta])* $name:ident, $kind:literal) => {
        $(#[$docs])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(u128);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:032x}", self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                let error = || IdError {
                    kind: $kind,
                    text: text.to_owned(),
                    expected: "32 lower-case hexadecimal digits are expected",
                };
                let plain = text.len() == 32
                    && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
                if !plain {
                    return Err(error());
                }
                u128::from_str_radix(text, 16).map(Self).map_err(|_| error())
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

hex_id! {
    /// A tracked run: 32 hexadecimal digits, as MLflow's.
    RunId, "run"
}

hex_id! {
    /// One answered inference request. Ids sort by time: the layout is UUID version 7 (RFC 9562 section 5.7).
    PredictionId, "prediction"
}

impl RunId {
    /// A new random id.
    pub fn new(ambient: &dyn Ambient) -> Self {
        Self(ambient.random())
    }
}

impl PredictionId {
    /// A new id for this moment.
    pub fn new(ambient: &dyn Ambient) -> Self {
        let millis = u128::from(ambient.now().millis().max(0).unsigned_abs());
        let random = ambient.random();
        let (high, low) = ((random >> 64) & 0xfff, random & (u128::MAX >> 66));
        Self((millis << 80) | (0x7 << 76) | (high << 64) | (0b10 << 62) | low)
    }

    /// The id of these 128 bits, the time in the highest.
    pub fn from_bits(bits: u128) -> Self {
        Self(bits)
    }

    /// Its 128 bits, which sort as the ids do.
    pub fn bits(self) -> u128 {
        self.0
    }

    /// Milliseconds since the Unix epoch at which the id was made.
    pub fn millis(self) -> i64 {
        (self.0 >> 80) as i64
    }
}

/// An experiment: a decimal number; 0 is the default experiment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ExperimentId(pub i64);

impl fmt::Display for ExperimentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for ExperimentId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().ok().filter(|id| *id >= 0).map(Self).ok_or_else(|| IdError {
            kind: "experiment",
            text: text.to_owned(),
            expected: "a decimal number is expected",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ManualAmbient, Timestamp};

    #[test]
    fn prediction_ids_are_version_7_and_sort_by_time() {
        let ambient = ManualAmbient::starting_at(Timestamp(1_700_000_000_123));
        let (first, second) = (PredictionId::new(&ambient), PredictionId::new(&ambient));
        assert!(first < second);
        assert_eq!(first.millis(), 1_700_000_000_123);
        let text = first.to_string();
        assert_eq!(&text[12..13], "7");
        assert!(matches!(&text[16..17], "8" | "9" | "a" | "b"));
        assert_eq!(text.parse(), Ok(first));
    }

    #[test]
    fn other_texts_are_refused() {
        for text in ["", "zz", "ABCDEF00000000000000000000000000", "+0000000000000000000000000000000"] {
            assert!(text.parse::<RunId>().is_err(), "{text}");
        }
        assert!("-1".parse::<ExperimentId>().is_err());
    }
}
