//! The line of `.gitignore` that keeps the data itself out of git.

use std::path::Path;

use ropewalk_store::files;

use crate::error::VersionsError;

const MAX_BYTES: u64 = 4 << 20;

/// Adds the line for `name` to the `.gitignore` in `folder`, unless it is there.
pub(super) fn ignore(folder: &Path, name: &str) -> Result<(), VersionsError> {
    change(folder, |lines| {
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
    })
}

/// Removes the line for `name` from the `.gitignore` in `folder`; a file that is empty then goes.
pub(super) fn forget(folder: &Path, name: &str) -> Result<(), VersionsError> {
    change(folder, |lines| {
        let before = lines.len();
        lines.retain(|line| *line != pattern(name));
        lines.len() != before
    })
}

fn change(folder: &Path, change: impl FnOnce(&mut Vec<String>) -> bool) -> Result<(), VersionsError> {
    let path = folder.join(".gitignore");
    let text = if files::exists(&path)? { files::read_text(&path, MAX_BYTES)? } else { String::new() };
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    if !change(&mut lines) {
        return Ok(());
    }
    if lines.is_empty() {
        files::remove_file(&path)?;
        return Ok(());
    }
    Ok(files::write_atomic(&path, format!("{}\n", lines.join("\n")).as_bytes())?)
}

fn is_line_of(line: &str, name: &str) -> bool {
    let line = line.trim_end();
    let line = line.strip_suffix('/').unwrap_or(line);
    line == pattern(name) || line == &pattern(name)[1..]
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
        ignore(folder.path(), "a ").unwrap();
        assert_eq!(text(folder.path()), "/a\\ \n");
        forget(folder.path(), "a ").unwrap();
        assert!(!files::exists(&folder.path().join(".gitignore")).unwrap());
    }
}
