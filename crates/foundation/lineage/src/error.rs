use ropewalk_catalog::CatalogError;
use ropewalk_types::{Diagnose, Uri};

/// Why lineage could not be written or followed.
#[derive(Clone, Debug, thiserror::Error)]
pub enum LineageError {
    /// The catalogue failed.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// A link named a thing that will mean something else tomorrow.
    #[error("`{0}` cannot stand in lineage: what it names can change")]
    Movable(Uri),
    /// A row of the catalogue holds what no version of this program writes.
    #[error("the lineage link of `{child}` to `{parent}` cannot be read: {reason}")]
    Damaged {
        /// As stored.
        child: String,
        /// As stored.
        parent: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The thread goes on past the depth at which a walk stops.
    #[error("the lineage of `{uri}` is longer than {depth} steps")]
    TooDeep {
        /// Where the walk began.
        uri: Uri,
        /// The steps that were taken.
        depth: u32,
    },
}

impl Diagnose for LineageError {
    fn code(&self) -> &'static str {
        match self {
            Self::Catalog(error) => error.code(),
            Self::Movable(_) => "lineage.movable",
            Self::Damaged { .. } => "lineage.damaged",
            Self::TooDeep { .. } => "lineage.too_deep",
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Catalog(error) => error.hint(),
            Self::Movable(_) => Some("name the version by its number or digest".to_owned()),
            Self::Damaged { .. } => Some("the catalogue may have been written by a newer program".to_owned()),
            Self::TooDeep { .. } => Some("follow it on from one of its last steps".to_owned()),
        }
    }
}
