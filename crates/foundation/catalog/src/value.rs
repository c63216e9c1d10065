use sqlx::postgres::PgRow;
use sqlx::{Row as _, TypeInfo as _, ValueRef as _};

use crate::CatalogError;

/// What is bound to a placeholder. The kind is known of a NULL too, because PostgreSQL asks for it.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// A `BIGINT`.
    Integer(Option<i64>),
    /// A `DOUBLE PRECISION`. SQLite stores a NaN as NULL.
    Real(Option<f64>),
    /// A `TEXT`.
    Text(Option<String>),
    /// A `BYTEA`.
    Bytes(Option<Vec<u8>>),
}

/// A type that can be bound; an absent one is a NULL of its kind.
pub trait Bindable: Sized {
    /// The value, or the NULL of this kind.
    fn value(this: Option<Self>) -> Value;
}

macro_rules! bindable {
    ($($type:ty => $kind:ident, $convert:expr;)*) => {$(
        impl Bindable for $type {
            fn value(this: Option<Self>) -> Value {
                Value::$kind(this.map($convert))
            }
        }
        impl From<$type> for Value {
            fn from(value: $type) -> Self {
                Bindable::value(Some(value))
            }
        }
        impl From<Option<$type>> for Value {
            fn from(value: Option<$type>) -> Self {
                Bindable::value(value)
            }
        }
    )*};
}

bindable! {
    i64 => Integer, |value| value;
    i32 => Integer, i64::from;
    u32 => Integer, i64::from;
    u16 => Integer, i64::from;
    bool => Integer, i64::from;
    f64 => Real, |value| value;
    String => Text, held;
    &str => Text, |value| held(value.to_owned());
    &String => Text, |value| held(value.clone());
    Vec<u8> => Bytes, |value| value;
    &[u8] => Bytes, <[u8]>::to_vec;
}

/// PostgreSQL's texts hold no NUL: it becomes U+FFFD, on SQLite too, and in what is looked for as in what is stored.
fn held(text: String) -> String {
    if text.contains('\0') { text.replace('\0', "\u{fffd}") } else { text }
}

/// One value of a row, as it lies in the database's answer.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Cell<'r> {
    Null,
    Integer(i64),
    Real(f64),
    Text(&'r str),
    Bytes(&'r [u8]),
}

/// One row of an answer, borrowed from it.
#[derive(Debug)]
pub struct Row<'a>(pub(crate) Inner<'a>);

pub(crate) enum Inner<'a> {
    Sqlite(&'a rusqlite::Row<'a>),
    Postgres(&'a PgRow),
}

impl std::fmt::Debug for Inner<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Row")
    }
}

impl Row<'_> {
    /// The value in a column, counted from 0.
    pub fn get<'r, T: FromValue<'r>>(&'r self, column: usize) -> Result<T, CatalogError> {
        let cell = match &self.0 {
            Inner::Sqlite(row) => sqlite_cell(row, column)?,
            Inner::Postgres(row) => postgres_cell(row, column)?,
        };
        T::from_cell(Sealed(cell)).ok_or_else(|| {
            CatalogError::decode(format!("column {column} is not of the kind {}: {cell:?}", std::any::type_name::<T>()))
        })
    }
}

impl Row<'_> {
    /// The value in the column of this name.
    pub fn named<'r, T: FromValue<'r>>(&'r self, column: &str) -> Result<T, CatalogError> {
        let position = match &self.0 {
            Inner::Sqlite(row) => row.as_ref().column_index(column)?,
            Inner::Postgres(row) => sqlx::ColumnIndex::index(&column, *row)?,
        };
        self.get(position)
    }
}

fn sqlite_cell<'r>(row: &'r rusqlite::Row<'_>, column: usize) -> Result<Cell<'r>, CatalogError> {
    use rusqlite::types::ValueRef;
    Ok(match row.get_ref(column)? {
        ValueRef::Null => Cell::Null,
        ValueRef::Integer(value) => Cell::Integer(value),
        ValueRef::Real(value) => Cell::Real(value),
        ValueRef::Text(text) => Cell::Text(std::str::from_utf8(text).map_err(CatalogError::decode)?),
        ValueRef::Blob(bytes) => Cell::Bytes(bytes),
    })
}

fn postgres_cell(row: &PgRow, column: usize) -> Result<Cell<'_>, CatalogError> {
    let raw = row.try_get_raw(column)?;
    if raw.is_null() {
        return Ok(Cell::Null);
    }
    let kind = raw.type_info();
    Ok(match kind.name() {
        "INT8" => Cell::Integer(row.try_get_unchecked(column)?),
        "INT4" => Cell::Integer(i64::from(row.try_get_unchecked::<i32, _>(column)?)),
        "INT2" => Cell::Integer(i64::from(row.try_get_unchecked::<i16, _>(column)?)),
        "BOOL" => Cell::Integer(i64::from(row.try_get_unchecked::<bool, _>(column)?)),
        "FLOAT8" => Cell::Real(row.try_get_unchecked(column)?),
        "FLOAT4" => Cell::Real(f64::from(row.try_get_unchecked::<f32, _>(column)?)),
        "BYTEA" => Cell::Bytes(row.try_get_unchecked(column)?),
        "TEXT" | "VARCHAR" | "NAME" | "BPCHAR" | "UNKNOWN" => Cell::Text(row.try_get_unchecked(column)?),
        other => return Err(CatalogError::decode(format!("column {column} has the type {other}, which is not read"))),
    })
}

/// Keeps [`FromValue`] closed to this crate.
#[derive(Clone, Copy, Debug)]
pub struct Sealed<'r>(Cell<'r>);

/// A type that a column can be read as.
pub trait FromValue<'r>: Sized {
    #[doc(hidden)]
    fn from_cell(cell: Sealed<'r>) -> Option<Self>;
}

macro_rules! from_value {
    ($($type:ty: $($pattern:pat => $value:expr),+;)*) => {$(
        impl<'r> FromValue<'r> for $type {
            fn from_cell(cell: Sealed<'r>) -> Option<Self> {
                match cell.0 {
                    $($pattern => Some($value),)+
                    _ => None,
                }
            }
        }
    )*};
}

from_value! {
    i64: Cell::Integer(value) => value;
    bool: Cell::Integer(value) => value != 0;
    f64: Cell::Real(value) => value, Cell::Integer(value) => value as f64;
    &'r str: Cell::Text(text) => text;
    String: Cell::Text(text) => text.to_owned();
    &'r [u8]: Cell::Bytes(bytes) => bytes;
    Vec<u8>: Cell::Bytes(bytes) => bytes.to_vec();
}

impl<'r, T: FromValue<'r>> FromValue<'r> for Option<T> {
    fn from_cell(cell: Sealed<'r>) -> Option<Self> {
        match cell.0 {
            Cell::Null => Some(None),
            _ => T::from_cell(cell).map(Some),
        }
    }
}

/// A type that a whole row can be read as: a tuple by position, a single value from the first column.
pub trait FromRow: Sized + Send {
    /// Reads the row.
    fn from_row(row: &Row<'_>) -> Result<Self, CatalogError>;
}

macro_rules! scalar {
    ($($type:ty),*) => {$(
        impl FromRow for $type {
            fn from_row(row: &Row<'_>) -> Result<Self, CatalogError> {
                row.get(0)
            }
        }
        impl FromRow for Option<$type> {
            fn from_row(row: &Row<'_>) -> Result<Self, CatalogError> {
                row.get(0)
            }
        }
    )*};
}

scalar!(i64, f64, bool, String, Vec<u8>);

macro_rules! tuple {
    ($($name:ident $column:tt),+) => {
        impl<$($name),+> FromRow for ($($name,)+)
        where
            $($name: for<'r> FromValue<'r> + Send,)+
        {
            fn from_row(row: &Row<'_>) -> Result<Self, CatalogError> {
                Ok(($(row.get::<$name>($column)?,)+))
            }
        }
    };
}

tuple!(A 0);
tuple!(A 0, B 1);
tuple!(A 0, B 1, C 2);
tuple!(A 0, B 1, C 2, D 3);
tuple!(A 0, B 1, C 2, D 3, E 4);
tuple!(A 0, B 1, C 2, D 3, E 4, F 5);
tuple!(A 0, B 1, C 2, D 3, E 4, F 5, G 6);
tuple!(A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7);
tuple!(A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7, I 8);
tuple!(A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7, I 8, J 9);
tuple!(A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7, I 8, J 9, K 10);
tuple!(A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7, I 8, J 9, K 10, L 11);
