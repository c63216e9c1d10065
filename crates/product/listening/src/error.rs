use std::path::PathBuf;

use ropewalk_store::files::FileError;
use ropewalk_types::Diagnose;

/// What keeps a listener from being opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ListeningError {
    /// A certificate or its key cannot be used.
    #[error("TLS cannot be served with {}: {reason}", path.display())]
    Tls {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A file of secrets lies open.
    #[error("{} can be read or written by others than its owner", .0.display())]
    Exposed(PathBuf),
    /// What is to be told cannot be read, or is told elsewhere.
    #[error("what happens cannot be told: {0}")]
    Telling(String),
    /// A file cannot be read.
    #[error(transparent)]
    File(#[from] FileError),
}

impl Diagnose for ListeningError {
    fn code(&self) -> &'static str {
        match self {
            Self::Tls { .. } => "listening.tls",
            Self::Exposed(_) => "listening.exposed",
            Self::Telling(_) => "listening.telling",
            Self::File(error) => error.code(),
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Tls { .. } => Some("give a chain of certificates and its private key, both in PEM".to_owned()),
            Self::Exposed(path) => Some(format!("chmod 600 {}", path.display())),
            Self::Telling(_) => Some("set RUST_LOG to a level, or as in ropewalk=info,sqlx=warn".to_owned()),
            Self::File(error) => error.hint(),
        }
    }
}
