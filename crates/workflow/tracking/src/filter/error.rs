use std::ops::Range;

/// Most characters of a filter that an error repeats before and after the place that it is about.
const AROUND: usize = 60;

/// A filter or an order that cannot be taken, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid {what}: {problem}, at character {position}\n  {excerpt}\n  {marker}")]
pub struct FilterError {
    what: &'static str,
    problem: String,
    position: usize,
    excerpt: String,
    marker: String,
}

impl FilterError {
    /// `problem` with the part `span` (bytes) of the filter `text`.
    pub fn at(text: &str, span: Range<usize>, problem: impl Into<String>) -> Self {
        Self::within("filter", text, span, problem.into())
    }

    pub(super) fn within(what: &'static str, text: &str, span: Range<usize>, problem: String) -> Self {
        let start = floor(text, span.start);
        let end = floor(text, span.end).max(start);
        let position = text[..start].chars().count();
        let length = text[start..end].chars().count().clamp(1, AROUND);
        let first = position.saturating_sub(AROUND);
        // On one line and a column per character, so that the marker stands below the place.
        let plain = |c: char| if c.is_control() { ' ' } else { c };
        let excerpt: String = text.chars().skip(first).take(position - first + length + AROUND).map(plain).collect();
        let marker = format!("{}{}", " ".repeat(position - first), "^".repeat(length));
        Self { what, problem, position: position + 1, excerpt, marker }
    }

    /// Where the trouble begins, in characters from 1.
    pub fn position(&self) -> usize {
        self.position
    }
}

/// The nearest place at or before `at` where a character begins.
fn floor(text: &str, at: usize) -> usize {
    let mut at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_marker_stands_below_the_place() {
        let error = FilterError::at("tags.é = \tx", 10..11, "a value must be quoted");
        let text = "invalid filter: a value must be quoted, at character 10\n  tags.é =  x\n           ^";
        assert_eq!((error.to_string().as_str(), error.position()), (text, 10));
    }

    #[test]
    fn of_a_long_filter_only_the_surroundings_are_shown() {
        let text = format!("{}!{}", "a".repeat(500), "b".repeat(500));
        let error = FilterError::at(&text, 500..501, "what is this");
        assert_eq!((error.position(), error.excerpt.len(), error.marker.len()), (501, 121, 61));
        assert_eq!(FilterError::at("", 7..9, "nothing").position(), 1);
    }
}
