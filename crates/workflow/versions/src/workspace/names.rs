//! Versions and files by their names: tags, logs, listings.

use std::collections::BTreeMap;
use std::path::Path;

use futures::future::BoxFuture;
use ropewalk_store::{NoProgress, Store, TreeFile};
use ropewalk_types::{DatasetName, Digest, TagName};
use serde::Serialize;

use super::Workspace;
use crate::discovery::Place;
use crate::error::VersionsError;
use crate::history::{self, LogEntry, Resolved};
use crate::selection::Matcher;
use crate::trail::Act;

/// A file of a version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FileOf {
    /// Its path inside the dataset; of a single file, its name.
    pub path: String,
    /// Its blob.
    pub digest: Digest,
    /// In bytes.
    pub size: u64,
    /// Whether it may be executed.
    pub executable: bool,
}

impl From<TreeFile> for FileOf {
    fn from(file: TreeFile) -> Self {
        let TreeFile { path, digest, size, executable } = file;
        Self { path, digest, size, executable }
    }
}

impl Workspace {
    /// The names of all datasets of which the store knows versions, tracked here or not.
    pub async fn names(&self) -> Result<Vec<DatasetName>, VersionsError> {
        history::names_with_versions(self.store().await?).await
    }

    /// All versions of a dataset, the newest first and each before those that it came from.
    pub fn log<'a>(&'a self, name: &'a DatasetName) -> BoxFuture<'a, Result<Vec<LogEntry>, VersionsError>> {
        Box::pin(async move { history::log(self.store().await?, name).await })
    }

    /// The version that `spec` names: `latest` or `head`, a tag, `vN`, or four digits or more of the digest of a version or
    /// of its content. N is one more than the largest number of the versions that it came from.
    ///
    /// [`VersionsError::Removed`] for a version that was removed, and for `latest` if all were.
    pub fn resolve<'a>(
        &'a self,
        name: &'a DatasetName,
        spec: &'a str,
    ) -> BoxFuture<'a, Result<Resolved, VersionsError>> {
        Box::pin(async move { history::resolve(self.store().await?, name, spec).await })
    }

    /// Like [`Workspace::resolve`], also of a version that was removed: for what is told of it.
    pub fn recorded<'a>(
        &'a self,
        name: &'a DatasetName,
        spec: &'a str,
    ) -> BoxFuture<'a, Result<Resolved, VersionsError>> {
        Box::pin(async move { history::recorded(self.store().await?, name, spec).await })
    }

    /// The tags of a dataset and the versions that they name.
    pub async fn tags(&self, name: &DatasetName) -> Result<BTreeMap<TagName, Digest>, VersionsError> {
        let refs = history::refs(self.store().await?, name).await?;
        Ok(refs.tags.into_iter().map(|(tag, at)| (tag, at.version)).collect())
    }

    /// Names a version; a tag that names another one is only moved if that is forced. Gives the version.
    ///
    /// A new tag that is the beginning of the digest of a version is refused: that version would be meant.
    pub fn tag<'a>(
        &'a self,
        name: &'a DatasetName,
        spec: &'a str,
        tag: &'a TagName,
        force: bool,
    ) -> BoxFuture<'a, Result<Digest, VersionsError>> {
        Box::pin(async move {
            let store = self.store().await?;
            history::check_tag(store, name, tag).await?;
            let version = history::resolve(store, name, spec).await?.digest;
            self.announce(name, Some(version), Act::Tag { tag: tag.to_string() }).await?;
            history::tag_set(store, name, tag, &version, force).await?;
            Ok(version)
        })
    }

    /// Removes a tag; the version stays, while anything else names it. The tag does not come back from a remote, and the
    /// next push removes it there; it may be set anew.
    pub async fn tag_remove(&self, name: &DatasetName, tag: &TagName) -> Result<(), VersionsError> {
        let store = self.store().await?;
        let known = history::refs(store, name).await?.tags.get(tag).copied();
        let unknown = || VersionsError::UnknownTag { name: name.clone(), tag: tag.to_string() };
        let version = known.ok_or_else(unknown)?.version;
        self.announce(name, Some(version), Act::Untag { tag: tag.to_string() }).await?;
        history::tag_delete(store, name, tag).await
    }

    /// The files of a version, or those that match a path, a folder or a glob.
    pub fn list<'a>(
        &'a self,
        name: &'a DatasetName,
        spec: &'a str,
        patterns: &'a [String],
    ) -> BoxFuture<'a, Result<Vec<FileOf>, VersionsError>> {
        Box::pin(async move {
            let matcher = Matcher::new(Some(patterns).filter(|patterns| !patterns.is_empty()))?;
            let (content, file_name) = self.content_of(name, spec, &NoProgress).await?;
            let mut files = self.files_of(name, &content, &file_name, None).await?;
            files.retain(|file| matcher.matches(&file.path));
            Ok(files.into_iter().map(FileOf::from).collect())
        })
    }

    /// One file of a version, without reading the others, and the store that holds it: the project's, else the remote,
    /// from which nothing is brought.
    ///
    /// Without `spec` it is that of what the pointer names, or of the latest version where there is no pointer. The path
    /// of a dataset that is a single file may be left empty.
    pub fn file<'a>(
        &'a self,
        name: &'a DatasetName,
        spec: Option<&'a str>,
        path: &'a str,
    ) -> BoxFuture<'a, Result<(FileOf, &'a Store), VersionsError>> {
        Box::pin(self.file_anywhere(name, spec, path))
    }

    /// The dataset that `path` is or lies in, and the path inside it; none for the data as a whole.
    ///
    /// A pointer stands for its data.
    pub async fn locate(&self, path: &Path) -> Result<(DatasetName, Option<String>), VersionsError> {
        let text = path.to_str().and_then(|text| text.strip_suffix(crate::pointer::EXTENSION));
        let place = Place::of(self.root(), text.map_or(path, Path::new))?;
        let mut known = Vec::new();
        for tracked in self.discover().await? {
            let inside = match place.path.strip_prefix(&tracked.place.path) {
                Some("") => Some(None),
                Some(rest) => rest.strip_prefix('/').map(|inside| Some(inside.to_owned())),
                None => None,
            };
            match inside {
                Some(inside) => return Ok((tracked.pointer?.name, inside)),
                None => known.push(tracked.place.path),
            }
        }
        Err(VersionsError::UnknownDataset { name: place.path, known })
    }
}
