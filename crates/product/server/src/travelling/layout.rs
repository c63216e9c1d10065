//! Where a remote keeps what of a table: the names of refs.

use std::collections::{BTreeMap, BTreeSet};

use futures::{StreamExt as _, TryStreamExt as _};
use ropewalk_data::TableState;
use ropewalk_store::{RefName, Root, Store, StoreError};
use ropewalk_types::{DatasetName, Digest, Timestamp};

use super::reading::{pointed, state_read};
use crate::ServerError;

/// Where the refs of tables are.
pub(crate) const TABLES: &str = "tables/";
const VERSIONS: &str = "versions";
const STATE: &str = "state";
/// Refs that are read at once.
const READS: usize = 16;

/// The refs that a remote has of one table.
#[derive(Clone, Debug, Default)]
pub(super) struct TableRefs {
    /// Its versions.
    pub(super) versions: BTreeSet<Digest>,
    /// Whether there is a state.
    pub(super) state: bool,
}

/// The refs of tables in a store, as names.
#[derive(Clone, Debug, Default)]
pub(super) struct Listed {
    pub(super) tables: BTreeMap<DatasetName, TableRefs>,
    /// Refs that this program does not know, as a later one may write them.
    pub(super) unknown: Vec<RefName>,
}

/// The ref of the record of a version.
pub(super) fn version_ref(name: &DatasetName, digest: &Digest) -> Result<RefName, StoreError> {
    RefName::new(format!("{TABLES}{name}/{VERSIONS}/{digest}"))
}

/// The ref of what can change of a table.
pub(super) fn state_ref(name: &DatasetName) -> Result<RefName, StoreError> {
    RefName::new(format!("{TABLES}{name}/{STATE}"))
}

/// What a store has of all tables, or of those that are named.
pub(super) async fn listed(store: &Store, names: &[DatasetName]) -> Result<Listed, StoreError> {
    let prefixes: Vec<String> = match names {
        [] => vec![TABLES.to_owned()],
        names => names.iter().map(|name| format!("{TABLES}{name}/")).collect(),
    };
    let mut listed = Listed::default();
    for prefix in prefixes {
        for reference in store.ref_list(&prefix).await? {
            match parsed(&reference) {
                Some((name, Some(digest))) => {
                    listed.tables.entry(name).or_default().versions.insert(digest);
                }
                Some((name, None)) => listed.tables.entry(name).or_default().state = true,
                None => listed.unknown.push(reference),
            }
        }
    }
    Ok(listed)
}

/// The table of a ref, and the version if it is about one.
fn parsed(reference: &RefName) -> Option<(DatasetName, Option<Digest>)> {
    let (name, rest) = reference.as_str().strip_prefix(TABLES)?.split_once('/')?;
    let name = DatasetName::new(name).ok()?;
    match rest.split_once('/') {
        None => (rest == STATE).then_some((name, None)),
        Some((VERSIONS, digest)) => Some((name, Some(digest.parse().ok()?))),
        Some(_) => None,
    }
}

/// What the tables of a remote need there, for a collection.
#[derive(Debug, Default)]
pub(crate) struct TableRoots {
    /// Versions, records and states that its refs name.
    pub(crate) roots: Vec<Root>,
    states: BTreeMap<DatasetName, TableState>,
}

impl TableRoots {
    /// Whether any version was removed there.
    pub(crate) fn has_removed(&self) -> bool {
        self.states.values().any(|state| !state.removed.is_empty())
    }

    /// Whether the version was removed there after it was made here.
    pub(crate) fn removed(&self, name: &DatasetName, digest: &Digest, created_at: Timestamp) -> bool {
        self.states.get(name).is_some_and(|state| state.removal(digest, created_at).is_some())
    }
}

/// What all refs of tables in a remote need.
///
/// Errors: a ref that cannot be read or that a later program wrote; nobody could tell what it needs, so nothing may go.
pub(crate) async fn remote_roots(store: &Store, now: Timestamp) -> Result<TableRoots, ServerError> {
    let listed = listed(store, &[]).await?;
    if let Some(reference) = listed.unknown.first() {
        return Err(ServerError::Unknown {
            what: format!("nothing was removed: this program does not know what the ref `{reference}` needs"),
            hint: "collect with the newest Ropewalk of those that push there".to_owned(),
        });
    }
    let mut found = TableRoots { roots: roots_of(store, &listed).await?, states: BTreeMap::new() };
    for (name, refs) in &listed.tables {
        if !refs.state {
            continue;
        }
        if let Some(state) = state_read(store, name, now).await? {
            found.roots.push(Root::Blob(state.blob));
            found.states.insert(name.clone(), state.state);
        }
    }
    Ok(found)
}

/// What refs of tables need in a store that is a project's own and that others push to.
pub(crate) async fn own_roots(store: &Store) -> Result<Vec<Root>, ServerError> {
    let listed = listed(store, &[]).await?;
    let mut roots = roots_of(store, &listed).await?;
    let states = listed.tables.iter().filter(|(_, refs)| refs.state).map(|(name, _)| state_ref(name));
    let states = states.chain(listed.unknown.into_iter().map(Ok));
    for reference in states.collect::<Result<Vec<_>, _>>()? {
        roots.extend(pointed(store, &reference).await?.map(|pointed| Root::Blob(pointed.digest)));
    }
    Ok(roots)
}

/// The versions that refs name, and their records.
async fn roots_of(store: &Store, listed: &Listed) -> Result<Vec<Root>, ServerError> {
    let mut reads = Vec::new();
    for (name, refs) in &listed.tables {
        for digest in &refs.versions {
            reads.push(async move {
                let record = pointed(store, &version_ref(name, digest)?).await?;
                // A ref that went since it was listed needs nothing.
                Ok::<_, ServerError>(record.map(|record| [Root::Tree(*digest), Root::Blob(record.digest)]))
            });
        }
    }
    let roots: Vec<_> = futures::stream::iter(reads).buffer_unordered(READS).try_collect().await?;
    Ok(roots.into_iter().flatten().flatten().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refs_have_one_spelling() {
        let (name, digest) = (DatasetName::new("a.b").unwrap(), Digest::of(b"x"));
        assert_eq!(parsed(&version_ref(&name, &digest).unwrap()), Some((name.clone(), Some(digest))));
        assert_eq!(parsed(&state_ref(&name).unwrap()), Some((name, None)));
        for other in
            ["tables/a", "tables/a/versions/12", "tables/a/states", "tables/a/b/c", "tables/_a/state", "x/a/state"]
        {
            assert_eq!(parsed(&RefName::new(other).unwrap()), None, "{other}");
        }
    }
}
