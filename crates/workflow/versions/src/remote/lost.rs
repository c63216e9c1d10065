//! Versions that refs of a remote name, and that it has lost.

use std::collections::{BTreeMap, BTreeSet};

use ropewalk_store::{Root, Store};
use ropewalk_types::{DatasetName, Digest};

use super::has;
use crate::error::{LostVersion, VersionsError};
use crate::history::{History, Refs, begins_digest};
use crate::workspace::Problem;

/// A version whose object neither a remote nor the project's store has.
#[derive(Debug)]
pub(crate) struct Lost {
    name: DatasetName,
    version: Digest,
    place: String,
    /// The tags that name it there, and what the head is called if that does.
    called: BTreeSet<String>,
}

/// What the head is called.
const HEAD: [&str; 2] = ["latest", "head"];

impl Lost {
    /// Whether it is what is asked for.
    pub(crate) fn is_meant(&self, spec: &str) -> bool {
        self.called.contains(spec) || begins_digest(spec) && self.version.to_string().starts_with(spec)
    }

    /// Whether it is the latest version of a dataset there.
    pub(super) fn is_head_of(&self, name: &DatasetName) -> bool {
        self.name == *name && HEAD.iter().any(|head| self.called.contains(*head))
    }

    /// What is to be said of it.
    pub(crate) fn error(&self) -> VersionsError {
        let Self { name, version, place, .. } = self;
        let lost = LostVersion { name: name.clone(), version: *version, place: place.clone() };
        VersionsError::LostVersion(Box::new(lost))
    }

    pub(super) fn problem(&self) -> Problem {
        Problem { path: self.name.to_string(), error: Box::new(self.error()) }
    }
}

/// Takes out of the refs of a remote what names versions whose objects neither it nor the project's store has, or of removed
/// ones cannot be read; gives these versions.
pub(super) async fn lost_leave(
    store: &Store,
    remote: &Store,
    name: &DatasetName,
    theirs: &mut Refs,
) -> Result<Vec<Lost>, VersionsError> {
    let history = History { stores: &[store, remote] };
    let mut lost: BTreeMap<Digest, BTreeSet<String>> = BTreeMap::new();
    for version in theirs.named().collect::<BTreeSet<_>>() {
        let object = Root::Blob(version);
        let there = has(store, &object).await? || has(remote, &object).await?;
        if !there || theirs.removed.contains_key(&version) && history.find(&version).await?.is_none() {
            lost.insert(version, BTreeSet::new());
        }
    }
    if let Some(called) = theirs.head.and_then(|head| lost.get_mut(&head.version)) {
        called.extend(HEAD.map(str::to_owned));
        theirs.head = None;
    }
    theirs.tags.retain(|tag, at| match lost.get_mut(&at.version) {
        Some(called) => {
            called.insert(tag.to_string());
            false
        }
        None => true,
    });
    theirs.tips.retain(|version| !lost.contains_key(version));
    let place = remote.place();
    let lost = lost.into_iter().map(|(version, called)| {
        let (name, place) = (name.clone(), place.to_owned());
        Lost { name, version, place, called }
    });
    Ok(lost.collect())
}
