//! The text of a query, as far as it must be known: where it ends.

use crate::ConnectorError;

use super::dialect::Dialect;

/// `query` without the semicolon and the blanks at its end; refused when it is empty or more than one statement.
///
/// Knows quotes, comments and PostgreSQL's dollar quotes, so that a semicolon inside them is not taken for the end.
pub(super) fn single(query: &str, dialect: Dialect) -> Result<&str, ConnectorError> {
    let mut scanner = Scanner { rest: query, dialect };
    let mut end = None;
    let mut said_something = false;
    while let Some(token) = scanner.next() {
        match token {
            Token::Semicolon if end.is_none() => end = Some(query.len() - scanner.rest.len() - 1),
            Token::Semicolon | Token::Blank => {}
            Token::Other if end.is_some() => {
                return Err(ConnectorError::Refused { reason: "it is more than one statement".to_owned() });
            }
            Token::Other => said_something = true,
            Token::Open(what) => {
                return Err(ConnectorError::Refused { reason: format!("{what} in it has no end") });
            }
        }
    }
    if !said_something {
        return Err(ConnectorError::Refused { reason: "it is empty".to_owned() });
    }
    Ok(query.get(..end.unwrap_or(query.len())).unwrap_or(query).trim())
}

enum Token {
    /// Blanks and comments.
    Blank,
    Semicolon,
    Other,
    /// A quote or comment without an end.
    Open(&'static str),
}

struct Scanner<'q> {
    rest: &'q str,
    dialect: Dialect,
}

impl Scanner<'_> {
    fn next(&mut self) -> Option<Token> {
        let first = self.rest.chars().next()?;
        let after = self.rest.get(first.len_utf8()..).unwrap_or_default();
        let mysql = self.dialect == Dialect::Mysql;
        let token = match first {
            ';' => self.skip(1, Token::Semicolon),
            _ if first.is_whitespace() => self.skip(first.len_utf8(), Token::Blank),
            '-' if after.starts_with('-')
                && (!mysql || after[1..].starts_with(char::is_whitespace) || after.len() == 1) =>
            {
                self.line()
            }
            '#' if mysql => self.line(),
            '/' if after.starts_with('*') => self.block_comment(),
            '\'' => self.quoted('\'', self.escapes()),
            '"' => self.quoted('"', mysql),
            '`' if self.dialect != Dialect::Postgres => self.quoted('`', false),
            '[' if self.dialect == Dialect::Sqlite => self.quoted(']', false),
            '$' if self.dialect == Dialect::Postgres => self.dollar_quoted(),
            _ if first.is_alphanumeric() || first == '_' => self.word(),
            _ => self.skip(first.len_utf8(), Token::Other),
        };
        Some(token)
    }

    fn skip(&mut self, bytes: usize, token: Token) -> Token {
        self.rest = self.rest.get(bytes..).unwrap_or_default();
        token
    }

    fn line(&mut self) -> Token {
        let end = self.rest.find('\n').unwrap_or(self.rest.len());
        self.skip(end, Token::Blank)
    }

    /// Whole words, so that `E'…'` is seen and a `$` inside a name is not taken for a quote.
    fn word(&mut self) -> Token {
        let end = self.rest.find(|c: char| !c.is_alphanumeric() && c != '_' && c != '$').unwrap_or(self.rest.len());
        let word = self.rest.get(..end).unwrap_or_default();
        let escaped = self.dialect == Dialect::Postgres && word.eq_ignore_ascii_case("e");
        let token = self.skip(end, Token::Other);
        if escaped && self.rest.starts_with('\'') { self.quoted('\'', true) } else { token }
    }

    fn escapes(&self) -> bool {
        self.dialect == Dialect::Mysql
    }

    fn quoted(&mut self, close: char, escapes: bool) -> Token {
        let mut inside = self.rest.char_indices().skip(1).peekable();
        while let Some((at, character)) = inside.next() {
            if escapes && character == '\\' {
                inside.next();
            } else if character == close {
                if inside.peek().is_some_and(|(_, next)| *next == close) {
                    inside.next();
                } else {
                    return self.skip(at + close.len_utf8(), Token::Other);
                }
            }
        }
        Token::Open("a quote")
    }

    /// Comments nest in PostgreSQL. MySQL runs what stands in `/*! … */`, so there it is no blank.
    fn block_comment(&mut self) -> Token {
        let runs = self.dialect == Dialect::Mysql && (self.rest.starts_with("/*!") || self.rest.starts_with("/*M!"));
        let nests = self.dialect == Dialect::Postgres;
        let mut depth = 1_usize;
        let mut at = 2;
        while depth > 0 {
            let Some(rest) = self.rest.get(at..).filter(|rest| !rest.is_empty()) else {
                return Token::Open("a comment");
            };
            if rest.starts_with("*/") {
                (depth, at) = (depth - 1, at + 2);
            } else if nests && rest.starts_with("/*") {
                (depth, at) = (depth + 1, at + 2);
            } else {
                at += rest.chars().next().map_or(1, char::len_utf8);
            }
        }
        self.skip(at, if runs { Token::Other } else { Token::Blank })
    }

    fn dollar_quoted(&mut self) -> Token {
        let tag_end = self.rest.get(1..).and_then(|rest| rest.find(|c: char| !c.is_alphanumeric() && c != '_'));
        let tag = match tag_end.map(|end| end + 1) {
            Some(end) if self.rest.get(end..).is_some_and(|rest| rest.starts_with('$')) => end + 1,
            _ => return self.skip(1, Token::Other),
        };
        // `$1$` is no tag: a tag does not begin with a digit.
        if self.rest.get(1..).is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit())) {
            return self.skip(1, Token::Other);
        }
        let (quote, inside) = self.rest.split_at(tag);
        match inside.find(quote) {
            Some(end) => self.skip(tag + end + tag, Token::Other),
            None => Token::Open("a dollar quote"),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_end_is_found_behind_quotes_and_comments() {
        for (query, dialect, kept) in [
            (" SELECT 1 ; \n-- done;\n", Dialect::Postgres, "SELECT 1"),
            ("SELECT ';' FROM t", Dialect::Sqlite, "SELECT ';' FROM t"),
            ("SELECT 'it''s;' ;", Dialect::Postgres, "SELECT 'it''s;'"),
            ("SELECT 'a\\';b' ;", Dialect::Mysql, "SELECT 'a\\';b'"),
            ("SELECT E'a\\';b' ;", Dialect::Postgres, "SELECT E'a\\';b'"),
            ("SELECT $x$ ; $y$ $x$;", Dialect::Postgres, "SELECT $x$ ; $y$ $x$"),
            ("SELECT a$b FROM t;;", Dialect::Postgres, "SELECT a$b FROM t"),
            ("/* ; /* ; */ ; */ SELECT 1", Dialect::Postgres, "/* ; /* ; */ ; */ SELECT 1"),
            ("SELECT [a;b]", Dialect::Sqlite, "SELECT [a;b]"),
            ("SELECT 5--3", Dialect::Mysql, "SELECT 5--3"),
        ] {
            assert_eq!(single(query, dialect).unwrap(), kept);
        }
    }

    #[test]
    fn more_than_one_statement_and_none_are_refused() {
        for (query, dialect) in [
            ("SELECT 1; DROP TABLE t", Dialect::Sqlite),
            ("SELECT 'a\\'; DROP TABLE t; --'", Dialect::Postgres),
            ("SELECT 1; /*! DROP TABLE t */", Dialect::Mysql),
            ("SELECT /* ; */ 1; -- x\n SELECT 2", Dialect::Mysql),
            ("", Dialect::Postgres),
            (" ; -- nothing", Dialect::Postgres),
            ("SELECT 'open", Dialect::Postgres),
            ("SELECT 1 /* open", Dialect::Sqlite),
            ("SELECT $$ open", Dialect::Postgres),
        ] {
            assert!(matches!(single(query, dialect), Err(ConnectorError::Refused { .. })), "{query}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(query in ".{0,60}") {
            for dialect in [Dialect::Postgres, Dialect::Mysql, Dialect::Sqlite] {
                let _ = single(&query, dialect);
            }
        }

        #[test]
        fn a_statement_behind_a_semicolon_is_never_accepted(inside in "[a-z ';\"`$/*\\-#\\\\]{0,12}") {
            // Whatever it is that hides the semicolon must also have hidden the rest.
            let query = format!("SELECT 1; {inside} x");
            if let Ok(kept) = single(&query, Dialect::Postgres) {
                prop_assert_eq!(kept, "SELECT 1");
                prop_assert!(inside.contains("--") || inside.contains("/*"));
            }
        }
    }
}
