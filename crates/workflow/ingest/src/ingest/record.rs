/// One record of a text of separated values, cut into fields as RFC 4180 says.
///
/// A quote opens only at the beginning of a field, so `5" pipe` is text; what follows a closing quote up to the
/// delimiter is kept.
#[derive(Debug)]
pub(crate) struct Record {
    delimiter: u8,
    quote: Option<char>,
    /// The fields one after the other, without delimiters and quotes.
    content: String,
    /// Where each finished field ends in `content`.
    ends: Vec<usize>,
    /// Whether each finished field began with a quote.
    opened: Vec<bool>,
    /// The record as it is written.
    text: String,
    quoted: bool,
    /// Whether the field that is not finished began with a quote.
    opens: bool,
}

impl Record {
    /// Both characters must be ASCII.
    pub(crate) fn new(delimiter: u8, quote: Option<char>) -> Self {
        let (content, ends, opened, text) = (String::new(), Vec::new(), Vec::new(), String::new());
        Self { delimiter, quote, content, ends, opened, text, quoted: false, opens: false }
    }

    pub(crate) fn clear(&mut self) {
        self.content.clear();
        self.ends.clear();
        self.opened.clear();
        self.text.clear();
        self.quoted = false;
    }

    /// Whether no line was pushed since the record was cleared.
    pub(crate) fn is_empty(&self) -> bool {
        self.text.is_empty()
    }

    /// How many fields the record has.
    pub(crate) fn len(&self) -> usize {
        self.ends.len()
    }

    /// The fields of a complete record.
    pub(crate) fn fields(&self) -> impl Iterator<Item = &str> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts.zip(&self.ends).map(|(start, end)| &self.content[start..*end])
    }

    /// Whether the field at `place` of a complete record is written in quotes.
    pub(crate) fn is_quoted(&self, place: usize) -> bool {
        self.opened.get(place).copied().unwrap_or_default()
    }

    /// The record as it is written, without the end of its last line.
    pub(crate) fn text(&self) -> &str {
        self.text.trim_end_matches(['\r', '\n'])
    }

    /// Adds a line with its end; true when the record is complete, false when a quote is still open.
    pub(crate) fn push_line(&mut self, line: &str) -> bool {
        let mut rest = line;
        if self.text.is_empty() {
            self.field_begin(&mut rest);
        }
        self.text.push_str(line);
        loop {
            if self.quoted {
                let Some(after) = self.quoted_part(rest) else { return false };
                rest = after;
            }
            let body = rest.trim_end_matches(['\r', '\n']);
            let Some(end) = body.bytes().position(|byte| byte == self.delimiter) else {
                self.field_end(body);
                return true;
            };
            self.field_end(&body[..end]);
            rest = &rest[end + 1..];
            self.field_begin(&mut rest);
        }
    }

    fn field_end(&mut self, last: &str) {
        self.content.push_str(last);
        self.ends.push(self.content.len());
        self.opened.push(self.opens);
    }

    fn field_begin(&mut self, rest: &mut &str) {
        self.opens = false;
        if let Some(after) = self.quote.and_then(|quote| rest.strip_prefix(quote)) {
            (self.quoted, self.opens) = (true, true);
            *rest = after;
        }
    }

    /// Takes text up to the closing quote; none when it is not in this line.
    fn quoted_part<'a>(&mut self, mut rest: &'a str) -> Option<&'a str> {
        let quote = self.quote?;
        loop {
            let Some(end) = rest.find(quote) else {
                self.content.push_str(rest);
                return None;
            };
            self.content.push_str(&rest[..end]);
            rest = &rest[end + 1..];
            let Some(after) = rest.strip_prefix(quote) else {
                self.quoted = false;
                return Some(rest);
            };
            self.content.push(quote);
            rest = after;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::Record;

    fn fields(text: &str) -> Vec<String> {
        let mut record = Record::new(b',', Some('"'));
        let complete: Vec<_> = text.split_inclusive('\n').map(|line| record.push_line(line)).collect();
        assert_eq!(complete.iter().filter(|complete| **complete).count(), 1, "{text:?}");
        record.fields().map(str::to_owned).collect()
    }

    #[test]
    fn quotes() {
        assert_eq!(fields("a,b\r\n"), ["a", "b"]);
        assert_eq!(fields("\"a,\"\"b\",c"), ["a,\"b", "c"]);
        assert_eq!(fields("5\" pipe,\"x\"y,"), ["5\" pipe", "xy", ""]);
        assert_eq!(fields("\"two\nlines\",\"\"\n"), ["two\nlines", ""]);
    }

    #[test]
    fn other_quotes_and_none() {
        let mut record = Record::new(b';', Some('\''));
        assert!(record.push_line("'a;''b';\"c\n"));
        assert_eq!(record.fields().collect::<Vec<_>>(), ["a;'b", "\"c"]);
        assert_eq!((0..3).map(|place| record.is_quoted(place)).collect::<Vec<_>>(), [true, false, false]);
        let mut record = Record::new(b',', None);
        assert!(record.push_line("\"a,b\"\n"));
        assert_eq!(record.fields().collect::<Vec<_>>(), ["\"a", "b\""]);
    }

    proptest! {
        #[test]
        fn what_is_quoted_comes_back(given in proptest::collection::vec("[a\",\\r\\n é]{0,8}", 1..6)) {
            let quoted: Vec<_> = given.iter().map(|field| format!("\"{}\"", field.replace('"', "\"\""))).collect();
            prop_assert_eq!(fields(&(quoted.join(",") + "\n")), given);
        }
    }
}
