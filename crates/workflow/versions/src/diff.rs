//! What changed between two lists of files.

use std::cmp::Ordering;
use std::collections::HashMap;

use ropewalk_store::TreeFile;
use ropewalk_types::Digest;
use serde::Serialize;

/// A file and its size.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SizedFile {
    /// Its path inside the dataset.
    pub path: String,
    /// In bytes.
    pub size: u64,
}

/// A file that both have, with different content or executable bit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ChangedFile {
    /// Its path inside the dataset.
    pub path: String,
    /// Bytes before.
    pub from: u64,
    /// Bytes after.
    pub to: u64,
    /// Whether the bytes differ, or only the executable bit does.
    pub content: bool,
    /// Whether it may be executed now, if it is so only now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub executable: Option<bool>,
}

/// A file that has another path now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct MovedFile {
    /// Where it was.
    pub from: String,
    /// Where it is.
    pub to: String,
    /// In bytes.
    pub size: u64,
}

/// The difference of two lists of files, each part sorted by path.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Diff {
    /// Files that only the second has.
    pub added: Vec<SizedFile>,
    /// Files that only the first has.
    pub removed: Vec<SizedFile>,
    /// Files that both have, but different.
    pub changed: Vec<ChangedFile>,
    /// Files that have the same bytes under another path.
    pub moved: Vec<MovedFile>,
}

impl Diff {
    /// Whether nothing differs.
    pub fn is_empty(&self) -> bool {
        self.added.is_empty() && self.removed.is_empty() && self.changed.is_empty() && self.moved.is_empty()
    }
}

/// Compares lists that are sorted by path.
pub(crate) fn diff_files(before: &[TreeFile], after: &[TreeFile]) -> Diff {
    let (mut added, mut removed, mut changed) = (Vec::new(), Vec::new(), Vec::new());
    for (old, new) in pairs(before, after) {
        match (old, new) {
            (Some(old), Some(new)) if (old.digest, old.executable) == (new.digest, new.executable) => {}
            (Some(old), Some(new)) => {
                let content = old.digest != new.digest;
                let executable = (old.executable != new.executable).then_some(new.executable);
                changed.push(ChangedFile { path: new.path.clone(), from: old.size, to: new.size, content, executable });
            }
            (Some(old), None) => removed.push(old),
            (None, Some(new)) => added.push(new),
            (None, None) => {}
        }
    }
    let moved = take_moved(&mut removed, &mut added);
    let sized = |files: Vec<&TreeFile>| {
        files.into_iter().map(|file| SizedFile { path: file.path.clone(), size: file.size }).collect()
    };
    Diff { added: sized(added), removed: sized(removed), changed, moved }
}

/// Takes out files that were removed here and added there with the same bytes; empty files are no sign of a move.
fn take_moved(removed: &mut Vec<&TreeFile>, added: &mut Vec<&TreeFile>) -> Vec<MovedFile> {
    let mut sources: HashMap<Digest, Vec<&TreeFile>> = HashMap::new();
    for file in removed.iter().rev().filter(|file| file.size > 0) {
        sources.entry(file.digest).or_default().push(file);
    }
    let mut moved: Vec<MovedFile> = Vec::new();
    added.retain(|new| match sources.get_mut(&new.digest).and_then(Vec::pop) {
        None => true,
        Some(old) => {
            moved.push(MovedFile { from: old.path.clone(), to: new.path.clone(), size: new.size });
            false
        }
    });
    let gone: std::collections::HashSet<_> = moved.iter().map(|file| file.from.as_str()).collect();
    removed.retain(|old| !gone.contains(old.path.as_str()));
    moved
}

/// The files of both lists side by side, in the order of their paths.
pub(crate) fn pairs<'a>(
    left: &'a [TreeFile],
    right: &'a [TreeFile],
) -> impl Iterator<Item = (Option<&'a TreeFile>, Option<&'a TreeFile>)> {
    let (mut left, mut right) = (left.iter().peekable(), right.iter().peekable());
    std::iter::from_fn(move || {
        let order = match (left.peek(), right.peek()) {
            (None, None) => return None,
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(left), Some(right)) => left.path.as_bytes().cmp(right.path.as_bytes()),
        };
        Some(match order {
            Ordering::Less => (left.next(), None),
            Ordering::Equal => (left.next(), right.next()),
            Ordering::Greater => (None, right.next()),
        })
    })
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;

    pub(crate) fn file(path: &str, text: &str) -> TreeFile {
        let (digest, size) = (Digest::of(text.as_bytes()), text.len() as u64);
        TreeFile { path: path.to_owned(), digest, size, executable: false }
    }

    pub(crate) fn files(list: &[(&str, &str)]) -> Vec<TreeFile> {
        let mut files: Vec<_> = list.iter().map(|(path, text)| file(path, text)).collect();
        files.sort_by(|a, b| a.path.as_bytes().cmp(b.path.as_bytes()));
        files
    }

    #[test]
    fn every_kind_of_change_is_told() {
        let before = files(&[
            ("same", "s"),
            ("gone", "g"),
            ("old/name", "moved"),
            ("edited", "a"),
            ("mode", "m"),
            ("empty", ""),
        ]);
        let mut after =
            files(&[("same", "s"), ("new", "n"), ("name", "moved"), ("edited", "ab"), ("mode", "m"), ("void", "")]);
        after.iter_mut().find(|file| file.path == "mode").unwrap().executable = true;
        let diff = diff_files(&before, &after);
        let sized = |path: &str, size| SizedFile { path: path.to_owned(), size };
        assert_eq!(diff.added, [sized("new", 1), sized("void", 0)]);
        assert_eq!(diff.removed, [sized("empty", 0), sized("gone", 1)]);
        assert_eq!(diff.moved, [MovedFile { from: "old/name".to_owned(), to: "name".to_owned(), size: 5 }]);
        let changed = |path: &str, from, to, executable: Option<bool>| {
            let content = executable.is_none();
            ChangedFile { path: path.to_owned(), from, to, content, executable }
        };
        assert_eq!(diff.changed, [changed("edited", 1, 2, None), changed("mode", 1, 1, Some(true))]);
    }

    #[test]
    fn a_copy_is_no_move() {
        let diff = diff_files(&files(&[("a", "x")]), &files(&[("a", "x"), ("b", "x")]));
        assert_eq!((diff.added.len(), diff.moved.len()), (1, 0));
        let diff = diff_files(&files(&[("a", "x"), ("b", "x")]), &files(&[("c", "x")]));
        assert_eq!((diff.removed.len(), diff.moved.len()), (1, 1));
        assert_eq!(diff.moved[0].from, "a");
    }

    prop_compose! {
        pub(crate) fn any_files()(list in prop::collection::btree_map("[a-d]{1,2}", "[xyz]{0,1}", 0..8)) -> Vec<TreeFile> {
            list.iter().map(|(path, text)| file(path, text)).collect()
        }
    }

    proptest! {
        #[test]
        fn counts_add_up(before in any_files(), after in any_files()) {
            let diff = diff_files(&before, &after);
            let kept = before.len() - diff.removed.len() - diff.moved.len();
            prop_assert_eq!(after.len(), kept + diff.added.len() + diff.moved.len());
            prop_assert!(diff_files(&before, &before).is_empty());
            prop_assert_eq!(diff.is_empty(), before == after);
        }
    }
}
