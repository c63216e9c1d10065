//! Which datasets files of the work tree belong to: whoever reads files reads what they were tracked as.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Component, Path, PathBuf};

use futures::future::BoxFuture;
use ropewalk_store::files::{self, EntryKind, FileError};
use ropewalk_types::{DatasetName, Digest};

use super::{Layout, Opened, Status, Workspace};
use crate::discovery::{Place, is_passed_over, pointer_at};
use crate::error::{VersionsError, blocking};
use crate::pointer::Pointer;

/// A tracked dataset that files belong to, and what is known of what lies there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// The dataset.
    pub name: DatasetName,
    /// The content that was laid out or added: a tree, or the blob of a single file.
    pub content: Digest,
    /// The version that has this content, if it was committed.
    pub version: Option<Digest>,
    /// Whether some of the files are not what that content has: they were changed or added since, or cannot be compared,
    /// because it is not here, or links lie beside them.
    pub differs: bool,
}

/// A pointer, and the paths of files of its data inside it; of a single file its name.
struct Held {
    place: Place,
    pointer: Pointer,
    files: BTreeSet<String>,
}

impl Workspace {
    /// The tracked datasets that these files belong to, sorted by where they lie; symbolic links are followed.
    ///
    /// Of the files whose metadata says that they changed the content is read, as by [`Workspace::status`].
    ///
    /// # Errors
    /// One of the pointers cannot be read: it cannot be told then what its files are.
    pub fn holders(&self, files: Vec<PathBuf>) -> BoxFuture<'_, Result<Vec<Holder>, VersionsError>> {
        Box::pin(async move {
            let root = self.root().to_owned();
            let held = blocking(move || Search::of(&root)?.all(&files)).await?;
            let mut holders = Vec::with_capacity(held.len());
            for Held { place, pointer, files } in held {
                let this = self.clone();
                let opened = blocking(move || this.with_index(place, pointer)).await?;
                let status = match self.status_of(opened.clone()).await {
                    // Data with links cannot be compared, and what is read beside them is no less what it is.
                    Err(VersionsError::Links { .. }) => None,
                    status => Some(status?),
                };
                holders.push(holder(&opened, status.as_ref(), &files));
            }
            Ok(holders)
        })
    }
}

fn holder(Opened { pointer, index, .. }: &Opened, status: Option<&Status>, files: &BTreeSet<String>) -> Holder {
    let Some(status) = status else {
        let (content, version) = (pointer.digest, pointer.version());
        return Holder { name: pointer.name.clone(), content, version, differs: true };
    };
    let laid_out = index.as_ref().map(|index| &index.head);
    let (content, version) = match (status.layout, laid_out) {
        (Layout::Outdated { .. }, Some(head)) => (head.root, head.state.version()),
        _ => (pointer.digest, pointer.version()),
    };
    let added = status.added.iter().map(|file| &file.path);
    let changed = status.changed.iter().filter(|file| file.content).map(|file| &file.path);
    let differs = status.layout == Layout::Unknown || added.chain(changed).any(|path| files.contains(path));
    Holder { name: pointer.name.clone(), content, version, differs }
}

/// What a folder or file is to the search.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Found {
    /// The data of a dataset.
    Data,
    /// A folder in which no datasets are looked for.
    PassedOver,
    /// Neither.
    Nothing,
}

struct Search {
    root: PathBuf,
    /// Folders as they are named, and where they really are.
    real: HashMap<PathBuf, PathBuf>,
    /// What was found, by path below the root.
    met: HashMap<String, Found>,
    held: BTreeMap<String, Held>,
}

impl Search {
    fn of(root: &Path) -> Result<Self, VersionsError> {
        let (real, met, held) = (HashMap::new(), HashMap::new(), BTreeMap::new());
        Ok(Self { root: followed(root)?, real, met, held })
    }

    fn all(mut self, files: &[PathBuf]) -> Result<Vec<Held>, VersionsError> {
        for file in files {
            self.one(file)?;
        }
        Ok(self.held.into_values().collect())
    }

    fn one(&mut self, file: &Path) -> Result<(), VersionsError> {
        let Some(below) = self.below(file)? else { return Ok(()) };
        let ends = below.match_indices('/').map(|(end, _)| end).chain([below.len()]);
        for end in ends {
            let path = &below[..end];
            match self.look(path, end < below.len())? {
                Found::Nothing => {}
                Found::PassedOver => return Ok(()),
                Found::Data => {
                    if let Some(held) = self.held.get_mut(path) {
                        let inside = below.get(end + 1..).unwrap_or(held.place.file_name()).to_owned();
                        held.files.insert(inside);
                    }
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// Where a file really lies below the root, `/`-separated; none outside it, and where no dataset can have it.
    fn below(&mut self, file: &Path) -> Result<Option<String>, VersionsError> {
        let real = match (file.parent(), file.file_name()) {
            (Some(folder), Some(name)) if !is_link(file)? => {
                let real = match self.real.get(folder).cloned() {
                    Some(real) => real,
                    None => followed(folder)?,
                };
                self.real.entry(folder.to_owned()).or_insert(real).join(name)
            }
            _ => followed(file)?,
        };
        let Ok(below) = real.strip_prefix(&self.root) else { return Ok(None) };
        let names = below.components().map(|part| match part {
            Component::Normal(name) => name.to_str(),
            _ => None,
        });
        Ok(names.collect::<Option<Vec<_>>>().map(|names| names.join("/")))
    }

    fn look(&mut self, path: &str, is_folder: bool) -> Result<Found, VersionsError> {
        if let Some(found) = self.met.get(path) {
            return Ok(*found);
        }
        let place = Place::at(&self.root, path.to_owned());
        let found = match pointer_at(&place)? {
            Some(pointer) => {
                let held = Held { place, pointer, files: BTreeSet::new() };
                self.held.insert(path.to_owned(), held);
                Found::Data
            }
            None if is_folder && is_passed_over(place.file_name()) => Found::PassedOver,
            None => Found::Nothing,
        };
        // Files are met once each.
        if is_folder || found == Found::Data {
            self.met.insert(path.to_owned(), found);
        }
        Ok(found)
    }
}

fn is_link(file: &Path) -> Result<bool, FileError> {
    Ok(files::kind(file)? == Some(EntryKind::Symlink))
}

fn followed(path: &Path) -> Result<PathBuf, FileError> {
    let here = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    here.canonicalize().map_err(|source| FileError::Io { action: "follow", path: path.to_owned(), source })
}
