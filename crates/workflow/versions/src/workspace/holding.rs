//! Which datasets files of the work tree belong to: whoever reads files reads what they were tracked as.

use std::collections::{BTreeMap, HashMap};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use futures::future::BoxFuture;
use ropewalk_store::files::{self, EntryKind, FileError};
use ropewalk_types::{DatasetName, Digest};

use super::status::Wanted;
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
    /// because it is not here, or something that can be no data lies beside them, such as a link.
    pub differs: bool,
}

/// A pointer, and the paths of files of its data inside it; of a single file its name.
struct Held {
    place: Place,
    pointer: Pointer,
    files: Wanted,
    /// Whether some files lie elsewhere, where a link inside the data leads.
    linked: bool,
}

impl Workspace {
    /// The tracked datasets that these files belong to, sorted by where they lie: those that they are named in, and those
    /// that they lie in where symbolic links are followed.
    ///
    /// Of these files, those whose metadata says that they changed are read, as by [`Workspace::status`]; no others are.
    ///
    /// # Errors
    /// One of the pointers cannot be read: it cannot be told then what its files are. That data cannot be compared with what
    /// its pointer names is no error: the files then count as different.
    pub fn holders(&self, files: Vec<PathBuf>) -> BoxFuture<'_, Result<Vec<Holder>, VersionsError>> {
        Box::pin(async move {
            let root = self.root().to_owned();
            let held = blocking(move || Search::of(&root)?.all(&files)).await?;
            let mut holders = Vec::with_capacity(held.len());
            for Held { place, pointer, files, linked } in held {
                let (this, files) = (self.clone(), Arc::new(files));
                let opened = blocking(move || this.with_index(place, pointer)).await?;
                let status = match self.status_of(opened.clone(), Arc::clone(&files)).await {
                    Err(error @ VersionsError::Interrupted) => return Err(error),
                    // A link, a socket, a name that is no text, a broken store: what is read is no less what it is.
                    status => status.ok(),
                };
                let holder = holder(&opened, status.as_ref(), &files);
                holders.push(Holder { differs: holder.differs || linked, ..holder });
            }
            Ok(holders)
        })
    }
}

fn holder(Opened { pointer, index, .. }: &Opened, status: Option<&Status>, files: &Wanted) -> Holder {
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
    /// The project as it is named, and where it really is.
    named: PathBuf,
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
        Ok(Self { named: root.to_owned(), root: followed(root)?, real, met, held })
    }

    fn all(mut self, files: &[PathBuf]) -> Result<Vec<Held>, VersionsError> {
        for file in files {
            self.one(file)?;
        }
        Ok(self.held.into_values().collect())
    }

    /// Looks for the pointer above `file` where it is named, and where it really lies: a folder that was tracked may have
    /// become a link to where it was moved, and a link in a folder may lead to what is tracked elsewhere.
    fn one(&mut self, file: &Path) -> Result<(), VersionsError> {
        let named = below(file, &self.named).or_else(|| below(file, &self.root));
        let real = self.real(file)?;
        let lies = below(&real, &self.root);
        if let Some(named) = named.as_deref().filter(|named| lies.as_deref() != Some(*named)) {
            self.walk(named, &real)?;
        }
        match lies {
            Some(lies) => self.walk(&lies, &real),
            None => Ok(()),
        }
    }

    /// Notes the file at `below` the root, which really is `real`, at the first pointer on the way to it.
    fn walk(&mut self, below: &str, real: &Path) -> Result<(), VersionsError> {
        let ends = below.match_indices('/').map(|(end, _)| end).chain([below.len()]);
        for end in ends {
            let path = &below[..end];
            match self.look(path, end < below.len())? {
                Found::Nothing => {}
                Found::PassedOver => return Ok(()),
                Found::Data => {
                    let inside = below.get(end + 1..);
                    let data = self.root.join(path);
                    let linked = match inside {
                        Some(inside) => self.real_folder(&data)?.join(inside) != real,
                        None => is_link(&data)?,
                    };
                    if let Some(held) = self.held.get_mut(path) {
                        held.linked |= linked;
                        held.files.insert(inside.unwrap_or(held.place.file_name()).to_owned());
                    }
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// Where a file really lies.
    fn real(&mut self, file: &Path) -> Result<PathBuf, VersionsError> {
        match (file.parent(), file.file_name()) {
            (Some(folder), Some(name)) if !is_link(file)? => Ok(self.real_folder(folder)?.join(name)),
            _ => Ok(followed(file)?),
        }
    }

    fn real_folder(&mut self, folder: &Path) -> Result<PathBuf, VersionsError> {
        if let Some(real) = self.real.get(folder) {
            return Ok(real.clone());
        }
        let real = followed(folder)?;
        self.real.insert(folder.to_owned(), real.clone());
        Ok(real)
    }

    fn look(&mut self, path: &str, is_folder: bool) -> Result<Found, VersionsError> {
        if let Some(found) = self.met.get(path) {
            return Ok(*found);
        }
        let place = Place::at(&self.root, path.to_owned());
        let found = match pointer_at(&place)? {
            Some(pointer) => {
                let held = Held { place, pointer, files: Wanted::new(), linked: false };
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

/// The path below `root`, `/`-separated; none outside it, and where no dataset can have it.
fn below(file: &Path, root: &Path) -> Option<String> {
    let names = file.strip_prefix(root).ok()?.components().map(|part| match part {
        Component::Normal(name) => name.to_str(),
        _ => None,
    });
    Some(names.collect::<Option<Vec<_>>>()?.join("/"))
}

fn is_link(file: &Path) -> Result<bool, FileError> {
    Ok(files::kind(file)? == Some(EntryKind::Symlink))
}

fn followed(path: &Path) -> Result<PathBuf, FileError> {
    let here = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    here.canonicalize().map_err(|source| FileError::Io { action: "follow", path: path.to_owned(), source })
}
