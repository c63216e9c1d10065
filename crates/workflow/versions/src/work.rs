//! What lies in the work tree, held against the index.

use std::path::{Path, PathBuf};

use rayon::prelude::*;
use ropewalk_store::files::{self, EntryKind, OddNames, ScanEntry, ScanNext};
use ropewalk_store::{StoreError, TreeFile};
use ropewalk_types::Digest;

use crate::error::VersionsError;
use crate::index::{Index, IndexEntry, Stat};
use crate::pointer::{Kind, Links};

/// A file in the work tree.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    pub(crate) path: String,
    pub(crate) stat: Stat,
    /// Where the index has it.
    pub(crate) at: Option<usize>,
    /// Its content, where that is known.
    pub(crate) digest: Option<Digest>,
}

/// The work tree of a dataset.
#[derive(Debug)]
pub(crate) struct Work {
    /// The folder below which the paths lie.
    pub(crate) directory: PathBuf,
    /// What is there, sorted by path.
    pub(crate) files: Vec<Found>,
    /// Entries of the index that should be there and are not.
    pub(crate) missing: Vec<usize>,
    /// What an operation that was killed had begun to write, by path.
    pub(crate) leftovers: Vec<String>,
    /// Symbolic links that are no part of the data, by path.
    pub(crate) links: Vec<String>,
}

/// Where the files of a dataset lie.
#[derive(Clone, Debug)]
pub(crate) struct Data {
    /// The folder, or the folder in which the single file lies.
    pub(crate) directory: PathBuf,
    /// The name of the single file.
    pub(crate) file: Option<String>,
    /// What becomes of symbolic links in the folder.
    pub(crate) links: Links,
}

impl Data {
    /// What lies at `path`: a folder or a single file, as `kind` says.
    pub(crate) fn at(path: &Path, kind: Kind) -> Self {
        let parent = || path.parent().unwrap_or(path).to_owned();
        let (directory, file) = match (kind, path.file_name().and_then(|name| name.to_str())) {
            (Kind::File | Kind::Executable, Some(name)) => (parent(), Some(name.to_owned())),
            _ => (path.to_owned(), None),
        };
        Self { directory, file, links: Links::Refused }
    }

    /// The same with what becomes of symbolic links.
    pub(crate) fn with_links(self, links: Links) -> Self {
        Self { links, ..self }
    }
}

/// What really lies where data of this kind should: of the kind of the pointer unless a folder has become a file, or a file
/// a folder.
pub(crate) fn kind_here(path: &Path, kind: Kind) -> Result<Kind, VersionsError> {
    Ok(match (files::kind(path)?, kind) {
        (Some(EntryKind::Directory), Kind::File | Kind::Executable) => Kind::Folder,
        (Some(EntryKind::File), Kind::Folder) => Kind::File,
        _ => kind,
    })
}

/// Refuses data that is of another kind than its pointer says.
pub(crate) fn check_kind(path: &str, data: &Path, kind: Kind) -> Result<(), VersionsError> {
    let (path, here) = (path.to_owned(), kind_here(data, kind)?);
    match (here, kind) {
        (Kind::Folder, Kind::Folder) => Ok(()),
        (Kind::Folder, _) => Err(VersionsError::OtherKind { path, here: "a folder", was: "a file" }),
        (_, Kind::Folder) => Err(VersionsError::OtherKind { path, here: "a file", was: "a folder" }),
        _ => Ok(()),
    }
}

/// Reads the metadata of all files, in step with the index; reads no file.
pub(crate) fn look(data: &Data, index: Option<&Index>) -> Result<Work, VersionsError> {
    let (files, missing, leftovers, links) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let mut work = Work { directory: data.directory.clone(), files, missing, leftovers, links };
    work.files.reserve(index.map_or(0, Index::len));
    let mut step = Step { index, next: 0 };
    let mut refused = None;
    let mut visit = |entry: &ScanEntry<'_>| match take(data, entry) {
        Ok(Taken::File) => {
            let stat = stat(entry);
            let at = step.reach(entry.path, &mut work.missing);
            let known = at.filter(|&at| index.is_some_and(|index| index.trusts(at, &stat)));
            let digest = known.and_then(|at| index?.get(at)).map(|entry| entry.digest);
            work.files.push(Found { path: entry.path.to_owned(), stat, at, digest });
            ScanNext::Enter
        }
        Ok(Taken::Within) => ScanNext::Enter,
        Ok(Taken::Leftover) => {
            work.leftovers.push(entry.path.to_owned());
            ScanNext::PassOver
        }
        Ok(Taken::Link) => {
            work.links.push(entry.path.to_owned());
            ScanNext::PassOver
        }
        Ok(Taken::No) => ScanNext::PassOver,
        Err(error) => {
            refused = Some(error);
            ScanNext::Stop
        }
    };
    // Beside a single file, whatever else lies there is nobody's data.
    let odd_names = if data.file.is_some() { OddNames::LeftOut } else { OddNames::Refused };
    match files::scan(&data.directory, odd_names, &mut visit) {
        // Nothing is laid out.
        Err(error) if error.is_not_found() => {}
        result => result?,
    }
    if let Some(error) = refused {
        return Err(error);
    }
    if data.links == Links::Refused && !work.links.is_empty() {
        return Err(VersionsError::Links { path: work.directory, links: work.links });
    }
    step.finish(&mut work.missing);
    Ok(work)
}

enum Taken {
    File,
    Within,
    Leftover,
    Link,
    No,
}

fn take(data: &Data, entry: &ScanEntry<'_>) -> Result<Taken, VersionsError> {
    if let Some(file) = &data.file {
        match entry.kind {
            EntryKind::File if entry.path == file => return Ok(Taken::File),
            _ if entry.path == file => {}
            _ => return Ok(Taken::No),
        }
    }
    let path = || data.directory.join(entry.path);
    let not_storable = |reason| Err(StoreError::NotStorable { path: path(), reason }.into());
    let name = entry.path.rsplit('/').next().unwrap_or(entry.path);
    match entry.kind {
        _ if matches!(name, ".git" | ".ropewalk") => Err(VersionsError::Untrackable {
            path: path().display().to_string(),
            reason: "it belongs to git or to Ropewalk, and is no data".to_owned(),
            advice: "track the folders beside it instead",
        }),
        // A file half written, a folder half copied, or the link that such a folder took the place of.
        EntryKind::File | EntryKind::Directory | EntryKind::Symlink if files::is_leftover(name) => Ok(Taken::Leftover),
        EntryKind::File => Ok(Taken::File),
        EntryKind::Directory if data.file.is_none() => Ok(Taken::Within),
        EntryKind::Directory => not_storable("a folder is where the file should be"),
        EntryKind::Symlink if data.file.is_none() => Ok(Taken::Link),
        EntryKind::Symlink => not_storable("it is a symbolic link"),
        EntryKind::Other => not_storable("it is neither a file nor a directory"),
    }
}

fn stat(entry: &ScanEntry<'_>) -> Stat {
    let ScanEntry { size, modified, changed, inode, executable, .. } = *entry;
    Stat { size, modified, changed, inode, executable }
}

/// Walks the index in step with the scan; both are sorted by path.
struct Step<'a> {
    index: Option<&'a Index>,
    next: usize,
}

impl Step<'_> {
    /// The position of `path`; what is passed on the way is missing.
    fn reach(&mut self, path: &str, missing: &mut Vec<usize>) -> Option<usize> {
        let index = self.index?;
        while let Some(entry) = index.get(self.next) {
            match entry.path.as_bytes().cmp(path.as_bytes()) {
                std::cmp::Ordering::Less => {
                    note(&entry, self.next, missing);
                    self.next += 1;
                }
                std::cmp::Ordering::Equal => {
                    self.next += 1;
                    return Some(self.next - 1);
                }
                std::cmp::Ordering::Greater => return None,
            }
        }
        None
    }

    fn finish(mut self, missing: &mut Vec<usize>) {
        while let Some(entry) = self.index.and_then(|index| index.get(self.next)) {
            note(&entry, self.next, missing);
            self.next += 1;
        }
    }
}

fn note(entry: &IndexEntry<'_>, position: usize, missing: &mut Vec<usize>) {
    if !entry.absent {
        missing.push(position);
    }
}

impl Work {
    /// Reads the chosen ones of the files whose metadata does not tell their content, many at once; blocks.
    pub(crate) fn hash(&mut self, chosen: impl Fn(&Found) -> bool + Sync) -> Result<(), VersionsError> {
        let directory = &self.directory;
        self.files.par_iter_mut().filter(|file| file.digest.is_none() && chosen(file)).try_for_each(|file| {
            match hash_file(&directory.join(&file.path)) {
                Ok(digest) => {
                    file.digest = Some(digest);
                    Ok(())
                }
                Err(error) => Err(error),
            }
        })
    }

    /// [`Work::hash`] that goes on past files that cannot be read; says why they cannot.
    pub(crate) fn hash_each(&mut self, chosen: impl Fn(&Found) -> bool + Sync) -> Vec<VersionsError> {
        let directory = &self.directory;
        let unknown = self.files.par_iter_mut().filter(|file| file.digest.is_none() && chosen(file));
        let read = unknown.filter_map(|file| match hash_file(&directory.join(&file.path)) {
            Ok(digest) => {
                file.digest = Some(digest);
                None
            }
            Err(error) => Some(error),
        });
        read.collect()
    }

    /// Removes what an operation that was killed had begun to write; only for who holds the lock of the work tree.
    pub(crate) fn clear_leftovers(&mut self) -> Result<(), VersionsError> {
        for path in self.leftovers.drain(..) {
            remove_leftover(&self.directory.join(path))?;
        }
        Ok(())
    }

    /// The file at `path`.
    pub(crate) fn find(&self, path: &str) -> Option<&Found> {
        let found = self.files.binary_search_by(|file| file.path.as_bytes().cmp(path.as_bytes()));
        found.ok().and_then(|position| self.files.get(position))
    }

    /// The files as a list; those whose content is not known are left out.
    pub(crate) fn tree_files(&self) -> Vec<TreeFile> {
        let known = |file: &Found| {
            let Stat { size, executable, .. } = file.stat;
            Some(TreeFile { path: file.path.clone(), digest: file.digest?, size, executable })
        };
        self.files.iter().filter_map(known).collect()
    }
}

/// Removes what an operation that was killed had begun to write beside data.
pub(crate) fn remove_leftover(path: &Path) -> Result<(), files::FileError> {
    match files::kind(path)? {
        Some(EntryKind::Directory) => files::remove_directory(path).map(drop),
        _ => files::remove_file(path).map(drop),
    }
}

/// The digest of a file's bytes, read a little at a time.
fn hash_file(path: &Path) -> Result<Digest, VersionsError> {
    let mut hasher = blake3::Hasher::new();
    let failed = |source| files::FileError::Io { action: "read", path: path.to_owned(), source };
    hasher.update_reader(files::open(path)?).map_err(failed)?;
    Ok(hasher.finalize().into())
}

/// The present moment by the clock of the file system that `directory` lies on, in nanoseconds since 1970.
pub(crate) fn clock(directory: &Path) -> Result<i64, VersionsError> {
    const NAME: &str = "clock";
    let path = directory.join(NAME);
    files::create_directories(directory)?;
    files::remove_file(&path)?;
    files::write_new(&path, b"", false)?;
    let data = Data { directory: directory.to_owned(), file: Some(NAME.to_owned()), links: Links::Refused };
    let work = look(&data, None)?;
    Ok(work.files.first().map_or(0, |file| file.stat.youngest()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::IndexHead;
    use crate::pointer::PointerState;

    fn data(directory: &Path) -> Data {
        Data { directory: directory.to_owned(), file: None, links: Links::Refused }
    }

    fn write(directory: &Path, path: &str, text: &str) {
        files::write_atomic(&directory.join(path), text.as_bytes()).unwrap();
    }

    fn index_of(work: &Work, settled: i64) -> Index {
        let (root, state) = (Digest::of(b"root"), PointerState::Added { base: None });
        let head = IndexHead { root, kind: Kind::Folder, state, path: "data".to_owned(), selection: None, settled };
        let mut index = Index::new(head);
        for file in &work.files {
            let digest = file.digest.unwrap();
            assert!(index.push(IndexEntry { path: &file.path, stat: file.stat, digest, absent: false }));
        }
        index
    }

    #[test]
    fn only_what_changed_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        for path in ["a", "b/c", "d"] {
            write(root, path, path);
        }
        let mut work = look(&data(root), None).unwrap();
        work.hash(|_| true).unwrap();
        let index = index_of(&work, i64::MAX);

        let unchanged = look(&data(root), Some(&index)).unwrap();
        assert!(unchanged.files.iter().all(|file| file.digest.is_some()) && unchanged.missing.is_empty());

        files::remove_file(&root.join("a")).unwrap();
        write(root, "d", "D");
        write(root, "new", "new");
        let mut changed = look(&data(root), Some(&index)).unwrap();
        assert_eq!(changed.missing, [0]);
        let unknown: Vec<_> =
            changed.files.iter().filter(|file| file.digest.is_none()).map(|file| file.path.as_str()).collect();
        assert_eq!(unknown, ["d", "new"]);
        changed.hash(|file| file.at.is_some()).unwrap();
        assert_eq!(changed.files.iter().find(|file| file.path == "d").unwrap().digest, Some(Digest::of(b"D")));
        assert!(changed.files.iter().find(|file| file.path == "new").unwrap().digest.is_none());
    }

    #[test]
    fn what_cannot_be_read_is_told_and_the_rest_is_read() {
        let folder = tempfile::tempdir().unwrap();
        for path in ["a", "b", "large"] {
            write(folder.path(), path, path);
        }
        let mut work = look(&data(folder.path()), None).unwrap();
        files::remove_file(&folder.path().join("a")).unwrap();
        assert!(work.hash(|file| file.path == "a").is_err());
        let unread = work.hash_each(|file| file.stat.size == 1);
        assert!(unread.len() == 1 && unread[0].to_string().contains("/a`"), "{unread:?}");
        let read: Vec<_> = work.files.iter().map(|file| file.digest).collect();
        assert_eq!(read, [None, Some(Digest::of(b"b")), None], "that of another size was not read");
    }

    #[test]
    fn a_change_within_one_tick_of_the_clock_is_seen() {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), "a", "one");
        let settled = clock(&folder.path().join("elsewhere")).unwrap();
        files::remove_directory(&folder.path().join("elsewhere")).unwrap();
        let mut work = look(&data(folder.path()), None).unwrap();
        work.hash(|_| true).unwrap();
        let index = index_of(&work, settled.min(work.files[0].stat.youngest()));
        // Same metadata, as if the file had changed again in that same tick: it must not be trusted.
        assert_eq!(look(&data(folder.path()), Some(&index)).unwrap().files[0].digest, None);
    }

    #[test]
    fn the_clock_is_that_of_the_files() {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), "a", "a");
        let before = look(&data(folder.path()), None).unwrap().files[0].stat.youngest();
        assert!(clock(&folder.path().join("work")).unwrap() >= before);
    }

    #[cfg(unix)]
    #[test]
    fn what_is_no_data_is_refused() {
        for hostile in ["link", ".git/config", "deep/.ropewalk/x"] {
            let folder = tempfile::tempdir().unwrap();
            write(folder.path(), "fine", "fine");
            if hostile == "link" {
                std::os::unix::fs::symlink("/etc/passwd", folder.path().join(hostile)).unwrap();
            } else {
                write(folder.path(), hostile, "x");
            }
            assert!(look(&data(folder.path()), None).is_err(), "{hostile}");
        }
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), ".tmp#12000000000", "half");
        assert!(look(&data(folder.path()), None).unwrap().files.is_empty());
    }

    #[test]
    fn a_single_file_is_alone() {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), "a.csv", "a");
        write(folder.path(), "b.csv", "b");
        write(folder.path(), "c/a.csv", "c");
        let work = look(&Data::at(&folder.path().join("a.csv"), Kind::File), None).unwrap();
        assert_eq!(work.files.iter().map(|file| file.path.as_str()).collect::<Vec<_>>(), ["a.csv"]);
        assert!(look(&Data::at(&folder.path().join("none/x"), Kind::File), None).unwrap().files.is_empty());
    }
}
