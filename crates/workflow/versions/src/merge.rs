//! Three lists of files made into one.

use std::collections::{BTreeMap, BTreeSet};

use ropewalk_store::TreeFile;
use ropewalk_types::Digest;
use serde::Serialize;

/// Which side a conflict is decided for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Prefer {
    /// The version that the work tree holds.
    Ours,
    /// The version that is merged into it.
    Theirs,
}

/// Why a file cannot be merged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ConflictKind {
    /// Both changed it, each in another way.
    BothChanged,
    /// Both added it, with different content.
    BothAdded,
    /// Ours removed what theirs changed.
    RemovedByUs,
    /// Theirs removed what ours changed.
    RemovedByThem,
    /// One side has a file where the other has a folder.
    FileAgainstFolder,
}

/// A file that both sides changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Conflict {
    /// Its path inside the dataset.
    pub path: String,
    /// What happened to it.
    pub kind: ConflictKind,
    /// What ours has.
    pub ours: Option<Digest>,
    /// What theirs has.
    pub theirs: Option<Digest>,
}

/// What a merge made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Merged {
    /// The files, sorted by path; of use only if there are no conflicts.
    pub(crate) files: Vec<TreeFile>,
    pub(crate) conflicts: Vec<Conflict>,
}

/// The three states of one path.
#[derive(Clone, Copy, Default)]
struct Three<'a> {
    base: Option<&'a TreeFile>,
    ours: Option<&'a TreeFile>,
    theirs: Option<&'a TreeFile>,
}

/// The file with content that no side has, so that each side which has it changed it.
pub(crate) fn unknown(file: &TreeFile) -> TreeFile {
    TreeFile { digest: Digest::of(b"content that is gone"), ..file.clone() }
}

/// Several lists of files as one to merge from: where they do not agree on a file, nobody can tell which side changed it, and
/// it is a conflict unless the sides agree.
pub(crate) fn one_base(mut bases: Vec<Vec<TreeFile>>) -> Vec<TreeFile> {
    if bases.len() < 2 {
        return bases.pop().unwrap_or_default();
    }
    let count = bases.len();
    let mut paths: BTreeMap<Vec<u8>, Vec<TreeFile>> = BTreeMap::new();
    for file in bases.into_iter().flatten() {
        paths.entry(file.path.clone().into_bytes()).or_default().push(file);
    }
    let one = |files: Vec<TreeFile>| {
        let first = files.first()?;
        let agreed = files.len() == count && files.iter().all(|file| content(Some(file)) == content(Some(first)));
        Some(if agreed { first.clone() } else { unknown(first) })
    };
    paths.into_values().filter_map(one).collect()
}

/// Merges file by file: what one side alone changed is taken; what both changed alike too.
pub(crate) fn merge_files(base: &[TreeFile], ours: &[TreeFile], theirs: &[TreeFile], prefer: Option<Prefer>) -> Merged {
    let mut paths: BTreeMap<&str, Three<'_>> = BTreeMap::new();
    for file in base {
        paths.entry(&file.path).or_default().base = Some(file);
    }
    for file in ours {
        paths.entry(&file.path).or_default().ours = Some(file);
    }
    for file in theirs {
        paths.entry(&file.path).or_default().theirs = Some(file);
    }
    let (mut files, mut conflicts) = (BTreeMap::new(), Vec::new());
    for (path, three) in &paths {
        let taken = match (three.taken(), prefer) {
            (Ok(taken), _) => taken,
            (Err(_), Some(Prefer::Ours)) => three.ours,
            (Err(_), Some(Prefer::Theirs)) => three.theirs,
            (Err(kind), None) => {
                conflicts.push(three.conflict(path, kind));
                None
            }
        };
        if let Some(file) = taken {
            files.insert(*path, file);
        }
    }
    for path in files_that_are_folders(&files) {
        let three = paths.get(path.as_str()).copied().unwrap_or_default();
        match prefer {
            Some(prefer) => drop_one_side(&mut files, &paths, &path, prefer),
            None => conflicts.push(three.conflict(&path, ConflictKind::FileAgainstFolder)),
        }
    }
    conflicts.sort_by(|a, b| a.path.as_bytes().cmp(b.path.as_bytes()));
    Merged { files: files.into_values().cloned().collect(), conflicts }
}

impl<'a> Three<'a> {
    fn taken(&self) -> Result<Option<&'a TreeFile>, ConflictKind> {
        let (base, ours, theirs) = (content(self.base), content(self.ours), content(self.theirs));
        if ours == theirs || theirs == base {
            return Ok(self.ours);
        }
        if ours == base {
            return Ok(self.theirs);
        }
        Err(match (base, ours, theirs) {
            (None, _, _) => ConflictKind::BothAdded,
            (_, None, _) => ConflictKind::RemovedByUs,
            (_, _, None) => ConflictKind::RemovedByThem,
            _ => ConflictKind::BothChanged,
        })
    }

    fn conflict(&self, path: &str, kind: ConflictKind) -> Conflict {
        let digest = |file: Option<&TreeFile>| file.map(|file| file.digest);
        Conflict { path: path.to_owned(), kind, ours: digest(self.ours), theirs: digest(self.theirs) }
    }
}

fn content(file: Option<&TreeFile>) -> Option<(Digest, bool)> {
    file.map(|file| (file.digest, file.executable))
}

/// Files whose path is that of a folder of other files.
fn files_that_are_folders(files: &BTreeMap<&str, &TreeFile>) -> Vec<String> {
    let mut found = BTreeSet::new();
    for path in files.keys() {
        let folders = path.match_indices('/').filter_map(|(end, _)| path.get(..end));
        found.extend(folders.filter(|folder| files.contains_key(folder)).map(str::to_owned));
    }
    found.into_iter().collect()
}

/// Keeps the file at `path` if the preferred side has it, else what lies below.
fn drop_one_side(files: &mut BTreeMap<&str, &TreeFile>, paths: &BTreeMap<&str, Three<'_>>, path: &str, prefer: Prefer) {
    let preferred = paths.get(path).and_then(|three| match prefer {
        Prefer::Ours => three.ours,
        Prefer::Theirs => three.theirs,
    });
    if preferred.is_none() {
        files.remove(path);
        return;
    }
    let below = format!("{path}/");
    files.retain(|other, _| !other.starts_with(&below));
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::diff::tests::{any_files, files};

    fn conflicts(base: &[(&str, &str)], ours: &[(&str, &str)], theirs: &[(&str, &str)]) -> Vec<(String, ConflictKind)> {
        let merged = merge_files(&files(base), &files(ours), &files(theirs), None);
        merged.conflicts.into_iter().map(|conflict| (conflict.path, conflict.kind)).collect()
    }

    #[test]
    fn what_one_side_changed_is_taken() {
        let base = files(&[("a", "1"), ("b", "1"), ("c", "1"), ("d", "1")]);
        let ours = files(&[("a", "2"), ("b", "1"), ("d", "1"), ("n", "n")]);
        let theirs = files(&[("a", "1"), ("b", "3"), ("c", "1"), ("d", "1"), ("m", "m")]);
        let merged = merge_files(&base, &ours, &theirs, None);
        assert_eq!(merged.conflicts, []);
        assert_eq!(merged.files, files(&[("a", "2"), ("b", "3"), ("d", "1"), ("m", "m"), ("n", "n")]));
    }

    #[test]
    fn every_kind_of_conflict() {
        let one = |kind| vec![("a".to_owned(), kind)];
        assert_eq!(conflicts(&[("a", "1")], &[("a", "2")], &[("a", "3")]), one(ConflictKind::BothChanged));
        assert_eq!(conflicts(&[], &[("a", "2")], &[("a", "3")]), one(ConflictKind::BothAdded));
        assert_eq!(conflicts(&[("a", "1")], &[], &[("a", "3")]), one(ConflictKind::RemovedByUs));
        assert_eq!(conflicts(&[("a", "1")], &[("a", "2")], &[]), one(ConflictKind::RemovedByThem));
        assert_eq!(conflicts(&[], &[("a", "2")], &[("a/b", "3")]), one(ConflictKind::FileAgainstFolder));
        assert_eq!(conflicts(&[("a", "1")], &[], &[("a/b", "3")]), []);
        assert_eq!(conflicts(&[], &[("a", "2")], &[("a", "2")]), []);
    }

    #[test]
    fn where_bases_disagree_the_sides_must_agree() {
        let bases = vec![files(&[("a", "1"), ("b", "1"), ("c", "1")]), files(&[("a", "1"), ("b", "2")])];
        let (ours, theirs) =
            (files(&[("a", "1"), ("b", "1"), ("c", "1")]), files(&[("a", "2"), ("b", "2"), ("c", "1")]));
        let merged = merge_files(&one_base(bases), &ours, &theirs, None);
        let told: Vec<_> = merged.conflicts.iter().map(|one| (one.path.as_str(), one.kind)).collect();
        assert_eq!(told, [("b", ConflictKind::BothChanged)]);
        assert_eq!(one_base(vec![ours.clone(), ours.clone()]), ours);
        assert_eq!(one_base(Vec::new()), []);
    }

    #[test]
    fn a_preference_decides() {
        let (base, ours, theirs) =
            (files(&[("a", "1"), ("b", "1")]), files(&[("a", "2")]), files(&[("a", "3"), ("b", "2")]));
        let merge = |prefer| merge_files(&base, &ours, &theirs, Some(prefer)).files;
        assert_eq!(merge(Prefer::Ours), ours);
        assert_eq!(merge(Prefer::Theirs), theirs);
        let (ours, theirs) = (files(&[("x", "file")]), files(&[("x/y", "below")]));
        assert_eq!(merge_files(&[], &ours, &theirs, Some(Prefer::Ours)).files, ours);
        assert_eq!(merge_files(&[], &ours, &theirs, Some(Prefer::Theirs)).files, theirs);
    }

    proptest! {
        #[test]
        fn an_unchanged_side_gives_the_other(base in any_files(), other in any_files()) {
            for merged in [merge_files(&base, &base, &other, None), merge_files(&base, &other, &base, None)] {
                prop_assert_eq!(&merged.conflicts, &[]);
                prop_assert_eq!(&merged.files, &other);
            }
        }

        #[test]
        fn disjoint_edits_never_conflict(base in any_files(), ours in any_files(), theirs in any_files()) {
            // Ours may only touch paths that begin with a or b, theirs the others.
            let mine = |file: &TreeFile| file.path.starts_with(['a', 'b']);
            let join = |ours: &[TreeFile], theirs: &[TreeFile]| {
                let mut all: Vec<_> = ours.iter().filter(|f| mine(f)).chain(theirs.iter().filter(|f| !mine(f))).cloned().collect();
                all.sort_by(|a, b| a.path.cmp(&b.path));
                all
            };
            let merged = merge_files(&base, &join(&ours, &base), &join(&base, &theirs), None);
            prop_assert_eq!(&merged.conflicts, &[]);
            prop_assert_eq!(merged.files, join(&ours, &theirs));
        }

        #[test]
        fn sides_mirror(base in any_files(), ours in any_files(), theirs in any_files()) {
            let (one, other) = (merge_files(&base, &ours, &theirs, None), merge_files(&base, &theirs, &ours, None));
            prop_assert_eq!(one.conflicts.len(), other.conflicts.len());
            prop_assert_eq!(one.files, other.files);
            let decided = merge_files(&base, &ours, &theirs, Some(Prefer::Theirs));
            prop_assert_eq!(&decided.conflicts, &[]);
            prop_assert_eq!(decided.files, merge_files(&base, &theirs, &ours, Some(Prefer::Ours)).files);
        }
    }
}
