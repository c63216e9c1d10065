//! Box "version control": which code a run ran.
//!
//! The code of a run is the project file and every file that its stages name. It is kept in the store as a tree,
//! so that it can be read again whether or not a commit holds it; where git knows better, the commit is its name.
//! This crate only asks git; it never changes a repository.

mod code;
mod error;
mod git;

pub use code::{CodeState, code_state};
pub use error::VersionsError;
