use std::path::{Path, PathBuf};

use ropewalk_execution::{ExecutionError, Program};

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

/// What `git` prints, without white space at the end; none if it answers with a failure.
async fn git(root: &Path, arguments: &[&str]) -> Result<Option<String>, ExecutionError> {
    // `--literal-pathspecs`: a file named `*.sql` is that file, not a pattern.
    let arguments = ["--no-optional-locks", "--literal-pathspecs"].iter().chain(arguments);
    let program = Program {
        name: "git".to_owned(),
        arguments: arguments.map(|&one| one.to_owned()).collect(),
        directory: root.to_owned(),
        limit: OUTPUT_LIMIT,
    };
    let told = program.run().await?;
    Ok(told.exit.success().then(|| told.output.trim_end().to_owned()))
}
