use arrow::error::ArrowError;
use parquet::errors::ParquetError;
use ropewalk_catalog::CatalogError;
use ropewalk_store::StoreError;
use ropewalk_store::files::FileError;
use ropewalk_types::{Diagnose, Digest};

/// Why data could not be read, transformed, asked or recorded.
#[derive(Debug, thiserror::Error)]
pub enum DataError {
    /// A local file could not be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The catalogue failed.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// A scratch file or a stream of bytes failed.
    #[error("cannot {action}: {source}")]
    Stream {
        /// What was being done, such as `unpack flights.zip`.
        action: String,
        /// Why it failed.
        source: std::io::Error,
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
    },
    /// A workbook or text file cannot be read as a table.
    #[error("cannot read `{file}`: {reason}")]
    Table {
        /// The file, as it is called in its archive.
        file: String,
        /// What is wrong, with the place where that is known.
        reason: String,
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
    /// SQL that does not parse or has no meaning.
    #[error("the SQL {}is wrong: {message}", .place.map(|place| format!("at {place} ")).unwrap_or_default())]
    Sql {
        /// What is wrong.
        message: String,
        /// Where, when that is known.
        place: Option<Place>,
        /// What to write instead, when that can be guessed.
        suggestion: Option<String>,
    },
    /// SQL that would do more than read.
    #[error("the SQL was refused: {reason}")]
    Refused {
        /// What it would do.
        reason: String,
    },
    /// SQL whose result would differ from one run to the next.
    #[error(
        "the SQL was refused: `{function}()` gives another answer at every run, so the result could not be cached or reproduced"
    )]
    Volatile {
        /// The function.
        function: String,
    },
    /// SQL that failed while it ran.
    #[error("the SQL failed while it ran: {0}")]
    Execution(String),
    /// SQL that needs more memory than it may have.
    #[error("the SQL needs more memory than its limit of {limit} bytes: {reason}")]
    Memory {
        /// The limit, in bytes.
        limit: usize,
        /// Which operator asked for more.
        reason: String,
    },
    /// A question with a larger answer than was asked for.
    #[error("the answer has more than {limit} rows")]
    TooManyRows {
        /// The limit.
        limit: usize,
    },
    /// No dataset has this name.
    #[error("there is no dataset `{name}`")]
    UnknownDataset {
        /// The name that was asked for.
        name: String,
        /// Names that look like it.
        similar: Vec<String>,
    },
    /// The dataset has no such version.
    #[error("dataset `{name}` has no version `{version}`")]
    UnknownVersion {
        /// The dataset.
        name: String,
        /// The version that was asked for.
        version: String,
        /// Its latest version.
        latest: Digest,
    },
    /// The beginning of a digest that several versions share.
    #[error("`{version}` is the beginning of {} versions of dataset `{name}`", matches.len())]
    AmbiguousVersion {
        /// The dataset.
        name: String,
        /// The beginning that was given.
        version: String,
        /// The versions that begin so.
        matches: Vec<Digest>,
    },
    /// A raw dataset would be overwritten by a made one, or the other way round.
    #[error("dataset `{name}` is in zone `{present}` and cannot get a version in zone `{wanted}`")]
    ZoneChange {
        /// The dataset.
        name: String,
        /// The zone of its versions.
        present: String,
        /// The zone of the version that was offered.
        wanted: String,
    },
    /// Arrow or Parquet could not encode or decode a table.
    #[error("cannot {action}: {reason}")]
    Encoding {
        /// What was being done.
        action: &'static str,
        /// Why it failed.
        reason: String,
    },
}

/// A place in the text of a SQL statement, counted from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The line.
    pub line: u64,
    /// The character in the line.
    pub column: u64,
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "line {}, column {}", self.line, self.column)
    }
}

impl From<sqlx::Error> for DataError {
    fn from(error: sqlx::Error) -> Self {
        Self::Catalog(error.into())
    }
}

impl DataError {
    pub(crate) fn stream(action: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        |source| Self::Stream { action: action.into(), source }
    }

    pub(crate) fn arrow(action: &'static str) -> impl FnOnce(ArrowError) -> Self {
        move |error| Self::Encoding { action, reason: error.to_string() }
    }

    pub(crate) fn parquet(action: &'static str) -> impl FnOnce(ParquetError) -> Self {
        move |error| Self::Encoding { action, reason: error.to_string() }
    }

    pub(crate) fn joined(error: &tokio::task::JoinError) -> Self {
        Self::Execution(format!("a worker stopped: {error}"))
    }
}

impl Diagnose for DataError {
    fn code(&self) -> &'static str {
        match self {
            Self::File(error) => error.code(),
            Self::Store(error) => error.code(),
            Self::Catalog(error) => error.code(),
            Self::Stream { .. } => "data.stream",
            Self::SourceKind { .. } => "data.source_kind",
            Self::Archive { .. } => "data.archive",
            Self::Table { .. } => "data.table",
            Self::Empty { .. } => "data.empty",
            Self::QuarantineFull { .. } => "data.quarantine_full",
            Self::Damaged { .. } => "data.damaged",
            Self::Sql { .. } => "data.sql",
            Self::Refused { .. } => "data.refused",
            Self::Volatile { .. } => "data.volatile",
            Self::Execution(_) => "data.execution",
            Self::Memory { .. } => "data.memory",
            Self::TooManyRows { .. } => "data.too_many_rows",
            Self::UnknownDataset { .. } => "data.unknown_dataset",
            Self::UnknownVersion { .. } => "data.unknown_version",
            Self::AmbiguousVersion { .. } => "data.ambiguous_version",
            Self::ZoneChange { .. } => "data.zone_change",
            Self::Encoding { .. } => "data.encoding",
        }
    }

    fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::File(error) => return error.hint(),
            Self::Store(error) => return error.hint(),
            Self::Catalog(error) => return error.hint(),
            Self::Sql { suggestion, .. } => return suggestion.clone(),
            Self::UnknownDataset { similar, .. } if !similar.is_empty() => {
                return Some(format!("did you mean {}?", quoted(similar)));
            }
            Self::UnknownVersion { latest, .. } => return Some(format!("the latest version is {}", latest.short())),
            Self::AmbiguousVersion { matches, .. } => {
                let shown: Vec<_> = matches.iter().take(4).map(ToString::to_string).collect();
                return Some(format!("write more of the digest: {}", quoted(&shown)));
            }
            Self::SourceKind { .. } => {
                "give a .xlsx, .xlsm, .xlsb, .xls, .ods, .csv or .tsv file, or a .zip of such files"
            }
            Self::Archive { .. } => "make the archive again from the files themselves, or raise the limit if it is one",
            Self::Table { .. } => "open the file in the program that wrote it and save it again",
            Self::Empty { .. } => "check that the first sheet has a header row",
            Self::QuarantineFull { .. } => "look at the example: the source may have several headers or be cut off",
            Self::Damaged { .. } => "run the stage that made it again",
            Self::Refused { .. } => "write one SELECT",
            Self::Volatile { .. } => "give the value as a constant in the SQL, or compute it in an earlier stage",
            Self::Memory { .. } => "raise the memory limit, or select fewer columns before the join or sort",
            Self::TooManyRows { .. } => "add a LIMIT",
            Self::ZoneChange { .. } => "give the new dataset another name",
            Self::UnknownDataset { .. } => "list the datasets to see their names",
            Self::Stream { .. } | Self::Execution(_) | Self::Encoding { .. } => return None,
        };
        Some(hint.to_owned())
    }
}

fn quoted(names: &[String]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}
