use std::error::Error;
use std::path::PathBuf;

use ropewalk_types::{Diagnose, Digest};

use crate::backend::NoCredentials;
use crate::files::{self, FileError};
use crate::reference::RefName;
use crate::tree::DIRECTORY_UNIT;

/// A failure of the store.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The URL names a kind of storage that is not built in.
    #[error("cannot open the store `{url}`: this build knows {built_in}")]
    UnknownScheme {
        /// The URL as given.
        url: String,
        /// The schemes that are built in, for people.
        built_in: String,
    },
    /// A URL that cannot name a place in the storage of its kind.
    #[error("cannot open the store `{url}`: {reason}")]
    BadUrl {
        /// The URL as given.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A URL with a user or password in it.
    #[error("cannot open the store `{url}`: a URL must hold no user and no password")]
    CredentialsInUrl {
        /// The URL without them.
        url: String,
    },
    /// A profile of credentials that cannot be used.
    #[error("cannot use the profile `{name}`: {reason}")]
    Profile {
        /// The profile.
        name: String,
        /// Why.
        reason: String,
    },
    /// A back-end needs credentials, and there are none.
    #[error("cannot {action} `{object}`: {reason}")]
    NoCredentials {
        /// What was being done, such as `read`.
        action: &'static str,
        /// The object or store.
        object: String,
        /// What was looked at.
        reason: String,
        /// What can be done about it.
        hint: &'static str,
    },
    /// The object store below failed.
    #[error("cannot {action} `{object}` in the store: {}", told(source))]
    Backend {
        /// What was being done, such as `read`.
        action: &'static str,
        /// The object, as the backend names it.
        object: String,
        /// What the backend says.
        source: object_store::Error,
    },
    /// The directory of the store has gone.
    #[error("the store in `{}` is gone: it was there before", directory.display())]
    Vanished {
        /// The directory.
        directory: PathBuf,
        /// What says that it was there, if that is to be believed after this process has ended.
        note: Option<PathBuf>,
    },
    /// The local disk failed.
    #[error(transparent)]
    File(#[from] FileError),
    /// The store has nothing of this name.
    #[error("the store has no `{digest}`")]
    NotFound {
        /// What was asked for.
        digest: Digest,
    },
    /// Stored bytes are not the bytes that were stored.
    #[error("`{digest}` is damaged in `{object}`: {reason}")]
    Damaged {
        /// The blob or chunk that cannot be given.
        digest: Digest,
        /// The pack or index where the damage lies, and of which store it is.
        object: String,
        /// What was found.
        reason: String,
    },
    /// Bytes are not what they are used as.
    #[error("not a valid {what}: {reason}")]
    Malformed {
        /// The format, such as `tree`.
        what: &'static str,
        /// What was found.
        reason: String,
    },
    /// What lies where a store was looked for is marked as something else than the stores that this program knows.
    #[error("cannot open the store at `{place}`: {}", marked(*.number))]
    UnknownFormat {
        /// Where it is: the URL, which holds no credentials.
        place: String,
        /// The number of its form; none if its mark is no store's.
        number: Option<u32>,
    },
    /// There is a store, but not the object that marks it as one.
    #[error("the store at `{place}` is not marked as one: its objects are there, and its object `format` is lost")]
    MarkLost {
        /// Where it is: the URL, which holds no credentials.
        place: String,
    },
    /// Something is larger than the store accepts in this place.
    #[error("{what} has {size} {unit}: at most {limit} are accepted")]
    TooLarge {
        /// What is too large.
        what: String,
        /// Its size.
        size: u64,
        /// The largest size accepted.
        limit: u64,
        /// What is counted.
        unit: &'static str,
    },
    /// Another writer moved the ref first.
    #[error("the ref `{name}` is at {}, not at {}", generation(*.found), generation(*.expected))]
    Conflict {
        /// The ref.
        name: RefName,
        /// The generation that the caller had seen.
        expected: Option<u64>,
        /// The generation that the ref has.
        found: Option<u64>,
    },
    /// A name that no ref can have.
    #[error("`{0}` is not a ref name: use segments of 1 to 128 letters, digits, `.`, `_` or `-` between `/`")]
    RefName(String),
    /// A tree was asked to hold something that it cannot.
    #[error("cannot keep `{}` in a tree: {reason}", path.display())]
    NotStorable {
        /// The file or directory.
        path: PathBuf,
        /// Why.
        reason: &'static str,
    },
    /// A tree was to be laid out over something else.
    #[error("cannot lay out a tree at `{}`: {reason}", path.display())]
    TargetOccupied {
        /// The directory asked for.
        path: PathBuf,
        /// What is there.
        reason: &'static str,
    },
    /// A path of a file was asked of a store that was opened without a cache.
    #[error("the store was opened without a cache for whole files")]
    NoCache,
    /// An earlier addition to this writer failed, so that a commit could name chunks that were never written.
    #[error("an earlier addition to this commit failed or was cancelled")]
    WriterFailed,
    /// A pack that this writer had finished is gone.
    #[error("the pack `{object}` was removed while it was being committed")]
    PackRemoved {
        /// The pack.
        object: String,
    },
    /// A collector has condemned what this commit or transfer took for granted.
    #[error("`{digest}` was collected as garbage while it was being relied upon")]
    Collected {
        /// The chunk or blob.
        digest: Digest,
    },
    /// A link of the kind that was asked for cannot be made.
    #[error("cannot make `{}` {kind} of a file in the cache: {reason}", path.display())]
    NoLink {
        /// The file to be laid out.
        path: PathBuf,
        /// `a reflink` or `a hard link`.
        kind: &'static str,
        /// Why.
        reason: String,
    },
    /// A background task was stopped before it had finished.
    #[error("a task of the store was stopped before it had finished")]
    Interrupted,
}

impl StoreError {
    /// Whether a server answered, and would not give what was asked for to whoever asked.
    pub fn is_refusal(&self) -> bool {
        use object_store::Error::{PermissionDenied, Unauthenticated};
        matches!(self, Self::Backend { source: PermissionDenied { .. } | Unauthenticated { .. }, .. })
    }

    /// The codes of errors that say that what is stored is wrong or not there, and not that it could not be asked for.
    pub const OF_CONTENT: [&'static str; 4] =
        ["store.damaged", "store.malformed", "store.not_found", "store.too_large"];

    /// Whether it says that what is stored is wrong or not there, and not that it could not be asked for.
    pub fn is_of_content(&self) -> bool {
        Self::OF_CONTENT.contains(&self.code())
    }

    /// The error that a failure of the object store below is.
    pub(crate) fn of_backend(action: &'static str, object: String, source: object_store::Error) -> Self {
        match NoCredentials::behind(&source) {
            Some(missing) => {
                Self::NoCredentials { action, object, reason: missing.to_string(), hint: missing.vendor.hint() }
            }
            None => Self::Backend { action, object, source },
        }
    }

    /// Whether the disk has no room left.
    pub fn is_disk_full(&self) -> bool {
        is_full_below(self)
    }

    /// The same of the store at `url` as a whole, where that is all that a user knows of it.
    pub(crate) fn opening(self, url: &str) -> Self {
        match self {
            Self::NoCredentials { reason, hint, .. } => {
                Self::NoCredentials { action: "open", object: url.to_owned(), reason, hint }
            }
            other => other,
        }
    }
}

fn marked(number: Option<u32>) -> String {
    match number {
        Some(number) => format!("its form has the number {number}, and this program knows 1 only"),
        None => "its object `format` is not the mark of a store".to_owned(),
    }
}

fn generation(generation: Option<u64>) -> String {
    generation.map_or_else(|| "no generation".to_owned(), |number| format!("generation {number}"))
}

/// The error, without the names of the layers above a failure of the disk.
fn told(error: &object_store::Error) -> String {
    let mut next: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(below) = next {
        if let Some(file) = below.downcast_ref::<FileError>() {
            return file.to_string();
        }
        next = below.source();
    }
    error.to_string()
}

/// Whether the disk below this error has no room left.
fn is_full_below(error: &(dyn Error + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        let kind = match error.downcast_ref::<FileError>() {
            Some(FileError::Io { source, .. }) => Some(source.kind()),
            _ => error.downcast_ref::<std::io::Error>().map(std::io::Error::kind),
        };
        if matches!(kind, Some(std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded)) {
            return true;
        }
        next = error.source();
    }
    false
}

/// What to do about a failure of the disk, if one is below this error.
fn disk_hint_below(error: &(dyn Error + 'static)) -> Option<&'static str> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(hint) = error.downcast_ref().and_then(files::disk_hint) {
            return Some(hint);
        }
        next = error.source();
    }
    None
}

impl Diagnose for StoreError {
    fn code(&self) -> &'static str {
        match self {
            Self::UnknownScheme { .. } => "store.unknown_scheme",
            Self::BadUrl { .. } => "store.bad_url",
            Self::CredentialsInUrl { .. } => "store.credentials_in_url",
            Self::Profile { .. } => "store.profile",
            Self::NoCredentials { .. } => "store.no_credentials",
            Self::Backend { .. } => "store.backend",
            Self::Vanished { .. } => "store.vanished",
            Self::File(error) => error.code(),
            Self::NotFound { .. } => "store.not_found",
            Self::Damaged { .. } => "store.damaged",
            Self::Malformed { .. } => "store.malformed",
            Self::UnknownFormat { .. } => "store.unknown_format",
            Self::MarkLost { .. } => "store.mark_lost",
            Self::TooLarge { .. } => "store.too_large",
            Self::Conflict { .. } => "store.conflict",
            Self::RefName(_) => "store.ref_name",
            Self::NotStorable { .. } => "store.not_storable",
            Self::TargetOccupied { .. } => "store.target_occupied",
            Self::NoCache => "store.no_cache",
            Self::WriterFailed => "store.writer_failed",
            Self::PackRemoved { .. } => "store.pack_removed",
            Self::Collected { .. } => "store.collected",
            Self::NoLink { .. } => "store.no_link",
            Self::Interrupted => "store.interrupted",
        }
    }

    fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::UnknownScheme { .. } => "write `file:PATH` for a directory on this machine",
            Self::CredentialsInUrl { .. } => "put them into the environment or the profile file of that vendor",
            Self::Profile { .. } => {
                "profiles are in ~/.aws/credentials and ~/.aws/config, or where AWS_SHARED_CREDENTIALS_FILE and \
                 AWS_CONFIG_FILE say; or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, as `aws configure \
                 export-credentials` prints them"
            }
            Self::NoLink { .. } => {
                "let files be copied, or keep cache and directory on one file system that has such links"
            }
            Self::NoCredentials { hint, .. } => hint,
            Self::File(error) => return error.hint(),
            Self::NotFound { .. } => {
                "fetch it from the store in which it was made, or make it again; where a remote has lost it, `ropewalk data \
                 verify --remote NAME --heal` sends it again from a machine that has it"
            }
            Self::Damaged { .. } => {
                "`ropewalk data verify --heal REMOTE` heals a project's own store from its work tree and a remote, `ropewalk data \
                 verify --remote REMOTE --heal` a remote from a machine that has the bytes"
            }
            Self::Malformed { what: "ref", .. } => {
                "`ropewalk data verify` names refs that are damaged, and sets them again with `--heal`; with `--remote NAME` \
                 those of a remote"
            }
            Self::Conflict { .. } => "read the ref again and repeat the change on what it holds now",
            Self::NotStorable { .. } => "replace it by a regular file, or move it out of the directory",
            Self::UnknownFormat { number: Some(_), .. } => "use the Ropewalk that made it, or a newer one",
            Self::UnknownFormat { number: None, .. } => {
                "see that it is the right place; if it is, `ropewalk data verify --heal` writes its object `format` again, of a \
                 remote `ropewalk data verify --remote NAME --heal`"
            }
            Self::MarkLost { .. } => {
                "of a remote, `ropewalk push` or `ropewalk data verify --remote NAME --heal` writes it again; of a project's own \
                 store, `ropewalk data verify --heal REMOTE`"
            }
            Self::TargetOccupied { .. } => "name an empty or a new directory",
            Self::WriterFailed | Self::PackRemoved { .. } | Self::Collected { .. } => {
                "add the files again; what is stored already costs nothing"
            }
            Self::Vanished { note: None, .. } => {
                "see that its disk is mounted and can be read, then run the same command again"
            }
            Self::Vanished { note: Some(note), .. } => {
                return Some(format!(
                    "see that its disk is mounted; to begin with an empty store, remove `{}` and fetch from a remote",
                    note.display()
                ));
            }
            Self::Backend { source, .. } => return disk_hint_below(source).map(str::to_owned),
            Self::TooLarge { unit: DIRECTORY_UNIT, .. } => "spread its files over several directories",
            Self::BadUrl { .. }
            | Self::TooLarge { .. }
            | Self::Malformed { .. }
            | Self::RefName(_)
            | Self::NoCache
            | Self::Interrupted => return None,
        };
        Some(hint.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[test]
    fn a_failing_disk_is_recognized_below_the_backend() {
        let full = io::Error::from(io::ErrorKind::StorageFull);
        let wrapped = FileError::Io { action: "write", path: PathBuf::from("x"), source: full };
        let error = |source: Box<dyn Error + Send + Sync>| StoreError::Backend {
            action: "write",
            object: "packs/x".to_owned(),
            source: object_store::Error::Generic { store: "test", source },
        };
        let wrapped = error(Box::new(wrapped));
        assert!(
            wrapped.to_string().starts_with("cannot write `packs/x` in the store: cannot write `x`: "),
            "{wrapped}"
        );
        assert!(wrapped.hint().is_some_and(|hint| hint.contains("space")) && wrapped.is_disk_full());
        assert!(!error(Box::new(io::Error::from(io::ErrorKind::TimedOut))).is_disk_full());
        assert_eq!(error(Box::new(io::Error::from(io::ErrorKind::TimedOut))).hint(), None);
        let hint = |kind: io::ErrorKind| error(Box::new(io::Error::from(kind))).hint().unwrap();
        assert!(hint(io::ErrorKind::ReadOnlyFilesystem).contains("can only be read"));
        assert!(hint(io::ErrorKind::PermissionDenied).contains("permissions"));
        assert!(error(Box::new(io::Error::from_raw_os_error(5))).hint().unwrap().contains("dmesg"));
    }
}
