use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};

use super::super::cell::exact;
use super::shape::Shape;

/// From here on a float does not mean one whole number: 2^63.
const LARGE: f64 = 9_223_372_036_854_775_808.0;

/// Adds one value to a shape as it is parsed; true when a whole number in it was larger than 64 bits hold, or was
/// written with an exponent and is as large.
pub(super) struct ShapeSeed<'a> {
    shape: &'a mut Shape,
    /// Counts nothing but such numbers, as ones that a float has rounded: what else is in the value is counted.
    rounded: bool,
}

impl<'a> ShapeSeed<'a> {
    pub(super) fn new(shape: &'a mut Shape) -> Self {
        Self { shape, rounded: false }
    }

    pub(super) fn rounded(shape: &'a mut Shape) -> Self {
        Self { shape, rounded: true }
    }

    fn count(self, count: impl FnOnce(&mut Shape)) -> bool {
        if !self.rounded {
            count(self.shape);
        }
        false
    }
}

/// Whether a whole number of 19 digits or more stands in a JSON text outside of its strings.
pub(super) fn has_long_integer(json: &[u8]) -> bool {
    let mut rest = json;
    while let [byte, after @ ..] = rest {
        rest = match byte {
            b'"' => string_end(after),
            b'0'..=b'9' => {
                let end = rest.iter().position(|byte| !is_of_number(*byte)).unwrap_or(rest.len());
                let (number, after) = rest.split_at(end);
                if number.len() >= 19 && number.iter().all(u8::is_ascii_digit) {
                    return true;
                }
                after
            }
            _ => after,
        };
    }
    false
}

fn is_of_number(byte: u8) -> bool {
    byte.is_ascii_digit() || matches!(byte, b'.' | b'e' | b'E' | b'+' | b'-')
}

/// What follows the string whose text begins here.
fn string_end(mut rest: &[u8]) -> &[u8] {
    loop {
        rest = match rest {
            [] => return rest,
            [b'"', after @ ..] => return after,
            [b'\\', _, after @ ..] | [_, after @ ..] => after,
        };
    }
}

impl<'de> DeserializeSeed<'de> for ShapeSeed<'_> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for ShapeSeed<'_> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<bool, E> {
        Ok(self.count(|shape| shape.nulls += 1))
    }

    fn visit_bool<E>(self, _: bool) -> Result<bool, E> {
        Ok(self.count(|shape| shape.booleans += 1))
    }

    fn visit_i64<E>(self, number: i64) -> Result<bool, E> {
        Ok(self.count(|shape| {
            shape.integers += 1;
            shape.negatives += u64::from(number < 0);
            shape.inexact += u64::from(exact(number.into()).is_none());
        }))
    }

    fn visit_u64<E>(self, number: u64) -> Result<bool, E> {
        Ok(self.count(|shape| {
            if i64::try_from(number).is_ok() {
                shape.integers += 1;
            } else {
                shape.unsigned += 1;
            }
            shape.inexact += u64::from(exact(number.into()).is_none());
        }))
    }

    fn visit_f64<E>(self, number: f64) -> Result<bool, E> {
        let large = number.abs() >= LARGE;
        if self.rounded {
            self.shape.inexact += u64::from(large);
        } else {
            self.shape.floats += 1;
        }
        Ok(large)
    }

    fn visit_str<E>(self, _: &str) -> Result<bool, E> {
        Ok(self.count(|shape| shape.texts += 1))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<bool, A::Error> {
        let (shape, rounded) = (self.shape, self.rounded);
        shape.lists += u64::from(!rounded);
        let mut large = false;
        while let Some(one) =
            sequence.next_element_seed(ShapeSeed { shape: shape.items.get_or_insert_default(), rounded })?
        {
            large |= one;
        }
        Ok(large)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<bool, A::Error> {
        let (shape, rounded) = (self.shape, self.rounded);
        shape.objects += u64::from(!rounded);
        let number = shape.objects;
        let (mut expected, mut repeated, mut large) = (0, false, false);
        while let Some(place) = map.next_key_seed(KeySeed { shape: &mut *shape, expected })? {
            let field = &mut shape.fields[place];
            repeated |= std::mem::replace(&mut field.seen, number) == number;
            large |= map.next_value_seed(ShapeSeed { shape: &mut field.shape, rounded })?;
            expected = place + 1;
        }
        shape.repeated += u64::from(repeated && !rounded);
        Ok(large)
    }
}

/// Finds the place of a key among the fields of a shape.
struct KeySeed<'a> {
    shape: &'a mut Shape,
    /// Keys mostly come in the same order.
    expected: usize,
}

impl<'de> DeserializeSeed<'de> for KeySeed<'_> {
    type Value = usize;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<usize, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for KeySeed<'_> {
    type Value = usize;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E: serde::de::Error>(self, key: &str) -> Result<usize, E> {
        match self.shape.fields.get(self.expected) {
            Some(field) if field.name == key => Ok(self.expected),
            _ => self.shape.field(key).map_err(E::custom),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::has_long_integer;

    #[test]
    fn long_whole_numbers_outside_of_strings() {
        for long in ["{\"a\": 18446744073709551616}", "[-9223372036854775809]", "[\"\\\"\", 1234567890123456789]"] {
            assert!(has_long_integer(long.as_bytes()), "{long}");
        }
        for other in
            ["[123456789012345678]", "[\"18446744073709551616\"]", "[1.8446744073709551616e19]", "[1e300]", "[\"\\"]
        {
            assert!(!has_long_integer(other.as_bytes()), "{other}");
        }
    }
}
