use std::sync::Arc;

use ropewalk_types::Diagnose;

use crate::{postgres, sqlite, writer};

/// What a database driver said.
pub type Cause = Arc<dyn std::error::Error + Send + Sync>;

/// Why the catalogue could not be opened, read or written.
///
/// It can be cloned, because one failed commit answers every work that shared it.
#[derive(Clone, Debug, thiserror::Error)]
pub enum CatalogError {
    /// The URL is of a kind that this program cannot open.
    #[error("cannot open the catalogue `{url}`: {reason}")]
    Url {
        /// The URL as it was given.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Opening failed; the problem says why.
    #[error("cannot open the catalogue `{path}`: {problem}")]
    Open {
        /// The file.
        path: String,
        /// What stood in the way.
        problem: Box<CatalogError>,
    },
    /// Another process held the database for longer than we wait.
    #[error("the catalogue stayed locked for longer than the waiting time ({0})")]
    Locked(Cause),
    /// The file is something else.
    #[error("the file is not a SQLite database ({0})")]
    NotADatabase(Cause),
    /// The database's own structure is broken.
    #[error("the catalogue is damaged ({0})")]
    Damaged(Cause),
    /// The file, its folder or this connection may only be read.
    #[error("the catalogue can only be read here ({0})")]
    ReadOnly(Cause),
    /// There was no room for the change.
    #[error("the disk that holds the catalogue is full ({0})")]
    DiskFull(Cause),
    /// The file cannot be opened or created.
    #[error("the file cannot be opened or created ({0})")]
    CannotOpen(Cause),
    /// The disk reported an error.
    #[error("the disk reported an error under the catalogue ({0})")]
    Disk(Cause),
    /// A change met a failure of the file or its disk.
    #[error("{problem}, in the file `{path}`")]
    InFile {
        /// The file.
        path: String,
        /// What stood in the way.
        problem: Box<CatalogError>,
    },
    /// A unique, foreign key, not-null or check constraint refused a row.
    #[error("a rule of the catalogue refused the row ({0})")]
    Constraint(Cause),
    /// The server cannot be reached, or does not let us in.
    #[error("the catalogue's server cannot be used ({0})")]
    CannotConnect(Cause),
    /// A statement that must give a row gave none.
    #[error("the catalogue has no such row")]
    RowAbsent,
    /// A value is not of the kind that the program expects.
    #[error("the catalogue holds what this program cannot read: {0}")]
    Decode(Cause),
    /// All readers were busy for too long.
    #[error("no connection to the catalogue became free in time")]
    Busy,
    /// A text holds the character NUL, which PostgreSQL does not keep; no catalogue takes it, so that all take the same.
    #[error("a text holds the character NUL, which cannot be kept or searched for")]
    Nul,
    /// A regular expression cannot be read, or is too large.
    #[error("the regular expression cannot be used ({0})")]
    Pattern(Cause),
    /// A question to the server took longer than any may.
    #[error("the catalogue was asked for more than it can find in time ({0})")]
    Slow(Cause),
    /// Any other failure of a statement.
    #[error("a statement to the catalogue failed: {0}")]
    Statement(Cause),
    /// The transaction that this work shared was not committed; nothing of the work is kept.
    #[error("the change was not committed: {0}")]
    NotCommitted(Box<CatalogError>),
    /// The work panicked; nothing of it is kept.
    #[error("a change to the catalogue stopped with a panic: {0}")]
    Panicked(String),
    /// A work asked for another write of the same catalogue, and would have waited for itself.
    #[error("a change to the catalogue asked for a second one inside itself")]
    NestedWrite,
    /// The catalogue was closed.
    #[error("the catalogue is closed")]
    Closed,
    /// An applied migration and the program's text of it differ.
    #[error("migration {number} (`{name}`) of `{owner}` was applied with another text than this program's")]
    MigrationChanged {
        /// Whose tables.
        owner: String,
        /// Which migration.
        number: u32,
        /// Its name in this program.
        name: String,
    },
    /// The numbers of migrations do not run 1, 2, 3 …
    #[error("the migrations of `{owner}` in {place} have a gap: number {expected} is missing")]
    MigrationGap {
        /// Whose tables.
        owner: String,
        /// In the program, or in the database.
        place: &'static str,
        /// The missing number.
        expected: u32,
    },
    /// The database has seen a later program.
    #[error(
        "the catalogue is newer than this program: `{owner}` is at migration {database}, the program knows {program}"
    )]
    Newer {
        /// Whose tables.
        owner: String,
        /// The last migration applied.
        database: i64,
        /// The last migration that this program knows.
        program: u32,
    },
    /// A migration's statements failed; nothing of it is kept.
    #[error("migration {number} (`{name}`) of `{owner}` failed: {problem}")]
    MigrationFailed {
        /// Whose tables.
        owner: String,
        /// Which migration.
        number: u32,
        /// Its name.
        name: String,
        /// What the database said.
        problem: Box<CatalogError>,
    },
}

impl From<rusqlite::Error> for CatalogError {
    fn from(error: rusqlite::Error) -> Self {
        let classify = sqlite::classify(&error);
        classify(Arc::new(error)).in_file()
    }
}

impl From<sqlx::Error> for CatalogError {
    fn from(error: sqlx::Error) -> Self {
        match &error {
            sqlx::Error::PoolTimedOut => Self::Busy,
            sqlx::Error::PoolClosed => Self::Closed,
            sqlx::Error::Database(database) => {
                let classify = postgres::classify(&database.code().unwrap_or_default());
                classify(Arc::new(error))
            }
            sqlx::Error::Io(_) | sqlx::Error::Tls(_) | sqlx::Error::Protocol(_) | sqlx::Error::WorkerCrashed => {
                Self::CannotConnect(Arc::new(error))
            }
            _ => Self::Statement(Arc::new(error)),
        }
    }
}

impl CatalogError {
    /// That a value is not what the program expects of it.
    pub fn decode(problem: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Decode(Arc::from(problem.into()))
    }

    /// What failed, without where and in the course of what.
    pub fn root(&self) -> &Self {
        match self {
            Self::Open { problem, .. }
            | Self::InFile { problem, .. }
            | Self::MigrationFailed { problem, .. }
            | Self::NotCommitted(problem) => problem.root(),
            other => other,
        }
    }

    /// A value could not be spelled for the server.
    pub(crate) fn encode(problem: Box<dyn std::error::Error + Send + Sync>) -> Self {
        Self::Statement(Arc::from(problem))
    }

    /// The system refused a thread or a folder.
    pub(crate) fn thread(problem: std::io::Error) -> Self {
        Self::CannotOpen(Arc::new(problem))
    }

    /// With the name of the file, where its disk has failed a change: what failed is all that a person can mend.
    fn in_file(self) -> Self {
        let of_disk = matches!(
            self,
            Self::Damaged(_) | Self::ReadOnly(_) | Self::DiskFull(_) | Self::CannotOpen(_) | Self::Disk(_)
        );
        match writer::file() {
            Some(path) if of_disk => Self::InFile { path, problem: Box::new(self) },
            _ => self,
        }
    }
}

impl Diagnose for CatalogError {
    fn code(&self) -> &'static str {
        match self {
            Self::Open { problem, .. } | Self::NotCommitted(problem) | Self::InFile { problem, .. } => problem.code(),
            Self::Url { .. } => "catalog.url",
            Self::Locked(_) => "catalog.locked",
            Self::NotADatabase(_) => "catalog.not_a_database",
            Self::Damaged(_) => "catalog.damaged",
            Self::ReadOnly(_) => "catalog.read_only",
            Self::DiskFull(_) => "catalog.disk_full",
            Self::CannotOpen(_) => "catalog.cannot_open",
            Self::Disk(_) => "catalog.disk",
            Self::Constraint(_) => "catalog.constraint",
            Self::CannotConnect(_) => "catalog.cannot_connect",
            Self::RowAbsent => "catalog.row_absent",
            Self::Decode(_) => "catalog.decode",
            Self::Busy => "catalog.busy",
            Self::Nul => "catalog.nul",
            Self::Pattern(_) => "catalog.pattern",
            Self::Slow(_) => "catalog.slow",
            Self::Statement(_) => "catalog.statement",
            Self::Panicked(_) => "catalog.panicked",
            Self::NestedWrite => "catalog.nested_write",
            Self::Closed => "catalog.closed",
            Self::MigrationChanged { .. } => "catalog.migration_changed",
            Self::MigrationGap { .. } => "catalog.migration_gap",
            Self::Newer { .. } => "catalog.newer",
            Self::MigrationFailed { .. } => "catalog.migration_failed",
        }
    }

    fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Open { problem, .. }
            | Self::NotCommitted(problem)
            | Self::InFile { problem, .. }
            | Self::MigrationFailed { problem, .. } => {
                return problem.hint();
            }
            Self::Url { .. } => {
                "write `sqlite:PATH`, for example `sqlite:.ropewalk/catalog.db`, or `postgresql://USER@HOST/DATABASE`"
            }
            Self::CannotConnect(_) => "check that the server runs, the URL, and that this user may connect",
            Self::Locked(_) => "find the process that holds the file (`fuser FILE`) and let it finish, then try again",
            Self::NotADatabase(_) => "point the catalogue at another file, or move this one away",
            Self::Damaged(_) => "restore the file from a backup; `sqlite3 FILE .recover` may save what can be read",
            Self::ReadOnly(_) => "make the file and its folder writable for this user",
            Self::DiskFull(_) => "free some space and try again; nothing that was committed is lost",
            Self::CannotOpen(_) => "check that the folder exists and that this user may write to it",
            Self::Disk(_) => "check the disk and the system log; nothing that was committed has been changed",
            Self::Busy => "try again; if it repeats, a reader keeps its connection for too long",
            Self::Slow(_) => "ask for less at once, or with simpler conditions",
            Self::MigrationChanged { .. } => {
                "use the program that made this catalogue; an applied migration must never be edited"
            }
            Self::Newer { .. } => "use the newer program, or another catalogue",
            Self::Panicked(_) | Self::NestedWrite | Self::MigrationGap { .. } => {
                "this is a fault of the program: please report it"
            }
            Self::Constraint(_)
            | Self::Statement(_)
            | Self::RowAbsent
            | Self::Decode(_)
            | Self::Nul
            | Self::Pattern(_)
            | Self::Closed => return None,
        };
        Some(hint.to_owned())
    }
}
