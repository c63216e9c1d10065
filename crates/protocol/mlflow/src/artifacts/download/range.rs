use std::ops::Range;

use axum::http::{HeaderMap, HeaderName, header};

/// What a request wants of some bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    /// All.
    Whole,
    /// These, which are some.
    Part(Range<u64>),
    /// Nothing: the client has them.
    Unchanged,
    /// What lies beyond their end.
    Beyond,
}

/// What is wanted of `size` bytes with the entity tag `tag` (RFC 9110, sections 13 and 14).
///
/// Of several ranges at once the whole is given, as is allowed.
pub(super) fn wanted(request: &HeaderMap, size: u64, tag: &str) -> Wanted {
    let field = |name: HeaderName| request.get(name).and_then(|value| value.to_str().ok());
    if field(header::IF_NONE_MATCH).is_some_and(|tags| names(tags, tag)) {
        return Wanted::Unchanged;
    }
    if field(header::IF_RANGE).is_some_and(|known| known.trim() != tag) {
        return Wanted::Whole;
    }
    field(header::RANGE).and_then(|range| part(range, size)).unwrap_or(Wanted::Whole)
}

/// Whether a list of entity tags names this one; weakness does not matter here.
fn names(tags: &str, tag: &str) -> bool {
    tags.split(',').map(str::trim).any(|one| one == "*" || one.strip_prefix("W/").unwrap_or(one) == tag)
}

/// None for what is not one range of bytes: such a field is passed over.
fn part(range: &str, size: u64) -> Option<Wanted> {
    let (first, last) = range.trim().strip_prefix("bytes=")?.trim().split_once('-')?;
    let number =
        |text: &str| if text.bytes().all(|byte| byte.is_ascii_digit()) { text.parse::<u64>().ok() } else { None };
    let (start, end) = if first.is_empty() {
        // The last so many.
        let length = number(last)?;
        (if length == 0 { size } else { size.saturating_sub(length) }, size)
    } else {
        let start = number(first)?;
        let end = if last.is_empty() { u64::MAX } else { number(last)?.saturating_add(1) };
        if end <= start {
            return None;
        }
        (start, end.min(size))
    };
    Some(if start < end { Wanted::Part(start..end) } else { Wanted::Beyond })
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn of(fields: &[(HeaderName, &'static str)]) -> Wanted {
        let fields = fields.iter().map(|(name, value)| (name.clone(), HeaderValue::from_static(value)));
        wanted(&fields.collect(), 10, "\"tag\"")
    }

    #[test]
    fn one_range_is_given_and_what_is_no_range_is_passed_over() {
        for (range, expected) in [
            ("bytes=1-3", Wanted::Part(1..4)),
            ("bytes=0-", Wanted::Part(0..10)),
            ("bytes=9-99", Wanted::Part(9..10)),
            ("bytes=-4", Wanted::Part(6..10)),
            ("bytes=-99", Wanted::Part(0..10)),
            ("bytes=10-", Wanted::Beyond),
            ("bytes=-0", Wanted::Beyond),
            ("bytes=3-1", Wanted::Whole),
            ("bytes=0-1,3-4", Wanted::Whole),
            ("bytes=+1-3", Wanted::Whole),
            ("bytes=-", Wanted::Whole),
            ("bytes=99999999999999999999-", Wanted::Whole),
            ("lines=1-3", Wanted::Whole),
        ] {
            assert_eq!(of(&[(header::RANGE, range)]), expected, "{range}");
        }
        assert_eq!(wanted(&HeaderMap::new(), 0, "\"tag\""), Wanted::Whole);
    }

    #[test]
    fn a_client_that_has_the_bytes_is_told_so() {
        for tags in ["\"tag\"", "W/\"tag\"", "\"other\", \"tag\"", "*"] {
            assert_eq!(of(&[(header::IF_NONE_MATCH, tags), (header::RANGE, "bytes=0-1")]), Wanted::Unchanged, "{tags}");
        }
        assert_eq!(of(&[(header::IF_NONE_MATCH, "\"other\"")]), Wanted::Whole);
        assert_eq!(of(&[(header::IF_RANGE, "\"tag\""), (header::RANGE, "bytes=0-1")]), Wanted::Part(0..2));
        assert_eq!(of(&[(header::IF_RANGE, "\"other\""), (header::RANGE, "bytes=0-1")]), Wanted::Whole);
    }
}
