use std::fmt;
use std::str::FromStr;

use ropewalk_types::{RunId, Timestamp};
use serde::{Serialize, Serializer};

/// A text that is not a page token that we gave.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a page token of this listing")]
pub struct CursorError(pub(crate) String);

impl CursorError {
    pub(crate) fn of(text: &str) -> Self {
        Self(text.chars().take(80).collect())
    }
}

/// Where a page of runs ended. Its text is opaque: it may change with any version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RunCursor {
    pub(crate) start: Timestamp,
    pub(crate) id: RunId,
}

impl fmt::Display for RunCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.start.0, self.id)
    }
}

impl FromStr for RunCursor {
    type Err = CursorError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = || CursorError::of(text);
        let (start, id) = text.split_once('.').ok_or_else(error)?;
        Ok(Self { start: Timestamp(number(start).ok_or_else(error)?), id: id.parse().map_err(|_| error())? })
    }
}

impl Serialize for RunCursor {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A number in the one spelling that `Display` gives.
pub(crate) fn number(text: &str) -> Option<i64> {
    text.parse().ok().filter(|number: &i64| number.to_string() == text)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_cursor_survives_its_text() {
        let text = "-5.0123456789abcdef0123456789abcdef";
        assert_eq!(text.parse::<RunCursor>().expect("cursor").to_string(), text);
        for bad in ["", ".", "5", "x.0123456789abcdef0123456789abcdef", "+5.0123456789abcdef0123456789abcdef"] {
            assert!(bad.parse::<RunCursor>().is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(text in ".{0,60}") {
            if let Ok(cursor) = text.parse::<RunCursor>() {
                prop_assert_eq!(cursor.to_string(), text);
            }
        }
    }
}
