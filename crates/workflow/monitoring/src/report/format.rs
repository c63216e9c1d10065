//! Numbers and names as people read them.

/// A count with its thousands set apart: `336,776`.
pub(super) fn count(value: u64) -> String {
    let digits = value.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (position, digit) in digits.chars().enumerate() {
        if position > 0 && (digits.len() - position).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A number with four significant digits: `0.01235`, `12.35`, `12,346`, `1.235e9`.
pub(super) fn number(value: f64) -> String {
    let size = value.abs();
    if value == 0.0 {
        "0".to_owned()
    } else if !(1e-4..1e9).contains(&size) {
        format!("{value:.3e}")
    } else if size >= 1e4 {
        let sign = if value < 0.0 { "−" } else { "" };
        format!("{sign}{}", count(size.round() as u64))
    } else {
        let decimals = (3 - size.log10().floor() as i32).max(0) as usize;
        let text = format!("{value:.decimals$}");
        if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
    }
}

/// A statistic with three decimals, as those near a threshold are compared.
pub(super) fn statistic(value: Option<f64>) -> String {
    value.map_or_else(|| "–".to_owned(), |value| format!("{value:.3}"))
}

/// A share as per cent: `12.3 %`; what is there but rounds to nothing is `<0.1 %`.
pub(super) fn percent(share: f64) -> String {
    let percent = share * 100.0;
    if percent > 0.0 && percent < 0.05 { "<0.1 %".to_owned() } else { format!("{percent:.1} %") }
}

/// `text` in at most `width` characters; control characters and those that turn the direction of writing, which would
/// let a foreign name rewrite the line, are replaced.
pub(super) fn name(text: &str, width: usize) -> String {
    let hostile = |c: char| {
        c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200e}' | '\u{200f}')
    };
    let plain: String = text.chars().map(|c| if hostile(c) { '\u{fffd}' } else { c }).collect();
    if plain.chars().count() <= width {
        return plain;
    }
    let mut short: String = plain.chars().take(width.saturating_sub(1)).collect();
    short.push('…');
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_four_digits() {
        let found = [0.0, 0.012_344, 12.345_6, 12_345.6, -45_678.2, 1.5, 100.0, 1_234.5, 1e12, 1e-7].map(number);
        assert_eq!(found, ["0", "0.01234", "12.35", "12,346", "−45,678", "1.5", "100", "1234", "1.000e12", "1.000e-7"]);
    }

    #[test]
    fn counts_and_shares() {
        assert_eq!([0, 999, 1_000, 336_776].map(count), ["0", "999", "1,000", "336,776"]);
        assert_eq!([0.0, 0.0002, 0.1234, 1.0].map(percent), ["0.0 %", "<0.1 %", "12.3 %", "100.0 %"]);
    }

    #[test]
    fn names_stay_in_their_cell() {
        assert_eq!(name("short", 10), "short");
        assert_eq!(name("a very long name", 8), "a very …");
        assert_eq!(name("\u{1b}[31mred\u{202e}", 20), "\u{fffd}[31mred\u{fffd}");
    }
}
