//! The steps of a healing, whichever way it goes.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use ropewalk_store::{Lacking, NoProgress, Root, Store, TreeFile, Verified};
use ropewalk_types::Digest;
use ropewalk_versions::{Wanted, Workspace};

use super::{Affected, Need, Subject};
use crate::ServerError;

/// Of so many versions it is looked into which files are concerned.
const LOOKED_INTO: usize = 20;

/// A store that was read again, and what is needed of it.
pub(super) struct Patient<'a> {
    store: &'a Store,
    pub(super) found: Verified,
    pub(super) fetched: u64,
    /// Whom something was found to be missing or damaged for, at any time.
    hurt: BTreeMap<Subject, bool>,
    /// What was given up of these.
    given_up: BTreeSet<Subject>,
    /// Files of versions that something was wrong with.
    paths: BTreeMap<Subject, Vec<String>>,
    lacking: Lacking,
}

impl<'a> Patient<'a> {
    /// Reads every piece of the store again.
    pub(super) async fn new(store: &'a Store) -> Result<Self, ServerError> {
        let found = store.verify(None).await?;
        Ok(Self {
            store,
            found,
            fetched: 0,
            hurt: BTreeMap::new(),
            given_up: BTreeSet::new(),
            paths: BTreeMap::new(),
            lacking: Lacking::default(),
        })
    }

    /// Looks what of the needs cannot be had.
    pub(super) async fn look(&mut self, needs: &[Need]) -> Result<(), ServerError> {
        self.lacking = self.store.lacking(&groups(needs), &self.found).await?;
        self.hurt.values_mut().for_each(|hurt| *hurt = false);
        for (need, affected) in needs.iter().zip(&self.lacking.affected) {
            if *affected {
                self.hurt.insert(need.subject.clone(), true);
            }
        }
        Ok(())
    }

    /// Whether nothing that could be healed is left of what was found.
    pub(super) fn is_whole(&self) -> bool {
        !self.is_damaged() && self.lacking.missing.is_empty() && self.lacking.unreadable.is_empty()
    }

    /// Whether a piece is damaged and not healed.
    pub(super) fn is_damaged(&self) -> bool {
        self.found.damaged.iter().any(|damage| !damage.healed)
    }

    /// Whether something that it needs cannot be had now.
    pub(super) fn is_hurt(&self, subject: &Subject) -> bool {
        self.hurt.get(subject).is_some_and(|hurt| *hurt)
    }

    /// Puts index objects aside that cannot be read, and writes anew what files of the work tree still have.
    pub(super) async fn heal_from_files(
        &mut self,
        workspace: &Workspace,
        needs: &[Need],
        notes: &mut Vec<String>,
    ) -> Result<(), ServerError> {
        self.store.heal_index(&mut self.found).await?;
        self.look(needs).await?;
        if self.is_whole() {
            return Ok(());
        }
        let before = self.lacking.missing.len();
        let missing = std::mem::take(&mut self.lacking.missing);
        let sizes = self.wanted_sizes(needs).await?;
        let wanted = Wanted { missing: &missing, sizes: sizes.as_ref() };
        let given = Box::pin(workspace.heal_from_files(self.store, &mut self.found, wanted)).await?;
        notes.extend(given.unread.into_iter().map(|why| format!("the work tree did not give all: {why}")));
        self.look(needs).await?;
        self.fetched += before.saturating_sub(self.lacking.missing.len()) as u64;
        Ok(())
    }

    /// The sizes of files of which something is damaged or missing; none where that cannot be told of all.
    async fn wanted_sizes(&self, needs: &[Need]) -> Result<Option<BTreeSet<u64>>, ServerError> {
        let hurt: Vec<_> = needs.iter().filter(|need| self.is_hurt(&need.subject)).collect();
        if hurt.len() > LOOKED_INTO {
            return Ok(None);
        }
        let mut sizes = BTreeSet::new();
        for Need { subject, roots } in hurt {
            for root in roots {
                let of_root = match root {
                    Root::Tree(tree) => self.hurt_files(tree).await?,
                    // The object of the version is no file.
                    Root::Blob(blob) if matches!(subject, Subject::Version { digest, .. } if digest == blob) => {
                        continue;
                    }
                    Root::Blob(blob) => match self.store.size(blob).await {
                        Err(error) if error.is_of_content() => None,
                        size => {
                            sizes.insert(size?);
                            continue;
                        }
                    },
                };
                let Some(files) = of_root else { return Ok(None) };
                sizes.extend(files.into_iter().map(|file| file.size));
            }
        }
        Ok(Some(sizes))
    }

    /// The files of a folder that something is wrong with; none where that cannot be told, because a folder is lost.
    async fn hurt_files(&self, tree: &Digest) -> Result<Option<Vec<TreeFile>>, ServerError> {
        let files = match self.store.tree_files(tree).await {
            Err(error) if error.is_of_content() => return Ok(None),
            files => files?,
        };
        let groups: Vec<_> = files.iter().map(|file| vec![Root::Blob(file.digest)]).collect();
        let affected = self.store.lacking(&groups, &self.found).await?.affected;
        let hurt = files.into_iter().zip(affected).filter(|(_, affected)| *affected);
        Ok(Some(hurt.map(|(file, _)| file).collect()))
    }

    /// Notes that what is wrong now is given up, if nothing needs it later.
    pub(super) fn give_up(&mut self) {
        let hurt = self.hurt.iter().filter(|(_, hurt)| **hurt).map(|(subject, _)| subject.clone());
        self.given_up.extend(hurt);
    }

    /// Finds out which files of versions something is wrong with, of the first of those that are hurt.
    pub(super) async fn find_paths(&mut self, needs: &[Need]) -> Result<(), ServerError> {
        let mut paths = BTreeMap::new();
        let is_version = |need: &&Need| matches!(need.subject, Subject::Version { .. }) && self.is_hurt(&need.subject);
        for need in needs.iter().filter(is_version).take(LOOKED_INTO) {
            let mut found = Vec::new();
            for root in &need.roots {
                let Root::Tree(tree) = root else { continue };
                let files = self.hurt_files(tree).await?.unwrap_or_default();
                found.extend(files.into_iter().map(|file| file.path));
            }
            paths.insert(need.subject.clone(), found);
        }
        self.paths = paths;
        Ok(())
    }

    /// Takes from `other` what is damaged.
    pub(super) async fn heal(&mut self, other: &Store) -> Result<(), ServerError> {
        Ok(self.store.heal(&mut self.found, other).await?)
    }

    /// Takes from `other` what is missing. What lies below something that was missing itself is seen only once that has come,
    /// so that it may take several rounds.
    pub(super) async fn fill(&mut self, other: &Store, needs: &[Need]) -> Result<(), ServerError> {
        self.look(needs).await?;
        while !self.lacking.missing.is_empty() {
            let before = std::mem::take(&mut self.lacking.missing);
            bring(other, self.store, &before).await?;
            self.look(needs).await?;
            let still: HashSet<&Root> = self.lacking.missing.iter().collect();
            let came = before.iter().filter(|root| !still.contains(root)).count();
            if came == 0 {
                break;
            }
            self.fetched += came as u64;
        }
        Ok(())
    }

    /// Lets go of what is damaged and what nothing needs; `needs` are all.
    pub(super) async fn let_go(&mut self, needs: &[Need]) -> Result<(), ServerError> {
        Ok(self.store.let_go(&mut self.found, &groups(needs)).await?)
    }

    /// What was found at last.
    pub(super) fn end(self, into: &mut super::Verification) {
        let Self { store, found, fetched, hurt, given_up, mut paths, lacking } = self;
        let damaged: HashSet<Digest> =
            found.damaged.iter().filter(|damage| !damage.healed).map(|damage| damage.digest).collect();
        store.place().clone_into(&mut into.place);
        into.missing = lacking.missing;
        // What is damaged is told as that.
        into.unreadable = lacking.unreadable.into_iter().filter(|one| !damaged.contains(&one.digest)).collect();
        let affected = hurt.into_iter().map(|(subject, hurt)| {
            let given_up = !hurt && given_up.contains(&subject);
            let paths = paths.remove(&subject).unwrap_or_default();
            Affected { subject, healed: !hurt && !given_up, given_up, paths }
        });
        into.affected = affected.collect();
        into.fetched = fetched;
        into.store = found;
    }
}

fn groups(needs: &[Need]) -> Vec<Vec<Root>> {
    needs.iter().map(|need| need.roots.clone()).collect()
}

/// Copies what `from` has of the roots, all at once; where something of it is damaged there, each that is whole.
async fn bring(from: &Store, to: &Store, roots: &[Root]) -> Result<(), ServerError> {
    let there = match from.whole(roots.iter().copied()).await {
        Err(error) if error.is_of_content() => each_whole(from, roots).await?,
        whole => whole?,
    };
    let mut waiting = vec![there];
    while let Some(mut batch) = waiting.pop() {
        if batch.is_empty() {
            continue;
        }
        match from.copy_to(to, &batch, &NoProgress).await {
            Err(error) if error.is_of_content() && batch.len() > 1 => {
                let half = batch.split_off(batch.len() / 2);
                waiting.extend([half, batch]);
            }
            // It stays missing, and is told.
            Err(error) if error.is_of_content() => {}
            moved => drop(moved?),
        }
    }
    Ok(())
}

/// Those of the roots that a store has as a whole, where that cannot be told of all.
async fn each_whole(store: &Store, roots: &[Root]) -> Result<Vec<Root>, ServerError> {
    let mut there = Vec::new();
    for root in roots {
        match store.whole([*root]).await {
            Err(error) if error.is_of_content() => {}
            whole => there.extend(whole?),
        }
    }
    Ok(there)
}
