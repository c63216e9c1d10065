//! Where the lines of a text end.

/// What ends the lines of a text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum LineEnd {
    /// A line feed, with or without a carriage return before it.
    #[default]
    LineFeed,
    /// A carriage return alone, as programs of the classic Mac OS and some exports of Excel write it; a line feed, or
    /// both together, end a line too.
    CarriageReturn,
}

impl LineEnd {
    /// What ends the lines of a text that begins with `sample`.
    ///
    /// A text with line feeds is cut there, and a carriage return elsewhere in it is a part of a field. Within quotes
    /// neither says anything.
    pub(crate) fn of(sample: &[u8], quote: Option<char>) -> Self {
        let quote = quote.map(|quote| quote as u8);
        let (mut quoted, mut returns) = (false, false);
        for (place, byte) in sample.iter().enumerate() {
            match byte {
                byte if Some(*byte) == quote => quoted = !quoted,
                _ if quoted => {}
                b'\n' => return Self::LineFeed,
                // What follows the last byte of the sample is not known.
                b'\r' => returns |= sample.get(place + 1).is_some_and(|next| *next != b'\n'),
                _ => {}
            }
        }
        if returns { Self::CarriageReturn } else { Self::LineFeed }
    }

    /// The bytes at which a line may end.
    pub(crate) fn bytes(self) -> &'static [char] {
        match self {
            Self::LineFeed => &['\n'],
            Self::CarriageReturn => &['\n', '\r'],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::LineEnd;

    #[test]
    fn carriage_returns_count_where_no_line_feed_is() {
        let of = |sample: &[u8]| LineEnd::of(sample, Some('"'));
        for sample in [&b"a,b\r1,2\r"[..], b"a\r\r1", b"a,\"x\ny\"\r1,2\r", b"\"a\"\"b\"\r1"] {
            assert_eq!(of(sample), LineEnd::CarriageReturn, "{sample:?}");
        }
        for sample in [
            &b"a,b\n1,2\n"[..],
            b"a,b\r\n1,2\r\n",
            b"a\rb,c\n1,2\n",
            b"a,\"x\ry\"\n",
            b"a,\"x\ry\"",
            b"a,b\r",
            b"a,b",
            b"",
        ] {
            assert_eq!(of(sample), LineEnd::LineFeed, "{sample:?}");
        }
        assert_eq!(LineEnd::of(b"5\" pipe\r1\n", None), LineEnd::LineFeed);
    }
}
