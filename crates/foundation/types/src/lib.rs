//! The vocabulary of Ropewalk: digests, ids, names, URIs, states, signatures.
//!
//! Every other crate speaks in these types. This crate does no I/O, reads no clock and draws no random
//! numbers: both come in through [`Ambient`]. What only one box of the workflow needs lives in that box.

mod ambient;
mod canonical;
mod diagnose;
mod digest;
mod id;
mod name;
mod signature;
mod state;
mod uri;
mod wording;

pub use ambient::{Ambient, ManualAmbient, Timestamp};
pub use canonical::canonical_json;
pub use diagnose::Diagnose;
pub use digest::{Digest, DigestError};
pub use id::{ExperimentId, IdError, PredictionId, RunId};
pub use name::{Alias, DatasetName, ModelName, NameError, RemoteName, StageName, TagName};
pub use signature::{ElementType, Signature, TensorSpec, UnknownElementType};
pub use state::{RunStatus, UnknownState, Zone};
pub use uri::{Uri, UriError};
pub use wording::{counted, shell_word};
