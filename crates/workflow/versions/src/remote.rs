//! Versions on their way to and from other stores.

mod bring;
mod fetch;
mod lost;
mod push;
mod removals;
mod transfer;

use std::collections::{BTreeMap, HashSet};

use ropewalk_store::{Root, Store};
use ropewalk_types::{DatasetName, Digest, TagName};
use serde::Serialize;

use crate::error::VersionsError;
use crate::history::{History, Refs};
use crate::pointer::Kind;
use crate::version::Version;

pub use fetch::{Fetched, PullOptions, PullTo, Pulled};
pub use push::{PushOptions, Pushed, PushedHead};
pub use removals::RefusedRemoval;

/// A tag that names one version here and another one there; it was left as it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RefusedTag {
    /// The dataset.
    pub name: DatasetName,
    /// The tag.
    pub tag: TagName,
    /// What it names in the project's store.
    pub local: Digest,
    /// What it names in the remote.
    pub remote: Digest,
}

/// What holds the bytes of some content.
pub(crate) fn content_root(kind: Kind, root: Digest) -> Root {
    match kind {
        Kind::Folder => Root::Tree(root),
        Kind::File | Kind::Executable => Root::Blob(root),
    }
}

/// The versions that `from` names and `to` does not, with all between.
async fn lacking(history: History<'_>, from: &Refs, to: &Refs) -> Result<Vec<(Digest, Version)>, VersionsError> {
    let known: HashSet<_> = to.versions().into_iter().collect();
    history.ancestors(&from.versions(), &known).await
}

/// The refs of one dataset among those of many.
fn of<'a>(refs: &'a BTreeMap<DatasetName, Refs>, name: &DatasetName) -> std::borrow::Cow<'a, Refs> {
    refs.get(name).map_or_else(|| std::borrow::Cow::Owned(Refs::default()), std::borrow::Cow::Borrowed)
}

/// Whether a store has some content as a whole: what is visible there is complete.
async fn has(store: &Store, root: &Root) -> Result<bool, VersionsError> {
    Ok(store.contains(root.digest()).await?)
}
