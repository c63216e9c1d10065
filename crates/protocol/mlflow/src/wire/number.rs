use std::fmt;

use serde::de::{Error, Unexpected, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// An `int64`: a JSON number or, as ProtoJSON writes it, a text. MLflow answers with numbers, so do we.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub(crate) struct Int64(pub(crate) i64);

/// A `double`: a JSON number, or `"NaN"`, `"Infinity"`, `"-Infinity"`, which JSON's numbers lack.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Double(pub(crate) f64);

struct Int64Visitor;
struct DoubleVisitor;

impl Visitor<'_> for Int64Visitor {
    type Value = Int64;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a 64-bit integer as a number or a text")
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Int64, E> {
        Ok(Int64(value))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Int64, E> {
        i64::try_from(value).map(Int64).map_err(|_| E::invalid_value(Unexpected::Unsigned(value), &self))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Int64, E> {
        // Up to 2^53 every integer is a double, so that nothing is rounded in silence.
        if value.fract() == 0.0 && value.abs() <= 9_007_199_254_740_992.0 {
            return Ok(Int64(value as i64));
        }
        Err(E::invalid_value(Unexpected::Float(value), &self))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Int64, E> {
        value.parse().map(Int64).map_err(|_| E::invalid_value(Unexpected::Str(value), &self))
    }
}

impl Visitor<'_> for DoubleVisitor {
    type Value = Double;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number, or \"NaN\", \"Infinity\" or \"-Infinity\"")
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Double, E> {
        Ok(Double(value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Double, E> {
        Ok(Double(value as f64))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Double, E> {
        Ok(Double(value as f64))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Double, E> {
        value.parse().map(Double).map_err(|_| E::invalid_value(Unexpected::Str(value), &self))
    }
}

impl<'de> Deserialize<'de> for Int64 {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Int64Visitor)
    }
}

impl<'de> Deserialize<'de> for Double {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(DoubleVisitor)
    }
}

impl Serialize for Double {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            value if value.is_nan() => serializer.serialize_str("NaN"),
            f64::INFINITY => serializer.serialize_str("Infinity"),
            f64::NEG_INFINITY => serializer.serialize_str("-Infinity"),
            value => serializer.serialize_f64(value),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn integers_are_numbers_or_texts() {
        for text in ["5", "\"5\"", "5.0", "5e0"] {
            assert_eq!(serde_json::from_str::<Int64>(text).expect(text), Int64(5));
        }
        assert_eq!(serde_json::from_str::<Int64>("\"-9223372036854775808\"").expect("least"), Int64(i64::MIN));
        for text in ["5.5", "\"5.5\"", "1e300", "18446744073709551615", "true", "[]", "\"\""] {
            assert!(serde_json::from_str::<Int64>(text).is_err(), "{text}");
        }
    }

    #[test]
    fn what_json_has_no_number_for_is_a_text() {
        for (value, text) in [(f64::INFINITY, "\"Infinity\""), (f64::NEG_INFINITY, "\"-Infinity\""), (0.5, "0.5")] {
            assert_eq!(serde_json::to_string(&Double(value)).expect("text"), text);
            assert_eq!(serde_json::from_str::<Double>(text).expect("value"), Double(value));
        }
        assert_eq!(serde_json::to_string(&Double(f64::NAN)).expect("text"), "\"NaN\"");
        assert!(serde_json::from_str::<Double>("\"NaN\"").expect("value").0.is_nan());
        assert!(serde_json::from_str::<Double>("\"x\"").is_err());
    }

    proptest! {
        #[test]
        fn doubles_survive(value in any::<f64>()) {
            let text = serde_json::to_string(&Double(value)).expect("text");
            let back = serde_json::from_str::<Double>(&text).expect("value").0;
            prop_assert!(back.to_bits() == value.to_bits() || (back.is_nan() && value.is_nan()));
        }
    }
}
