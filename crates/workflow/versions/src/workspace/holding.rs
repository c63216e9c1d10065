//! Which datasets files of the work tree belong to: whoever reads files reads what they were tracked as.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::ffi::OsString;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use futures::future::BoxFuture;
use ropewalk_store::TreeFile;
use ropewalk_store::files::{self, EntryKind, FileError};
use ropewalk_types::{DatasetName, Digest};

use super::status::Wanted;
use super::{Layout, Opened, Status, Workspace};
use crate::discovery::{Place, discover, is_passed_over, pointer_at};
use crate::error::{VersionsError, blocking};
use crate::index::Index;
use crate::pointer::{Kind, Pointer};

/// More links than any system follows on the way to a file.
const MOST_LINKS: usize = 64;
const PARENT: &str = "..";

/// A tracked dataset that files belong to, and what is known of what lies there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// The dataset.
    pub name: DatasetName,
    /// The content that was laid out or added: a tree, or the blob of a single file.
    pub content: Digest,
    /// The single file that this content is, by its name; none of a folder.
    pub file: Option<TreeFile>,
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
    /// The tracked datasets that these files belong to, sorted by where they lie: those that they are named in, those that
    /// links on the way to them lie in, those that they lie in where all links are followed, and those whose data was moved
    /// to where they lie and is a link since.
    ///
    /// Of these files, those whose metadata says that they changed are read, as by [`Workspace::status`]; no others are.
    ///
    /// # Errors
    /// One of the pointers cannot be read: it cannot be told then what its files are. That data cannot be compared with what
    /// its pointer names is no error: the files then count as different.
    pub fn holders(&self, files: Vec<PathBuf>) -> BoxFuture<'_, Result<Vec<Holder>, VersionsError>> {
        Box::pin(async move {
            let (root, indexes) = (self.root().to_owned(), self.work_folder());
            let held = blocking(move || Search::of(&root, indexes)?.all(&files)).await?;
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

fn holder(Opened { place, pointer, index }: &Opened, status: Option<&Status>, files: &Wanted) -> Holder {
    let single = |digest: Digest, size: u64, kind: Kind| {
        let (path, executable) = (place.file_name().to_owned(), kind == Kind::Executable);
        (kind != Kind::Folder).then_some(TreeFile { path, digest, size, executable })
    };
    let known = || (pointer.digest, single(pointer.digest, pointer.bytes, pointer.kind), pointer.version());
    let Some(status) = status else {
        let (content, file, version) = known();
        return Holder { name: pointer.name.clone(), content, file, version, differs: true };
    };
    let (content, file, version) = match (status.layout, index) {
        (Layout::Outdated { .. }, Some(index)) => {
            let head = &index.head;
            let size = index.get(0).map(|entry| entry.stat.size).unwrap_or_default();
            (head.root, single(head.root, size, head.kind), head.state.version())
        }
        _ => known(),
    };
    let added = status.added.iter().map(|file| &file.path);
    let changed = status.changed.iter().filter(|file| file.content).map(|file| &file.path);
    let differs = status.layout == Layout::Unknown || added.chain(changed).any(|path| files.contains(path));
    Holder { name: pointer.name.clone(), content, file, version, differs }
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

/// Tracked data that lies elsewhere: where it really is, and its path in the project.
type Moved = Vec<(PathBuf, String)>;

struct Search {
    /// The project as it is named, and where it really is.
    named: PathBuf,
    root: PathBuf,
    /// Where the indexes lie.
    indexes: PathBuf,
    /// Folders as they are named, and the ways to them.
    ways: HashMap<PathBuf, Vec<PathBuf>>,
    /// Data that was moved, by what the indexes know and by what the whole project knows, once somebody asks.
    laid_out: Option<Moved>,
    tracked: Option<Moved>,
    /// What was found, by path below the root.
    met: HashMap<String, Found>,
    held: BTreeMap<String, Held>,
}

impl Search {
    fn of(root: &Path, indexes: PathBuf) -> Result<Self, VersionsError> {
        let (ways, met, held) = (HashMap::new(), HashMap::new(), BTreeMap::new());
        let (named, root) = (root.to_owned(), followed(root)?);
        Ok(Self { named, root, indexes, ways, laid_out: None, tracked: None, met, held })
    }

    fn all(mut self, files: &[PathBuf]) -> Result<Vec<Held>, VersionsError> {
        for file in files {
            self.one(file)?;
        }
        Ok(self.held.into_values().collect())
    }

    /// Looks for the pointer above `file` where it is named, at every link on the way to it, and where it really lies: a
    /// folder that was tracked may have become a link to where it was moved, and a link may lead to what is tracked elsewhere.
    fn one(&mut self, file: &Path) -> Result<(), VersionsError> {
        let ways = self.ways(file)?;
        let Some(real) = ways.last().cloned() else { return Ok(()) };
        for way in ways {
            if let Some(path) = below(&way, &self.named).or_else(|| below(&way, &self.root)) {
                self.walk(&path, &real)?;
            }
        }
        for path in self.moved_to(&real)? {
            self.walk(&path, &real)?;
        }
        Ok(())
    }

    /// The paths in the project by which a file is data that was moved to where it really lies, and is a link since.
    ///
    /// For what lies in the project the indexes tell where data was laid out: to look through the project for every file of
    /// code that a stage reads would cost more than the stage.
    fn moved_to(&mut self, real: &Path) -> Result<Vec<String>, VersionsError> {
        let inside = real.starts_with(&self.root);
        if inside && self.laid_out.is_none() {
            self.laid_out = Some(self.moved(indexed(&self.indexes)?));
        }
        if !inside && self.tracked.is_none() {
            let tracked = discover(&self.root)?.into_iter().map(|tracked| tracked.place.path).collect();
            self.tracked = Some(self.moved(tracked));
        }
        let moved = if inside { &self.laid_out } else { &self.tracked };
        let path = |(data, path): &(PathBuf, String)| {
            let inside = below(real, data)?;
            Some(if inside.is_empty() { path.clone() } else { format!("{path}/{inside}") })
        };
        Ok(moved.iter().flatten().filter_map(path).collect())
    }

    /// Those of these data that really lie elsewhere.
    fn moved(&self, paths: Vec<String>) -> Moved {
        let moved = |path: String| {
            let data = self.root.join(&path);
            // What is not there is no file that anybody reads.
            let real = data.canonicalize().ok().filter(|real| *real != data)?;
            Some((real, path))
        };
        paths.into_iter().filter_map(moved).collect()
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
                        Some(inside) => self.folder(&data)?.last().is_none_or(|data| data.join(inside) != real),
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

    /// The ways to a file: with each link on the way to it, that link first, and at the end where it really lies.
    fn ways(&mut self, file: &Path) -> Result<Vec<PathBuf>, VersionsError> {
        let (Some(folder), Some(name)) = (file.parent(), file.file_name()) else { return self.follow(file) };
        let mut ways = self.folder(folder)?;
        for way in &mut ways {
            way.push(name);
        }
        if let Some(last) = ways.last().cloned()
            && is_link(&last)?
        {
            ways.extend(self.follow(&last)?);
        }
        Ok(ways)
    }

    /// The ways to a folder.
    fn folder(&mut self, folder: &Path) -> Result<Vec<PathBuf>, VersionsError> {
        if let Some(ways) = self.ways.get(folder) {
            return Ok(ways.clone());
        }
        let ways = self.follow(folder)?;
        self.ways.insert(folder.to_owned(), ways.clone());
        Ok(ways)
    }

    /// Goes along `path` link by link.
    fn follow(&self, path: &Path) -> Result<Vec<PathBuf>, VersionsError> {
        let end = followed(path)?;
        let (mut ways, mut links) = (Vec::new(), 0);
        let (mut real, mut rest) = match path.strip_prefix(&self.named) {
            Ok(below) => (self.root.clone(), parts(below)),
            Err(_) => (PathBuf::new(), parts(path)),
        };
        while let Some(part) = rest.pop_front() {
            if part == PARENT {
                real.pop();
                continue;
            }
            let here = real.join(&part);
            // That the end was found says that there is no ring; links may be changed since.
            if links == MOST_LINKS || !is_link(&here)? {
                real = here;
                continue;
            }
            links += 1;
            // What lies behind `..` is only known where the link leads.
            if !rest.iter().any(|part| part == PARENT) {
                let mut way = here.clone();
                way.extend(&rest);
                ways.push(way);
            }
            let reading = |source| FileError::Io { action: "follow", path: here.clone(), source };
            let target = here.read_link().map_err(reading)?;
            if target.is_absolute() {
                real = PathBuf::new();
            }
            let mut behind = parts(&target);
            behind.append(&mut rest);
            rest = behind;
        }
        ways.push(end);
        Ok(ways)
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

/// The data that was laid out or added, by the indexes in a folder.
fn indexed(folder: &Path) -> Result<Vec<String>, VersionsError> {
    let mut paths = Vec::new();
    if files::exists(folder)? {
        for entry in files::list(folder)? {
            if entry.path.extension().is_some_and(|ending| ending == "index") {
                paths.extend(Index::data_path(&entry.path)?);
            }
        }
    }
    Ok(paths)
}

/// The names that a path is made of.
fn parts(path: &Path) -> VecDeque<OsString> {
    let parts = path.components().filter(|part| *part != Component::CurDir);
    parts.map(|part| part.as_os_str().to_owned()).collect()
}

fn is_link(file: &Path) -> Result<bool, FileError> {
    Ok(files::kind(file)? == Some(EntryKind::Symlink))
}

fn followed(path: &Path) -> Result<PathBuf, FileError> {
    let here = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    here.canonicalize().map_err(|source| FileError::Io { action: "follow", path: path.to_owned(), source })
}
