use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use crate::process::{output, root};

const LONGEST_FILE: usize = 800;
const LONGEST_TYPES: usize = 3000;

/// Names that say nothing.
const FORBIDDEN_NAMES: [&str; 7] =
    ["mod.rs", "utils.rs", "util.rs", "helpers.rs", "helper.rs", "common.rs", "manager.rs"];

/// Spelled in two parts, so that this file does not hold what it forbids.
const FORBIDDEN_TEXTS: [(&str, &str); 5] = [
    (concat!("#[ign", "ore"), "a test that is not run is no test"),
    (concat!("tod", "o!("), "a stub"),
    (concat!("unimple", "mented!("), "a stub"),
    (concat!("#[al", "low("), "write #[expect(…, reason = \"…\")]"),
    (concat!("FIX", "ME"), "mend it or say it in an issue"),
];

/// Ways past the one door to the disk, `ropewalk_store::files`.
const DOORS: [&str; 8] = [
    "std::fs::read",
    "std::fs::write",
    "std::fs::create",
    "std::fs::remove",
    "std::fs::rename",
    "std::fs::copy",
    " File::open(",
    " File::create(",
];

pub(crate) fn check() -> Result<Vec<String>> {
    let root = root()?;
    let list = output(Command::new("git").current_dir(&root).args([
        "ls-files",
        "--cached",
        "--others",
        "--exclude-standard",
        "-z",
        "*.rs",
    ]))?;
    let mut complaints = Vec::new();
    let mut types = 0;
    for name in list.split('\0').filter(|name| !name.is_empty()) {
        let path = root.join(name);
        if !path.exists() {
            continue;
        }
        let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {name}"))?;
        complaints.extend(complaints_of(name, &text));
        if name.starts_with("crates/foundation/types/src") {
            types += text.lines().count();
        }
    }
    if types > LONGEST_TYPES {
        complaints.push(format!("foundation/types has {types} lines; what only one box needs lives in that box"));
    }
    Ok(complaints)
}

fn complaints_of(name: &str, text: &str) -> Vec<String> {
    let mut complaints = Vec::new();
    let lines = text.lines().count();
    if lines > LONGEST_FILE {
        complaints.push(format!("{name} has {lines} lines: split it by meaning"));
    }
    let file = Path::new(name).file_name().unwrap_or_default();
    if FORBIDDEN_NAMES.iter().any(|forbidden| file == *forbidden) {
        complaints.push(format!("{name}: name it after what it holds"));
    }
    complaints.extend(other_doors(name, text));
    for (number, line) in text.lines().enumerate() {
        for (forbidden, why) in FORBIDDEN_TEXTS {
            if line.contains(forbidden) {
                complaints.push(format!("{name}:{}: `{forbidden}`: {why}", number + 1));
            }
        }
    }
    complaints
}

/// What is shipped reaches the disk through the store crate alone; tests may look for themselves.
fn other_doors(name: &str, text: &str) -> Option<String> {
    let shipped = name.starts_with("crates/")
        && name.contains("/src/")
        && !name.ends_with("tests.rs")
        && !name.contains("/tests/");
    if !shipped || name.starts_with("crates/foundation/store/") {
        return None;
    }
    let code = text.split(concat!("#[cfg", "(test)]")).next().unwrap_or_default();
    let door = DOORS.iter().find(|door| code.contains(**door))?;
    Some(format!("{name}: `{door}` goes past `ropewalk_store::files`, the one door to the disk"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_files_empty_names_and_stubs_are_complained_of() {
        assert!(complaints_of("a/plan.rs", "fn a() {}\n").is_empty());
        assert_eq!(complaints_of("a/plan.rs", &"\n".repeat(801)).len(), 1);
        assert_eq!(complaints_of("a/mod.rs", "").len(), 1);
        assert_eq!(complaints_of("a/plan.rs", concat!("#[ign", "ore]\n")).len(), 1);
    }

    #[test]
    fn there_is_one_door_to_the_disk() {
        let reads = "fn a() { std::fs::read(\"x\"); }\n";
        assert_eq!(complaints_of("crates/workflow/data/src/part.rs", reads).len(), 1);
        assert!(complaints_of("crates/foundation/store/src/files.rs", reads).is_empty());
        assert!(complaints_of("crates/workflow/data/src/part.rs", &format!("#[cfg(test)]\n{reads}")).is_empty());
    }
}
