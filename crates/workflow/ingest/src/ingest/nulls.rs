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

    /// The cell of a text, which is null when the text, without white space at its ends, stands for nothing.
    pub(crate) fn cell<'a>(&self, text: Cow<'a, str>) -> Cell<'a> {
        let trimmed = text.trim();
        if trimmed.len() <= self.longest && self.texts.iter().any(|null| null == trimmed) {
            Cell::Null
        } else {
            Cell::Text(text)
        }
    }
}
