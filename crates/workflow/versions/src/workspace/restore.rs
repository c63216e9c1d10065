use futures::future::BoxFuture;
use ropewalk_store::{LaidOut, LinkMode, TransferProgress, TreeFile};
use ropewalk_types::DatasetName;
use serde::Serialize;

use super::add::check_current;
use super::checkout::{index_of, remove_files};
use super::source::Supply;
use super::unversioned::{Going, going};
use super::{Opened, Workspace};
use crate::error::{VersionsError, blocking};
use crate::index::{Index, IndexHead};
use crate::pointer::Pointer;
use crate::selection::Matcher;
use crate::work::{Data, Found, Work, check_kind, clock, look};

/// Which files to bring back.
#[derive(Clone, Debug)]
pub struct RestoreRequest {
    /// The dataset.
    pub name: DatasetName,
    /// Paths, folders or globs inside the dataset; none for all.
    pub patterns: Vec<String>,
    /// The version that they come from; by default what the pointer names.
    pub version: Option<String>,
    /// How files come from the store.
    pub mode: LinkMode,
    /// Whether files may be lost that were added and are in no version, where the pointer does not name them.
    pub force: bool,
}

/// What was brought back.
#[derive(Clone, Debug, Serialize)]
pub struct Restored {
    /// The dataset.
    pub name: DatasetName,
    /// Files that were written.
    pub written: Vec<String>,
    /// Files that were removed, because the version lacks them.
    pub removed: Vec<String>,
    /// How the files came from the store.
    #[serde(skip)]
    pub laid_out: LaidOut,
}

impl Workspace {
    /// Gives up changes: brings files back to what the pointer, or a version, has. The pointer stays as it is. Where something
    /// else was laid out than what the pointer names, as after `git checkout`, all files go together or none:
    /// [`VersionsError::Outdated`] unless forced.
    ///
    /// Files that were never added stay where they are. Where the pointer was set back since files were added, these are in no
    /// version and perhaps nowhere else: then it is [`VersionsError::WouldOverwrite`], unless forced.
    pub fn restore<'a>(
        &'a self,
        request: RestoreRequest,
        progress: &'a dyn TransferProgress,
    ) -> BoxFuture<'a, Result<Restored, VersionsError>> {
        Box::pin(async move {
            let _lock = self.lock().await?;
            let RestoreRequest { name, patterns, version, mode, force } = request;
            let matcher = Matcher::new(Some(patterns.as_slice()).filter(|patterns| !patterns.is_empty()))?;
            let opened = self.open_one(&name).await?;
            let whole = patterns.is_empty();
            // Single files of another version than the others would count as changes.
            if !whole && version.is_none() && !force {
                check_current(&opened.pointer, opened.index.as_ref(), &opened.place)?;
            }
            let content = match &version {
                None => self.pointed(&opened.pointer).await?,
                Some(spec) => self.content_of(&name, spec, progress).await?.0,
            };
            let about = |error: VersionsError| error.about(&name, content.version);
            let target = self.files_of(&name, &content, opened.place.file_name(), None).await;
            let mut target = target.map_err(about)?;
            self.check_chosen(&name, version.as_deref(), &matcher, &target).await?;
            target.retain(|file| matcher.matches(&file.path));
            let place = opened.place.clone();
            blocking(move || check_kind(&place.path, &place.data, content.kind)).await?;
            let data = Data::at(&opened.place.data, content.kind).with_links(opened.pointer.links);
            let (here, old) = (data.clone(), opened.index.clone());
            let (differences, target) = blocking(move || {
                let differences = differences(&here, old.as_ref(), &target, &matcher)?;
                Ok((differences, target))
            })
            .await?;
            let Differences { write, remove, links, going } = differences;
            if !links.is_empty() {
                return Err(VersionsError::LinksInTheWay { name, paths: links });
            }
            if let Some(index) =
                opened.index.as_ref().filter(|index| !force && index.head.root != opened.pointer.digest)
            {
                let paths = self.in_no_version(&name, &index.head, going).await?;
                if !paths.is_empty() {
                    return Err(VersionsError::WouldOverwrite { name, paths });
                }
            }
            // Not in the place of a checkout that did not finish, unless it is just that which is finished here.
            let unfinished = self.begun_pointer(&name).await?;
            let part = (!whole).then_some(patterns);
            let was_part = if unfinished.is_some() { self.begun_part(&name).await? } else { part.clone() };
            let finishes = |begun: &Pointer| begun.digest == content.root && (whole || was_part == part);
            let ends = unfinished.as_ref().is_none_or(finishes);
            let supply = Supply { name: &name, content: &content, files: &write, whole, from: None };
            self.supply(supply, progress).await.map_err(about)?;
            if !(write.is_empty() && remove.is_empty()) {
                let begun = self.begun(&name, opened.place.file_name()).await?;
                let of_this = content.pointer_like(&opened.pointer);
                self.begin(unfinished.as_ref().unwrap_or(&of_this), was_part.clone(), &write, &begun).await?;
            }
            let (folder, gone) = (data.directory.clone(), remove.clone());
            blocking(move || remove_files(&folder, &gone)).await?;
            let laid_out = Box::pin(self.files_lay_out(&write, &data.directory, mode, None, progress)).await;
            let laid_out = laid_out.map_err(|error| error.in_half(&name, content.version, &opened.place.path))?;
            let written = write.into_iter().map(|file| file.path).collect();
            if whole && version.is_none() && !is_current(&opened) {
                self.index_anew(opened, data, target).await?;
            } else {
                self.index_catch_up(opened, data).await?;
            }
            if ends {
                self.end(&name).await?;
            }
            Ok(Restored { name, written, removed: remove, laid_out })
        })
    }

    /// Notes that what the pointer names is laid out, all of it, in the place of something else.
    async fn index_anew(&self, opened: Opened, data: Data, target: Vec<TreeFile>) -> Result<(), VersionsError> {
        let Opened { place, pointer, .. } = opened;
        let Pointer { digest: root, kind, state, .. } = pointer;
        let head = IndexHead { root, kind, state, path: place.path, selection: None, settled: 0 };
        let (path, clock_folder) = (self.index_path(&pointer.name), self.work_folder());
        blocking(move || {
            let (index, _) = index_of(head, &data, &clock_folder, &target, &Matcher::new(None)?, &[], true)?;
            index.save(&path)
        })
        .await
    }

    /// Reads again what looks changed, so that files that are as the index has them are known by their metadata.
    async fn index_catch_up(&self, opened: Opened, data: Data) -> Result<(), VersionsError> {
        let Opened { pointer, index, .. } = opened;
        let Some(index) = index else { return Ok(()) };
        let (path, clock_folder) = (self.index_path(&pointer.name), self.work_folder());
        blocking(move || {
            let settled = clock(&clock_folder)?;
            let mut work = look(&data, Some(&index))?;
            work.hash(|file| file.at.is_some())?;
            index.refreshed(&work.files, settled).save(&path)
        })
        .await
    }
}

/// Whether what was last laid out here is what the pointer names.
fn is_current(opened: &Opened) -> bool {
    opened.index.as_ref().is_some_and(|index| index.head.root == opened.pointer.digest)
}

/// What a restoration has to do.
struct Differences {
    /// What is not there as it should be.
    write: Vec<TreeFile>,
    /// What is there and should not be.
    remove: Vec<String>,
    /// Symbolic links that are no part of the data, in whose place or below which a file belongs.
    links: Vec<String>,
    /// What of it was added.
    going: Vec<Going>,
}

fn differences(
    data: &Data,
    index: Option<&Index>,
    target: &[TreeFile],
    matcher: &Matcher,
) -> Result<Differences, VersionsError> {
    let mut work: Work = look(data, index)?;
    work.clear_leftovers()?;
    work.hash(|file| super::plan::find(target, &file.path).is_some())?;
    let known = |file: &&Found| file.at.and_then(|at| index?.get(at)).is_some_and(|entry| !entry.absent);
    let gone = |file: &&Found| matcher.matches(&file.path) && super::plan::find(target, &file.path).is_none();
    let remove: Vec<_> = work.files.iter().filter(known).filter(gone).map(|file| file.path.clone()).collect();
    let as_it_is = |file: &&TreeFile| {
        let found = work.find(&file.path);
        found.is_some_and(|found| found.digest == Some(file.digest) && found.stat.executable == file.executable)
    };
    let write: Vec<_> = target.iter().filter(|file| !as_it_is(file)).cloned().collect();
    let paths = write.iter().map(|file| &file.path).chain(&remove).map(String::as_str);
    let going = index.map_or_else(Vec::new, |index| going(index, &work, paths, target));
    let links = super::plan::in_the_way(std::mem::take(&mut work.links), &write);
    Ok(Differences { write, remove, links, going })
}
