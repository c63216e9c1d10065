use std::ops::Range;

/// Reads a filter from left to right. What a word is depends on where it stands, so that the parser asks for what it
/// expects instead of being given tokens.
#[derive(Debug)]
pub(super) struct Scanner<'t> {
    text: &'t str,
    at: usize,
}

/// What stands between two quotes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Quoted<'t> {
    pub(super) quote: char,
    pub(super) inner: &'t str,
    pub(super) span: Range<usize>,
}

pub(super) fn in_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

impl<'t> Scanner<'t> {
    pub(super) fn new(text: &'t str) -> Self {
        Self { text, at: 0 }
    }

    /// Where it stands, in bytes.
    pub(super) fn at(&self) -> usize {
        self.at
    }

    pub(super) fn rest(&self) -> &'t str {
        &self.text[self.at..]
    }

    pub(super) fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    pub(super) fn blanks(&mut self) {
        self.at = self.text.len() - self.rest().trim_start().len();
    }

    /// Steps over `symbol` if it comes next.
    pub(super) fn symbol(&mut self, symbol: &str) -> bool {
        let comes = self.rest().starts_with(symbol);
        if comes {
            self.at += symbol.len();
        }
        comes
    }

    /// The word that comes next, without stepping over it; empty if none does.
    pub(super) fn peek_word(&self) -> &'t str {
        let rest = self.rest();
        &rest[..rest.find(|c: char| !in_word(c)).unwrap_or(rest.len())]
    }

    pub(super) fn word(&mut self) -> &'t str {
        let word = self.peek_word();
        self.at += word.len();
        word
    }

    /// Steps over the word if it is `keyword`, in any case.
    pub(super) fn keyword(&mut self, keyword: &str) -> bool {
        let word = self.peek_word();
        let is = word.eq_ignore_ascii_case(keyword);
        if is {
            self.at += word.len();
        }
        is
    }

    /// The quoted text that comes next; `None` if none does, an error (its first byte) if it never ends.
    ///
    /// A doubled quote does not end it, and in strings neither does one behind a backslash, unless none comes later.
    pub(super) fn quoted(&mut self) -> Result<Option<Quoted<'t>>, usize> {
        let start = self.at;
        let Some(quote @ ('\'' | '"' | '`')) = self.peek() else { return Ok(None) };
        let bytes = self.text.as_bytes();
        let (mark, mut at, mut behind_backslash, mut end) = (quote as u8, start + 1, None, None);
        while at < bytes.len() {
            let next = bytes.get(at + 1).copied();
            if bytes[at] == mark && next != Some(mark) {
                end = Some(at);
                break;
            }
            if bytes[at] == b'\\' && next == Some(mark) && quote != '`' {
                behind_backslash = Some(at + 1);
                at += 2;
            } else {
                at += if bytes[at] == mark { 2 } else { 1 };
            }
        }
        let end = end.or(behind_backslash).ok_or(start)?;
        self.at = end + 1;
        Ok(Some(Quoted { quote, inner: &self.text[start + 1..end], span: start..end + 1 }))
    }

    /// The number that comes next, and no word directly behind it.
    pub(super) fn number(&mut self) -> Option<&'t str> {
        let rest = self.rest();
        let bytes = rest.as_bytes();
        let digits = |from: usize| bytes[from..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        let mut at = usize::from(bytes.first() == Some(&b'-'));
        let whole = digits(at);
        at += whole;
        let mut fraction = 0;
        if bytes.get(at) == Some(&b'.') {
            fraction = digits(at + 1);
            at += 1 + fraction;
        }
        if whole + fraction == 0 {
            return None;
        }
        if matches!(bytes.get(at), Some(b'e' | b'E')) {
            let sign = usize::from(matches!(bytes.get(at + 1), Some(b'+' | b'-')));
            let power = digits((at + 1 + sign).min(bytes.len()));
            if power > 0 {
                at += 1 + sign + power;
            }
        }
        if rest[at..].chars().next().is_some_and(in_word) {
            return None;
        }
        self.at += at;
        Some(&rest[..at])
    }

    /// What comes next, for a message: a word, a sign or the end; and where.
    pub(super) fn shown(&self) -> (String, Range<usize>) {
        let rest = self.rest();
        let Some(first) = rest.chars().next() else { return ("the end".to_owned(), self.at..self.at) };
        let until_blank = rest.find(char::is_whitespace).unwrap_or(rest.len());
        let length = if in_word(first) { self.peek_word().len() } else { first.len_utf8().max(until_blank.min(2)) };
        let end = (0..=length).rev().find(|end| rest.is_char_boundary(*end)).unwrap_or_default().max(first.len_utf8());
        let token: String = rest[..end].chars().take(40).collect();
        (format!("`{token}`"), self.at..self.at + end)
    }
}
