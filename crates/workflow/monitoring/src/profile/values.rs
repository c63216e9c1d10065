use arrow::array::{Array, ArrayRef, AsArray, Float64Array, LargeStringArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type};

use super::column::ColumnKind;
use crate::MonitoringError;

/// A batch's column, read as its kind.
pub(crate) enum Reading {
    Numbers(Float64Array),
    Texts(Texts),
    Other { data_type: String, present: u64 },
}

pub(crate) enum Texts {
    Plain(LargeStringArray),
    /// Values of a dictionary with the number of rows of each.
    Counted(Vec<(String, u64)>),
}

impl Reading {
    pub(crate) fn kind(&self) -> ColumnKind {
        match self {
            Self::Numbers(_) => ColumnKind::Numeric,
            Self::Texts(_) => ColumnKind::Categorical,
            Self::Other { .. } => ColumnKind::Other,
        }
    }

    /// Whether the column is of Arrow's type `Null`, which says nothing of its kind.
    pub(crate) fn is_undecided(&self) -> bool {
        matches!(self, Self::Other { data_type, .. } if data_type == "Null")
    }
}

pub(crate) fn read(name: &str, array: &ArrayRef) -> Result<Reading, MonitoringError> {
    let failed = |source| MonitoringError::Column { column: name.to_owned(), source };
    match array.data_type() {
        data_type if data_type.is_numeric() => {
            let numbers = cast(array, &DataType::Float64).map_err(failed)?;
            Ok(Reading::Numbers(numbers.as_primitive::<Float64Type>().clone()))
        }
        DataType::Boolean | DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => {
            let texts = cast(array, &DataType::LargeUtf8).map_err(failed)?;
            Ok(Reading::Texts(Texts::Plain(texts.as_string::<i64>().clone())))
        }
        DataType::Dictionary(_, value) if is_text(value) => dictionary(array).map(Reading::Texts).map_err(failed),
        DataType::Dictionary(_, value) => {
            let plain = cast(array, value).map_err(failed)?;
            read(name, &plain)
        }
        data_type => {
            let present = array.len() - array.logical_null_count();
            Ok(Reading::Other { data_type: data_type.to_string(), present: present as u64 })
        }
    }
}

fn is_text(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View)
}

/// Counts by key, so that a text is looked up once a batch and not once a row.
fn dictionary(array: &ArrayRef) -> Result<Texts, arrow::error::ArrowError> {
    let dictionary = array.as_any_dictionary();
    let values = cast(dictionary.values(), &DataType::LargeUtf8)?;
    let values = values.as_string::<i64>();
    let mut rows = vec![0_u64; values.len()];
    if values.is_empty() {
        return Ok(Texts::Counted(Vec::new()));
    }
    for (row, key) in dictionary.normalized_keys().into_iter().enumerate() {
        if dictionary.keys().is_valid(row)
            && let Some(count) = rows.get_mut(key)
        {
            *count += 1;
        }
    }
    let counted = values.iter().zip(rows).filter_map(|(value, rows)| (rows > 0).then_some((value?.to_owned(), rows)));
    Ok(Texts::Counted(counted.collect()))
}
