//! Stories of one or two people, a project each, and a remote between them.

mod adopting;
mod apart;
mod clones;
mod collected;
mod crash;
mod damaged;
mod foreign_remotes;
mod forgetting;
mod git;
mod given_up;
mod holding;
mod lfs;
mod lifecycle;
#[cfg(unix)]
mod links;
mod lost_packs;
mod merging;
mod naming;
mod remotes;
mod removing;
mod retyping;
mod set_back;
mod taking_over;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use ropewalk_store::{NoProgress, Store, files};
use ropewalk_types::{Ambient, DatasetName, Digest, ManualAmbient, TagName, Timestamp};

use crate::{
    AddRequest, CheckoutRequest, CommitOutcome, Committed, RemoteOpener, Selection, Status, StoreOpener, VersionsError,
    Workspace,
};

pub(crate) const AUTHOR: &str = "Ada <ada@example.com>";

/// A project in a folder of its own.
pub(crate) struct Project {
    folder: tempfile::TempDir,
    pub(crate) store: Store,
    pub(crate) workspace: Workspace,
}

pub(crate) fn name(text: &str) -> DatasetName {
    DatasetName::new(text).unwrap()
}

/// An opener that counts as failed when a test says that the store must not be opened.
fn opener(store: Store) -> StoreOpener {
    Arc::new(move || {
        let store = store.clone();
        Box::pin(async move { Ok(store) })
    })
}

impl Project {
    pub(crate) async fn new() -> Self {
        Self::at(1_700_000_000_000).await
    }

    /// A project whose clock begins at `millis`.
    pub(crate) async fn at(millis: i64) -> Self {
        Self::with_store(millis, Store::open("memory:").await.unwrap())
    }

    /// A project with this store.
    pub(crate) fn with_store(millis: i64, store: Store) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = store.with_cache(folder.path().join(".ropewalk/cache"));
        let ambient: Arc<dyn Ambient> = Arc::new(ManualAmbient::starting_at(Timestamp(millis)));
        let (root, state) = (folder.path().to_owned(), folder.path().join(".ropewalk"));
        let workspace = Workspace::new(root, state, "test", ambient, opener(store.clone()));
        Self { folder, store, workspace }
    }

    /// The same project, in which nobody can open the store.
    pub(crate) fn without_store(&self) -> Workspace {
        let refuse: StoreOpener = Arc::new(|| Box::pin(async { Err(ropewalk_store::StoreError::Interrupted) }));
        let (root, state) = (self.root().to_owned(), self.root().join(".ropewalk"));
        Workspace::new(root, state, "test", Arc::new(ManualAmbient::default()), refuse)
    }

    /// The same project, which knows of this remote.
    pub(crate) fn with_remote(&self, remote: &Store) -> Workspace {
        let remote = remote.clone();
        let opener: RemoteOpener = Arc::new(move || {
            let remote = remote.clone();
            Box::pin(async move { Ok(remote) })
        });
        self.workspace.clone().with_remote(opener)
    }

    pub(crate) fn root(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn path(&self, path: &str) -> PathBuf {
        self.root().join(path)
    }

    pub(crate) fn write(&self, path: &str, text: &str) {
        files::write_atomic(&self.path(path), text.as_bytes()).unwrap();
    }

    pub(crate) fn read(&self, path: &str) -> Option<String> {
        files::exists(&self.path(path)).unwrap().then(|| files::read_text(&self.path(path), 1 << 20).unwrap())
    }

    pub(crate) async fn git(&self, arguments: &[&str]) {
        let identity = ["-c", "user.name=t", "-c", "user.email=t@example.com", "-c", "commit.gpgsign=false"];
        let arguments = identity.iter().chain(arguments).map(|&one| one.to_owned()).collect();
        let directory = self.root().to_owned();
        let program = ropewalk_execution::Program { name: "git".into(), arguments, directory, limit: 1 << 20 };
        let told = program.run().await.expect("git");
        assert!(told.exit.success(), "{}", told.error);
    }

    pub(crate) fn delete(&self, path: &str) {
        assert!(files::remove_file(&self.path(path)).unwrap(), "{path}");
    }

    pub(crate) async fn add(&self, path: &str) -> crate::Added {
        self.try_add(path).await.unwrap()
    }

    pub(crate) async fn try_add(&self, path: &str) -> Result<crate::Added, VersionsError> {
        self.workspace.add(AddRequest { path: path.into(), name: None, ..AddRequest::default() }).await
    }

    pub(crate) async fn commit(&self, message: &str) -> Vec<Committed> {
        self.workspace.commit(&[], message, AUTHOR).await.unwrap()
    }

    /// Adds the folder `data` and commits it.
    pub(crate) async fn commit_data(&self, message: &str) -> Digest {
        self.add("data").await;
        match self.commit(message).await.as_slice() {
            [Committed { outcome: CommitOutcome::Committed { version, .. }, .. }] => *version,
            other => panic!("{other:?}"),
        }
    }

    /// Makes a first version of the folder `data`, with one file, and gives it this tag.
    pub(crate) async fn commit_tagged(&self, tag: &TagName) {
        self.write("data/a", "1");
        self.commit_data("first").await;
        self.workspace.tag(&name("data"), "v1", tag, false).await.unwrap();
    }

    pub(crate) async fn status(&self) -> Status {
        let mut statuses = self.workspace.status(&[]).await.unwrap();
        assert_eq!(statuses.len(), 1);
        statuses.remove(0)
    }

    pub(crate) async fn status_of(&self, dataset: &str) -> Status {
        self.workspace.status(&[name(dataset)]).await.unwrap().remove(0)
    }

    pub(crate) async fn checkout(&self, version: &str) -> Result<crate::CheckedOut, VersionsError> {
        let request = CheckoutRequest { version: Some(version.to_owned()), ..CheckoutRequest::of(name("data")) };
        self.workspace.checkout(request, &NoProgress).await
    }

    pub(crate) async fn checkout_only(&self, patterns: &[&str]) -> Result<crate::CheckedOut, VersionsError> {
        let selection = Selection::Only(patterns.iter().map(|&pattern| pattern.to_owned()).collect());
        let request = CheckoutRequest { selection, ..CheckoutRequest::of(name("data")) };
        self.workspace.checkout(request, &NoProgress).await
    }
}
