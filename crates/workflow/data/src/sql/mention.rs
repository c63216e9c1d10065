use std::collections::BTreeSet;
use std::ops::ControlFlow;

use datafusion::common::{DataFusionError, TableReference};
use datafusion::sql::parser::Statement as ParsedStatement;
use datafusion::sql::resolve::resolve_table_references;
use datafusion::sql::sqlparser::ast::{Statement, TableFactor, Visit, Visitor};
use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::parser::{Parser, ParserError};
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan, Tokenizer, Word};

use super::Translation;
use super::position::{TableRun, table_runs};
use crate::DataError;

/// Begins the name under which a file stands in the tokens; no dataset's name has a colon.
pub(crate) const FILE_PREFIX: &str = "file:";

/// A table as a text of SQL names it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TableMention {
    /// `NAME` or `NAME@VERSION`.
    Table {
        /// The part before the first `@`: a dataset, or a table that the caller gives.
        name: String,
        /// The part after it: `latest`, `vN`, a tag, a digest or the beginning of one.
        version: Option<String>,
    },
    /// `'PATH'`: a file on disk, or a pattern of several.
    File {
        /// The text between the quotes.
        path: String,
    },
}

impl TableMention {
    fn of(name: &str) -> Self {
        if let Some(path) = name.strip_prefix(FILE_PREFIX) {
            return Self::File { path: path.to_owned() };
        }
        match name.split_once('@') {
            Some((name, version)) => Self::Table { name: name.to_owned(), version: Some(version.to_owned()) },
            None => Self::Table { name: name.to_owned(), version: None },
        }
    }

    /// The name under which the table has to be registered.
    pub(crate) fn identifier(&self) -> String {
        match self {
            Self::Table { name, version: None } => name.clone(),
            Self::Table { name, version: Some(version) } => format!("{name}@{version}"),
            Self::File { path } => format!("{FILE_PREFIX}{path}"),
        }
    }
}

/// The tables that one SELECT reads, without its common table expressions.
///
/// Unquoted names are in lower case, as SQL reads them; names with `@`, `-` or `.` are as they are written.
/// Errors: [`DataError::Sql`] for what does not parse, [`DataError::Refused`] for anything but one SELECT.
pub fn referenced_tables(sql: &str) -> Result<BTreeSet<TableMention>, DataError> {
    mentions(&parse(sql, Translation::UNLIMITED)?)
}

/// The tables that a parsed statement reads.
pub(crate) fn mentions(statement: &Statement) -> Result<BTreeSet<TableMention>, DataError> {
    let parsed = ParsedStatement::Statement(Box::new(statement.clone()));
    let resolved = resolve_table_references(&parsed, true);
    let (tables, _) = resolved.map_err(|error| Translation::UNLIMITED.error(&error))?;
    let mut functions = Functions(BTreeSet::new());
    let _: ControlFlow<()> = statement.visit(&mut functions);
    let names = tables.iter().map(spelled).filter(|name| !functions.0.contains(name));
    Ok(names.map(|name| TableMention::of(&name)).collect())
}

/// The names of functions in the places of tables, such as `range(0, 3)`.
struct Functions(BTreeSet<String>);

impl Visitor for Functions {
    type Break = ();

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<()> {
        if let TableFactor::Table { name, args: Some(_), .. } | TableFactor::Function { name, .. } = factor {
            self.0.insert(name.to_string().to_lowercase());
        }
        ControlFlow::Continue(())
    }
}

fn spelled(table: &TableReference) -> String {
    match table {
        TableReference::Bare { table } => table.to_string(),
        other => other.to_string(),
    }
}

/// The one SELECT that `sql` is, with each of its tables as one identifier.
///
/// Tables such as `air-lines@v1.2` and `'a/b.csv'` are no identifiers of SQL: they are found by their place among the
/// tokens and made quoted identifiers there, so that every token keeps its place in the text for errors.
pub(crate) fn parse(sql: &str, translation: Translation) -> Result<Statement, DataError> {
    let says = |error: ParserError| translation.error(&DataFusionError::SQL(Box::new(error), None));
    let tokens = Tokenizer::new(&GenericDialect {}, sql)
        .tokenize_with_location()
        .map_err(|error| says(ParserError::TokenizerError(error.to_string())))?;
    only_reads(&tokens)?;
    let tokens = with_identifiers(&tokens);
    let mut parser = Parser::new(&GenericDialect {}).with_tokens_with_locations(tokens);
    let mut statements = parser.parse_statements().map_err(says)?;
    match (statements.len(), statements.pop()) {
        (1, Some(statement @ Statement::Query(_))) => Ok(statement),
        (0, _) | (_, None) => Err(refused("there is no statement in it")),
        (1, Some(other)) => Err(refused(format!("`{}` is not a SELECT", verb(&other.to_string())))),
        (count, _) => Err(refused(format!("it has {count} statements"))),
    }
}

pub(crate) fn refused(reason: impl Into<String>) -> DataError {
    DataError::Refused { reason: reason.into() }
}

fn verb(text: &str) -> String {
    text.split_whitespace().take(2).collect::<Vec<_>>().join(" ")
}

/// A statement that begins with another verb is refused by that verb, also where the parser would not know it.
fn only_reads(tokens: &[TokenWithSpan]) -> Result<(), DataError> {
    let mut written = tokens.iter().map(|token| &token.token).filter(|token| !matches!(token, Token::Whitespace(_)));
    match written.next() {
        Some(Token::Word(word))
            if !matches!(word.keyword, Keyword::SELECT | Keyword::WITH | Keyword::VALUES | Keyword::FROM) =>
        {
            let second = written.next().map(ToString::to_string).unwrap_or_default();
            Err(refused(format!("`{}` is not a SELECT", verb(&format!("{word} {second}")))))
        }
        _ => Ok(()),
    }
}

/// Puts a quoted identifier in the place of every run of tokens that names a table.
fn with_identifiers(tokens: &[TokenWithSpan]) -> Vec<TokenWithSpan> {
    let runs = table_runs(tokens);
    let mut out = Vec::with_capacity(tokens.len());
    let mut runs_left = runs.iter().peekable();
    let mut at = 0;
    while let Some(token) = tokens.get(at) {
        if let Some(run) = runs_left.next_if(|run| run.start == at) {
            out.push(identifier(&run.name, token));
            at = run.end;
        } else if let Some((name, end)) = qualifier(tokens, at, &runs) {
            out.push(identifier(name, token));
            out.push(TokenWithSpan { token: Token::Period, span: token.span });
            at = end;
        } else {
            out.push(token.clone());
            at += 1;
        }
    }
    out
}

fn identifier(name: &str, at: &TokenWithSpan) -> TokenWithSpan {
    let word = Word { value: name.to_owned(), quote_style: Some('"'), keyword: Keyword::NoKeyword };
    TokenWithSpan { token: Token::Word(word), span: at.span }
}

/// The longest name of a table of this text that the tokens from `at` on spell before the `.` of a column, and the token
/// after that.
fn qualifier<'a>(tokens: &[TokenWithSpan], at: usize, runs: &'a [TableRun]) -> Option<(&'a str, usize)> {
    if !matches!(tokens.get(at)?.token, Token::Word(_) | Token::Number(..)) {
        return None;
    }
    let (mut text, mut longest) = (String::new(), None);
    for (offset, token) in tokens.get(at..)?.iter().enumerate() {
        if matches!(token.token, Token::Whitespace(_)) || !runs.iter().any(|run| run.name.starts_with(&text)) {
            break;
        }
        // A number takes the period after it for its own, so the text is looked at and not the token.
        text.push_str(&token.token.to_string());
        if let Some(name) = text.strip_suffix('.')
            && let Some(run) = runs.iter().find(|run| run.name == name)
        {
            longest = Some((run.name.as_str(), at + offset + 1));
        }
    }
    longest
}

#[cfg(test)]
mod tests;
