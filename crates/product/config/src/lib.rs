//! The project file, `ropewalk.toml`, read into types.
//!
//! This crate reads a text, never a disk; it checks spelling and shape, not whether the things named exist.
//! An unknown key is an error that suggests the key that was meant.

mod backends;
mod error;
mod project;
mod stage;

pub use backends::Backends;
pub use error::ConfigError;
pub use project::{DataSource, Monitor, Project, ProjectFile, Serve};
pub use stage::{Command, Out, Register, Stage, StageTable, Train};

/// The project file's name, at the root of a project.
pub const FILE_NAME: &str = "ropewalk.toml";

/// The folder beside the project file that holds the embedded back-ends.
pub const STATE_FOLDER: &str = ".ropewalk";
