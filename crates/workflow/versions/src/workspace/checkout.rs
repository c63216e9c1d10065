use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use futures::future::BoxFuture;
use ropewalk_store::files::{self, EntryKind, OddNames, ScanNext};
use ropewalk_store::{LaidOut, LinkMode, Store, TransferProgress, TreeFile};
use ropewalk_types::{DatasetName, Digest};
use serde::Serialize;

use super::plan::{Plan, Planning, find};
use super::source::{Supply, tops};
use super::unversioned::going;
use super::{Content, Opened, Workspace};
use crate::discovery::Place;
use crate::error::{VersionsError, blocking};
use crate::index::{Index, IndexEntry, IndexHead, Stat};
use crate::pointer::{Kind, Pointer};
use crate::selection::{Matcher, Selection};
use crate::work::{Data, Found, check_kind, clock, kind_here, look};

/// How long to wait for the clock of the file system to move on.
const TICK: Duration = Duration::from_millis(25);

/// What to lay out.
#[derive(Clone, Debug)]
pub struct CheckoutRequest {
    /// The dataset.
    pub name: DatasetName,
    /// The version by any of its names; none for what the pointer names.
    pub version: Option<String>,
    /// Which of its files.
    pub selection: Selection,
    /// How files come from the store.
    pub mode: LinkMode,
    /// Whether changes that no version holds may be lost.
    pub force: bool,
}

impl CheckoutRequest {
    /// All that the pointer of `name` names, with nothing lost.
    pub fn of(name: DatasetName) -> Self {
        Self { name, version: None, selection: Selection::Recorded, mode: LinkMode::Auto, force: false }
    }
}

/// What was laid out.
#[derive(Clone, Debug, Serialize)]
pub struct CheckedOut {
    /// The dataset.
    pub name: DatasetName,
    /// The data, relative to the project.
    pub path: String,
    /// The version, if the content is one.
    pub version: Option<Digest>,
    /// The content.
    pub root: Digest,
    /// Files that were written.
    pub written: u64,
    /// Files that were removed.
    pub removed: u64,
    /// Files with changes that were left as they are, because the version changes nothing about them.
    pub kept: Vec<String>,
    /// Files that were not asked for.
    pub left_out: u64,
    /// How the files came from the store.
    #[serde(skip)]
    pub laid_out: LaidOut,
}

/// Content on its way into the work tree.
pub(crate) struct Laying<'a> {
    pub(crate) opened: Opened,
    pub(crate) content: Content,
    /// The version as it was asked for.
    pub(crate) version: Option<String>,
    pub(crate) selection: &'a Selection,
    pub(crate) mode: LinkMode,
    pub(crate) force: bool,
    /// Where content comes from that the project's store lacks; by default the project's remote.
    pub(crate) from: Option<&'a Store>,
}

impl<'a> Laying<'a> {
    /// With nothing lost, and content from the usual places.
    pub(crate) fn of(opened: Opened, content: Content, selection: &'a Selection, mode: LinkMode) -> Self {
        Self { opened, content, version: None, selection, mode, force: false, from: None }
    }
}

impl Workspace {
    /// Lays out a version, or what the pointer names, and removes files that it lacks.
    ///
    /// A pattern of the selection that fits no file is [`VersionsError::UnknownFile`], before anything is changed. Files
    /// that hold changes are not touched: it fails before it begins with [`VersionsError::WouldOverwrite`] if one
    /// would have to be, unless forced. Files that were never added stay where they are.
    pub fn checkout<'a>(
        &'a self,
        request: CheckoutRequest,
        progress: &'a dyn TransferProgress,
    ) -> BoxFuture<'a, Result<CheckedOut, VersionsError>> {
        Box::pin(async move {
            let _lock = self.lock().await?;
            self.checkout_locked(request, None, progress).await
        })
    }

    pub(crate) async fn checkout_locked(
        &self,
        request: CheckoutRequest,
        from: Option<&Store>,
        progress: &dyn TransferProgress,
    ) -> Result<CheckedOut, VersionsError> {
        let CheckoutRequest { name, version, selection, mode, force } = request;
        let opened = self.open_one(&name).await?;
        let content = match &version {
            None => self.pointed(&opened.pointer).await,
            Some(spec) => self.content_of(&name, spec, progress).await.map(|found| found.0),
        };
        let content = content.map_err(|error| error.about(&name, None))?;
        let (selection, known) = (&selection, content.version);
        let laying = Laying { version, force, from, ..Laying::of(opened, content, selection, mode) };
        self.lay(laying, progress).await.map_err(|error| error.about(&name, known))
    }

    /// Brings the work tree to some content; needs the lock. The index comes after the files, the pointer last.
    pub(crate) async fn lay(
        &self,
        laying: Laying<'_>,
        progress: &dyn TransferProgress,
    ) -> Result<CheckedOut, VersionsError> {
        let Laying { opened, content, version, selection, mode, force, from } = laying;
        check_committed(&opened.pointer, opened.index.as_ref(), &content, force)?;
        let room = force || self.may_make_room(&opened, &content).await?;
        let Opened { place, pointer, index } = opened;
        let name = pointer.name.clone();
        let patterns = selection.patterns(index.as_ref().and_then(|index| index.head.selection.as_deref()));
        let matcher = Matcher::new(patterns.as_deref())?;
        let target = self.files_of(&name, &content, place.file_name(), from).await?;
        self.check_facts(&place.pointer, &name, &content, &target, from).await?;
        self.check_chosen(&name, version.as_deref(), &Matcher::new(selection.chosen())?, &target).await?;
        let whole = patterns.is_none();
        let supply = Supply { name: &name, content: &content, files: &target, whole, from };
        self.room_make(&place, room, supply, &matcher, progress).await?;

        let data = Data::at(&place.data, content.kind).with_links(pointer.links);
        let begun = self.begun(&name, place.file_name()).await?;
        let linked = if mode == LinkMode::Copy { Some(self.cache_folder()) } else { None };
        let versioned = pointer.version().map(|_| pointer.digest);
        let sides = Sides { name: name.clone(), data: data.clone(), index, versioned, target, begun, linked };
        let (plan, target, begun) = self.planned(sides, &matcher, force).await?;
        check_way(&name, &plan)?;

        self.supply(Supply { name: &name, content: &content, files: &plan.write, whole, from }, progress).await?;
        let pointer = content.pointer_like(&pointer);
        if !(plan.write.is_empty() && plan.remove.is_empty()) {
            self.begin(&pointer, None, &plan.write, &begun).await?;
        }
        let (written, removed) = (plan.write.len() as u64, plan.remove.len() as u64);
        let (gone, folder, is_folder) = (plan.remove, data.directory.clone(), content.kind == Kind::Folder);
        blocking(move || {
            remove_files(&folder, &gone)?;
            if is_folder { Ok(()) } else { Ok(files::create_directories(&folder)?) }
        })
        .await?;
        let laid_out = Box::pin(self.files_lay_out(&plan.write, &data.directory, mode, from, progress)).await;
        let laid_out = laid_out.map_err(|error| error.in_half(&name, content.version, &place.path))?;
        if is_folder && target.is_empty() {
            let folder = data.directory.clone();
            blocking(move || Ok(files::create_directories(&folder)?)).await?;
        }
        let head = IndexHead {
            root: content.root,
            kind: content.kind,
            state: pointer.state,
            path: place.path.clone(),
            selection: patterns,
            settled: 0,
        };
        let (clock_folder, wrote, kept) = (self.work_folder(), written > 0, plan.kept.clone());
        let (index, left_out) =
            blocking(move || index_of(head, &data, &clock_folder, &target, &matcher, &kept, wrote)).await?;
        self.write_down(&place, &pointer, Some(index)).await?;
        self.end(&name).await?;
        Ok(CheckedOut {
            name,
            path: place.path,
            version: content.version,
            root: content.root,
            written,
            removed,
            kept: plan.kept,
            left_out,
            laid_out,
        })
    }
}

impl Workspace {
    /// Fails as [`Workspace::lay`] would, if what lies in the work tree is in the way of these files; nothing is changed.
    pub(super) async fn check_layable(
        &self,
        opened: &Opened,
        content: &Content,
        files: Vec<TreeFile>,
    ) -> Result<(), VersionsError> {
        let Opened { place, pointer, index } = opened.clone();
        check_committed(&pointer, index.as_ref(), content, false)?;
        let (name, selection) = (pointer.name.clone(), Selection::Recorded);
        let patterns = selection.patterns(index.as_ref().and_then(|index| index.head.selection.as_deref()));
        let matcher = Matcher::new(patterns.as_deref())?;
        let data = Data::at(&place.data, content.kind).with_links(pointer.links);
        let begun = self.begun(&name, place.file_name()).await?;
        let versioned = pointer.version().map(|_| pointer.digest);
        let sides = Sides { name: name.clone(), data, index, versioned, target: files, begun, linked: None };
        let (plan, ..) = Box::pin(self.planned(sides, &matcher, false)).await?;
        check_way(&name, &plan)
    }

    /// Refuses patterns that fit none of the files, of which the first is named.
    pub(super) async fn check_chosen(
        &self,
        name: &DatasetName,
        version: Option<&str>,
        chosen: &Matcher,
        files: &[TreeFile],
    ) -> Result<(), VersionsError> {
        let Some(path) = chosen.idle(files).first().map(|&path| path.to_owned()) else { return Ok(()) };
        let dataset = self.pointers().await?.iter().any(|pointer| pointer.name.as_str() == path);
        let (name, version) = (name.clone(), version.map(str::to_owned));
        Err(VersionsError::UnknownFile { name, version, path, known: tops(files), dataset })
    }
}

/// What a checkout goes from and to.
struct Sides {
    name: DatasetName,
    data: Data,
    index: Option<Index>,
    /// What the pointer names, if that is a version.
    versioned: Option<Digest>,
    target: Vec<TreeFile>,
    /// What a killed checkout was laying out.
    begun: Vec<TreeFile>,
    /// The folder of files whose second names are to become files of their own.
    linked: Option<PathBuf>,
}

impl Workspace {
    /// What is to be done; gives back the target, and what a killed checkout was laying out.
    async fn planned(
        &self,
        sides: Sides,
        matcher: &Matcher,
        force: bool,
    ) -> Result<(Plan, Vec<TreeFile>, Vec<TreeFile>), VersionsError> {
        let (work, linked, Sides { name, index, versioned, target, begun, .. }) = blocking(move || {
            let linked = sides.linked.as_deref().map(inodes).transpose()?.unwrap_or_default();
            let mut work = look(&sides.data, sides.index.as_ref())?;
            work.clear_leftovers()?;
            // A file that is neither known nor wanted need not be read.
            let wanted = |file: &Found| find(&sides.target, &file.path).or_else(|| find(&sides.begun, &file.path));
            work.hash(|file| file.at.is_some() || wanted(file).is_some())?;
            Ok((work, linked, sides))
        })
        .await?;
        let (ours, index) = (self.ours(&work, &begun).await?, index.as_ref());
        let planning = Planning { index, work: &work, target: &target, matcher, linked: &linked, ours: &ours, force };
        let mut plan = planning.plan();
        if let Some(index) = index.filter(|index| !force && versioned != Some(index.head.root)) {
            let going = going(index, &work, plan.goes(&ours), &target);
            plan.block(self.in_no_version(&name, &index.head, going).await?);
        }
        plan.find_links(work.links);
        Ok((plan, target, begun))
    }
}

impl Workspace {
    /// Makes room for content where that is a file and a folder lies there, or the reverse. What makes room goes only once
    /// those of the files are here that the matcher wants.
    async fn room_make(
        &self,
        place: &Place,
        room: bool,
        supply: Supply<'_>,
        matcher: &Matcher,
        progress: &dyn TransferProgress,
    ) -> Result<(), VersionsError> {
        let (name, kind) = (supply.name.clone(), supply.content.kind);
        let (here, root) = (place.clone(), self.root().to_owned());
        let in_the_way = blocking(move || {
            if files::kind(&here.data)?.is_some() {
                here.check_kind(&root)?;
            }
            Ok(!make_room(&here.data, kind, false)?)
        });
        if !in_the_way.await? {
            return Ok(());
        }
        if !room {
            return Err(VersionsError::WouldOverwrite { name, paths: vec![place.path.clone()] });
        }
        let files: Vec<_> = supply.files.iter().filter(|file| matcher.matches(&file.path)).cloned().collect();
        self.supply(Supply { files: &files, ..supply }, progress).await?;
        let data = place.data.clone();
        blocking(move || make_room(&data, kind, true)).await.map(drop)
    }

    /// Whether what is laid out may make room for another kind of data: if no change is in it.
    async fn may_make_room(&self, opened: &Opened, content: &Content) -> Result<bool, VersionsError> {
        let place = opened.place.clone();
        let (was, becomes) = (opened.pointer.kind, content.kind);
        let here = blocking(move || {
            let there = files::kind(&place.data)?.is_some();
            there.then(|| kind_here(&place.data, becomes)).transpose()
        })
        .await?;
        if here.is_none_or(|here| (here == Kind::Folder) == (becomes == Kind::Folder)) {
            return Ok(false);
        }
        if opened.pointer.version().is_none() || (was == Kind::Folder) == (becomes == Kind::Folder) {
            let (path, data) = (opened.place.path.clone(), opened.place.data.clone());
            blocking(move || check_kind(&path, &data, becomes)).await?;
        }
        self.check_unchanged(opened).await?;
        Ok(true)
    }
}

/// Refuses a plan that something is in the way of.
fn check_way(name: &DatasetName, plan: &Plan) -> Result<(), VersionsError> {
    let (name, Plan { blocked, links, .. }) = (name.clone(), plan);
    match (blocked.is_empty(), links.is_empty()) {
        (false, _) => Err(VersionsError::WouldOverwrite { name, paths: blocked.clone() }),
        (true, false) => Err(VersionsError::LinksInTheWay { name, paths: links.clone() }),
        (true, true) => Ok(()),
    }
}

/// What was added and is in no version may only go if that was asked for.
fn check_committed(
    pointer: &Pointer,
    index: Option<&Index>,
    content: &Content,
    force: bool,
) -> Result<(), VersionsError> {
    let added = index.is_some_and(|index| {
        let head = &index.head;
        head.state.version().is_none() && head.root == pointer.digest && pointer.version().is_none()
    });
    if added && !force && content.root != pointer.digest {
        return Err(VersionsError::Uncommitted { name: pointer.name.clone() });
    }
    Ok(())
}

/// Removes a folder where a file is to be, or a file where a folder is to be, if that was asked for; says whether there
/// is room then.
fn make_room(data: &Path, kind: Kind, force: bool) -> Result<bool, VersionsError> {
    match (files::kind(data)?, kind) {
        (Some(EntryKind::File), Kind::Folder) if force => Ok(files::remove_file(data)?),
        (Some(EntryKind::Directory), Kind::File | Kind::Executable) if force => Ok(files::remove_directory(data)?),
        (Some(EntryKind::File), Kind::Folder) | (Some(EntryKind::Directory), Kind::File | Kind::Executable) => {
            Ok(false)
        }
        _ => Ok(true),
    }
}

/// The numbers of all files below `folder` on their file system.
fn inodes(folder: &Path) -> Result<HashSet<u64>, VersionsError> {
    let mut found = HashSet::new();
    let scanned = files::scan(folder, OddNames::LeftOut, &mut |entry| {
        // 0 where the platform has none.
        if entry.kind == EntryKind::File && entry.inode != 0 {
            found.insert(entry.inode);
        }
        ScanNext::Enter
    });
    match scanned {
        Err(error) if error.is_not_found() => Ok(found),
        result => Ok(result.map(|()| found)?),
    }
}

/// Removes files, and the folders that are empty then.
pub(super) fn remove_files(folder: &Path, paths: &[String]) -> Result<(), VersionsError> {
    let mut folders = std::collections::BTreeSet::new();
    for path in paths {
        files::remove_file(&folder.join(path))?;
        folders.extend(path.match_indices('/').filter_map(|(end, _)| path.get(..end)));
    }
    // The longest first: a folder comes after what lies in it.
    for path in folders.into_iter().rev() {
        let path = folder.join(path);
        if files::kind(&path)? == Some(EntryKind::Directory) && files::list(&path)?.is_empty() {
            files::remove_directory(&path)?;
        }
    }
    Ok(())
}

/// The index of what was laid out, and how many files were left out.
pub(super) fn index_of(
    head: IndexHead,
    data: &Data,
    clock_folder: &Path,
    target: &[TreeFile],
    matcher: &Matcher,
    kept: &[String],
    wrote: bool,
) -> Result<(Index, u64), VersionsError> {
    let settled = if wrote { next_tick(clock_folder)? } else { clock(clock_folder)? };
    let work = look(data, None)?;
    let mut index = Index::new(IndexHead { settled, ..head });
    let mut left_out = 0;
    for file in target {
        let unknown = Stat { size: file.size, executable: file.executable, ..Stat::default() };
        let absent = !matcher.matches(&file.path);
        left_out += u64::from(absent);
        let kept = kept.binary_search(&file.path).is_ok();
        // What somebody changed meanwhile must not look as if it were the version's.
        let fits = |stat: &Stat| (stat.size, stat.executable) == (file.size, file.executable);
        let found = work.find(&file.path).map(|found| found.stat).filter(|stat| !absent && !kept && fits(stat));
        let stat = found.unwrap_or(unknown);
        index.push(IndexEntry { path: &file.path, stat, digest: file.digest, absent });
    }
    Ok((index, left_out))
}

/// A moment of the file system's clock after all that was written until now, so that it need not be read again.
///
/// Where the clock stands still for longer, as it does for two seconds on FAT, those files will be read once more.
fn next_tick(folder: &Path) -> Result<i64, VersionsError> {
    let written = clock(folder)?;
    let started = std::time::Instant::now();
    loop {
        let now = clock(folder)?;
        if now > written || started.elapsed() > TICK {
            return Ok(now);
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}
