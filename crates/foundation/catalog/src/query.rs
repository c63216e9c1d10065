use std::borrow::Cow;

use futures::TryStreamExt as _;
use rusqlite::types::{ToSqlOutput, ValueRef};
use sqlx::postgres::PgArguments;
use sqlx::{Arguments as _, AssertSqlSafe, Postgres};

use crate::connection::Kind;
use crate::value::Inner;
use crate::{Catalog, CatalogError, Connection, FromRow, Row, Value};

/// Rows that one statement of PostgreSQL takes at most.
const CHUNK: usize = 8_192;

/// Most placeholders of a statement that is kept, prepared, for the next time.
const KEPT: usize = 1_024;

/// One statement and what is bound to it.
#[derive(Clone, Debug)]
#[must_use = "a statement does nothing until it is executed or fetched"]
pub struct Query {
    sql: Cow<'static, str>,
    values: Vec<Value>,
}

/// A statement with placeholders `$1`, `$2` …, which may come in any order and more than once.
pub fn query(sql: impl Into<Cow<'static, str>>) -> Query {
    Query { sql: sql.into(), values: Vec::new() }
}

/// Executes several statements, parted by semicolons, without parameters.
pub async fn execute_script(connection: &mut Connection, sql: &str) -> Result<(), CatalogError> {
    match &mut connection.kind {
        Kind::Sqlite(file) => file.connection.execute_batch(sql)?,
        Kind::Postgres(connection) => {
            sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut **connection).await?;
        }
    }
    Ok(())
}

impl Query {
    /// Binds the next placeholder.
    pub fn bind(mut self, value: impl Into<Value>) -> Self {
        self.values.push(value.into());
        self
    }

    /// Whether there are so many placeholders that the statement will hardly come again: it is not kept, since a few
    /// hundred such would fill the memory.
    fn is_long(&self) -> bool {
        self.values.len() > KEPT
    }

    /// Runs the statement on a file, with everything bound.
    fn in_file<T>(
        &self,
        connection: &rusqlite::Connection,
        run: impl FnOnce(&mut rusqlite::Statement<'_>) -> Result<T, CatalogError>,
    ) -> Result<T, CatalogError> {
        let sql = numbered(&self.sql);
        if self.is_long() {
            let mut statement = connection.prepare(&sql)?;
            bind(&mut statement, &self.values)?;
            return run(&mut statement);
        }
        let mut statement = connection.prepare_cached(&sql)?;
        bind(&mut statement, &self.values)?;
        run(&mut statement)
    }

    /// The statement for a server, with everything bound.
    fn on_server(self) -> Result<sqlx::query::Query<'static, Postgres, PgArguments>, CatalogError> {
        let kept = !self.is_long();
        let arguments = arguments(self.values)?;
        Ok(sqlx::query_with(AssertSqlSafe(self.sql.into_owned()), arguments).persistent(kept))
    }

    /// Executes the statement; says how many rows it changed.
    pub async fn execute(self, connection: &mut Connection) -> Result<u64, CatalogError> {
        nul_check(&self.values)?;
        match &mut connection.kind {
            Kind::Sqlite(file) => self.in_file(&file.connection, |statement| {
                let mut rows = statement.raw_query();
                while rows.next()?.is_some() {}
                drop(rows);
                Ok(if statement.readonly() { 0 } else { file.connection.changes() })
            }),
            Kind::Postgres(connection) => Ok(self.on_server()?.execute(&mut **connection).await?.rows_affected()),
        }
    }

    /// Gives each row to `each`, in order, without keeping any.
    pub async fn for_each<F>(self, connection: &mut Connection, mut each: F) -> Result<(), CatalogError>
    where
        F: FnMut(&Row<'_>) -> Result<(), CatalogError> + Send,
    {
        nul_check(&self.values)?;
        match &mut connection.kind {
            Kind::Sqlite(file) => self.in_file(&file.connection, |statement| {
                let mut rows = statement.raw_query();
                while let Some(row) = rows.next()? {
                    each(&Row(Inner::Sqlite(row)))?;
                }
                Ok(())
            }),
            Kind::Postgres(connection) => {
                let mut rows = self.on_server()?.fetch(&mut **connection);
                while let Some(row) = rows.try_next().await? {
                    each(&Row(Inner::Postgres(&row)))?;
                }
                Ok(())
            }
        }
    }

    /// All rows.
    pub async fn fetch_all<R: FromRow>(self, connection: &mut Connection) -> Result<Vec<R>, CatalogError> {
        let mut all = Vec::new();
        self.for_each(connection, |row| {
            all.push(R::from_row(row)?);
            Ok(())
        })
        .await?;
        Ok(all)
    }

    /// The first row, if there is one.
    pub async fn fetch_optional<R: FromRow>(self, connection: &mut Connection) -> Result<Option<R>, CatalogError> {
        let mut first = None;
        self.for_each(connection, |row| {
            if first.is_none() {
                first = Some(R::from_row(row)?);
            }
            Ok(())
        })
        .await?;
        Ok(first)
    }

    /// The first row; that there is none is [`CatalogError::RowAbsent`].
    pub async fn fetch_one<R: FromRow>(self, connection: &mut Connection) -> Result<R, CatalogError> {
        self.fetch_optional(connection).await?.ok_or(CatalogError::RowAbsent)
    }
}

/// A statement that is a whole reading by itself.
impl Query {
    /// All rows, read from `catalog`.
    pub async fn read_all<R: FromRow + 'static>(self, catalog: &Catalog) -> Result<Vec<R>, CatalogError> {
        catalog.read(move |connection| Box::pin(self.fetch_all(connection))).await
    }

    /// The first row, if there is one, read from `catalog`.
    pub async fn read_optional<R: FromRow + 'static>(self, catalog: &Catalog) -> Result<Option<R>, CatalogError> {
        catalog.read(move |connection| Box::pin(self.fetch_optional(connection))).await
    }

    /// The first row, read from `catalog`; that there is none is [`CatalogError::RowAbsent`].
    pub async fn read_one<R: FromRow + 'static>(self, catalog: &Catalog) -> Result<R, CatalogError> {
        catalog.read(move |connection| Box::pin(self.fetch_one(connection))).await
    }
}

/// Inserts many rows of one shape; says how many rows that changed.
///
/// `head` is such as `INSERT INTO t (a, b)`, `tail` such as `ON CONFLICT DO NOTHING`, or empty. All values of a column
/// are of one kind; no two rows of a call may meet in one `ON CONFLICT … DO UPDATE`.
pub async fn rows_insert<const N: usize>(
    connection: &mut Connection,
    head: &'static str,
    rows: Vec<[Value; N]>,
    tail: &'static str,
) -> Result<u64, CatalogError> {
    let placeholders: Vec<String> = (1..=N).map(|number| format!("${number}")).collect();
    let placeholders = placeholders.join(", ");
    rows.iter().try_for_each(|row| nul_check(row))?;
    let mut changed = 0;
    match &mut connection.kind {
        Kind::Sqlite(file) => {
            let connection = &mut file.connection;
            let mut statement =
                connection.prepare_cached(&numbered(&format!("{head} VALUES ({placeholders}) {tail}")))?;
            for row in &rows {
                for (index, value) in row.iter().enumerate() {
                    statement.raw_bind_parameter(index + 1, Bound(value))?;
                }
                changed += statement.raw_execute()? as u64;
            }
        }
        Kind::Postgres(connection) => {
            // `WHERE true` parts the FROM from an ON of the tail.
            let sql = format!("{head} SELECT * FROM unnest({placeholders}) WHERE true {tail}");
            let mut rows = rows.into_iter().peekable();
            while rows.peek().is_some() {
                let arguments = columns(rows.by_ref().take(CHUNK))?;
                let query = sqlx::query_with(AssertSqlSafe(sql.clone()), arguments);
                changed += query.execute(&mut **connection).await?.rows_affected();
            }
        }
    }
    Ok(changed)
}

/// A value for SQLite, borrowed.
struct Bound<'a>(&'a Value);

impl rusqlite::ToSql for Bound<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        let value = match self.0 {
            Value::Integer(Some(value)) => ValueRef::Integer(*value),
            Value::Real(Some(value)) => ValueRef::Real(*value),
            Value::Text(Some(text)) => ValueRef::Text(text.as_bytes()),
            Value::Bytes(Some(bytes)) => ValueRef::Blob(bytes),
            Value::Integer(None) | Value::Real(None) | Value::Text(None) | Value::Bytes(None) => ValueRef::Null,
        };
        Ok(ToSqlOutput::Borrowed(value))
    }
}

/// Refuses what only one of the databases would keep.
fn nul_check(values: &[Value]) -> Result<(), CatalogError> {
    let holds = |value: &Value| matches!(value, Value::Text(Some(text)) if text.as_bytes().contains(&0));
    if values.iter().any(holds) { Err(CatalogError::Nul) } else { Ok(()) }
}

/// The text for SQLite, where `?3` is the third value and `$3` a name that is looked for among all others. A `$` before
/// a digit stands for nothing else in the texts of this program.
fn numbered(sql: &str) -> String {
    let mut text = String::with_capacity(sql.len());
    let mut rest = sql;
    while let Some(at) = rest.find('$') {
        let (before, after) = (&rest[..at], &rest[at + 1..]);
        text.push_str(before);
        text.push(if after.starts_with(|next: char| next.is_ascii_digit()) { '?' } else { '$' });
        rest = after;
    }
    text.push_str(rest);
    text
}

fn bind(statement: &mut rusqlite::Statement<'_>, values: &[Value]) -> Result<(), CatalogError> {
    let count = statement.parameter_count();
    if values.len() < count {
        let problem = format!("{} values are bound to the {count} placeholders of a statement", values.len());
        return Err(CatalogError::decode(problem));
    }
    for (value, index) in values[..count].iter().zip(1..) {
        statement.raw_bind_parameter(index, Bound(value))?;
    }
    Ok(())
}

fn arguments(values: Vec<Value>) -> Result<PgArguments, CatalogError> {
    let mut arguments = PgArguments::default();
    for value in values {
        let added = match value {
            Value::Integer(value) => arguments.add(value),
            Value::Real(value) => arguments.add(value),
            Value::Text(value) => arguments.add(value),
            Value::Bytes(value) => arguments.add(value),
        };
        added.map_err(CatalogError::encode)?;
    }
    Ok(arguments)
}

/// One array for each column.
fn columns<const N: usize>(rows: impl Iterator<Item = [Value; N]>) -> Result<PgArguments, CatalogError> {
    enum Column {
        Integer(Vec<Option<i64>>),
        Real(Vec<Option<f64>>),
        Text(Vec<Option<String>>),
        Bytes(Vec<Option<Vec<u8>>>),
    }
    let mut columns: Vec<Column> = Vec::with_capacity(N);
    for row in rows {
        for (index, value) in row.into_iter().enumerate() {
            if index == columns.len() {
                columns.push(match value {
                    Value::Integer(_) => Column::Integer(Vec::new()),
                    Value::Real(_) => Column::Real(Vec::new()),
                    Value::Text(_) => Column::Text(Vec::new()),
                    Value::Bytes(_) => Column::Bytes(Vec::new()),
                });
            }
            match (columns.get_mut(index), value) {
                (Some(Column::Integer(column)), Value::Integer(value)) => column.push(value),
                (Some(Column::Real(column)), Value::Real(value)) => column.push(value),
                (Some(Column::Text(column)), Value::Text(value)) => column.push(value),
                (Some(Column::Bytes(column)), Value::Bytes(value)) => column.push(value),
                _ => return Err(CatalogError::decode(format!("column {index} of the rows has values of two kinds"))),
            }
        }
    }
    let mut arguments = PgArguments::default();
    for column in columns {
        let added = match column {
            Column::Integer(values) => arguments.add(values),
            Column::Real(values) => arguments.add(values),
            Column::Text(values) => arguments.add(values),
            Column::Bytes(values) => arguments.add(values),
        };
        added.map_err(CatalogError::encode)?;
    }
    Ok(arguments)
}
