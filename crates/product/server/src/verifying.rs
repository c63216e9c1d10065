//! Whether a store has what it should have, byte for byte: the project's own, or that of a remote.
//!
//! Both are healed in the same way, in the direction that is asked for: pieces that are damaged where they lie, then what is
//! needed and not there, then refs, which come to name only what is there.

mod healing;
mod letting_go;
mod own;
mod remote;

use std::fmt;
use std::path::PathBuf;

use ropewalk_store::{BackendOptions, Root, Store, StoreError, Unreadable, Verified};
use ropewalk_types::{DatasetName, Diagnose as _, Digest};
use ropewalk_versions::{DamagedRef, GivenUp, NeededVersion, Released};

use crate::{ServerError, TableFault};

pub use own::Healing;
pub use remote::HealFrom;

pub(crate) use letting_go::{lost, without_lost};

/// Noted of a store whose mark was lost.
const MARK_WRITTEN: &str = "the object `format`, which says that it is a store, was lost and is written again";

/// Noted of a store whose mark was spoilt.
const MARK_MENDED: &str = "the object `format`, which says that it is a store, was damaged and is written again";

/// What was found.
#[derive(Clone, Debug, Default)]
pub struct Verification {
    /// Where the store is that was read again.
    pub place: String,
    /// Every piece that is there, read again.
    pub store: Verified,
    /// What is needed and the store does not have.
    pub missing: Vec<Root>,
    /// Folders and lists of chunks that are needed and cannot be read, and are not among the damaged pieces.
    pub unreadable: Vec<Unreadable>,
    /// How much of what was missing came from elsewhere.
    pub fetched: u64,
    /// Refs of tracked files that cannot be read.
    pub refs: Vec<DamagedRef>,
    /// What is kept of tables beside their bytes and cannot be read; of a remote only.
    pub tables: Vec<TableFault>,
    /// Who needs something that was missing or damaged.
    pub affected: Vec<Affected>,
    /// What nobody has, and was let go.
    pub given_up: Vec<LetGone>,
    /// What could not be looked into, and why.
    pub unknown: Vec<String>,
    /// What was done besides, and what was left alone, such as a remote that could not be asked, and why.
    pub notes: Vec<String>,
    /// Whether a remote could not be asked, which may have what is not healed.
    pub unasked: bool,
    /// Files of the cache that were read again.
    pub cached: u64,
    /// Files of the cache that had been changed in place and were removed; they are made again when they are needed.
    pub changed: Vec<PathBuf>,
}

impl Verification {
    /// Whether nothing is wrong, or no longer.
    pub fn is_whole(&self) -> bool {
        self.missing.is_empty()
            && self.unreadable.is_empty()
            && self.unknown.is_empty()
            && self.store.damaged.iter().all(|damage| damage.healed)
            && self.refs.iter().all(|one| one.healed)
            && self.tables.iter().all(|fault| fault.healed)
    }
}

/// Something that needs what was missing or damaged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Affected {
    /// What it is.
    pub subject: Subject,
    /// All that it needs is there again.
    pub healed: bool,
    /// Nobody has all that it needs, and that was let go.
    pub given_up: bool,
    /// Of a version, the files that something was found to be wrong with, as far as its folders could be read.
    pub paths: Vec<String>,
}

/// Something that nobody has, and what became of what named it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LetGone {
    /// The dataset, if it was something of one.
    pub name: Option<DatasetName>,
    /// The version, where it is known.
    pub version: Option<Digest>,
    /// What became of what named it.
    pub what: String,
}

impl LetGone {
    fn of_tracked(one: GivenUp) -> Self {
        Self { name: Some(one.name), version: one.version, what: one.what.to_string() }
    }
}

/// What needs something in a store.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Subject {
    /// A version of tracked files or of a table.
    Version {
        /// The dataset.
        name: DatasetName,
        /// The version.
        digest: Digest,
        /// N of `vN`, where that is known.
        number: Option<u64>,
    },
    /// What can change of a table in a remote.
    State(DatasetName),
    /// What the work tree was laid out from.
    WorkTree,
    /// Models, finished stages, and what others pushed into the project's store.
    Runs,
    /// A file that belongs to a run, such as the record of how it came about.
    Artifact {
        /// Its bytes.
        digest: Digest,
    },
    /// A segment of the prediction log.
    Predictions {
        /// Its bytes.
        digest: Digest,
    },
    /// The code of runs.
    Code {
        /// Its files.
        tree: Digest,
        /// The names of the runs, as far as they were asked for.
        runs: Vec<String>,
    },
    /// What commits of git name, as far as it is there.
    Git,
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Version { name, digest, number: Some(number) } => write!(f, "{name} v{number} ({})", digest.short()),
            Self::Version { name, digest, number: None } => write!(f, "{name} {}", digest.short()),
            Self::State(name) => write!(f, "tags and declarations of {name}"),
            Self::WorkTree => f.write_str("what the work tree was laid out from"),
            Self::Runs => f.write_str("runs, models and stages"),
            Self::Code { tree, runs } => match runs.as_slice() {
                [] => write!(f, "the code {} of a run", tree.short()),
                [run] => write!(f, "the code of run {run}"),
                [run, more @ ..] => write!(f, "the code of run {run} and {} more", more.len()),
            },
            Self::Predictions { digest } => write!(f, "the segment {} of the prediction log", digest.short()),
            Self::Artifact { digest } => write!(f, "the artifact {} of a run", digest.short()),
            Self::Git => f.write_str("what commits of git name"),
        }
    }
}

impl Subject {
    fn of_version(version: &NeededVersion) -> Self {
        Self::Version { name: version.name.clone(), digest: version.digest, number: version.number }
    }
}

/// Somebody's needs.
#[derive(Clone, Debug)]
pub(crate) struct Need {
    pub(crate) subject: Subject,
    pub(crate) roots: Vec<Root>,
}

impl Need {
    /// What a version of tracked files needs, with its content or without.
    fn of_version(version: &NeededVersion, content: bool) -> Self {
        let content = version.content.filter(|_| content);
        let roots = std::iter::once(Root::Blob(version.digest)).chain(content).collect();
        Self { subject: Subject::of_version(version), roots }
    }
}

/// Opens a store whatever of it is damaged; one whose mark is spoilt gets it back if it is to be healed.
async fn open_marked(
    url: &str,
    options: &BackendOptions,
    heals: bool,
    notes: &mut Vec<String>,
) -> Result<Store, StoreError> {
    let opened = Store::open_damaged(url, options).await;
    let spoilt = matches!(opened, Err(StoreError::UnknownFormat { .. }));
    if spoilt && heals && Store::mark_again(url, options).await? {
        notes.push(MARK_MENDED.to_owned());
        return Store::open_damaged(url, options).await;
    }
    opened
}

/// Tells what lies among the refs and is none; puts it aside if the store is to be healed.
async fn strays(store: &Store, heals: bool, notes: &mut Vec<String>) -> Result<(), StoreError> {
    for stray in store.ref_strays().await? {
        let aside = if heals { store.stray_put_aside(&stray).await? } else { None };
        notes.push(match aside {
            Some(aside) => format!("`{stray}` was no ref: it lies in `{aside}` now"),
            None if heals => format!("`{stray}` is no ref: it is too large to be moved, remove it yourself"),
            None => format!("`{stray}` is no ref: `--heal` puts it aside"),
        });
    }
    Ok(())
}

/// Whether an error says that what is stored is wrong or names nothing, and not that it could not be asked for.
fn is_of_content(error: &ServerError) -> bool {
    ropewalk_versions::is_of_content(error.code()) || matches!(error, ServerError::Unknown { .. })
}

/// Notes what was let go of refs, and where that failed.
fn released(released: Released, into: &mut Verification) {
    let Released { given_up, left, failed } = released;
    into.given_up.extend(given_up.into_iter().map(LetGone::of_tracked));
    let failed = failed.into_iter().map(|(name, error)| format!("not all of {name} could be looked at: {error}"));
    into.unknown.extend(failed);
    into.notes.extend(left.into_iter().map(|(name, version)| {
        let version = version.short();
        format!("the `.dataset` file of {name} stays: its version {version} is nowhere, and perhaps was never pushed")
    }));
}
