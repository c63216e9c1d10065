use std::collections::BTreeMap;
use std::path::Path;

use futures::future::BoxFuture;
use ropewalk_store::{LinkMode, TransferProgress, TreeFile, files};
use ropewalk_types::{DatasetName, Digest};
use serde::Serialize;

use super::checkout::{CheckedOut, Laying};
use super::source::Supply;
use super::{Content, Opened, Workspace, tree_commit};
use crate::discovery::Place;
use crate::error::{VersionsError, blocking};
use crate::history::{self, History};
use crate::index::Index;
use crate::merge::{Conflict, Prefer, merge_files, one_base, unknown};
use crate::pointer::{self, EXTENSION, Kind, Pointer, PointerState};
use crate::selection::Selection;
use crate::trail::Act;

/// What to merge.
#[derive(Clone, Debug)]
pub struct MergeRequest {
    /// The dataset; its pointer names our side.
    pub name: DatasetName,
    /// The version to take in; by default the one that the head and the versions beside it have and ours lacks.
    pub theirs: Option<String>,
    /// The version that both came from; by default the latest common ancestor.
    pub base: Option<String>,
    /// For whom conflicts are decided; by default they are only listed.
    pub prefer: Option<Prefer>,
    /// Why, for the version that is made; empty for a text that names both sides.
    pub message: String,
    /// Who merges.
    pub author: String,
    /// How files come from the store.
    pub mode: LinkMode,
}

/// What a merge came to.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "snake_case", tag = "outcome")]
pub enum MergeOutcome {
    /// Ours has all of theirs already.
    UpToDate {
        /// Our version.
        version: Digest,
    },
    /// Theirs came after ours, and is laid out now.
    FastForward {
        /// Their version.
        version: Digest,
        /// What was laid out.
        checked_out: CheckedOut,
    },
    /// A version with two parents was made, and is laid out now.
    Merged {
        /// The new version.
        version: Digest,
        /// The version that both came from.
        base: Option<Digest>,
        /// What was laid out.
        checked_out: CheckedOut,
    },
    /// Files that both sides changed; nothing was done.
    Conflicts {
        /// Sorted by path.
        conflicts: Vec<Conflict>,
    },
}

/// One side of a merge.
struct Party {
    content: Content,
    /// The version of that content, or the one that it was made from.
    ancestor: Option<Digest>,
}

impl Party {
    fn of(pointer: &Pointer) -> Self {
        Self { content: Content::of(pointer), ancestor: pointer.ancestor() }
    }
}

/// Both sides of a merge, and where the result goes.
struct Merging {
    opened: Opened,
    ours: Party,
    theirs: Party,
    base: Option<Digest>,
    prefer: Option<Prefer>,
    message: String,
    author: String,
    mode: LinkMode,
}

impl Workspace {
    /// Merges another version into the one that is laid out, file by file, and lays the result out.
    ///
    /// What is laid out must be a version, without changes.
    pub fn merge<'a>(
        &'a self,
        request: MergeRequest,
        progress: &'a dyn TransferProgress,
    ) -> BoxFuture<'a, Result<MergeOutcome, VersionsError>> {
        Box::pin(async move {
            let _lock = self.lock().await?;
            let MergeRequest { name, theirs, base, prefer, message, author, mode } = request;
            let opened = self.open_one(&name).await?;
            let uncommitted = || VersionsError::Unmergeable { name: name.clone(), paths: Vec::new() };
            let ours = opened.pointer.version().ok_or_else(uncommitted)?;
            self.pointed(&opened.pointer).await?;
            self.check_unchanged(&opened).await.map_err(unmergeable)?;
            let theirs = match theirs {
                Some(spec) => history::recorded(self.store().await?, &name, &spec).await?.digest,
                None => self.other_side(&name, &ours).await?,
            };
            let theirs = self.party(&Party::of(&opened.pointer), &name, theirs).await?;
            let base = match base {
                Some(spec) => Some(history::resolve(self.store().await?, &name, &spec).await?.digest),
                None => None,
            };
            let ours = Party::of(&opened.pointer);
            let merging = Merging { opened, ours, theirs, base, prefer, message, author, mode };
            self.join(merging, progress).await.map_err(unmergeable)
        })
    }

    /// Merges what two branches of git made of a dataset: both sides of the conflict in its pointer at `path`.
    pub fn merge_pointer<'a>(
        &'a self,
        path: &'a Path,
        prefer: Option<Prefer>,
        author: &'a str,
        mode: LinkMode,
        progress: &'a dyn TransferProgress,
    ) -> BoxFuture<'a, Result<MergeOutcome, VersionsError>> {
        Box::pin(async move {
            let _lock = self.lock().await?;
            let data = path.to_str().map(|text| text.strip_suffix(EXTENSION).unwrap_or(text));
            let place = Place::of(self.root(), data.map_or(path, Path::new))?;
            let file = place.pointer.clone();
            let text = blocking(move || Ok(files::read_text(&file, pointer::MAX_BYTES)?)).await?;
            let (ours, theirs) = both_sides(&text, &place.pointer)?;
            let index_path = self.index_path(&ours.name);
            let index = blocking(move || Index::load(&index_path)).await?;
            let opened = Opened { place, pointer: ours.clone(), index };
            self.check_unchanged(&opened).await.map_err(unmergeable)?;
            let (name, ours) = (ours.name.clone(), Party { content: self.pointed(&ours).await?, ..Party::of(&ours) });
            let refs = history::refs(self.store().await?, &name).await?;
            let theirs = match theirs.version().filter(|version| refs.removed.contains_key(version)) {
                Some(version) => self.party(&ours, &name, version).await?,
                None => Party::of(&theirs),
            };
            let (base, message, author) = (None, String::new(), author.to_owned());
            let merging = Merging { opened, ours, theirs, base, prefer, message, author, mode };
            self.join(merging, progress).await.map_err(unmergeable)
        })
    }

    /// A version that is to be merged. Of one that was removed, what is left is merged: the newest version before it that
    /// was not, or nothing; it is a parent all the same, so that its line goes on.
    async fn party(&self, ours: &Party, name: &DatasetName, version: Digest) -> Result<Party, VersionsError> {
        let store = self.store().await?;
        let refs = history::refs(store, name).await?;
        let content = match (History { stores: &[store] }).remaining(&refs, &version).await? {
            Some(remaining) => self.content_here(name, &remaining.to_string()).await?.0,
            None => ours.content.clone(),
        };
        Ok(Party { content, ancestor: Some(version) })
    }

    /// The one version that is named in the store and does not lie behind ours, nor behind another such.
    async fn other_side(&self, name: &DatasetName, ours: &Digest) -> Result<Digest, VersionsError> {
        let store = self.store().await?;
        let refs = history::refs(store, name).await?;
        let history = History { stores: &[store] };
        let mut others = Vec::new();
        for version in refs.head.iter().map(|head| head.version).chain(refs.tips.iter().copied()) {
            if others.contains(&version) || history.descends(ours, &version).await? {
                continue;
            }
            // Of a version that was removed, perhaps nothing is left that ours lacks. A line that began before it must
            // have it among its parents all the same, or could never be pushed.
            let nothing_left = match history.remaining(&refs, &version).await? {
                Some(left) if left == version => false,
                Some(left) => history.descends(ours, &left).await?,
                None => true,
            };
            if !nothing_left || !history.descends(&version, ours).await? {
                others.push(version);
            }
        }
        match history.newest(&others).await?.as_slice() {
            [] => Ok(*ours),
            [only] => Ok(*only),
            several => {
                let shorts: Vec<_> = several.iter().map(Digest::short).collect();
                let reason = format!("several versions are not in yours: {}; name one of them", shorts.join(", "));
                Err(VersionsError::Merge { name: name.clone(), reason })
            }
        }
    }

    async fn join(&self, merging: Merging, progress: &dyn TransferProgress) -> Result<MergeOutcome, VersionsError> {
        let Merging { opened, ours, theirs, base, prefer, message, author, mode } = merging;
        let store = self.store().await?;
        let history = History { stores: &[store] };
        let selection = &Selection::Recorded;
        let mut bases: Vec<_> = base.into_iter().collect();
        if let (Some(our), Some(their)) = (ours.ancestor, theirs.ancestor) {
            // What is left of a version that was removed lies before it.
            let left = theirs.content.version.unwrap_or(their);
            let nothing_left =
                left != their && history.descends(&their, &our).await? && history.descends(&our, &left).await?;
            let up_to_date = nothing_left || history.descends(&our, &their).await?;
            if let (Some(version), true) = (ours.content.version, up_to_date)
                && theirs.content.version.is_some()
            {
                let content = ours.content;
                self.lay(Laying::of(opened, content, selection, mode), progress).await?;
                return Ok(MergeOutcome::UpToDate { version });
            }
            let forward = left != our && history.descends(&left, &our).await?;
            if let (Some(version), true) = (theirs.content.version, forward)
                && ours.content.version.is_some()
            {
                self.announce(&opened.pointer.name, Some(version), Act::Merge).await?;
                let laying = Laying::of(opened, theirs.content, selection, mode);
                let checked_out = self.lay(laying, progress).await?;
                return Ok(MergeOutcome::FastForward { version, checked_out });
            }
            if bases.is_empty() {
                bases = history.merge_bases(&our, &left).await?;
            }
        }
        let name = &opened.pointer.name;
        let files = match self.join_files(name, &opened.place, &ours, &theirs, &bases, prefer).await? {
            Ok(files) => files,
            Err(conflicts) => return Ok(MergeOutcome::Conflicts { conflicts }),
        };
        // What the remote alone has of them: whatever is laid out is whole here first.
        let supply = Supply { name, content: &theirs.content, files: &files, whole: false, from: None };
        self.supply(supply, progress).await?;
        let merged = self.content_store(name, ours.content.kind, files.clone()).await?;
        // Before there is a version that could not be laid out.
        Box::pin(self.check_layable(&opened, &merged, files)).await?;
        let mut parents: Vec<_> = ours.ancestor.into_iter().chain(theirs.ancestor).collect();
        parents.dedup();
        let message = match (message, theirs.ancestor) {
            (message, Some(theirs)) if message.is_empty() => format!("Merge {}", theirs.short()),
            (message, _) => message,
        };
        let state = PointerState::Added { base: None };
        let pointer = Pointer {
            digest: merged.root,
            bytes: merged.bytes,
            files: merged.files,
            kind: merged.kind,
            state,
            ..opened.pointer.clone()
        };
        let version = if let Some(made) = self.made_of(&pointer, &parents).await? {
            made
        } else {
            let object = self.version_of(&pointer, &opened.place.path, parents, &message, &author);
            let version = history::version_put(store, &object).await?;
            self.announce(name, Some(version), Act::Merge).await?;
            history::advance(store, history, name, &version).await?;
            version
        };
        let content = Content { version: Some(version), ..merged };
        let checked_out = self.lay(Laying::of(opened, content, selection, mode), progress).await?;
        Ok(MergeOutcome::Merged { version, base: bases.first().copied(), checked_out })
    }

    /// The merged files; or the conflicts. The files of all versions may be read from the remote.
    async fn join_files(
        &self,
        name: &DatasetName,
        place: &Place,
        ours: &Party,
        theirs: &Party,
        bases: &[Digest],
        prefer: Option<Prefer>,
    ) -> Result<Result<Vec<TreeFile>, Vec<Conflict>>, VersionsError> {
        if (ours.content.kind == Kind::Folder) != (theirs.content.kind == Kind::Folder) {
            let reason = "one side is a file, the other a folder".to_owned();
            return Err(VersionsError::Merge { name: name.clone(), reason });
        }
        let our_files = self.files_of(name, &ours.content, place.file_name(), None).await?;
        let their_files = self.files_of(name, &theirs.content, place.file_name(), None).await?;
        let mut each = Vec::with_capacity(bases.len());
        for base in bases {
            let files = self.base_files(name, base, place).await?;
            each.push(files.unwrap_or_else(|| unknown_base(&our_files, &their_files)));
        }
        let merged = blocking(move || Ok(merge_files(&one_base(each), &our_files, &their_files, prefer))).await?;
        Ok(if merged.conflicts.is_empty() { Ok(merged.files) } else { Err(merged.conflicts) })
    }

    /// The files of the version that both sides came from; none if it was removed and its content is gone.
    async fn base_files(
        &self,
        name: &DatasetName,
        base: &Digest,
        place: &Place,
    ) -> Result<Option<Vec<TreeFile>>, VersionsError> {
        let store = self.store().await?;
        let found = history::recorded(store, name, &base.to_string()).await?;
        let removed = history::refs(store, name).await?.removed.contains_key(&found.digest);
        if removed && !store.contains(&found.version.root).await? {
            return Ok(None);
        }
        let content = Content::of_version(&found);
        self.files_of(name, &content, place.file_name(), None).await.map(Some)
    }

    async fn content_store(
        &self,
        name: &DatasetName,
        kind: Kind,
        files: Vec<TreeFile>,
    ) -> Result<Content, VersionsError> {
        let (bytes, count) = (files.iter().map(|file| file.size).sum(), files.len() as u64);
        let (root, kind) = match (kind, files.as_slice()) {
            (Kind::Folder, _) => (tree_commit(self.store().await?.writer(), &files).await?, kind),
            (_, [file]) => (file.digest, Kind::of_file(file.executable)),
            _ => {
                let reason = "one side removed the file".to_owned();
                return Err(VersionsError::Merge { name: name.clone(), reason });
            }
        };
        Ok(Content { root, kind, bytes, files: count, version: None })
    }
}

/// Stands for files of which nobody knows any more what they were: each that is not alike on both sides is a conflict.
fn unknown_base(ours: &[TreeFile], theirs: &[TreeFile]) -> Vec<TreeFile> {
    let paths: BTreeMap<_, _> =
        ours.iter().chain(theirs).map(|file| (file.path.clone().into_bytes(), unknown(file))).collect();
    paths.into_values().collect()
}

/// A merge is never forced: changes that are in its way are said to be so.
fn unmergeable(error: VersionsError) -> VersionsError {
    match error {
        VersionsError::WouldOverwrite { name, paths } => VersionsError::Unmergeable { name, paths },
        VersionsError::Uncommitted { name } => VersionsError::Unmergeable { name, paths: Vec::new() },
        error => error,
    }
}

/// What both branches say.
fn both_sides(text: &str, path: &Path) -> Result<(Pointer, Pointer), VersionsError> {
    let sides = pointer::sides(text).map_err(|(line, reason)| VersionsError::Pointer {
        path: path.to_owned(),
        line,
        reason,
    })?;
    if sides.ours == sides.theirs {
        return Err(VersionsError::NoConflict(path.to_owned()));
    }
    let (ours, theirs) = (Pointer::parse(&sides.ours, path)?, Pointer::parse(&sides.theirs, path)?);
    if ours.name == theirs.name {
        return Ok((ours, theirs));
    }
    let reason = format!("the branches call it `{}` and `{}`", ours.name, theirs.name);
    Err(VersionsError::Merge { name: ours.name, reason })
}
