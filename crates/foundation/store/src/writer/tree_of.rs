//! A tree made of a flat list of files.

use std::sync::Arc;

use bytes::Bytes;
use ropewalk_types::Digest;

use super::prepare::prepare_all;
use super::{Writer, encode_tree};
use crate::error::StoreError;
use crate::store::{TreeFile, blocking};
use crate::tree::{MAX_DEPTH, Tree, TreeEntry};

impl Writer {
    /// Adds the nested trees of `files`, which are sorted by the bytes of their paths, and gives the digest of the
    /// outermost; the same directory gives the same digest as by [`Writer::add_directory`], but for empty directories.
    ///
    /// Their blobs must be in the store or in this commit.
    pub async fn add_tree_of(&mut self, files: &[TreeFile]) -> Result<Digest, StoreError> {
        self.check_blobs(files).await?;
        self.begin()?;
        let claims = Arc::clone(&self.claims);
        let files = files.to_vec();
        let (root, prepared) = blocking(move || {
            let (root, trees) = nest(&files)?;
            Ok((root, prepare_all(&claims, trees, true)?.1))
        })
        .await?;
        self.append_all(prepared).await?;
        self.unfinished = false;
        Ok(root)
    }

    async fn check_blobs(&mut self, files: &[TreeFile]) -> Result<(), StoreError> {
        let missing = |claims: &super::Claims| files.iter().find(|file| !claims.has_blob(&file.digest));
        if missing(&self.claims).is_none() {
            return Ok(());
        }
        self.inner.refresh().await?;
        missing(&self.claims).map_or(Ok(()), |file| Err(StoreError::NotFound { digest: file.digest }))
    }
}

/// Gives the digest of the outermost tree and all encodings, those below before those above.
fn nest(files: &[TreeFile]) -> Result<(Digest, Vec<Bytes>), StoreError> {
    let mut nest = Nest { open: vec![("", Tree::new())], done: Vec::new() };
    let mut last: Option<&str> = None;
    for file in files {
        let path = file.path.as_str();
        if last.is_some_and(|last| last >= path) {
            return Err(malformed(format!("the path `{}` is not in order", path.escape_debug())));
        }
        if path.starts_with('/') {
            return Err(malformed(format!("the path `{}` is not relative", path.escape_debug())));
        }
        last = Some(path);
        let (above, name) = path.rsplit_once('/').unwrap_or(("", path));
        nest.enter(above)?;
        let TreeFile { digest, size, executable, .. } = *file;
        nest.current().insert(name, TreeEntry::File { digest, size, executable })?;
    }
    while nest.open.len() > 1 {
        nest.close()?;
    }
    let root = nest.seal()?;
    Ok((root, nest.done))
}

/// The directories from the top to the current one, each with its whole path.
struct Nest<'a> {
    open: Vec<(&'a str, Tree)>,
    done: Vec<Bytes>,
}

impl<'a> Nest<'a> {
    fn current(&mut self) -> &mut Tree {
        // The outermost is taken by `seal` only, at the end.
        let last = self.open.len() - 1;
        &mut self.open[last].1
    }

    /// Makes the directory at `path` the current one.
    fn enter(&mut self, path: &'a str) -> Result<(), StoreError> {
        while self.open.last().is_some_and(|(open, _)| !is_within(path, open)) {
            self.close()?;
        }
        while let Some((open, _)) = self.open.last()
            && *open != path
        {
            let begin = if open.is_empty() { 0 } else { open.len() + 1 };
            let end = path[begin..].find('/').map_or(path.len(), |length| begin + length);
            if self.open.len() > MAX_DEPTH {
                return Err(malformed(format!("its directories lie more than {MAX_DEPTH} deep")));
            }
            self.open.push((&path[..end], Tree::new()));
        }
        Ok(())
    }

    /// Ends the current directory and enters it in the one above.
    fn close(&mut self) -> Result<(), StoreError> {
        let path = self.open.last().map_or("", |(path, _)| path);
        let digest = self.seal()?;
        let name = path.rsplit_once('/').map_or(path, |(_, name)| name);
        self.current().insert(name, TreeEntry::Directory { digest })
    }

    fn seal(&mut self) -> Result<Digest, StoreError> {
        let (path, tree) = self.open.pop().unwrap_or_default();
        let encoded = encode_tree(&tree, || format!("the directory `{}`", if path.is_empty() { "." } else { path }))?;
        let digest = Digest::of(&encoded);
        self.done.push(encoded);
        Ok(digest)
    }
}

fn is_within(path: &str, directory: &str) -> bool {
    directory.is_empty() || path.strip_prefix(directory).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn malformed(reason: String) -> StoreError {
    StoreError::Malformed { what: "list of files", reason }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(paths: &[&str]) -> Vec<TreeFile> {
        let file = |path: &&str| {
            let (digest, size) = (Digest::of(path.as_bytes()), path.len() as u64);
            TreeFile { path: (*path).to_owned(), digest, size, executable: false }
        };
        paths.iter().map(file).collect()
    }

    #[test]
    fn directories_are_nested_as_their_paths_say() {
        let (root, trees) = nest(&files(&["a.b", "a/b/x", "a/b/y", "a/c", "a0/b/x", "z"])).unwrap();
        let read = |digest: &Digest| {
            let bytes = trees.iter().find(|bytes| Digest::of(bytes) == *digest).unwrap();
            Tree::decode(bytes).unwrap()
        };
        let names = |tree: &Tree| tree.iter().map(|(name, _)| name.to_owned()).collect::<Vec<_>>();
        let root = read(&root);
        assert_eq!(names(&root), ["a", "a.b", "a0", "z"]);
        let Some(TreeEntry::Directory { digest }) = root.get("a") else { panic!() };
        let a = read(digest);
        assert_eq!(names(&a), ["b", "c"]);
        let Some(TreeEntry::Directory { digest }) = a.get("b") else { panic!() };
        assert_eq!(names(&read(digest)), ["x", "y"]);
        assert_eq!(trees.len(), 5);
        assert_eq!(nest(&[]).unwrap().0, Tree::new().digest());
    }

    #[test]
    fn lists_that_no_directory_can_have_are_refused() {
        let deep = "d/".repeat(MAX_DEPTH + 1) + "x";
        for bad in [
            &["b", "a"][..],
            &["a", "a"],
            &["a", "a/b"],
            &["a/../b"],
            &["/a"],
            &["a//b"],
            &["a/"],
            &[""],
            &["a/./b"],
            &[&deep],
        ] {
            assert!(nest(&files(bad)).is_err(), "{bad:?}");
        }
    }
}
