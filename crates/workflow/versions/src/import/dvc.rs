//! DVC: `*.dvc` files and `dvc.lock` (dvc.org, "Project Structure"), its cache and its remotes.
//!
//! DVC 3 keeps objects as `files/md5/ab/cdef…` and hashes bytes as they are; DVC 2 kept them as `ab/cdef…` and hashed
//! text with its line ends made those of Unix. A folder is an object `….dir`: a JSON list of paths and digests.

mod config;
mod declared;
mod remote;
mod storage;

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures::{StreamExt as _, stream};
use rayon::prelude::*;
use ropewalk_store::files::{self, EntryKind};
use ropewalk_types::{DatasetName, Diagnose as _};
use serde::Deserialize;

use super::digests::{Md5Rule, is_hex};
use super::lfs::upwards;
use super::plan::{DamagedObject, FailedOutput, FileSource, ImportPlan, PlannedFile, PlannedOutput, SkippedOutput};
use super::{name_for, names_taken};
use crate::discovery::{Place, Tracked};
use crate::error::{VersionsError, blocking};
use crate::pointer::{Kind, Links};
use crate::work::{Data, look};
use crate::workspace::AddLinks;

use declared::{Declared, Output};
use remote::Remotes;
use storage::{Here, Storage, find, local_list};

pub use remote::{DvcOpener, DvcRemote, DvcSurroundings};

/// The largest list of a folder that is read: some ten million files.
const MAX_LIST: u64 = 1 << 30;
const MAX_FILES: usize = 16 << 20;
/// Objects that a remote is asked for at a time.
const ASKED_AT_ONCE: usize = 32;

const NEXT: &str = "`dvc fetch` brings into the cache what DVC can reach; then run the same command again";
const DAMAGED_NEXT: &str = "move the damaged objects away, so that `dvc fetch` brings whole ones into the cache, or `dvc push` \
                            into the remote, from where they are whole; then run the same command again";

/// A file that DVC keeps.
#[derive(Clone, Debug)]
struct Kept {
    path: String,
    md5: String,
}

/// Why an output cannot be taken over, and what to do about it.
struct Refusal {
    reason: String,
    hint: Option<String>,
}

impl Refusal {
    fn new(reason: impl Into<String>, hint: &str) -> Self {
        Self { reason: reason.into(), hint: Some(hint.to_owned()) }
    }

    fn of(error: &VersionsError) -> Self {
        Self { reason: error.to_string(), hint: error.hint() }
    }

    /// What is written in the files of DVC makes no sense.
    fn unreadable(reason: impl Into<String>) -> Self {
        Self::new(reason, "`dvc status` should say the same; take that file back from git")
    }
}

/// Where DVC may have bytes.
#[derive(Debug)]
struct Sources {
    /// The cache, then remotes that are folders of this machine.
    storages: Arc<Vec<Storage>>,
    remotes: Arc<Remotes>,
}

impl Sources {
    fn of(config: config::Config, surroundings: &DvcSurroundings) -> Self {
        let mut storages = vec![Storage { folder: config.cache, is_remote: false }];
        let mut remotes = Remotes::default();
        for found in &config.remotes {
            match found.place() {
                remote::Place::Folder(folder) => storages.push(Storage { folder, is_remote: true }),
                remote::Place::Objects => remotes.add(found, &surroundings.open),
                remote::Place::Elsewhere(reason) => remotes.add_unread(found, reason),
            }
        }
        Self { storages: Arc::new(storages), remotes: Arc::new(remotes) }
    }

    /// What to do about files that were found nowhere, or damaged only.
    fn hint(&self, damaged: &[DamagedObject]) -> String {
        let next = if damaged.is_empty() { NEXT } else { DAMAGED_NEXT };
        let problems = self.remotes.problems().into_iter().map(|problem| format!("; {problem}"));
        problems.fold(next.to_owned(), |hint, problem| hint + &problem)
    }
}

pub(super) async fn plan(
    root: PathBuf,
    folder: PathBuf,
    links: AddLinks,
    tracked: &[Tracked],
    unfinished: BTreeMap<String, DatasetName>,
    surroundings: &DvcSurroundings,
    others: &[DatasetName],
) -> Result<ImportPlan, VersionsError> {
    let (project, beside, home) = (folder, surroundings.settings.clone(), surroundings.home.clone());
    let (config, declared) = blocking(move || {
        if files::kind(&project.join(".dvc"))? != Some(EntryKind::Directory) {
            let reason = "it holds no folder `.dvc`, so it is no DVC project".to_owned();
            return Err(VersionsError::Import { path: project, reason, advice: "name the folder that holds `.dvc`" });
        }
        Ok((config::read(&project, &beside, home.as_deref())?, declared::all(&project)?))
    })
    .await?;
    let datasets = tracked.iter().map(|tracked| tracked.place.path.clone()).collect();
    let planner = Planner { sources: Sources::of(config, surroundings), root, links, datasets, unfinished };
    let mut taken = names_taken(tracked, others);
    let (mut plan, mut planned) = (ImportPlan::default(), BTreeSet::new());
    for Declared { file, outputs } in declared {
        let declared_in = planner.shown(&file);
        let outputs = match outputs {
            Ok(outputs) => outputs,
            Err(error) => {
                plan.failed.push(planner.unread(&declared_in, error));
                continue;
            }
        };
        for output in outputs {
            let declared_in = declared_in.clone();
            let shown = || planner.shown(&output.path);
            let taken_over = match planner.take(&output, &planned).await {
                Err(VersionsError::Interrupted) => return Err(VersionsError::Interrupted),
                // A folder that cannot be read keeps nothing else from being taken over.
                taken_over => taken_over.unwrap_or_else(|error| Err(Left::Refused(Refusal::of(&error)))),
            };
            match taken_over {
                Ok(Taken { path, kind, files, missing, damaged, links }) => {
                    planned.insert(path.clone());
                    let name = name_for(&path, &mut taken)?;
                    let is_whole = missing.is_empty() && damaged.is_empty();
                    let hint = (!is_whole).then(|| planner.sources.hint(&damaged));
                    let output = PlannedOutput { name, path, declared_in, kind, files, missing, damaged, hint, links };
                    plan.outputs.push(output);
                }
                Err(Left::OnPurpose(reason)) => {
                    let reason = reason.to_owned();
                    plan.skipped.push(SkippedOutput { path: shown(), declared_in, reason });
                }
                Err(Left::Refused(Refusal { reason, hint })) => {
                    plan.failed.push(FailedOutput { path: shown(), declared_in, line: None, reason, hint });
                }
            }
        }
    }
    plan.outputs.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(plan)
}

/// What a plan has of an output.
struct Taken {
    path: String,
    kind: Kind,
    files: Vec<PlannedFile>,
    missing: Vec<String>,
    damaged: Vec<DamagedObject>,
    links: Vec<String>,
}

/// Why an output is not taken over.
enum Left {
    /// It is not to be; the text says why.
    OnPurpose(&'static str),
    Refused(Refusal),
}

/// What is the same for all outputs.
struct Planner {
    root: PathBuf,
    sources: Sources,
    links: AddLinks,
    /// The paths of datasets.
    datasets: BTreeSet<String>,
    /// Those of them that an import that was killed left half laid out.
    unfinished: BTreeMap<String, DatasetName>,
}

impl Planner {
    /// A path for people: of what lies in the project, relative to it.
    fn shown(&self, path: &Path) -> String {
        path.strip_prefix(&self.root).unwrap_or(path).display().to_string()
    }

    /// A file that declares outputs, and cannot be read.
    fn unread(&self, declared_in: &str, error: VersionsError) -> FailedOutput {
        let error = match error {
            VersionsError::Foreign { path, line, reason } => {
                VersionsError::Foreign { path: self.shown(&path).into(), line, reason }
            }
            error => error,
        };
        FailedOutput::of(declared_in, declared_in, &error)
    }

    /// Looks at an output; `planned` are the paths of those that are in the plan.
    async fn take(&self, output: &Output, planned: &BTreeSet<String>) -> Result<Result<Taken, Left>, VersionsError> {
        let refused = |refusal| Ok(Err(Left::Refused(refusal)));
        if output.of_git {
            return Ok(Err(Left::OnPurpose("git keeps it, not DVC (`cache: false`), and goes on to do so")));
        }
        if output.is_external {
            return refused(Refusal::new(
                "it lies outside this machine",
                "copy it into the project, and take it from there by `ropewalk data add`",
            ));
        }
        let place = match Place::of(&self.root, &output.path) {
            Ok(place) => place,
            Err(error) => return refused(Refusal::of(&error)),
        };
        if let Some(name) = self.unfinished.get(&place.path) {
            return refused(Refusal::of(&VersionsError::Unfinished { name: name.clone(), path: place.path }));
        }
        if self.datasets.contains(&place.path) {
            return Ok(Err(Left::OnPurpose("it is a dataset already")));
        }
        if planned.contains(&place.path) {
            return refused(Refusal::new(
                "it is declared twice",
                "take out the one that is out of date: a `.dvc` file, or a stage that `dvc.lock` has and `dvc.yaml` has not",
            ));
        }
        // A dataset in the data of another is looked for by nobody.
        for (paths, state) in [(&self.datasets, "tracked already"), (planned, "taken over, too")] {
            if let Some(other) = overlapping(paths, &place.path) {
                return refused(Refusal::new(
                    format!("`{other}` is {state}, and one lies within the other"),
                    "keep one of the two: `dvc remove` takes away an output, and `ropewalk data rm` a dataset",
                ));
            }
        }
        let (kind, kept) = match self.list(output, place.file_name()).await? {
            Ok(found) => found,
            Err(refusal) => return refused(refusal),
        };
        let directory = if kind == Kind::Folder { place.data.clone() } else { place.folder().to_owned() };
        let Found { files, missing, damaged } = self.find(kept, output.rule, directory).await?;
        let (path, links) = (place.path.clone(), self.links);
        let taken = blocking(move || {
            let links = links_beside(&place, kind, &files, links);
            Ok(links.map(|links| Taken { path, kind, files, missing, damaged, links }))
        });
        Ok(taken.await?.map_err(Left::Refused))
    }

    /// The files of an output.
    async fn list(
        &self,
        output: &Output,
        file_name: &str,
    ) -> Result<Result<(Kind, Vec<Kept>), Refusal>, VersionsError> {
        if let Some(files) = &output.files {
            let files = files.iter().map(|(path, md5)| Kept { path: path.clone(), md5: md5.clone() }).collect();
            return Ok(checked(files).map(|files| (Kind::Folder, files)));
        }
        let Some(md5) = &output.md5 else {
            let reason = "it has no MD5, so its content was never stored";
            return Ok(Err(Refusal::new(
                reason,
                "`dvc commit` or `dvc repro` stores it; then run the same command again",
            )));
        };
        let Some(hash) = md5.strip_suffix(".dir") else {
            let file = Kept { path: file_name.to_owned(), md5: md5.clone() };
            return Ok(checked(vec![file]).map(|files| (Kind::of_file(output.executable), files)));
        };
        if !is_hex(hash, 32) {
            return Ok(Err(Refusal::unreadable(format!("`{}` is no MD5", md5.escape_debug()))));
        }
        let (storages, name, wanted) = (Arc::clone(&self.sources.storages), md5.clone(), hash.to_owned());
        let (found, mut damaged) = blocking(move || Ok(local_list(&storages, &name, &wanted))).await?;
        let bytes = match found {
            Some(bytes) => Some(bytes.into()),
            None => self.sources.remotes.list(md5, hash, &mut damaged).await?,
        };
        let Some(bytes) = bytes else {
            let hint = self.sources.hint(&damaged);
            let places: Vec<_> = damaged.iter().map(DamagedObject::to_string).collect();
            let reason = if places.is_empty() {
                format!("the list of its files, `{md5}`, is neither in the cache nor in a remote")
            } else {
                format!("the list of its files, `{md5}`, is damaged: {}", places.join("; "))
            };
            return Ok(Err(Refusal::new(reason, &hint)));
        };
        let listed = blocking(move || Ok(folder_list(&bytes).and_then(checked)));
        Ok(listed.await?.map(|files| (Kind::Folder, files)))
    }

    /// Where the bytes of files are.
    async fn find(&self, kept: Vec<Kept>, rule: Md5Rule, directory: PathBuf) -> Result<Found, VersionsError> {
        let storages = Arc::clone(&self.sources.storages);
        let local = blocking(move || {
            let found = kept.into_par_iter().map(|file| {
                let found = find(&file, rule, &directory, &storages)?;
                Ok((file, found))
            });
            found.collect::<Result<Vec<_>, VersionsError>>()
        });
        let remotes = Arc::clone(&self.sources.remotes);
        let everywhere = stream::iter(local.await?).map(|(file, here)| {
            let remotes = Arc::clone(&remotes);
            async move {
                let (stands_in, damaged) = match here {
                    Here::Found(found) => return Ok(*found),
                    Here::Lacking { stands_in, damaged } => (stands_in, damaged),
                };
                let Some(object) = remotes.find(&file.md5, rule).await else { return Err((file.path, damaged)) };
                let (digest, size) = (format!("md5:{}", file.md5), object.size);
                let source = FileSource::RemoteObject(object);
                Ok(PlannedFile { path: file.path, digest, size, content: None, source, stands_in })
            }
        });
        let at_once = if remotes.are_none() { 1 } else { ASKED_AT_ONCE };
        let mut everywhere = everywhere.buffered(at_once);
        let mut found = Found { files: Vec::new(), missing: Vec::new(), damaged: Vec::new() };
        while let Some(file) = everywhere.next().await {
            match file {
                Ok(file) => found.files.push(file),
                Err((path, damaged)) if damaged.is_empty() => found.missing.push(path),
                Err((_, damaged)) => found.damaged.extend(damaged),
            }
        }
        Ok(found)
    }
}

/// The one of `paths` that `path` is, lies within or holds.
fn overlapping<'a>(paths: &'a BTreeSet<String>, path: &str) -> Option<&'a String> {
    let folder = format!("{path}/");
    let below = || paths.range(folder.clone()..).next().filter(|other| other.starts_with(&folder));
    upwards(path).find_map(|above| paths.get(above)).or_else(below)
}

/// What was found of the files of an output.
struct Found {
    files: Vec<PlannedFile>,
    missing: Vec<String>,
    damaged: Vec<DamagedObject>,
}

/// The symbolic links that lie in the work tree and stand for none of the files.
fn links_beside(place: &Place, kind: Kind, files: &[PlannedFile], links: AddLinks) -> Result<Vec<String>, Refusal> {
    if kind != Kind::Folder {
        return Ok(Vec::new());
    }
    let work = look(&Data::at(&place.data, kind).with_links(Links::Skipped), None);
    let mut found = work.map_err(|error| Refusal::of(&error))?.links;
    let stand_ins: HashSet<&str> = files.iter().filter(|file| file.stands_in).map(|file| file.path.as_str()).collect();
    found.retain(|link| !stand_ins.contains(link.as_str()));
    if links == AddLinks::AsBefore && !found.is_empty() {
        return Err(Refusal::of(&VersionsError::Links { path: place.data.clone(), links: found }));
    }
    Ok(found)
}

/// An entry of a `.dir` object.
#[derive(Deserialize)]
struct Listed {
    md5: String,
    relpath: String,
}

fn folder_list(bytes: &[u8]) -> Result<Vec<Kept>, Refusal> {
    let listed: Vec<Listed> =
        serde_json::from_slice(bytes).map_err(|error| Refusal::unreadable(format!("its list of files: {error}")))?;
    Ok(listed.into_iter().map(|listed| Kept { path: listed.relpath, md5: listed.md5 }).collect())
}

/// Files in order, whose paths stay within the folder.
fn checked(mut files: Vec<Kept>) -> Result<Vec<Kept>, Refusal> {
    if files.len() > MAX_FILES {
        let reason = format!("it has {} files, more than {MAX_FILES}", files.len());
        return Err(Refusal::new(reason, "split it into several folders"));
    }
    for file in &files {
        let part = |part: &str| !matches!(part, "" | "." | ".." | ".git" | ".ropewalk") && part.len() <= 255;
        let plain = file.path.split('/').all(part) && !file.path.contains(['\\', '\0', '\n']);
        if !plain {
            return Err(Refusal::unreadable(format!("`{}` is no path inside it", file.path.escape_debug())));
        }
        if !is_hex(&file.md5, 32) {
            return Err(Refusal::unreadable(format!("`{}` is no MD5", file.md5.escape_debug())));
        }
    }
    files.sort_by(|a, b| a.path.as_bytes().cmp(b.path.as_bytes()));
    match files.windows(2).find(|pair| matches!(pair, [a, b] if a.path == b.path)) {
        Some([twice, ..]) => Err(Refusal::unreadable(format!("`{}` is listed twice", twice.path))),
        _ => Ok(files),
    }
}

/// A path of the other tool, read against the folder of the file that it is written in.
fn against(folder: &Path, path: &str) -> PathBuf {
    joined(folder, Path::new(path))
}

/// A path that is absolute or relative to `folder`, without `.` and `..` in it.
pub(super) fn joined(folder: &Path, path: &Path) -> PathBuf {
    let mut joined = if path.is_absolute() { PathBuf::new() } else { folder.to_owned() };
    for part in path.components() {
        match part {
            std::path::Component::CurDir => {}
            std::path::Component::ParentDir => drop(joined.pop()),
            part => joined.push(part),
        }
    }
    joined
}
