use crate::{ConnectorError, redacted};

const KNOWN: &str = "`postgres://`, `postgresql://`, `mysql://`, `mariadb://` and `sqlite:PATH`";

/// Which SQL a database speaks, as far as this crate writes any itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dialect {
    Postgres,
    Mysql,
    Sqlite,
}

/// What the values of a column are, as far as comparing with a bound goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Comparable {
    Integer,
    Unsigned,
    Decimal,
    Float,
    Date,
    Timestamp,
    TimestampUtc,
    Text,
}

impl Dialect {
    pub(super) fn of(url: &str) -> Result<Self, ConnectorError> {
        match url.split_once(':').map(|(scheme, _)| scheme) {
            Some("postgres" | "postgresql") => Ok(Self::Postgres),
            Some("mysql" | "mariadb") => Ok(Self::Mysql),
            Some("sqlite") => Ok(Self::Sqlite),
            _ => Err(ConnectorError::UnknownScheme { url: redacted(url), known: KNOWN }),
        }
    }

    /// `name` as an identifier that means just this name.
    pub(super) fn quoted(self, name: &str) -> String {
        let quote = if self == Self::Mysql { '`' } else { '"' };
        let doubled = name.replace(quote, &format!("{quote}{quote}"));
        format!("{quote}{doubled}{quote}")
    }

    /// The parameter `number`, counted from 1 and given as text, as a value of type `kind`.
    ///
    /// Text is exact for every type, and the server knows best how to read its own.
    pub(super) fn parameter(self, number: usize, kind: Comparable) -> String {
        match self {
            Self::Postgres => {
                let name = match kind {
                    Comparable::Integer => "bigint",
                    Comparable::Unsigned | Comparable::Decimal => "numeric",
                    Comparable::Float => "double precision",
                    Comparable::Date => "date",
                    Comparable::Timestamp => "timestamp",
                    Comparable::TimestampUtc => "timestamptz",
                    Comparable::Text => "text",
                };
                format!("${number}::text::{name}")
            }
            Self::Mysql => match kind {
                Comparable::Integer => "CAST(? AS SIGNED)".to_owned(),
                Comparable::Unsigned => "CAST(? AS UNSIGNED)".to_owned(),
                Comparable::Decimal => "CAST(? AS DECIMAL(65, 30))".to_owned(),
                Comparable::Float => "(? + 0E0)".to_owned(),
                Comparable::Date => "CAST(? AS DATE)".to_owned(),
                Comparable::Timestamp | Comparable::TimestampUtc => "CAST(? AS DATETIME(6))".to_owned(),
                // A bare parameter takes the column's collation.
                Comparable::Text => "?".to_owned(),
            },
            Self::Sqlite => match kind {
                Comparable::Integer | Comparable::Unsigned => "CAST(? AS INTEGER)".to_owned(),
                Comparable::Decimal => "CAST(? AS NUMERIC)".to_owned(),
                Comparable::Float => "CAST(? AS REAL)".to_owned(),
                Comparable::Date | Comparable::Timestamp | Comparable::TimestampUtc | Comparable::Text => {
                    "CAST(? AS TEXT)".to_owned()
                }
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cannot_escape_their_quotes() {
        assert_eq!(Dialect::Postgres.quoted("a\" OR \"b"), "\"a\"\" OR \"\"b\"");
        assert_eq!(Dialect::Mysql.quoted("a`b"), "`a``b`");
        assert_eq!(Dialect::Sqlite.quoted("größe"), "\"größe\"");
    }

    #[test]
    fn schemes() {
        assert_eq!(Dialect::of("mariadb://h/x").unwrap(), Dialect::Mysql);
        let error = Dialect::of("oracle://u:secret@h/x").unwrap_err().to_string();
        assert!(error.contains("sqlite:PATH") && !error.contains("secret"), "{error}");
    }
}
