use std::collections::BTreeMap;

use ropewalk_types::{Digest, Timestamp, canonical_json};
use serde::{Deserialize, Serialize};

use crate::IngestError;

/// The fact of an import that names its cursor.
pub(crate) const CURSOR_COLUMN: &str = "cursor_column";

/// The fact of an import that says how many of its parts an earlier run had read.
pub(crate) const READ_BEFORE: &str = "parts_read_before";

/// The form of the report that this program writes.
pub const REPORT_FORMAT: u32 = 1;

/// What a dataset version holds and what was seen while it was made: `report.json` of its tree.
///
/// For local files it has no times and no absolute paths, so the same source gives the same bytes on every machine.
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
    /// Rows without any cell, passed over: blank lines of texts, empty rows of sheets.
    pub empty_rows: u64,
    /// Cells that hold an error such as `#N/A`, read as null.
    pub error_cells: u64,
    /// What a reader of the table should know, beside what is said of columns and files.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// Files in the tree's `files`, for a version of files; their table has a row for each that could be looked into.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kept_files: Option<u64>,
    /// Where the rows came from and when, for a source that need not answer the same again; none for local files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<Origin>,
}

/// Where rows came from that were asked for over a network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// What was asked, the latest last: a version that adds to another one keeps what that one was made from.
    pub imports: Vec<Import>,
    /// The largest value of the cursor column so far, which the next import goes on after.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
}

/// One time that a source was asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Import {
    /// The place, without any secret.
    pub location: String,
    /// When it was asked, milliseconds since 1970-01-01 UTC.
    pub retrieved_at: Timestamp,
    /// What was asked for, if that was more than the place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub query: Option<String>,
    /// What the file that came is called, if it was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// Rows that came, with those in quarantine; none for one of several files that are kept as they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rows: Option<u64>,
    /// Digest of what came: of one file its bytes; otherwise of the list of the digests of the parts.
    pub digest: Digest,
    /// What else the source said, such as an entity tag or the version of the server; and by which column an import
    /// with a cursor chose its rows.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub facts: BTreeMap<String, String>,
}

impl Origin {
    /// Whether the same was asked of the same places, whenever that was and whatever was said beside it.
    fn asks_the_same(&self, other: &Self) -> bool {
        fn asked(import: &Import) -> (&str, Option<&str>, Option<&str>, Option<&String>) {
            let Import { location, query, file, facts, .. } = import;
            (location.as_str(), query.as_deref(), file.as_deref(), facts.get(CURSOR_COLUMN))
        }
        self.cursor == other.cursor && self.imports.iter().map(asked).eq(other.imports.iter().map(asked))
    }

    /// Whether some parts of it were read by an earlier run than the others, so that they are of no one moment.
    fn is_of_two_runs(&self) -> bool {
        self.imports.iter().any(|import| import.facts.contains_key(READ_BEFORE))
    }

    /// With the rows of each file, which `report` counts: they are known when all are read.
    pub(crate) fn counted(mut self, report: &TableReport) -> Self {
        if let [only] = self.imports.as_mut_slice() {
            only.rows = Some(report.rows + report.quarantined);
        } else if report.kept_files.is_none() {
            for import in &mut self.imports {
                let Some(name) = &import.file else { continue };
                // What lies in an archive is named below it.
                let below = |file: &FileReport| file.name.strip_prefix(name).is_some_and(|rest| rest.starts_with('/'));
                let its = report.files.iter().filter(|file| file.name == *name || below(file));
                import.rows = Some(its.map(|file| file.rows + file.quarantined).sum());
            }
        }
        self
    }
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
    /// The encoding, for text that is not UTF-8.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encoding: Option<String>,
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
    /// Whether both tell of the same rows from the same place, which need not answer the same again, so that this report
    /// can go on to stand for the `other`. When it was asked, which bytes the rows were read from, how these were written
    /// and what is noted beside them may differ; but rows of one moment are more than those of a read that was cut off.
    pub(crate) fn tells_the_same(&self, other: &Self) -> bool {
        let (Some(one), Some(another)) = (&self.origin, &other.origin) else { return false };
        let is_better = one.is_of_two_runs() && !another.is_of_two_runs();
        !is_better && one.asks_the_same(another) && self.of_rows() == other.of_rows()
    }

    /// What it says of the rows alone.
    fn of_rows(&self) -> Self {
        let mut report = Self { origin: None, notes: Vec::new(), empty_rows: 0, ..self.clone() };
        for column in &mut report.columns {
            column.notes.clear();
        }
        for file in &mut report.files {
            file.digest = Digest::of(b"");
            (file.delimiter, file.encoding) = (None, None);
            file.notes.clear();
        }
        report
    }

    /// Its notes of the table and of the columns, each with the column that it is about.
    pub(crate) fn notes_all(&self) -> impl Iterator<Item = (Option<&str>, &str)> {
        let table = self.notes.iter().map(|note| (None, note.as_str()));
        let columns = self
            .columns
            .iter()
            .flat_map(|column| column.notes.iter().map(move |note| (Some(column.name.as_str()), note.as_str())));
        table.chain(columns)
    }

    /// The canonical JSON text.
    pub fn encode(&self) -> Result<Vec<u8>, IngestError> {
        let value = serde_json::to_value(self)
            .map_err(|error| IngestError::Encoding { action: "encode the report", reason: error.to_string() })?;
        Ok(canonical_json(&value).into_bytes())
    }

    /// Reads what [`TableReport::encode`] wrote for the tree `tree`.
    pub fn decode(bytes: &[u8], tree: &Digest) -> Result<Self, IngestError> {
        let damaged = |reason: String| IngestError::Damaged { what: "report of dataset", digest: *tree, reason };
        let report: Self = serde_json::from_slice(bytes).map_err(|error| damaged(error.to_string()))?;
        if report.format != REPORT_FORMAT {
            return Err(damaged(format!("its format is {}, this program reads {REPORT_FORMAT}", report.format)));
        }
        Ok(report)
    }
}
