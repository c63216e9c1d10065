use std::collections::HashSet;
use std::path::{Path, PathBuf};

use futures::future::BoxFuture;
use ropewalk_store::files::{self, EntryKind};
use ropewalk_types::{DatasetName, Digest};
use serde::Serialize;

use super::links::AddLinks;
use super::snapshot::Snapshot;
use super::{COMMIT_TRIES, Content, Opened, Workspace, gitignore, is_collected, links};
use crate::discovery::{Place, Tracked, overlap, untrackable};
use crate::error::{VersionsError, blocking};
use crate::git;
use crate::history::{self, History};
use crate::index::{Index, IndexHead};
use crate::pointer::{Kind, Links, Pointer, PointerState};
use crate::trail::Act;
use crate::work::{Data, look};

/// What to track.
#[derive(Clone, Debug, Default)]
pub struct AddRequest {
    /// The file or folder, relative to the project or below it.
    pub path: PathBuf,
    /// What to call it; by default the name of the file or folder.
    pub name: Option<DatasetName>,
    /// Whether to go on from what is laid out when the pointer names something else, and also if git tracks files in it.
    pub force: bool,
    /// What becomes of symbolic links in it.
    pub links: AddLinks,
}

/// What was tracked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Added {
    /// The data, relative to the project.
    pub path: String,
    /// What git is to keep.
    pub pointer: Pointer,
    /// Whether the content is another than before.
    pub changed: bool,
    /// How many files were read; the others were known by their metadata.
    pub read: u64,
    /// Symbolic links that are no part of it, by path.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub skipped_links: Vec<String>,
    /// Symbolic links in whose place now is what they pointed to, by path.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub followed_links: Vec<String>,
}

/// Who hears of what is about to be taken in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Told {
    /// The trail, if the content is another than before.
    Change,
    /// The trail, also where the content is as before: what the pointer says besides is another.
    Trail,
    /// Nobody: the trail hears of the version that comes of it.
    Not,
}

impl Workspace {
    /// Tracks a file or folder: stores what is new of it, and writes its pointer and a line of `.gitignore` beside it.
    ///
    /// For data that is tracked already, takes in what changed.
    pub fn add(&self, request: AddRequest) -> BoxFuture<'_, Result<Added, VersionsError>> {
        Box::pin(async move {
            let _lock = self.lock().await?;
            let place = Place::of(self.root(), &request.path)?;
            let (known, all) = self.known_at(&place).await?;
            let opened = match known {
                Some(pointer) => self.known_open(place.clone(), pointer, request.name.as_ref())?,
                None => self.first(&place, &all, request.name, request.force).await?,
            };
            let before = opened.pointer.links;
            let (opened, followed_links) = self.decide_links(opened, request.links).await?;
            let told = if opened.pointer.links == before { Told::Change } else { Told::Trail };
            let added = self.take_in(opened, request.force, told).await?;
            Ok(Added { followed_links, ..added })
        })
    }

    /// Does with symbolic links what was asked for, and remembers it in the pointer.
    async fn decide_links(&self, opened: Opened, links: AddLinks) -> Result<(Opened, Vec<String>), VersionsError> {
        let (root, place) = (self.root().to_owned(), opened.place.clone());
        let (anywhere, links) = match links {
            AddLinks::AsBefore => return Ok((opened, Vec::new())),
            AddLinks::Skip => {
                let pointer = Pointer { links: Links::Skipped, ..opened.pointer };
                return Ok((Opened { pointer, ..opened }, Vec::new()));
            }
            AddLinks::Follow => (false, Links::Refused),
            AddLinks::FollowAnywhere => (true, Links::Refused),
        };
        let followed = blocking(move || match place.check_kind(&root)? {
            EntryKind::Directory => links::follow(&root, &place.data, anywhere, &HashSet::new(), links::MOST_FILES),
            _ => Ok(Vec::new()),
        })
        .await?;
        let pointer = Pointer { links, ..opened.pointer };
        Ok((Opened { pointer, ..opened }, followed))
    }

    /// Takes in what changed; needs the lock.
    pub(super) async fn take_in(&self, opened: Opened, force: bool, told: Told) -> Result<Added, VersionsError> {
        let Opened { place, pointer: old, index } = opened;
        if !force {
            self.check_finished(&old.name, &place.path).await?;
            if index.is_none() {
                self.check_laid_out(&old, &place).await?;
            }
        }
        let base = base_of(&old, index.as_ref(), &place, force)?;
        let (root, here) = (self.root().to_owned(), place.clone());
        let folder = blocking(move || Ok(here.check_kind(&root)? == EntryKind::Directory)).await?;
        let index = index.filter(|index| (index.head.kind == Kind::Folder) == folder);
        let before = index.clone();
        let mut snapshot = self.snapshot(&old.name, &place, folder, old.links, index).await;
        for _ in 1..COMMIT_TRIES {
            if !snapshot.as_ref().is_err_and(is_collected) {
                break;
            }
            snapshot = self.snapshot(&old.name, &place, folder, old.links, before.clone()).await;
        }
        let mut snapshot = snapshot?;
        let state = self.state_of(&snapshot, &old, base).await?;
        let pointer = Pointer {
            kind: snapshot.kind,
            digest: snapshot.root,
            bytes: snapshot.bytes,
            files: snapshot.files,
            state,
            ..old.clone()
        };
        snapshot.index.head = IndexHead { state, ..snapshot.index.head };
        let changed = (pointer.digest, pointer.kind) != (old.digest, old.kind);
        if told == Told::Trail || changed && told == Told::Change {
            let act = Act::Add { content: pointer.digest, path: place.path.clone() };
            self.announce(&pointer.name, None, act).await?;
        }
        let (read, skipped_links, index) = (snapshot.read, snapshot.links, Some(snapshot.index));
        self.write_down(&place, &pointer, index.filter(|index| before.as_ref() != Some(index))).await?;
        self.end(&pointer.name).await?;
        Ok(Added { path: place.path, pointer, changed, read, skipped_links, followed_links: Vec::new() })
    }

    /// Without an index, as in a clone that never pulled, a file that is not here was perhaps never here: it must not be
    /// taken for one that was removed.
    async fn check_laid_out(&self, pointer: &Pointer, place: &Place) -> Result<(), VersionsError> {
        // A single file is whole if it is here. A dataset that is tracked for the first time has no files yet.
        if pointer.kind != Kind::Folder || pointer.files == 0 {
            return Ok(());
        }
        let absent = || {
            let (name, path) = (pointer.name.clone(), place.path.clone());
            VersionsError::NotLaidOut { name, path, root: pointer.digest }
        };
        let (path, links) = (place.data.clone(), pointer.links);
        let work = blocking(move || {
            if files::kind(&path)? != Some(EntryKind::Directory) {
                return Ok(None);
            }
            look(&Data::at(&path, Kind::Folder).with_links(links), None).map(Some)
        });
        let Some(work) = work.await? else { return Err(absent()) };
        let all = match Box::pin(self.files_here(&pointer.name, &Content::of(pointer), place.file_name())).await {
            // Of a project whose store is gone: nobody can tell which files, but how many, and of how many bytes.
            Err(VersionsError::ContentMissing { .. }) => {
                let bytes: u64 = work.files.iter().map(|file| file.stat.size).sum();
                (work.files.len() as u64, bytes) == (pointer.files, pointer.bytes)
            }
            wanted => wanted?.iter().all(|file| work.find(&file.path).is_some()),
        };
        if all { Ok(()) } else { Err(absent()) }
    }

    /// Writes the index if it changed, `.gitignore` and, last, the pointer.
    pub(crate) async fn write_down(
        &self,
        place: &Place,
        pointer: &Pointer,
        index: Option<Index>,
    ) -> Result<(), VersionsError> {
        let (index_path, place, pointer) = (self.index_path(&pointer.name), place.clone(), pointer.clone());
        blocking(move || {
            if let Some(index) = index {
                index.save(&index_path)?;
            }
            gitignore::ignore(place.folder(), place.file_name())?;
            pointer.write(&place.pointer)
        })
        .await
    }

    /// Whether the content is that of the version that it was made from.
    async fn state_of(
        &self,
        snapshot: &Snapshot,
        old: &Pointer,
        base: Option<Digest>,
    ) -> Result<PointerState, VersionsError> {
        let same = (snapshot.root, snapshot.kind) == (old.digest, old.kind);
        if same && base == old.ancestor() {
            return Ok(old.state);
        }
        let Some(version) = base else { return Ok(PointerState::Added { base }) };
        let store = self.store().await?;
        let back = History { stores: &[store] }.find(&version).await?;
        let mut back = back.is_some_and(|object| (object.root, object.kind) == (snapshot.root, snapshot.kind));
        if back {
            // The content of a version that was removed is new again.
            let there = history::check_there(store, &old.name, &version).await;
            back = !matches!(there, Err(VersionsError::Removed { .. }));
        }
        Ok(if back { PointerState::Committed { version } } else { PointerState::Added { base } })
    }

    /// The pointer at `place`, and all others.
    async fn known_at(&self, place: &Place) -> Result<(Option<Pointer>, Vec<Tracked>), VersionsError> {
        let mut others = self.discover().await?;
        let at = others.iter().position(|tracked| tracked.place.path == place.path);
        let known = at.map(|at| others.remove(at).pointer).transpose()?;
        Ok((known, others))
    }

    fn known_open(&self, place: Place, pointer: Pointer, name: Option<&DatasetName>) -> Result<Opened, VersionsError> {
        if let Some(other) = name.filter(|name| **name != pointer.name) {
            let reason = format!("it is tracked as `{}` already, not as `{other}`", pointer.name);
            return Err(untrackable(&place.path, &reason, "leave `--name` out"));
        }
        let index = Index::load(&self.index_path(&pointer.name))?;
        Ok(Opened { place, pointer, index })
    }

    /// Checks a path that was not tracked before.
    async fn first(
        &self,
        place: &Place,
        others: &[Tracked],
        name: Option<DatasetName>,
        force: bool,
    ) -> Result<Opened, VersionsError> {
        for other in others {
            let (inner, outer) = (&other.place.path, &place.path);
            if overlap(inner, outer) {
                let reason = format!("`{inner}` is tracked already, and one lies within the other");
                return Err(untrackable(outer, &reason, "track folders beside each other"));
            }
        }
        let name = match name {
            Some(name) => name,
            None => DatasetName::new(place.file_name())
                .map_err(|error| untrackable(&place.path, &error.to_string(), "give it another name with `--name`"))?,
        };
        let same = |other: &&Tracked| other.pointer.as_ref().is_ok_and(|pointer| pointer.name == name);
        if let Some(other) = others.iter().find(same) {
            let (path, other) = (place.path.clone(), other.place.path.clone());
            return Err(VersionsError::NameTaken { name, path, other });
        }
        let (root, here) = (self.root().to_owned(), place.clone());
        blocking(move || {
            here.check_kind(&root)?;
            Pointer::check_place(&here.pointer)
        })
        .await?;
        self.check_git(place, force).await?;
        let pointer = Pointer {
            name,
            kind: Kind::Folder,
            path: place.file_name().to_owned(),
            digest: Digest::of(b""),
            bytes: 0,
            files: 0,
            links: Links::Refused,
            state: PointerState::Added { base: None },
        };
        Ok(Opened { place: place.clone(), pointer, index: None })
    }

    /// Git must keep the pointer, and not the data.
    async fn check_git(&self, place: &Place, force: bool) -> Result<(), VersionsError> {
        let pointer = place.pointer.strip_prefix(self.root()).unwrap_or(&place.pointer);
        if git::ignores(self.root(), pointer).await? {
            let reason = "git ignores its folder, and so would never see the pointer";
            return Err(untrackable(&place.path, reason, "change `.gitignore`, or move the data"));
        }
        if !force && git::tracks(self.root(), Path::new(&place.path)).await? {
            let reason = "git tracks it already";
            let advice = "let git forget it: `ropewalk data add --force PATH` does that, or `git rm -r --cached PATH`";
            return Err(untrackable(&place.path, reason, advice));
        }
        Ok(())
    }
}

/// The version that the work tree was made from.
fn base_of(old: &Pointer, index: Option<&Index>, place: &Place, force: bool) -> Result<Option<Digest>, VersionsError> {
    match (check_current(old, index, place), index) {
        (Err(_), Some(index)) if force => Ok(index.head.state.ancestor()),
        (current, _) => current.map(|()| old.ancestor()),
    }
}

/// Refuses a work tree that was made from another version than the pointer names, as after `git checkout`.
pub(super) fn check_current(pointer: &Pointer, index: Option<&Index>, place: &Place) -> Result<(), VersionsError> {
    match index {
        // Content made from the same version is what an `add` that was killed had stored.
        Some(index) if index.head.root != pointer.digest && index.head.state.ancestor() != pointer.ancestor() => {
            let (name, path) = (pointer.name.clone(), place.path.clone());
            Err(VersionsError::Outdated { name, path, wanted: pointer.digest, laid_out: index.head.root })
        }
        _ => Ok(()),
    }
}
