//! What came from what: links between things that have a URI, and the walk along them in both directions.
//!
//! A link is written by the code that creates the thing, in the same transaction ([`link`] takes the caller's
//! connection); lineage is never put together from logs afterwards. This crate knows no box of the workflow: it
//! checks that a link names things that stay what they are, and asks nothing about them.

mod error;
mod link;
mod walk;

pub use error::LineageError;
pub use link::{Link, Relation, UnknownRelation, children, is_linked, link, unlink};
use ropewalk_catalog::{Migration, MigrationSet};
pub use walk::{DEPTH, Step, downstream, upstream};

/// The table of links.
pub const MIGRATIONS: MigrationSet = MigrationSet {
    owner: "lineage",
    steps: &[Migration { number: 1, name: "lineage_link", sql: include_str!("../migrations/001_lineage_link.sql") }],
};
