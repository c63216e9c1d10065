use arrow::datatypes::SchemaRef;

use super::evidence::Evidence;
use super::piece::PieceSummary;
use crate::column::{ColumnType, arrow_schema};

/// The columns of the table that all files of a source make together.
#[derive(Clone, Debug)]
pub(crate) struct TableSchema {
    pub(crate) columns: Vec<TableColumn>,
}

#[derive(Clone, Debug)]
pub(crate) struct TableColumn {
    pub(crate) name: String,
    pub(crate) column_type: ColumnType,
    pub(crate) notes: Vec<String>,
}

impl TableSchema {
    /// Every column that a file has, by name, in the order in which the files bring them; its type is chosen from the
    /// evidence of all files.
    pub(crate) fn unite<'a>(pieces: impl IntoIterator<Item = &'a PieceSummary>, tolerance: f64) -> Self {
        let mut merged: Vec<(&str, Evidence)> = Vec::new();
        let mut places = std::collections::HashMap::new();
        for column in pieces.into_iter().flat_map(|piece| &piece.columns) {
            let place = *places.entry(column.name.as_str()).or_insert_with(|| {
                merged.push((&column.name, Evidence::default()));
                merged.len() - 1
            });
            merged[place].1.merge(&column.evidence);
        }
        let columns = merged.into_iter().map(|(name, evidence)| {
            let column_type = evidence.choose(tolerance);
            TableColumn { name: name.to_owned(), column_type, notes: evidence.notes(column_type) }
        });
        Self { columns: columns.collect() }
    }

    pub(crate) fn arrow(&self) -> SchemaRef {
        arrow_schema(self.columns.iter().map(|column| (column.name.as_str(), column.column_type)))
    }

    /// For each column, which column of the piece's chunks it is; none where the file lacks it.
    pub(crate) fn places(&self, piece: &PieceSummary) -> Vec<Option<usize>> {
        let place = |name: &str| piece.columns.iter().find(|column| column.name == name).map(|column| column.place);
        self.columns.iter().map(|column| place(&column.name)).collect()
    }
}
