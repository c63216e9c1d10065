use std::path::PathBuf;

use ropewalk_batch::BatchError;
use ropewalk_catalog::CatalogError;
use ropewalk_config::ConfigError;
use ropewalk_data::DataError;
use ropewalk_inference::InferenceError;
use ropewalk_inference_server::InferenceServerError;
use ropewalk_ingest::IngestError;
use ropewalk_lineage::LineageError;
use ropewalk_listening::ListeningError;
use ropewalk_load::LoadError;
use ropewalk_monitoring::MonitoringError;
use ropewalk_pipeline::{Failure, PipelineError};
use ropewalk_predictions::PredictionsError;
use ropewalk_registry::RegistryError;
use ropewalk_serving::ServingError;
use ropewalk_store::StoreError;
use ropewalk_store::files::FileError;
use ropewalk_tracking::TrackingError;
use ropewalk_types::{Diagnose, NameError, UriError};
use ropewalk_versions::VersionsError;

use crate::kinds::SqlTextError;

/// What can go wrong when the house is put together or used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServerError {
    /// A box reported an error; its text, code and hint are passed on.
    #[error("{0}")]
    Part(Failure),
    /// No project file in the folder or above it.
    #[error("there is no ropewalk.toml in {} or in a folder above it", .0.display())]
    NoProject(PathBuf),
    /// The project names a back-end that this program does not have.
    #[error("the {what} `{name}` is not built in")]
    NoBackend {
        /// Which back-end.
        what: &'static str,
        /// What the project file says.
        name: String,
        /// What there is.
        built_in: &'static str,
    },
    /// A name in the project file breaks the rules of its kind.
    #[error(transparent)]
    Name(#[from] NameError),
    /// A URI cannot be read.
    #[error(transparent)]
    Uri(#[from] UriError),
    /// An address cannot be listened on.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// Host and port.
        address: String,
        /// Why not.
        source: std::io::Error,
    },
    /// Without credentials, listening is for this machine alone.
    #[error("will not listen on {0} without credentials: anybody who reaches it could read and change everything")]
    CredentialsAbsent(std::net::IpAddr),
    /// A listener broke while it was serving.
    #[error("serving ended: {0}")]
    Serve(String),
    /// Something that was asked for is not there, or is not what it should be.
    #[error("{what}")]
    Unknown {
        /// What is missing or wrong, as a sentence.
        what: String,
        /// What to do about it.
        hint: String,
    },
}

macro_rules! part {
    ($($error:ty),+ $(,)?) => {
        $(impl From<$error> for ServerError {
            fn from(error: $error) -> Self {
                Self::Part(error.into())
            }
        })+
    };
}

part!(
    BatchError,
    CatalogError,
    ConfigError,
    DataError,
    FileError,
    InferenceError,
    InferenceServerError,
    IngestError,
    LineageError,
    ListeningError,
    LoadError,
    MonitoringError,
    PipelineError,
    PredictionsError,
    RegistryError,
    ServingError,
    SqlTextError,
    StoreError,
    TrackingError,
    VersionsError,
);

impl Diagnose for ServerError {
    fn code(&self) -> &'static str {
        match self {
            Self::Part(error) => error.code(),
            Self::NoProject(_) => "server.no_project",
            Self::NoBackend { .. } => "server.no_backend",
            Self::Name(_) => "server.name",
            Self::Uri(_) => "server.uri",
            Self::Listen { .. } => "server.listen",
            Self::CredentialsAbsent(_) => "server.credentials_absent",
            Self::Serve(_) => "server.serve",
            Self::Unknown { .. } => "server.unknown",
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Part(error) => error.hint(),
            Self::NoProject(_) => Some("begin with `ropewalk init`, or say where it is with --project".to_owned()),
            Self::NoBackend { built_in, .. } => Some(format!("use {built_in}")),
            Self::Listen { .. } => Some("choose another port; 0 takes a free one".to_owned()),
            Self::CredentialsAbsent(_) => Some(
                "ask for a token with --token-file or ROPEWALK_SERVER_TOKEN, or for users with --users-file".to_owned(),
            ),
            Self::Unknown { hint, .. } => Some(hint.clone()),
            _ => None,
        }
    }
}
