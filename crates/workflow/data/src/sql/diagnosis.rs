use std::sync::Arc;

use arrow::error::ArrowError;
use datafusion::common::{Column, DataFusionError, SchemaError};
use ropewalk_ingest::IngestError;

use super::memory::least_limit;
use crate::DataError;
use crate::error::Place;
use crate::similar::similar;

/// Turns DataFusion's errors into ours.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Translation {
    /// What the session may use, for the error that says it is not enough.
    pub(crate) memory_limit: usize,
}

impl Translation {
    /// For what holds no memory that could run out.
    pub(crate) const UNLIMITED: Self = Self { memory_limit: usize::MAX };

    pub(crate) fn error(self, error: &DataFusionError) -> DataError {
        let place = place(error);
        match error.find_root() {
            DataFusionError::SchemaError(schema, _) => {
                let (message, suggestion) = schema_error(schema);
                DataError::Sql { message, place, suggestion }
            }
            DataFusionError::SQL(parser, _) => {
                let text = parser.to_string();
                let text = text.strip_prefix("sql parser error: ").unwrap_or(&text);
                let (message, inside) = place_in_text(text);
                DataError::Sql { message, place: inside.or(place), suggestion: None }
            }
            DataFusionError::Plan(message) => {
                let other = || (unknown_table(message).unwrap_or_else(|| first_line(message)), None);
                let (message, suggestion) = misfit_call(message).unwrap_or_else(other);
                DataError::Sql { message, place, suggestion }
            }
            DataFusionError::NotImplemented(message) => {
                DataError::Sql { message: format!("{} is not supported", first_line(message)), place, suggestion: None }
            }
            DataFusionError::ResourcesExhausted(reason) => {
                let (limit, reason) = (self.memory_limit, first_line(reason));
                DataError::Memory { limit, least: least_limit(limit, &reason), reason }
            }
            DataFusionError::External(source) => match source.downcast_ref::<Arc<IngestError>>() {
                Some(source) => DataError::Ingest(Arc::clone(source)),
                None => DataError::Execution(in_one_line(&source.to_string())),
            },
            DataFusionError::ArrowError(error, _) if is_overflow(error) => {
                let text = error.to_string();
                DataError::Overflow(text.strip_prefix("Arithmetic overflow: ").unwrap_or(&text).to_owned())
            }
            root if is_reading(root) => DataError::Reading(in_one_line(&root.strip_backtrace())),
            root => DataError::Execution(in_one_line(&root.strip_backtrace())),
        }
    }
}

/// Whether the error is one of a file, not of what is made of its rows.
fn is_reading(error: &DataFusionError) -> bool {
    match error {
        DataFusionError::ParquetError(_) | DataFusionError::ObjectStore(_) => true,
        DataFusionError::ArrowError(error, _) => {
            matches!(error.as_ref(), ArrowError::IpcError(_) | ArrowError::ParquetError(_))
        }
        _ => false,
    }
}

fn is_overflow(error: &ArrowError) -> bool {
    matches!(error, ArrowError::ArithmeticOverflow(_))
}

fn place(error: &DataFusionError) -> Option<Place> {
    let span = error.diagnostic()?.span?;
    (span.start.line > 0).then_some(Place { line: span.start.line, column: span.start.column })
}

fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().trim_end_matches('.').to_owned()
}

/// The first line, or what the last one says where the first only announces it, as for regular expressions.
fn in_one_line(text: &str) -> String {
    let text = text.strip_prefix("External error: ").unwrap_or(text);
    let first = first_line(text);
    match (first.strip_suffix(':'), text.lines().rfind(|line| !line.trim().is_empty())) {
        (Some(announced), Some(last)) => format!("{announced}: {}", last.trim()),
        _ => first,
    }
}

/// `Expected: …, found: … at Line: 1, Column: 8` without its end, and the place.
fn place_in_text(text: &str) -> (String, Option<Place>) {
    let parsed = text.rsplit_once(" at Line: ").and_then(|(message, place)| {
        let (line, column) = place.split_once(", Column: ")?;
        let digits = column.trim_end_matches(|c: char| !c.is_ascii_digit());
        Some((first_line(message), Place { line: line.parse().ok()?, column: digits.parse().ok()? }))
    });
    match parsed {
        Some((message, place)) => (message, Some(place)),
        None => (first_line(text), None),
    }
}

/// `table 'datafusion.public.NAME' not found` in words that do not speak of catalogues that the user never made.
fn unknown_table(message: &str) -> Option<String> {
    let name = message.strip_prefix("table '")?.split_once("' not found")?.0;
    let name = name.strip_prefix("datafusion.public.").unwrap_or(name);
    Some(format!("there is no table `{name}`"))
}

/// What is said of every signature of a function that a call does not fit, in one clause, and what to write instead.
fn misfit_call(message: &str) -> Option<(String, Option<String>)> {
    const EACH: &str = "Error during planning: ";
    if let Some(call) = message.split_once("to satisfy a call to '").map(|(_, call)| call) {
        let (function, rest) = call.split_once("' function: coercion from ")?;
        let (given, _) = rest.split_once(" to the signature ")?;
        return Some((format!("{function}() cannot be called with {given}"), as_number(given)));
    }
    let (head, errors) = message.split_once("' failed to match any signature, errors:")?;
    let (_, function) = head.rsplit_once("Function '")?;
    let (mut types, mut counts, mut given) = (Vec::new(), Vec::new(), None);
    for error in errors.split(EACH).map(|error| error.trim_end_matches([',', '.', ' '])) {
        if let Some((wanted, found)) =
            error.split_once(" requires ").and_then(|(_, it)| it.split_once(", but received "))
        {
            types.push(wanted);
            let found = found.split_once("(DataType: ").and_then(|(_, found)| found.strip_suffix(')'));
            given = given.or(found);
        } else if let Some((wanted, found)) =
            error.split_once(" expects ").and_then(|(_, it)| it.split_once(" arguments but received "))
        {
            counts.push((wanted, found));
        }
    }
    if let (Some(given), false) = (given, types.is_empty()) {
        let suggestion = if types.contains(&"Float64") { as_number(given) } else { None };
        return Some((format!("{function}() takes {}, not {given}", either(types)), suggestion));
    }
    let (_, found) = *counts.first()?;
    let wanted = counts.into_iter().map(|(wanted, _)| wanted).collect();
    Some((format!("the number of values that {function}() takes is {}, not {found}", either(wanted)), None))
}

/// What to write where a text was meant to be a number.
fn as_number(given: &str) -> Option<String> {
    matches!(given, "Utf8" | "LargeUtf8" | "Utf8View").then(|| "make a number of it: CAST(x AS DOUBLE)".to_owned())
}

/// `a, b or c`, each once.
fn either(names: Vec<&str>) -> String {
    let mut once: Vec<&str> = Vec::new();
    for name in names {
        if !once.contains(&name) {
            once.push(name);
        }
    }
    match once.split_last() {
        Some((last, [])) => (*last).to_owned(),
        Some((last, others)) => format!("{} or {last}", others.join(", ")),
        None => String::new(),
    }
}

fn schema_error(error: &SchemaError) -> (String, Option<String>) {
    match error {
        SchemaError::FieldNotFound { field, valid_fields } => {
            (format!("there is no column `{}`", field.flat_name()), suggestion(field, valid_fields))
        }
        SchemaError::AmbiguousReference { field } => (
            format!("column `{}` is in more than one table", field.name),
            Some(format!("write the table before it: TABLE.{}", field.name)),
        ),
        SchemaError::DuplicateQualifiedField { name, .. } | SchemaError::DuplicateUnqualifiedField { name } => {
            (format!("two columns of the result are called `{name}`"), Some(format!("name one: … AS {name}_2")))
        }
    }
}

fn suggestion(field: &Column, valid: &[Column]) -> Option<String> {
    let names = valid.iter().map(|column| column.name.as_str());
    let best = similar(&field.name, names).into_iter().next()?;
    if best.chars().any(char::is_uppercase) || best.chars().any(|c| !c.is_alphanumeric() && c != '_') {
        // SQL reads unquoted names in lower case.
        Some(format!("did you mean \"{best}\"? the double quotes are needed for its spelling"))
    } else {
        Some(format!("did you mean `{best}`?"))
    }
}
