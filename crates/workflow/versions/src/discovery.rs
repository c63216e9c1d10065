//! Where the pointers of a project lie, and which paths may have one.

use std::collections::HashSet;
use std::path::{Component, Path, PathBuf};

use ropewalk_store::files::{self, EntryKind, OddNames, ScanEntry, ScanNext};

use crate::error::VersionsError;
use crate::pointer::{self, EXTENSION, Pointer};

/// More datasets than a project has.
const MAX_POINTERS: usize = 100_000;
/// Bytes of a file's name that every file system takes.
const MAX_NAME: usize = 255;
/// Folders that hold what package managers put there.
const FOREIGN: [&str; 3] = ["node_modules", "__pycache__", "site-packages"];
/// Marks a folder of things that can be made again, such as Cargo's `target` (Cache Directory Tagging Specification).
const CACHE_MARK: &str = "CACHEDIR.TAG";

/// The data of a dataset and its pointer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// The data, relative to the project, `/`-separated.
    pub(crate) path: String,
    /// The data.
    pub(crate) data: PathBuf,
    /// The pointer.
    pub(crate) pointer: PathBuf,
}

impl Place {
    /// The data at `path`, which is relative to `root` or lies below it.
    pub(crate) fn of(root: &Path, path: &Path) -> Result<Self, VersionsError> {
        let shown = path.display().to_string();
        let refused = |reason: &str, advice| untrackable(&shown, reason, advice);
        let below = if path.is_absolute() {
            path.strip_prefix(root).map_err(|_| refused("it lies outside the project", "move it into the project"))?
        } else {
            path
        };
        let mut names: Vec<&str> = Vec::new();
        for part in below.components() {
            match part {
                Component::CurDir => {}
                Component::Normal(name) => {
                    names.push(name.to_str().ok_or_else(|| refused("its name is not UTF-8", "rename it"))?);
                }
                Component::ParentDir if names.pop().is_some() => {}
                _ => return Err(refused("it lies outside the project", "move it into the project")),
            }
        }
        check_names(&names).map_err(|(reason, advice)| refused(reason, advice))?;
        Ok(Self::at(root, names.join("/")))
    }

    /// The data at `path`, `/`-separated and known to be good.
    pub(crate) fn at(root: &Path, path: String) -> Self {
        let data = root.join(&path);
        let pointer = root.join(format!("{path}{EXTENSION}"));
        Self { path, data, pointer }
    }

    /// The name of the data beside the pointer.
    pub(crate) fn file_name(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or(&self.path)
    }

    /// The folder in which the data lies.
    pub(crate) fn folder(&self) -> &Path {
        self.data.parent().unwrap_or(&self.data)
    }

    /// Refuses data that is not there, and a way to it that leads through a symbolic link.
    pub(crate) fn check_kind(&self, root: &Path) -> Result<EntryKind, VersionsError> {
        let refused = |reason, advice| untrackable(&self.path, reason, advice);
        let mut above = root.to_owned();
        let folders = self.path.rsplit_once('/').map_or("", |(folders, _)| folders);
        for folder in folders.split('/').filter(|folder| !folder.is_empty()) {
            above.push(folder);
            if files::kind(&above)? == Some(EntryKind::Symlink) {
                return Err(refused("a folder above it is a symbolic link", "track it where it really lies"));
            }
        }
        match files::kind(&self.data)? {
            Some(kind @ (EntryKind::File | EntryKind::Directory)) => Ok(kind),
            None => Err(refused("nothing is there", "check the path")),
            Some(EntryKind::Symlink) => Err(refused("it is a symbolic link", "track what it points to")),
            Some(EntryKind::Other) => Err(refused("it is neither a file nor a folder", "check the path")),
        }
    }
}

fn check_names(names: &[&str]) -> Result<(), (&'static str, &'static str)> {
    match names.last() {
        None => return Err(("it is the project itself", "track the folders that hold data")),
        Some(name) if name.ends_with(EXTENSION) => {
            return Err(("it is named like a pointer", "name the data, without `.dataset`"));
        }
        Some(name) if name.len() + EXTENSION.len() > MAX_NAME => return Err(("its name is too long", "rename it")),
        Some(_) => {}
    }
    if names.iter().any(|name| matches!(*name, ".git" | ".ropewalk" | ".dvc")) {
        return Err(("it belongs to a tool, and is no data", "track other folders"));
    }
    if names.iter().any(|name| name.contains(char::is_control) || name.contains('\\')) {
        return Err(("a control character or a backslash is in its path", "rename it"));
    }
    Ok(())
}

/// Whether one path is the other, or lies below it.
pub(crate) fn overlap(one: &str, other: &str) -> bool {
    let within = |inner: &str, outer: &str| {
        inner.strip_prefix(outer).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    within(one, other) || within(other, one)
}

pub(crate) fn untrackable(path: &str, reason: &str, advice: &'static str) -> VersionsError {
    VersionsError::Untrackable { path: path.to_owned(), reason: reason.to_owned(), advice }
}

/// A pointer that was found.
#[derive(Debug)]
pub(crate) struct Tracked {
    pub(crate) place: Place,
    pub(crate) pointer: Result<Pointer, VersionsError>,
}

impl Tracked {
    /// What the pointer says; of one with conflict markers, what both branches say.
    pub(crate) fn sides(&self) -> Vec<Pointer> {
        match &self.pointer {
            Ok(pointer) => vec![pointer.clone()],
            Err(VersionsError::PointerConflict { path, .. }) => {
                let Ok(text) = files::read_text(path, pointer::MAX_BYTES) else { return Vec::new() };
                let Ok(sides) = pointer::sides(&text) else { return Vec::new() };
                [sides.ours, sides.theirs].iter().filter_map(|side| Pointer::parse(side, path).ok()).collect()
            }
            Err(_) => Vec::new(),
        }
    }
}

/// All pointers below `root`, sorted by path.
///
/// Not looked into are the data of datasets, hidden folders, folders tagged as caches and those of package managers.
pub(crate) fn discover(root: &Path) -> Result<Vec<Tracked>, VersionsError> {
    let mut walk = Walk::default();
    files::scan(root, OddNames::LeftOut, &mut |entry| walk.visit(entry))?;
    if walk.data.len() > MAX_POINTERS {
        let reason = format!("it holds more than {MAX_POINTERS} pointers");
        return Err(untrackable(&root.display().to_string(), &reason, "split the project"));
    }
    let mut tracked = Vec::new();
    for path in walk.data {
        let place = Place::at(root, path);
        let Some(pointer) = pointer_at(&place).transpose() else { continue };
        tracked.push(Tracked { place, pointer });
    }
    tracked.sort_by(|a, b| a.place.path.cmp(&b.place.path));
    Ok(tracked)
}

/// The pointer of the data at `place`; none where nothing is, or a file of something else that is named like a pointer.
pub(crate) fn pointer_at(place: &Place) -> Result<Option<Pointer>, VersionsError> {
    let is_named = place.file_name().len() + EXTENSION.len() <= MAX_NAME;
    if !is_named || files::kind(&place.pointer)? != Some(EntryKind::File) || !Pointer::is_at(&place.pointer)? {
        return Ok(None);
    }
    Pointer::read(&place.pointer).and_then(|pointer| beside(place, pointer)).map(Some)
}

/// A pointer must name the data beside it.
fn beside(place: &Place, pointer: Pointer) -> Result<Pointer, VersionsError> {
    if pointer.path == place.file_name() {
        return Ok(pointer);
    }
    let text = pointer.render();
    let line = text.lines().position(|line| line.starts_with("path ")).map_or(1, |position| position + 1);
    Err(VersionsError::PointerMoved { path: place.pointer.clone(), line, data: pointer.path })
}

/// Whether a folder of this name is not looked into.
pub(crate) fn is_passed_over(name: &str) -> bool {
    name.starts_with('.') || FOREIGN.contains(&name)
}

#[derive(Default)]
struct Walk {
    data: HashSet<String>,
    /// The folder of a cache that is being passed over, with a slash at its end.
    passed: Option<String>,
}

impl Walk {
    fn visit(&mut self, entry: &ScanEntry<'_>) -> ScanNext {
        if self.passed.as_deref().is_some_and(|passed| entry.path.starts_with(passed)) {
            return ScanNext::PassOver;
        }
        let (folder, name) = entry.path.rsplit_once('/').unwrap_or(("", entry.path));
        match entry.kind {
            // The scan shows `x.dataset` before it enters `x`.
            EntryKind::Directory if self.data.contains(entry.path) => ScanNext::PassOver,
            EntryKind::Directory if is_passed_over(name) => ScanNext::PassOver,
            EntryKind::File if name == CACHE_MARK && !folder.is_empty() => {
                self.passed = Some(format!("{folder}/"));
                ScanNext::PassOver
            }
            EntryKind::File => {
                if let Some(data) = entry.path.strip_suffix(EXTENSION).filter(|_| name.len() > EXTENSION.len()) {
                    self.data.insert(data.to_owned());
                }
                if self.data.len() > MAX_POINTERS { ScanNext::Stop } else { ScanNext::Enter }
            }
            _ => ScanNext::Enter,
        }
    }
}

#[cfg(test)]
mod tests {
    use ropewalk_types::{DatasetName, Diagnose as _, Digest};

    use super::*;
    use crate::pointer::{Kind, PointerState};

    fn place(path: &str) -> Result<String, String> {
        Place::of(Path::new("/p"), Path::new(path)).map(|place| place.path).map_err(|error| error.to_string())
    }

    #[test]
    fn only_paths_inside_the_project() {
        assert_eq!(place("data/x").unwrap(), "data/x");
        assert_eq!(place("./data/../data/x/").unwrap(), "data/x");
        assert_eq!(place("/p/data/x").unwrap(), "data/x");
        for bad in
            ["", ".", "..", "../x", "a/../../x", "/q/x", "/p", ".git", "a/.ropewalk/b", "x.dataset", "a\nb", "a\\b"]
        {
            assert!(place(bad).is_err(), "{bad}");
        }
        assert!(place("../x").unwrap_err().contains("outside the project"));
    }

    #[test]
    fn pointers_are_found_where_they_may_be() {
        let folder = tempfile::tempdir().unwrap();
        let track = |path: &str| {
            let pointer = Pointer {
                name: DatasetName::new("x").unwrap(),
                kind: Kind::Folder,
                path: path.rsplit('/').next().unwrap().to_owned(),
                digest: Digest::of(b"x"),
                bytes: 0,
                files: 0,
                links: crate::Links::Refused,
                state: PointerState::Added { base: None },
            };
            pointer.write(&folder.path().join(format!("{path}{EXTENSION}"))).unwrap();
        };
        let hidden = ["a/inside", ".hidden/x", "target/x", "node_modules/x"];
        for path in ["a", "b/c"].into_iter().chain(hidden) {
            track(path);
        }
        files::write_atomic(&folder.path().join("target/CACHEDIR.TAG"), b"").unwrap();
        files::write_atomic(&folder.path().join("b/other.dataset"), b"# A dataset kept by Ropewalk\nnonsense").unwrap();
        // Those of other tools: short, long, empty.
        let long = vec![0_u8; 2 * usize::try_from(pointer::MAX_BYTES).unwrap()];
        for (path, bytes) in [("b/short", b"x".as_slice()), ("b/long", &long), ("empty", b"")] {
            files::write_atomic(&folder.path().join(format!("{path}{EXTENSION}")), bytes).unwrap();
            assert!(Pointer::check_place(&folder.path().join(format!("{path}{EXTENSION}"))).is_err(), "{path}");
        }
        files::rename(&folder.path().join("b/c.dataset"), &folder.path().join("b/moved.dataset")).unwrap();
        let found = discover(folder.path()).unwrap();
        let paths: Vec<_> = found.iter().map(|tracked| tracked.place.path.as_str()).collect();
        assert_eq!(paths, ["a", "b/moved", "b/other"]);
        assert!(found[0].pointer.is_ok());
        let moved = found[1].pointer.as_ref().unwrap_err();
        assert!(moved.to_string().contains("belongs beside `c`"), "{moved}");
        assert!(moved.hint().unwrap().contains("name it `c.dataset` again"), "{:?}", moved.hint());
        assert!(found[2].pointer.is_err());
    }
}
