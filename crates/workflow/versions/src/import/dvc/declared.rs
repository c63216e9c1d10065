//! The outputs that `*.dvc` files and `dvc.lock`s declare.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use ropewalk_store::files::{self, EntryKind, OddNames, ScanNext};
use serde::Deserialize;
use serde::de::DeserializeOwned;

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
    pub(super) outputs: Vec<Output>,
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
    files: Option<Vec<OutFile>>,
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

/// Of `dvc.yaml`, what tells where the paths of the lock begin.
#[derive(Deserialize)]
struct Pipeline {
    #[serde(default)]
    stages: BTreeMap<String, Stage>,
}

#[derive(Deserialize)]
struct Stage {
    wdir: Option<String>,
    #[serde(rename = "do")]
    each: Option<Box<Stage>>,
}

/// Everything that is declared below `folder`, sorted by file.
pub(super) fn all(folder: &Path) -> Result<Vec<Declared>, VersionsError> {
    let mut found: Vec<String> = Vec::new();
    files::scan(folder, OddNames::LeftOut, &mut |entry| {
        let name = entry.path.rsplit('/').next().unwrap_or(entry.path);
        match entry.kind {
            EntryKind::Directory if name.starts_with('.') || name == "node_modules" => ScanNext::PassOver,
            EntryKind::File if found.len() < MAX_DECLARATIONS => {
                if name == LOCK || name.strip_suffix(".dvc").is_some_and(|rest| !rest.is_empty()) {
                    found.push(entry.path.to_owned());
                }
                ScanNext::Enter
            }
            EntryKind::File => ScanNext::Stop,
            _ => ScanNext::Enter,
        }
    })?;
    found.into_iter().map(|path| declared(folder.join(path))).collect()
}

fn declared(file: PathBuf) -> Result<Declared, VersionsError> {
    let folder = file.parent().unwrap_or(&file).to_owned();
    let text = files::read_text(&file, MAX_BYTES)?;
    let outputs = if file.file_name().is_some_and(|name| name == LOCK) {
        let working = working_folders(&folder)?;
        let stages = lock(&text).map_err(|reason| foreign(&file, reason))?;
        let outs = stages.into_iter().flat_map(|(name, stage)| {
            // A stage made by `foreach` or `matrix` is called `NAME@ITEM`.
            let declared = name.split('@').next().unwrap_or(&name);
            let folder = working.get(declared).map_or_else(|| folder.clone(), |wdir| against(&folder, wdir));
            stage.outs.into_iter().map(move |out| output(&folder, out))
        });
        outs.collect()
    } else {
        let read: DotDvc = yaml(&text).map_err(|reason| foreign(&file, reason))?;
        let folder = read.wdir.map_or_else(|| folder.clone(), |wdir| against(&folder, &wdir));
        read.outs.into_iter().map(|out| output(&folder, out)).collect()
    };
    Ok(Declared { file, outputs })
}

fn lock(text: &str) -> Result<BTreeMap<String, LockedStage>, String> {
    if text.trim().is_empty() {
        return Ok(BTreeMap::new());
    }
    match yaml::<Lock>(text) {
        Ok(Lock { stages: Some(stages) }) => Ok(stages),
        // Schema 1.0 has the stages at the top.
        Ok(Lock { stages: None }) => yaml(text),
        Err(reason) => Err(reason),
    }
}

/// `wdir` by stage; none without a `dvc.yaml`.
fn working_folders(folder: &Path) -> Result<BTreeMap<String, String>, VersionsError> {
    let path = folder.join(PIPELINE);
    if !files::exists(&path)? {
        return Ok(BTreeMap::new());
    }
    let text = files::read_text(&path, MAX_BYTES)?;
    let pipeline: Pipeline = yaml(&text).map_err(|reason| foreign(&path, reason))?;
    let wdir = |stage: Stage| stage.wdir.or(stage.each.and_then(|stage| stage.wdir));
    Ok(pipeline.stages.into_iter().filter_map(|(name, stage)| Some((name, wdir(stage)?))).collect())
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
        files,
    }
}

fn yaml<T: DeserializeOwned>(text: &str) -> Result<T, String> {
    serde_saphyr::from_str(text).map_err(|error| error.to_string())
}

fn foreign(path: &Path, reason: String) -> VersionsError {
    VersionsError::Foreign { path: path.to_owned(), reason }
}
