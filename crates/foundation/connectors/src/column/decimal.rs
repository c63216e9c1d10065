use arrow::datatypes::i256;

/// Digits that fit in a 128-bit integer whatever they are.
const FAST_DIGITS: usize = 38;

/// `text` (sign, digits, point, digits) times 10^`scale`, exactly; `None` when it has more digits after the point that
/// are not zero, or more digits than `precision` in all, or is no decimal number.
pub(super) fn unscaled(text: &str, precision: u8, scale: i8) -> Option<i256> {
    let scale = usize::try_from(scale).ok()?;
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let only_digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    if whole.len() + fraction.len() == 0 || !only_digits(whole) || !only_digits(fraction) {
        return None;
    }
    let whole = whole.trim_start_matches('0');
    let kept = fraction.trim_end_matches('0');
    if kept.len() > scale || whole.len() + scale > usize::from(precision) {
        return None;
    }
    let padding = std::iter::repeat_n(b'0', scale - kept.len());
    let value = integer(whole.bytes().chain(kept.bytes()).chain(padding), whole.len() + scale)?;
    if negative { value.checked_neg() } else { Some(value) }
}

fn integer(digits: impl Iterator<Item = u8>, count: usize) -> Option<i256> {
    if count <= FAST_DIGITS {
        return Some(i256::from_i128(digits.fold(0, |sum, digit| sum * 10 + i128::from(digit - b'0'))));
    }
    let ten = i256::from_i128(10);
    let mut sum = i256::ZERO;
    for digit in digits {
        sum = sum.checked_mul(ten)?.checked_add(i256::from_i128(i128::from(digit - b'0')))?;
    }
    Some(sum)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn exact_or_refused() {
        for (text, value) in [("1.5", 150), ("-0.07", -7), ("+3", 300), ("0", 0), ("12.3400", 1234), (".5", 50)] {
            assert_eq!(unscaled(text, 10, 2), Some(i256::from_i128(value)), "{text}");
        }
        for text in ["1.005", "", "-", ".", "1e3", "NaN", "123456789.00", "1.2.3", "１"] {
            assert_eq!(unscaled(text, 10, 2), None, "{text}");
        }
        assert_eq!(unscaled(&"9".repeat(76), 76, 0).unwrap().to_string(), "9".repeat(76));
        assert_eq!(unscaled(&"9".repeat(77), 76, 0), None);
    }

    proptest! {
        #[test]
        fn no_digit_is_lost(value in any::<i128>(), scale in 0_i8..20) {
            let digits = format!("{:040}", value.unsigned_abs());
            let (whole, fraction) = digits.split_at(digits.len() - usize::try_from(scale).unwrap());
            let text = format!("{}{whole}.{fraction}", if value < 0 { "-" } else { "" });
            prop_assert_eq!(unscaled(&text, 76, scale), Some(i256::from_i128(value)));
        }

        #[test]
        fn no_text_panics(text in ".{0,90}", precision in 1_u8..77, scale in -5_i8..77) {
            let _ = unscaled(&text, precision, scale);
        }
    }
}
