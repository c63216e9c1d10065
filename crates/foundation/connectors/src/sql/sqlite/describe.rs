use std::collections::{BTreeMap, BTreeSet};

use arrow::datatypes::{DataType, Field, TimeUnit};
use futures::TryStreamExt as _;
use sqlx::sqlite::{SqliteColumn, SqliteConnection, SqliteRow};
use sqlx::{AssertSqlSafe, Column as _, Executor as _, SqlSafeStr as _, Statement as _};

use crate::cell::Cell;
use crate::column::ColumnBuilder;

use super::super::decimal_type;
use super::super::source::Described;
use super::decode::{self, Kind};

/// Rows that tell whether a column holds what its declaration says.
const SAMPLE: u64 = 1000;

const ZONED: &str = "timestamps that name a time zone are converted to UTC";

/// How the types of columns are told.
pub(super) struct Telling {
    /// Precision and scale of decimal columns, where the request has them.
    pub(super) decimals: BTreeMap<String, (u8, i8)>,
    /// Share of a column's values that may misfit its declaration.
    pub(super) tolerance: f64,
    /// Columns of which all rows are looked at.
    pub(super) whole: BTreeSet<String>,
    /// Those of them that stay text.
    pub(super) text: BTreeSet<String>,
}

/// The columns of `sql`.
pub(super) async fn describe(
    connection: &mut SqliteConnection,
    sql: &str,
    telling: &Telling,
) -> Result<Vec<Described<Kind>>, sqlx::Error> {
    let statement = (&mut *connection).prepare(AssertSqlSafe(sql).into_sql_str()).await?;
    let mut columns = Vec::with_capacity(statement.columns().len());
    for column in statement.columns() {
        let declared = declaration(connection, column).await?;
        columns.push(Looked::new(column.name(), declared, telling));
    }
    look(connection, sql, &mut columns).await?;
    Ok(columns.into_iter().map(|column| column.described(telling.tolerance)).collect())
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

    /// The type that holds them all, and what they are.
    fn mapped(self) -> (DataType, Kind, &'static str) {
        match self {
            Self::Nothing => (DataType::Utf8, Kind::Mixed, "no value"),
            Self::Integers => (DataType::Int64, Kind::Stored, "whole numbers"),
            Self::Numbers => (DataType::Float64, Kind::Stored, "numbers"),
            Self::Text => (DataType::Utf8, Kind::Mixed, "text"),
            Self::Bytes => (DataType::Binary, Kind::Stored, "bytes"),
            Self::Several => (DataType::Utf8, Kind::Mixed, "values of several types, each as text"),
        }
    }
}

/// What a declaration makes of a column.
struct Declared {
    text: String,
    field: Field,
    kind: Kind,
    note: Option<String>,
}

impl Declared {
    /// Whether a column of this type takes `cell`: asked of such a column, for it decides when the rows are read.
    fn holds(&self, cell: Cell<'_>) -> bool {
        let mut unfit = Vec::new();
        ColumnBuilder::new(&self.field).is_ok_and(|mut column| {
            column.push(cell, &mut unfit);
            unfit.is_empty()
        })
    }
}

/// A column of the query, and what its values are.
struct Looked {
    name: String,
    declared: Option<Declared>,
    whole: bool,
    text: bool,
    seen: Seen,
    /// Values that are not null.
    values: u64,
    /// Those that do not fit the declaration.
    misfits: u64,
    zoned: bool,
}

impl Looked {
    fn new(name: &str, declared: Option<String>, telling: &Telling) -> Self {
        let declared = declared.map(|text| {
            let (data_type, kind, note) = mapped(&text, telling.decimals.get(name).copied());
            Declared { text, field: Field::new(name, data_type, true), kind, note }
        });
        let whole = telling.whole.contains(name);
        let text = whole && telling.text.contains(name);
        let name = name.to_owned();
        Self { name, declared, whole, text, seen: Seen::default(), values: 0, misfits: 0, zoned: false }
    }

    fn add(&mut self, row: &SqliteRow, index: usize) {
        let stored = decode::cell(row, index, Kind::Stored);
        if matches!(stored, Cell::Null) {
            return;
        }
        self.values += 1;
        self.seen.add(&stored);
        let Some(declared) = &self.declared else { return };
        if let (Kind::Timestamp, Cell::Text(text)) = (declared.kind, &stored) {
            self.zoned |= decode::zoned(text).is_some();
        }
        self.misfits += u64::from(!declared.holds(decode::cell(row, index, declared.kind)));
    }

    fn described(self, tolerance: f64) -> Described<Kind> {
        let (data_type, kind, what) = self.seen.mapped();
        let place = if self.whole { "all rows".to_owned() } else { format!("the first {SAMPLE} rows") };
        let (data_type, kind, note) = match self.declared {
            Some(declared) if self.misfits as f64 <= tolerance * self.values as f64 => {
                let zoned = self.zoned.then(|| ZONED.to_owned());
                (declared.field.data_type().clone(), declared.kind, declared.note.or(zoned))
            }
            Some(Declared { text, .. }) => {
                let (misfits, values) = (self.misfits, self.values);
                let note = format!(
                    "declared as `{text}`, which {misfits} of {values} values of {place} do not fit; read by its \
                     values: {what}"
                );
                (data_type, kind, Some(note))
            }
            None => (data_type, kind, Some(format!("no declared type; {place} have {what}"))),
        };
        let (data_type, kind) = match data_type {
            // Those that misfit became ever fewer among all: what was text before is text still.
            DataType::Utf8 => (data_type, kind),
            _ if self.text && self.misfits > 0 => (DataType::Utf8, Kind::Mixed),
            _ => (data_type, kind),
        };
        Described { name: self.name, data_type, kind, note, as_text: false }
    }
}

/// Shows the columns the first rows, and all others to those that are to see all.
async fn look(connection: &mut SqliteConnection, sql: &str, columns: &mut [Looked]) -> Result<(), sqlx::Error> {
    let whole = columns.iter().any(|column| column.whole);
    let mut rows = sqlx::query(AssertSqlSafe(sql.to_owned())).fetch(connection);
    let mut count = 0;
    while (whole || count < SAMPLE)
        && let Some(row) = rows.try_next().await?
    {
        for (index, column) in columns.iter_mut().enumerate() {
            if column.whole || count < SAMPLE {
                column.add(&row, index);
            }
        }
        count += 1;
    }
    Ok(())
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

    fn looked(declared: &str, cells: &[Cell<'_>], tolerance: f64) -> Described<Kind> {
        let telling = Telling { decimals: BTreeMap::new(), tolerance, whole: BTreeSet::new(), text: BTreeSet::new() };
        let mut column = Looked::new("a", Some(declared.to_owned()), &telling);
        let declared = column.declared.as_ref().unwrap();
        let misfits = cells.iter().filter(|cell| !declared.holds((*cell).clone())).count() as u64;
        for cell in cells {
            column.seen.add(cell);
        }
        (column.values, column.misfits) = (cells.len() as u64, misfits);
        column.described(tolerance)
    }

    #[test]
    fn values_decide_where_they_do_not_fit_the_declaration() {
        let epochs = [Cell::Integer(1_700_000_000), Cell::Integer(1_700_000_001)];
        let found = looked("datetime", &epochs, 0.01);
        assert_eq!((found.data_type, found.kind), (DataType::Int64, Kind::Stored));
        assert!(found.note.unwrap().contains("`datetime`, which 2 of 2 values of the first 1000 rows"));
        let halves = [Cell::Integer(1), Cell::Float(1.5)];
        assert_eq!(looked("integer", &halves, 0.01).data_type, DataType::Float64);
        assert_eq!(looked("integer", &halves, 0.5).data_type, DataType::Int64, "as many as are accepted");
        let words = [Cell::text("t"), Cell::text("f")];
        assert_eq!(looked("boolean", &words, 0.01).data_type, DataType::Utf8);
        assert_eq!(looked("boolean", &[Cell::Integer(0), Cell::Integer(1)], 0.01).data_type, DataType::Boolean);
        assert_eq!(looked("boolean", &[], 0.01).data_type, DataType::Boolean, "an empty table");
    }
}
