use std::fmt;

use arrow::datatypes::{DataType, Field, TimeUnit};
use serde::{Deserialize, Serialize};

/// The type of a column that was inferred from cells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ColumnType {
    /// Whole numbers of 64 bits.
    Int64,
    /// IEEE 754 double precision.
    Float64,
    /// True or false.
    Boolean,
    /// Microseconds since 1970-01-01 00:00:00, without a time zone.
    Timestamp,
    /// Days since 1970-01-01.
    Date,
    /// UTF-8 text.
    Text,
}

impl ColumnType {
    /// The name used in reports.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Int64 => "int64",
            Self::Float64 => "float64",
            Self::Boolean => "boolean",
            Self::Timestamp => "timestamp",
            Self::Date => "date",
            Self::Text => "text",
        }
    }

    /// The Arrow type that holds it.
    pub fn data_type(self) -> DataType {
        match self {
            Self::Int64 => DataType::Int64,
            Self::Float64 => DataType::Float64,
            Self::Boolean => DataType::Boolean,
            Self::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, None),
            Self::Date => DataType::Date32,
            Self::Text => DataType::Utf8,
        }
    }
}

impl fmt::Display for ColumnType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A column of a table: its name and the name of its type.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Column {
    /// Its name, exactly as the header has it.
    pub name: String,
    /// `int64`, `float64`, `boolean`, `timestamp`, `date`, `text`, or Arrow's name of a type that only SQL makes.
    #[serde(rename = "type")]
    pub data_type: String,
}

impl Column {
    /// Describes an Arrow field.
    pub fn of(field: &Field) -> Self {
        Self { name: field.name().clone(), data_type: type_name(field.data_type()) }
    }
}

/// What reports call an Arrow type.
pub(crate) fn type_name(data_type: &DataType) -> String {
    match data_type {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => "text".to_owned(),
        DataType::Timestamp(TimeUnit::Microsecond, None) => "timestamp".to_owned(),
        DataType::Date32 => "date".to_owned(),
        other => other.to_string().to_lowercase(),
    }
}
