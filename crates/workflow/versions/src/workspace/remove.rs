use futures::future::BoxFuture;
use ropewalk_store::files::{self, EntryKind};
use ropewalk_types::DatasetName;
use serde::Serialize;

use super::plan::find;
use super::unversioned::going;
use super::{Opened, Workspace, gitignore};
use crate::error::{VersionsError, blocking};
use crate::history;
use crate::trail::Act;
use crate::work::{Data, check_kind, look};

/// What is no longer tracked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Removed {
    /// The dataset.
    pub name: DatasetName,
    /// The data, relative to the project.
    pub path: String,
    /// Whether the files were removed too.
    pub files_removed: bool,
}

impl Workspace {
    /// Ends the tracking of a dataset: removes its pointer, and its files unless they are kept.
    ///
    /// Its versions stay in the store, and can be pulled by name again. Changes that no version holds are only lost if
    /// that is forced.
    pub fn remove<'a>(
        &'a self,
        name: &'a DatasetName,
        keep_files: bool,
        force: bool,
    ) -> BoxFuture<'a, Result<Removed, VersionsError>> {
        Box::pin(async move {
            let _lock = self.lock().await?;
            let opened = self.open_one(name).await?;
            if !keep_files && !force {
                if opened.pointer.version().is_none() {
                    return Err(VersionsError::Uncommitted { name: name.clone() });
                }
                self.check_unchanged(&opened).await?;
            }
            self.announce(name, None, Act::Untrack { files_removed: !keep_files }).await?;
            let (index, place, this, name_of) =
                (self.index_path(name), opened.place.clone(), self.clone(), name.clone());
            blocking(move || {
                // The pointer first: without it, nothing speaks of the rest any more.
                files::remove_file(&place.pointer)?;
                if !keep_files {
                    match files::kind(&place.data)? {
                        Some(EntryKind::Directory) => drop(files::remove_directory(&place.data)?),
                        Some(_) => drop(files::remove_file(&place.data)?),
                        None => {}
                    }
                }
                files::remove_file(&index)?;
                this.end_now(&name_of)?;
                gitignore::forget(place.folder(), place.file_name())
            })
            .await?;
            Ok(Removed { name: name.clone(), path: opened.place.path, files_removed: !keep_files })
        })
    }

    /// Removes the refs of a dataset from the store, so that a collection removes what nothing else needs.
    ///
    /// Tombstones, and how often tags were deleted, stay: what was removed must not come back with a pull. Says how many
    /// refs were removed. Fails while the project tracks it.
    pub fn forget<'a>(&'a self, name: &'a DatasetName) -> BoxFuture<'a, Result<u64, VersionsError>> {
        Box::pin(async move {
            let _lock = self.lock().await?;
            if let Some(tracked) = self.dataset_if_tracked(name).await? {
                let (path, reason) = (tracked.path, "it is still tracked");
                return Err(crate::discovery::untrackable(&path, reason, "run `ropewalk data rm` first"));
            }
            history::forget(self.store().await?, name).await
        })
    }

    /// Fails if a file holds changes that its version lacks, or was never added; or was added and, since the pointer was set
    /// back, is in no version. What a killed checkout wrote is no change.
    pub(super) async fn check_unchanged(&self, opened: &Opened) -> Result<(), VersionsError> {
        let opened = match &opened.index {
            Some(_) => opened.clone(),
            None => self.index_again(opened.clone()).await?,
        };
        let begun = self.begun(&opened.pointer.name, opened.place.file_name()).await?;
        let (work, begun, Opened { pointer, index, .. }) = blocking(move || {
            let Opened { place, pointer, index } = &opened;
            check_kind(&place.path, &place.data, pointer.kind)?;
            let mut work = look(&Data::at(&place.data, pointer.kind).with_links(pointer.links), index.as_ref())?;
            work.hash(|file| file.at.is_some() || find(&begun, &file.path).is_some())?;
            Ok((work, begun, opened))
        })
        .await?;
        let ours = self.ours(&work, &begun).await?;
        let changed = work.files.iter().filter(|file| {
            let entry = file.at.and_then(|at| index.as_ref()?.get(at));
            entry.is_none_or(|entry| file.digest != Some(entry.digest)) && !ours.contains(&file.path)
        });
        let mut paths: Vec<_> = changed.map(|file| file.path.clone()).collect();
        if let Some(index) = index.as_ref().filter(|index| paths.is_empty() && index.head.root != pointer.digest) {
            let there = work.files.iter().map(|file| file.path.as_str()).filter(|path| !ours.contains(*path));
            let going = going(index, &work, there, &[]);
            paths = self.in_no_version(&pointer.name, &index.head, going).await?;
        }
        if paths.is_empty() { Ok(()) } else { Err(VersionsError::WouldOverwrite { name: pointer.name, paths }) }
    }
}
