//! What a checkout has to write and to remove, and what it must not touch.

use std::collections::HashSet;

use ropewalk_store::TreeFile;

use crate::index::{Index, IndexEntry};
use crate::selection::Matcher;
use crate::work::{Found, Work};

/// What a checkout does.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Plan {
    /// Files that are laid out.
    pub(super) write: Vec<TreeFile>,
    /// Files that go.
    pub(super) remove: Vec<String>,
    /// Files with changes of the user's that stay, because the version has the same as before.
    pub(super) kept: Vec<String>,
    /// Files with changes that would be lost.
    pub(super) blocked: Vec<String>,
    /// Symbolic links that are no part of the data, in whose place or below which a file belongs.
    pub(super) links: Vec<String>,
}

impl Plan {
    /// The files that would go or be overwritten, without those that a killed checkout wrote.
    pub(super) fn goes<'a>(&'a self, ours: &'a HashSet<String>) -> impl Iterator<Item = &'a str> {
        let written = self.write.iter().map(|file| &file.path);
        written.chain(&self.remove).filter(|path| !ours.contains(*path)).map(String::as_str)
    }

    /// Notes files that would be lost, too.
    pub(super) fn block(&mut self, paths: Vec<String>) {
        self.blocked.extend(paths);
        self.blocked.sort();
    }

    /// Finds those of `links` that are in the way: they are the user's, and no file takes their place.
    pub(super) fn find_links(&mut self, links: Vec<String>) {
        self.links = in_the_way(links, &self.write);
    }
}

/// Those of `links` in whose place or below which one of the files belongs.
pub(super) fn in_the_way(links: Vec<String>, files: &[TreeFile]) -> Vec<String> {
    let within =
        |path: &str, link: &str| path.strip_prefix(link).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    links.into_iter().filter(|link| files.iter().any(|file| within(&file.path, link))).collect()
}

/// The sides of a checkout: what was laid out, what is there, what is to be there.
pub(super) struct Planning<'a> {
    pub(super) index: Option<&'a Index>,
    pub(super) work: &'a Work,
    /// Sorted by path.
    pub(super) target: &'a [TreeFile],
    pub(super) matcher: &'a Matcher,
    /// The inodes of files that are to have bytes of their own, which those in the work tree may be second names of.
    pub(super) linked: &'a HashSet<u64>,
    /// Files that a checkout wrote that was killed, so that no index knows them.
    pub(super) ours: &'a HashSet<String>,
    /// Whether changes may be lost.
    pub(super) force: bool,
}

/// The file of `files` at `path`.
pub(super) fn find<'a>(files: &'a [TreeFile], path: &str) -> Option<&'a TreeFile> {
    let found = files.binary_search_by(|file| file.path.as_bytes().cmp(path.as_bytes()));
    found.ok().and_then(|position| files.get(position))
}

impl Planning<'_> {
    pub(super) fn plan(&self) -> Plan {
        let mut plan = Plan::default();
        for file in self.target.iter().filter(|file| self.matcher.matches(&file.path)) {
            match self.work.find(&file.path) {
                None => plan.write.push(file.clone()),
                Some(found) => self.meet(file, found, &mut plan),
            }
        }
        for found in &self.work.files {
            if find(self.target, &found.path).is_none_or(|_| !self.matcher.matches(&found.path)) {
                self.leave(found, &mut plan);
            }
        }
        plan
    }

    /// A file of the target where there is one already.
    fn meet(&self, file: &TreeFile, found: &Found, plan: &mut Plan) {
        if holds(found, file) {
            if self.linked.contains(&found.stat.inode) {
                plan.write.push(file.clone());
            }
            return;
        }
        let entry = self.entry(found);
        let unchanged = entry.is_some_and(|entry| found.digest == Some(entry.digest));
        let same_as_before = entry.is_some_and(|entry| entry.digest == file.digest);
        if unchanged || self.force || self.ours.contains(&found.path) {
            plan.write.push(file.clone());
        } else if same_as_before {
            plan.kept.push(file.path.clone());
        } else {
            plan.blocked.push(file.path.clone());
        }
    }

    /// A file that does not belong into the work tree.
    fn leave(&self, found: &Found, plan: &mut Plan) {
        let path = found.path.clone();
        match self.entry(found) {
            _ if self.ours.contains(&path) => plan.remove.push(path),
            Some(entry) if found.digest == Some(entry.digest) || self.force => plan.remove.push(path),
            None if !self.in_the_way(&found.path) => {}
            None if self.force => plan.remove.push(path),
            Some(_) | None => plan.blocked.push(path),
        }
    }

    /// What the index knows of a file that was laid out; what was not laid out is the user's own.
    fn entry(&self, found: &Found) -> Option<IndexEntry<'_>> {
        found.at.and_then(|at| self.index?.get(at)).filter(|entry| !entry.absent)
    }

    /// Whether a new file lies where the target has a folder, or below where it has a file.
    fn in_the_way(&self, path: &str) -> bool {
        let folders = path.match_indices('/').filter_map(|(end, _)| path.get(..end));
        let below = format!("{path}/");
        let next = self.target.partition_point(|file| file.path.as_bytes() < below.as_bytes());
        let is_folder = self.target.get(next).is_some_and(|file| file.path.starts_with(&below));
        is_folder || folders.into_iter().any(|folder| find(self.target, folder).is_some())
    }
}

/// Whether the file is just what it should be.
fn holds(found: &Found, file: &TreeFile) -> bool {
    found.digest == Some(file.digest) && (found.stat.executable == file.executable || cfg!(not(unix)))
}

#[cfg(test)]
mod tests {
    use ropewalk_types::Digest;

    use super::*;
    use crate::diff::tests::files;
    use crate::index::{IndexHead, Stat};
    use crate::pointer::{Kind, PointerState};

    fn index(list: &[(&str, &str)]) -> Index {
        let (root, state) = (Digest::of(b"root"), PointerState::Added { base: None });
        let head = IndexHead { root, kind: Kind::Folder, state, path: String::new(), selection: None, settled: 0 };
        let mut index = Index::new(head);
        for file in files(list) {
            assert!(index.push(IndexEntry {
                path: &file.path,
                stat: Stat::default(),
                digest: file.digest,
                absent: false
            }));
        }
        index
    }

    fn work(list: &[(&str, &str)], index: &Index) -> Work {
        let at = |path: &str| index.iter().position(|entry| entry.path == path);
        let found = |file: TreeFile| Found {
            at: at(&file.path),
            path: file.path,
            stat: Stat::default(),
            digest: Some(file.digest),
        };
        let files = files(list).into_iter().map(found).collect();
        Work { directory: "/".into(), files, missing: Vec::new(), leftovers: Vec::new(), links: Vec::new() }
    }

    fn plan(
        was: &[(&str, &str)],
        is: &[(&str, &str)],
        target: &[(&str, &str)],
        only: Option<&str>,
        force: bool,
    ) -> Plan {
        let (index, target) = (index(was), files(target));
        let work = work(is, &index);
        let patterns = only.map(|only| vec![only.to_owned()]);
        let matcher = Matcher::new(patterns.as_deref()).unwrap();
        let (linked, ours) = (HashSet::new(), HashSet::from(["killed".to_owned()]));
        let (index, linked, ours) = (Some(&index), &linked, &ours);
        Planning { index, work: &work, target: &target, matcher: &matcher, linked, ours, force }.plan()
    }

    fn written(plan: &Plan) -> Vec<&str> {
        plan.write.iter().map(|file| file.path.as_str()).collect()
    }

    #[test]
    fn unchanged_files_follow_the_version() {
        let was = [("same", "1"), ("changes", "1"), ("goes", "1")];
        let found = plan(&was, &was, &[("same", "1"), ("changes", "2"), ("new", "1")], None, false);
        assert_eq!(written(&found), ["changes", "new"]);
        assert_eq!(found.remove, ["goes"]);
        assert!(found.blocked.is_empty() && found.kept.is_empty());
    }

    #[test]
    fn missing_files_come_back() {
        assert_eq!(written(&plan(&[("a", "1")], &[], &[("a", "1")], None, false)), ["a"]);
    }

    #[test]
    fn changes_are_kept_or_in_the_way() {
        let (was, is) = ([("a", "1"), ("b", "1"), ("c", "1")], [("a", "x"), ("b", "x"), ("c", "x"), ("mine", "m")]);
        let target = [("a", "1"), ("b", "2")];
        let found = plan(&was, &is, &target, None, false);
        assert_eq!((found.kept, found.blocked), (vec!["a".to_owned()], vec!["b".to_owned(), "c".to_owned()]));
        let forced = plan(&was, &is, &target, None, true);
        assert_eq!(written(&forced), ["a", "b"]);
        assert_eq!(forced.remove, ["c"], "a new file is nobody's to remove");
    }

    #[test]
    fn what_a_killed_checkout_left_is_no_change() {
        let found = plan(&[("a", "1"), ("b", "1")], &[("a", "2"), ("b", "1")], &[("a", "2"), ("b", "2")], None, false);
        assert_eq!(written(&found), ["b"]);
        assert!(found.blocked.is_empty());
    }

    #[test]
    fn what_a_killed_checkout_wrote_is_nobodys_change() {
        let is = [("a", "1"), ("killed", "half")];
        let found = plan(&[("a", "1")], &is, &[("a", "1"), ("killed", "whole")], None, false);
        assert_eq!((written(&found), found.blocked.len()), (vec!["killed"], 0));
        let back = plan(&[("a", "1")], &is, &[("a", "1")], None, false);
        assert_eq!((back.remove, back.blocked.len()), (vec!["killed".to_owned()], 0));
    }

    #[test]
    fn a_file_against_a_folder() {
        for (mine, target) in [("x", "x/y"), ("x/y", "x")] {
            assert_eq!(plan(&[], &[(mine, "m")], &[(target, "t")], None, false).blocked, [mine]);
            let forced = plan(&[], &[(mine, "m")], &[(target, "t")], None, true);
            assert_eq!((written(&forced), &*forced.remove), (vec![target], &[mine.to_owned()][..]));
            let followed = plan(&[(mine, "m")], &[(mine, "m")], &[(target, "t")], None, false);
            assert_eq!((written(&followed), &*followed.remove), (vec![target], &[mine.to_owned()][..]));
        }
    }

    #[test]
    fn a_selection_takes_away_what_it_does_not_name() {
        let was = [("a/1", "1"), ("b/1", "1"), ("b/2", "1")];
        let found = plan(&was, &[("a/1", "1"), ("b/1", "1"), ("b/2", "mine")], &was, Some("a"), false);
        assert_eq!((found.remove, found.blocked), (vec!["b/1".to_owned()], vec!["b/2".to_owned()]));
    }
}
