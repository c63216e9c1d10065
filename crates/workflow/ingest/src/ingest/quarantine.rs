use std::fmt;
use std::fs::File;
use std::io::Write as _;
use std::path::PathBuf;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema};
use ropewalk_store::files::{self, AtomicFile};
use serde::{Deserialize, Serialize};
use tempfile::NamedTempFile;

use super::writing::WrittenTable;
use crate::blocking::blocking;
use crate::part::PartWriter;
use crate::{IngestError, IngestSettings};

/// A cell, or a whole row, that is not in the table, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Misfit {
    pub(crate) file: String,
    pub(crate) sheet: Option<String>,
    /// Counted from 1, as the program that shows the file counts.
    pub(crate) row: u64,
    /// None when the whole row does not fit.
    pub(crate) column: Option<String>,
    pub(crate) text: Option<String>,
    pub(crate) reason: String,
}

impl fmt::Display for Misfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "row {}", self.row)?;
        if let Some(column) = &self.column {
            write!(f, ", column `{column}`")?;
        }
        if let Some(text) = &self.text {
            write!(f, ", `{text}`")?;
        }
        write!(f, ": {}", self.reason)
    }
}

/// So many rows are no sign of anything, while others are left, or are there already.
const FEW_ROWS: u64 = 10;

/// The error when a larger share of the rows that were read than is accepted does not fit; `added` says that they are added
/// to a version.
pub(crate) fn mostly_quarantined(
    written: &WrittenTable,
    added: bool,
    settings: &IngestSettings,
) -> Option<IngestError> {
    let WrittenTable { report, misfits, .. } = written;
    let (quarantined, rows, share) = (report.quarantined, report.rows + report.quarantined, settings.max_quarantined);
    let few = quarantined <= FEW_ROWS && (report.rows > 0 || added);
    if few || quarantined as f64 <= share * rows as f64 {
        return None;
    }
    let first = misfits.first().map(|first| format!("{}, {first}", first.file)).unwrap_or_default();
    let kept = settings.kept_quarantine.clone();
    Some(IngestError::MostlyQuarantined { quarantined, rows, share, first, kept })
}

/// Keeps the `list` of what does not fit at `place`, for its owner alone: it has values of the source.
pub(crate) async fn quarantine_keep(place: PathBuf, list: NamedTempFile) -> Result<(), IngestError> {
    blocking(move || {
        let mut kept = AtomicFile::create(&place)?;
        kept.set_private()?;
        let written = kept.write_all(&files::read(list.path())?);
        written.map_err(IngestError::stream(format!("write `{}`", place.display())))?;
        Ok(kept.commit()?)
    })
    .await
}

const TEXT_BYTES: usize = 1000;

/// The beginning of a text, for lists of what does not fit.
pub(crate) fn shortened(text: &str) -> String {
    let end = text.floor_char_boundary(TEXT_BYTES);
    if end < text.len() { format!("{}…", &text[..end]) } else { text.to_owned() }
}

const BATCH_ROWS: usize = 8192;

/// Writes misfits as a Parquet table: file, sheet, row, column, text, reason.
pub(crate) fn quarantine_write(misfits: &[Misfit], target: File) -> Result<(), IngestError> {
    let text = |name: &str, nullable: bool| Field::new(name, DataType::Utf8, nullable);
    let schema = Arc::new(Schema::new(vec![
        text("file", false),
        text("sheet", true),
        Field::new("row", DataType::Int64, false),
        text("column", true),
        text("text", true),
        text("reason", false),
    ]));
    let mut part = PartWriter::new(target, &schema)?;
    for rows in misfits.chunks(BATCH_ROWS) {
        let texts = |value: fn(&Misfit) -> Option<&str>| -> ArrayRef {
            Arc::new(rows.iter().map(value).collect::<StringArray>())
        };
        let columns = vec![
            texts(|row| Some(&row.file)),
            texts(|row| row.sheet.as_deref()),
            Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.row as i64))),
            texts(|row| row.column.as_deref()),
            texts(|row| row.text.as_deref()),
            texts(|row| Some(&row.reason)),
        ];
        let batch = RecordBatch::try_new(Arc::clone(&schema), columns);
        part.write(&batch.map_err(IngestError::arrow("write the quarantine"))?)?;
    }
    part.finish()
}
