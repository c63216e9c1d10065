use crate::{ConnectorError, redacted};

const KNOWN: &str = "`postgres://`, `postgresql://`, `mysql://`, `mariadb://` and `sqlite:PATH`";

/// What ends the text of a moment in UTC, for PostgreSQL.
pub(super) const UTC: &str = "+00";

/// Digits after the point that MySQL and MariaDB know.
const MOST_SCALE: usize = 30;

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

    /// What ends the text of a moment in UTC.
    ///
    /// MySQL takes `+00:00` only, and since 8.0.19: `+00` makes the cast null there, and MariaDB cuts both off with a
    /// warning. Their session is in UTC, so nothing has to be said.
    pub(super) fn utc(self) -> &'static str {
        if self == Self::Mysql { "" } else { UTC }
    }

    /// `value` as the text that is sent for it: cursors that an earlier version recorded end with `+00` everywhere.
    pub(super) fn sent(self, kind: Comparable, value: &str) -> &str {
        match (self, kind) {
            (Self::Mysql, Comparable::TimestampUtc) => value.strip_suffix(UTC).unwrap_or(value),
            _ => value,
        }
    }

    /// The parameter `number`, counted from 1 and given as the text `value`, as a value of type `kind`.
    ///
    /// Text is exact for every type, and the server knows best how to read its own.
    pub(super) fn parameter(self, number: usize, kind: Comparable, value: &str) -> String {
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
                // A larger scale would leave fewer digits before the point, and a number with more is cut to nines.
                Comparable::Decimal => {
                    let scale = value.split_once('.').map_or(0, |(_, fraction)| fraction.len()).min(MOST_SCALE);
                    format!("CAST(? AS DECIMAL(65, {scale}))")
                }
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
    fn each_dialect_has_casts_of_its_own() {
        let casts = |kind, value| {
            [Dialect::Postgres, Dialect::Mysql, Dialect::Sqlite].map(|dialect| dialect.parameter(1, kind, value))
        };
        let moment = "2024-01-01 00:00:00.000000";
        assert_eq!(
            casts(Comparable::TimestampUtc, moment),
            ["$1::text::timestamptz", "CAST(? AS DATETIME(6))", "CAST(? AS TEXT)"]
        );
        assert_eq!(
            casts(Comparable::Decimal, "-12.50"),
            ["$1::text::numeric", "CAST(? AS DECIMAL(65, 2))", "CAST(? AS NUMERIC)"]
        );
        let (long, many) = ("9".repeat(65), format!("0.{}", "1".repeat(40)));
        assert_eq!(Dialect::Mysql.parameter(1, Comparable::Decimal, &long), "CAST(? AS DECIMAL(65, 0))");
        assert_eq!(Dialect::Mysql.parameter(1, Comparable::Decimal, &many), "CAST(? AS DECIMAL(65, 30))");
        assert_eq!(casts(Comparable::Unsigned, "1")[1], "CAST(? AS UNSIGNED)");
    }

    #[test]
    fn mysql_is_never_sent_a_zone() {
        let recorded = "2024-01-01 00:00:00.000000+00";
        let sent = |dialect: Dialect| dialect.sent(Comparable::TimestampUtc, recorded);
        assert_eq!(sent(Dialect::Mysql), "2024-01-01 00:00:00.000000");
        assert_eq!(sent(Dialect::Postgres), recorded);
        assert_eq!(Dialect::Mysql.sent(Comparable::Text, "a+00"), "a+00");
        assert_eq!((Dialect::Mysql.utc(), Dialect::Postgres.utc()), ("", "+00"));
    }

    #[test]
    fn schemes() {
        assert_eq!(Dialect::of("mariadb://h/x").unwrap(), Dialect::Mysql);
        let error = Dialect::of("oracle://u:secret@h/x").unwrap_err().to_string();
        assert!(error.contains("sqlite:PATH") && !error.contains("secret"), "{error}");
    }
}
