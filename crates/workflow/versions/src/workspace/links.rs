use std::io;
use std::path::{Path, PathBuf};

use ropewalk_store::files::{self, AtomicFile, EntryKind, FileError, OddNames, ScanEntry, ScanNext};

use crate::error::{VersionsError, printable};

/// Files that links may bring in together: links to folders of links multiply.
const MOST_FILES: usize = 1_000_000;
/// Links that an error lists with the reason.
const REFUSED: usize = 20;

/// What becomes of symbolic links in data that is added.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
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
/// All are looked at before anything is changed. A link to a file is replaced in one step; one to a folder when its whole
/// copy is there, in `scratch` and then under its name. Errors: [`VersionsError::LinksNotFollowed`].
pub(super) fn follow(
    project: &Path,
    directory: &Path,
    scratch: &Path,
    anywhere: bool,
) -> Result<Vec<String>, VersionsError> {
    let (mut links, mut refused, mut more, mut count) = (Vec::new(), Vec::new(), 0_usize, 0);
    let within = if anywhere { None } else { Some(real(project)?) };
    let found = links_below(directory)?;
    for link in &found {
        let mut gathering = Gathering { within: within.as_deref(), open: Vec::new(), brought: Vec::new(), count };
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
        replace(&directory.join(link), brought, scratch)?;
    }
    Ok(found)
}

fn links_below(directory: &Path) -> Result<Vec<String>, VersionsError> {
    let mut links = Vec::new();
    let mut visit = |entry: &ScanEntry<'_>| {
        if entry.kind == EntryKind::Symlink {
            links.push(entry.path.to_owned());
        }
        ScanNext::Enter
    };
    files::scan(directory, OddNames::Refused, &mut visit)?;
    Ok(links)
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
            entries.push((entry.path.to_owned(), entry.kind, entry.executable));
            if entries.len() > MOST_FILES { ScanNext::Stop } else { ScanNext::Enter }
        };
        files::scan(target, OddNames::Refused, &mut visit)?;
        for (path, kind, executable) in entries {
            let name = path.rsplit('/').next().unwrap_or(&path);
            if matches!(name, ".git" | ".ropewalk") {
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
        if self.count > MOST_FILES {
            return Err(format!("more than {MOST_FILES} files would be brought in"));
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

fn replace(link: &Path, brought: &[Brought], scratch: &Path) -> Result<(), VersionsError> {
    if let [Brought { below, from, executable }] = brought
        && below.is_empty()
    {
        return copy(from, *executable, link);
    }
    let whole = files::temporary_directory(scratch)?;
    for Brought { below, from, executable } in brought {
        copy(from, *executable, &whole.path().join(below))?;
    }
    files::remove_file(link)?;
    Ok(files::rename_directory(whole.path(), link)?)
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
