//! The line of `.gitignore` that keeps the data itself out of git, and the one of `.gitattributes` with which two branches
//! that each add such a line are merged: git then takes the lines of both (gitattributes, "Built-in merge drivers").

use std::path::Path;

use ropewalk_store::files;

use crate::error::VersionsError;

const MAX_BYTES: u64 = 4 << 20;
const FILE: &str = ".gitignore";
const ATTRIBUTES: &str = ".gitattributes";
const UNION: &str = ".gitignore merge=union";

/// Adds the line for `name` to the `.gitignore` in `folder`, unless it is there.
pub(super) fn ignore(folder: &Path, name: &str) -> Result<(), VersionsError> {
    let changed = change(&folder.join(FILE), |lines| {
        let line = pattern(name);
        if lines.iter().any(|known| is_line_of(known, name)) {
            return false;
        }
        // Plain lines at the end are kept sorted; what a person wrote above stays in its order.
        let plain = lines.iter().rev().take_while(|line| line.starts_with('/')).count();
        let block = lines.len() - plain;
        let place = lines.iter().skip(block).position(|known| *known > line).map_or(lines.len(), |at| block + at);
        lines.insert(place, line);
        true
    })?;
    if changed { merge_both(folder) } else { Ok(()) }
}

/// Says how git merges `.gitignore`, unless somebody has said so.
fn merge_both(folder: &Path) -> Result<(), VersionsError> {
    change(&folder.join(ATTRIBUTES), |lines| {
        let said = lines.iter().any(|line| {
            let mut words = line.split_whitespace();
            let about = words.next().is_some_and(|path| path.trim_start_matches('/') == FILE);
            about && words.any(|word| word.trim_start_matches(['-', '!']).split('=').next() == Some("merge"))
        });
        if !said {
            lines.push(UNION.to_owned());
        }
        !said
    })
    .map(drop)
}

/// Whether the `.gitignore` in `folder` has a line for `name`.
pub(crate) fn is_ignored(folder: &Path, name: &str) -> Result<bool, VersionsError> {
    let path = folder.join(FILE);
    if !files::exists(&path)? {
        return Ok(false);
    }
    Ok(files::read_text(&path, MAX_BYTES)?.lines().any(|line| is_line_of(line, name)))
}

/// Removes the line for `name` from the `.gitignore` in `folder`; a file that is empty then goes.
pub(super) fn forget(folder: &Path, name: &str) -> Result<(), VersionsError> {
    change(&folder.join(FILE), |lines| remove(lines, &pattern(name)))?;
    if !files::exists(&folder.join(FILE))? {
        change(&folder.join(ATTRIBUTES), |lines| remove(lines, UNION))?;
    }
    Ok(())
}

fn remove(lines: &mut Vec<String>, line: &str) -> bool {
    let before = lines.len();
    lines.retain(|known| known != line);
    lines.len() != before
}

/// Says whether anything was changed; a file that is empty then goes.
fn change(path: &Path, change: impl FnOnce(&mut Vec<String>) -> bool) -> Result<bool, VersionsError> {
    let text = if files::exists(path)? { files::read_text(path, MAX_BYTES)? } else { String::new() };
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    if !change(&mut lines) {
        return Ok(false);
    }
    if lines.is_empty() {
        files::remove_file(path)?;
    } else {
        files::write_atomic(path, format!("{}\n", lines.join("\n")).as_bytes())?;
    }
    Ok(true)
}

fn is_line_of(line: &str, name: &str) -> bool {
    let (pattern, trimmed) = (pattern(name), line.trim_end());
    let trimmed = trimmed.strip_suffix('/').unwrap_or(trimmed);
    // One for a name that ends in a space does so, too.
    line == pattern || trimmed == pattern || trimmed == &pattern[1..]
}

/// The name as a pattern for this folder alone (gitignore, "PATTERN FORMAT").
fn pattern(name: &str) -> String {
    let mut pattern = String::from("/");
    for letter in name.chars() {
        if matches!(letter, '*' | '?' | '[' | '\\') {
            pattern.push('\\');
        }
        pattern.push(letter);
    }
    if name.ends_with(' ') {
        pattern.pop();
        pattern.push_str("\\ ");
    }
    pattern
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(folder: &Path) -> String {
        files::read_text(&folder.join(".gitignore"), MAX_BYTES).unwrap()
    }

    #[test]
    fn lines_are_sorted_and_kept() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        files::write_atomic(&folder.join(".gitignore"), b"*.log\n!keep.log\n/zebra").unwrap();
        for name in ["flights", "b[1]*", "flights", "weather"] {
            ignore(folder, name).unwrap();
        }
        assert_eq!(text(folder), "*.log\n!keep.log\n/b\\[1]\\*\n/flights\n/weather\n/zebra\n");
        forget(folder, "b[1]*").unwrap();
        forget(folder, "never").unwrap();
        assert_eq!(text(folder), "*.log\n!keep.log\n/flights\n/weather\n/zebra\n");
    }

    #[test]
    fn what_a_person_wrote_counts() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        for line in ["data", "/data", "data/", "/data/  "] {
            files::write_atomic(&folder.join(".gitignore"), line.as_bytes()).unwrap();
            ignore(folder, "data").unwrap();
            assert_eq!(text(folder), line);
        }
    }

    #[test]
    fn an_empty_file_goes() {
        let folder = tempfile::tempdir().unwrap();
        for _ in 0..2 {
            ignore(folder.path(), "a ").unwrap();
        }
        assert!(is_ignored(folder.path(), "a ").unwrap() && !is_ignored(folder.path(), "a").unwrap());
        assert_eq!(text(folder.path()), "/a\\ \n");
        forget(folder.path(), "a ").unwrap();
        assert!(!files::exists(&folder.path().join(FILE)).unwrap());
        assert!(!files::exists(&folder.path().join(ATTRIBUTES)).unwrap());
    }

    #[test]
    fn what_a_person_says_of_merging_counts() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(ATTRIBUTES);
        for (before, after) in [
            ("*.bin -text", "*.bin -text\n.gitignore merge=union\n"),
            ("/.gitignore text -merge\n", "/.gitignore text -merge\n"),
            (".gitignore text", ".gitignore text\n.gitignore merge=union\n"),
        ] {
            files::write_atomic(&path, before.as_bytes()).unwrap();
            ignore(folder.path(), "data").unwrap();
            assert_eq!(files::read_text(&path, MAX_BYTES).unwrap(), after);
            forget(folder.path(), "data").unwrap();
        }
    }
}
