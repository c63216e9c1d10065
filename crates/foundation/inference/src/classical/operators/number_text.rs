//! Numbers as text, as `Cast` reads and writes them.

/// A whole number in decimal, with an optional sign.
pub(super) fn parse_integer(text: &[u8]) -> Option<i128> {
    std::str::from_utf8(text).ok()?.trim().parse().ok()
}

/// A real number: plain or scientific notation, or one of the specification's words for infinity and NaN.
pub(super) fn parse_real(text: &[u8]) -> Option<f64> {
    // Rust's grammar has INF, INFINITY and NAN in any case, and both notations.
    std::str::from_utf8(text).ok()?.trim().parse().ok()
}

/// As C's `%.{digits}g`, which is what onnxruntime writes.
pub(super) fn real_text(value: f64, digits: usize) -> String {
    if value.is_nan() {
        return "NaN".to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 { "INF" } else { "-INF" }.to_owned();
    }
    let scientific = format!("{value:.*e}", digits - 1);
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if exponent < -4 || exponent >= digits as i32 {
        let sign = if exponent < 0 { '-' } else { '+' };
        return format!("{}e{sign}{:02}", without_trailing_zeros(mantissa), exponent.unsigned_abs());
    }
    let decimals = (digits as i32 - 1 - exponent).max(0) as usize;
    without_trailing_zeros(&format!("{value:.decimals$}")).to_owned()
}

fn without_trailing_zeros(text: &str) -> &str {
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reals_are_written_as_c_does() {
        for (value, expected) in [
            (1.0, "1"),
            (-2.5, "-2.5"),
            (0.1, "0.1"),
            (1e8, "1e+08"),
            (12_345_678.0, "12345678"),
            (0.000_012_5, "1.25e-05"),
            (0.0001, "0.0001"),
            (0.0, "0"),
            (f64::INFINITY, "INF"),
        ] {
            assert_eq!(real_text(value, 8), expected);
        }
        assert_eq!(real_text(0.1, 17), "0.10000000000000001");
    }

    #[test]
    fn reals_are_read_in_both_notations() {
        for (text, expected) in [("3.25", 3.25), ("1e-5", 1e-5), ("1E8", 1e8), ("-INF", f64::NEG_INFINITY), ("+7", 7.0)]
        {
            assert_eq!(parse_real(text.as_bytes()), Some(expected));
        }
        assert!(parse_real(b"nan").unwrap().is_nan());
        assert_eq!(parse_real(b"seven"), None);
        assert_eq!(parse_integer(b"-12"), Some(-12));
        assert_eq!(parse_integer(b"1.5"), None);
    }
}
