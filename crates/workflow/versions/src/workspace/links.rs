use std::collections::HashSet;
use std::io;
use std::path::{Path, PathBuf};

use ropewalk_store::files::{self, AtomicFile, EntryKind, FileError, OddNames, ScanEntry, ScanNext};
use serde::Serialize;

use crate::error::{VersionsError, printable};
use crate::work::remove_leftover;

/// Files that links may bring in together, and entries of a folder that one leads to: links to folders of links multiply.
pub(crate) const MOST_FILES: usize = 1_000_000;
/// At the end of the name of a link whose folder takes its place, where the file system cannot exchange the two.
const ASIDE: &str = ".link-being-followed";
/// Links that an error lists with the reason.
const REFUSED: usize = 20;

/// What becomes of symbolic links in data that is added.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum AddLinks {
    /// What the pointer says: they are an error, unless they were skipped before.
    #[default]
    AsBefore,
    /// They are no part of the data, now and later.
    Skip,
    /// What they point to takes their place, as plain files; it must lie in the project.
    Follow,
    /// What they point to takes their place, wherever it lies.
    FollowAnywhere,
}

/// Puts what the symbolic links below `directory` point to in their place; gives the links, by path.
///
/// Those that are in `others` stay: they are another tool's. All are looked at before anything is changed. A link is replaced in one step, one to a folder when a whole copy lies
/// beside it. What a command that was killed meanwhile had left is removed or put back first. Errors:
/// [`VersionsError::LinksNotFollowed`], also if more than `most` files would come in.
pub(crate) fn follow(
    project: &Path,
    directory: &Path,
    anywhere: bool,
    others: &HashSet<&str>,
    most: usize,
) -> Result<Vec<String>, VersionsError> {
    let (mut links, mut refused, mut more, mut count) = (Vec::new(), Vec::new(), 0_usize, 0);
    let within = if anywhere { None } else { Some(real(project)?) };
    let mut found = links_below(directory)?;
    found.retain(|link| !others.contains(link.as_str()));
    for link in &found {
        let mut gathering = Gathering { within: within.as_deref(), open: Vec::new(), brought: Vec::new(), count, most };
        match gathering.link(&directory.join(link), "")? {
            Ok(()) => {
                count = gathering.count;
                links.push((link, gathering.brought));
            }
            Err(reason) if refused.len() < REFUSED => refused.push(format!("`{}`: {reason}", printable(link))),
            Err(_) => more += 1,
        }
    }
    if !refused.is_empty() {
        return Err(VersionsError::LinksNotFollowed { path: directory.to_owned(), refused, more });
    }
    for (link, brought) in &links {
        replace(&directory.join(link), brought)?;
    }
    Ok(found)
}

/// The links, after what a command that was killed had left of others is removed or put back.
fn links_below(directory: &Path) -> Result<Vec<String>, VersionsError> {
    let (mut links, mut leftovers) = (Vec::new(), Vec::new());
    let mut visit = |entry: &ScanEntry<'_>| {
        if files::is_leftover(name_of(entry.path)) {
            // A file that is half written may be that of a process that is at work.
            leftovers.extend((entry.kind != EntryKind::File).then(|| entry.path.to_owned()));
            return ScanNext::PassOver;
        }
        if entry.kind == EntryKind::Symlink {
            links.push(entry.path.to_owned());
        }
        ScanNext::Enter
    };
    files::scan(directory, OddNames::Refused, &mut visit)?;
    for path in leftovers {
        remove_leftover(&directory.join(path))?;
    }
    let mut found = Vec::new();
    for path in links {
        match path.strip_suffix(ASIDE).filter(|link| !name_of(link).is_empty()) {
            Some(link) => found.extend(put_back(directory, &path, link)?),
            None => found.push(path),
        }
    }
    found.sort();
    Ok(found)
}

/// Ends what was begun with a link that was moved aside; gives the link that there is now.
fn put_back(directory: &Path, aside: &str, link: &str) -> Result<Option<String>, VersionsError> {
    let (away, place) = (directory.join(aside), directory.join(link));
    Ok(match files::kind(&place)? {
        // The folder had not come yet.
        None => {
            files::rename(&away, &place)?;
            Some(link.to_owned())
        }
        Some(EntryKind::Directory) => {
            files::remove_file(&away)?;
            None
        }
        // The user's own.
        Some(_) => Some(aside.to_owned()),
    })
}

fn name_of(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// The path without links on the way.
fn real(path: &Path) -> Result<PathBuf, VersionsError> {
    Ok(path.canonicalize().map_err(|source| FileError::Io { action: "follow", path: path.to_owned(), source })?)
}

/// A file that takes a place below that of a link.
struct Brought {
    /// Its path below that of the link; empty for the file that a link points to.
    below: String,
    from: PathBuf,
    executable: bool,
}

/// Collects what one link points to.
struct Gathering<'a> {
    /// What must not be left.
    within: Option<&'a Path>,
    /// The real folders in which the links lie that are being followed.
    open: Vec<PathBuf>,
    brought: Vec<Brought>,
    /// Files that all links brought so far.
    count: usize,
    /// How many they may be.
    most: usize,
}

/// Why a link cannot be followed.
type Reason = String;

impl Gathering<'_> {
    fn link(&mut self, link: &Path, below: &str) -> Result<Result<(), Reason>, VersionsError> {
        let target = match link.canonicalize() {
            Ok(target) => target,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Err("nothing is there".to_owned())),
            Err(error) => return Ok(Err(error.to_string())),
        };
        if self.within.is_some_and(|within| !target.starts_with(within)) {
            return Ok(Err(format!("it leads out of the project, to {}", target.display())));
        }
        self.open.push(real(link.parent().unwrap_or(link))?);
        if self.open.iter().any(|folder| folder.starts_with(&target)) {
            return Ok(Err("it leads to a folder in which it lies itself".to_owned()));
        }
        let gathered = match files::kind(&target)? {
            Some(EntryKind::Directory) => self.folder(&target, below)?,
            Some(EntryKind::File) => self.file(&target, below)?,
            _ => Err("it leads to what is neither a file nor a folder".to_owned()),
        };
        self.open.pop();
        Ok(gathered)
    }

    fn file(&mut self, target: &Path, below: &str) -> Result<Result<(), Reason>, VersionsError> {
        let executable = may_execute(target)?;
        Ok(self.bring(Brought { below: below.to_owned(), from: target.to_owned(), executable }))
    }

    fn folder(&mut self, target: &Path, above: &str) -> Result<Result<(), Reason>, VersionsError> {
        let mut entries = Vec::new();
        let mut visit = |entry: &ScanEntry<'_>| {
            if files::is_leftover(name_of(entry.path)) {
                return ScanNext::PassOver;
            }
            entries.push((entry.path.to_owned(), entry.kind, entry.executable));
            if entries.len() > self.most { ScanNext::Stop } else { ScanNext::Enter }
        };
        files::scan(target, OddNames::Refused, &mut visit)?;
        if entries.len() > self.most {
            return Ok(Err(format!("it leads to more than {} files and folders", self.most)));
        }
        for (path, kind, executable) in entries {
            if matches!(name_of(&path), ".git" | ".ropewalk") {
                return Ok(Err(format!("it leads to a folder with `{path}` in it, which is no data")));
            }
            let below = if above.is_empty() { path.clone() } else { format!("{above}/{path}") };
            let from = target.join(&path);
            let gathered = match kind {
                EntryKind::Directory => Ok(()),
                EntryKind::File => self.bring(Brought { below, from, executable }),
                EntryKind::Symlink => self.link(&from, &below)?,
                EntryKind::Other => Err(format!("`{path}` in it is neither a file nor a folder")),
            };
            if let Err(reason) = gathered {
                return Ok(Err(if kind == EntryKind::Symlink {
                    format!("by `{path}` in it: {reason}")
                } else {
                    reason
                }));
            }
        }
        Ok(Ok(()))
    }

    fn bring(&mut self, file: Brought) -> Result<(), Reason> {
        self.count += 1;
        if self.count > self.most {
            return Err(format!("more than {} files would be brought in", self.most));
        }
        self.brought.push(file);
        Ok(())
    }
}

#[cfg(unix)]
fn may_execute(path: &Path) -> Result<bool, VersionsError> {
    use std::os::unix::fs::PermissionsExt as _;
    let failed = |source| FileError::Io { action: "look at", path: path.to_owned(), source };
    Ok(files::open(path)?.metadata().map_err(failed)?.permissions().mode() & 0o100 != 0)
}

#[cfg(not(unix))]
fn may_execute(_: &Path) -> Result<bool, VersionsError> {
    Ok(false)
}

fn replace(link: &Path, brought: &[Brought]) -> Result<(), VersionsError> {
    if let [Brought { below, from, executable }] = brought
        && below.is_empty()
    {
        return copy(from, *executable, link);
    }
    // Beside the link, so that it lies on the same file system.
    let whole = files::temporary_directory(link.parent().unwrap_or(link))?;
    for Brought { below, from, executable } in brought {
        copy(from, *executable, &whole.path().join(below))?;
    }
    if files::exchange(whole.path(), link)? {
        files::remove_file(whole.path())?;
        return Ok(());
    }
    place(whole.path(), link)
}

/// Puts `folder` where `link` is, by a second name of the link; one that a kill leaves is a link that `add` refuses or puts
/// back.
fn place(folder: &Path, link: &Path) -> Result<(), VersionsError> {
    let mut aside = link.as_os_str().to_owned();
    aside.push(ASIDE);
    let aside = PathBuf::from(aside);
    if files::kind(&aside)?.is_some() {
        return Err(FileError::InTheWay { path: aside }.into());
    }
    files::rename(link, &aside)?;
    if let Err(error) = files::rename_directory(folder, link) {
        files::rename(&aside, link)?;
        return Err(error.into());
    }
    files::remove_file(&aside)?;
    Ok(())
}

/// A file of its own at `to`, in one step, be there a link or nothing.
fn copy(from: &Path, executable: bool, to: &Path) -> Result<(), VersionsError> {
    let mut file = AtomicFile::create(to)?;
    io::copy(&mut files::open(from)?, &mut file).map_err(|source| FileError::Io {
        action: "copy",
        path: from.to_owned(),
        source,
    })?;
    if executable {
        file.set_executable()?;
    }
    Ok(file.commit()?)
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn write(path: &Path) {
        files::write_atomic(path, b"x").unwrap();
    }

    /// `data` with a link to `target`, which holds three folders and a file.
    fn linked() -> tempfile::TempDir {
        let project = tempfile::tempdir().unwrap();
        for folder in ["data", "target/a", "target/b", "target/c"] {
            files::create_directories(&project.path().join(folder)).unwrap();
        }
        write(&project.path().join("target/z"));
        symlink("../target", project.path().join("data/link")).unwrap();
        project
    }

    fn kind(project: &tempfile::TempDir, path: &str) -> Option<EntryKind> {
        files::kind(&project.path().join(path)).unwrap()
    }

    #[test]
    fn a_folder_of_too_many_entries_is_refused_not_cut() {
        let project = linked();
        let data = project.path().join("data");
        let error = follow(project.path(), &data, false, &HashSet::new(), 3).unwrap_err();
        assert!(error.to_string().contains("more than 3 files and folders"), "{error}");
        assert_eq!(kind(&project, "data/link"), Some(EntryKind::Symlink));
        follow(project.path(), &data, false, &HashSet::new(), 4).unwrap();
        assert_eq!(kind(&project, "data/link/z"), Some(EntryKind::File));
        assert_eq!(files::list(&data).unwrap().len(), 1, "nothing is left beside it");
    }

    #[test]
    fn where_names_cannot_be_exchanged_the_link_goes_aside() {
        let project = linked();
        let link = project.path().join("data/link");
        place(&project.path().join("target"), &link).unwrap();
        assert_eq!(kind(&project, "data/link/z"), Some(EntryKind::File));
        assert_eq!(files::list(&project.path().join("data")).unwrap().len(), 1);
    }

    #[test]
    fn a_folder_that_cannot_come_leaves_the_link() {
        let project = linked();
        let link = project.path().join("data/link");
        assert!(place(&project.path().join("nowhere"), &link).is_err());
        assert_eq!(kind(&project, "data/link"), Some(EntryKind::Symlink));
        write(&project.path().join(format!("data/link{ASIDE}")));
        assert!(place(&project.path().join("target"), &link).is_err(), "the user's file is not replaced");
        assert_eq!(kind(&project, "data/link"), Some(EntryKind::Symlink));
    }

    #[test]
    fn what_a_kill_left_is_put_back_or_removed() {
        let project = linked();
        let data = project.path().join("data");
        write(&data.join(".tmp#12000000000/half"));
        symlink("../target", data.join(".tmp#12000000001")).unwrap();
        files::rename(&data.join("link"), &data.join(format!("link{ASIDE}"))).unwrap();
        write(&data.join("done/z"));
        symlink("../target", data.join(format!("done{ASIDE}"))).unwrap();
        assert_eq!(follow(project.path(), &data, false, &HashSet::new(), MOST_FILES).unwrap(), ["link"]);
        let names: Vec<_> = files::list(&data).unwrap().into_iter().map(|entry| (entry.name, entry.kind)).collect();
        let folder = |name: &str| (name.to_owned(), EntryKind::Directory);
        assert_eq!(names, [folder("done"), folder("link")]);
    }
}
