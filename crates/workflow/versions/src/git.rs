use std::path::{Path, PathBuf};

use ropewalk_execution::{ExecutionError, Program};

const OUTPUT_LIMIT: u64 = 16 << 20;
/// Objects that one call of git shows; a pointer has a few hundred bytes.
const OBJECTS_AT_ONCE: usize = 500;

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

/// The files that git tracks at `path` or below it, given relative to `root`; none without git or a repository.
pub(crate) async fn tracked_files(root: &Path, path: &str) -> Result<Vec<String>, ExecutionError> {
    listed(root, &["--literal-pathspecs", "ls-files", "-z", "--", path]).await
}

/// The files that git tracks below `root` and leaves to Git LFS; none without git or a repository.
pub(crate) async fn lfs_files(root: &Path) -> Result<Vec<String>, ExecutionError> {
    listed(root, &["ls-files", "-z", "--", ":(attr:filter=lfs)"]).await
}

async fn listed(root: &Path, arguments: &[&str]) -> Result<Vec<String>, ExecutionError> {
    let told = answer(root, arguments).await?.unwrap_or_default();
    Ok(told.split('\0').filter(|path| !path.is_empty()).map(str::to_owned).collect())
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

/// What each commit of any branch, tag or stash had at paths that end with `ending`: the text of every such file.
///
/// Empty without git or a repository.
pub(crate) async fn texts_ever(root: &Path, ending: &str) -> Result<Vec<String>, ExecutionError> {
    let pattern = format!(":(top,glob)**/*{ending}");
    let log =
        ["log", "--all", "--full-history", "-m", "--format=", "--raw", "--no-abbrev", "--no-renames", "--", &pattern];
    let Some(listed) = answer(root, &log).await? else { return Ok(Vec::new()) };
    // `:100644 100644 OLD NEW M\tPATH` (git-diff, "RAW OUTPUT FORMAT").
    let objects = |line: &str| line.split_whitespace().skip(2).take(2).map(str::to_owned).collect::<Vec<_>>();
    let mut names: Vec<String> = listed.lines().filter(|line| line.starts_with(':')).flat_map(objects).collect();
    names.sort();
    names.dedup();
    names.retain(|name| name.bytes().all(|byte| byte.is_ascii_hexdigit()) && name.bytes().any(|byte| byte != b'0'));
    let mut texts = Vec::new();
    for some in names.chunks(OBJECTS_AT_ONCE) {
        let arguments: Vec<&str> =
            ["show", "--no-textconv"].into_iter().chain(some.iter().map(String::as_str)).collect();
        texts.extend(answer(root, &arguments).await?);
    }
    Ok(texts)
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
    let arguments = ["--no-optional-locks"].iter().chain(arguments);
    let program = Program {
        name: "git".to_owned(),
        arguments: arguments.map(|&one| one.to_owned()).collect(),
        directory: root.to_owned(),
        limit: OUTPUT_LIMIT,
    };
    let told = program.run().await?;
    Ok(told.exit.success().then(|| told.output.trim_end().to_owned()))
}
