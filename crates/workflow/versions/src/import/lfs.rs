//! Git LFS: pointer files (git-lfs, docs/spec.md) and the objects in `.git/lfs/objects`.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use rayon::prelude::*;
use ropewalk_store::files::{self, EntryKind, OddNames, ScanNext};
use ropewalk_types::DatasetName;

use super::digests::{is_hex, sha256};
use super::{FileSource, ImportPlan, PlannedFile, PlannedOutput, SkippedOutput, name_for, names_taken, reason_of};
use crate::discovery::{Place, Tracked, is_passed_over, overlap, untrackable};
use crate::error::VersionsError;
use crate::git;
use crate::pointer::{Kind, Links};
use crate::work::{Data, Found, look};
use crate::workspace::AddLinks;

/// "Pointer files must be less than 1024 bytes in size".
const MAX_BYTES: u64 = 1023;
const VERSIONS: [&str; 2] = ["version https://git-lfs.github.com/spec/v1", "version https://hawser.github.com/spec/v1"];

/// What a pointer file of Git LFS names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct LfsPointer {
    pub(super) sha256: String,
    pub(super) size: u64,
}

/// Reads a pointer; none for any other text.
pub(super) fn parse(text: &str) -> Option<LfsPointer> {
    let mut lines = text.lines();
    if !VERSIONS.contains(&lines.next()?) {
        return None;
    }
    let (mut sha256, mut size) = (None, None);
    for line in lines {
        match line.split_once(' ')? {
            ("oid", oid) => sha256 = oid.strip_prefix("sha256:").filter(|hex| is_hex(hex, 64)),
            ("size", number) => size = number.parse().ok(),
            // Extensions and keys of later versions.
            _ => {}
        }
    }
    Some(LfsPointer { sha256: sha256?.to_owned(), size: size? })
}

/// The pointer in the file at `path`; none if it is something else.
pub(super) fn pointer_at(path: &Path) -> Result<Option<LfsPointer>, VersionsError> {
    if files::kind(path)? != Some(EntryKind::File) || files::size(path)? > MAX_BYTES {
        return Ok(None);
    }
    let bytes = files::read_bounded(path, MAX_BYTES)?;
    Ok(std::str::from_utf8(&bytes).ok().and_then(parse))
}

/// Where Git LFS keeps objects.
pub(super) async fn storage(root: &Path) -> Result<PathBuf, VersionsError> {
    let Some(common) = git::common_folder(root).await? else {
        let reason = "the project is not in a git repository, so there are no objects of Git LFS";
        return Err(untrackable(&root.display().to_string(), reason, "run it in the repository"));
    };
    let storage = git::setting(root, "lfs.storage").await?.map_or_else(|| PathBuf::from("lfs"), PathBuf::from);
    Ok(common.join(storage).join("objects"))
}

/// Files that belong to git itself, or stand for a folder that would be empty.
const OF_GIT: [&str; 3] = [".gitattributes", ".gitignore", ".gitkeep"];

/// Each topmost folder that holds files of Git LFS, or such a file at the top of the project.
#[derive(Debug)]
pub(super) struct Top {
    pub(super) path: String,
    /// The files of Git LFS in it.
    pub(super) files: BTreeSet<String>,
}

/// Where files of Git LFS lie: those that `marked` names, which git leaves to it, and those that are pointers.
pub(super) fn tops(root: &Path, marked: Vec<String>, tracked: &[Tracked]) -> Result<Vec<Top>, VersionsError> {
    let mut small = Vec::new();
    files::scan(root, OddNames::LeftOut, &mut |entry| {
        let name = entry.path.rsplit('/').next().unwrap_or(entry.path);
        match entry.kind {
            EntryKind::Directory if is_passed_over(name) => ScanNext::PassOver,
            EntryKind::File if entry.size <= MAX_BYTES => {
                small.push(entry.path.to_owned());
                ScanNext::Enter
            }
            _ => ScanNext::Enter,
        }
    })?;
    let mut found = BTreeSet::new();
    for path in small {
        if pointer_at(&root.join(&path))?.is_some() {
            found.insert(path);
        }
    }
    let folders = |path: &str| path.rsplit_once('/').map_or("", |(folders, _)| folders).to_owned();
    for path in marked.into_iter().filter(|path| !folders(path).split('/').any(is_passed_over)) {
        if files::kind(&root.join(&path))? == Some(EntryKind::File) {
            found.insert(path);
        }
    }
    found.retain(|path| !tracked.iter().any(|tracked| overlap(path, &tracked.place.path)));
    let mut tops: Vec<Top> = Vec::new();
    // A folder comes before what lies in it.
    let places: BTreeSet<_> =
        found.iter().map(|path| if path.contains('/') { folders(path) } else { path.clone() }).collect();
    for path in places {
        if !tops.iter().any(|top| overlap(&top.path, &path)) {
            let files = found.iter().filter(|file| overlap(file, &path)).cloned().collect();
            tops.push(Top { path, files });
        }
    }
    Ok(tops)
}

/// A plan for each of `tops`, of which the second is what git tracks there.
pub(super) fn plan_all(
    root: &Path,
    tops: &[(Top, Vec<String>)],
    storage: &Path,
    links: AddLinks,
    tracked: &[Tracked],
) -> Result<ImportPlan, VersionsError> {
    let (mut all, mut taken) = (ImportPlan::default(), names_taken(tracked));
    for (top, of_git) in tops {
        let path = &top.path;
        let other = of_git.iter().find(|file| {
            let name = file.rsplit('/').next().unwrap_or(file);
            !top.files.contains(*file) && !OF_GIT.contains(&name)
        });
        let planned = if let Some(other) = other {
            Err(format!(
                "git also tracks other files in it, such as {other}: `ropewalk data import-lfs {path}` takes over all of \
                 them"
            ))
        } else {
            let name = name_for(path, &mut taken)?;
            let place = Place::of(root, Path::new(path));
            let planned = place.and_then(|place| plan(root, &place, Some(name), storage, links, tracked));
            planned.map_err(|error| reason_of(&error))
        };
        match planned {
            Ok(plan) => all.outputs.extend(plan.outputs),
            Err(reason) => {
                let (path, declared_in) = (path.clone(), "Git LFS".to_owned());
                all.skipped.push(SkippedOutput { path, declared_in, reason });
            }
        }
    }
    Ok(all)
}

pub(super) fn plan(
    root: &Path,
    place: &Place,
    name: Option<DatasetName>,
    storage: &Path,
    links: AddLinks,
    tracked: &[Tracked],
) -> Result<ImportPlan, VersionsError> {
    let kind = match place.check_kind(root)? {
        EntryKind::Directory => Kind::Folder,
        _ => Kind::File,
    };
    if let Some(inner) = tracked.iter().find(|tracked| overlap(&tracked.place.path, &place.path)) {
        if inner.place.path != place.path {
            let reason = format!("`{}` is tracked already, and one lies within the other", inner.place.path);
            return Err(untrackable(&place.path, &reason, "track folders beside each other"));
        }
        return Err(untrackable(&place.path, "it is a dataset already", "use `ropewalk data add` for changes"));
    }
    let name = match name {
        Some(name) => name,
        None => name_for(&place.path, &mut names_taken(tracked))?,
    };
    let taken = if links == AddLinks::AsBefore { Links::Refused } else { Links::Skipped };
    let work = look(&Data::at(&place.data, kind).with_links(taken), None)?;
    let planned =
        work.files.par_iter().map(|found| Ok((found.path.clone(), planned(found, &work.directory, storage)?)));
    let planned = planned.collect::<Result<Vec<_>, VersionsError>>()?;
    let kind = match work.files.first() {
        Some(file) if kind != Kind::Folder => Kind::of_file(file.stat.executable),
        _ => kind,
    };
    let missing = planned.iter().filter(|(_, file)| file.is_none()).map(|(path, _)| path.clone()).collect();
    let files = planned.into_iter().filter_map(|(_, file)| file).collect();
    let (path, declared_in) = (place.path.clone(), "Git LFS".to_owned());
    Ok(ImportPlan {
        outputs: vec![PlannedOutput { name, path, declared_in, kind, files, missing, links: work.links }],
        ..ImportPlan::default()
    })
}

/// Where a file comes from; none if its object is not there, or damaged.
fn planned(found: &Found, directory: &Path, storage: &Path) -> Result<Option<PlannedFile>, VersionsError> {
    let here = directory.join(&found.path);
    let Some(pointer) = pointer_at(&here)? else {
        let (path, size) = (found.path.clone(), found.stat.size);
        let source = FileSource::WorkTree(here);
        return Ok(Some(PlannedFile { path, digest: String::new(), size, source, stands_in: false }));
    };
    let LfsPointer { sha256: digest, size } = pointer;
    // `is_hex` has checked that it has 64 letters.
    let object = storage.join(&digest[..2]).join(&digest[2..4]).join(&digest);
    if files::kind(&object)? != Some(EntryKind::File) || sha256(&object)? != (digest.clone(), size) {
        return Ok(None);
    }
    let (path, digest) = (found.path.clone(), format!("sha256:{digest}"));
    Ok(Some(PlannedFile { path, digest, size, source: FileSource::Cache(object), stands_in: true }))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const OID: &str = "4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393";

    #[test]
    fn pointers_are_told_from_other_text() {
        let text = format!("version https://git-lfs.github.com/spec/v1\noid sha256:{OID}\nsize 12345\n");
        assert_eq!(parse(&text), Some(LfsPointer { sha256: OID.to_owned(), size: 12345 }));
        for bad in
            ["", "size 1", &text.replace("sha256", "sha1"), &text.replace("12345", "-1"), &text.replace("4d7a", "../.")]
        {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "(version https://git-lfs.github.com/spec/v1\n)?[a-z0-9: \n]{0,120}") {
            let _ = parse(&text);
        }
    }
}
