use std::path::PathBuf;

use ropewalk_execution::ExecutionError;
use ropewalk_store::{FileError, StoreError};
use ropewalk_types::{DatasetName, Diagnose, Digest, NameError};

/// How many file names an error lists before it only counts.
const NAMED: usize = 5;

/// Something about the versions of code or data cannot be told or done.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VersionsError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The local disk failed.
    #[error(transparent)]
    File(#[from] FileError),
    /// `git` could not be followed.
    #[error(transparent)]
    Execution(#[from] ExecutionError),
    /// A dataset cannot have this name.
    #[error(transparent)]
    Name(#[from] NameError),
    /// A file is named by a path that is not text or leaves the project.
    #[error("`{0}` cannot be part of the code: its path is not plain text inside the project")]
    Path(String),
    /// A path cannot be tracked as a dataset.
    #[error("cannot track `{path}`: {reason}")]
    Untrackable {
        /// The path as given.
        path: String,
        /// Why not.
        reason: String,
        /// What to do.
        advice: &'static str,
    },
    /// A pointer file is not one.
    #[error("cannot read the pointer `{}`, line {line}: {reason}", path.display())]
    Pointer {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: usize,
        /// What is wrong with it.
        reason: String,
    },
    /// A pointer file holds the conflict markers of git.
    #[error("two branches changed the dataset of `{}`: line {line} is a conflict marker of git", path.display())]
    PointerConflict {
        /// The pointer file.
        path: PathBuf,
        /// The first marker, counted from 1.
        line: usize,
    },
    /// A pointer without conflict markers was to be merged.
    #[error("`{}` holds no conflict markers of git", .0.display())]
    NoConflict(PathBuf),
    /// No pointer of this name lies in the project.
    #[error("no dataset `{name}` is tracked in this project")]
    UnknownDataset {
        /// The name or path that was asked for.
        name: String,
        /// What is tracked.
        known: Vec<String>,
    },
    /// Two pointers give the same name.
    #[error("`{path}` cannot be called `{name}`: that is the name of `{other}`")]
    NameTaken {
        /// The name.
        name: DatasetName,
        /// The data that was to have it.
        path: String,
        /// The data that has it.
        other: String,
    },
    /// A text names no version.
    #[error("dataset `{name}` has no version `{spec}`{reason}")]
    UnknownVersion {
        /// The dataset.
        name: DatasetName,
        /// What was asked for.
        spec: String,
        /// More about it; begins with `: `, or is empty.
        reason: String,
    },
    /// The beginning of a digest fits several versions.
    #[error("`{spec}` is the beginning of {} versions of `{name}`: {}", found.len(), shorts(found))]
    AmbiguousVersion {
        /// The dataset.
        name: DatasetName,
        /// What was asked for.
        spec: String,
        /// What it fits.
        found: Vec<Digest>,
    },
    /// A version has no file of this path.
    #[error("version `{version}` of `{name}` has no file `{path}`")]
    UnknownFile {
        /// The dataset.
        name: DatasetName,
        /// The version, as asked for.
        version: String,
        /// The path inside the dataset.
        path: String,
    },
    /// A text that no tag can be.
    #[error(
        "`{0}` cannot be a tag: use 1 to 128 letters, digits, `.`, `_` or `-`, beginning with a letter or digit; \
         neither `latest` nor `head`, nor `v` and a number, nor a whole digest"
    )]
    TagName(String),
    /// A tag names another version already.
    #[error("the tag `{tag}` of `{name}` names the version {} already", version.short())]
    TagExists {
        /// The dataset.
        name: DatasetName,
        /// The tag.
        tag: String,
        /// What it names.
        version: Digest,
    },
    /// No such tag.
    #[error("dataset `{name}` has no tag `{tag}`")]
    UnknownTag {
        /// The dataset.
        name: DatasetName,
        /// The tag.
        tag: String,
    },
    /// A glob that cannot be understood.
    #[error("`{pattern}` is neither a path nor a glob: {reason}")]
    Pattern {
        /// As given.
        pattern: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Files hold changes that no version has.
    #[error("dataset `{name}`: {} would lose changes that are not committed: {}", count(paths), listed(paths))]
    WouldOverwrite {
        /// The dataset.
        name: DatasetName,
        /// Paths inside the dataset.
        paths: Vec<String>,
    },
    /// What was added was never committed.
    #[error("dataset `{name}`: what was added last is in no version yet")]
    Uncommitted {
        /// The dataset.
        name: DatasetName,
    },
    /// The pointer names other content than what the files in the work tree were made from.
    #[error("dataset `{name}`: the pointer names {}, but {} is laid out in `{path}`", wanted.short(), laid_out.short())]
    Outdated {
        /// The dataset.
        name: DatasetName,
        /// The data.
        path: String,
        /// What the pointer names.
        wanted: Digest,
        /// What the index says.
        laid_out: Digest,
    },
    /// The store lacks the files of a version.
    #[error("dataset `{name}`: the store does not hold the files of {}", root.short())]
    ContentMissing {
        /// The dataset.
        name: DatasetName,
        /// The content.
        root: Digest,
    },
    /// The remote moved on in another direction.
    #[error("cannot push `{name}`: the remote is at {}, which is no ancestor of {}", remote.short(), local.short())]
    Diverged {
        /// The dataset.
        name: DatasetName,
        /// What is to be pushed.
        local: Digest,
        /// What the remote has.
        remote: Digest,
    },
    /// Others kept moving a ref.
    #[error("the head of `{name}` changes as fast as it is read")]
    Busy {
        /// The dataset.
        name: DatasetName,
    },
    /// Nothing to merge with.
    #[error("cannot merge `{name}`: {reason}")]
    Merge {
        /// The dataset.
        name: DatasetName,
        /// Why not.
        reason: String,
    },
    /// An object of the store is not the version object that it is used as.
    #[error("`{}` is not a version of a dataset: {reason}", digest.short())]
    Malformed {
        /// The object.
        digest: Digest,
        /// What is wrong.
        reason: String,
    },
    /// A file of DVC or Git LFS cannot be understood.
    #[error("cannot read `{}`: {reason}", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A background task was stopped before it had finished.
    #[error("a task was stopped before it had finished")]
    Interrupted,
}

fn shorts(digests: &[Digest]) -> String {
    digests.iter().take(NAMED).map(Digest::short).collect::<Vec<_>>().join(", ")
}

fn count(paths: &[String]) -> String {
    if paths.len() == 1 { "1 file".to_owned() } else { format!("{} files", paths.len()) }
}

fn listed(paths: &[String]) -> String {
    let mut text = paths.iter().take(NAMED).map(|path| format!("`{path}`")).collect::<Vec<_>>().join(", ");
    if paths.len() > NAMED {
        text.push_str(", …");
    }
    text
}

impl Diagnose for VersionsError {
    fn code(&self) -> &'static str {
        match self {
            Self::Store(error) => error.code(),
            Self::File(error) => error.code(),
            Self::Execution(error) => error.code(),
            Self::Name(_) => "versions.name",
            Self::Path(_) => "versions.path",
            Self::Untrackable { .. } => "versions.untrackable",
            Self::Pointer { .. } => "versions.pointer",
            Self::PointerConflict { .. } => "versions.pointer_conflict",
            Self::NoConflict(_) => "versions.no_conflict",
            Self::UnknownDataset { .. } => "versions.unknown_dataset",
            Self::NameTaken { .. } => "versions.name_taken",
            Self::UnknownVersion { .. } => "versions.unknown_version",
            Self::AmbiguousVersion { .. } => "versions.ambiguous_version",
            Self::UnknownFile { .. } => "versions.unknown_file",
            Self::TagName(_) => "versions.tag_name",
            Self::TagExists { .. } => "versions.tag_exists",
            Self::UnknownTag { .. } => "versions.unknown_tag",
            Self::Pattern { .. } => "versions.pattern",
            Self::WouldOverwrite { .. } => "versions.would_overwrite",
            Self::Uncommitted { .. } => "versions.uncommitted",
            Self::Outdated { .. } => "versions.outdated",
            Self::ContentMissing { .. } => "versions.content_missing",
            Self::Diverged { .. } => "versions.diverged",
            Self::Busy { .. } => "versions.busy",
            Self::Merge { .. } => "versions.merge",
            Self::Malformed { .. } => "versions.malformed",
            Self::Foreign { .. } => "versions.foreign",
            Self::Interrupted => "versions.interrupted",
        }
    }

    fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Store(error) => return error.hint(),
            Self::File(error) => return error.hint(),
            Self::Execution(error) => return error.hint(),
            Self::Untrackable { advice, .. } => advice,
            Self::Path(_) => "name files relative to the project, without `..`",
            Self::Pointer { .. } => "take the file back from git: `git checkout -- FILE`",
            Self::PointerConflict { path, .. } => {
                return Some(format!("run `ropewalk data merge {}`", path.display()));
            }
            Self::NoConflict(_) => "name the dataset instead, to merge it with another of its versions",
            Self::UnknownDataset { known, .. } => return Some(known_datasets(known)),
            Self::NameTaken { .. } => "give it another name with `--name`",
            Self::UnknownVersion { name, .. } => return Some(format!("`ropewalk data log {name}` lists the versions")),
            Self::AmbiguousVersion { .. } => "give more digits",
            Self::UnknownFile { name, .. } => return Some(format!("`ropewalk data list {name}` lists the files")),
            Self::TagExists { .. } => "choose another tag, or move this one with `--force`",
            Self::UnknownTag { name, .. } => return Some(format!("`ropewalk data tag {name}` lists the tags")),
            Self::Pattern { .. } => "write a path inside the dataset, or a glob such as `images/**/*.png`",
            Self::WouldOverwrite { .. } => "commit them with `ropewalk data commit`, or give them up with `--force`",
            Self::Uncommitted { .. } => "run `ropewalk data commit`, or give it up with `--force`",
            Self::Outdated { name, .. } => {
                return Some(format!(
                    "run `ropewalk data checkout {name}`; or keep what is laid out, as a version beside the one that \
                     the pointer names, with `--force`"
                ));
            }
            Self::ContentMissing { .. } => "fetch it from the remote in which it is: `ropewalk fetch --all`",
            Self::Diverged { name, .. } => {
                return Some(format!("run `ropewalk fetch` and `ropewalk data merge {name}`, then push again"));
            }
            Self::Busy { .. } => "try again",
            Self::Foreign { .. } => "take the file back from git, or remove it",
            Self::Merge { .. } | Self::Name(_) | Self::TagName(_) | Self::Malformed { .. } | Self::Interrupted => {
                return None;
            }
        };
        Some(hint.to_owned())
    }
}

fn known_datasets(known: &[String]) -> String {
    if known.is_empty() {
        return "track a file or a folder with `ropewalk data add PATH`".to_owned();
    }
    format!("tracked are {}", listed(known))
}

/// Runs work that computes or blocks, off the reactor.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, VersionsError> + Send + 'static,
) -> Result<T, VersionsError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        // A panic goes on in the task that asked for the work.
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_) => Err(VersionsError::Interrupted),
        },
    }
}
