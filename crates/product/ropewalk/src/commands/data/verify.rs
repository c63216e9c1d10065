use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::process::ExitCode;

use ropewalk_server::{Affected, HealFrom, Healing, ServerError, Subject, Verification};
use ropewalk_store::{Damage, Root};
use ropewalk_types::{Digest, counted};
use serde_json::{Value, json};

use crate::arguments::{Format, Shared, Verify};
use crate::failure::{Ending, WORK_FAILED};
use crate::output::{bytes, printable};
use crate::{commands, output};

/// Things of a kind that are listed one by one.
const LISTED: usize = 20;
/// Files of a version that are named.
const PATHS: usize = 3;

/// Which store was read, and from which remote it was to be healed.
struct Told<'a> {
    found: &'a Verification,
    /// The remote whose store it is; none for the project's own.
    remote: Option<&'a str>,
    /// The remote that healed it.
    healer: Option<&'a str>,
    /// Whether it was to be healed.
    heals: bool,
    /// Whether what could not be healed was to be let go.
    gives_up: bool,
}

pub(super) async fn run(shared: &Shared, arguments: &Verify) -> Ending {
    let project = commands::data_project(shared, "ropewalk data verify")?;
    let heals = arguments.heal.is_some();
    let named = arguments.heal.as_deref().filter(|named| !named.is_empty());
    let (mut healer, mut remote) = (None, None);
    let mut not_asked = None;
    let mut found = if let Some(name) = &arguments.remote {
        if let Some(from) = named {
            let what = format!("a remote is healed from this project and its other remotes, not from `{from}` alone");
            let hint = format!("`ropewalk data verify --remote {name} --heal`");
            return Err(ServerError::Unknown { what, hint });
        }
        remote = Some(project.remote(Some(name))?.0);
        let heal = match (heals, arguments.give_up) {
            (true, true) => HealFrom::GiveUp,
            (true, false) => HealFrom::Everywhere,
            (false, _) => HealFrom::Nothing,
        };
        project.remote_verify(name, heal).await?
    } else if heals {
        let mut from = None;
        // Without any remote there is the work tree.
        if named.is_some() || !project.file().remote.is_empty() {
            match project.remote_open(named).await {
                Ok((name, store)) => {
                    healer = Some(name);
                    from = Some(store);
                }
                Err(error) if named.is_some() => return Err(error),
                // Nobody has asked for one: the work tree may have all.
                Err(error) => not_asked = Some(format!("no remote was asked: {error}")),
            }
        }
        project.verify(Some(Healing { from: from.as_ref(), give_up: arguments.give_up })).await?
    } else {
        project.verify(None).await?
    };
    found.unasked |= not_asked.is_some();
    found.notes.extend(not_asked);
    let (remote, healer, gives_up) = (remote.as_deref(), healer.as_deref(), arguments.give_up);
    let told = Told { found: &found, remote, healer, heals, gives_up };
    match shared.output {
        Format::Json => output::json(&told.json()),
        Format::Text => output::text(&told.text()),
    }
    Ok(if found.is_whole() { ExitCode::SUCCESS } else { WORK_FAILED.into() })
}

fn kind(root: &Root) -> &'static str {
    match root {
        Root::Blob(_) => "file",
        Root::Tree(_) => "folder",
    }
}

fn affected(one: &Affected) -> Value {
    let (name, version, number) = match &one.subject {
        Subject::Version { name, digest, number } => (Some(name), Some(digest), *number),
        Subject::State(name) => (Some(name), None, None),
        Subject::WorkTree
        | Subject::Runs
        | Subject::Artifact { .. }
        | Subject::Predictions { .. }
        | Subject::Code { .. }
        | Subject::Git => (None, None, None),
    };
    let what = one.subject.to_string();
    json!({
        "name": name,
        "version": version,
        "number": number,
        "what": what,
        "healed": one.healed,
        "given_up": one.given_up,
        "paths": one.paths,
    })
}

impl Told<'_> {
    /// All damage that was found, each with the remote in which it lies; `None` for the project's own store.
    fn damaged(&self) -> impl Iterator<Item = (Option<&str>, &Damage)> {
        let own = self.found.store.damaged.iter().map(|damage| (self.remote, damage));
        // Of a remote that is healed, the other store is not one remote, but this project and others.
        let there = self.found.store.damaged_there.iter().map(|damage| (self.healer, damage));
        own.chain(there)
    }

    fn json(&self) -> Value {
        let Self { found, .. } = *self;
        let damage = |(remote, damage): (Option<&str>, &Damage)| {
            json!({
                "remote": remote,
                "digest": damage.digest,
                "object": damage.object,
                "reason": damage.reason,
                "healed": damage.healed,
                "let_go": damage.let_go,
            })
        };
        let missing = |root: &Root| json!({ "digest": root.digest(), "kind": kind(root) });
        let refs = found.refs.iter().map(
            |one| json!({ "ref": one.name.as_str(), "name": one.dataset, "reason": one.reason, "healed": one.healed }),
        );
        let tables = found.tables.iter().map(|fault| {
            let (name, version) = (&fault.name, &fault.digest);
            json!({ "name": name, "version": version, "reason": fault.reason, "healed": fault.healed })
        });
        let given_up = found.given_up.iter();
        let given_up = given_up.map(|one| json!({ "name": one.name, "version": one.version, "what": one.what }));
        let unreadable = found.unreadable.iter().map(|one| json!({ "digest": one.digest, "reason": one.reason }));
        json!({
            "store": found.place,
            "whole": found.is_whole(),
            "pieces": found.store.pieces,
            "bytes": found.store.bytes,
            "damaged": self.damaged().map(damage).collect::<Vec<_>>(),
            "missing": found.missing.iter().map(missing).collect::<Vec<_>>(),
            "unreadable": unreadable.collect::<Vec<_>>(),
            "refs": refs.collect::<Vec<_>>(),
            "tables": tables.collect::<Vec<_>>(),
            "affected": found.affected.iter().map(affected).collect::<Vec<_>>(),
            "given_up": given_up.collect::<Vec<_>>(),
            "unknown": found.unknown,
            "notes": found.notes,
            "fetched": found.fetched,
            "cached_files": found.cached,
            "cached_files_removed": found.changed,
        })
    }

    fn text(&self) -> String {
        let mut text = String::new();
        self.pieces(&mut text);
        self.facts(&mut text);
        self.needs(&mut text);
        self.sum(&mut text);
        text
    }

    fn place(&self, remote: Option<&str>) -> String {
        match (remote, self.remote) {
            (Some(remote), _) => format!("the remote {remote}"),
            (None, None) => format!("the project's store, {}", self.found.place),
            (None, Some(_)) => "where it was to be healed from".to_owned(),
        }
    }

    fn pieces(&self, text: &mut String) {
        // A pack that is lost is one line, however many pieces it had; what became of them may differ.
        let mut together: BTreeMap<_, Vec<&Damage>> = BTreeMap::new();
        for (remote, damage) in self.damaged() {
            together.entry((remote, &damage.object, damage.let_go, damage.healed)).or_default().push(damage);
        }
        for ((remote, object, let_go, healed), damaged) in together {
            let state = match (healed, let_go) {
                (_, true) => "not needed, let go:",
                (true, false) => "healed",
                (false, false) => "DAMAGED",
            };
            let Some(first) = damaged.first() else { continue };
            let what = match damaged.len() {
                1 => first.digest.to_string(),
                count => format!("{count} pieces"),
            };
            let reason = &first.reason;
            let more = if damaged.iter().all(|one| one.reason == *reason) { "" } else { ", and other reasons" };
            let _ = writeln!(text, "{state} {what} in {object} of {}: {reason}{more}", self.place(remote));
        }
        for one in self.found.unreadable.iter().take(LISTED) {
            let _ = writeln!(text, "UNREADABLE {}: {}", one.digest, one.reason);
        }
        more(text, self.found.unreadable.len());
        for root in self.found.missing.iter().take(LISTED) {
            let _ = writeln!(text, "MISSING {} (a {}, or a part of one)", root.digest(), kind(root));
        }
        more(text, self.found.missing.len());
    }

    /// What is neither a piece nor a file: refs, records, states.
    fn facts(&self, text: &mut String) {
        for one in &self.found.refs {
            let state = if one.healed { "healed" } else { "DAMAGED" };
            let _ = writeln!(text, "{state} the ref {}: {}", one.name, printable(&one.reason));
        }
        for fault in &self.found.tables {
            let state = if fault.healed { "healed" } else { "DAMAGED" };
            let what = match &fault.digest {
                Some(digest) => format!("the record of {} of {}", digest.short(), fault.name),
                None => format!("tags and declarations of {}", fault.name),
            };
            let _ = writeln!(text, "{state} {what}: {}", printable(&fault.reason));
        }
        for path in &self.found.changed {
            let path = path.display();
            let _ = writeln!(text, "removed {path}: it was changed in place, and is made again when it is needed");
        }
        for one in &self.found.given_up {
            let what = printable(&one.what);
            let _ = match (&one.name, &one.version) {
                (Some(name), Some(version)) => writeln!(text, "given up: {name} {}: {what}", version.short()),
                (Some(name), None) => writeln!(text, "given up: {name}: {what}"),
                _ => writeln!(text, "given up: {what}"),
            };
        }
        for unknown in &self.found.unknown {
            let _ = writeln!(text, "UNKNOWN {}", printable(unknown));
        }
        for note in &self.found.notes {
            let _ = writeln!(text, "note: {}", printable(note));
        }
    }

    fn needs(&self, text: &mut String) {
        for Affected { subject, healed, given_up, paths } in &self.found.affected {
            let state = match (healed, given_up) {
                (true, _) => "whole again",
                (false, true) => "given up",
                (false, false) => "NOT WHOLE",
            };
            let mut files: Vec<_> = paths.iter().take(PATHS).map(|path| printable(path)).collect();
            if let Some(more) = paths.len().checked_sub(PATHS).filter(|more| *more > 0) {
                files.push(format!("{more} more"));
            }
            let files = if files.is_empty() { String::new() } else { format!(": {}", files.join(", ")) };
            let _ = writeln!(text, "{state}: {}{files}", printable(&subject.to_string()));
        }
    }

    fn sum(&self, text: &mut String) {
        let found = self.found;
        let healed = found.store.damaged.iter().filter(|damage| damage.healed).count();
        let _ = writeln!(
            text,
            "{}, {} read; {} damaged, {healed} of them healed; {} missing, {} fetched",
            counted(found.store.pieces, "piece"),
            bytes(found.store.bytes),
            found.store.damaged.len(),
            found.missing.len(),
            found.fetched
        );
        if !found.is_whole() {
            let _ = writeln!(text, "{}", self.advice());
        }
    }

    /// What to do about what is left.
    fn advice(&self) -> String {
        match self.removal() {
            Some(removal) => format!("{}; {removal}", self.elsewhere()),
            None => self.elsewhere(),
        }
    }

    /// The command for a version of which files are lost: that it is removed is decided for each, and said why.
    fn removal(&self) -> Option<String> {
        // What a remote may have is not lost.
        if !self.heals || self.found.unasked {
            return None;
        }
        let hurt = self.found.affected.iter().filter(|one| !one.healed && !one.given_up);
        let mut versions = hurt.filter_map(|one| match &one.subject {
            Subject::Version { name, digest, number } => Some((name, digest, *number)),
            _ => None,
        });
        // A version that is lost itself may be named by a ref, which is let go.
        let (name, digest, number) = versions.find(|(_, digest, _)| self.gives_up || !self.is_lost(digest))?;
        let version = number.map_or_else(|| digest.short(), |number| format!("v{number}"));
        let then = match self.remote {
            None => "ropewalk data verify --heal".to_owned(),
            Some(remote) => format!("ropewalk push` and `ropewalk data verify --remote {remote} --heal"),
        };
        Some(format!(
            "a version whose files nobody has is removed by `ropewalk data rm {name}@{version} --reason WHY`, then `{then}`"
        ))
    }

    /// Whether the object of a version is missing or damaged.
    fn is_lost(&self, digest: &Digest) -> bool {
        let damaged = self.found.store.damaged.iter().filter(|damage| !damage.healed).map(|damage| &damage.digest);
        self.found.missing.iter().map(Root::digest).chain(damaged).any(|found| found == digest)
    }

    fn elsewhere(&self) -> String {
        match (self.remote, self.heals) {
            (None, false) => {
                "`ropewalk data verify --heal` takes it from the work tree and from a remote; or add the files again".to_owned()
            }
            (_, true) if self.gives_up && self.found.unasked => {
                "a remote that could not be asked may have the rest: run this again once it can be reached".to_owned()
            }
            (_, true) if self.gives_up => "the rest is not given up: see what is said of it above".to_owned(),
            (None, true) => {
                "the rest is neither there nor in the work tree: try another remote, or put the files back and run this again; \
                 of versions and code of runs that nobody has, `ropewalk data verify --heal --give-up` lets go"
                    .to_owned()
            }
            (Some(remote), false) => format!(
                "`ropewalk data verify --remote {remote} --heal` sends it again, from this project and its other remotes"
            ),
            (Some(remote), true) => format!(
                "the rest is not here: run `ropewalk data verify --remote {remote} --heal` on a machine that has it; of versions \
                 that none has, `--give-up` with that lets go there"
            ),
        }
    }
}

fn more(text: &mut String, all: usize) {
    if let Some(more) = all.checked_sub(LISTED).filter(|more| *more > 0) {
        let _ = writeln!(text, "… and {more} more");
    }
}
