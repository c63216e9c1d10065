//! What lies in the folders of a model of MLflow's: its code, its data, models within it.

use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use ropewalk_store::files::{self, EntryKind, OddNames, ScanEntry, ScanNext};

use super::{Seen, one};

/// Most files and folders that are watched.
pub(super) const MOST: usize = 4096;
/// In folders so deep below the model's own.
pub(super) const DEPTH: usize = 8;
/// Where Python keeps what it makes of a model's code when that is loaded.
const COMPILED: &str = "__pycache__";

/// Adds what lies in the folders of `root`, which is without links; says whether there is more than is watched. Blocks.
///
/// A link is followed if it ends inside of `root`; of another one only the link itself is watched.
pub(super) fn look(root: &Path, seen: &mut Vec<Seen>) -> bool {
    let mut looking = Looking { root, left: MOST, partial: false, seen, starts: vec![root.to_owned()] };
    let mut next = 0;
    while let Some(start) = looking.starts.get(next).cloned() {
        next += 1;
        let scanned = files::scan(&start, OddNames::LeftOut, &mut |entry| looking.visit(&start, entry));
        // What cannot be listed is not watched, nor what would come after it.
        looking.partial |= scanned.is_err();
    }
    looking.partial
}

struct Looking<'l> {
    root: &'l Path,
    /// So many more are watched.
    left: usize,
    partial: bool,
    seen: &'l mut Vec<Seen>,
    /// What is walked: the root, and the hidden folders to which links lead, as in volumes of Kubernetes.
    starts: Vec<PathBuf>,
}

impl Looking<'_> {
    fn visit(&mut self, start: &Path, entry: &ScanEntry<'_>) -> ScanNext {
        let name = entry.path.rsplit('/').next().unwrap_or_default();
        let depth = entry.path.matches('/').count();
        // The files of the root itself are watched as those of any model.
        let is_beside = depth == 0 && start == self.root && entry.kind == EntryKind::File;
        if name.starts_with('.') || name == COMPILED || is_beside {
            return ScanNext::PassOver;
        }
        let Some(left) = self.left.checked_sub(1) else {
            self.partial = true;
            return ScanNext::Stop;
        };
        self.left = left;
        let path = start.join(entry.path);
        match entry.kind {
            EntryKind::Directory if depth >= DEPTH => {
                self.partial = true;
                return ScanNext::PassOver;
            }
            EntryKind::Directory => self.seen.push((path, 0, None)),
            EntryKind::File => self.seen.push(stamped(path, entry)),
            EntryKind::Symlink => self.link(path, entry),
            EntryKind::Other => {}
        }
        ScanNext::Enter
    }

    fn link(&mut self, path: PathBuf, entry: &ScanEntry<'_>) {
        match one(&path) {
            Ok(behind) if behind.0.starts_with(self.root) => {
                // What is not hidden is walked where it is.
                let is_start = behind.0.is_dir() && self.is_hidden(&behind.0) && !self.starts.contains(&behind.0);
                self.starts.extend(is_start.then(|| behind.0.clone()));
                self.seen.push(behind);
            }
            _ => self.seen.push(stamped(path, entry)),
        }
    }

    fn is_hidden(&self, path: &Path) -> bool {
        let mut names = path.strip_prefix(self.root).unwrap_or(path).iter();
        names.any(|name| name.as_encoded_bytes().starts_with(b"."))
    }
}

/// The entry itself; no time before 1970.
fn stamped(path: PathBuf, entry: &ScanEntry<'_>) -> Seen {
    let since = u64::try_from(entry.modified).ok().map(Duration::from_nanos);
    (path, entry.size, since.and_then(|since| UNIX_EPOCH.checked_add(since)))
}
