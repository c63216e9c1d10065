use std::path::Path;

use futures::future::BoxFuture;
use ropewalk_store::files;
use ropewalk_types::{DatasetName, Digest};
use serde::Serialize;

use super::add::Told;
use super::{Opened, Problem, Workspace};
use crate::error::{VersionsError, blocking};
use crate::history::{self, Advance, History, Refs};
use crate::index::{Index, IndexHead};
use crate::pointer::{Pointer, PointerState};
use crate::trail::Act;
use crate::version::Version;

/// What a commit did with one dataset.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Committed {
    /// The dataset.
    pub name: DatasetName,
    /// The data, relative to the project.
    pub path: String,
    /// What became of it.
    pub outcome: CommitOutcome,
}

/// What became of a dataset that was to be committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "outcome")]
pub enum CommitOutcome {
    /// It is just what its version is.
    Unchanged {
        /// The version.
        version: Digest,
    },
    /// It is a new version now.
    Committed {
        /// The new version.
        version: Digest,
        /// The head, if that does not lie behind the new version and so stayed what it was.
        beside: Option<Digest>,
        /// Number of files.
        files: u64,
        /// Their bytes.
        bytes: u64,
        /// How many files were read; the others were known by their metadata.
        read: u64,
    },
}

/// What became of several datasets that were to be committed.
#[derive(Debug, Default)]
pub struct CommittedEach {
    /// What a commit did with each, or what is wrong with it.
    pub each: Vec<Result<Committed, Problem>>,
    /// Why it went no further: the machine or the store cannot be worked with.
    pub stopped: Option<VersionsError>,
}

impl Workspace {
    /// Takes in what changed in these datasets, or in all, and makes a version of each that is not one.
    ///
    /// The new version comes after the one that the pointer names, and after a head that was removed. If the head lies
    /// behind it, it becomes the head; else it is kept beside the head, to be merged. Data that is not laid out is committed
    /// as it was added. Where one cannot be committed, the others are all the same.
    pub fn commit<'a>(
        &'a self,
        names: &'a [DatasetName],
        message: &'a str,
        author: &'a str,
    ) -> BoxFuture<'a, Result<Vec<Committed>, VersionsError>> {
        Box::pin(async move {
            let CommittedEach { each, stopped } = self.commit_each(names, message, author).await?;
            let each = each.into_iter().map(|committed| committed.map_err(|problem| *problem.error));
            each.chain(stopped.map(Err)).collect()
        })
    }

    /// Like [`Workspace::commit`], with what is wrong with a dataset beside the others. What would be wrong with all, such as
    /// a full disk, ends it where it comes.
    pub fn commit_each<'a>(
        &'a self,
        names: &'a [DatasetName],
        message: &'a str,
        author: &'a str,
    ) -> BoxFuture<'a, Result<CommittedEach, VersionsError>> {
        Box::pin(async move {
            if message.trim().is_empty() {
                return Err(VersionsError::NoMessage);
            }
            let _lock = self.lock().await?;
            let (this, names) = (self.clone(), names.to_vec());
            let mut committed = CommittedEach::default();
            for opened in blocking(move || this.open_each(&names)).await? {
                let opened = match opened {
                    Ok(opened) => opened,
                    Err(problem) => {
                        committed.each.push(Err(problem));
                        continue;
                    }
                };
                let path = opened.place.path.clone();
                match self.commit_one(opened, message, author).await {
                    Err(error) if error.is_of_machine(|path| self.is_of_work_tree(path)) => {
                        committed.stopped = Some(error);
                        break;
                    }
                    made => committed.each.push(made.map_err(|error| Problem { path, error: Box::new(error) })),
                }
            }
            Ok(committed)
        })
    }

    /// Whether a file is the project's own, and not Ropewalk's.
    pub(crate) fn is_of_work_tree(&self, path: &Path) -> bool {
        path.starts_with(self.root()) && !path.starts_with(self.state())
    }

    async fn commit_one(&self, opened: Opened, message: &str, author: &str) -> Result<Committed, VersionsError> {
        let (place, name) = (opened.place.clone(), opened.pointer.name.clone());
        let data = place.data.clone();
        let there = blocking(move || Ok(files::kind(&data)?.is_some())).await?;
        let (pointer, read) = if there {
            let added = self.take_in(opened, false, Told::Not).await?;
            (added.pointer, added.read)
        } else {
            (opened.pointer, 0)
        };
        let path = place.path.clone();
        let base = match pointer.state {
            PointerState::Committed { version } => {
                return Ok(Committed { name, path, outcome: CommitOutcome::Unchanged { version } });
            }
            PointerState::Added { base } => base,
        };
        let (version, advance) = self.version_make(&pointer, &path, base, message, author).await?;
        let pointer = Pointer { state: PointerState::Committed { version }, ..pointer };
        let (index_path, state) = (self.index_path(&name), pointer.state);
        let index = blocking(move || Index::load(&index_path)).await?;
        let index = index.filter(|index| index.head.root == pointer.digest);
        let index = index.map(|index| {
            let head = IndexHead { state, ..index.head.clone() };
            index.with_head(head)
        });
        self.write_down(&place, &pointer, index).await?;
        let beside = match advance {
            Advance::Beside(head) => Some(head),
            Advance::Moved | Advance::Present => None,
        };
        let Pointer { files, bytes, .. } = pointer;
        let outcome = CommitOutcome::Committed { version, beside, files, bytes, read };
        Ok(Committed { name, path, outcome })
    }

    /// Makes the version of a pointer's content, unless a commit that was killed had made it already.
    pub(crate) async fn version_make(
        &self,
        pointer: &Pointer,
        path: &str,
        base: Option<Digest>,
        message: &str,
        author: &str,
    ) -> Result<(Digest, Advance), VersionsError> {
        let store = self.store().await?;
        if let Some(head) = self.unfinished(pointer, base).await? {
            return Ok((head, Advance::Present));
        }
        let parents = self.parents(pointer, base).await?;
        let version = self.version_of(pointer, path, parents, message, author);
        let digest = history::version_put(store, &version).await?;
        let (message, files, bytes) = (message.to_owned(), pointer.files, pointer.bytes);
        self.announce(&pointer.name, Some(digest), Act::Commit { message, files, bytes }).await?;
        let advance = history::advance(store, History { stores: &[store] }, &pointer.name, &digest).await?;
        Ok((digest, advance))
    }

    /// What a new version comes after: its base, and the head if that was removed and nothing of it is left to be merged.
    async fn parents(&self, pointer: &Pointer, base: Option<Digest>) -> Result<Vec<Digest>, VersionsError> {
        let store = self.store().await?;
        let refs = history::refs(store, &pointer.name).await?;
        let history = History { stores: &[store] };
        let mut parents: Vec<_> = base.into_iter().collect();
        if let Some(head) = refs.head.map(|head| head.version).filter(|head| refs.removed.contains_key(head)) {
            let left = match (history.remaining(&refs, &head).await?, base) {
                (None, _) => false,
                (Some(left), Some(base)) => !history.descends(&base, &left).await?,
                (Some(_), None) => true,
            };
            let known = match base {
                Some(base) => history.descends(&base, &head).await?,
                None => false,
            };
            if !left && !known {
                parents.push(head);
            }
        }
        Ok(parents)
    }

    /// A version of a pointer's content, made now.
    pub(crate) fn version_of(
        &self,
        pointer: &Pointer,
        path: &str,
        parents: Vec<Digest>,
        message: &str,
        author: &str,
    ) -> Version {
        Version {
            author: author.to_owned(),
            bytes: pointer.bytes,
            created_at: self.ambient().now(),
            files: pointer.files,
            format: Version::FORMAT,
            kind: pointer.kind,
            message: message.to_owned(),
            name: pointer.name.clone(),
            parents,
            path: path.to_owned(),
            root: pointer.digest,
        }
    }

    /// The head, or a version beside it, if it is just what is to be committed.
    async fn unfinished(&self, pointer: &Pointer, base: Option<Digest>) -> Result<Option<Digest>, VersionsError> {
        let comes_after = |version: &Version, refs: &Refs| {
            let mut parents = version.parents.iter().copied();
            base.is_none_or(|base| parents.next() == Some(base))
                // A head that was removed may be a further parent.
                && parents.all(|parent| refs.removed.contains_key(&parent))
        };
        self.named_of(pointer, comes_after).await
    }

    /// The head, or a version beside it, if it has the pointer's content and just these parents: what a merge that was
    /// killed had made.
    pub(super) async fn made_of(&self, pointer: &Pointer, parents: &[Digest]) -> Result<Option<Digest>, VersionsError> {
        self.named_of(pointer, |version, _| version.parents == parents).await
    }

    /// The head, or a version beside it, that has the pointer's content and is wanted.
    async fn named_of(
        &self,
        pointer: &Pointer,
        wanted: impl Fn(&Version, &Refs) -> bool,
    ) -> Result<Option<Digest>, VersionsError> {
        let store = self.store().await?;
        let refs = history::refs(store, &pointer.name).await?;
        let history = History { stores: &[store] };
        for digest in refs.head.iter().map(|head| head.version).chain(refs.tips.iter().copied()) {
            if refs.removed.contains_key(&digest) {
                continue;
            }
            let version = history.find(&digest).await?;
            let same = |version: &Version| {
                (version.root, version.kind) == (pointer.digest, pointer.kind) && wanted(version, &refs)
            };
            if version.as_ref().is_some_and(same) {
                return Ok(Some(digest));
            }
        }
        Ok(None)
    }
}
