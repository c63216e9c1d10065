use std::borrow::Cow;

use super::cell::Cell;

/// The texts that stand for no value.
#[derive(Clone, Debug)]
pub(crate) struct NullTexts {
    texts: Vec<String>,
    longest: usize,
}

impl NullTexts {
    pub(crate) fn new(texts: &[String]) -> Self {
        Self { texts: texts.to_vec(), longest: texts.iter().map(String::len).max().unwrap_or(0) }
    }

    fn has(&self, text: &str) -> bool {
        text.len() <= self.longest && self.texts.iter().any(|null| null == text)
    }

    /// The cell of a text, which is null when the whole text stands for nothing. One that somebody put in quotes was meant
    /// as a text, but for an empty one, as programs write that quote everything; so were blanks around it.
    pub(crate) fn cell<'a>(&self, text: Cow<'a, str>, quoted: bool) -> Cell<'a> {
        if self.has(&text) {
            if quoted && !text.is_empty() { Cell::TextOrNull(text) } else { Cell::Null }
        } else if self.has(text.trim()) {
            Cell::TextOrNull(text)
        } else {
            Cell::Text(text)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn null_texts_are_whole_cells() {
        let nulls = NullTexts::new(&[String::new(), "NA".to_owned()]);
        let cell = |text: &'static str, quoted| nulls.cell(text.into(), quoted);
        for (text, quoted) in [("", false), ("NA", false), ("", true)] {
            assert_eq!(cell(text, quoted), Cell::Null, "{text:?}");
        }
        for (text, quoted) in [(" ", false), (" NA ", false), ("NA", true), (" ", true)] {
            assert_eq!(cell(text, quoted), Cell::TextOrNull(text.into()), "{text:?}");
        }
        assert_eq!(cell("NAN", false), Cell::Text("NAN".into()));
        assert_eq!(NullTexts::new(&[]).cell("".into(), false), Cell::Text("".into()));
    }
}
