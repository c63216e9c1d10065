use std::io;
use std::path::{Path, PathBuf};

use ropewalk_types::Diagnose;

/// A failure at the disk.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// The operating system refused.
    #[error("cannot {action} `{}`: {source}", path.display())]
    Io {
        /// What was being done, such as `read`.
        action: &'static str,
        /// To which file or directory.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// The file is larger than its reader accepts.
    #[error("cannot read `{}`: it has more than the {limit} bytes that are accepted", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// The limit, in bytes.
        limit: u64,
    },
    /// A symbolic link or a file is where a directory should be, or a directory where a file should be.
    #[error("cannot write at `{}`: something of another kind is in the way", path.display())]
    InTheWay {
        /// What is in the way.
        path: PathBuf,
    },
    /// Another process holds the lock.
    #[error("cannot lock `{}`: it is held by {holder}", path.display())]
    Held {
        /// The lock file.
        path: PathBuf,
        /// Who holds it, as that process described itself.
        holder: String,
    },
}

impl FileError {
    /// Whether the file or directory is not there.
    pub fn is_not_found(&self) -> bool {
        self.io_kind() == Some(io::ErrorKind::NotFound)
    }

    fn io_kind(&self) -> Option<io::ErrorKind> {
        match self {
            Self::Io { source, .. } => Some(source.kind()),
            Self::TooLarge { .. } | Self::InTheWay { .. } | Self::Held { .. } => None,
        }
    }
}

impl Diagnose for FileError {
    fn code(&self) -> &'static str {
        match self {
            Self::Io { source, .. } => match source.kind() {
                io::ErrorKind::NotFound => "file.not_found",
                io::ErrorKind::PermissionDenied => "file.permission_denied",
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => "file.disk_full",
                _ => "file.io",
            },
            Self::TooLarge { .. } => "file.too_large",
            Self::InTheWay { .. } => "file.in_the_way",
            Self::Held { .. } => "file.held",
        }
    }

    fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Io { source, .. } => match source.kind() {
                io::ErrorKind::NotFound => "check the path",
                io::ErrorKind::PermissionDenied => "check the owner and the permissions",
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                    "free some space on that disk and run the same command again"
                }
                _ => return None,
            },
            Self::TooLarge { .. } => "check that this is the file you meant",
            Self::InTheWay { .. } => "move or remove it, if it is not needed",
            Self::Held { .. } => "wait until it has finished, or stop it",
        };
        Some(hint.to_owned())
    }
}

/// Gives an `io::Error` the path and the action that it lacks.
pub(crate) trait Doing<T> {
    fn doing(self, action: &'static str, path: &Path) -> Result<T, FileError>;
}

impl<T> Doing<T> for io::Result<T> {
    fn doing(self, action: &'static str, path: &Path) -> Result<T, FileError> {
        self.map_err(|source| FileError::Io { action, path: path.to_owned(), source })
    }
}
