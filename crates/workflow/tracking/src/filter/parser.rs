use std::collections::HashSet;
use std::ops::Range;

use super::profile::{EntityRule, Found};
use super::scanner::{Quoted, Scanner};
use super::{Comparison, Entity, FilterError, Kind, Literal, Operator, Order, Profile};

/// Reads a filter. Blanks alone are the empty filter, which everything passes.
///
/// As in MLflow, `AND` may be missing between comparisons or stand at the ends.
pub fn parse(text: &str, profile: &Profile) -> Result<Vec<Comparison>, FilterError> {
    let mut parser = Parser::new("filter", text, profile);
    let mut comparisons = Vec::new();
    loop {
        parser.scanner.blanks();
        if parser.scanner.rest().is_empty() {
            return Ok(comparisons);
        }
        if parser.scanner.keyword("AND") {
            continue;
        }
        comparisons.push(parser.comparison()?);
    }
}

/// Reads one clause of an order: a key and `ASC`, `DESC` or nothing, which is `ASC`.
pub fn parse_order(clause: &str, profile: &Profile) -> Result<Order, FilterError> {
    let mut parser = Parser::new("order_by", clause, profile);
    parser.scanner.blanks();
    let name = parser.name(true)?;
    if !name.found.order {
        let problem = format!("the {} of a {} cannot be ordered by", name.shown(), profile.name);
        return Err(parser.error(name.span, problem));
    }
    parser.scanner.blanks();
    let descending = parser.scanner.keyword("DESC");
    if !descending {
        parser.scanner.keyword("ASC");
    }
    parser.scanner.blanks();
    if !parser.scanner.rest().is_empty() {
        return Err(parser.unexpected("ASC, DESC or the end"));
    }
    Ok(Order { entity: name.entity, key: name.found.key, descending })
}

/// Most clauses of an order: each may be a table to join, of which SQLite takes 64.
const ORDERS: usize = 32;

/// Reads the clauses of an order; a key that comes twice is refused.
pub fn parse_orders<S: AsRef<str>>(clauses: &[S], profile: &Profile) -> Result<Vec<Order>, FilterError> {
    let mut orders: Vec<Order> = Vec::with_capacity(clauses.len());
    let mut seen = HashSet::new();
    for clause in clauses {
        let clause = clause.as_ref();
        let order = parse_order(clause, profile)?;
        if orders.len() == ORDERS {
            let problem = format!("more than {ORDERS} keys to order by are not taken");
            return Err(FilterError::within("order_by", clause, 0..clause.trim_end().len(), problem));
        }
        if !seen.insert((order.entity, order.key.clone())) {
            let problem = format!("`{}` is ordered by twice", order.key);
            return Err(FilterError::within("order_by", clause, 0..clause.trim_end().len(), problem));
        }
        orders.push(order);
    }
    Ok(orders)
}

struct Parser<'t, 'p> {
    what: &'static str,
    text: &'t str,
    scanner: Scanner<'t>,
    profile: &'p Profile,
}

/// What stands on the left of a comparison.
struct Name {
    entity: Entity,
    found: Found,
    span: Range<usize>,
}

impl Name {
    fn shown(&self) -> String {
        let entity = match self.entity {
            Entity::Attribute => "attribute",
            Entity::Metric => "metric",
            Entity::Param => "param",
            Entity::Tag => "tag",
            Entity::Dataset => "dataset's",
            Entity::Metadata => "metadata",
            Entity::Span => "span's",
            Entity::Feedback => "feedback",
            Entity::Expectation => "expectation",
            Entity::Issue => "issue's",
        };
        format!("{entity} `{}`", self.found.key)
    }
}

impl<'t, 'p> Parser<'t, 'p> {
    fn new(what: &'static str, text: &'t str, profile: &'p Profile) -> Self {
        Self { what, text, scanner: Scanner::new(text), profile }
    }

    fn error(&self, span: Range<usize>, problem: String) -> FilterError {
        FilterError::within(self.what, self.text, span, problem)
    }

    fn unexpected(&self, expected: &str) -> FilterError {
        let (token, span) = self.scanner.shown();
        self.error(span, format!("{expected} is expected, not {token}"))
    }

    fn quoted(&mut self) -> Result<Option<Quoted<'t>>, FilterError> {
        self.scanner.quoted().map_err(|start| self.error(start..start + 1, "this quote is never closed".to_owned()))
    }

    fn comparison(&mut self) -> Result<Comparison, FilterError> {
        let start = self.scanner.at();
        let name = self.name(false)?;
        self.scanner.blanks();
        let operator = self.operator(&name)?;
        self.scanner.blanks();
        let value = self.value(&name, operator)?;
        let Name { entity, found, .. } = name;
        Ok(Comparison { entity, key: found.key, operator, value, span: start..self.scanner.at() })
    }

    /// `key`, `entity.key` or `entity.key.with.dots`, each part plain or quoted as a whole.
    fn name(&mut self, order: bool) -> Result<Name, FilterError> {
        let start = self.scanner.at();
        let first = match self.quoted()? {
            Some(quoted) => quoted.inner,
            None => self.scanner.word(),
        };
        if self.scanner.at() == start {
            return Err(self.start_unexpected());
        }
        let rule = if self.scanner.symbol(".") {
            let Some(rule) = self.profile.entity(first) else {
                let names = self.profile.entity_names();
                let problem = format!("`{first}` is nothing that a {} has: use {names}", self.profile.name);
                return Err(self.error(start..self.scanner.at() - 1, problem));
            };
            Some(rule)
        } else {
            None
        };
        let key_start = if rule.is_some() { self.scanner.at() } else { start };
        let key = if rule.is_some() { self.key()? } else { first };
        self.end_of_name()?;
        let Some(rule) = rule.or_else(|| self.profile.attributes()) else {
            return Err(self.error(start..self.scanner.at(), "a key must be written as `entity.key`".to_owned()));
        };
        let span = start..self.scanner.at();
        match rule.key(key).filter(|found| order || !found.rule.operators.is_empty()) {
            Some(found) => Ok(Name { entity: rule.entity, found, span }),
            None => Err(self.key_unknown(rule, key, key_start..span.end, order)),
        }
    }

    fn start_unexpected(&self) -> FilterError {
        if self.scanner.peek() == Some('(') {
            let (_, span) = self.scanner.shown();
            return self.error(span, "parentheses are not taken: conditions are joined by AND alone".to_owned());
        }
        self.unexpected("a key such as `name` or `tags.key`")
    }

    fn key(&mut self) -> Result<&'t str, FilterError> {
        let start = self.scanner.at();
        if let Some(quoted) = self.quoted()? {
            return Ok(quoted.inner);
        }
        loop {
            if self.scanner.word().is_empty() {
                return Err(self.unexpected("a key"));
            }
            if !self.scanner.symbol(".") {
                return Ok(&self.text[start..self.scanner.at()]);
            }
        }
    }

    /// Refuses a key that goes on with what must be quoted, as in `metrics.val-loss`.
    fn end_of_name(&self) -> Result<(), FilterError> {
        let goes_on = |c: char| !c.is_whitespace() && !matches!(c, '=' | '!' | '<' | '>');
        if self.scanner.peek().is_some_and(goes_on) {
            let (token, span) = self.scanner.shown();
            let problem = format!("{token} cannot stand in a plain key: put the key between backticks (`like-this`)");
            return Err(self.error(span, problem));
        }
        Ok(())
    }

    fn key_unknown(&self, rule: &EntityRule, key: &str, span: Range<usize>, order: bool) -> FilterError {
        let entity = rule.names.first().copied().unwrap_or_default();
        if rule.entity == Entity::Attribute && key.eq_ignore_ascii_case("or") {
            return self.error(span, "OR is not taken: conditions are joined by AND alone".to_owned());
        }
        let (names, name) = (rule.key_names(order), self.profile.name);
        self.error(span, format!("a {name} has no {entity} `{key}` to search by: use {names}"))
    }

    fn operator(&mut self, name: &Name) -> Result<Operator, FilterError> {
        const SIGNS: [(&str, Operator); 6] = [
            ("!=", Operator::NotEqual),
            ("<=", Operator::LessEqual),
            (">=", Operator::GreaterEqual),
            ("=", Operator::Equal),
            ("<", Operator::Less),
            (">", Operator::Greater),
        ];
        let start = self.scanner.at();
        for (odd, plain) in [("==", "="), ("<>", "!=")] {
            if self.scanner.symbol(odd) {
                return Err(self.error(start..start + 2, format!("`{odd}` is not an operator here: use `{plain}`")));
            }
        }
        let sign = SIGNS.iter().find(|(sign, _)| self.scanner.symbol(sign)).map(|(_, operator)| *operator);
        let operator = match sign {
            Some(operator) => operator,
            None => self.operator_word()?,
        };
        if name.found.rule.operators.contains(&operator) {
            return Ok(operator);
        }
        let allowed: Vec<&str> = name.found.rule.operators.iter().map(|operator| operator.sql()).collect();
        let problem =
            format!("{} does not stand after the {}: use {}", operator.sql(), name.shown(), allowed.join(", "));
        Err(self.error(start..self.scanner.at(), problem))
    }

    fn operator_word(&mut self) -> Result<Operator, FilterError> {
        for (word, operator) in
            [("LIKE", Operator::Like), ("ILIKE", Operator::Ilike), ("RLIKE", Operator::Rlike), ("IN", Operator::In)]
        {
            if self.scanner.keyword(word) {
                return Ok(operator);
            }
        }
        if self.scanner.keyword("NOT") {
            self.scanner.blanks();
            return if self.scanner.keyword("IN") { Ok(Operator::NotIn) } else { Err(self.unexpected("IN")) };
        }
        if self.scanner.keyword("IS") {
            self.scanner.blanks();
            let not = self.scanner.keyword("NOT");
            self.scanner.blanks();
            if self.scanner.keyword("NULL") {
                return Ok(if not { Operator::IsNotNull } else { Operator::IsNull });
            }
            return Err(self.unexpected("NULL"));
        }
        Err(self.unexpected("an operator such as ="))
    }

    fn value(&mut self, name: &Name, operator: Operator) -> Result<Literal, FilterError> {
        let ranked =
            matches!(operator, Operator::Less | Operator::LessEqual | Operator::Greater | Operator::GreaterEqual);
        match (operator, name.found.rule.kind) {
            (Operator::IsNull | Operator::IsNotNull, _) => Ok(Literal::Absent),
            (Operator::In | Operator::NotIn, _) => self.list().map(Literal::List),
            (_, Kind::Number) => self.number(name).map(|text| Literal::Number(real(text))),
            (_, Kind::Integer) => self.number(name).map(integer_or_number),
            (_, Kind::TextOrNumber) if ranked => self.number(name).map(|text| Literal::Number(real(text))),
            (_, Kind::Text | Kind::TextOrNumber) => self.string(name).map(|text| Literal::Text(text.to_owned())),
            (_, Kind::Either) => {
                if matches!(self.scanner.peek(), Some('\'' | '"')) {
                    let text = self.string(name)?;
                    return Ok(text.parse().map_or_else(|_| Literal::Text(text.to_owned()), Literal::Integer));
                }
                self.number(name).map(integer_or_number)
            }
        }
    }

    fn number(&mut self, name: &Name) -> Result<&'t str, FilterError> {
        let found = self.scanner.number();
        found.ok_or_else(|| self.unexpected(&format!("a number for the {}", name.shown())))
    }

    fn string(&mut self, name: &Name) -> Result<&'t str, FilterError> {
        if matches!(self.scanner.peek(), Some('\'' | '"'))
            && let Some(quoted) = self.quoted()?
        {
            return Ok(quoted.inner);
        }
        Err(self.unexpected(&format!("a quoted text for the {}", name.shown())))
    }

    /// `('a', "b",)`.
    fn list(&mut self) -> Result<Vec<String>, FilterError> {
        let start = self.scanner.at();
        if !self.scanner.symbol("(") {
            return Err(self.unexpected("a list such as ('a', 'b')"));
        }
        let mut texts = Vec::new();
        loop {
            self.scanner.blanks();
            if self.scanner.symbol(")") {
                break;
            }
            match self.quoted()? {
                Some(quoted) if quoted.quote != '`' => texts.push(list_text(&quoted)),
                Some(quoted) => return Err(self.error(quoted.span, "a text stands between ' or \"".to_owned())),
                None => return Err(self.unexpected("a quoted text")),
            }
            self.scanner.blanks();
            if !self.scanner.symbol(",") && self.scanner.peek() != Some(')') {
                return Err(self.unexpected("`,` or `)`"));
            }
        }
        if texts.is_empty() {
            return Err(self.error(start..self.scanner.at(), "the list is empty".to_owned()));
        }
        Ok(texts)
    }
}

/// The scanner gives what Rust reads as a number, too; too great a one becomes infinite.
fn real(text: &str) -> f64 {
    text.parse().unwrap_or(f64::INFINITY)
}

fn integer_or_number(text: &str) -> Literal {
    text.parse().map_or_else(|_| Literal::Number(real(text)), Literal::Integer)
}

/// MLflow reads lists, unlike single values, as Python does: with its escapes; two strings side by side are one.
fn list_text(quoted: &Quoted<'_>) -> String {
    let mut text = String::with_capacity(quoted.inner.len());
    let mut rest = quoted.inner.chars();
    while let Some(c) = rest.next() {
        if c == quoted.quote {
            continue;
        }
        if c != '\\' {
            text.push(c);
            continue;
        }
        match rest.next() {
            Some('n') => text.push('\n'),
            Some('t') => text.push('\t'),
            Some('r') => text.push('\r'),
            Some(same @ ('\\' | '\'' | '"')) => text.push(same),
            Some(other) => text.extend(['\\', other]),
            None => text.push('\\'),
        }
    }
    text
}
