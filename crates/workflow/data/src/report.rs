use ropewalk_types::{Digest, canonical_json};
use serde::{Deserialize, Serialize};

use crate::DataError;

/// The form of the report that this program writes.
pub const REPORT_FORMAT: u32 = 1;

/// What a dataset version holds and what was seen while it was made: `report.json` of its tree.
///
/// It has no times and no absolute paths, so the same source gives the same bytes on every machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableReport {
    /// [`REPORT_FORMAT`].
    pub format: u32,
    /// Rows of the table, without those in quarantine.
    pub rows: u64,
    /// Its columns, in order.
    pub columns: Vec<ColumnReport>,
    /// The source files, in the order of the parts; empty for a table that SQL made.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<FileReport>,
    /// What the source holds beside tables.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub skipped: Vec<Skipped>,
    /// Rows with a cell that does not fit; they are listed in `quarantine.parquet`.
    pub quarantined: u64,
    /// Rows without any cell, passed over.
    pub empty_rows: u64,
    /// Cells that hold an error such as `#N/A`, read as null.
    pub error_cells: u64,
}

/// One column of a table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ColumnReport {
    /// Its name.
    pub name: String,
    /// Its type; see [`crate::Column`].
    #[serde(rename = "type")]
    pub data_type: String,
    /// Rows without a value.
    pub nulls: u64,
    /// Cells that did not fit the type; their rows are in quarantine.
    pub misfits: u64,
    /// What a reader of the table should know.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// One file of the source.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileReport {
    /// Its name: the path inside the archive, or the file's own name.
    pub name: String,
    /// The digest of its bytes.
    pub digest: Digest,
    /// Which sheet was read, for a workbook.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sheet: Option<String>,
    /// What parts the fields, for text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delimiter: Option<String>,
    /// Rows that went into the table.
    pub rows: u64,
    /// Rows that did not fit.
    pub quarantined: u64,
    /// Columns of the table that this file lacks; they are null in its rows.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub missing_columns: Vec<String>,
    /// What a reader of the table should know.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// Something in the source that is not a table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Skipped {
    /// Its name.
    pub name: String,
    /// Why it was passed over.
    pub reason: String,
}

impl TableReport {
    /// The canonical JSON text.
    pub fn encode(&self) -> Result<Vec<u8>, DataError> {
        let value = serde_json::to_value(self)
            .map_err(|error| DataError::Encoding { action: "encode the report", reason: error.to_string() })?;
        Ok(canonical_json(&value).into_bytes())
    }

    /// Reads what [`TableReport::encode`] wrote for the tree `tree`.
    pub fn decode(bytes: &[u8], tree: &Digest) -> Result<Self, DataError> {
        let damaged = |reason: String| DataError::Damaged { what: "report of dataset", digest: *tree, reason };
        let report: Self = serde_json::from_slice(bytes).map_err(|error| damaged(error.to_string()))?;
        if report.format != REPORT_FORMAT {
            return Err(damaged(format!("its format is {}, this program reads {REPORT_FORMAT}", report.format)));
        }
        Ok(report)
    }
}
