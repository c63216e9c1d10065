use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use bytes::Bytes;
use ropewalk_store::{Store, Tree, TreeEntry};
use ropewalk_types::{Digest, Uri};
use serde::Serialize;

use crate::VersionsError;
use crate::git::{self, GitState};

/// The code of a run: what it was, and what git calls it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CodeState {
    /// The tree of the code's files, kept in the store.
    pub tree: Digest,
    /// The commit that is checked out, whether or not it holds the files as they are.
    pub commit: Option<String>,
    /// The branch that is checked out.
    pub branch: Option<String>,
    /// Whether the commit holds every file as it is.
    pub clean: bool,
    /// What makes the files out of what the commit has of them, where it does not hold them as they are.
    pub patch: Option<CodePatch>,
    /// Why there is no commit, where there is none.
    pub note: Option<String>,
}

/// A patch for `git apply`, kept in the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct CodePatch {
    /// The digest of its bytes.
    pub digest: Digest,
    /// Its size in bytes.
    pub size: u64,
}

/// Longest patch that is kept, in bytes; the files themselves are kept whatever they are.
const LONGEST_PATCH: usize = 4 << 20;

impl CodeState {
    /// The name of the code in lineage: the commit if it holds the code, else the digest of the code itself.
    pub fn uri(&self) -> Uri {
        match &self.commit {
            Some(commit) if self.clean => Uri::Git(commit.clone()),
            _ => Uri::Code(self.tree),
        }
    }
}

/// Keeps `files` (relative to `root`) in the store and says what git calls them; of those in `instead` the bytes given
/// there are kept, which lack what nobody may read.
///
/// # Errors
/// A file cannot be read, a path leaves the project, or git starts but cannot be followed.
pub async fn code_state(
    root: &Path,
    files: &[PathBuf],
    instead: &BTreeMap<PathBuf, Bytes>,
    store: &Store,
) -> Result<CodeState, VersionsError> {
    let mut folder = Folder::default();
    for file in files {
        let blob = match instead.get(file) {
            Some(bytes) => store.put_bytes(bytes.clone()).await?,
            None => store.put_file(&root.join(file)).await?,
        };
        folder.insert(file, TreeEntry::File { digest: blob.digest, size: blob.size, executable: false })?;
    }
    let tree = Box::pin(folder.store(store)).await?;
    let (commit, branch, clean, note) = match git::state(root, files).await? {
        GitState::None(why) => (None, None, false, Some(why)),
        GitState::Repository { commit, branch, clean } => {
            let note = commit.is_none().then(|| "the repository has no commit yet".to_owned());
            (commit, branch, clean, note)
        }
    };
    let patch = match &commit {
        Some(_) if !clean => patch(root, files, instead, store).await?,
        _ => None,
    };
    Ok(CodeState { tree, commit, branch, clean, patch, note })
}

/// Longest file of a commit that is laid out, in bytes.
const LONGEST_FILE: usize = 1 << 30;

/// Lays out in `target` what `commit` has of `files`, which are relative to `root`, as the code of a run that it holds.
///
/// # Errors
/// The repository around `root` lacks the commit or a file of it, a path leaves the folder, or it cannot be written.
pub async fn code_of_commit(root: &Path, commit: &str, files: &[String], target: &Path) -> Result<(), VersionsError> {
    // A commit comes from a record: it must not be taken for an option.
    if commit.is_empty() || !commit.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(VersionsError::Path(commit.to_owned()));
    }
    for file in files {
        let path = Path::new(file);
        if !path.components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir)) {
            return Err(VersionsError::Path(file.clone()));
        }
        let bytes = git::file_at(root, commit, file, LONGEST_FILE).await?;
        let path = target.join(path);
        if let Some(folder) = path.parent() {
            ropewalk_store::files::create_directories(folder)?;
        }
        ropewalk_store::files::write_atomic(&path, &bytes)?;
    }
    Ok(())
}

/// Without the files in `instead`: the patch would show what nobody may read.
async fn patch(
    root: &Path,
    files: &[PathBuf],
    instead: &BTreeMap<PathBuf, Bytes>,
    store: &Store,
) -> Result<Option<CodePatch>, VersionsError> {
    let shown = files.iter().filter(|file| !instead.contains_key(*file));
    let names: Vec<&str> = shown.filter_map(|file| file.to_str()).collect();
    if names.is_empty() {
        return Ok(None);
    }
    let Some(patch) = git::patch(root, &names, LONGEST_PATCH).await?.filter(|patch| !patch.is_empty()) else {
        return Ok(None);
    };
    let blob = store.put_bytes(patch.into()).await?;
    Ok(Some(CodePatch { digest: blob.digest, size: blob.size }))
}

#[derive(Default)]
struct Folder {
    files: BTreeMap<String, TreeEntry>,
    folders: BTreeMap<String, Folder>,
}

impl Folder {
    fn insert(&mut self, path: &Path, entry: TreeEntry) -> Result<(), VersionsError> {
        let wrong = || VersionsError::Path(path.display().to_string());
        let mut names = Vec::new();
        for part in path.components() {
            match part {
                Component::CurDir => {}
                Component::Normal(name) => names.push(name.to_str().ok_or_else(wrong)?),
                _ => return Err(wrong()),
            }
        }
        let last = names.pop().ok_or_else(wrong)?;
        let folder = names.into_iter().fold(self, |folder, name| folder.folders.entry(name.to_owned()).or_default());
        folder.files.insert(last.to_owned(), entry);
        Ok(())
    }

    async fn store(self, store: &Store) -> Result<Digest, VersionsError> {
        let mut tree = Tree::new();
        for (name, entry) in self.files {
            tree.insert(&name, entry)?;
        }
        for (name, folder) in self.folders {
            let digest = Box::pin(folder.store(store)).await?;
            tree.insert(&name, TreeEntry::Directory { digest })?;
        }
        Ok(store.tree_put(&tree).await?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn git(root: &Path, arguments: &[&str]) {
        let identity = ["-c", "user.name=t", "-c", "user.email=t@example.com", "-c", "commit.gpgsign=false"];
        let program = ropewalk_execution::Program {
            name: "git".into(),
            arguments: identity.iter().chain(arguments).map(|&one| one.to_owned()).collect(),
            directory: root.to_owned(),
            limit: 1 << 20,
        };
        let told = program.run().await.expect("git");
        assert!(told.exit.success(), "{arguments:?}: {}", told.error);
    }

    fn write(root: &Path, name: &str, text: &str) {
        ropewalk_store::files::write_atomic(&root.join(name), text.as_bytes()).expect("write");
    }

    #[tokio::test]
    async fn a_commit_names_code_only_while_it_holds_it() {
        let root = tempfile::tempdir().expect("folder");
        let root = root.path();
        let store = Store::open("memory:").await.expect("store");
        ropewalk_store::files::create_directories(&root.join("sql")).expect("folder");
        let files = [PathBuf::from("ropewalk.toml"), PathBuf::from("sql/a.sql")];
        write(root, "ropewalk.toml", "one");
        write(root, "sql/a.sql", "SELECT 1");
        let nothing = BTreeMap::new();
        let state = async || code_state(root, &files, &nothing, &store).await.expect("state");

        let without = state().await;
        assert_eq!(without.uri(), Uri::Code(without.tree));
        assert!(without.note.is_some());

        git(root, &["init", "-q"]).await;
        git(root, &["add", "ropewalk.toml"]).await;
        git(root, &["commit", "-q", "-m", "one"]).await;
        assert!(!state().await.clean, "sql/a.sql is not tracked");

        git(root, &["add", "."]).await;
        git(root, &["commit", "-q", "-m", "two"]).await;
        let clean = state().await;
        assert!(matches!(clean.uri(), Uri::Git(_)), "{clean:?}");
        assert_eq!(clean.tree, without.tree, "the same bytes have the same name");

        let (there, commit) = (tempfile::tempdir().expect("folder"), clean.commit.clone().expect("commit"));
        let names = ["ropewalk.toml".to_owned(), "sql/a.sql".to_owned()];
        write(root, "sql/a.sql", "SELECT 2");
        code_of_commit(root, &commit, &names, there.path()).await.expect("laid out");
        let text = ropewalk_store::files::read_text(&there.path().join("sql/a.sql"), 100).expect("text");
        assert_eq!(text, "SELECT 1", "as the commit has it");
        for (commit, name) in [(commit.as_str(), "../x"), (commit.as_str(), "absent"), ("--output=x", "ropewalk.toml")]
        {
            assert!(code_of_commit(root, commit, &[name.to_owned()], there.path()).await.is_err(), "{commit} {name}");
        }
        let dirty = state().await;
        assert_eq!(dirty.uri(), Uri::Code(dirty.tree));
        assert_eq!(dirty.commit, clean.commit);
        assert_eq!(clean.patch, None);
        let patch = store.get_bytes(&dirty.patch.expect("a patch").digest).await.expect("kept");
        let patch = String::from_utf8_lossy(&patch);
        assert!(patch.contains("-SELECT 1") && patch.contains("+SELECT 2"), "{patch}");
        let tree = store.tree_get(&dirty.tree).await.expect("kept");
        assert!(tree.get("ropewalk.toml").is_some() && tree.get("sql").is_some());

        let instead = BTreeMap::from([(PathBuf::from("ropewalk.toml"), Bytes::from_static(b"***"))]);
        let hidden = code_state(root, &files, &instead, &store).await.expect("state");
        let tree = store.tree_get(&hidden.tree).await.expect("kept");
        let Some(TreeEntry::File { digest, size, .. }) = tree.get("ropewalk.toml") else { panic!("no file") };
        assert_eq!((*digest, *size), (Digest::of(b"***"), 3));
    }

    #[tokio::test]
    async fn a_path_that_leaves_the_project_is_refused() {
        let root = tempfile::tempdir().expect("folder");
        write(root.path(), "x", "x");
        let store = Store::open("memory:").await.expect("store");
        let inside = root.path().join("project");
        ropewalk_store::files::create_directories(&inside).expect("folder");
        let error = code_state(&inside, &[PathBuf::from("../x")], &BTreeMap::new(), &store).await.expect_err("outside");
        assert!(matches!(error, VersionsError::Path(_)), "{error}");
    }
}
