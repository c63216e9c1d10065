use std::collections::BTreeMap;

use arrow::datatypes::{DataType, TimeUnit};
use sqlx::mysql::{MySql, MySqlColumn, MySqlConnection, MySqlTypeInfo};
use sqlx::{AssertSqlSafe, Column as _, Executor as _, SqlSafeStr as _, Statement as _, Type, TypeInfo as _};

use super::super::decimal_type;
use super::super::source::Described;
use super::decode::Kind;

/// The columns of `sql`.
pub(super) async fn describe(
    connection: &mut MySqlConnection,
    sql: &str,
    decimals: &BTreeMap<String, (u8, i8)>,
) -> Result<Vec<Described<Kind>>, sqlx::Error> {
    let statement = (&mut *connection).prepare(AssertSqlSafe(sql).into_sql_str()).await?;
    let mut described = Vec::with_capacity(statement.columns().len());
    for column in statement.columns() {
        described.push(describe_column(connection, column, decimals).await?);
    }
    Ok(described)
}

async fn describe_column(
    connection: &mut MySqlConnection,
    column: &MySqlColumn,
    decimals: &BTreeMap<String, (u8, i8)>,
) -> Result<Described<Kind>, sqlx::Error> {
    let name = column.name().to_owned();
    let (mut kind, mut data_type, mut note) = mapped(column.type_info());
    if kind == Kind::Decimal {
        let precision = match decimals.get(&name) {
            Some(declared) => Some(*declared),
            None => declared_precision(connection, column).await?,
        };
        if let Some(decimal) = precision.and_then(|(precision, scale)| decimal_type(precision, scale)) {
            data_type = decimal;
        } else {
            (kind, data_type) = (Kind::RoundedDecimal, DataType::Float64);
            note = Some(
                "decimal of an expression: as floats, which have some 15 digits; cast it to CHAR in the query \
                     to keep all",
            );
        }
    }
    Ok(Described { name, data_type, kind, note: note.map(str::to_owned), as_text: false })
}

fn mapped(type_info: &MySqlTypeInfo) -> (Kind, DataType, Option<&'static str>) {
    let (kind, data_type) = match type_info.name() {
        // The driver calls every `tinyint(1)` BOOLEAN, which holds -128 to 127 all the same.
        "BOOLEAN" | "TINYINT" => (Kind::Signed, DataType::Int8),
        "SMALLINT" => (Kind::Signed, DataType::Int16),
        "MEDIUMINT" | "INT" => (Kind::Signed, DataType::Int32),
        "BIGINT" => (Kind::Signed, DataType::Int64),
        "TINYINT UNSIGNED" => (Kind::Unsigned, DataType::UInt8),
        "SMALLINT UNSIGNED" | "YEAR" => (Kind::Unsigned, DataType::UInt16),
        "MEDIUMINT UNSIGNED" | "INT UNSIGNED" => (Kind::Unsigned, DataType::UInt32),
        "BIGINT UNSIGNED" => (Kind::Unsigned, DataType::UInt64),
        "BIT" => (Kind::Bits, DataType::UInt64),
        "FLOAT" => (Kind::Float, DataType::Float32),
        "DOUBLE" => (Kind::Double, DataType::Float64),
        "DECIMAL" => (Kind::Decimal, DataType::Utf8),
        "DATE" => (Kind::Date, DataType::Date32),
        "TIME" => (Kind::Time, DataType::Time64(TimeUnit::Microsecond)),
        "DATETIME" => (Kind::Timestamp, DataType::Timestamp(TimeUnit::Microsecond, None)),
        "TIMESTAMP" => (Kind::Timestamp, DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))),
        "ENUM" | "SET" => (Kind::Text, DataType::Utf8),
        "JSON" => (Kind::Json, DataType::Utf8),
        "NULL" => return (Kind::Text, DataType::Utf8, Some("NULL in every row: no type, kept as text")),
        "GEOMETRY" => {
            return (Kind::Bytes, DataType::Binary, Some("geometry: its SRID in four bytes, then well-known binary"));
        }
        // The name of the type says BINARY for a `_bin` collation too; only the character set tells bytes from text.
        _ if <String as Type<MySql>>::compatible(type_info) => (Kind::Text, DataType::Utf8),
        _ => (Kind::Bytes, DataType::Binary),
    };
    (kind, data_type, None)
}

/// Precision and scale of the table column that a decimal column is; none for an expression.
async fn declared_precision(
    connection: &mut MySqlConnection,
    column: &MySqlColumn,
) -> Result<Option<(u8, i8)>, sqlx::Error> {
    let origin = column.origin();
    let Some((schema, table, name)) = origin.table_column().and_then(|origin| {
        let (schema, table) = origin.table.split_once('.')?;
        Some((schema, table, &*origin.name))
    }) else {
        return Ok(None);
    };
    let found: Option<(Option<u64>, Option<u64>)> = sqlx::query_as(
        "SELECT CAST(numeric_precision AS UNSIGNED), CAST(numeric_scale AS UNSIGNED) \
         FROM information_schema.columns WHERE table_schema = ? AND table_name = ? AND column_name = ?",
    )
    .bind(schema)
    .bind(table)
    .bind(name)
    .fetch_optional(connection)
    .await?;
    Ok(found.and_then(|(precision, scale)| Some((u8::try_from(precision?).ok()?, i8::try_from(scale?).ok()?))))
}
