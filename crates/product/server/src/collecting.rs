//! What the project's store must keep, what it costs, and what can go.

use std::collections::HashSet;
use std::time::{Duration, SystemTime};

use ropewalk_data::{removal_list, version_history, version_list};
use ropewalk_pipeline::{ArtifactKind, outcome_list};
use ropewalk_predictions::segment_digests;
use ropewalk_store::files::Alone;
use ropewalk_store::{CollectSettings, Collected, RefName, Root, Store, StoreError, Swept, Usage, sweep_leftovers};
use ropewalk_types::{Ambient as _, DatasetName, Digest, Uri};
use ropewalk_versions::{Held, has_removed, store_roots};
use serde::Serialize;

use crate::project::{IN_USE, catalog_open};
use crate::recording::CODE_TAG;
use crate::travelling::{TABLES, own_roots, remote_roots};
use crate::verifying::{Need, Subject, without_lost};
use crate::{DataProject, OpenProject, ServerError, SystemAmbient};

/// Checkpoints of pieces of stages, by the folder of their refs.
pub(crate) const PIECES: &str = "piece/";

/// The kind of stages that give tracked files to others.
pub(crate) const TRACKED_KIND: &str = "tracked";

/// The content that such a stage has given, in its summary: of a single file it is the blob, not the tree.
pub(crate) const CONTENT: &str = "content";

/// What a version of a dataset costs.
#[derive(Clone, Debug, Serialize)]
pub struct Cost {
    /// The dataset.
    pub name: DatasetName,
    /// The version.
    pub version: Digest,
    /// Bytes of its files, here or not.
    pub logical_bytes: u64,
    /// Bytes in the store that it needs, shared ones among them: of one that is here in part, those of that part.
    pub stored_bytes: u64,
    /// Bytes in the store that no other version needs, of whichever dataset.
    pub own_bytes: u64,
}

/// What a collection has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Gone {
    /// Of what nothing needs.
    pub collected: Collected,
    /// Of what commands had left that were killed more than a time of grace ago.
    pub swept: Swept,
    /// Of whole files in the cache that the store no longer has, and of what belonged to them.
    pub cached: Swept,
}

/// Where a version was removed, the bytes of what is collected must really be gone.
async fn gone(store: &Store, roots: &[Root], settings: CollectSettings, erases: bool) -> Result<Gone, ServerError> {
    let collected =
        if erases { store.collect_erasing(roots, &settings).await? } else { store.collect(roots, &settings).await? };
    let (swept, cached) = match settings.now.checked_sub(settings.grace) {
        Some(before) if !settings.dry_run => (store.sweep_orphans(before).await?, store.sweep_cache(before).await?),
        _ => Default::default(),
    };
    Ok(Gone { collected, swept, cached })
}

/// Where refs of tracked files are; a remote has no others but those of tables.
pub(crate) const TRACKED: &str = "datasets/";

/// A ref by which a store is seen to be a project's own and not only a remote: what its catalogue and its commits of git need
/// there cannot be seen from elsewhere.
pub(crate) async fn foreign_ref(store: &Store) -> Result<Option<RefName>, StoreError> {
    let of_a_remote = |found: &RefName| [TRACKED, TABLES].iter().any(|folder| found.as_str().starts_with(folder));
    Ok(store.ref_list("").await?.into_iter().find(|found| !of_a_remote(found)))
}

impl DataProject {
    /// Removes from a remote what neither a version or tag there nor this project needs, once that has been so for
    /// `grace`: of tracked files and of tables, whoever pushed them. A version that was removed is needed by nobody.
    ///
    /// Refused for a place that a project has as its own store: what its catalogue needs cannot be seen from here.
    pub async fn remote_collect(&self, name: &str, grace: Duration, dry_run: bool) -> Result<Gone, ServerError> {
        let (name, store) = self.remote_open(Some(name)).await?;
        if let Some(other) = foreign_ref(&store).await? {
            return Err(ServerError::Unknown {
                what: format!("`{name}` is also the store of a project, which keeps `{other}` in it"),
                hint: "collect there, with `ropewalk data gc` in that project".to_owned(),
            });
        }
        let mut roots = store_roots(&store).await?;
        let tables = remote_roots(&store, SystemAmbient.now()).await?;
        // What is here may be on its way there: a push that was killed has not named it yet.
        let mut here = self.workspace().roots().await?;
        let catalog = catalog_open(self.root(), self.file()).await?;
        let versions = version_list(&catalog, None).await;
        catalog.close().await;
        let kept = versions?.into_iter().filter(|one| !tables.removed(&one.name, &one.digest, one.created_at));
        here.extend(kept.map(|one| Root::Tree(one.digest)));
        let erases = tables.has_removed() || has_removed(&store).await?;
        roots.extend(tables.roots);
        roots.extend(store.whole(here).await?);
        roots.sort();
        roots.dedup();
        gone(&store, &roots, CollectSettings { grace, dry_run, now: SystemTime::now() }, erases).await
    }
}

impl OpenProject {
    /// Removes from the store what nothing needs, once that has been so for `grace`.
    ///
    /// Kept is what versions and tags of tracked files need, what any commit of git ever named, every version of every
    /// dataset, what stages made, artifacts of runs, model versions, segments of the prediction log, and finished pieces of stages; of versions that were
    /// removed only what something else of these needs.
    ///
    /// Without a time of grace it is refused while other commands use the store: what they rely on has no root yet.
    pub async fn collect(&self, grace: Duration, dry_run: bool) -> Result<Gone, ServerError> {
        let _alone = if grace.is_zero() && !dry_run { Some(self.alone()?) } else { None };
        let roots = self.roots().await?;
        let now = SystemTime::UNIX_EPOCH + Duration::from_millis(self.ambient.now().millis().cast_unsigned());
        let erases = has_removed(&self.store).await? || !removal_list(&self.catalog, None).await?.is_empty();
        let mut gone = gone(&self.store, &roots, CollectSettings { grace, dry_run, now }, erases).await?;
        if let Some(before) = now.checked_sub(grace).filter(|_| !dry_run) {
            // Beside the store, what killed commands had left in the index of the work tree.
            let state = self.state();
            let swept = tokio::task::spawn_blocking(move || sweep_leftovers(&state, before)).await;
            let swept = swept.map_err(|error| ServerError::Serve(error.to_string()))??;
            gone.swept.objects += swept.objects;
            gone.swept.bytes += swept.bytes;
        }
        Ok(gone)
    }

    /// Keeps all other commands of this project from its store.
    fn alone(&self) -> Result<Alone<'_>, ServerError> {
        let refused = |what: String, hint: &str| ServerError::Unknown { what, hint: hint.to_owned() };
        let Some(lock) = self.store.used() else {
            let path = self.state().join(IN_USE);
            let what = format!("`--grace 0` needs the store for itself, and `{}` cannot be locked", path.display());
            return Err(refused(
                what,
                "see that it can be written and its file system has locks, or leave `--grace` out",
            ));
        };
        lock.alone()?.ok_or_else(|| {
            let what = "other commands of this project use its store, and `--grace 0` would remove what they rely on";
            let hint = "try again when they have ended (`ropewalk serve` is one of them), or leave `--grace` out";
            refused(what.to_owned(), hint)
        })
    }

    /// What each version of these datasets, or of all, costs in the store.
    pub async fn costs(&self, names: &[DatasetName]) -> Result<Vec<Cost>, ServerError> {
        let mut versions: Vec<Held> = Vec::new();
        for table in version_list(&self.catalog, None).await? {
            if self.store.contains(&table.digest).await? {
                let (version, roots) = (table.digest, vec![Root::Tree(table.digest)]);
                versions.push(Held { name: table.name, version, bytes: table.bytes, roots });
            }
        }
        versions.extend(self.workspace().held().await?);
        // All of them, whichever are asked for: what they share belongs to none of them alone.
        let groups: Vec<Vec<Root>> = versions.iter().map(|held| held.roots.clone()).collect();
        let usage = self.store.usage(&groups).await?;
        let cost = |(held, usage): (Held, Usage)| Cost {
            name: held.name,
            version: held.version,
            logical_bytes: held.bytes,
            stored_bytes: usage.stored,
            own_bytes: usage.exclusive,
        };
        let wanted = |cost: &Cost| names.is_empty() || names.contains(&cost.name);
        Ok(versions.into_iter().zip(usage).map(cost).filter(wanted).collect())
    }

    /// Everything that must be kept.
    pub(crate) async fn roots(&self) -> Result<Vec<Root>, ServerError> {
        let mut roots = self.workspace().roots().await?;
        roots.extend(self.catalog_needs().await?.into_iter().flat_map(|need| need.roots));
        roots.extend(self.checkpoint_roots().await?);
        roots.sort();
        roots.dedup();
        Ok(roots)
    }

    /// What versions of tables, stages, runs and models need, and what others pushed into this store; without checkpoints,
    /// of which a run makes anew what is gone.
    pub(crate) async fn catalog_needs(&self) -> Result<Vec<Need>, ServerError> {
        // Of versions that came from a remote without their bytes, nothing has to be here.
        let here = version_history(&self.catalog, None).await?.into_iter();
        let here = here.filter(|one| one.removed.is_none() && one.elsewhere.is_none());
        let mut needs: Vec<Need> = here
            .map(|one| {
                let (digest, number) = (one.version.digest, Some(one.number));
                let subject = Subject::Version { name: one.version.name, digest, number };
                Need { subject, roots: vec![Root::Tree(digest)] }
            })
            .collect();
        let runs = self.run_roots().await?;
        let known: HashSet<Root> = runs.iter().copied().collect();
        needs.push(Need { subject: Subject::Runs, roots: runs });
        let artifacts = self.tracking.artifact_digests().await?.into_iter().map(Root::Blob);
        let artifacts = artifacts.filter(|root| !known.contains(root)).collect();
        needs.extend(without_lost(&self.store, artifacts).await?.into_iter().map(|root| {
            let subject = Subject::Artifact { digest: *root.digest() };
            Need { subject, roots: vec![root] }
        }));
        // A segment that nobody has is not listed any more, so it has no note of loss to be looked for.
        needs.extend(segment_digests(&self.catalog).await?.into_iter().map(|digest| {
            let subject = Subject::Predictions { digest };
            Need { subject, roots: vec![Root::Blob(digest)] }
        }));
        let codes = without_lost(&self.store, self.code_roots().await?).await?;
        needs.extend(codes.into_iter().map(|root| {
            let subject = Subject::Code { tree: *root.digest(), runs: Vec::new() };
            Need { subject, roots: vec![root] }
        }));
        Ok(needs)
    }

    async fn run_roots(&self) -> Result<Vec<Root>, ServerError> {
        // Other projects may have this store as their remote.
        let mut roots = own_roots(&self.store).await?;
        // A stage that gave tracked files on does not keep them: nothing can read what was removed.
        let removed = self.workspace().removed_contents().await?;
        for outcome in outcome_list(&self.catalog, u32::MAX).await? {
            if outcome.kind == TRACKED_KIND {
                let content: Option<Digest> = outcome.summary[CONTENT].as_str().and_then(|text| text.parse().ok());
                let mut given = outcome.outputs.values().map(|one| one.digest).chain(content);
                if given.any(|digest| removed.contains(&digest)) {
                    continue;
                }
            }
            roots.extend(outcome.outputs.values().map(|artifact| match artifact.kind {
                ArtifactKind::Dataset { .. } => Root::Tree(artifact.digest),
                _ => Root::Blob(artifact.digest),
            }));
        }
        for model in self.registry.model_list().await? {
            let versions = self.registry.version_list(&model.name).await?;
            roots.extend(
                versions.into_iter().filter_map(|version| version.content).map(|content| Root::Blob(content.digest)),
            );
        }
        Ok(roots)
    }

    /// The code of runs that no commit of git holds.
    async fn code_roots(&self) -> Result<Vec<Root>, ServerError> {
        let mut roots = Vec::new();
        for code in self.tracking.tag_values(CODE_TAG).await? {
            if let Ok(Uri::Code(tree)) = code.parse() {
                roots.push(Root::Tree(tree));
            }
        }
        Ok(roots)
    }

    /// Finished pieces of stages.
    async fn checkpoint_roots(&self) -> Result<Vec<Root>, ServerError> {
        let mut roots = Vec::new();
        for name in self.store.ref_list(PIECES).await? {
            let value = self.store.ref_get(&name).await?;
            let digest = value.and_then(|value| std::str::from_utf8(&value.bytes).ok()?.parse().ok());
            roots.extend(digest.map(Root::Blob));
        }
        Ok(roots)
    }
}
