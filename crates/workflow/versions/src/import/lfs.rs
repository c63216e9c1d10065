//! Git LFS: pointer files (git-lfs, docs/spec.md) and the objects in `.git/lfs/objects`.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};

use rayon::prelude::*;
use ropewalk_store::files::{self, EntryKind, OddNames, ScanNext};
use ropewalk_types::{DatasetName, Digest};

use super::digests::{Sha256s, is_hex, sha256s};
use super::name_for;
use super::plan::{DamagedObject, FailedOutput, FileSource, ImportPlan, PlannedFile, PlannedOutput, SkippedOutput};
use crate::discovery::{Place, Tracked, is_passed_over, overlap, untrackable};
use crate::error::VersionsError;
use crate::git;
use crate::pointer::{Kind, Links};
use crate::work::{Data, Found, Work, look};
use crate::workspace::AddLinks;

/// "Pointer files must be less than 1024 bytes in size".
const MAX_BYTES: u64 = 1023;
/// Who speaks of the data.
const DECLARED_IN: &str = "Git LFS";
const VERSIONS: [&str; 2] = ["version https://git-lfs.github.com/spec/v1", "version https://hawser.github.com/spec/v1"];

/// What a pointer file of Git LFS names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct LfsPointer {
    pub(super) sha256: String,
    pub(super) size: u64,
}

/// Where and why a text that begins as a pointer is none.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Broken {
    /// Counted from 1.
    line: u64,
    reason: &'static str,
}

/// Reads a pointer; none for any other text.
pub(super) fn parse(text: &str) -> Result<Option<LfsPointer>, Broken> {
    let mut lines = (1..).zip(text.lines());
    if !lines.next().is_some_and(|(_, line)| VERSIONS.contains(&line)) {
        return Ok(None);
    }
    let (mut sha256, mut size, mut last) = (None, None, 1);
    for (line, text) in lines {
        let broken = |reason| Broken { line, reason };
        match text.split_once(' ') {
            Some(("oid", oid)) => {
                let hex = oid.strip_prefix("sha256:").filter(|hex| is_hex(hex, 64));
                sha256 = Some(hex.ok_or_else(|| broken("`oid` is not followed by `sha256:` and 64 digits"))?);
            }
            Some(("size", number)) => {
                size = Some(number.parse::<u64>().map_err(|_| broken("`size` is not followed by a number of bytes"))?);
            }
            // Extensions and keys of later versions.
            Some(_) => {}
            None => return Err(broken("it is no key with a value")),
        }
        last = line;
    }
    let lacks = |reason| Broken { line: last, reason };
    let sha256 = sha256.ok_or_else(|| lacks("the pointer of Git LFS ends without `oid`"))?.to_owned();
    Ok(Some(LfsPointer { sha256, size: size.ok_or_else(|| lacks("the pointer of Git LFS ends without `size`"))? }))
}

/// The pointer in the file at `path`; none if it is something else.
pub(super) fn pointer_at(path: &Path) -> Result<Option<LfsPointer>, VersionsError> {
    if files::kind(path)? != Some(EntryKind::File) || files::size(path)? > MAX_BYTES {
        return Ok(None);
    }
    let bytes = files::read_bounded(path, MAX_BYTES)?;
    let Ok(text) = std::str::from_utf8(&bytes) else { return Ok(None) };
    parse(text).map_err(|Broken { line, reason }| VersionsError::Foreign {
        path: path.to_owned(),
        line: Some(line),
        reason: reason.to_owned(),
    })
}

/// What Git LFS keeps of a project.
#[derive(Debug, Default)]
pub(super) struct LfsKept {
    /// The folder of its objects.
    storage: PathBuf,
    /// Paths of the files that git leaves to it, by the attributes.
    marked: BTreeSet<String>,
    /// What the index of git has for those of them that are pointers there, by path.
    pointers: BTreeMap<String, LfsPointer>,
}

/// Asks git what it leaves to Git LFS below `root`.
pub(super) async fn kept(root: &Path) -> Result<LfsKept, VersionsError> {
    let Some(common) = git::common_folder(root).await? else {
        let reason = "the project is not in a git repository, so there are no objects of Git LFS";
        return Err(untrackable(&root.display().to_string(), reason, "run it in the repository"));
    };
    let storage = git::setting(root, "lfs.storage").await?.map_or_else(|| PathBuf::from("lfs"), PathBuf::from);
    let storage = common.join(storage).join("objects");
    let staged = git::lfs_files(root).await?;
    let objects = staged.iter().map(|file| file.object.as_str()).collect();
    let mut pointers: HashMap<String, LfsPointer> = HashMap::new();
    let mut read = |object: &str, bytes: &[u8]| {
        // What git has of a broken one is plain bytes, as for Git LFS itself.
        if let Some(pointer) = std::str::from_utf8(bytes).ok().and_then(|text| parse(text).ok().flatten()) {
            pointers.insert(object.to_owned(), pointer);
        }
    };
    git::small_blobs(root, &objects, MAX_BYTES as usize, &mut read).await?;
    let mut kept = LfsKept { storage, ..LfsKept::default() };
    for git::Staged { path, object } in staged {
        if let Some(pointer) = pointers.get(&object) {
            kept.pointers.insert(path.clone(), pointer.clone());
        }
        kept.marked.insert(path);
    }
    Ok(kept)
}

impl LfsKept {
    /// The object that the pointer of a file names, where it is right, with the digest of its bytes in our store; else what
    /// is damaged there, if anything is there.
    fn object(&self, file: &str, pointer: &LfsPointer) -> Result<(PathBuf, Digest), Vec<DamagedObject>> {
        let LfsPointer { sha256, size } = pointer;
        // `is_hex` has checked that it has 64 letters.
        let path = self.storage.join(&sha256[..2]).join(&sha256[2..4]).join(sha256);
        let told = |sha256: &str, size: u64| format!("sha256:{sha256} ({size} bytes)");
        let got = match sha256s_at(&path) {
            Ok(None) => return Err(Vec::new()),
            Ok(Some(found)) if found.sha256 == *sha256 && found.size == *size => return Ok((path, found.content)),
            Ok(Some(found)) => told(&found.sha256, found.size),
            Err(error) => format!("no bytes: {error}"),
        };
        let (file, place) = (file.to_owned(), path.display().to_string());
        Err(vec![DamagedObject { file, place, expected: told(sha256, *size), got }])
    }

    /// The pointers in the index of git of files below the folder `path`, by path in it.
    fn below<'a>(&'a self, path: &'a str) -> impl Iterator<Item = (&'a str, &'a LfsPointer)> {
        let from = self.pointers.range(format!("{path}/")..);
        from.map_while(move |(file, pointer)| Some((file.strip_prefix(path)?.strip_prefix('/')?, pointer)))
    }
}

/// The digest of the file at `path`; none if there is no file.
fn sha256s_at(path: &Path) -> Result<Option<Sha256s>, VersionsError> {
    if files::kind(path)? != Some(EntryKind::File) {
        return Ok(None);
    }
    sha256s(path).map(Some)
}

/// Files that belong to git itself, or stand for a folder that would be empty.
const OF_GIT: [&str; 3] = [".gitattributes", ".gitignore", ".gitkeep"];

/// What can be done about objects that are not there.
const NEXT: &str = "`git lfs fetch` brings the objects of the commit that is checked out, and `git lfs fsck` moves damaged \
                    ones away; then run the same command again";

/// The topmost folders that hold files of Git LFS, and such files at the top of the project; of each, its files.
fn tops(root: &Path, kept: &LfsKept, tracked: &[Tracked]) -> Result<BTreeMap<String, BTreeSet<String>>, VersionsError> {
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
        // One that cannot be read is told of when its turn comes, and keeps no other from being taken over.
        if !matches!(pointer_at(&root.join(&path)), Ok(None)) {
            found.insert(path);
        }
    }
    for path in kept.marked.iter().filter(|path| !parent(path).split('/').any(is_passed_over)) {
        let here = match files::kind(&root.join(path))? {
            Some(kind) => kind == EntryKind::File,
            // Deleted, or left out of a sparse checkout; git has it all the same.
            None => kept.pointers.contains_key(path),
        };
        if here {
            found.insert(path.clone());
        }
    }
    found.retain(|path| !tracked.iter().any(|tracked| overlap(path, &tracked.place.path)));
    let places: BTreeSet<&str> =
        found.iter().map(|path| if path.contains('/') { parent(path) } else { path.as_str() }).collect();
    let mut tops: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    // A folder comes before what lies in it.
    for place in places {
        if !upwards(place).any(|above| tops.contains_key(above)) {
            tops.insert(place.to_owned(), BTreeSet::new());
        }
    }
    for path in &found {
        if let Some(top) = upwards(path).find(|above| tops.contains_key(*above))
            && let Some(files) = tops.get_mut(top)
        {
            files.insert(path.clone());
        }
    }
    Ok(tops)
}

/// Whether `path` is one of `files`, or a folder that holds any.
pub(super) fn any_within(files: &BTreeSet<String>, path: &str) -> bool {
    let folder = format!("{path}/");
    let below = || files.range(folder.clone()..).next().is_some_and(|file| file.starts_with(&folder));
    files.contains(path) || below()
}

fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(folders, _)| folders)
}

/// The path and each folder above it.
pub(super) fn upwards(path: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(Some(path), |path| Some(path.rsplit_once('/')?.0))
}

/// Datasets that an import that was killed left half laid out, where git still has files of Git LFS.
pub(super) fn in_half(kept: &LfsKept, unfinished: BTreeMap<String, DatasetName>) -> Vec<FailedOutput> {
    let unfinished = unfinished.into_iter().filter(|(path, _)| any_within(&kept.marked, path));
    let failed = |(path, name): (String, DatasetName)| {
        FailedOutput::of(&path, DECLARED_IN, &VersionsError::Unfinished { name, path: path.clone() })
    };
    unfinished.map(failed).collect()
}

/// A plan for all that Git LFS keeps; `of_git` is what git tracks, sorted by path, and `taken` are names that none gets.
pub(super) fn plan_all(
    root: &Path,
    of_git: &[String],
    kept: &LfsKept,
    links: AddLinks,
    tracked: &[Tracked],
    taken: &mut BTreeSet<String>,
) -> Result<ImportPlan, VersionsError> {
    let mut all = ImportPlan::default();
    for (path, files) in tops(root, kept, tracked)? {
        let folder = format!("{path}/");
        let begin = of_git.partition_point(|file| *file < folder);
        let mut within = of_git.get(begin..).unwrap_or_default().iter().take_while(|file| file.starts_with(&folder));
        let is_other = |file: &&String| {
            let name = file.rsplit('/').next().unwrap_or(file);
            !files.contains(*file) && !OF_GIT.contains(&name)
        };
        if let Some(other) = within.find(is_other) {
            let reason = format!(
                "git also tracks other files in it, such as {other}: `ropewalk data import-lfs {path}` takes over all of \
                 them"
            );
            all.skipped.push(SkippedOutput { path, declared_in: DECLARED_IN.to_owned(), reason });
            continue;
        }
        let name = name_for(&path, taken)?;
        let place = Place::of(root, Path::new(&path));
        match place.and_then(|place| plan(root, &place, name, kept, links, tracked)) {
            Ok(plan) => all.outputs.extend(plan.outputs),
            Err(VersionsError::Interrupted) => return Err(VersionsError::Interrupted),
            Err(error) => all.failed.push(FailedOutput::of(&path, DECLARED_IN, &error)),
        }
    }
    Ok(all)
}

pub(super) fn plan(
    root: &Path,
    place: &Place,
    name: DatasetName,
    kept: &LfsKept,
    links: AddLinks,
    tracked: &[Tracked],
) -> Result<ImportPlan, VersionsError> {
    let kind = kind_of(root, place, kept)?;
    if let Some(inner) = tracked.iter().find(|tracked| overlap(&tracked.place.path, &place.path)) {
        if inner.place.path != place.path {
            let reason = format!("`{}` is tracked already, and one lies within the other", inner.place.path);
            return Err(untrackable(&place.path, &reason, "track folders beside each other"));
        }
        return Err(untrackable(&place.path, "it is a dataset already", "use `ropewalk data add` for changes"));
    }
    let taken = if links == AddLinks::AsBefore { Links::Refused } else { Links::Skipped };
    let work = look(&Data::at(&place.data, kind).with_links(taken), None)?;
    let sought = sought(place, kind, kept, &work)?;
    let planned = sought.into_par_iter().map(|one| one.planned(&work.directory, kept));
    let mut planned = planned.collect::<Result<Vec<_>, VersionsError>>()?;
    planned.sort_by(|(a, _), (b, _)| a.as_bytes().cmp(b.as_bytes()));
    let kind = match work.files.first() {
        Some(file) if kind != Kind::Folder => Kind::of_file(file.stat.executable),
        _ => kind,
    };
    let (mut files, mut missing, mut damaged) = (Vec::new(), Vec::new(), Vec::new());
    for (path, file) in planned {
        match file {
            Ok(file) => files.push(file),
            Err(found) if found.is_empty() => missing.push(path.to_owned()),
            Err(found) => damaged.extend(found),
        }
    }
    let hint = (!missing.is_empty() || !damaged.is_empty()).then(|| NEXT.to_owned());
    let (path, declared_in) = (place.path.clone(), DECLARED_IN.to_owned());
    let output = PlannedOutput { name, path, declared_in, kind, files, missing, damaged, hint, links: work.links };
    Ok(ImportPlan { outputs: vec![output], ..ImportPlan::default() })
}

/// What the data is on disk; where it is not there, what it was when git had it there.
fn kind_of(root: &Path, place: &Place, kept: &LfsKept) -> Result<Kind, VersionsError> {
    if files::kind(&place.data)?.is_none() {
        if kept.pointers.contains_key(&place.path) {
            return Ok(Kind::File);
        }
        if kept.below(&place.path).next().is_some() {
            return Ok(Kind::Folder);
        }
    }
    Ok(match place.check_kind(root)? {
        EntryKind::Directory => Kind::Folder,
        _ => Kind::File,
    })
}

/// A file that is to be part of the data.
struct Sought<'a> {
    path: &'a str,
    /// Its size in the work tree, if it is there.
    size: Option<u64>,
    /// What the index of git has for it.
    pointer: Option<&'a LfsPointer>,
}

/// The files in the work tree, and those that only git has.
fn sought<'a>(
    place: &'a Place,
    kind: Kind,
    kept: &'a LfsKept,
    work: &'a Work,
) -> Result<Vec<Sought<'a>>, VersionsError> {
    let pointers: HashMap<&str, &LfsPointer> = if kind == Kind::Folder {
        kept.below(&place.path).collect()
    } else {
        kept.pointers.get(&place.path).map(|pointer| (place.file_name(), pointer)).into_iter().collect()
    };
    let here = |found: &'a Found| {
        let pointer = pointers.get(found.path.as_str()).copied();
        Sought { path: &found.path, size: Some(found.stat.size), pointer }
    };
    let mut sought: Vec<_> = work.files.iter().map(here).collect();
    for (path, pointer) in pointers {
        // Something else may lie in its place, such as a link, which is then the user's.
        if work.find(path).is_none() && files::kind(&work.directory.join(path))?.is_none() {
            sought.push(Sought { path, size: None, pointer: Some(pointer) });
        }
    }
    Ok(sought)
}

/// What was found of a file: its bytes, or the damaged objects that should hold them.
type Sighted = Result<PlannedFile, Vec<DamagedObject>>;

impl<'a> Sought<'a> {
    /// Where the file comes from; else what is damaged of it, which is nothing where nothing is there.
    fn planned(&self, directory: &Path, kept: &LfsKept) -> Result<(&'a str, Sighted), VersionsError> {
        let file = |digest: &str, size, content, source, stands_in| {
            let (path, digest) = (self.path.to_owned(), digest.to_owned());
            Ok(PlannedFile { path, digest, size, content, source, stands_in })
        };
        let here = directory.join(self.path);
        let standing_in = pointer_at(&here)?;
        let Some(pointer) = standing_in.as_ref().or(self.pointer) else {
            let size = self.size.unwrap_or_default();
            return Ok((self.path, file("", size, None, FileSource::WorkTree(here), false)));
        };
        let digest = format!("sha256:{}", pointer.sha256);
        if standing_in.is_none() && self.size == Some(pointer.size) {
            let found = sha256s(&here)?;
            if found.sha256 == pointer.sha256 {
                let source = FileSource::WorkTree(here);
                return Ok((self.path, file(&digest, found.size, Some(found.content), source, false)));
            }
        }
        // What lies in the work tree was changed since: it is a change to the version that git has.
        let object = kept.object(self.path, pointer);
        let planned = object.and_then(|(path, content)| {
            file(&digest, pointer.size, Some(content), FileSource::Cache(path), standing_in.is_some())
        });
        Ok((self.path, planned))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const OID: &str = "4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393";

    #[test]
    fn pointers_are_told_from_other_text() {
        let text = format!("version https://git-lfs.github.com/spec/v1\noid sha256:{OID}\nsize 12345\n");
        assert_eq!(parse(&text), Ok(Some(LfsPointer { sha256: OID.to_owned(), size: 12345 })));
        for other in ["", "size 1", "version 1\noid x"] {
            assert_eq!(parse(other), Ok(None), "{other}");
        }
        for (broken, line) in [
            (text.replace("sha256", "sha1"), 2),
            (text.replace("4d7a", "../."), 2),
            (text.replace("12345", "-1"), 3),
            (text.replace("size", "length"), 3),
            (text.replace("size ", ""), 3),
            (VERSIONS[0].to_owned(), 1),
        ] {
            assert_eq!(parse(&broken).map_err(|broken| broken.line), Err(line), "{broken}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "(version https://git-lfs.github.com/spec/v1\n)?[a-z0-9: \n]{0,120}") {
            let _ = parse(&text);
        }
    }
}
