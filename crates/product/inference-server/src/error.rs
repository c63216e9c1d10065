use std::net::IpAddr;
use std::path::PathBuf;

use ropewalk_config::ConfigError;
use ropewalk_listening::ListeningError;
use ropewalk_serving::ServingError;
use ropewalk_store::files::FileError;
use ropewalk_types::Diagnose;

/// What can go wrong between a model's file and its endpoint.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InferenceServerError {
    /// Without credentials, listening is for this machine alone.
    #[error("will not listen on {0} without credentials: anybody who reaches it could ask every model")]
    CredentialsAbsent(IpAddr),
    /// An address cannot be listened on.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// Host and port.
        address: String,
        /// Why not.
        source: std::io::Error,
    },
    /// A key of clients cannot be used.
    #[error("the key `{name}` cannot be used: {reason}")]
    Key {
        /// Its name in the configuration.
        name: String,
        /// Why not; never the key.
        reason: String,
    },
    /// The keys of JSON Web Tokens cannot be used.
    #[error("tokens cannot be checked with {}: {reason}", path.display())]
    JwtKeys {
        /// The file of keys.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
    /// A file or folder is no model.
    #[error("{} cannot be served: {reason}", path.display())]
    Place {
        /// The file or folder.
        path: PathBuf,
        /// Why not.
        reason: String,
        /// What to do about it.
        hint: String,
    },
    /// No file or folder holds the model.
    #[error("no file or folder that is served holds the model `{0}`")]
    UnknownModel(String),
    /// A `config.pbtxt` cannot be read.
    #[error("{}, line {line}: {reason}", path.display())]
    ModelConfig {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: usize,
        /// What is wrong.
        reason: String,
    },
    /// Something in the configuration does not fit.
    #[error("{what}")]
    Options {
        /// What does not fit, as a sentence.
        what: String,
        /// What to do about it.
        hint: String,
    },
    /// A listener broke while it was serving.
    #[error("serving ended: {0}")]
    Serve(String),
    /// A model could not be loaded, or the log could not be written.
    #[error(transparent)]
    Serving(#[from] ServingError),
    /// A certificate or a file of secrets cannot be used.
    #[error(transparent)]
    Listening(#[from] ListeningError),
    /// The configuration cannot be read.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A file cannot be read.
    #[error(transparent)]
    File(#[from] FileError),
}

impl Diagnose for InferenceServerError {
    fn code(&self) -> &'static str {
        match self {
            Self::CredentialsAbsent(_) => "inference_server.credentials_absent",
            Self::Listen { .. } => "inference_server.listen",
            Self::Key { .. } => "inference_server.key",
            Self::JwtKeys { .. } => "inference_server.jwt_keys",
            Self::Place { .. } => "inference_server.place",
            Self::UnknownModel(_) => "inference_server.unknown_model",
            Self::ModelConfig { .. } => "inference_server.model_config",
            Self::Options { .. } => "inference_server.options",
            Self::Serve(_) => "inference_server.serve",
            Self::Serving(error) => error.code(),
            Self::Listening(error) => error.code(),
            Self::Config(error) => error.code(),
            Self::File(error) => error.code(),
        }
    }

    fn hint(&self) -> Option<String> {
        let text = match self {
            Self::CredentialsAbsent(_) => {
                "name a key: --key NAME=env:VARIABLE, or [serve.keys.NAME] env = \"VARIABLE\""
            }
            Self::Listen { .. } => "choose another port; 0 takes a free one",
            Self::Key { .. } => "make one by `openssl rand -hex 32`",
            Self::JwtKeys { .. } => {
                "give a secret of 32 bytes or more, an RSA or P-256 public key in PEM, or a JWK set"
            }
            Self::UnknownModel(_) => "ask for the repository's index",
            Self::ModelConfig { .. } => "see Triton's model configuration: the text form of a ModelConfig message",
            Self::Place { hint, .. } | Self::Options { hint, .. } => hint,
            Self::Serve(_) => return None,
            Self::Serving(error) => return error.hint(),
            Self::Listening(error) => return error.hint(),
            Self::Config(error) => return error.hint(),
            Self::File(error) => return error.hint(),
        };
        Some(text.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_flag_that_the_hint_names_is_one() {
        let hint = InferenceServerError::CredentialsAbsent(IpAddr::from([0, 0, 0, 0])).hint().expect("hint");
        let flag = hint.split("--key ").nth(1).and_then(|rest| rest.split(',').next()).expect("a flag");
        assert!(flag.parse::<crate::KeyArgument>().is_ok(), "{flag}");
    }
}
