use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan, Word};

use super::mention::FILE_PREFIX;

/// Tokens that together name one table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TableRun {
    /// The first token.
    pub(crate) start: usize,
    /// The one after the last.
    pub(crate) end: usize,
    /// What they spell; a file has [`FILE_PREFIX`] before its path.
    pub(crate) name: String,
}

/// What is open between two parentheses, or in the whole statement.
#[derive(Clone, Copy, Debug, Default)]
struct Frame {
    /// A SELECT was seen, so a FROM begins a list of tables; in `extract(year FROM x)` it does not.
    selects: bool,
    /// Inside a list of tables, where a comma is followed by the next.
    lists: bool,
    /// The next word is a table.
    expects: bool,
}

/// The runs of tokens in the places of tables that SQL would not read as one name, in their order.
///
/// A single word is left as it is, so that SQL's rule of lower case holds for it.
pub(crate) fn table_runs(tokens: &[TokenWithSpan]) -> Vec<TableRun> {
    let mut runs = Vec::new();
    let mut frames = vec![Frame::default()];
    let mut before = Keyword::NoKeyword;
    let mut at = 0;
    while let Some(token) = tokens.get(at) {
        let mut frame = frames.pop().unwrap_or_default();
        let mut end = at + 1;
        match &token.token {
            Token::Whitespace(_) => {}
            Token::LParen => {
                let inner = if frame.expects { Frame { selects: false, ..frame } } else { Frame::default() };
                frame.expects = false;
                frames.push(frame);
                frame = inner;
            }
            Token::RParen if !frames.is_empty() => frame = frames.pop().unwrap_or_default(),
            Token::Comma => frame.expects = frame.lists,
            Token::Word(word) if frame.keyword(word, before) => {}
            _ if frame.expects => {
                frame.expects = false;
                if let Some(run) = run_at(tokens, at) {
                    end = run.end;
                    if run.name != *"" {
                        runs.push(run);
                    }
                }
            }
            _ => {}
        }
        if !matches!(token.token, Token::Whitespace(_)) {
            before = match &token.token {
                Token::Word(word) => word.keyword,
                _ => Keyword::NoKeyword,
            };
        }
        frames.push(frame);
        at = end;
    }
    runs
}

impl Frame {
    /// Follows a keyword that begins or ends a list of tables; says whether it was one.
    fn keyword(&mut self, word: &Word, before: Keyword) -> bool {
        match word.keyword {
            Keyword::SELECT => *self = Self { selects: true, lists: false, expects: false },
            // `a IS DISTINCT FROM b` compares.
            Keyword::FROM if self.selects && before != Keyword::DISTINCT => (self.lists, self.expects) = (true, true),
            Keyword::JOIN if self.lists => self.expects = true,
            Keyword::LATERAL if self.expects => {}
            Keyword::VALUES | Keyword::WITH if self.expects => (self.lists, self.expects) = (false, false),
            Keyword::WHERE
            | Keyword::GROUP
            | Keyword::HAVING
            | Keyword::ORDER
            | Keyword::LIMIT
            | Keyword::OFFSET
            | Keyword::FETCH
            | Keyword::WINDOW
            | Keyword::QUALIFY
            | Keyword::UNION
            | Keyword::INTERSECT
            | Keyword::EXCEPT
                if self.lists =>
            {
                (self.lists, self.expects) = (false, false);
            }
            _ => return false,
        }
        true
    }
}

/// The run that begins at `start`; its name is empty where SQL reads it rightly by itself.
fn run_at(tokens: &[TokenWithSpan], start: usize) -> Option<TableRun> {
    if let Token::SingleQuotedString(path) = &tokens.get(start)?.token {
        return Some(TableRun { start, end: start + 1, name: format!("{FILE_PREFIX}{path}") });
    }
    let (mut name, mut end) = (String::new(), start);
    while let Some(token) = tokens.get(end) {
        match &token.token {
            Token::Word(word) => name.push_str(&word.value),
            // A dataset by its URI: what is left is its name.
            Token::Colon if name == "data" => name.clear(),
            Token::Number(..) | Token::Minus | Token::Period => name.push_str(&token.token.to_string()),
            _ => break,
        }
        end += 1;
    }
    let calls = matches!(tokens.get(end).map(|token| &token.token), Some(Token::LParen));
    let plain = end <= start + 1 && !name.contains('@');
    if calls || plain {
        name.clear();
    }
    Some(TableRun { start, end: end.max(start + 1), name })
}
