use std::fmt;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ropewalk_connectors::{
    ConnectionOptions, FetchLimits, FetchProgress, FetchRequest, JsonApiRequest, MongoRequest, SqlRequest, redacted,
};
use ropewalk_types::{Ambient, Digest};

use crate::{IngestError, Limits, TableFormat};

/// Where the data comes from. All but local files need [`IngestSettings::network`].
#[derive(Clone, PartialEq)]
pub enum Source {
    /// Paths of files and folders, or glob patterns (`*`, `?`, `[ab]`, `{a,b}`, `**` for any number of folders), all
    /// relative to the project. A folder stands for every file below it; links are not followed.
    Files(Vec<String>),
    /// Files of a web server or an object store, read as local ones.
    Remote(FetchRequest),
    /// The rows of a query. With a cursor and a previous version, those after that version are added to it.
    Sql(SqlRequest),
    /// The documents of a MongoDB collection.
    Documents(MongoRequest),
    /// The items of a JSON API with pages.
    JsonApi(JsonApiRequest),
}

impl Source {
    /// What to call it where anyone may read it: a place without any secret.
    pub fn shown(&self) -> String {
        match self {
            Self::Files(patterns) => patterns.join(", "),
            Self::Remote(request) => redacted(&request.url),
            Self::Sql(request) => redacted(&request.url),
            Self::Documents(request) => redacted(&request.url),
            Self::JsonApi(request) => redacted(&request.url),
        }
    }
}

/// Shows the place only, since requests may hold secrets.
impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Source({})", self.shown())
    }
}

impl<P: AsRef<Path>> From<P> for Source {
    fn from(path: P) -> Self {
        Self::Files(vec![path.as_ref().to_string_lossy().into_owned()])
    }
}

/// What it takes to read from a network.
#[derive(Clone)]
pub struct Network {
    /// Settings and secrets of connections.
    pub options: ConnectionOptions,
    /// Where the time of an import and the pauses between attempts come from.
    pub ambient: Arc<dyn Ambient>,
    /// What downloads may take.
    pub limits: FetchLimits,
    /// Hears how far downloads have come.
    pub progress: Arc<dyn FetchProgress>,
    /// Directory in which downloads wait for being whole, so that a run that was cut off goes on with them.
    pub downloads: PathBuf,
}

impl fmt::Debug for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { options, limits, downloads, .. } = self;
        let mut shown = f.debug_struct("Network");
        shown.field("options", options).field("limits", limits).field("downloads", downloads).finish_non_exhaustive()
    }
}

/// What a version is made of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Content {
    /// Tables when the source holds tables, files when it holds images or audio; an error when it holds both.
    #[default]
    Detect,
    /// One table of the rows of all files; images and audio are passed over and listed.
    Tables,
    /// The files themselves, with a table of what they are.
    Files,
}

/// Which sheets of a workbook are read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Sheets {
    /// The first visible worksheet.
    #[default]
    First,
    /// These; more than one get a first column `sheet` with the name of the sheet that a row comes from.
    Chosen(Vec<SheetName>),
    /// Every visible worksheet, with the column `sheet`.
    All,
}

/// What one sheet is called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SheetName {
    /// Its name.
    Name(String),
    /// Its place among the worksheets, counted from 1.
    Number(usize),
}

/// Which row names the columns of a sheet or a text of separated values.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HeaderRow {
    /// The first that holds anything.
    #[default]
    First,
    /// This row (of a sheet) or line (of a text), counted from 1; what stands above it is passed over.
    Row(u64),
    /// None: columns are called `column_1`, `column_2` and so on.
    Absent,
}

/// How texts of separated values are written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dialect {
    /// What parts the fields, an ASCII character; found in the first lines when none is given.
    pub delimiter: Option<char>,
    /// What encloses fields that hold delimiters or ends of lines, an ASCII character; none: nothing does.
    pub quote: Option<char>,
    /// Lines that begin with this ASCII character are passed over.
    pub comment: Option<char>,
    /// The encoding by its label in the WHATWG Encoding Standard, such as `windows-1252` or `shift_jis`. None: what
    /// the byte order mark says, or UTF-8. Holds for JSON too.
    pub encoding: Option<String>,
}

impl Default for Dialect {
    fn default() -> Self {
        Self { delimiter: None, quote: Some('"'), comment: None, encoding: None }
    }
}

impl Dialect {
    /// An error when two characters are the same or one cannot stand in its role.
    pub(crate) fn check(&self) -> Result<(), IngestError> {
        let characters: Vec<char> = [self.delimiter, self.quote, self.comment].into_iter().flatten().collect();
        let wrong = |reason: String| Err(IngestError::Settings { reason });
        for (place, character) in characters.iter().enumerate() {
            if !character.is_ascii() || matches!(character, '\n' | '\r' | '\0') {
                return wrong(format!("{character:?} cannot be a delimiter, a quote or the mark of a comment"));
            }
            if characters[..place].contains(character) {
                return wrong(format!("{character:?} has two roles among delimiter, quote and mark of a comment"));
            }
        }
        match &self.encoding {
            Some(label) if encoding_rs::Encoding::for_label_no_replacement(label.as_bytes()).is_none() => {
                wrong(format!("`{label}` is no encoding"))
            }
            _ => Ok(()),
        }
    }
}

/// What to ingest, and how.
#[derive(Clone, Debug)]
pub struct IngestSettings {
    /// Where the data comes from.
    pub source: Source,
    /// What the version is made of.
    pub content: Content,
    /// The format of every file, whatever its name says; by its name when none is given.
    pub format: Option<TableFormat>,
    /// The sheets to read of every workbook.
    pub sheets: Sheets,
    /// Which row names the columns.
    pub header: HeaderRow,
    /// How texts of separated values are written.
    pub dialect: Dialect,
    /// Texts that stand for no value, in workbooks and texts of separated values.
    pub null_texts: Vec<String>,
    /// Share of a column's cells with a value that may misfit its type before the column becomes text.
    pub type_tolerance: f64,
    /// Share of the rows that are read which may be in quarantine before the ingest fails.
    pub max_quarantined: f64,
    /// Where the quarantine is kept of an ingest that fails by it, until one succeeds; nowhere when none is given.
    pub kept_quarantine: Option<PathBuf>,
    /// JSON records of a file from which its columns are inferred; all when none is given. Later records that do not
    /// fit are in quarantine.
    pub inferred_records: Option<u64>,
    /// The version before this one. What a query with a cursor gives is added to it; it is given again when the files of
    /// a download are those of the request's `known` tags. Nothing else takes notice of it.
    pub previous: Option<Digest>,
    /// The latest version, which is given again where what came makes the same rows as it has. Nothing else takes notice
    /// of it, and local files do not: what they are decides alone which version they make.
    pub latest: Option<Digest>,
    /// For sources that are not local files.
    pub network: Option<Network>,
    /// What foreign bytes may make of this machine.
    pub limits: Limits,
    /// How many files, sheets and partitions are read at once.
    pub parallelism: NonZeroUsize,
    /// Directory for files of this run, removed when it ends.
    pub scratch: PathBuf,
}

impl IngestSettings {
    /// The defaults for `source`: as many files at once as there are cores, nulls as spreadsheets and data tools write
    /// them, one misfit in a hundred.
    pub fn new(source: impl Into<Source>, scratch: impl Into<PathBuf>) -> Self {
        Self {
            source: source.into(),
            content: Content::default(),
            format: None,
            sheets: Sheets::default(),
            header: HeaderRow::default(),
            dialect: Dialect::default(),
            null_texts: ["", "NA", "N/A", "NaN", "null"].map(str::to_owned).to_vec(),
            type_tolerance: 0.01,
            max_quarantined: 0.1,
            kept_quarantine: None,
            inferred_records: None,
            previous: None,
            latest: None,
            network: None,
            limits: Limits::default(),
            parallelism: std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN),
            scratch: scratch.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_are_told_apart() {
        let dialect = |delimiter, comment| Dialect { delimiter, comment, ..Dialect::default() };
        assert!(dialect(Some(';'), Some('#')).check().is_ok());
        for wrong in [dialect(Some('"'), None), dialect(Some(';'), Some(';')), dialect(Some('é'), None)] {
            assert!(wrong.check().is_err(), "{wrong:?}");
        }
        let encoded = |label: &str| Dialect { encoding: Some(label.to_owned()), ..Dialect::default() };
        assert!(encoded("Shift_JIS").check().is_ok());
        assert!(encoded("utf-9").check().is_err());
    }
}
