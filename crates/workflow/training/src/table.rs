use arrow::array::{Array, ArrayRef, AsArray, LargeStringArray, RecordBatch};
use arrow::compute::{cast, concat};
use arrow::datatypes::{DataType, Float32Type, Float64Type};

use crate::{Part, TrainSettings, TrainingError};

/// The values of one feature, row by row.
#[derive(Debug)]
pub(crate) enum Values {
    /// NaN where there is none.
    Numeric(Vec<f32>),
    /// Null or empty where there is none.
    Text(LargeStringArray),
}

/// One feature.
#[derive(Debug)]
pub(crate) struct Column {
    pub(crate) name: String,
    pub(crate) values: Values,
}

/// The table as the trainers read it.
#[derive(Debug)]
pub(crate) struct Table {
    /// The features in the order of the table's columns.
    pub(crate) columns: Vec<Column>,
    /// Whether the target is 1, row by row.
    pub(crate) labels: Vec<bool>,
    parts: Vec<Part>,
}

impl Table {
    pub(crate) fn read(settings: &TrainSettings, batches: &[RecordBatch]) -> Result<Self, TrainingError> {
        check_batches(batches)?;
        let source = Source { batches };
        let labels = source.labels(&settings.target)?;
        let parts = match &settings.split {
            Some(split) => source.parts(split)?,
            None => vec![Part::Train; labels.len()],
        };
        for ignored in &settings.ignore {
            source.position(ignored, "to be ignored")?;
        }
        let is_feature = |name: &String| {
            *name != settings.target && settings.split.as_ref() != Some(name) && !settings.ignore.contains(name)
        };
        let names = source.names().into_iter().filter(is_feature);
        let columns = names.map(|name| source.feature(name)).collect::<Result<Vec<_>, _>>()?;
        if columns.is_empty() {
            return Err(TrainingError::NoFeatures);
        }
        let table = Self { columns, labels, parts };
        table.check_parts(settings)?;
        Ok(table)
    }

    /// The rows of `part`, rising.
    pub(crate) fn rows(&self, part: Part) -> Vec<usize> {
        (0..self.parts.len()).filter(|row| self.parts.get(*row) == Some(&part)).collect()
    }

    /// The labels of `rows`.
    pub(crate) fn labels_of(&self, rows: &[usize]) -> Vec<bool> {
        rows.iter().filter_map(|row| self.labels.get(*row).copied()).collect()
    }

    /// Each part that is needed has rows, and both classes among them.
    fn check_parts(&self, settings: &TrainSettings) -> Result<(), TrainingError> {
        for part in [Part::Train, Part::Validation, Part::Test] {
            let needed = match part {
                Part::Train => true,
                Part::Validation => settings.params.early_stopping_rounds > 0,
                Part::Test => settings.split.is_some(),
            };
            let labels = self.labels_of(&self.rows(part));
            match labels.first() {
                None if needed => return Err(TrainingError::EmptyPart { part }),
                Some(first) if labels.iter().all(|label| label == first) => {
                    return Err(TrainingError::OneClass { part, class: u8::from(*first) });
                }
                _ => {}
            }
        }
        Ok(())
    }
}

fn check_batches(batches: &[RecordBatch]) -> Result<(), TrainingError> {
    let Some(first) = batches.first() else { return Err(TrainingError::EmptyTable) };
    let fields = |batch: &RecordBatch| {
        let schema = batch.schema();
        schema.fields().iter().map(|field| (field.name().clone(), field.data_type().clone())).collect::<Vec<_>>()
    };
    let expected = fields(first);
    if let Some(batch) = batches.iter().position(|batch| fields(batch) != expected) {
        return Err(TrainingError::UnlikeBatches { batch });
    }
    if batches.iter().all(|batch| batch.num_rows() == 0) { Err(TrainingError::EmptyTable) } else { Ok(()) }
}

/// Batches of the same columns, of which there is at least one.
struct Source<'a> {
    batches: &'a [RecordBatch],
}

impl Source<'_> {
    fn names(&self) -> Vec<String> {
        let fields = self.batches.first().map(|batch| batch.schema().fields().clone()).unwrap_or_default();
        fields.iter().map(|field| field.name().clone()).collect()
    }

    fn position(&self, name: &str, role: &'static str) -> Result<usize, TrainingError> {
        let names = self.names();
        names.iter().position(|one| one == name).ok_or_else(|| TrainingError::MissingColumn {
            column: name.to_owned(),
            role,
            available: names.iter().map(|one| format!("`{one}`")).collect::<Vec<_>>().join(", "),
        })
    }

    /// The column as one array of `wanted`.
    fn array(&self, position: usize, name: &str, wanted: &DataType) -> Result<ArrayRef, TrainingError> {
        let failed = |source| TrainingError::Arrow { column: name.to_owned(), source };
        let parts = self.batches.iter().map(|batch| cast(batch.column(position), wanted));
        let parts = parts.collect::<Result<Vec<_>, _>>().map_err(failed)?;
        concat(&parts.iter().map(AsRef::as_ref).collect::<Vec<_>>()).map_err(failed)
    }

    fn data_type(&self, position: usize) -> DataType {
        self.batches.first().map_or(DataType::Null, |batch| batch.column(position).data_type().clone())
    }

    fn labels(&self, name: &str) -> Result<Vec<bool>, TrainingError> {
        let position = self.position(name, "the target")?;
        let wrong = |row: usize, value: String| TrainingError::Target { column: name.to_owned(), row, value };
        let data_type = self.data_type(position);
        if !(data_type.is_numeric() || data_type == DataType::Boolean) {
            return Err(wrong(1, format!("a value of type {data_type}")));
        }
        let array = self.array(position, name, &DataType::Float64)?;
        let labels = array.as_primitive::<Float64Type>().iter().enumerate().map(|(row, value)| match value {
            Some(0.0) => Ok(false),
            Some(1.0) => Ok(true),
            Some(other) => Err(wrong(row + 1, other.to_string())),
            None => Err(wrong(row + 1, "nothing".to_owned())),
        });
        labels.collect()
    }

    fn parts(&self, name: &str) -> Result<Vec<Part>, TrainingError> {
        let position = self.position(name, "the split")?;
        let wrong = |row: usize, value: String| TrainingError::Split { column: name.to_owned(), row, value };
        let data_type = self.data_type(position);
        if !is_text(&data_type) {
            return Err(wrong(1, format!("a value of type {data_type}")));
        }
        let array = self.array(position, name, &DataType::LargeUtf8)?;
        let parts = array.as_string::<i64>().iter().enumerate().map(|(row, word)| match word {
            Some(word) => Part::from_word(word).ok_or_else(|| wrong(row + 1, format!("`{word}`"))),
            None => Err(wrong(row + 1, "nothing".to_owned())),
        });
        parts.collect()
    }

    fn feature(&self, name: String) -> Result<Column, TrainingError> {
        check_name(&name)?;
        let position = self.position(&name, "a feature")?;
        let data_type = self.data_type(position);
        let values = if is_text(&data_type) {
            Values::Text(self.array(position, &name, &DataType::LargeUtf8)?.as_string::<i64>().clone())
        } else if data_type.is_integer() || matches!(data_type, DataType::Boolean | DataType::Null) {
            Values::Numeric(self.whole_numbers(position, &name)?)
        } else if data_type.is_numeric() {
            Values::Numeric(self.fractions(position, &name)?)
        } else {
            return Err(TrainingError::UnsupportedType { column: name, data_type: data_type.to_string() });
        };
        Ok(Column { name, values })
    }

    /// Rounded to 32 bits once, as a server does with the integers of a request.
    fn whole_numbers(&self, position: usize, name: &str) -> Result<Vec<f32>, TrainingError> {
        let array = self.array(position, name, &DataType::Float32)?;
        Ok(array.as_primitive::<Float32Type>().iter().map(|value| value.unwrap_or(f32::NAN)).collect())
    }

    fn fractions(&self, position: usize, name: &str) -> Result<Vec<f32>, TrainingError> {
        let array = self.array(position, name, &DataType::Float64)?;
        let values = array.as_primitive::<Float64Type>().iter().enumerate().map(|(row, value)| {
            let value = value.unwrap_or(f64::NAN);
            let narrowed = value as f32;
            if narrowed.is_infinite() {
                return Err(TrainingError::NotFinite { column: name.to_owned(), row: row + 1, value });
            }
            Ok(narrowed)
        });
        values.collect()
    }
}

fn is_text(data_type: &DataType) -> bool {
    match data_type {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => true,
        DataType::Dictionary(_, values) => is_text(values),
        _ => false,
    }
}

/// A feature is an input of the model, whose outputs and inner values have names of their own.
fn check_name(name: &str) -> Result<(), TrainingError> {
    let reason = match name {
        "" => "it has no name",
        crate::export::LABEL | crate::export::PROBABILITY => "an output of the model has this name",
        _ if name.starts_with(crate::export::INNER) => "names that begin with `ropewalk:` are kept for the model",
        _ => return Ok(()),
    };
    Err(TrainingError::ColumnName { column: name.to_owned(), reason })
}
