mod advice;
mod blocking;
mod broken;
mod numbered;

use std::path::PathBuf;

use ropewalk_execution::ExecutionError;
use ropewalk_store::{FileError, StoreError};
use ropewalk_types::{DatasetName, Diagnose, Digest, NameError, counted};

use crate::history::Removal;

pub(crate) use blocking::blocking;
pub(crate) use broken::not_whole;
pub use broken::{LostHead, LostVersion, NotWhole, Unfit, UnfitFact, is_of_content};
pub use numbered::NumberedVersion;
use numbered::numbered;

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
    /// A version that was removed: its content may be gone.
    #[error(
        "version {} of dataset `{name}` was removed by {} on {}: {}",
        version.short(), removal.who, removal.day(), removal.why
    )]
    Removed {
        /// The dataset.
        name: DatasetName,
        /// The version.
        version: Digest,
        /// Who removed it, when and why.
        removal: Box<Removal>,
    },
    /// A version with a tag was to be removed.
    #[error("version {} of dataset `{name}` cannot be removed: it is tagged {}", version.short(), listed(tags))]
    Tagged {
        /// The dataset.
        name: DatasetName,
        /// The version.
        version: Digest,
        /// Its tags.
        tags: Vec<String>,
    },
    /// The version that the work tree is to hold, or holds, was to be removed.
    #[error("version {} of dataset `{name}` cannot be removed: `{path}` in the work tree is that version", version.short())]
    InWorkTree {
        /// The dataset.
        name: DatasetName,
        /// The version.
        version: Digest,
        /// The data, relative to the project.
        path: String,
    },
    /// A folder is where a file was, or a file where a folder was.
    #[error("`{path}` is {here} now, and was {was}")]
    OtherKind {
        /// The data, relative to the project.
        path: String,
        /// What it is.
        here: &'static str,
        /// What it should be.
        was: &'static str,
    },
    /// A removal must say who makes it and why.
    #[error("a removal needs to say who makes it and why")]
    NoReason,
    /// What was about to be done could not be written down, and so was not done.
    #[error("{0}; nothing was done")]
    Trail(Box<dyn Diagnose + Send + Sync>),
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
    /// What the pointer names was never laid out here, or not all of it, so that a version of what is here would lose the rest.
    #[error("dataset `{name}`: the files of {} are not all in `{path}`, nor were they laid out here", root.short())]
    NotLaidOut {
        /// The dataset.
        name: DatasetName,
        /// The data.
        path: String,
        /// What the pointer names.
        root: Digest,
    },
    /// The store lacks the files of a version.
    #[error("dataset `{name}`: the store does not hold the files of {}", root.short())]
    ContentMissing {
        /// The dataset.
        name: DatasetName,
        /// The content.
        root: Digest,
    },
    /// Something of a dataset cannot be had whole.
    #[error(transparent)]
    NotWhole(Box<NotWhole>),
    /// A pointer does not fit what it names.
    #[error(transparent)]
    Unfit(Box<Unfit>),
    /// A remote names a version and has lost it.
    #[error(transparent)]
    LostVersion(Box<LostVersion>),
    /// The head of a remote names what nobody has.
    #[error(transparent)]
    LostHead(Box<LostHead>),
    /// Files that were left out of the work tree are needed, and not in the store either.
    #[error("dataset `{name}` is laid out in part, and the store does not hold the files that were left out")]
    LaidOutInPart {
        /// The dataset.
        name: DatasetName,
    },
    /// What turned out to be damaged while content was being laid out at this path.
    #[error("`{0}` is laid out in half: {1}; the same command finishes it once the store is healed")]
    LaidOutInHalf(String, Box<VersionsError>),
    /// A checkout did not come to its end, so that files of two versions may lie beside each other.
    #[error("dataset `{name}`: `{path}` is laid out in half, as a checkout that did not finish left it")]
    Unfinished {
        /// The dataset.
        name: DatasetName,
        /// The data.
        path: String,
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
    #[error("cannot read `{}`{}: {reason}", path.display(), in_line(*line))]
    Foreign {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1, where one is known.
        line: Option<u64>,
        /// What is wrong.
        reason: String,
    },
    /// Data of DVC or Git LFS cannot be taken over.
    #[error("cannot take over `{}`: {reason}", path.display())]
    Import {
        /// The project, a file, or the URL of an object.
        path: PathBuf,
        /// Why not.
        reason: String,
        /// What to do.
        advice: &'static str,
    },
    /// Git did not say what was asked for.
    #[error("`git {command}` failed in `{}`: {reason}", folder.display())]
    Git {
        /// What git was to do.
        command: String,
        /// Where.
        folder: PathBuf,
        /// How it ended, and what it said.
        reason: String,
    },
    /// A background task was stopped before it had finished.
    #[error("a task was stopped before it had finished")]
    Interrupted,
}

fn asked(version: Option<&String>) -> String {
    version.map_or_else(|| "what the `.dataset` file".to_owned(), |version| format!("version `{version}`"))
}

fn in_line(line: Option<u64>) -> String {
    line.map_or_else(String::new, |line| format!(", line {line}"))
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
    counted(paths.len() as u64, "file")
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

/// A text with its control characters escaped, so that a name cannot move the cursor of a terminal or begin a line.
pub(crate) fn printable(text: &str) -> String {
    let letter =
        |letter: char| if letter.is_control() { letter.escape_default().collect() } else { letter.to_string() };
    text.chars().map(letter).collect()
}
