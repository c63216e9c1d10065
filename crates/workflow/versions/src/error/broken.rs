//! What is wrong with one dataset, while others can go on.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use ropewalk_store::StoreError;
use ropewalk_types::{DatasetName, Diagnose as _, Digest};

use super::VersionsError;

/// A dataset of which something that is needed cannot be had whole.
#[derive(Debug, thiserror::Error)]
#[error("dataset `{name}`{}: {}", of_version(version.as_ref()), told(cause))]
pub struct NotWhole {
    /// The dataset.
    pub name: DatasetName,
    /// The version that was wanted, if it was one.
    pub version: Option<Digest>,
    /// What stands in the way: what is missing or damaged, and where.
    pub cause: Arc<VersionsError>,
}

/// A version that refs of a remote name, and whose object is neither there nor here: nobody could tell what it is, nor what
/// lies behind it.
#[derive(Debug, thiserror::Error)]
#[error(
    "dataset `{name}`: {place} names the version {version} and has lost it; what names it there was not taken over"
)]
pub struct LostVersion {
    /// The dataset.
    pub name: DatasetName,
    /// The version.
    pub version: Digest,
    /// The remote.
    pub place: String,
}

/// A pointer that says something else than the version that it names, or than the content that it names.
#[derive(Debug, thiserror::Error)]
#[error("the pointer `{}` says what is not so: {}", path.display(), listed(facts))]
pub struct Unfit {
    /// The pointer file.
    pub path: PathBuf,
    /// The dataset.
    pub name: DatasetName,
    /// What is wrong in it.
    pub facts: Vec<UnfitFact>,
}

/// A line of a pointer that does not fit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnfitFact {
    /// Its key.
    pub field: &'static str,
    /// What it says.
    pub found: String,
    /// What it should say.
    pub expected: String,
}

impl UnfitFact {
    /// A line that says `found`, unless that is what is expected.
    pub(crate) fn of(field: &'static str, found: &impl ToString, expected: &impl ToString) -> Option<Self> {
        let (found, expected) = (found.to_string(), expected.to_string());
        (found != expected).then_some(Self { field, found, expected })
    }
}

/// The head of a remote names a version that nobody has: nothing can be told to descend from it.
#[derive(Debug, thiserror::Error)]
#[error(
    "cannot push `{name}`: the head of the remote {remote} names the version {}, which is neither there nor here",
    version.short()
)]
pub struct LostHead {
    /// The dataset.
    pub name: DatasetName,
    /// The version.
    pub version: Digest,
    /// What the project calls the remote.
    pub remote: String,
}

/// Whether the code of an error says that what is stored is wrong or not there, and not that it could not be asked for.
///
/// By the code, so that it is known of an error that another part passes on.
pub fn is_of_content(code: &str) -> bool {
    StoreError::OF_CONTENT.contains(&code) || matches!(code, "versions.malformed" | "versions.content_missing")
}

impl VersionsError {
    /// Whether it says that what is stored is wrong or not there, and not that it could not be asked for.
    pub fn is_of_content(&self) -> bool {
        is_of_content(self.code())
    }

    /// Whether an error says that something of one dataset is missing, damaged or removed, so that others can go on; and
    /// not that a store or the disk cannot be worked with.
    pub(crate) fn concerns_one(&self) -> bool {
        match self {
            Self::Removed { .. } | Self::NotWhole(_) | Self::Unfit(_) | Self::LostVersion(_) | Self::LostHead(_) => {
                true
            }
            _ => self.lacks_name(),
        }
    }

    /// Whether it says that the machine or a store cannot be worked with, so that what comes next would fail alike. What is
    /// wrong with a file is no such thing if that is one `of_dataset`.
    pub(crate) fn is_of_machine(&self, of_dataset: impl Fn(&Path) -> bool) -> bool {
        match self {
            Self::File(error) | Self::Store(StoreError::File(error)) => {
                matches!(error.code(), "file.disk_full" | "file.read_only") || !of_dataset(error.path())
            }
            Self::Store(
                StoreError::NotStorable { .. }
                | StoreError::Collected { .. }
                | StoreError::PackRemoved { .. }
                | StoreError::Conflict { .. },
            ) => false,
            Self::Store(_) => !self.concerns_one(),
            Self::Trail(_) | Self::Interrupted => true,
            _ => false,
        }
    }

    /// Of errors that concern one dataset, those that may not say which one, or which version.
    fn lacks_name(&self) -> bool {
        match self {
            Self::NotWhole(_) => false,
            // An index tells what lies in the store as a whole.
            Self::Store(StoreError::Damaged { object, .. }) => !object.starts_with("index/"),
            Self::Store(StoreError::Malformed { what, .. }) => *what != "store",
            _ => self.is_of_content(),
        }
    }

    /// The error with the dataset and version that it is about, if it concerns one and does not say.
    pub(crate) fn about(self, name: &DatasetName, version: Option<Digest>) -> Self {
        if self.lacks_name() { not_whole(name, version, Arc::new(self)) } else { self }
    }
}

impl VersionsError {
    /// The error of content that turned out to be damaged while it was being laid out at `path`.
    pub(crate) fn in_half(self, name: &DatasetName, version: Option<Digest>, path: &str) -> Self {
        if !self.concerns_one() {
            return self;
        }
        not_whole(name, version, Arc::new(Self::LaidOutInHalf(path.to_owned(), Box::new(self))))
    }
}

/// The error of a dataset that cannot be had whole.
pub(crate) fn not_whole(name: &DatasetName, version: Option<Digest>, cause: Arc<VersionsError>) -> VersionsError {
    VersionsError::NotWhole(Box::new(NotWhole { name: name.clone(), version, cause }))
}

impl NotWhole {
    /// What to do: what was never sent is on the machine that made it, what is damaged on any that has it.
    pub(super) fn advice(&self) -> String {
        let name = &self.name;
        match &*self.cause {
            VersionsError::ContentMissing { .. } | VersionsError::Store(StoreError::NotFound { .. }) => format!(
                "run `ropewalk push {name}` on the machine that committed it; what a remote has lost, `ropewalk data verify \
                 --remote NAME --heal` sends it again from a machine that has it"
            ),
            _ => format!(
                "a remote is mended by `ropewalk data verify --remote NAME --heal` on a machine that has `{name}`, a project's \
                 own store by `ropewalk data verify --heal NAME`, NAME being a remote that has it"
            ),
        }
    }
}

impl LostVersion {
    pub(super) fn advice(&self) -> String {
        format!(
            "`ropewalk data verify --remote NAME --heal` on a machine that has this version of `{}` sends it again; if none has \
             it, `--give-up` with it lets go of it there",
            self.name
        )
    }
}

impl LostHead {
    pub(super) fn advice(&self) -> String {
        let remote = &self.remote;
        format!(
            "on a machine that has that version, `ropewalk data verify --remote {remote} --heal` sends it again; if none has it, \
             `ropewalk data verify --remote {remote} --heal --give-up` lets go of it there"
        )
    }
}

impl Unfit {
    pub(super) fn advice(&self) -> String {
        let (file, name) = (self.path.file_name().unwrap_or(self.path.as_os_str()), &self.name);
        let unknown = self.facts.iter().any(|fact| fact.field == "version");
        let pushed = if unknown { "; a version of another machine is pushed there: `ropewalk push`" } else { "" };
        format!(
            "take the file back from git: `git checkout -- {}`; or let it be written anew: `ropewalk data checkout \
             {name}@VERSION`{pushed}",
            file.display()
        )
    }
}

fn of_version(version: Option<&Digest>) -> String {
    version.map(|version| format!(", version {}", version.short())).unwrap_or_default()
}

fn told(cause: &VersionsError) -> String {
    match cause {
        VersionsError::ContentMissing { root, .. } => {
            format!("its content {} is in no store that was asked", root.short())
        }
        VersionsError::Store(StoreError::NotFound { digest }) => format!("`{digest}` is in no store that was asked"),
        other => other.to_string(),
    }
}

fn listed(facts: &[UnfitFact]) -> String {
    let told = |fact: &UnfitFact| format!("`{}` is {}, expected {}", fact.field, fact.found, fact.expected);
    facts.iter().map(told).collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_dataset_and_its_version_come_first_and_the_hint_is_what_helps() {
        let (name, version, digest) =
            (DatasetName::new("photos").unwrap(), Digest::of(b"version"), Digest::of(b"content"));
        let missing = VersionsError::from(StoreError::NotFound { digest }).about(&name, Some(version));
        let begins = format!("dataset `photos`, version {}: `{digest}` is in no store", version.short());
        assert!(missing.to_string().starts_with(&begins), "{missing}");
        assert_eq!(missing.code(), "store.not_found");
        let hint = missing.hint().unwrap();
        assert!(hint.contains("ropewalk push photos") && !hint.contains("fetch --all"), "{hint}");
        let again = missing.about(&DatasetName::new("other").unwrap(), None);
        assert!(again.to_string().starts_with(&begins), "it is said once: {again}");

        let damaged = |object: &str| {
            let (object, reason) = (object.to_owned(), "cut".to_owned());
            VersionsError::from(StoreError::Damaged { digest, object, reason })
        };
        let of_a_pack = damaged("packs/1 of s3://b/x").about(&name, None);
        assert!(of_a_pack.to_string().starts_with("dataset `photos`: `"), "{of_a_pack}");
        assert!(of_a_pack.to_string().contains("packs/1 of s3://b/x"), "{of_a_pack}");
        assert!(of_a_pack.hint().unwrap().contains("data verify --remote NAME --heal"));
        assert!(of_a_pack.concerns_one());
        for of_all in [damaged("index/1 of s3://b/x"), StoreError::Interrupted.into(), VersionsError::NoRemote] {
            let said = of_all.to_string();
            assert!(!of_all.concerns_one(), "{said}");
            assert_eq!(of_all.about(&name, None).to_string(), said);
        }
    }

    #[test]
    fn a_full_disk_is_no_matter_of_one_dataset() {
        use std::io::ErrorKind;

        use ropewalk_store::files::FileError;

        let of_machine = |kind: ErrorKind, path: &str| {
            let error = FileError::Io { action: "write", path: path.into(), source: kind.into() };
            VersionsError::from(StoreError::from(error)).is_of_machine(|path| path.starts_with("project"))
        };
        assert!(!of_machine(ErrorKind::PermissionDenied, "project/data/a"));
        assert!(of_machine(ErrorKind::PermissionDenied, "store/packs/1"));
        assert!(of_machine(ErrorKind::StorageFull, "project/data/a"));
        assert!(VersionsError::from(StoreError::Interrupted).is_of_machine(|_| true));
        assert!(!VersionsError::from(StoreError::NotFound { digest: Digest::of(b"x") }).is_of_machine(|_| true));
    }

    #[test]
    fn a_pointer_that_does_not_fit_says_where_and_what() {
        let facts = [UnfitFact::of("files", &99, &2), UnfitFact::of("bytes", &5, &5)].into_iter().flatten().collect();
        let unfit = Unfit { path: "a/x.dataset".into(), name: DatasetName::new("x").unwrap(), facts };
        let error = VersionsError::Unfit(Box::new(unfit));
        assert_eq!(error.to_string(), "the pointer `a/x.dataset` says what is not so: `files` is 99, expected 2");
        assert!(error.hint().unwrap().contains("git checkout -- x.dataset"));
    }
}
