use std::collections::BTreeSet;
use std::sync::Arc;

use futures::future::BoxFuture;
use ropewalk_store::files;
use ropewalk_types::{DatasetName, Digest};
use serde::Serialize;

use super::facts::check_against_index;
use super::{Content, Opened, Workspace, check_name};
use crate::diff::{ChangedFile, SizedFile};
use crate::discovery::{Tracked, discover};
use crate::error::{VersionsError, blocking};
use crate::index::{Index, IndexEntry, IndexHead, Stat};
use crate::pointer::{Kind, Pointer};
use crate::work::{Data, Found, Work, clock, kind_here, look};

/// What the work tree holds of a dataset.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "layout")]
pub enum Layout {
    /// What the pointer names was laid out or added here.
    Current,
    /// Nothing is there: `pull` or `checkout` brings it.
    Missing,
    /// The pointer names other content than what was last laid out, as after `git checkout`.
    Outdated {
        /// What was laid out.
        laid_out: Digest,
    },
    /// Files are there, and what the pointer names is not in the store, so that they cannot be compared.
    Unknown,
}

/// How the work tree of a dataset stands to its pointer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Status {
    /// The data, relative to the project.
    pub path: String,
    /// What git keeps of it.
    pub pointer: Pointer,
    /// What is laid out.
    #[serde(flatten)]
    pub layout: Layout,
    /// The patterns of the files that are to be laid out, if not all are.
    pub selection: Option<Vec<String>>,
    /// Files that are new.
    pub added: Vec<SizedFile>,
    /// Files that are gone.
    pub removed: Vec<SizedFile>,
    /// Files that were changed.
    pub changed: Vec<ChangedFile>,
}

impl Status {
    /// Whether a commit would change nothing and everything that belongs there is there.
    pub fn is_clean(&self) -> bool {
        let unchanged = self.added.is_empty() && self.removed.is_empty() && self.changed.is_empty();
        self.layout == Layout::Current && unchanged && self.pointer.version().is_some()
    }
}

/// A dataset of which nothing can be said.
#[derive(Debug)]
pub struct Problem {
    /// The data, relative to the project.
    pub path: String,
    /// Why not.
    pub error: Box<VersionsError>,
}

/// Files that somebody asks for, by path inside a dataset; of a single file its name.
pub(super) type Wanted = BTreeSet<String>;

/// A dataset that was looked at.
struct Examined {
    status: Status,
    /// The index is missing or damaged, and there are files to compare.
    blind: bool,
}

impl Workspace {
    /// What changed in the work tree since it was laid out or added, of these datasets or of all.
    ///
    /// Reads metadata, and those files whose metadata differs from that of the index. Neither opens the store nor waits
    /// for another process, unless an index is missing or damaged.
    pub fn status<'a>(&'a self, names: &'a [DatasetName]) -> BoxFuture<'a, Result<Vec<Status>, VersionsError>> {
        Box::pin(async move {
            let each = self.status_each(names).await?;
            each.into_iter().map(|status| status.map_err(|problem| *problem.error)).collect()
        })
    }

    /// Like [`Workspace::status`], with what is wrong with a dataset beside the others: a pointer that cannot be read or
    /// was renamed, or gives what is laid out another size than that has; a name that two have, a symbolic link in the data;
    /// what a checkout that did not finish left half laid out.
    pub fn status_each<'a>(
        &'a self,
        names: &'a [DatasetName],
    ) -> BoxFuture<'a, Result<Vec<Result<Status, Problem>>, VersionsError>> {
        Box::pin(async move {
            let (this, wanted) = (self.clone(), names.to_vec());
            let examined = blocking(move || {
                let opened = this.open_each(&wanted)?;
                let examine = |opened: Result<Opened, Problem>| {
                    let opened = opened?;
                    let looked_at = this
                        .check_not_left(&opened.pointer.name, &opened.place.path)
                        .and_then(|()| check_against_index(&opened))
                        .and_then(|()| this.examine(&opened, None));
                    match looked_at {
                        Ok(examined) => Ok((examined, opened)),
                        Err(error) => Err(Problem { path: opened.place.path, error: Box::new(error) }),
                    }
                };
                Ok(opened.into_iter().map(examine).collect::<Vec<_>>())
            })
            .await?;
            let mut statuses = Vec::with_capacity(examined.len());
            for examined in examined {
                statuses.push(match examined {
                    Ok((examined, opened)) if examined.blind => {
                        let path = opened.place.path.clone();
                        self.status_blind(opened, None).await.map_err(|error| Problem { path, error: Box::new(error) })
                    }
                    Ok((examined, _)) => Ok(examined.status),
                    Err(problem) => Err(problem),
                });
            }
            Ok(statuses)
        })
    }

    /// What changed in one dataset since it was laid out or added. Of changed files only the `wanted` ones are read; whether
    /// others changed is not told.
    pub(super) async fn status_of(&self, opened: Opened, wanted: Arc<Wanted>) -> Result<Status, VersionsError> {
        let (this, looked_at, these) = (self.clone(), opened.clone(), Arc::clone(&wanted));
        let examined = blocking(move || this.examine(&looked_at, Some(&these))).await?;
        if examined.blind { self.status_blind(opened, Some(wanted)).await } else { Ok(examined.status) }
    }

    /// The datasets of these names, or all; of those that are chosen by no name, each problem by itself.
    pub(super) fn open_each(&self, names: &[DatasetName]) -> Result<Vec<Result<Opened, Problem>>, VersionsError> {
        if !names.is_empty() {
            return Ok(self.open_now(names)?.into_iter().map(Ok).collect());
        }
        let tracked = discover(self.root())?;
        let good = |tracked: &Tracked| Some((tracked.place.clone(), tracked.pointer.as_ref().ok()?.clone()));
        let all: Vec<_> = tracked.iter().filter_map(good).collect();
        let open = |Tracked { place, pointer }| {
            let path = place.path.clone();
            let opened = pointer.and_then(|pointer| {
                check_name(&place, &pointer, &all)?;
                self.with_index(place, pointer)
            });
            opened.map_err(|error| Problem { path, error: Box::new(error) })
        };
        Ok(tracked.into_iter().map(open).collect())
    }

    /// Compares with the files of the pointer, all of which are read, or the `wanted` ones.
    async fn status_blind(&self, opened: Opened, wanted: Option<Arc<Wanted>>) -> Result<Status, VersionsError> {
        let opened = match self.index_again(opened.clone()).await {
            Ok(opened) => opened,
            Err(VersionsError::ContentMissing { .. }) => {
                let this = self.clone();
                let mut status = blocking(move || Ok(this.examine(&opened, wanted.as_deref())?.status)).await?;
                status.layout = Layout::Unknown;
                return Ok(status);
            }
            Err(error) => return Err(error),
        };
        let this = self.clone();
        blocking(move || Ok(this.examine(&opened, wanted.as_deref())?.status)).await
    }

    /// An index of what the pointer names, which trusts no file.
    pub(crate) async fn index_again(&self, opened: Opened) -> Result<Opened, VersionsError> {
        let Opened { place, pointer, .. } = opened;
        let content = Content::of(&pointer);
        let files = self.files_here(&pointer.name, &content, place.file_name()).await?;
        let (root, kind, state) = (content.root, content.kind, pointer.state);
        let head = IndexHead { root, kind, state, path: place.path.clone(), selection: None, settled: i64::MIN };
        let mut index = Index::new(head);
        for file in &files {
            let stat = Stat { size: file.size, executable: file.executable, ..Stat::default() };
            index.push(IndexEntry { path: &file.path, stat, digest: file.digest, absent: false });
        }
        Ok(Opened { place, pointer, index: Some(index) })
    }

    /// Looks at one dataset; of the files whose metadata differs reads all or the `wanted` ones; blocks.
    fn examine(&self, opened: &Opened, wanted: Option<&Wanted>) -> Result<Examined, VersionsError> {
        let Opened { place, pointer, index } = opened;
        // With the lock, what is read now need not be read again next time.
        let lock = self.lock_now();
        let settled = lock.as_ref().and_then(|_| clock(&self.work_folder()).ok());
        let mut status = Status {
            path: place.path.clone(),
            pointer: pointer.clone(),
            layout: Layout::Missing,
            selection: index.as_ref().and_then(|index| index.head.selection.clone()),
            added: Vec::new(),
            removed: Vec::new(),
            changed: Vec::new(),
        };
        if files::kind(&place.data)?.is_none() {
            return Ok(Examined { status, blind: false });
        }
        // What a link leads to is not what was laid out here, and no commit takes it.
        place.check_kind(self.root())?;
        let here = kind_here(&place.data, pointer.kind)?;
        if (here == Kind::Folder) != (pointer.kind == Kind::Folder) {
            let work = look(&Data::at(&place.data, here).with_links(pointer.links), None)?;
            status.fill_anew(&work, index.as_ref());
            return Ok(Examined { status, blind: false });
        }
        let mut work = look(&Data::at(&place.data, pointer.kind).with_links(pointer.links), index.as_ref())?;
        let is_read = |file: &Found| file.at.is_some() && wanted.is_none_or(|wanted| wanted.contains(&file.path));
        let unsure = work.files.iter().any(|file| file.digest.is_none() && is_read(file));
        work.hash(is_read)?;
        status.fill(&work, index.as_ref());
        if let (Some(index), Some(settled), true) = (index, settled, unsure) {
            self.index_refresh(&pointer.name, index, &work, settled);
        }
        let blind = index.is_none() && !work.files.is_empty();
        Ok(Examined { status, blind })
    }

    fn index_refresh(&self, name: &DatasetName, index: &Index, work: &Work, settled: i64) {
        // An index that cannot be written now costs the same reading next time, and nothing else.
        let _ = index.refreshed(&work.files, settled).save(&self.index_path(name));
    }
}

impl Status {
    /// Of a folder that became a file, or the reverse: what was is gone, what is is new.
    fn fill_anew(&mut self, work: &Work, index: Option<&Index>) {
        self.layout = Layout::Current;
        let size = |path: &str, size| SizedFile { path: path.to_owned(), size };
        self.added = work.files.iter().map(|file| size(&file.path, file.stat.size)).collect();
        let laid_out = index.into_iter().flat_map(Index::iter).filter(|entry| !entry.absent);
        self.removed = laid_out.map(|entry| size(entry.path, entry.stat.size)).collect();
    }

    fn fill(&mut self, work: &Work, index: Option<&Index>) {
        self.layout = match index {
            Some(index) if index.head.root != self.pointer.digest => Layout::Outdated { laid_out: index.head.root },
            _ => Layout::Current,
        };
        for file in &work.files {
            let entry = file.at.and_then(|at| index?.get(at));
            match entry {
                None => self.added.push(SizedFile { path: file.path.clone(), size: file.stat.size }),
                Some(entry) => self.changed.extend(change(file, &entry)),
            }
        }
        let missing = work.missing.iter().filter_map(|at| index?.get(*at));
        self.removed = missing.map(|entry| SizedFile { path: entry.path.to_owned(), size: entry.stat.size }).collect();
    }
}

/// None of a file that was not read, too.
fn change(file: &Found, entry: &IndexEntry<'_>) -> Option<ChangedFile> {
    let content = file.digest? != entry.digest;
    let (from, to, executable) = (entry.stat.size, file.stat.size, file.stat.executable);
    let executable = (executable != entry.stat.executable).then_some(executable);
    let differs = content || executable.is_some();
    differs.then(|| ChangedFile { path: file.path.clone(), from, to, content, executable })
}
