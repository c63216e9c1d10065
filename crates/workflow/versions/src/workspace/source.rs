//! Versions and files from the project's store, or from the remote where that lacks them.
//!
//! A tree that is visible in a store is whole (see `ropewalk_store::Store::copy_to`). So of a version that is laid out in
//! part only the blobs of those files are brought; its trees are read where they are. Which files it has is known from the
//! index then, so that a file whose bytes are here needs no remote.

use std::collections::BTreeSet;
use std::path::Path;

use ropewalk_store::{LaidOut, LinkMode, Root, Store, StoreError, TransferProgress, TreeEntry, TreeFile};
use ropewalk_types::DatasetName;

use super::names::FileOf;
use super::{Content, Workspace};
use crate::error::{VersionsError, blocking};
use crate::history;
use crate::index::{Index, IndexEntry};
use crate::pointer::Kind;
use crate::remote::content_root;

/// Files that are about to be laid out.
pub(super) struct Supply<'a> {
    pub(super) name: &'a DatasetName,
    pub(super) content: &'a Content,
    pub(super) files: &'a [TreeFile],
    /// Whether they are all that the content has.
    pub(super) whole: bool,
    /// Where they come from if the project's store lacks them; by default the project's remote.
    pub(super) from: Option<&'a Store>,
}

/// Whether another store may know more.
fn is_absence(error: &VersionsError) -> bool {
    matches!(
        error,
        VersionsError::UnknownVersion { .. }
            | VersionsError::ContentMissing { .. }
            | VersionsError::Store(StoreError::NotFound { .. })
    )
}

impl Workspace {
    /// The content of a version that the project's store knows, and what its single file is called.
    pub(crate) async fn content_here(
        &self,
        name: &DatasetName,
        spec: &str,
    ) -> Result<(Content, String), VersionsError> {
        content_in(self.store().await?, name, spec).await
    }

    /// The content of a version, and what its single file is called; what only the remote knows is noted here first.
    pub(crate) async fn content_of(
        &self,
        name: &DatasetName,
        spec: &str,
        progress: &dyn TransferProgress,
    ) -> Result<(Content, String), VersionsError> {
        match self.content_here(name, spec).await {
            Err(error) if is_absence(&error) => {
                let Some(remote) = self.remote().await? else { return Err(error) };
                let lost = self.history_bring(remote, name, progress).await?;
                match self.content_here(name, spec).await {
                    Err(error) if is_absence(&error) => match lost.iter().find(|lost| lost.is_meant(spec)) {
                        Some(lost) => Err(lost.error()),
                        None => Err(error),
                    },
                    found => found,
                }
            }
            found => found,
        }
    }

    /// The files of some content that the project's store holds, as they lie below the folder of its place; a single
    /// file by its name.
    pub(crate) async fn files_here(
        &self,
        name: &DatasetName,
        content: &Content,
        file_name: &str,
    ) -> Result<Vec<TreeFile>, VersionsError> {
        files_in(self.store().await?, name, content, file_name).await
    }

    /// Like [`Workspace::files_here`], else as the index, `from` or the remote has them.
    pub(crate) async fn files_of(
        &self,
        name: &DatasetName,
        content: &Content,
        file_name: &str,
        from: Option<&Store>,
    ) -> Result<Vec<TreeFile>, VersionsError> {
        let absence = match self.files_here(name, content, file_name).await {
            Err(error) if is_absence(&error) => error,
            found => return found,
        };
        if let Some(files) = self.files_known(name, content).await? {
            return Ok(files);
        }
        let Some(other) = self.other(from).await? else { return Err(absence) };
        // It may be gone because it was removed, and nobody has told us.
        if let Some(version) = content.version {
            history::check_there(other, name, &version).await?;
        }
        files_in(other, name, content, file_name).await
    }

    /// The files of a folder's content as the index has them, if that is what was last laid out, be it in part.
    pub(crate) async fn files_known(
        &self,
        name: &DatasetName,
        content: &Content,
    ) -> Result<Option<Vec<TreeFile>>, VersionsError> {
        if content.kind != Kind::Folder {
            return Ok(None);
        }
        let path = self.index_path(name);
        let index = blocking(move || Index::load(&path)).await?;
        let index = index.filter(|index| (index.head.root, index.head.kind) == (content.root, content.kind));
        let Some(index) = index else { return Ok(None) };
        let files: Vec<_> = index.iter().map(tree_file).collect();
        let bytes: u64 = files.iter().map(|file| file.size).sum();
        let fits = (files.len() as u64, bytes) == (content.files, content.bytes);
        Ok(fits.then_some(files))
    }

    /// Brings the blobs of files into the project's store if it lacks one.
    pub(super) async fn supply(
        &self,
        supply: Supply<'_>,
        progress: &dyn TransferProgress,
    ) -> Result<(), VersionsError> {
        let Supply { name, content, files, whole, from } = supply;
        if !self.lacks(files).await? {
            return Ok(());
        }
        let missing = || VersionsError::ContentMissing { name: name.clone(), root: content.root };
        let Some(other) = self.other(from).await? else { return Err(missing()) };
        let brought = async {
            self.history_bring(other, name, progress).await?;
            // It may have been removed, of which that has told us now.
            if let Some(version) = content.version {
                self.check_there(name, &version).await?;
            }
            if whole {
                let root = content_root(content.kind, content.root);
                other.link_to(self.store().await?, &[root], progress).await?;
            }
            if self.lacks(files).await? {
                other.link_to(self.store().await?, &blobs(files), progress).await?;
            }
            Ok::<_, VersionsError>(())
        };
        match brought.await {
            Err(VersionsError::Store(StoreError::NotFound { .. })) => Err(missing()),
            brought => brought,
        }
    }

    /// Lays out files that are here below a folder. What turns out to be damaged is healed from `from` or the remote, and
    /// then it is tried once more.
    pub(super) async fn files_lay_out(
        &self,
        files: &[TreeFile],
        folder: &Path,
        mode: LinkMode,
        from: Option<&Store>,
        progress: &dyn TransferProgress,
    ) -> Result<LaidOut, VersionsError> {
        if files.is_empty() {
            return Ok(LaidOut::default());
        }
        let store = self.store().await?;
        let damage = match store.files_lay_out(files, folder, mode, progress).await {
            Err(error) if error.is_of_content() => error,
            laid_out => return Ok(laid_out?),
        };
        match Box::pin(self.files_heal(files, from)).await {
            Ok(true) => Ok(store.files_lay_out(files, folder, mode, progress).await?),
            // Why another store could not help is not what is wrong.
            Ok(false) | Err(_) => Err(damage.into()),
        }
    }

    /// Takes what is damaged here of some files from `from` or the remote; says whether anything was.
    async fn files_heal(&self, files: &[TreeFile], from: Option<&Store>) -> Result<bool, VersionsError> {
        let Some(other) = self.other(from).await? else { return Ok(false) };
        let store = self.store().await?;
        let mut found = store.verify_below(&blobs(files)).await?;
        store.heal(&mut found, other).await?;
        Ok(found.damaged.iter().any(|damage| damage.healed))
    }

    /// Whether the project's store lacks one of these files.
    pub(super) async fn lacks(&self, files: &[TreeFile]) -> Result<bool, VersionsError> {
        let store = self.store().await?;
        for file in files {
            if !store.contains(&file.digest).await? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// One file of a version, and the store that has it: the project's, else the remote. Nothing is brought.
    ///
    /// Without `spec` it is that of what the pointer names, or of the latest version where there is no pointer.
    pub(super) async fn file_anywhere(
        &self,
        name: &DatasetName,
        spec: Option<&str>,
        path: &str,
    ) -> Result<(FileOf, &Store), VersionsError> {
        let store = self.store().await?;
        let absence = match self.file_in(store, name, spec, path).await {
            Ok(file) if store.contains(&file.digest).await? => return Ok((file, store)),
            Ok(file) => VersionsError::ContentMissing { name: name.clone(), root: file.digest },
            Err(error) if is_absence(&error) => error,
            Err(error) => return Err(error),
        };
        if let Some(file) = self.file_known(name, spec, path).await? {
            return Ok((file, store));
        }
        let Some(remote) = self.remote().await? else { return Err(absence) };
        Ok((self.file_in(remote, name, spec, path).await?, remote))
    }

    /// A file of which the project's store has the bytes, while it lacks the tree of what is laid out in part.
    async fn file_known(
        &self,
        name: &DatasetName,
        spec: Option<&str>,
        path: &str,
    ) -> Result<Option<FileOf>, VersionsError> {
        let content = match spec {
            Some(spec) => match self.content_here(name, spec).await {
                Err(error) if is_absence(&error) => None,
                found => Some(found?.0),
            },
            None => self.pointers().await?.iter().find(|pointer| pointer.name == *name).map(Content::of),
        };
        let Some(content) = content else { return Ok(None) };
        let Some(files) = self.files_known(name, &content).await? else { return Ok(None) };
        let Some(file) = files.into_iter().find(|file| file.path == path) else { return Ok(None) };
        Ok(if self.store().await?.contains(&file.digest).await? { Some(file.into()) } else { None })
    }

    async fn file_in(
        &self,
        store: &Store,
        name: &DatasetName,
        spec: Option<&str>,
        path: &str,
    ) -> Result<FileOf, VersionsError> {
        let pointer = match spec {
            Some(_) => None,
            None => self.pointers().await?.into_iter().find(|pointer| pointer.name == *name),
        };
        let (content, file_name) = match pointer {
            Some(pointer) => {
                if let Some(version) = pointer.version() {
                    history::check_there(store, name, &version).await?;
                }
                (Content::of(&pointer), pointer.path)
            }
            None => content_in(store, name, spec.unwrap_or("latest")).await?,
        };
        let version = spec.map(str::to_owned);
        let unknown = |known| {
            let (name, path) = (name.clone(), path.to_owned());
            VersionsError::UnknownFile { name, version: version.clone(), path, known, dataset: false }
        };
        if content.kind != Kind::Folder {
            let files = files_in(store, name, &content, &file_name).await?;
            let found = files.into_iter().next().filter(|_| path.is_empty() || path == file_name);
            return found.map(FileOf::from).ok_or_else(|| unknown(vec![file_name]));
        }
        if let Some(TreeEntry::File { digest, size, executable }) = store.tree_find(&content.root, path).await? {
            return Ok(FileOf { path: path.to_owned(), digest, size, executable });
        }
        let top = store.tree_get(&content.root).await?;
        let entry = |(name, entry): (&str, &TreeEntry)| match entry {
            TreeEntry::Directory { .. } => format!("{name}/"),
            TreeEntry::File { .. } => name.to_owned(),
        };
        let known: Vec<_> = top.iter().map(entry).collect();
        Err(match path {
            "" => VersionsError::WhichFile { name: name.clone(), known },
            _ => unknown(known),
        })
    }

    /// The store that is asked for what the project's lacks.
    pub(super) async fn other<'a>(&'a self, from: Option<&'a Store>) -> Result<Option<&'a Store>, VersionsError> {
        match from {
            Some(other) => Ok(Some(other)),
            None => self.remote().await,
        }
    }
}

async fn content_in(store: &Store, name: &DatasetName, spec: &str) -> Result<(Content, String), VersionsError> {
    let found = history::resolve(store, name, spec).await?;
    Ok((Content::of_version(&found), found.version.file_name().to_owned()))
}

async fn files_in(
    store: &Store,
    name: &DatasetName,
    content: &Content,
    file_name: &str,
) -> Result<Vec<TreeFile>, VersionsError> {
    let Content { root, kind, bytes, .. } = *content;
    let files = match kind {
        Kind::Folder => store.tree_files(&root).await,
        Kind::File | Kind::Executable => store.size(&root).await.map(|size| {
            let executable = kind == Kind::Executable;
            vec![TreeFile { path: file_name.to_owned(), digest: root, size: size.max(bytes), executable }]
        }),
    };
    files.map_err(|error| match error {
        StoreError::NotFound { .. } => VersionsError::ContentMissing { name: name.clone(), root },
        error => error.into(),
    })
}

/// A file as an index has it.
pub(super) fn tree_file(entry: IndexEntry<'_>) -> TreeFile {
    let IndexEntry { path, stat, digest, .. } = entry;
    TreeFile { path: path.to_owned(), digest, size: stat.size, executable: stat.executable }
}

/// The content of some files, each once.
fn blobs(files: &[TreeFile]) -> Vec<Root> {
    let blobs: BTreeSet<_> = files.iter().map(|file| Root::Blob(file.digest)).collect();
    blobs.into_iter().collect()
}

/// The names at the top of some files, folders with a slash at their end.
pub(super) fn tops(files: &[TreeFile]) -> Vec<String> {
    let top = |file: &TreeFile| match file.path.split_once('/') {
        Some((folder, _)) => format!("{folder}/"),
        None => file.path.clone(),
    };
    files.iter().map(top).collect::<BTreeSet<_>>().into_iter().collect()
}
