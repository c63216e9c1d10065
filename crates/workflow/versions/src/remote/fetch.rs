use std::collections::BTreeSet;

use futures::future::BoxFuture;
use ropewalk_store::{LinkMode, Store, TransferProgress, Transferred};
use ropewalk_types::{DatasetName, Digest, TagName};
use serde::Serialize;

use super::bring::{Brought, Wanted};
use super::lost::Lost;
use super::removals::RefusedRemoval;
use super::{RefusedTag, content_root, has, of};
use crate::discovery::Place;
use crate::error::VersionsError;
use crate::history::{self, History, Refs};
use crate::index::Index;
use crate::pointer::{Links, Pointer, PointerState};
use crate::selection::Selection;
use crate::trail::Act;
use crate::workspace::{CheckedOut, CheckoutRequest, Laying, Opened, Problem, Unreadable, Workspace};

/// Which version a pull lays out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PullTo {
    /// What the pointer names, as git has it; without a pointer the latest.
    #[default]
    Pointer,
    /// The latest version.
    Latest,
}

/// How to pull.
#[derive(Clone, Debug)]
pub struct PullOptions {
    /// Which version is laid out.
    pub to: PullTo,
    /// Which of its files.
    pub selection: Selection,
    /// How files come from the store.
    pub mode: LinkMode,
    /// Whether changes that no version holds may be lost.
    pub force: bool,
    /// What the project calls the remote, for the trail.
    pub remote: String,
}

impl Default for PullOptions {
    fn default() -> Self {
        let (to, selection, mode) = (PullTo::Pointer, Selection::Recorded, LinkMode::Auto);
        Self { to, selection, mode, force: false, remote: String::new() }
    }
}

/// What was fetched.
#[derive(Debug, Default, Serialize)]
pub struct Fetched {
    /// Datasets whose head here was moved to the remote's.
    pub moved: Vec<(DatasetName, Digest)>,
    /// Datasets whose head in the remote went another way than the one here: to be merged.
    pub diverged: Vec<(DatasetName, Digest)>,
    /// Tags that are new here.
    pub tags: u64,
    /// Tags that were deleted in the remote, and are here no longer.
    pub deleted_tags: Vec<(DatasetName, TagName)>,
    /// Tags that name other versions here, or versions that were removed here.
    pub refused_tags: Vec<RefusedTag>,
    /// Versions that were removed in the remote, and now are here.
    pub removed: Vec<(DatasetName, Digest)>,
    /// Versions that were removed in the remote, and have a tag here.
    pub refused_removals: Vec<RefusedRemoval>,
    /// Datasets of which the remote has neither versions nor what the pointer names.
    pub missing: Vec<DatasetName>,
    /// Datasets of which something is missing or damaged, and what; the others are whole.
    #[serde(skip)]
    pub failed: Vec<Problem>,
    /// What travelled.
    #[serde(skip)]
    pub transferred: Transferred,
}

impl Fetched {
    /// What this fetch and the next one have done together; what both say is said once.
    #[must_use]
    pub fn then(mut self, next: Self) -> Self {
        add_new(&mut self.moved, next.moved);
        add_new(&mut self.diverged, next.diverged);
        self.tags += next.tags;
        add_new(&mut self.deleted_tags, next.deleted_tags);
        add_new(&mut self.refused_tags, next.refused_tags);
        add_new(&mut self.removed, next.removed);
        add_new(&mut self.refused_removals, next.refused_removals);
        add_new(&mut self.missing, next.missing);
        add_problems(&mut self.failed, next.failed);
        let Transferred { pieces, bytes, present } = next.transferred;
        self.transferred.pieces += pieces;
        self.transferred.bytes += bytes;
        self.transferred.present += present;
        self
    }
}

fn add_new<T: PartialEq>(all: &mut Vec<T>, more: Vec<T>) {
    for one in more {
        if !all.contains(&one) {
            all.push(one);
        }
    }
}

/// Adds problems, each once.
fn add_problems(all: &mut Vec<Problem>, more: Vec<Problem>) {
    for one in more {
        let said = one.error.to_string();
        if !all.iter().any(|known| known.path == one.path && known.error.to_string() == said) {
            all.push(one);
        }
    }
}

/// What was pulled.
#[derive(Debug, Default, Serialize)]
pub struct Pulled {
    /// What was fetched.
    pub fetched: Fetched,
    /// What was laid out.
    pub checked_out: Vec<CheckedOut>,
    /// Datasets whose latest version is not what is laid out now, and that version.
    pub behind: Vec<(DatasetName, Digest)>,
    /// Datasets of which something could not be had: it was removed, is missing or damaged, or the pointer cannot be read,
    /// such as one with git's conflict markers, or says what is not so; or changes in the work tree would be lost. They are
    /// laid out as before, or as a whole.
    #[serde(skip)]
    pub gone: Vec<Problem>,
}

impl Pulled {
    /// With what a fetch before it has done; what both say is said once.
    #[must_use]
    pub fn after(mut self, before: Fetched) -> Self {
        self.fetched = before.then(self.fetched);
        let mut gone = std::mem::take(&mut self.fetched.failed);
        add_problems(&mut gone, std::mem::take(&mut self.gone));
        self.gone = gone;
        self
    }
}

impl Workspace {
    /// Brings versions, tags and content from another store: of these datasets, or of all that are tracked.
    ///
    /// The content of pointers, heads and versions beside them comes along, or that of every version. The head here is
    /// moved if it lies behind the remote's; else the remote's is kept beside it, to be merged. Nothing is laid out.
    /// Datasets of which something is missing or damaged are in nobody's way: they are among what [`Fetched::failed`].
    pub fn fetch<'a>(
        &'a self,
        remote: &'a Store,
        names: &'a [DatasetName],
        every_version: bool,
        progress: &'a dyn TransferProgress,
    ) -> BoxFuture<'a, Result<Fetched, VersionsError>> {
        let wanted = if every_version { Wanted::Everything } else { Wanted::Tips };
        Box::pin(async move { Ok(self.bring(remote, names, wanted, progress).await?.fetched) })
    }

    /// Fetches, and lays out what the pointers name, or the latest versions.
    ///
    /// A pointer is enough: its content is found by digest even where the remote has no ref of that dataset. A dataset
    /// without a pointer is laid out where it lay in the project that made its latest version. Datasets of which something
    /// is missing or damaged, or whose files hold changes that would be lost or are in the way, and pointers that cannot be
    /// read, are in nobody's way: they are among what is [`Pulled::gone`], and of pointers with git's conflict markers both
    /// sides are fetched.
    pub fn pull<'a>(
        &'a self,
        remote: &'a Store,
        names: &'a [DatasetName],
        options: PullOptions,
        progress: &'a dyn TransferProgress,
    ) -> BoxFuture<'a, Result<Pulled, VersionsError>> {
        Box::pin(async move {
            let _lock = self.lock().await?;
            let wanted = if options.to == PullTo::Latest { Wanted::Heads } else { Wanted::Pointers };
            let all = names.is_empty();
            let brought = self.bring(remote, names, wanted, progress).await?;
            let Brought { mut fetched, names, pointers, failing, .. } = brought;
            let unreadable = self.unreadable().await?;
            let (unreadable_names, mut gone) = unreadable_of(unreadable, &names, all);
            gone.append(&mut fetched.failed);
            let mut pulled = Pulled { fetched, checked_out: Vec::new(), behind: Vec::new(), gone };
            let refs = history::refs_each(self.store().await?, &names).await?.found;
            for name in names.into_iter().filter(|name| !unreadable_names.contains(name)) {
                let fails = failing.contains(&name);
                let pointer = pointers.iter().find(|pointer| pointer.name == name);
                if fails && !self.is_whole_here(pointer, &options).await? {
                    continue;
                }
                let laid_out = self.pull_one(remote, &name, pointer, &options, progress).await;
                let laid_out = match laid_out {
                    Ok(laid_out) if fails => Ok((laid_out, None)),
                    Ok(laid_out) => self.later(&of(&refs, &name), &laid_out).await.map(|later| (laid_out, later)),
                    Err(error) => Err(error),
                };
                match laid_out {
                    Ok((laid_out, later)) => {
                        pulled.behind.extend(later.map(|latest| (name, latest)));
                        pulled.checked_out.push(laid_out);
                    }
                    Err(error) if self.ends_pull(&error, all, &options.selection) => return Err(error),
                    // The others are whole all the same.
                    Err(error) => {
                        let error = Box::new(error.about(&name, None));
                        add_problems(&mut pulled.gone, vec![Problem { path: name.to_string(), error }]);
                    }
                }
            }
            Ok(pulled)
        })
    }

    /// Whether an error at one dataset ends the pull of all: others would fail alike, or it is of what was asked for.
    fn ends_pull(&self, error: &VersionsError, all: bool, selection: &Selection) -> bool {
        match error {
            // Of a name that was not asked for, there is a pointer.
            VersionsError::UnknownVersion { .. } => !all,
            VersionsError::UnknownFile { .. } => matches!(selection, Selection::Only(_) | Selection::Also(_)),
            VersionsError::UnknownDataset { .. }
            | VersionsError::Pattern { .. }
            | VersionsError::RemoteMissing { .. }
            | VersionsError::Execution(_) => true,
            error => !error.concerns_one() && error.is_of_machine(|path| self.is_of_work_tree(path)),
        }
    }

    /// Whether what the pointer names is to be laid out, and all of it is here.
    async fn is_whole_here(&self, pointer: Option<&Pointer>, options: &PullOptions) -> Result<bool, VersionsError> {
        match pointer.filter(|_| options.to == PullTo::Pointer) {
            Some(pointer) => has(self.store().await?, &content_root(pointer.kind, pointer.digest)).await,
            None => Ok(false),
        }
    }

    /// The latest version, if that is not what was laid out.
    async fn later(&self, refs: &Refs, laid_out: &CheckedOut) -> Result<Option<Digest>, VersionsError> {
        let Some(head) = &refs.head else { return Ok(None) };
        let latest = History { stores: &[self.store().await?] }.remaining(refs, &head.version).await?;
        Ok(latest.filter(|latest| laid_out.version != Some(*latest)))
    }

    async fn pull_one(
        &self,
        remote: &Store,
        name: &DatasetName,
        pointer: Option<&Pointer>,
        options: &PullOptions,
        progress: &dyn TransferProgress,
    ) -> Result<CheckedOut, VersionsError> {
        let version = match pointer {
            Some(pointer) if options.to == PullTo::Pointer => pointer.version(),
            _ => Some(self.resolve(name, "latest").await?.digest),
        };
        self.announce(name, version, Act::Pull { remote: options.remote.clone() }).await?;
        let laid_out = if pointer.is_some() {
            let wanted = (options.to == PullTo::Latest).then(|| "latest".to_owned());
            let (selection, mode, force) = (options.selection.clone(), options.mode, options.force);
            let request = CheckoutRequest { name: name.clone(), version: wanted, selection, mode, force };
            self.checkout_locked(request, Some(remote), progress).await
        } else {
            self.lay_first(remote, name, options, progress).await
        };
        laid_out.map_err(|error| error.about(name, version))
    }

    /// Brings versions and tags of a dataset, and no content; gives what the remote has lost of them, which bars nothing
    /// else.
    pub(crate) async fn history_bring(
        &self,
        remote: &Store,
        name: &DatasetName,
        progress: &dyn TransferProgress,
    ) -> Result<Vec<Lost>, VersionsError> {
        let brought = self.bring(remote, std::slice::from_ref(name), Wanted::Nothing, progress).await?;
        let Brought { fetched, failing, lost, .. } = brought;
        // What is lost comes after all else that failed.
        let failed = fetched.failed.into_iter().next().filter(|_| !failing.is_empty());
        failed.map_or(Ok(lost), |problem| Err(*problem.error))
    }

    /// Lays out the latest version of a dataset that has no pointer here.
    async fn lay_first(
        &self,
        remote: &Store,
        name: &DatasetName,
        options: &PullOptions,
        progress: &dyn TransferProgress,
    ) -> Result<CheckedOut, VersionsError> {
        let latest = self.resolve(name, "latest").await?;
        let place = Place::of(self.root(), latest.version.path.as_ref())?;
        let (content, _) = self.content_here(name, "latest").await?;
        let pointer = Pointer {
            name: name.clone(),
            kind: content.kind,
            path: place.file_name().to_owned(),
            digest: content.root,
            bytes: content.bytes,
            files: content.files,
            links: Links::Refused,
            state: PointerState::Committed { version: latest.digest },
        };
        let opened = Opened { place, pointer, index: None::<Index> };
        let (selection, mode, force) = (&options.selection, options.mode, options.force);
        let from = Some(remote);
        self.lay(Laying { force, from, ..Laying::of(opened, content, selection, mode) }, progress).await
    }
}

/// The names of which nothing can be laid out because their pointer cannot be read, and what is wrong with the pointers that
/// are meant: all, or those of these names.
fn unreadable_of(
    unreadable: Vec<Unreadable>,
    names: &[DatasetName],
    all: bool,
) -> (BTreeSet<DatasetName>, Vec<Problem>) {
    let found = unreadable.iter().flat_map(|one| &one.names).cloned().collect();
    let meant = |one: &Unreadable| all || names.iter().any(|name| one.names.contains(name));
    (found, unreadable.into_iter().filter(meant).map(|one| one.problem).collect())
}
