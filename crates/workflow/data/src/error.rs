use std::sync::Arc;

use arrow::error::ArrowError;
use ropewalk_catalog::CatalogError;
use ropewalk_ingest::IngestError;
use ropewalk_lineage::LineageError;
use ropewalk_store::{FileError, StoreError};
use ropewalk_types::{Diagnose, Digest};

use crate::dataset::removal::Removal;

/// Why data could not be read, transformed, asked or recorded.
#[derive(Debug, thiserror::Error)]
pub enum DataError {
    /// A dataset version could not be made or read.
    #[error(transparent)]
    Ingest(Arc<IngestError>),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The catalogue failed.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// Lineage could not be followed.
    #[error(transparent)]
    Lineage(#[from] LineageError),
    /// A local file could not be read.
    #[error(transparent)]
    LocalFile(#[from] FileError),
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
    /// SQL that came to a number that its type cannot hold.
    #[error("the SQL failed while it ran: {0}")]
    Overflow(String),
    /// A file that could not be read while SQL ran.
    #[error("the SQL failed while it read a file: {0}")]
    Reading(String),
    /// SQL that needs more memory than it may have.
    #[error("the SQL needs more memory than its limit of {limit} bytes: {reason}")]
    Memory {
        /// The limit, in bytes.
        limit: usize,
        /// With about which limit it can do; other operators may ask for more later. None where that is not known.
        least: Option<usize>,
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
        /// Its latest version, if one is left.
        latest: Option<Digest>,
    },
    /// The version is known, but it was removed.
    #[error("version {} of dataset `{}` was removed by {}: {}", .0.digest.short(), .0.name, .0.who, .0.why)]
    Removed(Box<Removal>),
    /// A tag names another version already.
    #[error("tag `{tag}` of dataset `{name}` is on version {} already", present.short())]
    TagTaken {
        /// The dataset.
        name: String,
        /// The tag.
        tag: String,
        /// The version that has it.
        present: Digest,
    },
    /// The dataset has no such tag.
    #[error("dataset `{name}` has no tag `{tag}`")]
    UnknownTag {
        /// The dataset.
        name: String,
        /// The tag.
        tag: String,
    },
    /// A version with a tag was to be removed.
    #[error("version {} of dataset `{name}` cannot be removed: it is tagged {}", digest.short(), quoted(tags))]
    Tagged {
        /// The dataset.
        name: String,
        /// The version.
        digest: Digest,
        /// Its tags.
        tags: Vec<String>,
    },
    /// A statement about data without the name of who makes it, or without a reason.
    #[error("{what} needs to say who makes it and why")]
    Statement {
        /// A removal, a declaration.
        what: &'static str,
    },
    /// A file on disk that SQL names and that cannot be a table.
    #[error("cannot read `{path}` as a table: {reason}")]
    File {
        /// As the SQL has it.
        path: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A file on disk that SQL names, and whose name is that of no table.
    #[error("cannot read `{path}` as a table: {reason}")]
    FileName {
        /// The file.
        path: String,
        /// What its name says.
        reason: &'static str,
    },
    /// The place to which an answer is written failed.
    #[error("cannot write the answer: {0}")]
    Output(#[source] std::io::Error),
    /// A check that makes no sense for the table that it is declared on.
    #[error("check `{check}` of dataset `{dataset}` cannot be made: {reason}")]
    Check {
        /// The check.
        check: String,
        /// The dataset.
        dataset: String,
        /// What is wrong.
        reason: String,
    },
    /// Two tables that cannot be compared as was asked.
    #[error("the versions cannot be compared: {reason}")]
    Diff {
        /// What is in the way.
        reason: String,
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
    /// An object of a remote says something else than a machine of the team would have written.
    #[error("what the remote has of {} cannot be used: {reason}", of_version(name, digest.as_ref()))]
    Foreign {
        /// The dataset.
        name: String,
        /// The version, if it is about one.
        digest: Option<Digest>,
        /// What is wrong with it.
        reason: String,
    },
    /// An object of a remote was written by a later program.
    #[error(
        "what the remote has of `{name}` was written by a newer Ropewalk: its format is {found}, this program reads {known}"
    )]
    NewerFormat {
        /// The dataset.
        name: String,
        /// The format of the object.
        found: u32,
        /// The newest format that is known here.
        known: u32,
    },
    /// Arrow or JSON could not encode or decode what was asked.
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

impl From<IngestError> for DataError {
    fn from(error: IngestError) -> Self {
        Self::Ingest(Arc::new(error))
    }
}

impl DataError {
    pub(crate) fn arrow(action: &'static str) -> impl FnOnce(ArrowError) -> Self {
        move |error| match error {
            ArrowError::IoError(_, source) => Self::Output(source),
            other => Self::Encoding { action, reason: other.to_string() },
        }
    }
}

impl Diagnose for DataError {
    fn code(&self) -> &'static str {
        match self {
            Self::Ingest(error) => error.code(),
            Self::Store(error) => error.code(),
            Self::Catalog(error) => error.code(),
            Self::Lineage(error) => error.code(),
            Self::LocalFile(error) => error.code(),
            Self::Sql { .. } => "data.sql",
            Self::Refused { .. } => "data.refused",
            Self::Volatile { .. } => "data.volatile",
            Self::Execution(_) => "data.execution",
            Self::Overflow(_) => "data.overflow",
            Self::Reading(_) => "data.reading",
            Self::Memory { .. } => "data.memory",
            Self::TooManyRows { .. } => "data.too_many_rows",
            Self::UnknownDataset { .. } => "data.unknown_dataset",
            Self::UnknownVersion { .. } => "data.unknown_version",
            Self::AmbiguousVersion { .. } => "data.ambiguous_version",
            Self::Removed(_) => "data.removed",
            Self::TagTaken { .. } => "data.tag_taken",
            Self::UnknownTag { .. } => "data.unknown_tag",
            Self::Tagged { .. } => "data.tagged",
            Self::Statement { .. } => "data.statement",
            Self::File { .. } | Self::FileName { .. } => "data.file",
            Self::Output(_) => "data.output",
            Self::Check { .. } => "data.check",
            Self::Diff { .. } => "data.diff",
            Self::ZoneChange { .. } => "data.zone_change",
            Self::Foreign { .. } => "data.foreign",
            Self::NewerFormat { .. } => "data.newer_format",
            Self::Encoding { .. } => "data.encoding",
        }
    }

    fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Ingest(error) => return error.hint(),
            Self::Store(error) => return error.hint(),
            Self::Catalog(error) => return error.hint(),
            Self::Lineage(error) => return error.hint(),
            Self::LocalFile(error) => return error.hint(),
            Self::Sql { suggestion, .. } => return suggestion.clone(),
            Self::UnknownDataset { similar, .. } if !similar.is_empty() => {
                return Some(format!("did you mean {}?", quoted(similar)));
            }
            Self::UnknownVersion { latest: Some(latest), .. } => {
                return Some(format!("the latest version is {}", latest.short()));
            }
            Self::AmbiguousVersion { matches, .. } => {
                let shown: Vec<_> = matches.iter().take(4).map(ToString::to_string).collect();
                return Some(format!("write more of the digest: {}", quoted(&shown)));
            }
            Self::Refused { .. } => "write one SELECT",
            Self::Volatile { .. } => "give the value as a constant in the SQL, or compute it in an earlier stage",
            Self::Memory { least: Some(least), .. } => {
                return Some(format!(
                    "it needs about {} MB (`ropewalk sql --memory MB`), or fewer columns before the join or sort",
                    least.div_ceil(1_000_000)
                ));
            }
            Self::Memory { .. } => {
                "raise the memory limit (`ropewalk sql --memory MB`), or select fewer columns before the join or sort"
            }
            Self::TooManyRows { .. } => "add a LIMIT",
            Self::Overflow(_) => {
                "cast the numbers before: CAST(x AS DECIMAL(38, 0)) is exact, CAST(x AS DOUBLE) is not"
            }
            Self::ZoneChange { .. } => "give the new dataset another name",
            Self::UnknownDataset { .. } => "list the datasets to see their names",
            Self::Removed(_) => "run the stage that made it again, or import it again",
            Self::TagTaken { .. } => "choose another tag, or move this one explicitly",
            Self::UnknownTag { .. } | Self::UnknownVersion { .. } => "list the dataset's versions to see their tags",
            Self::Tagged { .. } => "remove its tags first",
            Self::Statement { .. } => "give a name and a reason: both are kept",
            Self::Check { .. } => "correct the check in the project file",
            Self::Diff { .. } => "give a key whose values are in one row each, or none",
            Self::Foreign { .. } => {
                "nothing of it was taken over; `ropewalk data verify --remote NAME --heal` writes it again on a machine that \
                 has that table"
            }
            Self::NewerFormat { .. } => "install the newer version here too",
            Self::FileName { .. } => {
                "the end of its name must be .csv, .tsv, .json, .jsonl, .parquet, .arrow, .xlsx, .xlsb, .xls or .ods, with \
                 .gz or .zst after it if it is packed, or .zip or .tar"
            }
            Self::Reading(_) => "look for a file that is damaged, cut off, or was changed meanwhile",
            Self::Execution(_) | Self::Encoding { .. } | Self::File { .. } | Self::Output(_) => return None,
        };
        Some(hint.to_owned())
    }
}

fn quoted(names: &[String]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

fn of_version(name: &str, digest: Option<&Digest>) -> String {
    digest.map_or_else(|| format!("`{name}`"), |digest| format!("version {} of `{name}`", digest.short()))
}
