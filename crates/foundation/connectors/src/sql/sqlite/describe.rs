use std::collections::BTreeMap;

use arrow::datatypes::{DataType, TimeUnit};
use futures::TryStreamExt as _;
use sqlx::sqlite::{SqliteColumn, SqliteConnection};
use sqlx::{AssertSqlSafe, Column as _, Executor as _, SqlSafeStr as _, Statement as _};

use crate::cell::Cell;

use super::super::decimal_type;
use super::super::source::Described;
use super::decode::{self, Kind};

/// Rows from which columns without a declaration get their type.
const SAMPLE: usize = 1000;

/// The columns of `sql`.
pub(super) async fn describe(
    connection: &mut SqliteConnection,
    sql: &str,
    decimals: &BTreeMap<String, (u8, i8)>,
) -> Result<Vec<Described<Kind>>, sqlx::Error> {
    let statement = (&mut *connection).prepare(AssertSqlSafe(sql).into_sql_str()).await?;
    let mut described = Vec::with_capacity(statement.columns().len());
    for column in statement.columns() {
        let declared = declaration(connection, column).await?;
        described.push((column.name().to_owned(), declared));
    }
    let sampled = if described.iter().any(|(_, declared)| declared.is_none()) {
        sample(connection, sql, described.len()).await?
    } else {
        Vec::new()
    };
    let columns = described.into_iter().enumerate().map(|(index, (name, declared))| {
        let (data_type, kind, note) = match (declared, sampled.get(index)) {
            (Some(declared), _) => mapped(&declared, decimals.get(&name).copied()),
            (None, seen) => seen.copied().unwrap_or_default().mapped(),
        };
        Described { name, data_type, kind, note, as_text: false }
    });
    Ok(columns.collect())
}

/// The type with which a table column was declared, in lower case; none for an expression or no type.
async fn declaration(connection: &mut SqliteConnection, column: &SqliteColumn) -> Result<Option<String>, sqlx::Error> {
    let origin = column.origin();
    let Some(origin) = origin.table_column() else { return Ok(None) };
    let declared: Option<String> = sqlx::query_scalar("SELECT type FROM pragma_table_xinfo(?) WHERE name = ?")
        .bind(&*origin.table)
        .bind(&*origin.name)
        .fetch_optional(connection)
        .await?;
    Ok(declared.map(|declared| declared.to_ascii_lowercase()).filter(|declared| !declared.trim().is_empty()))
}

/// The names of types that mean more than their affinity, then the rules of <https://sqlite.org/datatype3.html#affname>.
fn mapped(declared: &str, decimal: Option<(u8, i8)>) -> (DataType, Kind, Option<String>) {
    let (name, arguments) = match declared.split_once('(') {
        Some((name, rest)) => (name.trim(), rest.split(')').next()),
        None => (declared.trim(), None),
    };
    let has = |part: &str| name.contains(part);
    match name {
        "boolean" | "bool" => (DataType::Boolean, Kind::Stored, None),
        "date" => (DataType::Date32, Kind::Date, None),
        "time" => (DataType::Time64(TimeUnit::Microsecond), Kind::Time, None),
        "datetime" | "timestamp" => (DataType::Timestamp(TimeUnit::Microsecond, None), Kind::Timestamp, None),
        _ if has("int") => (DataType::Int64, Kind::Stored, None),
        _ if has("char") || has("clob") || has("text") => (DataType::Utf8, Kind::Stored, None),
        _ if has("blob") => (DataType::Binary, Kind::Stored, None),
        _ if has("real") || has("floa") || has("doub") => (DataType::Float64, Kind::Stored, None),
        "decimal" | "numeric" => {
            match decimal.or_else(|| precision(arguments?)).and_then(|(p, s)| decimal_type(p, s)) {
                Some(data_type) => (data_type, Kind::Decimal, None),
                None => {
                    (DataType::Float64, Kind::Stored, Some(format!("{name} without a precision: as SQLite stores it")))
                }
            }
        }
        _ => {
            let note = format!("the type `{declared}` says nothing about its values: each as text");
            (DataType::Utf8, Kind::Mixed, Some(note))
        }
    }
}

fn precision(arguments: &str) -> Option<(u8, i8)> {
    let (precision, scale) = arguments.split_once(',').unwrap_or((arguments, "0"));
    Some((precision.trim().parse().ok()?, scale.trim().parse().ok()?))
}

/// Which types of values a column without a declaration showed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Seen {
    #[default]
    Nothing,
    Integers,
    /// Of which one is not whole.
    Numbers,
    Text,
    Bytes,
    Several,
}

impl Seen {
    fn add(&mut self, cell: &Cell<'_>) {
        let kind = match cell {
            Cell::Integer(_) => Self::Integers,
            Cell::Float(_) => Self::Numbers,
            Cell::Text(_) | Cell::Misfit(..) => Self::Text,
            Cell::Binary(..) => Self::Bytes,
            _ => return,
        };
        *self = match (*self, kind) {
            (Self::Nothing, kind) => kind,
            (Self::Integers, Self::Numbers) | (Self::Numbers, Self::Integers) => Self::Numbers,
            (seen, kind) if seen == kind => seen,
            _ => Self::Several,
        };
    }

    fn mapped(self) -> (DataType, Kind, Option<String>) {
        let (data_type, kind, what) = match self {
            Self::Nothing => (DataType::Utf8, Kind::Mixed, "no value"),
            Self::Integers => (DataType::Int64, Kind::Stored, "whole numbers"),
            Self::Numbers => (DataType::Float64, Kind::Stored, "numbers"),
            Self::Text => (DataType::Utf8, Kind::Mixed, "text"),
            Self::Bytes => (DataType::Binary, Kind::Stored, "bytes"),
            Self::Several => (DataType::Utf8, Kind::Mixed, "several types, each as text,"),
        };
        (data_type, kind, Some(format!("no declared type: {what} in the first {SAMPLE} rows")))
    }
}

async fn sample(connection: &mut SqliteConnection, sql: &str, columns: usize) -> Result<Vec<Seen>, sqlx::Error> {
    let mut seen = vec![Seen::default(); columns];
    let mut rows = sqlx::query(AssertSqlSafe(sql.to_owned())).fetch(connection);
    let mut count = 0;
    while count < SAMPLE
        && let Some(row) = rows.try_next().await?
    {
        for (index, seen) in seen.iter_mut().enumerate() {
            seen.add(&decode::cell(&row, index, Kind::Stored));
        }
        count += 1;
    }
    Ok(seen)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn declarations_decide() {
        for (declared, data_type) in [
            ("integer", DataType::Int64),
            ("unsigned big int", DataType::Int64),
            ("varchar(20)", DataType::Utf8),
            ("double precision", DataType::Float64),
            ("decimal(10,2)", DataType::Decimal128(10, 2)),
            ("numeric(40, 5)", DataType::Decimal256(40, 5)),
            ("numeric", DataType::Float64),
            ("boolean", DataType::Boolean),
            ("datetime", DataType::Timestamp(TimeUnit::Microsecond, None)),
            ("point", DataType::Int64),
            ("json", DataType::Utf8),
        ] {
            assert_eq!(mapped(declared, None).0, data_type, "{declared}");
        }
        assert_eq!(mapped("numeric", Some((8, 3))).0, DataType::Decimal128(8, 3));
        assert!(mapped("json", None).2.is_some());
    }
}
