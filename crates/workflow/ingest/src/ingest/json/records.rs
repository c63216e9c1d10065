use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _};

use super::super::encoding::line_count;
use crate::IngestError;
use crate::error::{DAMAGED, MISTAKE};

/// A record is held in memory.
const RECORD_BYTES: usize = 16 << 20;
const BUFFER_BYTES: usize = 64 << 10;

/// Cuts a file into its JSON records, each with the line on which it begins, counted from 1.
pub(crate) struct Records<'a> {
    name: &'a str,
    reader: BufReader<File>,
    form: Form,
    /// The line that is read, from 1.
    line: u64,
    /// Lines without anything, in JSON Lines.
    pub(crate) blank: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// JSON Lines.
    Lines,
    /// A document of which nothing was read yet.
    Document,
    /// Inside an array that begins on this line; `first`: before its first element.
    Array { begins: u64, first: bool },
    /// Values one after the other.
    Values,
    /// After the end of the array.
    Ended,
}

impl<'a> Records<'a> {
    /// The records of `source`, which is text from where it stands: one a line, or as a document has them.
    pub(crate) fn new(name: &'a str, source: File, lines: bool) -> Self {
        let form = if lines { Form::Lines } else { Form::Document };
        Self { name, reader: BufReader::with_capacity(BUFFER_BYTES, source), form, line: 1, blank: 0 }
    }

    pub(crate) fn broken(&self, reason: impl Into<String>) -> IngestError {
        IngestError::table(self.name, reason, MISTAKE)
    }

    fn cut_off(&self, reason: &str) -> IngestError {
        IngestError::table(self.name, format!("it is cut off: {reason}"), DAMAGED)
    }

    /// Reads the next record into `bytes`; gives the line on which it begins, none at the end.
    pub(crate) fn next(&mut self, bytes: &mut Vec<u8>) -> Result<Option<u64>, IngestError> {
        bytes.clear();
        if self.form == Form::Lines { self.next_line(bytes) } else { self.next_value(bytes) }
    }

    fn next_line(&mut self, bytes: &mut Vec<u8>) -> Result<Option<u64>, IngestError> {
        loop {
            bytes.clear();
            let limit = RECORD_BYTES as u64 + 1;
            let read = (&mut self.reader).take(limit).read_until(b'\n', bytes);
            if read.map_err(IngestError::stream(format!("read `{}`", self.name)))? == 0 {
                return Ok(None);
            }
            if bytes.len() > RECORD_BYTES {
                return Err(self.too_long(self.line));
            }
            self.line += 1;
            if !bytes.trim_ascii().is_empty() {
                return Ok(Some(self.line - 1));
            }
            self.blank += 1;
        }
    }

    fn too_long(&self, line: u64) -> IngestError {
        self.broken(format!("the record on line {line} has more than {RECORD_BYTES} bytes"))
    }

    fn peek(&mut self) -> Result<Option<u8>, IngestError> {
        let name = self.name;
        let buffer = self.reader.fill_buf().map_err(IngestError::stream(format!("read `{name}`")))?;
        Ok(buffer.first().copied())
    }

    fn take(&mut self, byte: u8) {
        self.reader.consume(1);
        self.line += u64::from(byte == b'\n');
    }

    /// The next byte that is no white space, which stays.
    fn peek_token(&mut self) -> Result<Option<u8>, IngestError> {
        while let Some(byte) = self.peek()? {
            if !matches!(byte, b' ' | b'\t' | b'\r' | b'\n') {
                return Ok(Some(byte));
            }
            self.take(byte);
        }
        Ok(None)
    }

    fn next_value(&mut self, bytes: &mut Vec<u8>) -> Result<Option<u64>, IngestError> {
        let token = self.peek_token()?;
        if self.form == Form::Document {
            if token == Some(b'[') {
                self.form = Form::Array { begins: self.line, first: true };
                self.take(b'[');
                return self.next_value(bytes);
            }
            self.form = Form::Values;
        }
        match (self.form, token) {
            (Form::Array { begins, first }, token) => return self.next_element(bytes, begins, first, token),
            (Form::Ended, Some(_)) => {
                return Err(self.broken(format!("something follows the end of the array, on line {}", self.line)));
            }
            (_, None) => return Ok(None),
            (_, Some(_)) => {}
        }
        self.value(bytes).map(Some)
    }

    fn next_element(
        &mut self,
        bytes: &mut Vec<u8>,
        begins: u64,
        first: bool,
        token: Option<u8>,
    ) -> Result<Option<u64>, IngestError> {
        let cut_off = |this: &Self| this.cut_off(&format!("the array that begins on line {begins} is not ended"));
        match token {
            None => return Err(cut_off(self)),
            Some(b']') => {
                self.take(b']');
                self.form = Form::Ended;
                return self.next_value(bytes);
            }
            Some(b',') if !first => {
                self.take(b',');
                match self.peek_token()? {
                    None => return Err(cut_off(self)),
                    Some(b']' | b',') => {
                        return Err(self.broken(format!("a value is missing after a comma, on line {}", self.line)));
                    }
                    Some(_) => {}
                }
            }
            Some(_) if first => self.form = Form::Array { begins, first: false },
            Some(_) => return Err(self.broken(format!("a comma is missing between values, on line {}", self.line))),
        }
        self.value(bytes).map(Some)
    }

    /// Takes one value, whatever it holds; gives the line on which it begins.
    fn value(&mut self, bytes: &mut Vec<u8>) -> Result<u64, IngestError> {
        let begins = self.line;
        let mut scanner = Scanner::default();
        loop {
            let name = self.name;
            let buffer = self.reader.fill_buf().map_err(IngestError::stream(format!("read `{name}`")))?;
            if buffer.is_empty() {
                if scanner.may_end() {
                    return Ok(begins);
                }
                return Err(self.cut_off(&format!("the value that begins on line {begins} is not ended")));
            }
            let (taken, ended) = scanner.scan(buffer);
            self.line += line_count(&buffer[..taken]);
            bytes.extend_from_slice(&buffer[..taken]);
            self.reader.consume(taken);
            if bytes.len() > RECORD_BYTES {
                return Err(self.too_long(begins));
            }
            if ended {
                return Ok(begins);
            }
        }
    }
}

/// Finds where a value ends, without understanding it.
#[derive(Default)]
struct Scanner {
    depth: u64,
    in_text: bool,
    escaped: bool,
    /// Whether the value is a number or a word, which ends before what follows it.
    bare: bool,
}

impl Scanner {
    fn may_end(&self) -> bool {
        self.bare && self.depth == 0
    }

    /// How many bytes belong to the value, and whether it ends there.
    fn scan(&mut self, bytes: &[u8]) -> (usize, bool) {
        for (place, byte) in bytes.iter().enumerate() {
            if self.in_text {
                match byte {
                    _ if self.escaped => self.escaped = false,
                    b'\\' => self.escaped = true,
                    b'"' => {
                        self.in_text = false;
                        if self.depth == 0 {
                            return (place + 1, true);
                        }
                    }
                    _ => {}
                }
                continue;
            }
            match byte {
                b',' | b']' | b'}' | b' ' | b'\t' | b'\r' | b'\n' if self.bare && self.depth == 0 => {
                    return (place, true);
                }
                b'"' => self.in_text = true,
                b'{' | b'[' => self.depth += 1,
                b'}' | b']' => {
                    self.depth = self.depth.saturating_sub(1);
                    if self.depth == 0 {
                        return (place + 1, true);
                    }
                }
                _ if self.depth == 0 => self.bare = true,
                _ => {}
            }
        }
        (bytes.len(), false)
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Seek as _, Write as _};

    use proptest::prelude::*;

    use super::*;

    fn records(text: &str, lines: bool) -> Result<Vec<(u64, String)>, String> {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        file.rewind().unwrap();
        let mut records = Records::new("t.json", file, lines);
        let (mut all, mut bytes) = (Vec::new(), Vec::new());
        while let Some(line) = records.next(&mut bytes).map_err(|error| error.to_string())? {
            all.push((line, String::from_utf8(bytes.clone()).unwrap().trim_end().to_owned()));
        }
        Ok(all)
    }

    fn owned(records: &[(u64, &str)]) -> Vec<(u64, String)> {
        records.iter().map(|(line, text)| (*line, (*text).to_owned())).collect()
    }

    #[test]
    fn documents() {
        let text = " [\n{\"a\": \"]},\\\"\"} ,{\"b\":[1,{}]},\n 7 , null]\n";
        let expected = [(2, r#"{"a": "]},\""}"#), (2, r#"{"b":[1,{}]}"#), (3, "7"), (3, "null")];
        assert_eq!(records(text, false).unwrap(), owned(&expected));
        assert_eq!(records("{\"a\":1}\n{\"a\":\n2}", false).unwrap(), owned(&[(1, "{\"a\":1}"), (2, "{\"a\":\n2}")]));
        assert_eq!(records("[]", false).unwrap(), []);
        assert_eq!(records(" ", false).unwrap(), []);
    }

    #[test]
    fn broken_documents() {
        for (text, says) in [
            ("[{\"a\":1}", "array that begins on line 1 is not ended"),
            ("[\n{\"a\":", "value that begins on line 2 is not ended"),
            ("[{},]", "a value is missing after a comma, on line 1"),
            ("[{} {}]", "a comma is missing"),
            ("[{}]\n{}", "follows the end of the array, on line 2"),
        ] {
            let error = records(text, false).unwrap_err();
            assert!(error.contains(says), "{text}: {error}");
        }
    }

    #[test]
    fn lines() {
        let text = "{\"a\":1}\r\n\n{\"a\":\n 5";
        assert_eq!(records(text, true).unwrap(), owned(&[(1, "{\"a\":1}"), (3, "{\"a\":"), (4, " 5")]));
    }

    proptest! {
        #[test]
        fn no_text_hangs(text in "[\\[\\]{}\",\\\\: \n1a]{0,40}") {
            let _ = records(&text, false);
            prop_assert!(records(&text, true).is_ok());
        }
    }
}
