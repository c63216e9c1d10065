use ropewalk_batch::BatchError;
use ropewalk_types::Diagnose;

/// Why an endpoint cannot be loaded. What goes wrong under load is counted, and no error.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// The address cannot be used.
    #[error("`{endpoint}` is no endpoint: {reason}")]
    Address {
        /// As it was written.
        endpoint: String,
        /// What is wrong.
        reason: String,
    },
    /// A header cannot be sent.
    #[error("`{name}` is no header that can be sent: {reason}")]
    Header {
        /// Its name; the value may be a secret.
        name: String,
        /// What is wrong.
        reason: String,
    },
    /// The machine refuses threads.
    #[error("{clients} clients cannot be started: {reason}")]
    Threads {
        /// How many there should be.
        clients: usize,
        /// What the system says.
        reason: String,
    },
    /// A table cannot be read, or its columns are not the model's inputs.
    #[error(transparent)]
    Table(#[from] BatchError),
    /// Nobody answers.
    #[error("{endpoint} does not answer: {reason}")]
    Unreachable {
        /// The address.
        endpoint: String,
        /// Why not.
        reason: String,
    },
    /// It answers that it will not.
    #[error("{endpoint} refuses {what}: {status}: {reason}")]
    Refused {
        /// The address.
        endpoint: String,
        /// `the model's metadata` or `the request`.
        what: &'static str,
        /// Status of HTTP or gRPC.
        status: String,
        /// What it says.
        reason: String,
    },
    /// The model's metadata, or the request, cannot be read.
    #[error("{what} cannot be read: {reason}")]
    Unreadable {
        /// Which of them.
        what: &'static str,
        /// Why not.
        reason: String,
    },
}

impl Diagnose for LoadError {
    fn code(&self) -> &'static str {
        match self {
            Self::Address { .. } => "load.address",
            Self::Header { .. } => "load.header",
            Self::Threads { .. } => "load.threads",
            Self::Table(error) => error.code(),
            Self::Unreachable { .. } => "load.unreachable",
            Self::Refused { .. } => "load.refused",
            Self::Unreadable { .. } => "load.unreadable",
        }
    }

    fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Address { .. } => {
                "write http://HOST:PORT, https://HOST:PORT or HOST:PORT, and name certificates with --cacert"
            }
            Self::Header { .. } => "write NAME: VALUE; letters, digits and dashes make a name",
            Self::Threads { .. } => "ask with fewer clients",
            Self::Table(error) => return error.hint(),
            Self::Unreachable { .. } => "begin `ropewalk serve`, and give its port: REST and gRPC have one each",
            Self::Refused { what: "the request", .. } => "give a request that the model takes with --input BODY.json",
            Self::Refused { .. } => "look at the model's name, and at the key with --key-env",
            Self::Unreadable { .. } => "a request has `inputs`, each with `name`, `datatype`, `shape` and `data`",
        };
        Some(hint.to_owned())
    }
}
