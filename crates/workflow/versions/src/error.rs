use std::path::{Path, PathBuf};

use ropewalk_execution::ExecutionError;
use ropewalk_store::{FileError, StoreError};
use ropewalk_types::{DatasetName, Diagnose, Digest, NameError};

use crate::pointer::EXTENSION;
use crate::version::Version;

/// How many file names an error lists before it only counts.
const NAMED: usize = 5;
/// Links are listed further, since each of them has to be decided on.
const LINKS_NAMED: usize = 20;

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
    /// Symbolic links lie in data, and nothing was said of what becomes of them.
    #[error(
        "`{}` holds {}, and links are not stored: {}",
        path.display(), links_counted(links.len()), quoted(links, LINKS_NAMED)
    )]
    Links {
        /// The data.
        path: PathBuf,
        /// The links, by path inside the data.
        links: Vec<String>,
    },
    /// Symbolic links lie where files of a version belong.
    #[error("dataset `{name}`: its files belong where {} in the work tree: {}", links_are(paths.len()), listed(paths))]
    LinksInTheWay {
        /// The dataset.
        name: DatasetName,
        /// Paths inside the dataset.
        paths: Vec<String>,
    },
    /// Symbolic links cannot be replaced by what they point to.
    #[error(
        "cannot follow {} of `{}`: {}",
        links_counted(refused.len() + more), path.display(), reasons(refused, *more)
    )]
    LinksNotFollowed {
        /// The data.
        path: PathBuf,
        /// The first of these links, each with the reason.
        refused: Vec<String>,
        /// How many more there are.
        more: usize,
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
    /// A pointer was renamed, and its data was not.
    #[error("the pointer `{}` belongs beside `{data}`, which its line {line} names", path.display())]
    PointerMoved {
        /// The pointer file.
        path: PathBuf,
        /// The line that says `path`, counted from 1.
        line: usize,
        /// The data that it names.
        data: String,
    },
    /// A file of something else lies where a pointer is to be.
    #[error("`{}` is in the way: it is no pointer of Ropewalk", .0.display())]
    NotAPointer(PathBuf),
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
    #[error("there is no dataset `{name}` in this project")]
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
    /// Several versions, of different lines, have the same number.
    #[error("`{name}@v{number}` names {} versions: {}", found.len(), numbered(found))]
    AmbiguousNumber {
        /// The dataset.
        name: DatasetName,
        /// The number.
        number: u64,
        /// Whom it fits.
        found: Vec<NumberedVersion>,
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
    #[error("{} of `{name}` has no file `{path}`", asked(version.as_ref()))]
    UnknownFile {
        /// The dataset.
        name: DatasetName,
        /// The version, as asked for; none for what the pointer names.
        version: Option<String>,
        /// The path or pattern inside the dataset.
        path: String,
        /// What there is at the top of the dataset.
        known: Vec<String>,
        /// Whether `path` is the name of another dataset.
        dataset: bool,
    },
    /// One file of a folder was wanted, and not said which.
    #[error("the dataset `{name}` is a folder: it is not said which of its files is meant")]
    WhichFile {
        /// The dataset.
        name: DatasetName,
        /// What there is at its top.
        known: Vec<String>,
    },
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
    /// A merge needs a work tree without changes.
    #[error("cannot merge `{name}`: {} in no version yet{}", kept_back(paths), colon_listed(paths))]
    Unmergeable {
        /// The dataset.
        name: DatasetName,
        /// Files with changes; none if what was added last was not committed.
        paths: Vec<String>,
    },
    /// A version must say why it was made.
    #[error("a version needs a message")]
    NoMessage,
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
    /// Files that were left out of the work tree are needed, and not in the store either.
    #[error("dataset `{name}` is laid out in part, and the store does not hold the files that were left out")]
    LaidOutInPart {
        /// The dataset.
        name: DatasetName,
    },
    /// The project names no other store.
    #[error("the project has no remote")]
    NoRemote,
    /// The project has no remote of this name.
    #[error("the project has no remote `{name}`")]
    UnknownRemote {
        /// What was asked for.
        name: String,
        /// The names of those that it has.
        known: Vec<String>,
    },
    /// Nothing was ever pushed to where a remote should be, or it cannot be seen.
    #[error("the remote `{name}` is not there: no store was found at {url}")]
    RemoteMissing {
        /// Its name.
        name: String,
        /// Where it should be.
        url: String,
    },
    /// Two versions of different datasets were to be compared.
    #[error("`{first}` and `{second}` are two datasets")]
    TwoDatasets {
        /// One of them.
        first: DatasetName,
        /// The other.
        second: DatasetName,
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

/// One of several versions that have the same number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NumberedVersion {
    /// Its name.
    pub digest: Digest,
    /// Who made it.
    pub author: String,
    /// The first line of why it was made.
    pub message: String,
}

impl NumberedVersion {
    pub(crate) fn of(digest: Digest, version: &Version) -> Self {
        let message = version.message.lines().next().unwrap_or_default().to_owned();
        Self { digest, author: version.author.clone(), message }
    }
}

fn numbered(found: &[NumberedVersion]) -> String {
    let told = |one: &NumberedVersion| format!("{} by {} ({})", one.digest.short(), one.author, one.message);
    let mut text = found.iter().take(NAMED).map(told).collect::<Vec<_>>().join(", ");
    if found.len() > NAMED {
        text.push_str(", …");
    }
    text
}

fn asked(version: Option<&String>) -> String {
    version.map_or_else(|| "what the `.dataset` file".to_owned(), |version| format!("version `{version}`"))
}

fn kept_back(paths: &[String]) -> String {
    if paths.is_empty() { "what was added last is".to_owned() } else { format!("changes to {} are", count(paths)) }
}

fn colon_listed(paths: &[String]) -> String {
    if paths.is_empty() { String::new() } else { format!(": {}", listed(paths)) }
}

fn shorts(digests: &[Digest]) -> String {
    digests.iter().take(NAMED).map(Digest::short).collect::<Vec<_>>().join(", ")
}

fn count(paths: &[String]) -> String {
    if paths.len() == 1 { "1 file".to_owned() } else { format!("{} files", paths.len()) }
}

fn links_are(count: usize) -> String {
    if count == 1 { "a symbolic link is".to_owned() } else { format!("{count} symbolic links are") }
}

fn links_counted(count: usize) -> String {
    if count == 1 { "a symbolic link".to_owned() } else { format!("{count} symbolic links") }
}

fn reasons(refused: &[String], more: usize) -> String {
    format!("{}{}", refused.join("; "), if more > 0 { "; …" } else { "" })
}

fn listed(paths: &[String]) -> String {
    quoted(paths, NAMED)
}

fn quoted(paths: &[String], most: usize) -> String {
    let mut text = paths.iter().take(most).map(|path| format!("`{}`", printable(path))).collect::<Vec<_>>().join(", ");
    if paths.len() > most {
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
            Self::Links { .. } => "versions.links",
            Self::LinksInTheWay { .. } => "versions.links_in_the_way",
            Self::LinksNotFollowed { .. } => "versions.links_not_followed",
            Self::Pointer { .. } => "versions.pointer",
            Self::PointerMoved { .. } => "versions.pointer_moved",
            Self::NotAPointer(_) => "versions.not_a_pointer",
            Self::PointerConflict { .. } => "versions.pointer_conflict",
            Self::NoConflict(_) => "versions.no_conflict",
            Self::UnknownDataset { .. } => "versions.unknown_dataset",
            Self::NameTaken { .. } => "versions.name_taken",
            Self::UnknownVersion { .. } => "versions.unknown_version",
            Self::AmbiguousVersion { .. } | Self::AmbiguousNumber { .. } => "versions.ambiguous_version",
            Self::UnknownFile { .. } => "versions.unknown_file",
            Self::WhichFile { .. } => "versions.which_file",
            Self::TagExists { .. } => "versions.tag_exists",
            Self::UnknownTag { .. } => "versions.unknown_tag",
            Self::Pattern { .. } => "versions.pattern",
            Self::WouldOverwrite { .. } => "versions.would_overwrite",
            Self::Unmergeable { .. } => "versions.unmergeable",
            Self::NoMessage => "versions.no_message",
            Self::Uncommitted { .. } => "versions.uncommitted",
            Self::Outdated { .. } => "versions.outdated",
            Self::ContentMissing { .. } => "versions.content_missing",
            Self::LaidOutInPart { .. } => "versions.laid_out_in_part",
            Self::NoRemote => "versions.no_remote",
            Self::UnknownRemote { .. } => "versions.unknown_remote",
            Self::RemoteMissing { .. } => "versions.remote_missing",
            Self::TwoDatasets { .. } => "versions.two_datasets",
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
            Self::Merge { .. } | Self::Name(_) | Self::Malformed { .. } | Self::Interrupted => return None,
            Self::Untrackable { advice, .. } => advice,
            Self::Links { .. } => {
                "`ropewalk data add PATH --follow-links` puts what they point to in their place; with `--skip-links` they \
                 are no part of the data, now and later"
            }
            Self::LinksInTheWay { .. } => "move these links away",
            Self::LinksNotFollowed { .. } => {
                "mend or remove these links; `--follow-links=anywhere` also follows those that lead out of the project"
            }
            Self::Path(_) => "name files relative to the project, without `..`",
            Self::Pointer { .. } => "take the file back from git: `git checkout -- FILE`",
            Self::NotAPointer(_) => "move that file away, or give the data another name",
            Self::NoConflict(_) => "name the dataset instead, to merge it with another of its versions",
            Self::NameTaken { .. } => "give it another name with `--name`",
            Self::AmbiguousNumber { .. } => "name the one that is meant by its digest, or give it a tag",
            Self::AmbiguousVersion { .. } => "give more digits",
            Self::TagExists { .. } => "choose another tag, or move this one with `--move`",
            Self::Pattern { .. } => "write a path inside the dataset, or a glob such as `images/**/*.png`",
            Self::WouldOverwrite { .. } => "commit them with `ropewalk data commit`, or give them up with `--force`",
            Self::NoMessage => "say with `-m` what the version is",
            Self::Uncommitted { .. } => "run `ropewalk data commit`, or give it up with `--force`",
            Self::ContentMissing { .. } => "fetch it from the remote in which it is: `ropewalk fetch --all`",
            Self::NoRemote => "add one: `ropewalk remote add origin URL`",
            Self::RemoteMissing { .. } => {
                "`ropewalk push` creates it; if it should be there, check the path, or whether the disk is mounted"
            }
            Self::TwoDatasets { .. } => "name two versions of one",
            Self::Busy { .. } => "try again",
            Self::Foreign { .. } => "take the file back from git, or remove it",
            _ => return self.hint_with_names(),
        };
        Some(hint.to_owned())
    }
}

impl VersionsError {
    /// Hints that name what the error is about.
    fn hint_with_names(&self) -> Option<String> {
        let hint = match self {
            Self::PointerConflict { path, .. } => format!("run `ropewalk data merge {}`", path.display()),
            Self::PointerMoved { path, line, data } => moved(path, *line, data),
            Self::UnknownDataset { known, .. } => known_datasets(known),
            Self::UnknownVersion { name, .. } => format!("`ropewalk data log {name}` lists the versions"),
            Self::UnknownFile { path, dataset: true, .. } => {
                format!("`{path}` is a dataset of its own: `ropewalk data checkout {path}`")
            }
            Self::UnknownFile { known, .. } if known.is_empty() => "it has no files at all".to_owned(),
            Self::UnknownFile { known, .. } => {
                format!("paths begin inside the dataset; at its top are {}", listed(known))
            }
            Self::WhichFile { name, known } => format!("write `{name}/PATH`; at its top are {}", listed(known)),
            Self::UnknownTag { name, .. } => format!("`ropewalk data tag {name}` lists the tags"),
            Self::Unmergeable { paths, .. } if paths.is_empty() => "run `ropewalk data commit` first".to_owned(),
            Self::Unmergeable { name, .. } => format!(
                "commit them with `ropewalk data commit {name}`, or give them up with `ropewalk data restore {name}`"
            ),
            Self::Outdated { name, path, .. } => format!(
                "run `ropewalk data checkout {name}`; or keep what is laid out, as a version beside the one that the \
                 pointer names: `ropewalk data add {path} --force`"
            ),
            Self::LaidOutInPart { name } => format!("bring them: `ropewalk fetch {name}`"),
            Self::UnknownRemote { known, .. } => format!("it has {}", listed(known)),
            Self::Diverged { name, .. } => {
                format!("run `ropewalk fetch` and `ropewalk data merge {name}`, then push again")
            }
            _ => return None,
        };
        Some(hint)
    }
}

/// What to do with a pointer that was renamed alone.
fn moved(path: &Path, line: usize, data: &str) -> String {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let beside = name.strip_suffix(EXTENSION).unwrap_or(&name);
    format!(
        "name it `{data}{EXTENSION}` again; or rename the data too: move `{data}` to `{beside}`, write `path {beside}` \
         into line {line} of `{name}`, and run `ropewalk data add` on it"
    )
}

fn known_datasets(known: &[String]) -> String {
    if known.is_empty() {
        return "track a file or a folder with `ropewalk data add PATH`".to_owned();
    }
    format!("there are {}", listed(known))
}

/// A text with its control characters escaped, so that a name cannot move the cursor of a terminal or begin a line.
pub(crate) fn printable(text: &str) -> String {
    let letter =
        |letter: char| if letter.is_control() { letter.escape_default().collect() } else { letter.to_string() };
    text.chars().map(letter).collect()
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
