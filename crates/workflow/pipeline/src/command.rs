use std::collections::BTreeMap;
use std::path::{Component, Path};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use ropewalk_execution::{Command, Executor, Exit, Listener, Stream};
use ropewalk_store::{Store, files};
use ropewalk_types::{Diagnose, Digest};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{Artifact, ArtifactKind, Executed, Failure, Project, Reporter, StageContext, StageKind, StageSpec};

/// Most of a command's output that is kept, in bytes.
const LONGEST_LOG: usize = 4 << 20;
/// Lines of it that an error shows.
const SHOWN_LINES: usize = 12;

/// Variables that every command inherits: how to find programs, people, places and languages.
const INHERITED: [&str; 12] = [
    "PATH",
    "HOME",
    "USER",
    "LOGNAME",
    "LANG",
    "LC_ALL",
    "TZ",
    "TMPDIR",
    "VIRTUAL_ENV",
    "CONDA_PREFIX",
    "LD_LIBRARY_PATH",
    "SSL_CERT_FILE",
];

/// A command of the user's own makes files out of files and datasets.
///
/// It runs in a fresh folder that holds what it declares and nothing else: its `deps` at their own paths, its
/// inputs under `inputs/NAME`. So a file that was not declared is not found, here as on another machine.
#[derive(Debug)]
pub struct CommandKind {
    executor: Arc<dyn Executor>,
    environment: BTreeMap<String, String>,
    shown: fn(&str) -> String,
    /// A file of the project that may hold secrets.
    unkept: Option<&'static str>,
}

/// Settings of a [`CommandKind`] stage.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CommandSettings {
    /// The command line, for `sh -c`.
    pub line: String,
    /// Files of the project that it reads.
    pub deps: Vec<String>,
    /// Files that it makes, by output name; paths relative to its folder.
    pub outputs: BTreeMap<String, String>,
    /// Environment variables that it gets and whose values are part of the key.
    pub env: Vec<String>,
    /// Environment variables that it gets and that are part of no key.
    pub secrets: Vec<String>,
}

#[derive(Debug, thiserror::Error)]
enum CommandError {
    #[error("`{line}` ended with {exit}{tail}")]
    Failed { line: String, exit: Exit, tail: String },
    #[error("`{line}` ended well but did not make `{path}` (output `{output}`)")]
    NoOutput { line: String, path: String, output: String },
    #[error("the environment variable `{0}` is not set")]
    NoVariable(String),
}

impl Diagnose for CommandError {
    fn code(&self) -> &'static str {
        match self {
            Self::Failed { .. } => "pipeline.command_failed",
            Self::NoOutput { .. } => "pipeline.command_no_output",
            Self::NoVariable(_) => "pipeline.command_no_variable",
        }
    }

    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Failed { .. } => "a command sees only the files in `deps` and the datasets in `in`".to_owned(),
            Self::NoOutput { .. } => "paths in `out` are relative to the folder in which the command runs".to_owned(),
            Self::NoVariable(name) => format!("set {name}, or take it out of `env` and `secrets`"),
        })
    }
}

/// Everything that a command says, up to a bound, and a share of it for whoever watches.
struct Log<'a> {
    reporter: &'a Reporter,
    text: Mutex<String>,
}

impl Listener for Log<'_> {
    fn line(&self, _: Stream, text: &str) {
        self.reporter.said(text);
        let mut log = self.text.lock().unwrap_or_else(PoisonError::into_inner);
        if log.len() + text.len() < LONGEST_LOG {
            log.push_str(text);
            log.push('\n');
        } else if !log.ends_with("[cut]\n") {
            log.push_str("[cut]\n");
        }
    }
}

impl CommandKind {
    /// Runs commands by `executor`; `environment` is that of the person who runs the pipeline, and `shown` gives the form
    /// in which a line of text may stand in an error.
    pub fn new(executor: Arc<dyn Executor>, environment: BTreeMap<String, String>, shown: fn(&str) -> String) -> Self {
        Self { executor, environment, shown, unkept: None }
    }

    /// Keeps no copy of the file at `path`, relative to the project, though commands may read it.
    #[must_use]
    pub fn without_copy_of(self, path: &'static str) -> Self {
        Self { unkept: Some(path), ..self }
    }

    fn is_unkept(&self, path: &str) -> bool {
        fn parts(path: &str) -> impl Iterator<Item = Component<'_>> {
            Path::new(path).components().filter(|part| *part != Component::CurDir)
        }
        self.unkept.is_some_and(|unkept| parts(unkept).eq(parts(path)))
    }

    /// Lays out what a command declares, and nothing else.
    async fn lay_out(&self, settings: &CommandSettings, context: &StageContext) -> Result<(), Failure> {
        for path in &settings.deps {
            let (source, target) = (context.project.root.join(path), context.scratch.join(path));
            if self.is_unkept(path) {
                folder_of(&target)?;
                files::write_new(&target, &files::read(&source)?, false)?;
            } else {
                let blob = context.store.put_file(&source).await?;
                place(context, &blob.digest, &target).await?;
            }
        }
        for path in settings.outputs.values() {
            folder_of(&context.scratch.join(path))?;
        }
        for (name, input) in &context.inputs {
            let target = context.scratch.join("inputs").join(name);
            match &input.artifact.kind {
                ArtifactKind::Dataset { .. } => {
                    context.store.materialize_tree(&input.artifact.digest, &target).await?;
                }
                _ => place(context, &input.artifact.digest, &target).await?,
            }
        }
        Ok(())
    }

    async fn collect(
        &self,
        settings: &CommandSettings,
        context: &StageContext,
    ) -> Result<BTreeMap<String, Artifact>, Failure> {
        let mut outputs = BTreeMap::new();
        for (name, path) in &settings.outputs {
            let file = context.scratch.join(path);
            if !files::exists(&file)? {
                let (line, path, output) = ((self.shown)(&settings.line), path.clone(), name.clone());
                return Err(CommandError::NoOutput { line, path, output }.into());
            }
            let blob = context.store.put_file(&file).await?;
            context.recorder.artifact(path, blob.digest, blob.size).await?;
            let kind = ArtifactKind::File { path: path.clone() };
            outputs.insert(name.clone(), Artifact { kind, digest: blob.digest, size: blob.size });
        }
        Ok(outputs)
    }

    /// The last lines of what a command said.
    fn tail(&self, log: &str) -> String {
        let lines: Vec<&str> = log.lines().collect();
        let last = &lines[lines.len().saturating_sub(SHOWN_LINES)..];
        let shown: Vec<String> = last.iter().map(|line| (self.shown)(line)).collect();
        if shown.is_empty() { String::new() } else { format!("; it said at last:\n  {}", shown.join("\n  ")) }
    }

    fn variable(&self, name: &str) -> Result<(String, String), CommandError> {
        let value = self.environment.get(name).ok_or_else(|| CommandError::NoVariable(name.to_owned()))?;
        Ok((name.to_owned(), value.clone()))
    }

    async fn environment(
        &self,
        settings: &CommandSettings,
        context: &StageContext,
    ) -> Result<BTreeMap<String, String>, Failure> {
        let inherited = INHERITED.iter().filter_map(|name| self.environment.get_key_value(*name));
        let mut environment: BTreeMap<String, String> =
            inherited.map(|(name, value)| (name.clone(), value.clone())).collect();
        for name in settings.env.iter().chain(&settings.secrets) {
            environment.extend([self.variable(name)?]);
        }
        environment.extend(context.recorder.environment().await?);
        Ok(environment)
    }
}

/// Makes the folder that `target` is to lie in.
fn folder_of(target: &Path) -> Result<(), Failure> {
    Ok(target.parent().map_or(Ok(()), files::create_directories)?)
}

async fn place(context: &StageContext, digest: &Digest, target: &Path) -> Result<(), Failure> {
    folder_of(target)?;
    Ok(context.store.materialize(digest, target).await?)
}

#[async_trait]
impl StageKind for CommandKind {
    fn name(&self) -> &'static str {
        "run"
    }

    fn revision(&self) -> u32 {
        1
    }

    async fn fingerprint(&self, spec: &StageSpec, project: &Project, store: &Store) -> Result<Value, Failure> {
        let settings: CommandSettings = spec.settings()?;
        let mut deps = BTreeMap::new();
        for path in &settings.deps {
            let file = project.root.join(path);
            let digest = if self.is_unkept(path) {
                Digest::of(&files::read(&file)?)
            } else {
                store.put_file(&file).await?.digest
            };
            deps.insert(path.clone(), digest);
        }
        let mut environment = BTreeMap::new();
        for name in &settings.env {
            // The digest of the value: a key is shown and logged, a value should not be.
            environment.insert(name.clone(), Digest::of(self.variable(name)?.1.as_bytes()));
        }
        Ok(json!({ "deps": deps, "environment": environment }))
    }

    async fn execute(&self, spec: &StageSpec, context: &StageContext) -> Result<Executed, Failure> {
        let settings: CommandSettings = spec.settings()?;
        self.lay_out(&settings, context).await?;
        let command = Command {
            line: settings.line.clone(),
            directory: context.scratch.clone(),
            environment: self.environment(&settings, context).await?,
        };
        let log = Log { reporter: &context.reporter, text: Mutex::default() };
        let exit = self.executor.run(&command, &log).await?;
        let text = log.text.into_inner().unwrap_or_else(PoisonError::into_inner);
        if !text.is_empty() {
            let blob = context.store.put_bytes(text.clone().into()).await?;
            context.recorder.artifact("logs/command.log", blob.digest, blob.size).await?;
        }
        if !exit.success() {
            let line = (self.shown)(&settings.line);
            return Err(CommandError::Failed { line, exit, tail: self.tail(&text) }.into());
        }
        let outputs = self.collect(&settings, context).await?;
        let sizes: BTreeMap<&str, u64> = outputs.iter().map(|(name, output)| (name.as_str(), output.size)).collect();
        let summary = json!({ "exit_code": 0, "outputs": sizes });
        Ok(Executed { outputs, summary, ..Executed::default() })
    }
}
