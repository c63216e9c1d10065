use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use arrow::array::RecordBatch;
use serde::{Deserialize, Serialize};

use crate::MonitoringError;

mod categorical;
mod column;
mod distribution;
mod moments;
mod numeric;
mod stored;
mod values;

pub use categorical::{CategoricalSummary, VALUES_LIMIT};
pub use column::{Column, ColumnKind};
pub use distribution::{Curve, Distribution, Point};
pub use numeric::NumericSummary;

/// The most columns that a profile may have.
pub const MAXIMUM_COLUMNS: usize = 4_096;

/// A summary of a table that has a bounded size (at most some 20 KB a column) and can be merged with others.
///
/// A batch that lacks a column counts its rows as missing in it, so that `rows` is the denominator of every column.
/// As JSON it is an object with `format` (`ropewalk.profile/1`), `rows` and `columns` by name; what does not add up is
/// refused when it is read.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "stored::StoredProfile", into = "stored::StoredProfile")]
pub struct Profile {
    rows: u64,
    columns: BTreeMap<String, Column>,
}

impl Profile {
    /// The profile of no rows.
    pub fn new() -> Self {
        Self::default()
    }

    /// Number of rows taken in.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// The columns by name.
    pub fn columns(&self) -> impl Iterator<Item = (&str, &Column)> {
        self.columns.iter().map(|(name, column)| (name.as_str(), column))
    }

    /// One column.
    pub fn column(&self, name: &str) -> Option<&Column> {
        self.columns.get(name)
    }

    /// Rows without a value in `column` (null, NaN, or the column was not there); none for an unknown column.
    pub fn missing(&self, column: &str) -> Option<u64> {
        self.columns.get(column).map(|column| self.rows.saturating_sub(column.present()))
    }

    /// Takes in a batch of rows; after an error the profile is as it was before.
    pub fn update(&mut self, batch: &RecordBatch) -> Result<(), MonitoringError> {
        let schema = batch.schema();
        self.limit_columns(schema.fields().iter().map(|field| field.name().as_str()))?;
        let mut readings = Vec::with_capacity(batch.num_columns());
        for (field, array) in schema.fields().iter().zip(batch.columns()) {
            if readings.iter().any(|(name, _)| *name == field.name()) {
                return Err(MonitoringError::DuplicateColumn { column: field.name().clone() });
            }
            let reading = values::read(field.name(), array)?;
            if let Some(column) = self.columns.get(field.name()) {
                column.check(field.name(), reading.kind(), reading.is_undecided())?;
            }
            readings.push((field.name(), reading));
        }
        for (name, reading) in readings {
            match self.columns.get_mut(name) {
                Some(column) => column.take(reading),
                None => {
                    self.columns.insert(name.clone(), Column::of(reading));
                }
            }
        }
        self.rows += batch.num_rows() as u64;
        Ok(())
    }

    /// Takes in another profile, as if its rows had come after this one's.
    ///
    /// Counts, least and greatest are those of all rows together; mean and variance too, up to rounding; quantiles
    /// keep the error bound of [`Distribution`], counts of values that of [`CategoricalSummary`].
    pub fn merge(&mut self, other: &Self) -> Result<(), MonitoringError> {
        self.limit_columns(other.columns.keys().map(String::as_str))?;
        for (name, column) in &other.columns {
            if let Some(own) = self.columns.get(name) {
                own.check(name, column.kind(), column.is_undecided())?;
            }
        }
        for (name, column) in &other.columns {
            match self.columns.entry(name.clone()) {
                Entry::Occupied(own) => own.into_mut().merge(column),
                Entry::Vacant(place) => {
                    place.insert(column.clone());
                }
            }
        }
        self.rows += other.rows;
        Ok(())
    }

    /// The profile as JSON.
    pub fn to_json(&self) -> Result<String, MonitoringError> {
        serde_json::to_string(self).map_err(|source| MonitoringError::Format { what: "profile", source })
    }

    /// Reads a profile from JSON and checks that it adds up.
    pub fn from_json(text: &str) -> Result<Self, MonitoringError> {
        serde_json::from_str(text).map_err(|source| MonitoringError::Format { what: "profile", source })
    }

    fn limit_columns<'n>(&self, names: impl Iterator<Item = &'n str>) -> Result<(), MonitoringError> {
        let columns = self.columns.len() + names.filter(|name| !self.columns.contains_key(*name)).count();
        if columns > MAXIMUM_COLUMNS {
            return Err(MonitoringError::TooManyColumns { columns, limit: MAXIMUM_COLUMNS });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
