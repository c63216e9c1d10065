use std::collections::HashMap;

use crate::cells::Reading;
use crate::json::Json;
use crate::{ScoringError, ScoringLimits};

/// Cells of a table that objects may leave empty whatever they hold, and for each that they do hold: an object takes
/// two bytes and may leave thousands of cells empty.
const SPARSE: usize = 1 << 16;
const FILLED: usize = 16;

/// Cells by column.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Table {
    /// The columns' names, where they have such.
    pub(crate) names: Option<Vec<String>>,
    /// As many as there are names.
    pub(crate) columns: Vec<Vec<Json>>,
    /// Rows of the longest column.
    pub(crate) rows: usize,
    pub(crate) reading: Reading,
}

impl Table {
    /// Columns by name; their lengths may differ.
    pub(crate) fn new(
        named: Vec<(String, Vec<Json>)>,
        reading: Reading,
        limits: &ScoringLimits,
    ) -> Result<Self, ScoringError> {
        let (names, columns): (Vec<String>, Vec<Vec<Json>>) = named.into_iter().unzip();
        let rows = columns.iter().map(Vec::len).max().unwrap_or_default();
        within(rows, columns.len(), limits)?;
        Ok(Self { names: Some(names), columns, rows, reading })
    }

    /// One column without a name.
    pub(crate) fn of_one(cells: Vec<Json>, reading: Reading, limits: &ScoringLimits) -> Result<Self, ScoringError> {
        within(cells.len(), 1, limits)?;
        Ok(Self { names: None, rows: cells.len(), columns: vec![cells], reading })
    }

    /// Rows of equal length.
    pub(crate) fn of_rows(
        names: Option<Vec<String>>,
        rows: Vec<Vec<Json>>,
        reading: Reading,
        limits: &ScoringLimits,
    ) -> Result<Self, ScoringError> {
        let width = names.as_ref().map_or_else(|| rows.first().map_or(0, Vec::len), Vec::len);
        within(rows.len(), width, limits)?;
        let count = rows.len();
        // Before there is room for all of them, which a short body could promise.
        if let Some((row, cells)) = rows.iter().enumerate().find(|(_, cells)| cells.len() != width) {
            let (expected, found) = (format!("{width} cells"), format!("{} cells", cells.len()));
            return Err(ScoringError::Row { row: row + 1, expected, found });
        }
        let mut columns: Vec<Vec<Json>> = (0..width).map(|_| Vec::with_capacity(count)).collect();
        for cells in rows {
            for (column, cell) in columns.iter_mut().zip(cells) {
                column.push(cell);
            }
        }
        Ok(Self { names, columns, rows: count, reading })
    }

    /// Objects, whose columns are all keys in the order in which they come first; what an object lacks is null, as
    /// pandas has it.
    pub(crate) fn of_records(
        records: Vec<Json>,
        reading: Reading,
        limits: &ScoringLimits,
    ) -> Result<Self, ScoringError> {
        let mut places: HashMap<String, usize> = HashMap::new();
        let (mut names, mut columns): (Vec<String>, Vec<Vec<Json>>) = (Vec::new(), Vec::new());
        let rows = records.len();
        let sparse = SPARSE + FILLED.saturating_mul(records.iter().map(Json::entries).sum());
        let limits = &ScoringLimits { cells: limits.cells.min(sparse), ..*limits };
        for (row, record) in records.into_iter().enumerate() {
            let Json::Object(entries) = record else {
                let (expected, found) = ("an object of columns".to_owned(), record.described());
                return Err(ScoringError::Row { row: row + 1, expected, found });
            };
            for (at, (name, cell)) in entries.into_iter().enumerate() {
                // Nearly always the same order as before.
                let known = if names.get(at) == Some(&name) { Some(at) } else { places.get(&name).copied() };
                let place = known.unwrap_or(names.len());
                if known.is_none() {
                    within(rows, names.len() + 1, limits)?;
                    places.insert(name.clone(), place);
                    names.push(name);
                    columns.push(Vec::new());
                }
                if let Some(column) = columns.get_mut(place) {
                    // Of a key that stands twice the last counts, as in Python.
                    column.resize(row, Json::Null);
                    column.push(cell);
                }
            }
        }
        for column in &mut columns {
            column.resize(rows, Json::Null);
        }
        Ok(Self { names: Some(names), columns, rows, reading })
    }

    /// A column by name.
    pub(crate) fn column(&self, name: &str) -> Option<&[Json]> {
        let place = self.names.as_ref()?.iter().rposition(|one| one == name)?;
        self.columns.get(place).map(Vec::as_slice)
    }

    /// The name of a column, or its number.
    pub(crate) fn name(&self, place: usize) -> String {
        let name = self.names.as_ref().and_then(|names| names.get(place));
        name.map_or_else(|| place.to_string(), Clone::clone)
    }

    /// The columns' names, for a message.
    pub(crate) fn described(&self) -> String {
        match &self.names {
            Some(names) => listed(names.iter().map(String::as_str)),
            None => format!("{} without names", self.columns.len()),
        }
    }
}

pub(crate) fn within(rows: usize, columns: usize, limits: &ScoringLimits) -> Result<(), ScoringError> {
    let over = |what, limit| Err(ScoringError::TooManyCells { what, limit });
    if rows > limits.rows {
        return over("rows", limits.rows);
    }
    if columns > limits.columns {
        return over("columns", limits.columns);
    }
    if rows.saturating_mul(columns) > limits.cells {
        return over("cells", limits.cells);
    }
    Ok(())
}

/// Names in a message: the first of them, if there are many.
pub(crate) fn listed<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let all: Vec<&str> = names.collect();
    let first: Vec<String> = all.iter().take(30).map(|name| format!("`{name}`")).collect();
    match all.len() {
        0 => "none".to_owned(),
        count if count > first.len() => format!("{} and {} more", first.join(", "), count - first.len()),
        _ => first.join(", "),
    }
}
