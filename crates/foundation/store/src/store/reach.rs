//! What roots need: the walk behind transfers, the collection of garbage and the count of usage.

use std::collections::{BTreeMap, HashMap, HashSet};

use futures::StreamExt as _;
use ropewalk_types::Digest;

use super::{Inner, Store};
use crate::error::StoreError;
use crate::index::Kind;
use crate::recipe::Recipe;
use crate::tree::{MAX_DEPTH, Tree, TreeEntry};

const RECIPES_AT_ONCE: usize = 16;

/// Something that is wanted, with all below it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Root {
    /// Some bytes.
    Blob(Digest),
    /// A directory.
    Tree(Digest),
}

impl Root {
    /// Its digest.
    pub fn digest(&self) -> &Digest {
        let (Self::Blob(digest) | Self::Tree(digest)) = self;
        digest
    }
}

/// What becomes of a walk when something below a root is not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Gaps {
    Refused,
    Accepted,
}

/// The pieces that roots need, and how they hang together.
#[derive(Debug, Default)]
pub(super) struct Reached {
    /// Chunks of blobs that are not trees.
    pub(super) leaves: HashSet<Digest>,
    /// Recipes and all of trees, which must not be visible before the leaves are; whether it is a tree by itself.
    pub(super) tops: HashMap<(Kind, Digest), bool>,
    /// What was passed over.
    pub(super) passed: HashSet<(Kind, Digest)>,
    /// Roots that are not there.
    pub(super) absent: Vec<Digest>,
    /// What else is not there, where that is accepted.
    pub(super) gaps: Vec<Root>,
    /// What each tree holds itself.
    pub(super) trees: HashMap<Digest, TreeContent>,
    /// What cannot be read and why, where that is accepted.
    pub(super) unreadable: BTreeMap<Digest, String>,
    /// Blobs and trees of which something is not there or damaged, without what lies below trees.
    pub(super) blamed: HashSet<Digest>,
}

/// The content of a tree without those below.
#[derive(Debug, Default)]
pub(super) struct TreeContent {
    pub(super) trees: Vec<Digest>,
    /// Of a walk through damage: whether a file of it is blamed, or may yet be.
    pub(super) blamed: bool,
    pub(super) large: Vec<Digest>,
}

impl Reached {
    /// All pieces.
    pub(super) fn pieces(&self) -> impl Iterator<Item = (Kind, Digest)> {
        self.leaves.iter().map(|digest| (Kind::Chunk, *digest)).chain(self.tops.keys().copied())
    }
}

impl Store {
    /// What `roots` need and the store does not have, each once; a root itself, a blob, a chunk of one, or a tree, below
    /// which more may be missing.
    pub async fn missing(&self, roots: &[Root]) -> Result<Vec<Root>, StoreError> {
        self.inner.refresh().await?;
        let reached = self.inner.reach(roots, Gaps::Accepted, &|_, _| false).await?;
        let absent: HashSet<_> = reached.absent.iter().collect();
        let mut missing = reached.gaps;
        missing.extend(roots.iter().filter(|root| absent.contains(root.digest())));
        missing.sort();
        missing.dedup();
        Ok(missing)
    }

    /// Those of `roots` that the store has with all below: what is to stay when it is collected.
    ///
    /// What a collector has condemned is among them as long as it is whole, so that the next one restores it.
    pub async fn whole(&self, roots: impl IntoIterator<Item = Root>) -> Result<Vec<Root>, StoreError> {
        self.inner.refresh().await?;
        let mut whole = Vec::new();
        for root in roots {
            let (visible, readable) = self.inner.index(|index| {
                let kinds = [Kind::Chunk, Kind::Recipe];
                let readable = kinds.iter().any(|kind| index.find_readable(*kind, root.digest()).is_some());
                (index.has_blob(root.digest()), readable)
            });
            // What is visible is whole; of what is condemned, something may have been removed.
            if visible || (readable && self.missing(&[root]).await?.is_empty()) {
                whole.push(root);
            }
        }
        Ok(whole)
    }
}

impl Inner {
    /// Walks from `roots` through all that `pass` does not pass over; what it passes over is taken to be whole.
    ///
    /// A root that is not there is noted. Anything else that is not there is [`StoreError::NotFound`], unless gaps are
    /// accepted.
    pub(super) async fn reach(
        &self,
        roots: &[Root],
        gaps: Gaps,
        pass: &(dyn Fn(Kind, &Digest) -> bool + Sync),
    ) -> Result<Reached, StoreError> {
        self.walk(roots, gaps, pass, None).await
    }

    /// Walks from `roots` also past what cannot be read. `broken` is what is known to be damaged: chunks of files are not
    /// read.
    pub(super) async fn reach_broken(
        &self,
        roots: &[Root],
        broken: &HashSet<(Kind, Digest)>,
    ) -> Result<Reached, StoreError> {
        self.walk(roots, Gaps::Accepted, &|_, _| false, Some(broken)).await
    }

    async fn walk(
        &self,
        roots: &[Root],
        gaps: Gaps,
        pass: &(dyn Fn(Kind, &Digest) -> bool + Sync),
        broken: Option<&HashSet<(Kind, Digest)>>,
    ) -> Result<Reached, StoreError> {
        let (reached, recipes) = (Reached::default(), HashMap::new());
        let mut walk = Walk { inner: self, gaps, pass, broken, reached, recipes };
        let (mut trees, mut blobs) = (Vec::new(), Vec::new());
        for root in roots {
            match root {
                Root::Blob(digest) => blobs.push(*digest),
                Root::Tree(digest) => trees.push(*digest),
            }
        }
        walk.blobs(&blobs, true)?;
        walk.trees(trees).await?;
        walk.recipes().await?;
        let Reached { leaves, tops, .. } = &mut walk.reached;
        leaves.retain(|digest| !tops.contains_key(&(Kind::Chunk, *digest)));
        Ok(walk.reached)
    }

    /// The recipe of a blob that has one.
    pub(super) async fn recipe(&self, digest: Digest) -> Result<Option<Recipe>, StoreError> {
        let Some(location) = self.index(|index| index.find_readable(Kind::Recipe, &digest)) else { return Ok(None) };
        self.recipe_at(digest, location).await.map(Some)
    }
}

struct Walk<'a> {
    inner: &'a Inner,
    gaps: Gaps,
    pass: &'a (dyn Fn(Kind, &Digest) -> bool + Sync),
    /// What is known to be damaged, in a walk that goes on past damage.
    broken: Option<&'a HashSet<(Kind, Digest)>>,
    reached: Reached,
    /// Recipes that are still to be read, and whether they are those of trees.
    recipes: HashMap<Digest, bool>,
}

impl Walk<'_> {
    async fn trees(&mut self, roots: Vec<Digest>) -> Result<(), StoreError> {
        let mut seen = HashSet::new();
        let mut level = roots;
        for depth in 0..=MAX_DEPTH {
            level.retain(|digest| seen.insert(*digest) && !self.passes_blob(digest));
            let mut here = Vec::with_capacity(level.len());
            for digest in level {
                if self.top(&digest, depth == 0)? {
                    here.push(digest);
                }
            }
            if here.is_empty() {
                return Ok(());
            }
            level = self.below(here).await?;
        }
        let reason = format!("its directories lie more than {MAX_DEPTH} deep");
        Err(StoreError::Malformed { what: "tree", reason })
    }

    /// Takes in what these trees hold; gives the trees below.
    async fn below(&mut self, trees: Vec<Digest>) -> Result<Vec<Digest>, StoreError> {
        let mut below = Vec::new();
        let mut waiting = vec![trees];
        while let Some(mut batch) = waiting.pop() {
            let mut files = Vec::new();
            let inner = self.inner;
            let read = inner
                .trees_each(&batch, &mut |digest, tree| {
                    let mut content = content(tree, &mut files);
                    below.extend(&content.trees);
                    // The files of one tree at a time, so that memory holds what is new of them only.
                    let files = std::mem::take(&mut files);
                    self.blobs(&files, false)?;
                    self.blame(&mut content, &files);
                    self.reached.trees.insert(digest, content);
                    Ok(())
                })
                .await;
            let Err(error) = read else { continue };
            if self.broken.is_none() || !error.is_of_content() {
                return Err(error);
            }
            if let [only] = batch.as_slice() {
                self.unreadable(*only, &error);
            } else {
                // In halves, to find which it is.
                let half = batch.split_off(batch.len() / 2);
                waiting.extend([half, batch]);
            }
        }
        Ok(below)
    }

    /// Notes in a walk through damage whether a tree is to be blamed for its files.
    fn blame(&self, content: &mut TreeContent, files: &[Digest]) {
        if self.broken.is_none() {
            return;
        }
        content.blamed = files.iter().any(|file| self.reached.blamed.contains(file));
        let large = files.iter().filter(|file| self.recipes.contains_key(*file));
        content.large = large.copied().collect();
    }

    fn unreadable(&mut self, digest: Digest, error: &StoreError) {
        let reason = match error {
            StoreError::Damaged { reason, .. } => reason.clone(),
            other => other.to_string(),
        };
        self.reached.unreadable.insert(digest, reason);
        self.reached.blamed.insert(digest);
    }

    fn is_broken(&self, kind: Kind, digest: &Digest) -> bool {
        self.broken.is_some_and(|broken| broken.contains(&(kind, *digest)))
    }

    /// Notes a tree; says whether it is there.
    fn top(&mut self, digest: &Digest, root: bool) -> Result<bool, StoreError> {
        match self.kind(digest) {
            None => self.missing(Root::Tree(*digest), root).map(|()| false),
            Some(kind) => {
                self.reached.tops.insert((kind, *digest), true);
                if kind == Kind::Recipe {
                    self.recipes.insert(*digest, true);
                }
                Ok(true)
            }
        }
    }

    fn blobs(&mut self, digests: &[Digest], roots: bool) -> Result<(), StoreError> {
        for digest in digests {
            if self.reached.leaves.contains(digest) || self.recipes.contains_key(digest) || self.passes_blob(digest) {
                continue;
            }
            match self.kind(digest) {
                None => self.missing(Root::Blob(*digest), roots)?,
                Some(kind) => {
                    if self.is_broken(kind, digest) {
                        self.reached.blamed.insert(*digest);
                    }
                    if kind == Kind::Chunk {
                        self.reached.leaves.insert(*digest);
                    } else {
                        self.reached.tops.entry((Kind::Recipe, *digest)).or_insert(false);
                        self.recipes.insert(*digest, false);
                    }
                }
            }
        }
        Ok(())
    }

    async fn recipes(&mut self) -> Result<(), StoreError> {
        let inner = self.inner;
        let recipes = std::mem::take(&mut self.recipes);
        let reads = recipes.into_iter().map(async |(digest, tree)| {
            let recipe = inner.recipe(digest).await;
            (digest, tree, recipe.and_then(|recipe| recipe.ok_or(StoreError::NotFound { digest })))
        });
        let mut reads = std::pin::pin!(futures::stream::iter(reads).buffer_unordered(RECIPES_AT_ONCE));
        while let Some((digest, tree, recipe)) = reads.next().await {
            let recipe = match recipe {
                Err(error) if self.broken.is_some() && error.is_of_content() => {
                    self.unreadable(digest, &error);
                    continue;
                }
                recipe => recipe?,
            };
            for (chunk, _) in &recipe.chunks {
                self.chunk(chunk, &digest, tree)?;
            }
        }
        Ok(())
    }

    /// Takes in a chunk of the blob `owner`.
    fn chunk(&mut self, digest: &Digest, owner: &Digest, of_tree: bool) -> Result<(), StoreError> {
        if self.passes(Kind::Chunk, digest) {
            return Ok(());
        }
        let there = self.inner.index(|index| index.find_readable(Kind::Chunk, digest)).is_some();
        if !there || self.is_broken(Kind::Chunk, digest) {
            self.reached.blamed.insert(*owner);
        }
        if !there {
            return self.missing(Root::Blob(*digest), false);
        }
        if of_tree {
            self.reached.tops.entry((Kind::Chunk, *digest)).or_insert(false);
        } else {
            self.reached.leaves.insert(*digest);
        }
        Ok(())
    }

    fn passes_blob(&mut self, digest: &Digest) -> bool {
        self.passes(Kind::Chunk, digest) || self.passes(Kind::Recipe, digest)
    }

    fn passes(&mut self, kind: Kind, digest: &Digest) -> bool {
        let passes = (self.pass)(kind, digest);
        if passes {
            self.reached.passed.insert((kind, *digest));
        }
        passes
    }

    fn kind(&self, digest: &Digest) -> Option<Kind> {
        let has = |kind: &Kind| self.inner.index(|index| index.find_readable(*kind, digest)).is_some();
        [Kind::Chunk, Kind::Recipe].into_iter().find(has)
    }

    fn missing(&mut self, what: Root, root: bool) -> Result<(), StoreError> {
        self.reached.blamed.insert(*what.digest());
        if root {
            self.reached.absent.push(*what.digest());
        } else if self.gaps == Gaps::Refused {
            return Err(StoreError::NotFound { digest: *what.digest() });
        } else {
            self.reached.gaps.push(what);
        }
        Ok(())
    }
}

fn content(tree: &Tree, files: &mut Vec<Digest>) -> TreeContent {
    let mut content = TreeContent::default();
    for (_, entry) in tree.iter() {
        match *entry {
            TreeEntry::File { digest, .. } => files.push(digest),
            TreeEntry::Directory { digest } => content.trees.push(digest),
        }
    }
    content
}
