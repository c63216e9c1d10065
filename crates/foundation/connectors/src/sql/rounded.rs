use std::borrow::Cow;

use crate::cell::Cell;

/// The float nearest to a decimal, also of what is no number, and none of what is malformed; a misfit for one that is beyond
/// all floats, and for a whole number that a float would round: so many digits are an identifier, not a measure.
pub(super) fn rounded(text: Cow<'_, str>) -> Option<Cell<'_>> {
    let float: f64 = text.parse().ok()?;
    Some(if float.is_infinite() && !text.ends_with("Infinity") {
        Cell::Misfit(text, "no float holds a number of this size")
    } else if whole(&text).is_some_and(|digits| digits != format!("{:.0}", float.abs())) {
        Cell::Misfit(text, "a float would round it; cast it to text in the query")
    } else {
        Cell::Float(float)
    })
}

/// The digits of a whole number without its sign, also where zeros follow its point.
fn whole(text: &str) -> Option<&str> {
    let digits = text.trim_start_matches(['-', '+']);
    let (digits, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let only = |of: &str, allowed: fn(&u8) -> bool| of.as_bytes().iter().all(allowed);
    let is_whole = only(digits, u8::is_ascii_digit) && only(fraction, |byte| *byte == b'0');
    // Zero has one digit that means something.
    is_whole.then(|| digits.trim_start_matches('0')).map(|digits| if digits.is_empty() { "0" } else { digits })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn whole_numbers_are_exact_or_misfits() {
        for (text, float) in [
            ("-0.3333", -0.3333),
            ("0", 0.0),
            ("-0.00", 0.0),
            ("007", 7.0),
            (".5", 0.5),
            ("9007199254740992", 9_007_199_254_740_992.0),
            ("-9007199254740992.00", -9_007_199_254_740_992.0),
            ("9007199254740993.5", 9_007_199_254_740_994.0),
            ("10000000000000000000000", 1e22),
        ] {
            assert_eq!(rounded(text.into()), Some(Cell::Float(float)), "{text}");
        }
        let beyond_i128 = format!("1{}", "0".repeat(45));
        for text in ["9007199254740993", "-9007199254740993.000", "18446744073709551615", beyond_i128.as_str()] {
            let misfit = rounded(text.into());
            assert!(matches!(misfit, Some(Cell::Misfit(_, why)) if why.contains("cast it to text")), "{text}");
        }
        let beyond_floats = format!("1{}", "0".repeat(400));
        assert!(matches!(rounded(beyond_floats.into()), Some(Cell::Misfit(..))));
        assert_eq!(rounded("-Infinity".into()), Some(Cell::Float(f64::NEG_INFINITY)));
        assert_eq!(rounded("x".into()), None);
    }

    proptest! {
        #[test]
        fn no_whole_number_becomes_another(value in any::<i128>(), shift in 0_u32..127) {
            let value = value >> shift;
            match rounded(value.to_string().into()) {
                Some(Cell::Float(float)) => prop_assert_eq!(format!("{float:.0}"), value.to_string()),
                other => prop_assert!(matches!(other, Some(Cell::Misfit(..))) && value.unsigned_abs() > 1 << 53),
            }
        }
    }
}
