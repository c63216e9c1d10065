//! Files that were added and are in no version. Git can set their pointer back, and then nothing but the index tells that
//! the work tree holds the only copy of them.

use std::collections::HashSet;

use ropewalk_store::TreeFile;
use ropewalk_types::{DatasetName, Digest};

use super::{Content, Workspace};
use crate::error::VersionsError;
use crate::history::{self, History, Resolved};
use crate::index::{Index, IndexHead};
use crate::remote::content_root;
use crate::roots::is_named_in_git;
use crate::work::Work;

/// A file that would go or be overwritten, and the content with which it was added.
#[derive(Clone, Debug)]
pub(super) struct Going {
    path: String,
    added: Digest,
}

/// Those of the files at `paths` that were added since a version was last laid out or made, without content that `target`
/// has too.
pub(super) fn going<'a>(
    index: &Index,
    work: &Work,
    paths: impl Iterator<Item = &'a str>,
    target: &[TreeFile],
) -> Vec<Going> {
    if index.head.state.version().is_some() {
        return Vec::new();
    }
    let entry = |path: &str| index.get(work.find(path)?.at?).filter(|entry| !entry.absent);
    let stays: HashSet<_> = target.iter().map(|file| file.digest).collect();
    let going = paths.filter_map(|path| Some(Going { path: path.to_owned(), added: entry(path)?.digest }));
    going.filter(|going| !stays.contains(&going.added)).collect()
}

impl Workspace {
    /// The paths of those files whose content no version of the dataset that is known here has, sorted; a version that was
    /// removed has none. `added` is what they were added as: its base is looked at first, and where a commit of git names
    /// it, a collection keeps it, and none is lost.
    pub(super) async fn in_no_version(
        &self,
        name: &DatasetName,
        added: &IndexHead,
        mut going: Vec<Going>,
    ) -> Result<Vec<String>, VersionsError> {
        if going.is_empty() {
            return Ok(Vec::new());
        }
        let (store, base, mut removed) = (self.store().await?, added.state.ancestor(), false);
        let refs = history::refs(store, name).await?;
        let start: Vec<_> = base.into_iter().chain(refs.versions()).collect();
        for (digest, version) in (History { stores: &[store] }).ancestors(&start, &HashSet::new()).await? {
            if going.is_empty() {
                break;
            }
            if refs.removed.contains_key(&digest) {
                removed |= version.root == added.root;
                continue;
            }
            let found = Resolved { digest, version };
            let (content, file_name) = (Content::of_version(&found), found.version.file_name());
            // Of one that cannot be read nothing is known: then its files are refused too, which loses nothing.
            let files = if Some(digest) == base {
                self.files_of(name, &content, file_name, None).await
            } else {
                self.files_here(name, &content, file_name).await
            };
            let held: HashSet<_> = files.into_iter().flatten().map(|file| file.digest).collect();
            going.retain(|file| !held.contains(&file.added));
        }
        if !going.is_empty() && !removed && self.is_kept_by_git(added).await? {
            return Ok(Vec::new());
        }
        let mut paths: Vec<_> = going.into_iter().map(|file| file.path).collect();
        paths.sort();
        Ok(paths)
    }

    /// Whether the content can be laid out again: the store has it as a whole, or the remote if that can be asked, and a
    /// pointer in a commit of git names it.
    async fn is_kept_by_git(&self, added: &IndexHead) -> Result<bool, VersionsError> {
        let content = content_root(added.kind, added.root);
        let mut there = self.store().await?.contains(content.digest()).await?;
        if !there && let Ok(Some(remote)) = self.remote().await {
            // One that cannot be asked has nothing.
            there = remote.contains(content.digest()).await.unwrap_or(false);
        }
        if !there {
            return Ok(false);
        }
        Box::pin(is_named_in_git(self.root(), &content)).await
    }
}
