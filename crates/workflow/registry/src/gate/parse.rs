use ropewalk_types::Alias;
use sqlparser::ast::{BinaryOperator, Expr, Ident, Spanned, UnaryOperator, Value};
use sqlparser::dialect::GenericDialect;
use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::Token;

use super::expression::{Comparison, Figure, Operation, Order, Rule};

/// Longest text; bounds the depth of what is parsed from it.
const LONGEST: usize = 2000;

/// Why a text is not a gate, and where.
pub(super) struct Refusal {
    pub(super) reason: String,
    pub(super) column: Option<u64>,
}

impl Refusal {
    fn at(expression: &Expr, reason: impl Into<String>) -> Self {
        let column = expression.span().start.column;
        Self { reason: reason.into(), column: (column > 0).then_some(column) }
    }
}

impl From<ParserError> for Refusal {
    fn from(error: ParserError) -> Self {
        let text = match error {
            ParserError::TokenizerError(text) | ParserError::ParserError(text) => text,
            ParserError::RecursionLimitExceeded => "it is nested too deeply".to_owned(),
        };
        // The parser's own way to give the place.
        match text.rsplit_once(" at Line: ").map(|(reason, place)| (reason, place.rsplit_once("Column: "))) {
            Some((reason, Some((_, column)))) => Self { reason: reason.to_owned(), column: column.trim().parse().ok() },
            _ => Self { reason: text, column: None },
        }
    }
}

pub(super) fn parse(text: &str) -> Result<Rule, Refusal> {
    if text.len() > LONGEST {
        return Err(Refusal { reason: format!("it is longer than {LONGEST} bytes"), column: None });
    }
    let mut parser = Parser::new(&GenericDialect {}).try_with_sql(text)?;
    if parser.peek_token_ref().token == Token::EOF {
        return Err(Refusal { reason: "it is empty".to_owned(), column: None });
    }
    let expression = parser.parse_expr()?;
    let next = parser.peek_token_ref();
    if next.token != Token::EOF {
        let reason = format!("`{}` cannot stand after `{expression}`", next.token);
        return Err(Refusal { reason, column: Some(next.span.start.column) });
    }
    rule(&expression, false)
}

/// A yes or no; `negated` when an odd number of `not`s stands before it.
fn rule(expression: &Expr, negated: bool) -> Result<Rule, Refusal> {
    match expression {
        Expr::Nested(inner) => rule(inner, negated),
        Expr::UnaryOp { op: UnaryOperator::Not, expr } => rule(expr, !negated),
        Expr::BinaryOp { left, op: BinaryOperator::And, right } => joined(left, right, negated, negated),
        Expr::BinaryOp { left, op: BinaryOperator::Or, right } => joined(left, right, !negated, negated),
        Expr::BinaryOp { left, op, right } => match order(op) {
            Some(order) => Ok(compared(figure(left)?, order, figure(right)?, negated)),
            None => Err(no_comparison(expression)),
        },
        Expr::Between { expr, negated: outside, low, high } => {
            let (middle, negated) = (figure(expr)?, negated != *outside);
            let low = compared(middle.clone(), Order::GreaterOrEqual, figure(low)?, negated);
            let high = compared(middle, Order::LessOrEqual, figure(high)?, negated);
            Ok(if negated { Rule::Any(vec![low, high]) } else { Rule::All(vec![low, high]) })
        }
        other => Err(no_comparison(other)),
    }
}

fn no_comparison(expression: &Expr) -> Refusal {
    Refusal::at(expression, format!("`{expression}` is not a comparison of metrics"))
}

/// `and` and `or` change places under a `not` (De Morgan), so that it ends in the comparisons: there a missing
/// figure must not turn into a yes.
fn joined(left: &Expr, right: &Expr, any: bool, negated: bool) -> Result<Rule, Refusal> {
    let (left, right) = (rule(left, negated)?, rule(right, negated)?);
    Ok(if any { Rule::Any(vec![left, right]) } else { Rule::All(vec![left, right]) })
}

fn compared(left: Figure, order: Order, right: Figure, negated: bool) -> Rule {
    let order = if negated { order.negated() } else { order };
    Rule::Compare(Comparison { left, order, right })
}

fn order(operator: &BinaryOperator) -> Option<Order> {
    Some(match operator {
        BinaryOperator::Lt => Order::Less,
        BinaryOperator::LtEq => Order::LessOrEqual,
        BinaryOperator::Gt => Order::Greater,
        BinaryOperator::GtEq => Order::GreaterOrEqual,
        BinaryOperator::Eq => Order::Equal,
        BinaryOperator::NotEq => Order::NotEqual,
        _ => return None,
    })
}

fn operation(operator: &BinaryOperator) -> Option<Operation> {
    Some(match operator {
        BinaryOperator::Plus => Operation::Add,
        BinaryOperator::Minus => Operation::Subtract,
        BinaryOperator::Multiply => Operation::Multiply,
        BinaryOperator::Divide => Operation::Divide,
        _ => return None,
    })
}

fn figure(expression: &Expr) -> Result<Figure, Refusal> {
    match expression {
        Expr::Nested(inner) => figure(inner),
        Expr::Identifier(name) => Ok(Figure::Metric(named(expression, name)?)),
        Expr::CompoundIdentifier(names) => incumbent(expression, names),
        Expr::Value(value) => match &value.value {
            Value::Number(digits, false) => number(expression, digits),
            Value::SingleQuotedString(text) => {
                let reason = format!("'{text}' is a text, not a number; put a metric's name in double quotes");
                Err(Refusal::at(expression, reason))
            }
            _ => Err(no_figure(expression)),
        },
        Expr::UnaryOp { op: UnaryOperator::Plus, expr } => figure(expr),
        Expr::UnaryOp { op: UnaryOperator::Minus, expr } => Ok(match figure(expr)? {
            Figure::Number(number) => Figure::Number(-number),
            Figure::Negative(figure) => *figure,
            other => Figure::Negative(Box::new(other)),
        }),
        Expr::BinaryOp { left, op, right } => {
            let operation = operation(op).ok_or_else(|| no_figure(expression))?;
            let (left, right) = (Box::new(figure(left)?), Box::new(figure(right)?));
            Ok(Figure::Arithmetic { left, operation, right })
        }
        other => Err(no_figure(other)),
    }
}

fn no_figure(expression: &Expr) -> Refusal {
    Refusal::at(expression, format!("`{expression}` is not a number, a metric or arithmetic with them"))
}

fn number(expression: &Expr, digits: &str) -> Result<Figure, Refusal> {
    match digits.parse::<f64>() {
        Ok(number) if number.is_finite() => Ok(Figure::Number(number)),
        _ => Err(Refusal::at(expression, format!("`{digits}` is not a number that can be compared"))),
    }
}

fn incumbent(expression: &Expr, names: &[Ident]) -> Result<Figure, Refusal> {
    let [alias, metric] = names else {
        let reason = format!("`{expression}` has more than one dot; put a metric's name in double quotes");
        return Err(Refusal::at(expression, reason));
    };
    let metric = named(expression, metric)?;
    match Alias::new(named(expression, alias)?) {
        Ok(alias) => Ok(Figure::Incumbent { alias, metric }),
        Err(error) => Err(Refusal::at(expression, error.to_string())),
    }
}

fn named(expression: &Expr, name: &Ident) -> Result<String, Refusal> {
    match name.quote_style {
        None | Some('"') if !name.value.is_empty() => Ok(name.value.clone()),
        _ => Err(Refusal::at(expression, format!("`{expression}` is not a name; use double quotes around odd ones"))),
    }
}
