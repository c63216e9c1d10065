//! The text format of Protocol Buffers (<https://protobuf.dev/reference/protobuf/textformat-spec/>), read without a schema.
//!
//! A tree of fields by name is enough for a configuration, and it keeps what is not known, so that it can be said.

/// Messages within messages.
const DEEPEST: usize = 32;

/// A message: its fields in the order in which they stand.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Message {
    pub(crate) fields: Vec<Field>,
}

/// One field; a list is as many fields of one name.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Field {
    pub(crate) name: String,
    /// Counted from 1.
    pub(crate) line: usize,
    pub(crate) value: Value,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    /// Bytes in quotes.
    Text(Vec<u8>),
    /// A number, a name of an enumeration, `true` or `false`, as it is written.
    Word(String),
    Message(Message),
}

/// Where a text is malformed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Malformed {
    pub(crate) line: usize,
    pub(crate) reason: String,
}

/// Reads a whole text.
pub(crate) fn read(text: &str) -> Result<Message, Malformed> {
    let mut reader = Reader { rest: text, line: 1 };
    let message = reader.message(None, 0)?;
    Ok(message)
}

struct Reader<'t> {
    rest: &'t str,
    line: usize,
}

impl<'t> Reader<'t> {
    fn wrong<T>(&self, reason: impl Into<String>) -> Result<T, Malformed> {
        Err(Malformed { line: self.line, reason: reason.into() })
    }

    fn advance(&mut self, bytes: usize) -> &'t str {
        let (taken, rest) = self.rest.split_at(bytes);
        self.line += taken.bytes().filter(|byte| *byte == b'\n').count();
        self.rest = rest;
        taken
    }

    /// Passes over white space and comments.
    fn skip(&mut self) {
        loop {
            let blank = self.rest.len() - self.rest.trim_start().len();
            self.advance(blank);
            if !self.rest.starts_with('#') {
                return;
            }
            let comment = self.rest.find('\n').unwrap_or(self.rest.len());
            self.advance(comment);
        }
    }

    fn takes(&mut self, wanted: char) -> bool {
        self.skip();
        let found = self.rest.starts_with(wanted);
        if found {
            self.advance(wanted.len_utf8());
        }
        found
    }

    /// The fields until `end`; without one, until the end of the text.
    fn message(&mut self, end: Option<char>, depth: usize) -> Result<Message, Malformed> {
        if depth > DEEPEST {
            return self.wrong(format!("messages are nested more than {DEEPEST} deep"));
        }
        let mut message = Message::default();
        loop {
            self.skip();
            match (self.rest.chars().next(), end) {
                (None, None) => return Ok(message),
                (None, Some(end)) => return self.wrong(format!("`{end}` is missing")),
                (Some(next), Some(end)) if next == end => {
                    self.advance(next.len_utf8());
                    return Ok(message);
                }
                _ => self.field(&mut message, depth)?,
            }
        }
    }

    fn field(&mut self, message: &mut Message, depth: usize) -> Result<(), Malformed> {
        let line = self.line;
        let name = self.name()?;
        let colon = self.takes(':');
        let mut push = |value| message.fields.push(Field { name: name.clone(), line, value });
        if self.takes('[') {
            if !self.takes(']') {
                loop {
                    push(self.value(true, depth)?);
                    if self.takes(']') {
                        break;
                    }
                    if !self.takes(',') {
                        return self.wrong("`,` or `]` is missing in a list");
                    }
                }
            }
        } else {
            push(self.value(colon, depth)?);
        }
        // Fields may be set apart.
        if !self.takes(',') {
            self.takes(';');
        }
        Ok(())
    }

    /// A name, or the name of an extension or type in brackets.
    fn name(&mut self) -> Result<String, Malformed> {
        if self.takes('[') {
            let Some(end) = self.rest.find(']') else { return self.wrong("`]` is missing after a name") };
            let name = self.advance(end).trim().to_owned();
            self.advance(1);
            return Ok(name);
        }
        let name = self.word(|c| c.is_ascii_alphanumeric() || c == '_');
        if name.is_empty() {
            let next: String = self.rest.chars().take(1).collect();
            return self.wrong(format!("the name of a field is expected, not `{}`", next.escape_debug()));
        }
        Ok(name.to_owned())
    }

    fn word(&mut self, belongs: impl Fn(char) -> bool) -> &'t str {
        let end = self.rest.find(|c| !belongs(c)).unwrap_or(self.rest.len());
        self.advance(end)
    }

    fn value(&mut self, scalar: bool, depth: usize) -> Result<Value, Malformed> {
        self.skip();
        match self.rest.chars().next() {
            Some('{') => {
                self.advance(1);
                self.message(Some('}'), depth + 1).map(Value::Message)
            }
            Some('<') => {
                self.advance(1);
                self.message(Some('>'), depth + 1).map(Value::Message)
            }
            _ if !scalar => self.wrong("`:` is missing after the name of a field"),
            Some('"' | '\'') => self.texts(),
            Some('-') => {
                self.advance(1);
                self.skip();
                self.scalar().map(|word| Value::Word(format!("-{word}")))
            }
            _ => self.scalar().map(|word| Value::Word(word.to_owned())),
        }
    }

    fn scalar(&mut self) -> Result<&'t str, Malformed> {
        let before = self.rest;
        let mut exponent = false;
        let end = before.char_indices().find(|(_, c)| {
            let sign = exponent && matches!(c, '+' | '-');
            exponent = matches!(c, 'e' | 'E');
            !(c.is_ascii_alphanumeric() || matches!(c, '_' | '.') || sign)
        });
        let word = self.advance(end.map_or(before.len(), |(at, _)| at));
        if word.is_empty() {
            return self.wrong("a value is expected");
        }
        Ok(word)
    }

    /// Texts one after the other are one text.
    fn texts(&mut self) -> Result<Value, Malformed> {
        let mut bytes = Vec::new();
        loop {
            self.skip();
            let Some(quote) = self.rest.chars().next().filter(|c| matches!(c, '"' | '\'')) else {
                return Ok(Value::Text(bytes));
            };
            self.advance(1);
            self.text(quote, &mut bytes)?;
        }
    }

    fn text(&mut self, quote: char, bytes: &mut Vec<u8>) -> Result<(), Malformed> {
        loop {
            let Some(next) = self.rest.chars().next().filter(|c| *c != '\n') else {
                return self.wrong("the end of a text is missing");
            };
            let taken = self.advance(next.len_utf8());
            match next {
                _ if next == quote => return Ok(()),
                '\\' => self.escape(bytes)?,
                _ => bytes.extend(taken.as_bytes()),
            }
        }
    }

    fn escape(&mut self, bytes: &mut Vec<u8>) -> Result<(), Malformed> {
        let Some(next) = self.rest.chars().next() else { return self.wrong("the end of a text is missing") };
        let (radix, most) = match next {
            '0'..='7' => (8, 3),
            'x' | 'X' => {
                self.advance(1);
                (16, 2)
            }
            'u' => {
                self.advance(1);
                (16, 4)
            }
            'U' => {
                self.advance(1);
                (16, 8)
            }
            _ => {
                let plain = [('n', b'\n'), ('r', b'\r'), ('t', b'\t'), ('a', 7), ('b', 8), ('f', 12), ('v', 11)];
                let quoted = [('\\', b'\\'), ('\'', b'\''), ('"', b'"'), ('?', b'?')];
                let known = plain.into_iter().chain(quoted).find(|(name, _)| *name == next);
                let Some((_, byte)) = known else { return self.wrong(format!("`\\{next}` is no escape")) };
                self.advance(1);
                bytes.push(byte);
                return Ok(());
            }
        };
        let count = self.rest.chars().take(most).take_while(|c| c.is_digit(radix)).count();
        let number = u32::from_str_radix(self.advance(count), radix);
        let Ok(number) = number else { return self.wrong("an escape has no digits") };
        if most > 3 {
            let Some(character) = char::from_u32(number) else { return self.wrong("an escape is no character") };
            bytes.extend(character.encode_utf8(&mut [0; 4]).as_bytes());
        } else if let Ok(byte) = u8::try_from(number) {
            bytes.push(byte);
        } else {
            return self.wrong("an escape is larger than a byte");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(message: &Message, name: &str) -> Vec<String> {
        let of = message.fields.iter().filter(|field| field.name == name);
        of.map(|field| match &field.value {
            Value::Word(word) => word.clone(),
            Value::Text(bytes) => String::from_utf8_lossy(bytes).into_owned(),
            Value::Message(message) => format!("{} fields", message.fields.len()),
        })
        .collect()
    }

    #[test]
    fn everything_that_a_text_may_hold_is_read() {
        let text = r#"
            # a comment
            name: "twine" 'and' "\x72ope\n\101"   # behind a value
            dims: [ -1, 3, 0x10 ] dims: 7;
            rate: -1.5e-3f, flag: true
            inner { a: 1 } inner: < a: 2 > inner [ { a: 3 }, { } ]
            [type.googleapis.com/x.Y] { b: KIND_CPU }
        "#;
        let message = read(text).expect("good");
        assert_eq!(words(&message, "name"), ["twineandrope\nA"]);
        assert_eq!(words(&message, "dims"), ["-1", "3", "0x10", "7"]);
        assert_eq!(words(&message, "rate"), ["-1.5e-3f"]);
        assert_eq!(words(&message, "inner"), ["1 fields", "1 fields", "1 fields", "0 fields"]);
        assert_eq!(words(&message, "type.googleapis.com/x.Y"), ["1 fields"]);
        assert_eq!(message.fields[0].line, 3);
    }

    #[test]
    fn what_is_malformed_is_said_with_its_line() {
        for (text, line, says) in [
            ("a: 1\nb {", 2, "`}` is missing"),
            ("a: \"x\n\"", 1, "end of a text"),
            ("\n\na 1", 3, "`:` is missing"),
            ("a: [1 2]", 1, "in a list"),
            ("}", 1, "name of a field"),
            ("a: \"\\q\"", 1, "no escape"),
            ("a: \"\\777\"", 1, "larger than a byte"),
            ("a:", 1, "a value is expected"),
        ] {
            let error = read(text).expect_err(text);
            assert!(error.reason.contains(says) && error.line == line, "{text}: {error:?}");
        }
        assert!(read(&"a {".repeat(1000)).expect_err("deep").reason.contains("nested"));
    }

    proptest::proptest! {
        #[test]
        fn foreign_text_does_no_harm(text in "[a-z:{}<>\\[\\]\"'\\\\#,;0-9x\n é-]{0,60}") {
            let _ = read(&text);
        }
    }
}
