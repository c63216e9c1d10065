use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use ropewalk_execution::{ExecutionError, Program};

use crate::error::VersionsError;

const OUTPUT_LIMIT: u64 = 16 << 20;

/// What git says of some files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum GitState {
    /// The files are in no repository, or there is no git; the text says which.
    None(String),
    /// They are in a repository.
    Repository {
        /// The commit that is checked out; none in a repository without commits.
        commit: Option<String>,
        /// The branch that is checked out, if one is.
        branch: Option<String>,
        /// Whether the commit holds every file just as it is.
        clean: bool,
    },
}

/// Asks git about `files`, given relative to `root`.
pub(crate) async fn state(root: &Path, files: &[PathBuf]) -> Result<GitState, ExecutionError> {
    let inside = match git(root, &["rev-parse", "--is-inside-work-tree"]).await {
        Ok(answer) => answer,
        Err(ExecutionError::Start { .. }) => return Ok(GitState::None("git is not installed".to_owned())),
        Err(error) => return Err(error),
    };
    if inside.as_deref() != Some("true") {
        return Ok(GitState::None("the project is not in a git repository".to_owned()));
    }
    let commit = git(root, &["rev-parse", "--verify", "--quiet", "HEAD"]).await?;
    let branch = git(root, &["symbolic-ref", "--quiet", "--short", "HEAD"]).await?;
    let clean = commit.is_some() && holds(root, files).await?;
    Ok(GitState::Repository { commit, branch, clean })
}

/// Whether `root` lies in a work tree of git; `false` without git.
pub(crate) async fn is_repository(root: &Path) -> Result<bool, ExecutionError> {
    Ok(answer(root, &["rev-parse", "--is-inside-work-tree"]).await?.as_deref() == Some("true"))
}

/// Whether git would never see `path`, given relative to `root`; `false` without git or a repository.
pub(crate) async fn ignores(root: &Path, path: &Path) -> Result<bool, ExecutionError> {
    Ok(match path.to_str() {
        // Not with `--literal-pathspecs`, which `check-ignore` does not know; it takes paths, not patterns.
        Some(path) => answer(root, &["check-ignore", "--quiet", "--", path]).await?.is_some(),
        None => false,
    })
}

/// Whether git tracks `path` or something below it; `false` without git or a repository.
pub(crate) async fn tracks(root: &Path, path: &Path) -> Result<bool, ExecutionError> {
    let Some(path) = path.to_str() else { return Ok(false) };
    match answer(root, &["--literal-pathspecs", "ls-files", "--", path]).await {
        Err(ExecutionError::TooMuchOutput { .. }) => Ok(true),
        answer => Ok(answer?.is_some_and(|files| !files.is_empty())),
    }
}

/// A file as the index of git has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Staged {
    /// Relative to the folder that was asked for.
    pub(crate) path: String,
    /// The name of its blob.
    pub(crate) object: String,
}

/// The files below `root` that git tracks, sorted by path.
pub(crate) async fn tracked_files(root: &Path) -> Result<Vec<String>, VersionsError> {
    let mut files = Vec::new();
    records(root, &["ls-files", "-z"], &mut |path| files.push(path.to_owned())).await?;
    files.sort_unstable();
    files.dedup();
    Ok(files)
}

/// The regular files below `root` that git tracks and leaves to Git LFS.
pub(crate) async fn lfs_files(root: &Path) -> Result<Vec<Staged>, VersionsError> {
    let mut files = Vec::new();
    let arguments = ["ls-files", "--stage", "-z", "--", ":(attr:filter=lfs)"];
    records(root, &arguments, &mut |record| files.extend(staged(record))).await?;
    Ok(files)
}

/// Reads `MODE OBJECT STAGE\tPATH` (git-ls-files, "OUTPUT"); none for links, submodules, and other sides of a conflict
/// than that of the branch that is checked out.
fn staged(record: &str) -> Option<Staged> {
    let (about, path) = record.split_once('\t')?;
    let mut about = about.split(' ');
    let (mode, object, stage) = (about.next()?, about.next()?, about.next()?);
    let file = mode.starts_with("100") && matches!(stage, "0" | "2");
    file.then(|| Staged { path: path.to_owned(), object: object.to_owned() })
}

/// Gives to `each` those of `objects` that are blobs of at most `limit` bytes, with their names.
pub(crate) async fn small_blobs(
    root: &Path,
    objects: &BTreeSet<&str>,
    limit: usize,
    each: &mut (dyn FnMut(&str, &[u8]) + Send),
) -> Result<(), VersionsError> {
    let (mut answers, mut small) = (Split::at(b'\n'), String::new());
    let mut look = |line: &str| {
        if let Some(Blob { name, size }) = Blob::read(line)
            && size <= limit
        {
            small.extend([name, "\n"]);
        }
    };
    let asked: String = objects.iter().flat_map(|name| [*name, "\n"]).collect();
    let check = ["cat-file", "--batch-check", "--buffer"];
    stream(root, &check, asked.as_bytes(), &mut |piece| answers.push(piece, &mut look)).await?;
    if small.is_empty() {
        return Ok(());
    }
    let mut blobs = Blobs::default();
    let read = ["cat-file", "--batch", "--buffer"];
    stream(root, &read, small.as_bytes(), &mut |piece| blobs.push(piece, each)).await
}

/// `OBJECT blob SIZE` (git-cat-file, "BATCH OUTPUT").
struct Blob<'a> {
    name: &'a str,
    size: usize,
}

impl<'a> Blob<'a> {
    /// None for what is no blob, or is not there.
    fn read(line: &'a str) -> Option<Self> {
        let (name, rest) = line.split_once(' ')?;
        Some(Self { name, size: rest.strip_prefix("blob ")?.parse().ok()? })
    }
}

/// What `git cat-file --batch` prints of blobs: of each a line, then its bytes and a line end.
#[derive(Default)]
struct Blobs {
    rest: Vec<u8>,
}

impl Blobs {
    fn push(&mut self, piece: &[u8], each: &mut (dyn FnMut(&str, &[u8]) + Send)) {
        self.rest.extend_from_slice(piece);
        let mut used = 0;
        while let Some((length, name, bytes)) = Self::first(&self.rest[used..]) {
            if let Some(bytes) = bytes {
                each(name, bytes);
            }
            used += length;
        }
        self.rest.drain(..used);
    }

    /// How much the first answer takes, its line and its bytes; none if it is not whole yet.
    fn first(rest: &[u8]) -> Option<(usize, &str, Option<&[u8]>)> {
        let end = rest.iter().position(|byte| *byte == b'\n')?;
        let line = std::str::from_utf8(&rest[..end]).unwrap_or_default();
        let Some(Blob { name, size }) = Blob::read(line) else { return Some((end + 1, "", None)) };
        let bytes = rest.get(end + 1..end + 1 + size)?;
        // The line end behind the bytes must have come, too.
        rest.get(end + 1 + size)?;
        Some((end + 1 + size + 1, name, Some(bytes)))
    }
}

/// Text that comes in pieces, cut at a byte.
struct Split {
    at: u8,
    rest: Vec<u8>,
}

impl Split {
    fn at(at: u8) -> Self {
        Self { at, rest: Vec::new() }
    }

    /// Records that are no text are passed over: no dataset can have such a path.
    fn push(&mut self, piece: &[u8], each: &mut dyn FnMut(&str)) {
        let mut parts = piece.split(|byte| *byte == self.at);
        self.rest.extend_from_slice(parts.next().unwrap_or_default());
        for part in parts {
            if let Ok(text) = std::str::from_utf8(&self.rest)
                && !text.is_empty()
            {
                each(text);
            }
            self.rest.clear();
            self.rest.extend_from_slice(part);
        }
    }
}

/// What git prints, cut at zero bytes.
async fn records(root: &Path, arguments: &[&str], each: &mut (dyn FnMut(&str) + Send)) -> Result<(), VersionsError> {
    let mut split = Split::at(0);
    stream(root, arguments, b"", &mut |piece| split.push(piece, each)).await
}

/// What git prints, in any amount, given `input`; that it fails is an error.
async fn stream(
    root: &Path,
    arguments: &[&str],
    input: &[u8],
    each: &mut (dyn FnMut(&[u8]) + Send),
) -> Result<(), VersionsError> {
    let told = program(root, arguments).stream(input, each).await?;
    if told.exit.success() {
        return Ok(());
    }
    let command = arguments.first().copied().unwrap_or_default();
    let reason = format!("it ended with {}: {}", told.exit, told.error.trim_end());
    Err(VersionsError::Git { command: command.to_owned(), folder: root.to_owned(), reason })
}

/// The folder in which git keeps what all work trees share; none without git or a repository.
pub(crate) async fn common_folder(root: &Path) -> Result<Option<PathBuf>, ExecutionError> {
    let told = answer(root, &["rev-parse", "--git-common-dir"]).await?;
    Ok(told.map(|folder| root.join(folder)))
}

/// A setting of git.
pub(crate) async fn setting(root: &Path, name: &str) -> Result<Option<String>, ExecutionError> {
    Ok(answer(root, &["config", "--get", name]).await?.filter(|value| !value.is_empty()))
}

/// Gives to `each` what any commit of any branch, tag or stash had at paths that end with `ending`: the text of every
/// such file of at most `limit` bytes.
///
/// Nothing without git or a repository; that git fails in one is an error.
pub(crate) async fn texts_ever(
    root: &Path,
    ending: &str,
    limit: usize,
    each: &mut (dyn FnMut(&str) + Send),
) -> Result<(), VersionsError> {
    if common_folder(root).await?.is_none() {
        return Ok(());
    }
    let pattern = format!(":(top,glob)**/*{ending}");
    let log = ["log", "--all", "--full-history", "-m", "--format=", "--raw", "-z", "--no-abbrev", "--no-renames", "--"];
    let arguments = [log.as_slice(), &[pattern.as_str()]].concat();
    let mut names = BTreeSet::<String>::new();
    records(root, &arguments, &mut |record| names.extend(changed(record).into_iter().map(str::to_owned))).await?;
    let names = names.iter().map(String::as_str).collect();
    small_blobs(root, &names, limit, &mut |_, bytes| each(&String::from_utf8_lossy(bytes))).await
}

/// The objects of `:100644 100644 OLD NEW M` (git-diff, "RAW OUTPUT FORMAT"); none of a path, or of a file that is not
/// there.
fn changed(record: &str) -> Vec<&str> {
    let Some(about) = record.trim_start().strip_prefix(':') else { return Vec::new() };
    let object =
        |name: &&str| name.bytes().all(|byte| byte.is_ascii_hexdigit()) && name.bytes().any(|byte| byte != b'0');
    about.split_whitespace().skip(2).take(2).filter(object).collect()
}

/// The bytes that `commit` has of `file`, given relative to `root`; more than `limit` are an error, as that there are none.
pub(crate) async fn file_at(root: &Path, commit: &str, file: &str, limit: usize) -> Result<Vec<u8>, VersionsError> {
    // `./`: from this folder, not from the top of the repository (gitrevisions(7)).
    let object = format!("{commit}:./{file}");
    let (mut bytes, mut length) = (Vec::new(), 0);
    let mut each = |piece: &[u8]| {
        length += piece.len();
        if length <= limit {
            bytes.extend_from_slice(piece);
        }
    };
    stream(root, &["cat-file", "blob", &object], b"", &mut each).await?;
    if length > limit {
        let reason = format!("{object} has more than {limit} bytes");
        return Err(VersionsError::Git { command: "cat-file".to_owned(), folder: root.to_owned(), reason });
    }
    Ok(bytes)
}

/// What makes `files`, given relative to `root`, out of what the commit has of them, as `git apply` takes it; empty for those
/// that git does not track, and none where it is longer than `limit` bytes.
pub(crate) async fn patch(root: &Path, files: &[&str], limit: usize) -> Result<Option<Vec<u8>>, VersionsError> {
    let diff =
        ["--literal-pathspecs", "diff", "--binary", "--no-color", "--no-ext-diff", "--no-textconv", "HEAD", "--"];
    let (mut patch, mut fits) = (Vec::new(), true);
    let mut each = |piece: &[u8]| {
        fits = fits && patch.len() + piece.len() <= limit;
        if fits {
            patch.extend_from_slice(piece);
        }
    };
    stream(root, &[diff.as_slice(), files].concat(), b"", &mut each).await?;
    Ok(fits.then_some(patch))
}

/// Whether the commit holds the files as they are: all are tracked, none is changed.
async fn holds(root: &Path, files: &[PathBuf]) -> Result<bool, ExecutionError> {
    let names: Vec<&str> = files.iter().filter_map(|path| path.to_str()).collect();
    let tracked = [&["ls-files", "--error-unmatch", "--"], names.as_slice()].concat();
    if names.len() != files.len() || git(root, &tracked).await?.is_none() {
        return Ok(false);
    }
    let changed = [&["status", "--porcelain", "--"], names.as_slice()].concat();
    Ok(git(root, &changed).await?.as_deref() == Some(""))
}

/// Like [`git`], with patterns for paths; also none without git.
async fn answer(root: &Path, arguments: &[&str]) -> Result<Option<String>, ExecutionError> {
    match call(root, arguments).await {
        Err(ExecutionError::Start { .. }) => Ok(None),
        answer => answer,
    }
}

/// What `git` prints, without white space at the end; none if it answers with a failure.
async fn git(root: &Path, arguments: &[&str]) -> Result<Option<String>, ExecutionError> {
    // A file named `*.sql` is that file, not a pattern.
    call(root, &[&["--literal-pathspecs"], arguments].concat()).await
}

async fn call(root: &Path, arguments: &[&str]) -> Result<Option<String>, ExecutionError> {
    let told = program(root, arguments).run().await?;
    Ok(told.exit.success().then(|| told.output.trim_end().to_owned()))
}

fn program(root: &Path, arguments: &[&str]) -> Program {
    let arguments = ["--no-optional-locks"].iter().chain(arguments);
    Program {
        name: "git".to_owned(),
        arguments: arguments.map(|&one| one.to_owned()).collect(),
        directory: root.to_owned(),
        limit: OUTPUT_LIMIT,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_git_prints_is_read_in_whatever_pieces_it_comes() {
        let printed = b"a1 blob 3\nx\ny\nb2 missing\nc3 blob 0\n\nd4 blob 2\nzz\n";
        let records = ["100644 aa 0\tx y", "120000 bb 0\tlink", "100755 cc 2\tours", "100644 dd 3\ttheirs", ""];
        let paths = records.join("\0");
        for length in 1..printed.len() {
            let (mut found, mut blobs) = (Vec::new(), Blobs::default());
            for piece in printed.chunks(length) {
                blobs.push(piece, &mut |name, bytes| found.push((name.to_owned(), bytes.to_owned())));
            }
            let expected = [("a1", "x\ny"), ("c3", ""), ("d4", "zz")];
            assert_eq!(found, expected.map(|(name, text)| (name.to_owned(), text.as_bytes().to_owned())), "{length}");
            let (mut found, mut split) = (Vec::new(), Split::at(0));
            for piece in paths.as_bytes().chunks(length) {
                split.push(piece, &mut |record| found.extend(staged(record)));
            }
            let staged = |path: &str, object: &str| Staged { path: path.to_owned(), object: object.to_owned() };
            assert_eq!(found, [staged("x y", "aa"), staged("ours", "cc")], "{length}");
        }
    }

    #[test]
    fn objects_are_told_from_paths_and_from_nothing() {
        let none = "0".repeat(40);
        assert_eq!(changed(&format!(":000000 100644 {none} ab12 A")), ["ab12"]);
        assert_eq!(changed("\n:100644 100644 ab12 cd34 M"), ["ab12", "cd34"]);
        for other in ["d/x.dataset", ":a b of paths.dataset", ""] {
            assert!(changed(other).is_empty(), "{other}");
        }
    }
}
