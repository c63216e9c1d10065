//! Data: what a command gives, on standard output.

use std::io::{ErrorKind, Write as _};
use std::sync::atomic::{AtomicBool, Ordering};

use comfy_table::{ContentArrangement, Table, presets};
use serde::Serialize;

use crate::arguments::Format;

/// Prints text as it is.
///
/// Whoever reads may stop early, as `head` does; that is no error, and there is nobody left to tell. Anything else is told
/// once, and makes the command fail: see [`is_lost`].
pub(crate) fn text(text: &str) {
    let mut output = std::io::stdout().lock();
    match output.write_all(text.as_bytes()).and_then(|()| output.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe && !LOST.swap(true, Ordering::Relaxed) => {
            crate::terminal::say(&format!("error: what was done cannot be printed: {error}"));
        }
        _ => {}
    }
}

static LOST: AtomicBool = AtomicBool::new(false);

/// Whether something could not be printed, as where a disk is full.
pub(crate) fn is_lost() -> bool {
    LOST.load(Ordering::Relaxed)
}

/// A text with its control characters escaped: a name of a file must not move the cursor or begin a line.
pub(crate) fn printable(text: &str) -> String {
    let letter =
        |letter: char| if letter.is_control() { letter.escape_default().collect() } else { letter.to_string() };
    text.chars().map(letter).collect()
}

/// Prints a value as JSON.
pub(crate) fn json(value: &impl Serialize) {
    match serde_json::to_string_pretty(value) {
        Ok(json) => text(&format!("{json}\n")),
        Err(error) => crate::terminal::say(&format!("error: the result cannot be written as JSON: {error}")),
    }
}

/// Prints rows as a table for people, or the values that they were made of as JSON.
///
/// Cells are made printable here: names and texts may come from a remote, a source or another person.
pub(crate) fn listing<T: Serialize>(format: Format, values: &[T], headings: &[&str], row: impl Fn(&T) -> Vec<String>) {
    if format == Format::Json {
        return json(&values);
    }
    table(values, headings, row);
}

/// Prints rows as a table for people, with their cells made printable.
pub(crate) fn table<T>(values: &[T], headings: &[&str], row: impl Fn(&T) -> Vec<String>) {
    text(&format!("{}\n", drawn(values, headings, row)));
}

fn drawn<T>(values: &[T], headings: &[&str], row: impl Fn(&T) -> Vec<String>) -> String {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled).set_header(headings);
    for value in values {
        table.add_row(row(value).iter().map(|cell| printable(cell)));
    }
    table.trim_fmt()
}

/// Milliseconds since the epoch as UTC, to the second.
pub(crate) fn moment(millis: i64) -> String {
    chrono::DateTime::from_timestamp_millis(millis)
        .map_or_else(|| millis.to_string(), |moment| moment.format("%Y-%m-%d %H:%M:%S").to_string())
}

/// Bytes in the largest unit that leaves at least one before the point.
pub(crate) fn bytes(count: u64) -> String {
    const UNITS: [&str; 5] = ["B", "kB", "MB", "GB", "TB"];
    let mut value = count as f64;
    let mut unit = 0;
    while value >= 1000.0 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    if unit == 0 { format!("{count} B") } else { format!("{value:.1} {}", UNITS[unit]) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_and_sizes_for_people() {
        assert_eq!(moment(1_700_000_000_123), "2023-11-14 22:13:20");
        assert_eq!(bytes(999), "999 B");
        assert_eq!(bytes(1_500_000), "1.5 MB");
        assert_eq!(printable("naïve \u{1b}[2J\n\u{9b}"), "naïve \\u{1b}[2J\\n\\u{9b}");
    }

    #[test]
    fn no_cell_of_a_listing_moves_the_cursor_or_begins_a_line() {
        let cells = |why: &&str| vec!["v1".to_owned(), (*why).to_owned()];
        let listed = drawn(&["wrong\u{1b}[2J", "two\nlines"], &["VERSION", "REMOVED"], cells);
        let lines: Vec<_> = listed.lines().map(str::trim).collect();
        assert_eq!(lines.len(), 3, "{listed}");
        assert!(lines[1].ends_with("wrong\\u{1b}[2J") && lines[2].ends_with("two\\nlines"), "{listed}");
    }
}
