//! The code of each error, and what to do about it.

use std::path::Path;

use ropewalk_types::Diagnose;

use super::{VersionsError, listed, printable};
use crate::pointer::EXTENSION;

impl Diagnose for VersionsError {
    fn code(&self) -> &'static str {
        match self {
            Self::Store(error) => error.code(),
            Self::File(error) => error.code(),
            Self::Execution(error) => error.code(),
            Self::Name(_) => "versions.name",
            Self::Path(_) => "versions.path",
            Self::Untrackable { .. } => "versions.untrackable",
            Self::Links { .. } => "versions.links",
            Self::LinksInTheWay { .. } => "versions.links_in_the_way",
            Self::LinksNotFollowed { .. } => "versions.links_not_followed",
            Self::Pointer { .. } => "versions.pointer",
            Self::PointerMoved { .. } => "versions.pointer_moved",
            Self::NotAPointer(_) => "versions.not_a_pointer",
            Self::PointerConflict { .. } => "versions.pointer_conflict",
            Self::NoConflict(_) => "versions.no_conflict",
            Self::UnknownDataset { .. } => "versions.unknown_dataset",
            Self::NameTaken { .. } => "versions.name_taken",
            Self::UnknownVersion { .. } => "versions.unknown_version",
            Self::AmbiguousVersion { .. } | Self::AmbiguousNumber { .. } => "versions.ambiguous_version",
            Self::UnknownFile { .. } => "versions.unknown_file",
            Self::WhichFile { .. } => "versions.which_file",
            Self::TagExists { .. } => "versions.tag_exists",
            Self::UnknownTag { .. } => "versions.unknown_tag",
            Self::Removed { .. } => "versions.removed",
            Self::Tagged { .. } => "versions.tagged",
            Self::InWorkTree { .. } => "versions.in_work_tree",
            Self::OtherKind { .. } => "versions.other_kind",
            Self::NoReason => "versions.no_reason",
            Self::Trail(error) => error.code(),
            Self::Pattern { .. } => "versions.pattern",
            Self::WouldOverwrite { .. } => "versions.would_overwrite",
            Self::Unmergeable { .. } => "versions.unmergeable",
            Self::NoMessage => "versions.no_message",
            Self::Uncommitted { .. } => "versions.uncommitted",
            Self::Outdated { .. } => "versions.outdated",
            Self::NotLaidOut { .. } => "versions.not_laid_out",
            Self::ContentMissing { .. } => "versions.content_missing",
            Self::NotWhole(error) => error.cause.code(),
            Self::Unfit(_) => "versions.unfit",
            Self::LostVersion(_) => "versions.lost",
            Self::LostHead(_) => "versions.lost_head",
            Self::LaidOutInPart { .. } => "versions.laid_out_in_part",
            Self::LaidOutInHalf(..) => "versions.laid_out_in_half",
            Self::Unfinished { .. } => "versions.unfinished",
            Self::NoRemote => "versions.no_remote",
            Self::UnknownRemote { .. } => "versions.unknown_remote",
            Self::RemoteMissing { .. } => "versions.remote_missing",
            Self::TwoDatasets { .. } => "versions.two_datasets",
            Self::Diverged { .. } => "versions.diverged",
            Self::Busy { .. } => "versions.busy",
            Self::Merge { .. } => "versions.merge",
            Self::Malformed { .. } => "versions.malformed",
            Self::Foreign { .. } => "versions.foreign",
            Self::Import { .. } => "versions.import",
            Self::Git { .. } => "versions.git",
            Self::Interrupted => "versions.interrupted",
        }
    }

    fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Store(error) => return error.hint(),
            Self::File(error) => return error.hint(),
            Self::Execution(error) => return error.hint(),
            Self::Trail(error) => return error.hint(),
            Self::NotWhole(error) => return Some(error.advice()),
            Self::Unfit(error) => return Some(error.advice()),
            Self::LostVersion(error) => return Some(error.advice()),
            Self::LostHead(error) => return Some(error.advice()),
            Self::OtherKind { .. } => {
                "commit it with `ropewalk data commit`; or move it away, and check the data out again"
            }
            Self::NoReason => "say why with `--reason`",
            Self::Merge { .. } | Self::Name(_) | Self::Malformed { .. } | Self::Interrupted => return None,
            Self::Untrackable { advice, .. } | Self::Import { advice, .. } => advice,
            Self::Links { .. } => {
                "`--follow-links`, of `ropewalk data add` and of imports, puts what they point to in their place; with \
                 `--skip-links` they are no part of the data, now and later"
            }
            Self::LinksInTheWay { .. } => "move these links away",
            Self::LinksNotFollowed { .. } => {
                "mend or remove these links; `--follow-links=anywhere` also follows those that lead out of the project"
            }
            Self::Path(_) => "name files relative to the project, without `..`",
            Self::NotAPointer(_) => "move that file away, or give the data another name",
            Self::NoConflict(_) => "name the dataset instead, to merge it with another of its versions",
            Self::NameTaken { .. } => "give it another name with `--name`",
            Self::AmbiguousNumber { .. } => "name the one that is meant by its digest, or give it a tag",
            Self::AmbiguousVersion { .. } => "give more digits",
            Self::TagExists { .. } => "choose another tag, or move this one with `--move`",
            Self::Pattern { .. } => "write a path inside the dataset, or a glob such as `images/**/*.png`",
            Self::WouldOverwrite { .. } => "commit them with `ropewalk data commit`, or give them up with `--force`",
            Self::NoMessage => "say with `-m` what the version is",
            Self::Uncommitted { .. } => "run `ropewalk data commit`, or give it up with `--force`",
            Self::ContentMissing { .. } => {
                "run `ropewalk push` on the machine that committed it; from another remote that has it, `ropewalk fetch --all \
                 --remote NAME` brings it"
            }
            Self::NoRemote => "add one: `ropewalk remote add origin URL`",
            Self::RemoteMissing { .. } => {
                "`ropewalk push` creates it; if it should be there, check the path, or whether the disk is mounted"
            }
            Self::TwoDatasets { .. } => "name two versions of one",
            Self::Busy { .. } => "try again",
            Self::Foreign { .. } => "take the file back from git, or remove it",
            Self::Git { .. } => "see what `git status` and `git fsck` say",
            _ => return self.hint_with_names(),
        };
        Some(hint.to_owned())
    }
}

impl VersionsError {
    /// Hints that name what the error is about.
    fn hint_with_names(&self) -> Option<String> {
        let hint = match self {
            Self::PointerConflict { path, .. } => {
                let name = path.file_stem().unwrap_or(path.as_os_str());
                format!("run `ropewalk data merge {}`", name.display())
            }
            Self::Pointer { path, .. } => {
                format!("take the file back from git: `git checkout -- {}`", printable(&path.display().to_string()))
            }
            Self::PointerMoved { path, line, data } => moved(path, *line, data),
            Self::UnknownDataset { known, .. } => known_datasets(known),
            Self::UnknownVersion { name, .. } => format!("`ropewalk data log {name}` lists the versions"),
            Self::UnknownFile { path, dataset: true, .. } => {
                format!("`{path}` is a dataset of its own: `ropewalk data checkout {path}`")
            }
            Self::UnknownFile { known, .. } if known.is_empty() => "it has no files at all".to_owned(),
            Self::UnknownFile { known, .. } => {
                format!("paths begin inside the dataset; at its top are {}", listed(known))
            }
            Self::WhichFile { name, known } => format!("write `{name}/PATH`; at its top are {}", listed(known)),
            Self::Removed { name, .. } => {
                format!(
                    "`ropewalk data log {name}` lists the versions that are there; `{name}@latest` is the newest of them"
                )
            }
            Self::Tagged { name, tags, .. } => {
                let tag = tags.first().map_or("TAG", String::as_str);
                format!("delete its tags first: `ropewalk data tag {name} {tag} --delete`")
            }
            Self::InWorkTree { name, .. } => format!(
                "lay out another version first: `ropewalk data checkout {name}@VERSION`; or change the files and commit \
                 them: `ropewalk data commit {name}`"
            ),
            Self::UnknownTag { name, .. } => format!("`ropewalk data tag {name}` lists the tags"),
            Self::Unmergeable { paths, .. } if paths.is_empty() => "run `ropewalk data commit` first".to_owned(),
            Self::Unmergeable { name, .. } => format!(
                "commit them with `ropewalk data commit {name}`, or give them up with `ropewalk data restore {name}`"
            ),
            Self::Outdated { name, path, .. } => format!(
                "run `ropewalk data checkout {name}`; or keep what is laid out, as a version beside the one that the \
                 pointer names: `ropewalk data add {path} --force`"
            ),
            Self::NotLaidOut { path, .. } => format!(
                "bring them first: `ropewalk pull`; `ropewalk data add {path} --force` takes what lies there as the whole of it"
            ),
            Self::LaidOutInPart { name } => format!("bring them: `ropewalk fetch {name}`"),
            Self::LaidOutInHalf(_, cause) => return cause.hint(),
            Self::Unfinished { name, path } => format!(
                "run `ropewalk data checkout {name}` for what `{path}.dataset` names, or that command again for what it was to \
                 lay out; `ropewalk data add {path} --force` takes what lies there as it is"
            ),
            Self::UnknownRemote { known, .. } => format!("it has {}", listed(known)),
            Self::Diverged { name, .. } => {
                format!("run `ropewalk fetch` and `ropewalk data merge {name}`, then push again")
            }
            _ => return None,
        };
        Some(hint)
    }
}

/// What to do with a pointer that was renamed alone.
fn moved(path: &Path, line: usize, data: &str) -> String {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let beside = name.strip_suffix(EXTENSION).unwrap_or(&name);
    format!(
        "name it `{data}{EXTENSION}` again; or rename the data too: move `{data}` to `{beside}`, write `path {beside}` \
         into line {line} of `{name}`, and run `ropewalk data add` on it"
    )
}

fn known_datasets(known: &[String]) -> String {
    if known.is_empty() {
        return "track a file or a folder with `ropewalk data add PATH`".to_owned();
    }
    format!("there are {}", listed(known))
}
