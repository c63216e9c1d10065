//! What is about to be done to a dataset, told before it is to be seen.

use std::sync::Arc;

use futures::future::BoxFuture;
use ropewalk_types::{DatasetName, Digest};

use crate::error::VersionsError;
use crate::workspace::Workspace;

/// Something that is about to be done to a dataset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Intent {
    /// The dataset.
    pub name: DatasetName,
    /// The version that it is about, if it is about one.
    pub version: Option<Digest>,
    /// What is about to be done.
    pub act: Act,
}

/// What can be done to a dataset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Act {
    /// What lies in the work tree is named by the pointer.
    Add {
        /// The content.
        content: Digest,
        /// The data, relative to the project.
        path: String,
    },
    /// A version is made.
    Commit {
        /// Why.
        message: String,
        /// Number of files.
        files: u64,
        /// Their bytes.
        bytes: u64,
    },
    /// Another version is merged into the one that is laid out; the result is the version that is named.
    Merge,
    /// A tag is set.
    Tag {
        /// The tag.
        tag: String,
    },
    /// A tag is deleted.
    Untag {
        /// The tag.
        tag: String,
    },
    /// A version is removed.
    Remove {
        /// Why.
        why: String,
    },
    /// What nobody has is let go.
    GiveUp {
        /// What becomes of what named it.
        what: String,
        /// The place of the store in which that is.
        place: String,
    },
    /// The dataset is tracked no longer.
    Untrack {
        /// Whether its files are removed too.
        files_removed: bool,
    },
    /// Versions are sent to another store.
    Push {
        /// What the project calls it.
        remote: String,
    },
    /// A version from another store is laid out.
    Pull {
        /// What the project calls it.
        remote: String,
    },
    /// What was done elsewhere is done here too: a tag is set or deleted, or a version removed.
    Adopt {
        /// What was done.
        act: Box<Act>,
        /// Who did it, where that is known.
        by: Option<String>,
        /// The place of the store that it comes from.
        place: String,
    },
}

/// Writes down what is about to be done; where it fails, nothing is done.
pub type Trail = Arc<dyn Fn(Intent) -> BoxFuture<'static, Result<(), VersionsError>> + Send + Sync>;

impl Workspace {
    /// Tells the trail, if there is one.
    pub(crate) async fn announce(
        &self,
        name: &DatasetName,
        version: Option<Digest>,
        act: Act,
    ) -> Result<(), VersionsError> {
        match self.trail() {
            Some(trail) => trail(Intent { name: name.clone(), version, act }).await,
            None => Ok(()),
        }
    }
}

/// Tells the trail of what is taken over of a dataset from another store, before it is to be seen.
#[derive(Clone, Copy)]
pub(crate) struct Adopting<'a> {
    pub(crate) workspace: &'a Workspace,
    /// The place of the other store.
    pub(crate) place: &'a str,
}

impl Adopting<'_> {
    pub(crate) async fn announce(
        self,
        name: &DatasetName,
        version: Digest,
        act: Act,
        by: Option<&str>,
    ) -> Result<(), VersionsError> {
        let (act, by, place) = (Box::new(act), by.map(str::to_owned), self.place.to_owned());
        self.workspace.announce(name, Some(version), Act::Adopt { act, by, place }).await
    }
}
