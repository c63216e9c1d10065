use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, TimeUnit};
use sqlx::postgres::{PgColumn, PgConnection, PgTypeInfo, PgTypeKind};
use sqlx::{AssertSqlSafe, Column as _, Executor as _, SqlSafeStr as _, Statement as _, TypeInfo as _};

use super::super::decimal_type;
use super::super::source::Described;
use super::decode::Kind;

/// The columns of `sql`.
pub(super) async fn describe(
    connection: &mut PgConnection,
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
    connection: &mut PgConnection,
    column: &PgColumn,
    decimals: &BTreeMap<String, (u8, i8)>,
) -> Result<Described<Kind>, sqlx::Error> {
    let name = column.name().to_owned();
    let (mut kind, as_text) = match kind(column.type_info()) {
        Some(kind) => (kind, false),
        None => (Kind::Text, true),
    };
    let mut note =
        as_text.then(|| format!("{} as text, as the server writes it", column.type_info().name().to_lowercase()));
    let mut data_type = data_type(&kind);
    if kind == Kind::Numeric {
        let precision = match decimals.get(&name) {
            Some(declared) => Some(*declared),
            None => declared_precision(connection, column).await?,
        };
        if let Some(decimal) = precision.and_then(|(precision, scale)| decimal_type(precision, scale)) {
            data_type = decimal;
        } else {
            (kind, data_type) = (Kind::RoundedNumeric, DataType::Float64);
            let how = "as floats, which have some 15 digits; cast it to text in the query to keep all";
            note = Some(format!("numeric without a declared precision: {how}"));
        }
    }
    if matches!(&kind, Kind::Array(item) if **item == Kind::Numeric) {
        note = Some("array of numeric: exact, as text".to_owned());
    }
    Ok(Described { name, data_type, kind, note, as_text })
}

/// How a type is decoded; `None` for types that the server must make text.
fn kind(type_info: &PgTypeInfo) -> Option<Kind> {
    match type_info.kind() {
        PgTypeKind::Enum(_) => Some(Kind::Text),
        PgTypeKind::Domain(base) => kind(base),
        PgTypeKind::Array(item) => match kind(item)? {
            // Arrays of arrays are one type in PostgreSQL; a domain over an array inside an array is not.
            Kind::Array(_) => None,
            item => Some(Kind::Array(Box::new(item))),
        },
        PgTypeKind::Simple => simple(type_info.name()),
        _ => None,
    }
}

fn simple(name: &str) -> Option<Kind> {
    Some(match name {
        "BOOL" => Kind::Bool,
        "INT2" => Kind::Int2,
        "INT4" => Kind::Int4,
        "INT8" => Kind::Int8,
        "OID" => Kind::Oid,
        "FLOAT4" => Kind::Float4,
        "FLOAT8" => Kind::Float8,
        "NUMERIC" => Kind::Numeric,
        "TEXT" | "VARCHAR" | "CHAR" | "NAME" | "JSON" | "XML" | "UNKNOWN" => Kind::Text,
        "JSONB" => Kind::Jsonb,
        "BYTEA" => Kind::Bytea,
        "DATE" => Kind::Date,
        "TIME" => Kind::Time,
        "TIMESTAMP" => Kind::Timestamp,
        "TIMESTAMPTZ" => Kind::TimestampUtc,
        "UUID" => Kind::Uuid,
        _ => return None,
    })
}

fn data_type(kind: &Kind) -> DataType {
    match kind {
        Kind::Bool => DataType::Boolean,
        Kind::Int2 => DataType::Int16,
        Kind::Int4 => DataType::Int32,
        Kind::Int8 => DataType::Int64,
        Kind::Oid => DataType::UInt32,
        Kind::Float4 => DataType::Float32,
        Kind::Float8 | Kind::RoundedNumeric => DataType::Float64,
        Kind::Numeric | Kind::Text | Kind::Jsonb | Kind::Uuid => DataType::Utf8,
        Kind::Bytea => DataType::Binary,
        Kind::Date => DataType::Date32,
        Kind::Time => DataType::Time64(TimeUnit::Microsecond),
        Kind::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, None),
        Kind::TimestampUtc => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        Kind::Array(item) => DataType::List(Arc::new(Field::new("item", data_type(item), true))),
    }
}

/// Precision and scale of the table column that a numeric column is; none for an expression.
async fn declared_precision(connection: &mut PgConnection, column: &PgColumn) -> Result<Option<(u8, i8)>, sqlx::Error> {
    let (Some(relation), Some(attribute)) = (column.relation_id(), column.relation_attribute_no()) else {
        return Ok(None);
    };
    let modifier: Option<i32> = sqlx::query_scalar(
        "SELECT CASE WHEN t.typtype = 'd' THEN t.typtypmod ELSE a.atttypmod END \
         FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_type t ON t.oid = a.atttypid \
         WHERE a.attrelid = $1 AND a.attnum = $2",
    )
    .bind(relation)
    .bind(attribute)
    .fetch_optional(connection)
    .await?;
    Ok(modifier.and_then(precision_of))
}

/// The typmod of numeric, as `numeric.c` packs it: 4 + (precision << 16 | scale in 11 bits, two's complement).
fn precision_of(modifier: i32) -> Option<(u8, i8)> {
    let packed = modifier.checked_sub(4).filter(|packed| *packed >= 0)?;
    let precision = (packed >> 16) & 0xffff;
    let scale = ((packed & 0x7ff) ^ 1024) - 1024;
    Some((u8::try_from(precision).ok()?, i8::try_from(scale).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numeric_modifiers() {
        assert_eq!(precision_of(4 + (10 << 16) + 2), Some((10, 2)));
        assert_eq!(precision_of(4 + (5 << 16) + (2048 - 3)), Some((5, -3)));
        assert_eq!(precision_of(-1), None);
        assert_eq!(precision_of(4 + (1000 << 16)), None);
    }
}
