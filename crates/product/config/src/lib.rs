//! The project file, `ropewalk.toml`, read into types.
//!
//! This crate reads a text, never a disk; it checks spelling and shape, not whether the things named exist.
//! An unknown key is an error that suggests the key that was meant.

mod backends;
mod data;
mod edit;
mod error;
mod project;
mod secrets;
mod serve;
mod stage;

pub use backends::Backends;
pub use data::{
    DataSource, FromEnvironment, Header, HeaderValue, JsonApi, OneOrMany, Paging, Partition, Sheet, SourceLimits,
    holds_password,
};
pub use edit::{remote_added, remote_removed};
pub use error::ConfigError;
pub use project::{Monitor, Project, ProjectFile, Remote};
pub use secrets::{MaskedFile, SecretRules, masked};
pub use serve::{
    ModelControl, ModelPlace, ModelPlaceError, ModelSettingsTable, Serve, ServeBatching, ServeCors, ServeJwt, ServeKey,
    ServeLimits, ServeLog, ServeTls, ServeTrace,
};
pub use stage::{Command, Declares, Out, Predict, Register, Stage, StageTable, Train};

/// The project file's name, at the root of a project.
pub const FILE_NAME: &str = "ropewalk.toml";

/// The folder beside the project file that holds the embedded back-ends.
pub const STATE_FOLDER: &str = ".ropewalk";
