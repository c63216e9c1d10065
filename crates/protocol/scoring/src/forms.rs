//! The bodies of `/invocations` as tables.

mod parquet;
mod separated;

use axum::http::HeaderMap;
use axum::http::header::CONTENT_TYPE;
use bytes::Bytes;

use crate::cells::Reading;
use crate::json::Json;
use crate::table::{Table, listed};
use crate::{ScoringError, ScoringLimits};

/// What a body says it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Json,
    Csv,
    Parquet,
}

/// How MLflow's onnx flavour spells the answer: it depends on what was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    /// A DataFrame: one entry for each row.
    Frame,
    /// Tensors: one entry for each output.
    Tensors,
}

/// What a body holds.
#[derive(Debug)]
pub(crate) struct Asking {
    pub(crate) table: Table,
    pub(crate) asked: Asked,
    /// Whether `params` came, which no model here takes.
    pub(crate) has_params: bool,
}

const ACCEPTED: &str = "application/json, text/csv and application/vnd.apache.parquet";

impl Kind {
    /// By `Content-Type`, whose only parameter may be `charset=utf-8`.
    pub(crate) fn of(headers: &HeaderMap) -> Result<Self, ScoringError> {
        let value = headers.get(CONTENT_TYPE).map_or("", |value| value.to_str().unwrap_or("?"));
        let mut parts = value.split(';').map(str::trim);
        let kind = match parts.next().unwrap_or_default().to_ascii_lowercase().as_str() {
            "application/json" => Self::Json,
            "text/csv" => Self::Csv,
            "application/vnd.apache.parquet" | "application/parquet" => Self::Parquet,
            _ => return Err(ScoringError::ContentType { accepted: ACCEPTED, found: value.to_owned() }),
        };
        for parameter in parts.filter(|part| !part.is_empty()) {
            let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
            let utf8 = value.trim_matches('"').eq_ignore_ascii_case("utf-8");
            if !name.eq_ignore_ascii_case("charset") || !utf8 {
                return Err(ScoringError::ContentParameter(parameter.to_owned()));
            }
        }
        Ok(kind)
    }

    /// Reads a body of this kind.
    pub(crate) fn read(self, body: Bytes, limits: &ScoringLimits) -> Result<Asking, ScoringError> {
        let frame = |table| Asking { table, asked: Asked::Frame, has_params: false };
        match self {
            Self::Json => json(&body, limits),
            Self::Csv => separated::read(&body, limits).map(frame),
            Self::Parquet => parquet::read(body, limits).map(frame),
        }
    }
}

fn json(body: &[u8], limits: &ScoringLimits) -> Result<Asking, ScoringError> {
    let Json::Object(entries) = Json::read(body)? else {
        return Err(ScoringError::Format { found: "no object".to_owned() });
    };
    let has_params = entries.iter().any(|(key, value)| key == "params" && *value != Json::Null);
    // Other keys are not looked at, as MLflow has it.
    let (found, others): (Vec<_>, Vec<_>) = entries.into_iter().partition(|(key, _)| FORMATS.contains(&key.as_str()));
    let [(format, value)] = <[(String, Json); 1]>::try_from(found).map_err(|found| {
        let keys = found.iter().chain(&others).map(|(key, _)| key.as_str());
        ScoringError::Format { found: listed(keys) }
    })?;
    let (table, asked) = match format.as_str() {
        "dataframe_split" => (split(value, limits)?, Asked::Frame),
        "dataframe_records" => {
            (Table::of_records(list(value, "dataframe_records")?, Reading::Cast, limits)?, Asked::Frame)
        }
        "instances" => (tensors(value, true, limits)?, Asked::Tensors),
        _ => (tensors(value, false, limits)?, Asked::Tensors),
    };
    Ok(Asking { table, asked, has_params })
}

const FORMATS: [&str; 4] = ["dataframe_split", "dataframe_records", "instances", "inputs"];

fn wrong(what: &str, expected: &str, found: &Json) -> ScoringError {
    let problem = format!("`{what}` must be {expected}, found {}", found.described());
    ScoringError::Malformed { form: "a table", problem }
}

fn list(value: Json, what: &str) -> Result<Vec<Json>, ScoringError> {
    match value {
        Json::List(values) => Ok(values),
        other => Err(wrong(what, "a list", &other)),
    }
}

/// `{"columns": […], "index": […], "data": [[…], …]}`, of which only the data must be there; the index is not looked at.
fn split(value: Json, limits: &ScoringLimits) -> Result<Table, ScoringError> {
    let Json::Object(entries) = value else { return Err(wrong("dataframe_split", "an object", &value)) };
    let (mut columns, mut data) = (None, None);
    for (key, value) in entries {
        match key.as_str() {
            "columns" => columns = (value != Json::Null).then_some(value),
            "data" => data = Some(value),
            "index" => {}
            other => {
                let problem = format!("`dataframe_split` has `data`, `columns` and `index`, found `{other}`");
                return Err(ScoringError::Malformed { form: "a table", problem });
            }
        }
    }
    let data = list(data.unwrap_or(Json::Null), "data")?;
    let names = columns.map(|value| list(value, "columns")?.into_iter().map(name).collect()).transpose()?;
    let rows = data.into_iter().enumerate().map(|(row, cells)| match cells {
        Json::List(cells) => Ok(cells),
        // A list of values is a table of one column, as pandas has it.
        scalar if !matches!(scalar, Json::Object(_)) => Ok(vec![scalar]),
        other => {
            let (expected, found) = ("a list of cells".to_owned(), other.described());
            Err(ScoringError::Row { row: row + 1, expected, found })
        }
    });
    Table::of_rows(names, rows.collect::<Result<_, _>>()?, Reading::Cast, limits)
}

fn name(value: Json) -> Result<String, ScoringError> {
    match value {
        Json::Text(name) => Ok(name),
        Json::Int(number) => Ok(number.to_string()),
        other => Err(wrong("columns", "a list of names", &other)),
    }
}

/// Tensors by row (`instances`) or by name (`inputs`), as TensorFlow Serving has them.
fn tensors(value: Json, by_row: bool, limits: &ScoringLimits) -> Result<Table, ScoringError> {
    let reading = Reading::Typed;
    match value {
        Json::List(values) if matches!(values.first(), Some(Json::Object(_))) => {
            Table::of_records(values, reading, limits)
        }
        Json::List(values) => Table::of_one(values, reading, limits),
        Json::Object(entries) => {
            let cells = |value| match value {
                Json::List(values) => values,
                scalar => vec![scalar],
            };
            let named: Vec<_> = entries.into_iter().map(|(name, value)| (name, cells(value))).collect();
            let table = Table::new(named, reading, limits)?;
            if by_row && table.columns.iter().any(|column| column.len() != table.rows) {
                let expected = "as many values for each name".to_owned();
                return Err(ScoringError::Columns { expected, found: table.described() });
            }
            Ok(table)
        }
        scalar => Table::of_one(vec![scalar], reading, limits),
    }
}

#[cfg(test)]
mod tests;
