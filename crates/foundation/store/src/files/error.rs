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
    /// A part of a piece was appended and could not be taken back.
    #[error("{problem}; what was written of it could not be taken back from `{}`", path.display())]
    Torn {
        /// The file.
        path: PathBuf,
        /// Why the piece could not be appended.
        problem: Box<FileError>,
    },
}

impl FileError {
    /// The file or directory.
    pub fn path(&self) -> &Path {
        match self {
            Self::Io { path, .. }
            | Self::TooLarge { path, .. }
            | Self::InTheWay { path }
            | Self::Held { path, .. }
            | Self::Torn { path, .. } => path,
        }
    }

    /// Whether the file or directory is not there.
    pub fn is_not_found(&self) -> bool {
        self.io_kind() == Some(io::ErrorKind::NotFound)
    }

    /// Whether the file or directory may not be written by this user, or nothing on its file system by anybody.
    pub(crate) fn is_unwritable(&self) -> bool {
        matches!(self.io_kind(), Some(io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem))
    }

    fn io_kind(&self) -> Option<io::ErrorKind> {
        match self {
            Self::Io { source, .. } => Some(source.kind()),
            Self::Torn { problem, .. } => problem.io_kind(),
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
                io::ErrorKind::ReadOnlyFilesystem => "file.read_only",
                _ => "file.io",
            },
            Self::TooLarge { .. } => "file.too_large",
            Self::InTheWay { .. } => "file.in_the_way",
            Self::Held { .. } => "file.held",
            Self::Torn { problem, .. } => problem.code(),
        }
    }

    fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Io { source, .. } => return disk_hint(source).map(str::to_owned),
            Self::Torn { problem, .. } => return problem.hint(),
            Self::TooLarge { .. } => "check that this is the file you meant",
            Self::InTheWay { .. } => "move or remove it, if it is not needed",
            Self::Held { .. } => "wait until it has finished, or stop it",
        };
        Some(hint.to_owned())
    }
}

/// What to do about a failure of the disk.
pub(crate) fn disk_hint(error: &io::Error) -> Option<&'static str> {
    match error.kind() {
        io::ErrorKind::NotFound => Some("check the path"),
        io::ErrorKind::PermissionDenied => Some("check the owner and the permissions"),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            Some("free some space on that disk and run the same command again")
        }
        io::ErrorKind::ReadOnlyFilesystem => {
            Some("its disk can only be read: mount it so that it can be written, or use another place")
        }
        io::ErrorKind::StaleNetworkFileHandle | io::ErrorKind::NotConnected | io::ErrorKind::HostUnreachable => {
            Some("see that its disk is still connected and mounted, then run the same command again")
        }
        _ if is_failing_device(error) => {
            Some("the disk itself fails or was taken away: look at the messages of the system (`dmesg`)")
        }
        _ => None,
    }
}

/// `EIO`, for which the standard library has no name.
fn is_failing_device(error: &io::Error) -> bool {
    cfg!(unix) && error.raw_os_error() == Some(5)
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
