use std::collections::BTreeSet;

use futures::future::BoxFuture;
use ropewalk_store::{Root, Store, TransferProgress, Transferred};
use ropewalk_types::{DatasetName, Digest};
use serde::Serialize;

use super::{RefusedTag, content_root, has, lacking, of};
use crate::error::VersionsError;
use crate::history::{self, Advance, History, Refs};
use crate::pointer::Pointer;
use crate::workspace::Workspace;

/// How to push.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PushOptions {
    /// Whether tags of the remote that name other versions are moved.
    pub move_tags: bool,
}

/// What became of a dataset in the remote.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "head")]
pub enum PushedHead {
    /// The remote had it.
    UpToDate,
    /// Its head was moved here.
    Moved {
        /// What it is now.
        version: Digest,
    },
    /// The remote is further: its head descends from ours.
    Behind {
        /// What the remote has.
        version: Digest,
    },
    /// Nothing was ever committed.
    Nothing,
}

/// What was pushed.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Pushed {
    /// What became of each dataset.
    pub heads: Vec<(DatasetName, PushedHead)>,
    /// Tags that are new in the remote.
    pub tags: u64,
    /// Tags that name other versions there.
    pub refused_tags: Vec<RefusedTag>,
    /// Datasets whose pointer names content that is in no version; it was pushed, but a collection may remove it.
    pub uncommitted: Vec<DatasetName>,
    /// What travelled.
    #[serde(skip)]
    pub transferred: Transferred,
}

impl Workspace {
    /// Sends versions, tags and content to another store: of these datasets, or of all that are tracked.
    ///
    /// Only what is missing travels. The remote's head is only ever moved to a version that descends from it, by
    /// compare-and-swap: if another push was faster in another direction, nothing is moved and
    /// [`VersionsError::Diverged`] says so.
    pub fn push<'a>(
        &'a self,
        remote: &'a Store,
        names: &'a [DatasetName],
        options: PushOptions,
        progress: &'a dyn TransferProgress,
    ) -> BoxFuture<'a, Result<Pushed, VersionsError>> {
        Box::pin(async move {
            let store = self.store().await?;
            let pointers = self.pointers().await?;
            let names = match names {
                [] => pointers.iter().map(|pointer| pointer.name.clone()).collect(),
                names => names.to_vec(),
            };
            let (ours, theirs) = futures::try_join!(history::refs_of(store, &names), history::refs_of(remote, &names))?;
            let mut pushed = Pushed::default();
            let mut roots = BTreeSet::new();
            for name in &names {
                let (ours, theirs) = (of(&ours, name), of(&theirs, name));
                check_forward(store, remote, name, &ours, &theirs).await?;
                roots.extend(missing(store, remote, name, &ours, &theirs).await?);
                let added = pointers.iter().filter(|pointer| pointer.name == *name && pointer.version().is_none());
                roots.extend(added_roots(added, store, remote, &mut pushed.uncommitted).await?);
            }
            if !roots.is_empty() {
                let roots: Vec<_> = roots.into_iter().collect();
                pushed.transferred = store.copy_to(remote, &roots, progress).await?;
            }
            for name in names {
                let (ours, theirs) = (of(&ours, &name), of(&theirs, &name));
                let head = refs_push(store, remote, &name, &ours, &theirs).await?;
                tags_push(remote, &name, &ours, &theirs, options, &mut pushed).await?;
                pushed.heads.push((name, head));
            }
            Ok(pushed)
        })
    }

    /// What all pointers name; of one with conflict markers, both sides.
    pub(crate) async fn pointers(&self) -> Result<Vec<Pointer>, VersionsError> {
        Ok(self.discover().await?.iter().flat_map(crate::discovery::Tracked::sides).collect())
    }
}

/// Fails before anything travels if the remote's head went another way.
async fn check_forward(
    store: &Store,
    remote: &Store,
    name: &DatasetName,
    ours: &Refs,
    theirs: &Refs,
) -> Result<(), VersionsError> {
    let (Some(ours), Some(theirs)) = (ours.head, theirs.head) else { return Ok(()) };
    let history = History { stores: &[store, remote] };
    let (ours, theirs) = (ours.version, theirs.version);
    if history.descends(&ours, &theirs).await? || history.descends(&theirs, &ours).await? {
        return Ok(());
    }
    Err(VersionsError::Diverged { name: name.clone(), local: ours, remote: theirs })
}

/// Versions that the remote lacks, and their content.
async fn missing(
    store: &Store,
    remote: &Store,
    name: &DatasetName,
    ours: &Refs,
    theirs: &Refs,
) -> Result<Vec<Root>, VersionsError> {
    let mut roots = Vec::new();
    for (digest, version) in lacking(History { stores: &[store, remote] }, ours, theirs).await? {
        let content = content_root(version.kind, version.root);
        if has(store, &content).await? {
            roots.push(content);
        } else if !has(remote, &content).await? {
            return Err(VersionsError::ContentMissing { name: name.clone(), root: version.root });
        }
        if has(store, &Root::Blob(digest)).await? {
            roots.push(Root::Blob(digest));
        }
    }
    Ok(roots)
}

/// Content that was added and not committed, so that whoever has the pointer can pull it.
async fn added_roots(
    pointers: impl Iterator<Item = &Pointer>,
    store: &Store,
    remote: &Store,
    uncommitted: &mut Vec<DatasetName>,
) -> Result<Vec<Root>, VersionsError> {
    let mut roots = Vec::new();
    for pointer in pointers {
        uncommitted.push(pointer.name.clone());
        let root = content_root(pointer.kind, pointer.digest);
        if !has(remote, &root).await? && has(store, &root).await? {
            roots.push(root);
        }
    }
    Ok(roots)
}

/// Moves the head and keeps the versions beside it.
async fn refs_push(
    store: &Store,
    remote: &Store,
    name: &DatasetName,
    ours: &Refs,
    theirs: &Refs,
) -> Result<PushedHead, VersionsError> {
    let history = History { stores: &[store, remote] };
    let head = match (ours.head, theirs.head) {
        (None, _) => PushedHead::Nothing,
        (Some(ours), Some(theirs)) if ours.version == theirs.version => PushedHead::UpToDate,
        (Some(ours), _) => head_push(remote, history, name, &ours.version).await?,
    };
    let named = theirs.versions();
    for tip in ours.tips.iter().filter(|tip| !named.contains(tip)) {
        history::advance(remote, history, name, tip).await?;
    }
    Ok(head)
}

async fn head_push(
    remote: &Store,
    history: History<'_>,
    name: &DatasetName,
    version: &Digest,
) -> Result<PushedHead, VersionsError> {
    match history::advance_only(remote, history, name, version).await? {
        Advance::Moved => Ok(PushedHead::Moved { version: *version }),
        Advance::Present => match history::ref_at(remote, &history::head_ref(name)?).await? {
            Some(head) if head.version != *version => Ok(PushedHead::Behind { version: head.version }),
            _ => Ok(PushedHead::UpToDate),
        },
        Advance::Beside(found) => Err(VersionsError::Diverged { name: name.clone(), local: *version, remote: found }),
    }
}

async fn tags_push(
    remote: &Store,
    name: &DatasetName,
    ours: &Refs,
    theirs: &Refs,
    options: PushOptions,
    pushed: &mut Pushed,
) -> Result<(), VersionsError> {
    for (tag, at) in &ours.tags {
        if theirs.tags.get(tag).is_some_and(|known| known.version == at.version) {
            continue;
        }
        match history::tag_set(remote, name, tag, &at.version, options.move_tags).await {
            Ok(()) => pushed.tags += 1,
            Err(VersionsError::TagExists { version, .. }) => pushed.refused_tags.push(RefusedTag {
                name: name.clone(),
                tag: tag.clone(),
                local: at.version,
                remote: version,
            }),
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
