use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Fields, Schema, SchemaRef};

use super::evidence::Evidence;
use super::json::{JsonSummary, Shape};
use super::limits::COLUMNS;
use super::piece::PieceSummary;
use super::widen::{common_type, stored_type};
use crate::IngestError;
use crate::column::ColumnType;

/// What to do about files that make no table together.
const APART: &str = "read the files as several datasets, or make their columns alike";

/// What one file says of its columns.
#[derive(Clone, Copy, Debug)]
pub(crate) enum FileColumns<'a> {
    /// Cells, whose types are found together.
    Cells(&'a PieceSummary),
    /// JSON values, whose types are found together.
    Json(&'a JsonSummary),
    /// Types of its own.
    Typed(&'a SchemaRef),
}

/// The columns of the table that all files of a source make together.
#[derive(Clone, Debug)]
pub(crate) struct TableSchema {
    pub(crate) columns: Vec<TableColumn>,
    /// What a reader of the table should know of it as a whole.
    pub(crate) notes: Vec<String>,
}

#[derive(Clone, Debug)]
pub(crate) struct TableColumn {
    pub(crate) name: String,
    /// The type that parts store.
    pub(crate) data_type: DataType,
    /// The type of its cells in workbooks and texts of separated values.
    pub(crate) cells: ColumnType,
    /// The type of its values in JSON files; none when no JSON file has it.
    pub(crate) json: Option<DataType>,
    pub(crate) notes: Vec<String>,
}

impl TableSchema {
    /// Every column that a file has, by name, in the order in which the files bring them.
    ///
    /// The type of cells and of JSON values is chosen from what all such files hold; those and the types that other
    /// files declare meet in the narrowest one that holds them all. Files are given with their names.
    pub(crate) fn unite<'a>(
        files: impl IntoIterator<Item = (&'a str, FileColumns<'a>)>,
        tolerance: f64,
    ) -> Result<Self, IngestError> {
        let mut union = Union::default();
        for (file, columns) in files {
            union.add(file, columns, tolerance)?;
        }
        if union.columns.len() > COLUMNS {
            let file = union.columns.last().and_then(|column| column.first()).unwrap_or_default().to_owned();
            let reason = format!(
                "it and the files before it have {} columns together, {COLUMNS} are accepted",
                union.columns.len()
            );
            return Err(IngestError::table(file, reason, APART));
        }
        let columns = union.columns.into_iter().map(|column| column.finish(tolerance));
        Ok(Self { columns: columns.collect::<Result<_, _>>()?, notes: Vec::new() })
    }

    pub(crate) fn arrow(&self) -> SchemaRef {
        let field = |column: &TableColumn| Field::new(&column.name, column.data_type.clone(), true);
        Arc::new(Schema::new(self.columns.iter().map(field).collect::<Vec<_>>()))
    }

    /// The columns that JSON files have, as they are read.
    pub(crate) fn json_fields(&self) -> Fields {
        let field = |column: &TableColumn| {
            column.json.as_ref().map(|data_type| Field::new(&column.name, data_type.clone(), true))
        };
        self.columns.iter().filter_map(field).collect()
    }

    /// For each column, which column of the piece's chunks it is; none where the file lacks it.
    pub(crate) fn places(&self, piece: &PieceSummary) -> Vec<Option<usize>> {
        let places: HashMap<_, _> = piece.columns.iter().map(|column| (column.name.as_str(), column.place)).collect();
        self.columns.iter().map(|column| places.get(column.name.as_str()).copied()).collect()
    }
}

/// Collects what all files say.
#[derive(Default)]
struct Union {
    columns: Vec<UnitedColumn>,
    places: HashMap<String, usize>,
}

/// What all files say of one column.
#[derive(Default)]
struct UnitedColumn {
    name: String,
    /// The first file with a cell in it that is a value or may be one, and all evidence.
    cells: Option<(String, Evidence)>,
    /// Whether a file of cells has it at all.
    celled: bool,
    /// The files with a JSON value in it and what they alone would make of it, and all of them together.
    json: Option<(Vec<(String, DataType)>, Shape)>,
    typed: Vec<(String, DataType)>,
}

impl Union {
    fn column(&mut self, name: &str) -> &mut UnitedColumn {
        let place = *self.places.entry(name.to_owned()).or_insert_with(|| {
            self.columns.push(UnitedColumn { name: name.to_owned(), ..UnitedColumn::default() });
            self.columns.len() - 1
        });
        &mut self.columns[place]
    }

    fn add(&mut self, file: &str, columns: FileColumns<'_>, tolerance: f64) -> Result<(), IngestError> {
        match columns {
            FileColumns::Cells(summary) => {
                for found in &summary.columns {
                    let column = self.column(&found.name);
                    column.celled = true;
                    if !found.evidence.is_empty() {
                        let (_, all) = column.cells.get_or_insert_with(|| (file.to_owned(), Evidence::default()));
                        all.merge(&found.evidence);
                    }
                }
            }
            FileColumns::Json(summary) => {
                let broken = |reason: String| IngestError::table(file, reason, APART);
                let fields = summary.columns(tolerance).map_err(|conflict| broken(conflict.to_string()))?;
                for (found, field) in summary.shape.fields().iter().zip(&fields) {
                    let (files, all) = self.column(&found.name).json.get_or_insert_default();
                    files.push((file.to_owned(), field.data_type().clone()));
                    all.merge(&found.shape).map_err(broken)?;
                }
            }
            FileColumns::Typed(schema) => {
                for field in schema.fields() {
                    self.column(field.name()).typed.push((file.to_owned(), field.data_type().clone()));
                }
            }
        }
        Ok(())
    }
}

impl UnitedColumn {
    fn first(&self) -> Option<&str> {
        let cells = self.cells.as_ref().map(|(file, _)| file.as_str());
        cells.or_else(|| self.typed.first().map(|(file, _)| file.as_str()))
    }

    fn finish(self, tolerance: f64) -> Result<TableColumn, IngestError> {
        let evidence = self.cells.as_ref().map(|(_, evidence)| evidence.clone()).unwrap_or_default();
        let cells = evidence.choose(tolerance);
        let json = self.json_type(tolerance)?;
        let mut meeting = Meeting { column: &self.name, met: None };
        // Texts that are null in any column but one of text go with every type.
        if let Some((file, _)) = self.cells.as_ref().filter(|(_, evidence)| evidence.cells() > 0) {
            meeting.meet(file, &cells.data_type())?;
        }
        if let (Some((files, _)), Some(json)) = (&self.json, &json)
            && let Some((file, _)) = files.first()
        {
            meeting.meet(file, json)?;
        }
        for (file, data_type) in &self.typed {
            meeting.meet(file, data_type)?;
        }
        let data_type = meeting.met.map_or(DataType::Utf8, |(_, data_type)| stored_type(&data_type));
        let mut notes = if self.celled { evidence.notes(cells) } else { Vec::new() };
        if let (Some((_, shape)), Some(json)) = (&self.json, &json) {
            notes.extend(shape.notes(json));
        }
        Ok(TableColumn { name: self.name, data_type, cells, json, notes })
    }

    fn json_type(&self, tolerance: f64) -> Result<Option<DataType>, IngestError> {
        let Some((files, shape)) = &self.json else { return Ok(None) };
        match shape.data_type(tolerance) {
            Ok(data_type) => Ok(Some(data_type)),
            Err(conflict) => {
                // Each file alone agrees with itself, so two of them disagree.
                let mut meeting = Meeting { column: &self.name, met: None };
                for (file, data_type) in files {
                    meeting.meet(file, data_type)?;
                }
                let file = files.first().map(|(file, _)| file.clone()).unwrap_or_default();
                Err(IngestError::table(file, format!("with the files after it, column {conflict}"), APART))
            }
        }
    }
}

/// Types of one column that have to meet in one.
struct Meeting<'a> {
    column: &'a str,
    /// The file that brought the type last, and the type.
    met: Option<(&'a str, DataType)>,
}

impl<'a> Meeting<'a> {
    fn meet(&mut self, file: &'a str, data_type: &DataType) -> Result<(), IngestError> {
        let Some((before, met)) = &self.met else {
            self.met = Some((file, data_type.clone()));
            return Ok(());
        };
        match common_type(met, data_type) {
            Some(common) if common == *met => {}
            Some(common) => self.met = Some((file, common)),
            None => {
                return Err(IngestError::Types {
                    column: self.column.to_owned(),
                    first: (*before).to_owned(),
                    first_type: met.to_string(),
                    second: file.to_owned(),
                    second_type: data_type.to_string(),
                });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(fields: &[(&str, DataType)]) -> SchemaRef {
        let fields: Vec<_> =
            fields.iter().map(|(name, data_type)| Field::new(*name, data_type.clone(), false)).collect();
        Arc::new(Schema::new(fields))
    }

    #[test]
    fn columns_meet_by_name() {
        let first = typed(&[("a", DataType::Int32), ("b", DataType::Utf8)]);
        let second = typed(&[("c", DataType::Boolean), ("a", DataType::Int64)]);
        let files = [("1.parquet", FileColumns::Typed(&first)), ("2.parquet", FileColumns::Typed(&second))];
        let schema = TableSchema::unite(files, 0.0).unwrap();
        let shown: Vec<_> =
            schema.columns.iter().map(|column| format!("{}:{}", column.name, column.data_type)).collect();
        assert_eq!(shown, ["a:Int64", "b:Utf8", "c:Boolean"]);
        assert!(schema.arrow().fields().iter().all(|field| field.is_nullable()));
    }

    #[test]
    fn types_that_do_not_meet_name_both_files() {
        let first = typed(&[("a", DataType::Int32)]);
        let second = typed(&[("a", DataType::Utf8)]);
        let files = [("1.parquet", FileColumns::Typed(&first)), ("2.parquet", FileColumns::Typed(&second))];
        let error = TableSchema::unite(files, 0.0).unwrap_err().to_string();
        for part in ["`a`", "`1.parquet`", "Int32", "`2.parquet`", "Utf8"] {
            assert!(error.contains(part), "{error}");
        }
    }
}
