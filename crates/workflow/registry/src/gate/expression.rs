use std::collections::BTreeSet;
use std::fmt;

use ropewalk_types::Alias;

/// Comparisons joined; every `not` is already worked into them.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Rule {
    Compare(Comparison),
    All(Vec<Rule>),
    Any(Vec<Rule>),
}

impl Rule {
    pub(super) fn visit<'a>(&'a self, see: &mut impl FnMut(&'a Comparison)) {
        match self {
            Self::Compare(comparison) => see(comparison),
            Self::All(rules) | Self::Any(rules) => rules.iter().for_each(|rule| rule.visit(see)),
        }
    }
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Comparison {
    pub(super) left: Figure,
    pub(super) order: Order,
    pub(super) right: Figure,
}

impl Comparison {
    pub(super) fn aliases(&self, aliases: &mut BTreeSet<Alias>) {
        self.left.aliases(aliases);
        self.right.aliases(aliases);
    }
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.left, self.order.as_str(), self.right)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    Equal,
    NotEqual,
}

impl Order {
    pub(super) fn negated(self) -> Self {
        match self {
            Self::Less => Self::GreaterOrEqual,
            Self::LessOrEqual => Self::Greater,
            Self::Greater => Self::LessOrEqual,
            Self::GreaterOrEqual => Self::Less,
            Self::Equal => Self::NotEqual,
            Self::NotEqual => Self::Equal,
        }
    }

    /// Neither figure is NaN.
    #[expect(clippy::float_cmp, reason = "a gate that asks for equality means it")]
    pub(super) fn holds(self, left: f64, right: f64) -> bool {
        match self {
            Self::Less => left < right,
            Self::LessOrEqual => left <= right,
            Self::Greater => left > right,
            Self::GreaterOrEqual => left >= right,
            Self::Equal => left == right,
            Self::NotEqual => left != right,
        }
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::Less => "<",
            Self::LessOrEqual => "<=",
            Self::Greater => ">",
            Self::GreaterOrEqual => ">=",
            Self::Equal => "=",
            Self::NotEqual => "<>",
        }
    }
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Figure {
    Number(f64),
    Metric(String),
    Incumbent { alias: Alias, metric: String },
    Negative(Box<Figure>),
    Arithmetic { left: Box<Figure>, operation: Operation, right: Box<Figure> },
}

impl Figure {
    fn aliases(&self, aliases: &mut BTreeSet<Alias>) {
        match self {
            Self::Number(_) | Self::Metric(_) => {}
            Self::Incumbent { alias, .. } => {
                aliases.insert(alias.clone());
            }
            Self::Negative(figure) => figure.aliases(aliases),
            Self::Arithmetic { left, right, .. } => {
                left.aliases(aliases);
                right.aliases(aliases);
            }
        }
    }
}

impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => number.fmt(f),
            Self::Metric(metric) => f.write_str(&quoted(metric)),
            Self::Incumbent { alias, metric } => write!(f, "{}.{}", quoted(alias.as_str()), quoted(metric)),
            Self::Negative(figure) if matches!(**figure, Self::Arithmetic { .. }) => write!(f, "-({figure})"),
            Self::Negative(figure) => write!(f, "-{figure}"),
            Self::Arithmetic { left, operation, right } => {
                operand(f, left, |inner| operation.binds() > inner.binds())?;
                write!(f, " {} ", operation.as_str())?;
                operand(f, right, |inner| operation.binds() >= inner.binds())
            }
        }
    }
}

/// In parentheses where it would else be read otherwise.
fn operand(f: &mut fmt::Formatter<'_>, figure: &Figure, enclosed: impl Fn(Operation) -> bool) -> fmt::Result {
    match figure {
        Figure::Arithmetic { operation, .. } if enclosed(*operation) => write!(f, "({figure})"),
        other => write!(f, "{other}"),
    }
}

fn quoted(name: &str) -> String {
    let plain = !name.starts_with(|c: char| c.is_ascii_digit())
        && !name.is_empty()
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    if plain { name.to_owned() } else { format!("\"{}\"", name.replace('"', "\"\"")) }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operation {
    Add,
    Subtract,
    Multiply,
    Divide,
}

impl Operation {
    pub(super) fn apply(self, left: f64, right: f64) -> f64 {
        match self {
            Self::Add => left + right,
            Self::Subtract => left - right,
            Self::Multiply => left * right,
            Self::Divide => left / right,
        }
    }

    fn binds(self) -> u8 {
        match self {
            Self::Add | Self::Subtract => 1,
            Self::Multiply | Self::Divide => 2,
        }
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::Add => "+",
            Self::Subtract => "-",
            Self::Multiply => "*",
            Self::Divide => "/",
        }
    }
}
