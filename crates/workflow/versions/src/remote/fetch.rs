use std::collections::{BTreeMap, BTreeSet, HashSet};

use futures::future::BoxFuture;
use ropewalk_store::{LinkMode, Root, Store, TransferProgress, Transferred};
use ropewalk_types::{DatasetName, Digest, TagName};
use serde::Serialize;

use super::removals::{RefusedRemoval, removals_carry, tags_of_there};
use super::{RefusedTag, content_root, has, lacking, of};
use crate::discovery::Place;
use crate::error::VersionsError;
use crate::history::{self, Advance, History, Refs, Resolved};
use crate::index::Index;
use crate::pointer::{Links, Pointer, PointerState};
use crate::selection::Selection;
use crate::trail::{Act, Adopting};
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
#[derive(Clone, Debug, Default, Serialize)]
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
    /// Versions that refs of the remote name and whose objects it has lost; these refs were not taken over.
    pub lost: Vec<(DatasetName, Digest)>,
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
        add_new(&mut self.lost, next.lost);
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

/// What was pulled.
#[derive(Debug, Default, Serialize)]
pub struct Pulled {
    /// What was fetched.
    pub fetched: Fetched,
    /// What was laid out.
    pub checked_out: Vec<CheckedOut>,
    /// Datasets whose latest version is not what is laid out now, and that version.
    pub behind: Vec<(DatasetName, Digest)>,
    /// Datasets of which nothing was laid out: what was to be was removed, or the pointer cannot be read, such as one with
    /// git's conflict markers.
    #[serde(skip)]
    pub gone: Vec<Problem>,
}

/// Whose content comes along with the versions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wanted {
    /// Of none.
    Nothing,
    /// Of what pointers name; of the head where there is no pointer.
    Pointers,
    /// Also of the head.
    Heads,
    /// Also of the versions beside the head.
    Tips,
    /// Of every version.
    Everything,
}

impl Workspace {
    /// Brings versions, tags and content from another store: of these datasets, or of all that are tracked.
    ///
    /// The content of pointers, heads and versions beside them comes along, or that of every version. The head here is
    /// moved if it lies behind the remote's; else the remote's is kept beside it, to be merged. Nothing is laid out.
    pub fn fetch<'a>(
        &'a self,
        remote: &'a Store,
        names: &'a [DatasetName],
        every_version: bool,
        progress: &'a dyn TransferProgress,
    ) -> BoxFuture<'a, Result<Fetched, VersionsError>> {
        let wanted = if every_version { Wanted::Everything } else { Wanted::Tips };
        Box::pin(async move { Ok(self.bring(remote, names, wanted, progress).await?.0) })
    }

    /// Fetches, and lays out what the pointers name, or the latest versions.
    ///
    /// A pointer is enough: its content is found by digest even where the remote has no ref of that dataset. A dataset
    /// without a pointer is laid out where it lay in the project that made its latest version. Pointers that cannot be read
    /// are in nobody's way: they are among what is [`Pulled::gone`], and of those with git's conflict markers both sides
    /// are fetched.
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
            let (fetched, names) = self.bring(remote, names, wanted, progress).await?;
            let unreadable = self.unreadable().await?;
            let (unreadable_names, problems) = unreadable_of(unreadable, &names, all);
            let store = self.store().await?;
            let refs = history::refs_of(store, &names).await?;
            let mut pulled = Pulled { fetched, checked_out: Vec::new(), behind: Vec::new(), gone: problems };
            for name in names.into_iter().filter(|name| !unreadable_names.contains(name)) {
                match self.pull_one(remote, &name, &options, progress).await {
                    Ok(laid_out) => {
                        let refs = of(&refs, &name);
                        let latest = match &refs.head {
                            Some(head) => History { stores: &[store] }.remaining(&refs, &head.version).await?,
                            None => None,
                        };
                        let later = latest.filter(|latest| laid_out.version != Some(*latest));
                        pulled.behind.extend(later.map(|latest| (name, latest)));
                        pulled.checked_out.push(laid_out);
                    }
                    // The others are whole all the same.
                    Err(error @ VersionsError::Removed { .. }) => {
                        pulled.gone.push(Problem { path: name.to_string(), error: Box::new(error) });
                    }
                    Err(error) => return Err(error),
                }
            }
            Ok(pulled)
        })
    }

    async fn pull_one(
        &self,
        remote: &Store,
        name: &DatasetName,
        options: &PullOptions,
        progress: &dyn TransferProgress,
    ) -> Result<CheckedOut, VersionsError> {
        let pointer = self.pointers().await?.into_iter().find(|pointer| pointer.name == *name);
        let version = match &pointer {
            Some(pointer) if options.to == PullTo::Pointer => pointer.version(),
            _ => Some(self.resolve(name, "latest").await?.digest),
        };
        self.announce(name, version, Act::Pull { remote: options.remote.clone() }).await?;
        if pointer.is_none() {
            return self.lay_first(remote, name, options, progress).await;
        }
        let version = (options.to == PullTo::Latest).then(|| "latest".to_owned());
        let (selection, mode, force) = (options.selection.clone(), options.mode, options.force);
        let request = CheckoutRequest { name: name.clone(), version, selection, mode, force };
        self.checkout_locked(request, Some(remote), progress).await
    }

    /// Brings versions and tags of a dataset, and no content.
    pub(crate) async fn history_bring(
        &self,
        remote: &Store,
        name: &DatasetName,
        progress: &dyn TransferProgress,
    ) -> Result<(), VersionsError> {
        self.bring(remote, std::slice::from_ref(name), Wanted::Nothing, progress).await.map(drop)
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

    /// Brings what is wanted and moves refs; gives the names that were meant.
    async fn bring(
        &self,
        remote: &Store,
        names: &[DatasetName],
        wanted: Wanted,
        progress: &dyn TransferProgress,
    ) -> Result<(Fetched, Vec<DatasetName>), VersionsError> {
        let store = self.store().await?;
        let pointers = self.pointers().await?;
        let names: Vec<_> = match names {
            [] => pointers.iter().map(|pointer| pointer.name.clone()).collect::<BTreeSet<_>>().into_iter().collect(),
            names => names.to_vec(),
        };
        let (ours, theirs) = futures::try_join!(history::refs_of(store, &names), history::refs_of(remote, &names))?;
        let mut fetched = Fetched::default();
        let mut roots = BTreeSet::new();
        for name in &names {
            let pointers: Vec<_> = pointers.iter().filter(|pointer| pointer.name == *name).collect();
            let found = self.wanted(remote, &of(&ours, name), &of(&theirs, name), &pointers, wanted).await?;
            if !found.known {
                fetched.missing.push(name.clone());
            }
            roots.extend(found.roots);
        }
        if !roots.is_empty() {
            let roots: Vec<_> = roots.into_iter().collect();
            fetched.transferred = remote.link_to(store, &roots, progress).await?;
        }
        for name in &names {
            let told = Adopting { workspace: self, place: remote.place() };
            let (ours, theirs) = (of(&ours, name), of(&theirs, name));
            let theirs = without_lost((store, remote), name, &theirs, &mut fetched).await?;
            self.removals_fetch(name, &ours, &theirs, told, &mut fetched).await?;
            refs_fetch(store, name, &ours, &theirs, &mut fetched).await?;
        }
        Ok((fetched, names))
    }

    async fn wanted(
        &self,
        remote: &Store,
        ours: &Refs,
        theirs: &Refs,
        pointers: &[&Pointer],
        wanted: Wanted,
    ) -> Result<Found, VersionsError> {
        let store = self.store().await?;
        let history = History { stores: &[store, remote] };
        let mut versions: BTreeMap<_, _> = lacking(history, theirs, ours).await?.into_iter().collect();
        let mut found = Found { roots: Vec::new(), known: !theirs.versions().is_empty() };
        let gone = |version: &Digest| ours.removed.contains_key(version) || theirs.removed.contains_key(version);
        for pointer in pointers {
            let root = content_root(pointer.kind, pointer.digest);
            let (here, there) = (has(store, &root).await?, has(remote, &root).await?);
            found.known |= here || there;
            let wanted = wanted != Wanted::Nothing && !pointer.version().is_some_and(|version| gone(&version));
            found.roots.extend((!here && there && wanted).then_some(root));
            // A version that only the pointer names, with those behind it.
            if let Some(version) = pointer.ancestor().filter(|version| !versions.contains_key(version)) {
                let known = ours.versions().into_iter().collect();
                versions.extend(history.ancestors(&[version], &known).await?);
            }
        }
        let mut named = BTreeSet::new();
        let head = match wanted {
            Wanted::Nothing => false,
            Wanted::Pointers => pointers.is_empty(),
            Wanted::Heads | Wanted::Tips | Wanted::Everything => true,
        };
        if let Some(head) = theirs.head.filter(|_| head) {
            let mut removed = theirs.removed.clone();
            removed.extend(ours.removed.clone());
            let both = Refs { removed, ..Refs::default() };
            named.extend(history.remaining(&both, &head.version).await?);
        }
        if wanted == Wanted::Tips {
            named.extend(theirs.tips.iter().copied());
        }
        if wanted == Wanted::Everything {
            named.extend(
                history.ancestors(&theirs.versions(), &HashSet::new()).await?.into_iter().map(|(digest, _)| digest),
            );
        }
        for digest in named.into_iter().filter(|version| !gone(version)) {
            if let Some(version) = history.find(&digest).await? {
                let root = content_root(version.kind, version.root);
                if !has(store, &root).await? && has(remote, &root).await? {
                    found.roots.push(root);
                }
            }
        }
        for digest in versions.into_keys() {
            let root = Root::Blob(digest);
            if !has(store, &root).await? && has(remote, &root).await? {
                found.roots.push(root);
            }
        }
        Ok(found)
    }
}

impl Workspace {
    /// Takes over tags, those that were deleted, and versions that were removed; whole files of those leave the cache. The
    /// trail hears of each before it is to be seen.
    async fn removals_fetch(
        &self,
        name: &DatasetName,
        ours: &Refs,
        theirs: &Refs,
        told: Adopting<'_>,
        fetched: &mut Fetched,
    ) -> Result<(), VersionsError> {
        let store = self.store().await?;
        let (tags, gone) = tags_of_there(theirs, ours);
        let carried = history::tags_adopt(&tags, store, name, ours, told).await?;
        fetched.tags += carried.set;
        fetched.deleted_tags.extend(carried.deleted.into_iter().map(|tag| (name.clone(), tag)));
        for (tag, local) in carried.refused.into_iter().chain(gone) {
            let remote = theirs.tags.get(&tag).map_or(local, |at| at.version);
            fetched.refused_tags.push(RefusedTag { name: name.clone(), tag, local, remote });
        }
        let removed = removals_carry(theirs, store, name, &mut fetched.refused_removals, Some(told)).await?;
        let history = History { stores: &[store] };
        for version in removed {
            if let Some(object) = history.find(&version).await? {
                self.uncache(name, &[Resolved { digest: version, version: object }]).await?;
            }
            fetched.removed.push((name.clone(), version));
        }
        Ok(())
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

/// What a remote has of a dataset.
struct Found {
    /// What is to be brought.
    roots: Vec<Root>,
    /// Whether it has anything, or nothing is needed.
    known: bool,
}

/// The refs of a remote without those that name versions whose objects neither it nor the project's store has, which are
/// noted: nobody could tell what these versions are, nor what lies behind them.
async fn without_lost(
    (store, remote): (&Store, &Store),
    name: &DatasetName,
    theirs: &Refs,
    fetched: &mut Fetched,
) -> Result<Refs, VersionsError> {
    let (mut kept, mut lost) = (theirs.clone(), BTreeSet::new());
    for version in theirs.named().collect::<BTreeSet<_>>() {
        let object = Root::Blob(version);
        if !has(store, &object).await? && !has(remote, &object).await? {
            lost.insert(version);
        }
    }
    kept.head = kept.head.filter(|head| !lost.contains(&head.version));
    kept.tags.retain(|_, at| !lost.contains(&at.version));
    kept.tips.retain(|version| !lost.contains(version));
    fetched.lost.extend(lost.into_iter().map(|version| (name.clone(), version)));
    Ok(kept)
}

async fn refs_fetch(
    store: &Store,
    name: &DatasetName,
    ours: &Refs,
    theirs: &Refs,
    fetched: &mut Fetched,
) -> Result<(), VersionsError> {
    let history = History { stores: &[store] };
    if let Some(head) = theirs.head.filter(|head| ours.head.is_none_or(|ours| ours.version != head.version)) {
        match history::advance(store, history, name, &head.version).await? {
            // Of a head that was removed, there is nothing to tell.
            Advance::Moved if theirs.removed.contains_key(&head.version) => {}
            Advance::Moved => fetched.moved.push((name.clone(), head.version)),
            Advance::Beside(_) => fetched.diverged.push((name.clone(), head.version)),
            Advance::Present => {}
        }
    }
    for tip in theirs.tips.difference(&ours.tips) {
        history::advance(store, history, name, tip).await?;
    }
    Ok(())
}
