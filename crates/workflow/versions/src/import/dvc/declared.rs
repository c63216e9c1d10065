//! The outputs that `*.dvc` files and `dvc.lock`s declare.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use ropewalk_store::files::{self, EntryKind, OddNames, ScanNext};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use serde_saphyr::{DefaultMessageFormatter, MessageFormatter as _};

use super::super::digests::Md5Rule;
use super::against;
use crate::error::VersionsError;

const MAX_BYTES: u64 = 256 << 20;
const MAX_DECLARATIONS: usize = 100_000;
const LOCK: &str = "dvc.lock";
const PIPELINE: &str = "dvc.yaml";

/// A file that declares outputs.
#[derive(Debug)]
pub(super) struct Declared {
    pub(super) file: PathBuf,
    /// An error if it, or the `dvc.yaml` beside it, cannot be read.
    pub(super) outputs: Result<Vec<Output>, VersionsError>,
}

/// An output, as it is declared.
#[derive(Clone, Debug)]
pub(super) struct Output {
    pub(super) path: PathBuf,
    pub(super) md5: Option<String>,
    /// How its digest was made.
    pub(super) rule: Md5Rule,
    pub(super) executable: bool,
    /// Whether it is no path of this machine, but a URL.
    pub(super) is_external: bool,
    /// Whether it is left to git, as the metrics of `dvc stage add -M` are.
    pub(super) of_git: bool,
    /// Paths and digests, where the declaration itself lists the files of a folder.
    pub(super) files: Option<Vec<(String, String)>>,
}

/// `outs:` of both kinds of file.
#[derive(Deserialize)]
struct Out {
    path: String,
    md5: Option<String>,
    hash: Option<String>,
    #[serde(default)]
    isexec: bool,
    #[serde(default = "yes")]
    cache: bool,
    files: Option<Vec<OutFile>>,
}

fn yes() -> bool {
    true
}

#[derive(Deserialize)]
struct OutFile {
    relpath: String,
    md5: Option<String>,
}

/// A `*.dvc` file.
#[derive(Deserialize)]
struct DotDvc {
    #[serde(default)]
    outs: Vec<Out>,
    wdir: Option<String>,
}

/// `dvc.lock`, schema 2.0.
#[derive(Deserialize)]
struct Lock {
    stages: Option<BTreeMap<String, LockedStage>>,
}

#[derive(Deserialize)]
struct LockedStage {
    #[serde(default)]
    outs: Vec<Out>,
}

/// Of `dvc.yaml`, what the lock does not say: where its paths begin, and what is left to git.
#[derive(Deserialize)]
struct Pipeline {
    #[serde(default)]
    stages: BTreeMap<String, Stage>,
}

#[derive(Deserialize)]
struct Stage {
    wdir: Option<String>,
    #[serde(default)]
    outs: Value,
    #[serde(default)]
    metrics: Value,
    #[serde(default)]
    plots: Value,
    #[serde(rename = "do")]
    each: Option<Box<Stage>>,
}

impl Stage {
    fn working_folder(&self) -> Option<&str> {
        self.wdir.as_deref().or_else(|| self.each.as_ref()?.wdir.as_deref())
    }

    /// Whether an output, called as in the lock, is left to git; not where templates that differ in this can stand for
    /// it.
    fn leaves_to_git(&self, path: &str) -> bool {
        let stages = [Some(self), self.each.as_deref()].into_iter().flatten();
        let lists = stages.flat_map(|stage| [&stage.outs, &stage.metrics, &stage.plots]);
        let outs: Vec<(&str, bool)> = lists.flat_map(paths).collect();
        if let Some((_, cached)) = outs.iter().find(|(declared, _)| plain(declared) == plain(path)) {
            return !*cached;
        }
        let mut fitting = outs.iter().filter(|(declared, _)| fits(plain(declared), plain(path))).peekable();
        fitting.peek().is_some() && fitting.all(|(_, cached)| !*cached)
    }
}

/// The paths of a list of outputs in `dvc.yaml`, each of which is a text or the name of settings; and whether DVC keeps
/// them.
fn paths(list: &Value) -> Vec<(&str, bool)> {
    let mut found = Vec::new();
    for entry in list.as_array().into_iter().flatten() {
        match entry {
            Value::String(path) => found.push((path.as_str(), true)),
            Value::Object(entries) => found.extend(entries.iter().map(|(path, settings)| {
                let cached = settings.get("cache").and_then(Value::as_bool).unwrap_or(true);
                (path.as_str(), cached)
            })),
            _ => {}
        }
    }
    found
}

fn plain(path: &str) -> &str {
    path.trim_start_matches("./").trim_end_matches('/')
}

/// Whether `path` can be what DVC makes of a text with `${…}` in it (dvc.org, "Templating").
fn fits(template: &str, path: &str) -> bool {
    let (mut literals, mut last) = (Vec::new(), template);
    while let Some((literal, rest)) = last.split_once("${")
        && let Some((_, rest)) = rest.split_once('}')
    {
        literals.push(literal);
        last = rest;
    }
    let Some((first, between)) = literals.split_first() else { return template == path };
    let Some(mut rest) = path.strip_prefix(*first) else { return false };
    for literal in between {
        let Some((_, behind)) = rest.split_once(*literal) else { return false };
        rest = behind;
    }
    rest.ends_with(last)
}

/// Everything that is declared below `folder`, sorted by file.
pub(super) fn all(folder: &Path) -> Result<Vec<Declared>, VersionsError> {
    let found = declarations(folder, MAX_DECLARATIONS)?;
    let declared = |path: String| {
        let file = folder.join(path);
        Declared { outputs: outputs(&file), file }
    };
    Ok(found.into_iter().map(declared).collect())
}

/// The files that declare outputs, by path in `folder`; more than `most` of them are refused.
fn declarations(folder: &Path, most: usize) -> Result<Vec<String>, VersionsError> {
    let mut found: Vec<String> = Vec::new();
    files::scan(folder, OddNames::LeftOut, &mut |entry| {
        let name = entry.path.rsplit('/').next().unwrap_or(entry.path);
        let declares = name == LOCK || name.strip_suffix(".dvc").is_some_and(|rest| !rest.is_empty());
        match entry.kind {
            EntryKind::Directory if name.starts_with('.') || name == "node_modules" => ScanNext::PassOver,
            EntryKind::File if declares => {
                found.push(entry.path.to_owned());
                if found.len() > most { ScanNext::Stop } else { ScanNext::Enter }
            }
            _ => ScanNext::Enter,
        }
    })?;
    if found.len() > most {
        let reason = format!("it holds more than {most} files of DVC that declare outputs");
        return Err(VersionsError::Import { path: folder.to_owned(), reason, advice: "split the project" });
    }
    Ok(found)
}

fn outputs(file: &Path) -> Result<Vec<Output>, VersionsError> {
    let folder = file.parent().unwrap_or(file).to_owned();
    let text = text_of(file)?;
    if file.file_name().is_some_and(|name| name == LOCK) {
        let pipeline = pipeline(&folder)?;
        let stages = lock(file, &text)?;
        let outs = stages.into_iter().flat_map(|(name, stage)| {
            // A stage made by `foreach` or `matrix` is called `NAME@ITEM`.
            let declared = pipeline.get(name.split('@').next().unwrap_or(&name));
            let wdir = declared.and_then(Stage::working_folder);
            let folder = wdir.map_or_else(|| folder.clone(), |wdir| against(&folder, wdir));
            stage.outs.into_iter().map(move |out| {
                let of_git = !out.cache || declared.is_some_and(|stage| stage.leaves_to_git(&out.path));
                Output { of_git, ..output(&folder, out) }
            })
        });
        Ok(outs.collect())
    } else {
        let read: DotDvc = yaml(file, &text)?;
        let folder = read.wdir.map_or_else(|| folder.clone(), |wdir| against(&folder, &wdir));
        Ok(read.outs.into_iter().map(|out| output(&folder, out)).collect())
    }
}

fn lock(file: &Path, text: &str) -> Result<BTreeMap<String, LockedStage>, VersionsError> {
    if text.trim().is_empty() {
        return Ok(BTreeMap::new());
    }
    match yaml::<Lock>(file, text)? {
        Lock { stages: Some(stages) } => Ok(stages),
        // Schema 1.0 has the stages at the top.
        Lock { stages: None } => yaml(file, text),
    }
}

/// The stages of the `dvc.yaml` in `folder`; none without one.
fn pipeline(folder: &Path) -> Result<BTreeMap<String, Stage>, VersionsError> {
    let path = folder.join(PIPELINE);
    if !files::exists(&path)? {
        return Ok(BTreeMap::new());
    }
    let pipeline: Pipeline = yaml(&path, &text_of(&path)?)?;
    Ok(pipeline.stages)
}

fn output(folder: &Path, out: Out) -> Output {
    let files =
        out.files.map(|files| files.into_iter().map(|file| (file.relpath, file.md5.unwrap_or_default())).collect());
    let is_external = out.path.contains("://");
    Output {
        path: if is_external { PathBuf::from(out.path) } else { against(folder, &out.path) },
        md5: out.md5,
        rule: if out.hash.as_deref() == Some("md5") { Md5Rule::Plain } else { Md5Rule::Unix },
        executable: out.isexec,
        is_external,
        of_git: !out.cache,
        files,
    }
}

/// The text of a file of DVC; of one that is no text, the line in which it ceases to be.
fn text_of(path: &Path) -> Result<String, VersionsError> {
    String::from_utf8(files::read_bounded(path, MAX_BYTES)?).map_err(|error| {
        let good = error.as_bytes().get(..error.utf8_error().valid_up_to()).unwrap_or_default();
        let line = 1 + good.split(|byte| *byte == b'\n').skip(1).count() as u64;
        VersionsError::Foreign { path: path.to_owned(), line: Some(line), reason: "it is no UTF-8 text".to_owned() }
    })
}

/// What the YAML of a file says. An error has what is wrong in one line, without the excerpt that a terminal would be shown.
fn yaml<T: DeserializeOwned>(path: &Path, text: &str) -> Result<T, VersionsError> {
    serde_saphyr::from_str(text).map_err(|error| {
        let reason = DefaultMessageFormatter.format_message(&error).into_owned();
        let line = error.location().map(|location| location.line()).filter(|line| *line > 0);
        VersionsError::Foreign { path: path.to_owned(), line, reason }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_to_git_is_told_from_what_dvc_keeps() {
        let text = "
wdir: sub
foreach: [1, 2]
do:
  cmd: x
  outs:
  - model-${item}.bin
  - ./logs/:
      cache: false
  - both/${item.a}-${item.b}.txt
  - kept: {persist: true}
  - ${anything}
  metrics:
  - scores/${item}.json:
      cache: false
  plots:
  - both/${item.a}.txt:
      cache: false
  - curve.csv:
      cache: false
      x: step
  - nothing:
  - 3
";
        let stage: Stage = serde_saphyr::from_str(text).unwrap();
        assert_eq!(stage.working_folder(), Some("sub"));
        for path in ["logs", "curve.csv"] {
            assert!(stage.leaves_to_git(path), "{path}");
        }
        for path in ["model-1.bin", "kept", "nothing", "both/1-2.txt", "both/1.txt", "scores/1.json", "else"] {
            assert!(!stage.leaves_to_git(path), "{path}: what DVC keeps may be meant");
        }
        let stage: Stage = serde_saphyr::from_str("metrics: [{'a/${x}.json': {cache: false}}]").unwrap();
        assert!(stage.leaves_to_git("a/1.json") && stage.leaves_to_git("./a/1.json"));
        assert!(!stage.leaves_to_git("a/1.csv") && !stage.leaves_to_git("b/1.json"));
        let stage: Stage = serde_saphyr::from_str("cmd: x\nouts:").unwrap();
        assert!(!stage.leaves_to_git("a"));
    }

    #[test]
    fn templates_fit_what_they_can_become() {
        for path in ["a-1-b", "a--b", "a-1-2-b"] {
            assert!(fits("a-${x}-b", path), "{path}");
        }
        assert!(fits("${x}/m/${y}.csv", "1/m/2/m/3.csv") && fits("plain", "plain") && fits("odd${", "odd${"));
        for (template, path) in [("a-${x}-b", "a-b"), ("a${x}", "b1"), ("${x}/m/${y}", "1/n/2"), ("${x}b${y}b", "b")] {
            assert!(!fits(template, path), "{template} {path}");
        }
    }

    #[test]
    fn more_declarations_than_are_read_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["a.dvc", "b.dvc", "b", "c/dvc.lock", ".dvc/d.dvc"] {
            files::write_atomic(&folder.path().join(name), b"").unwrap();
        }
        assert_eq!(declarations(folder.path(), 3).unwrap(), ["a.dvc", "b.dvc", "c/dvc.lock"]);
        let error = declarations(folder.path(), 2).unwrap_err();
        assert!(matches!(&error, VersionsError::Import { reason, .. } if reason.contains("more than 2")), "{error}");
    }
}
