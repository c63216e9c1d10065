use arrow::error::ArrowError;
use parquet::errors::ParquetError;
use ropewalk_connectors::ConnectorError;
use ropewalk_store::StoreError;
use ropewalk_store::files::FileError;
use ropewalk_types::{Diagnose, Digest};

/// Why foreign data could not be made into a dataset version, or such a version be read.
#[derive(Debug, thiserror::Error)]
pub enum IngestError {
    /// A local file could not be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A foreign system failed.
    #[error(transparent)]
    Connector(#[from] ConnectorError),
    /// A scratch file or a stream of bytes failed.
    #[error("cannot {action}: {source}")]
    Stream {
        /// What was being done, such as `unpack flights.zip`.
        action: String,
        /// Why it failed.
        source: std::io::Error,
    },
    /// The settings contradict themselves or the source.
    #[error("cannot ingest: {reason}")]
    Settings {
        /// What is wrong.
        reason: String,
    },
    /// A column has types in two files that no type holds together.
    #[error("column `{column}` is {first_type} in `{first}` and {second_type} in `{second}`")]
    Types {
        /// The column.
        column: String,
        /// The file that decided its type so far.
        first: String,
        /// The type so far.
        first_type: String,
        /// The file that does not fit.
        second: String,
        /// Its type there.
        second_type: String,
    },
    /// The file's name says that it is nothing that holds a table.
    #[error("cannot ingest `{file}`: {reason}")]
    SourceKind {
        /// The file.
        file: String,
        /// What it seems to be.
        reason: String,
    },
    /// An archive is broken, or unsafe to unpack.
    #[error("refused to unpack `{archive}`: {reason}")]
    Archive {
        /// The archive.
        archive: String,
        /// What is wrong, with the entry's name where it is about one.
        reason: String,
        /// What to do.
        hint: &'static str,
    },
    /// A workbook or text file cannot be read as a table.
    #[error("cannot read `{file}`: {reason}")]
    Table {
        /// The file, as it is called in its archive.
        file: String,
        /// What is wrong, with the place where that is known.
        reason: String,
        /// What to do.
        hint: &'static str,
    },
    /// No file has a name that the source asks for.
    #[error("no file fits `{pattern}`")]
    NoFile {
        /// The path or pattern.
        pattern: String,
    },
    /// A file was written to between the moment at which its digest was taken and the end of the ingest.
    #[error("cannot ingest `{file}`: it was changed while it was read")]
    Changed {
        /// The file.
        file: String,
    },
    /// The source holds no table with a column.
    #[error("`{source_name}` holds no table: {reason}")]
    Empty {
        /// The source.
        source_name: String,
        /// What was looked at.
        reason: String,
    },
    /// So many rows do not fit that this is not the table that it is taken for.
    #[error("more than {limit} rows of `{file}` and the files before it do not fit the columns; the last: {example}")]
    QuarantineFull {
        /// How many were accepted.
        limit: u64,
        /// The file at which the limit was passed.
        file: String,
        /// One row, column and reason.
        example: String,
    },
    /// So large a share of the rows does not fit that what is left is not the table.
    #[error(
        "{quarantined} of {rows} rows do not fit the columns, more than `max_quarantined` = {share}; the first: {first}"
    )]
    MostlyQuarantined {
        /// How many do not fit.
        quarantined: u64,
        /// Of how many.
        rows: u64,
        /// The share that is accepted.
        share: f64,
        /// File, row, column and reason of the first.
        first: String,
        /// Where all of them are listed.
        kept: Option<std::path::PathBuf>,
    },
    /// A value further down does not fit the type that the first rows of a file gave its column.
    #[error("`{file}` does not fit the types that its beginning has, of at most {rows} rows or 256 MiB: {place}")]
    Sampled {
        /// The file.
        file: String,
        /// Row, column, value and reason.
        place: String,
        /// How many rows are looked at, at most.
        rows: u64,
    },
    /// A stored blob is not what it is taken for.
    #[error("the stored {what} {digest} cannot be read: {reason}")]
    Damaged {
        /// Table part, report, piece.
        what: &'static str,
        /// Which blob or tree.
        digest: Digest,
        /// What is wrong with it.
        reason: String,
    },
    /// A background task was stopped before it had finished.
    #[error("a worker stopped: {0}")]
    Interrupted(String),
    /// Arrow or Parquet could not encode or decode a table.
    #[error("cannot {action}: {reason}")]
    Encoding {
        /// What was being done.
        action: &'static str,
        /// Why it failed.
        reason: String,
    },
}

/// What to do about a file that is not whole.
pub(crate) const DAMAGED: &str = "copy or download the file again, or save it again with the program that wrote it";
/// What to do about a place in a file that is written wrongly.
pub(crate) const MISTAKE: &str = "correct the file at that place, or save it again with the program that wrote it";
/// What to do about a text in an encoding that nothing tells.
pub(crate) const ENCODING: &str = "declare a dataset of the file in the project file with its `encoding`, such as \
                                   \"windows-1252\", \"utf-16le\" or \"shift_jis\", or save it as UTF-8";
/// What to do about a limit.
pub(crate) const LIMIT: &str =
    "raise the limit with `limits` of the dataset in the project file, if the file is what you meant";

impl IngestError {
    /// Gives an `io::Error` what was being done, such as `read part 3`.
    pub fn stream(action: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        |source| Self::Stream { action: action.into(), source }
    }

    /// Gives an Arrow error what was being done.
    pub fn arrow(action: &'static str) -> impl FnOnce(ArrowError) -> Self {
        move |error| Self::Encoding { action, reason: error.to_string() }
    }

    /// Gives a Parquet error what was being done.
    pub fn parquet(action: &'static str) -> impl FnOnce(ParquetError) -> Self {
        move |error| Self::Encoding { action, reason: error.to_string() }
    }

    pub(crate) fn changed(path: &std::path::Path) -> Self {
        Self::Changed { file: path.display().to_string() }
    }

    /// An error about the content of a file, and what to do.
    pub(crate) fn table(file: impl Into<String>, reason: impl Into<String>, hint: &'static str) -> Self {
        Self::Table { file: file.into(), reason: reason.into(), hint }
    }

    pub(crate) fn joined(error: &tokio::task::JoinError) -> Self {
        Self::Interrupted(error.to_string())
    }
}

impl Diagnose for IngestError {
    fn code(&self) -> &'static str {
        match self {
            Self::File(error) => error.code(),
            Self::Store(error) => error.code(),
            Self::Connector(error) => error.code(),
            Self::Stream { .. } => "ingest.stream",
            Self::Settings { .. } => "ingest.settings",
            Self::Types { .. } => "ingest.types",
            Self::SourceKind { .. } => "ingest.source_kind",
            Self::Archive { .. } => "ingest.archive",
            Self::Table { .. } => "ingest.table",
            Self::NoFile { .. } => "ingest.no_file",
            Self::Changed { .. } => "ingest.changed",
            Self::Empty { .. } => "ingest.empty",
            Self::QuarantineFull { .. } => "ingest.quarantine_full",
            Self::MostlyQuarantined { .. } => "ingest.mostly_quarantined",
            Self::Sampled { .. } => "ingest.sampled",
            Self::Damaged { .. } => "ingest.damaged",
            Self::Interrupted(_) => "ingest.interrupted",
            Self::Encoding { .. } => "ingest.encoding",
        }
    }

    fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::File(error) => return error.hint(),
            Self::Store(error) => return error.hint(),
            Self::Connector(error) => return error.hint(),
            Self::MostlyQuarantined { kept, .. } => {
                let listed = kept
                    .as_ref()
                    .map(|path| format!("`ropewalk sql \"SELECT * FROM '{}'\"` lists them; ", path.display()));
                return Some(format!(
                    "{}correct the source, or say how it is read (`header`, `delimiter`, `null_texts`, a cast in the \
                     query), or accept it by a larger `max_quarantined` of the dataset in the project file",
                    listed.unwrap_or_default()
                ));
            }
            Self::SourceKind { .. } => {
                "give .csv, .tsv, .json, .jsonl, .parquet, .arrow, .xlsx, .xlsb, .xls or .ods files, images or audio, or \
                 a .zip or .tar of them; or declare the format"
            }
            Self::Settings { .. } => "correct the settings of the dataset in the project file",
            Self::Types { .. } => "ingest the files as two datasets, or make the column the same in both",
            Self::Archive { hint, .. } | Self::Table { hint, .. } => *hint,
            Self::NoFile { .. } => "patterns begin at the project's folder; `*` fits names, `**` any number of folders",
            Self::Changed { .. } => "run it again when nothing writes to the file any more, or ingest a copy of it",
            Self::Empty { .. } => {
                "look into the source: it needs a file that is a table, and that at least one row, which names its columns"
            }
            Self::QuarantineFull { .. } => {
                "look at the example: the source may have several headers or be cut off; `limits.quarantined_rows` of the \
                 dataset in the project file is how many are accepted"
            }
            Self::Sampled { .. } => {
                "import the file as a dataset: an import looks at every row before it chooses the types"
            }
            Self::Damaged { .. } => "run the stage that made it again",
            Self::Stream { .. } | Self::Interrupted(_) | Self::Encoding { .. } => return None,
        };
        Some(hint.to_owned())
    }
}
