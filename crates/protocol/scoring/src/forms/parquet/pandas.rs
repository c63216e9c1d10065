//! What pandas says of a DataFrame in its file, as JSON under the key `pandas`:
//! <https://pandas.pydata.org/docs/development/developer.html>.

use std::collections::HashSet;

use parquet::file::metadata::ParquetMetaData;
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::wrong;
use crate::ScoringError;

/// Bytes of it: pandas writes some hundred for a column.
const LONGEST: usize = 64 << 10;
const LONGEST_OF_COLUMN: usize = 1 << 10;

#[derive(Debug, Deserialize)]
struct DataFrame {
    #[serde(default)]
    index_columns: Vec<IndexColumn>,
    #[serde(default)]
    columns: Vec<Column>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum IndexColumn {
    Name(String),
    /// A range, which is in no column.
    Other(IgnoredAny),
}

#[derive(Debug, Deserialize)]
struct Column {
    field_name: Option<String>,
    numpy_type: Option<String>,
}

/// The columns that hold a DataFrame's index and are none of its own.
///
/// Errors: a column of durations, which to Parquet are whole numbers without a unit.
pub(super) fn index_columns(metadata: &ParquetMetaData) -> Result<HashSet<String>, ScoringError> {
    let pairs = metadata.file_metadata().key_value_metadata();
    let said = pairs.and_then(|pairs| pairs.iter().find(|pair| pair.key == "pandas")?.value.as_deref());
    let columns = metadata.file_metadata().schema_descr().num_columns();
    said.map_or_else(|| Ok(HashSet::new()), |said| read(said, columns))
}

fn read(said: &str, columns: usize) -> Result<HashSet<String>, ScoringError> {
    let most = LONGEST.saturating_add(LONGEST_OF_COLUMN.saturating_mul(columns));
    if said.len() > most {
        let problem = format!("its metadata of pandas has {} bytes, of {columns} columns {most} are read", said.len());
        return Err(wrong(&problem));
    }
    // What is none of pandas' own metadata says nothing.
    let Ok(DataFrame { index_columns, columns }) = serde_json::from_str(said) else { return Ok(HashSet::new()) };
    let is_duration = |column: &&Column| column.numpy_type.as_ref().is_some_and(|name| name.starts_with("timedelta"));
    if let Some(column) = columns.iter().find(is_duration) {
        let name = column.field_name.as_deref().unwrap_or_default();
        return Err(wrong(&format!("column `{name}` has durations: numbers, booleans, texts and lists are read")));
    }
    let named = index_columns.into_iter().filter_map(|column| match column {
        IndexColumn::Name(name) => Some(name),
        IndexColumn::Other(_) => None,
    });
    Ok(named.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_and_ranges_left() {
        let range = r#"{"kind": "range", "name": null, "start": 0, "stop": 2, "step": 1}"#;
        let of = |index: &str| read(&format!(r#"{{"index_columns": [{index}], "creator": {{}}}}"#), 1).unwrap();
        assert_eq!(of(range), HashSet::new());
        assert_eq!(
            of(r#""at", "__index_level_1__""#),
            HashSet::from(["at".to_owned(), "__index_level_1__".to_owned()])
        );
        assert_eq!(read("no JSON", 1).unwrap(), HashSet::new());
    }

    #[test]
    fn durations_are_refused_and_what_is_longer_than_it_needs_to_be() {
        let said = r#"{"columns": [{"name": "d", "field_name": "d", "pandas_type": "object", "numpy_type": "timedelta64[us]"}]}"#;
        let refused = read(said, 1).unwrap_err().to_string();
        assert!(
            refused.ends_with("column `d` has durations: numbers, booleans, texts and lists are read"),
            "{refused}"
        );
        let long = " ".repeat(LONGEST + LONGEST_OF_COLUMN + 1);
        assert!(read(&long, 1).unwrap_err().to_string().contains("of 1 columns 66560 are read"));
        assert!(read(&long, 2).is_ok());
    }
}
