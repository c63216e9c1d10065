//! Whether the project's store has what it should have, byte for byte.

use std::path::PathBuf;

use ropewalk_config::STATE_FOLDER;
use ropewalk_store::{Damage, NoProgress, Root, Store, Verified};

use crate::project::below;
use crate::{DataProject, OpenProject, ServerError, store_place};

/// What was found.
#[derive(Clone, Debug, Default)]
pub struct Verification {
    /// Where the project's own store is, which is what was read again.
    pub place: String,
    /// Every piece that is there, read again.
    pub store: Verified,
    /// What versions, tags, the work tree, stages, runs and models need and the store does not have.
    pub missing: Vec<Root>,
    /// How many of those came from the other store.
    pub fetched: u64,
    /// Files of the cache that were read again.
    pub cached: u64,
    /// Files of the cache that had been changed in place and were removed; they are made again when they are needed.
    pub changed: Vec<PathBuf>,
}

impl DataProject {
    /// Reads every stored byte again, looks whether all that is needed is there, and takes from `heal_from` what is
    /// damaged or missing.
    ///
    /// A store whose index is damaged is opened all the same. Versions that were never brought here from a remote are not
    /// missing; what is here of one must be whole.
    pub async fn verify(&self, heal_from: Option<&Store>) -> Result<Verification, ServerError> {
        let storage = below(self.root(), "file:", &self.file().backends.storage);
        store_place::check_there(&self.root().join(STATE_FOLDER), &storage, self.options()).await?;
        let store = Store::open_damaged(&storage, self.options()).await?;
        let store = store.with_cache(self.root().join(STATE_FOLDER).join("cache"));
        let (place, verified) = (store.place().to_owned(), store.verify(heal_from).await?);
        let mut found = Verification { place, store: verified, ..Verification::default() };
        (found.cached, found.changed) = store.verify_cache().await?;
        let unreadable = |damage: &Damage| !damage.healed && damage.object.starts_with("index/");
        if heal_from.is_none() && found.store.damaged.iter().any(unreadable) {
            // What is needed cannot be told before the index can be read; that it cannot is said already.
            return Ok(found);
        }
        found.missing = self.missing(&store).await?;
        if let Some(other) = heal_from {
            self.fetch_missing(&store, other, &mut found).await?;
        }
        Ok(found)
    }

    /// Takes from `other` what is missing. What lies below something that was missing itself is seen only once that has
    /// come, so that it may take several rounds.
    async fn fetch_missing(&self, store: &Store, other: &Store, found: &mut Verification) -> Result<(), ServerError> {
        loop {
            let there = other.whole(found.missing.iter().copied()).await?;
            other.copy_to(store, &there, &NoProgress).await?;
            let missing = if there.is_empty() { Vec::new() } else { self.missing(store).await? };
            let came = there.iter().filter(|root| !missing.contains(root)).count();
            if came == 0 {
                return Ok(());
            }
            found.fetched += came as u64;
            found.missing = missing;
        }
    }

    /// What is needed and not there.
    async fn missing(&self, store: &Store) -> Result<Vec<Root>, ServerError> {
        let expected = self.workspace().expected().await?;
        let missing = store.missing(&expected).await?;
        if !missing.is_empty() {
            return Ok(missing);
        }
        // Only a whole history can be walked to the rest.
        let project = OpenProject::open(self.root(), self.access()).await?;
        let roots = project.roots().await;
        project.close().await;
        Ok(store.missing(&roots?).await?)
    }
}
