use ropewalk_execution::ExecutionError;
use ropewalk_store::StoreError;
use ropewalk_types::Diagnose;

/// The code of a run cannot be told.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VersionsError {
    /// A file that a stage names cannot be read or kept.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// `git` could not be followed.
    #[error(transparent)]
    Execution(#[from] ExecutionError),
    /// A file is named by a path that is not text or leaves the project.
    #[error("`{0}` cannot be part of the code: its path is not plain text inside the project")]
    Path(String),
}

impl Diagnose for VersionsError {
    fn code(&self) -> &'static str {
        match self {
            Self::Store(error) => error.code(),
            Self::Execution(error) => error.code(),
            Self::Path(_) => "versions.path",
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Store(error) => error.hint(),
            Self::Execution(error) => error.hint(),
            Self::Path(_) => Some("name files relative to the project, without `..`".to_owned()),
        }
    }
}
