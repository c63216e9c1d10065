use ropewalk_catalog::{Dialect, Query, Value, query};

use super::{Comparison, Literal, Operator};

/// A statement that grows with its values, for either dialect. No text of a caller's user becomes a part of it.
#[derive(Debug)]
pub struct SqlBuilder {
    dialect: Dialect,
    text: String,
    values: Vec<Value>,
}

impl SqlBuilder {
    /// An empty statement.
    pub fn new(dialect: Dialect) -> Self {
        Self { dialect, text: String::with_capacity(512), values: Vec::new() }
    }

    /// The dialect that it is for.
    pub fn dialect(&self) -> Dialect {
        self.dialect
    }

    /// Appends `sql` as it is.
    pub fn push(&mut self, sql: &str) -> &mut Self {
        self.text.push_str(sql);
        self
    }

    /// Appends a placeholder for `value`.
    pub fn bind(&mut self, value: impl Into<Value>) -> &mut Self {
        self.values.push(value.into());
        let placeholder = format!("${}", self.values.len());
        self.push(&placeholder)
    }

    /// Appends `($1, $2)`; of no values `(NULL)`, in which nothing is.
    pub fn bind_list<V: Into<Value>>(&mut self, values: impl IntoIterator<Item = V>) -> &mut Self {
        self.push("(");
        let first = self.values.len();
        for value in values {
            if self.values.len() > first {
                self.push(", ");
            }
            self.bind(value);
        }
        if self.values.len() == first {
            self.push("NULL");
        }
        self.push(")")
    }

    /// Appends the comparison of an SQL expression with a literal.
    ///
    /// `LIKE` and `ILIKE` have no escape character; `ILIKE` folds ASCII letters only, on both dialects. `RLIKE` needs
    /// a function `regexp` on SQLite.
    pub fn compare(&mut self, column: &str, operator: Operator, value: &Literal) -> &mut Self {
        match operator {
            Operator::IsNull | Operator::IsNotNull => self.push(column).push(" ").push(operator.sql()),
            Operator::In | Operator::NotIn => {
                self.push(column).push(" ").push(operator.sql()).push(" ").bind_list(value.list())
            }
            Operator::Like => self.push(column).push(" LIKE ").literal(value).without_escape(),
            Operator::Ilike => {
                let pattern = value.text().unwrap_or_default().to_ascii_lowercase();
                self.push("LOWER(").push(column).push(") LIKE ").bind(pattern).without_escape()
            }
            Operator::Rlike => {
                let operator = if self.dialect == Dialect::Postgres { " ~ " } else { " REGEXP " };
                self.push(column).push(operator).literal(value)
            }
            _ => self.push(column).push(" ").push(operator.sql()).push(" ").literal(value),
        }
    }

    /// Appends a comparison of a filter, its key being the SQL expression `column`.
    pub fn condition(&mut self, column: &str, comparison: &Comparison) -> &mut Self {
        self.compare(column, comparison.operator, &comparison.value)
    }

    /// The statement so far.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The statement with its values.
    pub fn query(self) -> Query {
        self.values.into_iter().fold(query(self.text), Query::bind)
    }

    fn literal(&mut self, value: &Literal) -> &mut Self {
        match value {
            Literal::Text(text) => self.bind(text.as_str()),
            Literal::Integer(integer) => self.bind(*integer),
            Literal::Number(number) => self.bind(*number),
            Literal::List(texts) => self.bind(texts.first().map_or("", String::as_str)),
            Literal::Absent => self.push("NULL"),
        }
    }

    /// PostgreSQL takes a backslash for an escape unless told otherwise; SQLite has none, and no way to say so.
    fn without_escape(&mut self) -> &mut Self {
        if self.dialect == Dialect::Postgres { self.push(" ESCAPE ''") } else { self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn built(dialect: Dialect, operator: Operator, value: &Literal) -> String {
        let mut builder = SqlBuilder::new(dialect);
        builder.push("x = ").bind(1_i64).push(" AND ").compare("v", operator, value);
        builder.text().to_owned()
    }

    #[test]
    fn operators_in_both_dialects() {
        let text = Literal::Text("A%".to_owned());
        let list = Literal::List(vec!["a".to_owned(), "b".to_owned()]);
        for (operator, value, sqlite, postgres) in [
            (Operator::Equal, &text, "v = $2", "v = $2"),
            (Operator::GreaterEqual, &Literal::Number(0.5), "v >= $2", "v >= $2"),
            (Operator::Like, &text, "v LIKE $2", "v LIKE $2 ESCAPE ''"),
            (Operator::Ilike, &text, "LOWER(v) LIKE $2", "LOWER(v) LIKE $2 ESCAPE ''"),
            (Operator::Rlike, &text, "v REGEXP $2", "v ~ $2"),
            (Operator::In, &text, "v IN ($2)", "v IN ($2)"),
            (Operator::NotIn, &list, "v NOT IN ($2, $3)", "v NOT IN ($2, $3)"),
            (Operator::IsNull, &Literal::Absent, "v IS NULL", "v IS NULL"),
        ] {
            assert_eq!(built(Dialect::Sqlite, operator, value), format!("x = $1 AND {sqlite}"));
            assert_eq!(built(Dialect::Postgres, operator, value), format!("x = $1 AND {postgres}"));
        }
    }
}
