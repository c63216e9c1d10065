//! Links between pages: the file is there, and so is the heading.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::process::{output, root};

pub(crate) fn check() -> Result<Vec<String>> {
    let root = root()?;
    let list = ["ls-files", "--cached", "--others", "--exclude-standard", "-z", "*.md"];
    let list = output(Command::new("git").current_dir(&root).args(list))?;
    let mut pages = BTreeMap::new();
    for name in list.split('\0').filter(|name| !name.is_empty() && root.join(name).exists()) {
        let text = std::fs::read_to_string(root.join(name)).with_context(|| format!("cannot read {name}"))?;
        pages.insert(PathBuf::from(name), text);
    }
    Ok(complaints(&pages, |path| root.join(path).exists()))
}

fn complaints(pages: &BTreeMap<PathBuf, String>, is_there: impl Fn(&Path) -> bool) -> Vec<String> {
    let anchors: BTreeMap<&Path, Vec<String>> =
        pages.iter().map(|(page, text)| (page.as_path(), anchors(text))).collect();
    let mut complaints = Vec::new();
    for (page, text) in pages {
        for (line, target) in links(text) {
            if target.contains("://") || target.starts_with("mailto:") {
                continue;
            }
            let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
            let path = if file.is_empty() { page.clone() } else { beside(page, file) };
            let known = anchors.get(path.as_path());
            let wrong = match known {
                None if !is_there(&path) => "is not there",
                Some(known) if !anchor.is_empty() && !known.iter().any(|one| one == anchor) => "has no such heading",
                _ => continue,
            };
            complaints.push(format!("{}:{line}: `{target}` {wrong}", page.display()));
        }
    }
    complaints
}

/// A path as it is written in a page, from the root.
fn beside(page: &Path, file: &str) -> PathBuf {
    let mut path = page.parent().unwrap_or(Path::new("")).to_owned();
    for part in Path::new(file).components() {
        match part {
            Component::ParentDir => {
                path.pop();
            }
            Component::CurDir => {}
            part => path.push(part),
        }
    }
    path
}

/// The lines of a page outside of fences, with their numbers.
fn prose(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut fenced = false;
    (1..).zip(text.lines()).filter(move |(_, line)| {
        let fence = line.trim_start().starts_with("```");
        fenced ^= fence;
        !fenced && !fence
    })
}

/// Targets of `[text](target)`, with the numbers of their lines; code is passed over.
fn links(text: &str) -> Vec<(usize, &str)> {
    let mut found = Vec::new();
    for (number, line) in prose(text) {
        let mut code = false;
        for (place, character) in line.char_indices() {
            code ^= character == '`';
            let Some(rest) = line.get(place..).and_then(|rest| rest.strip_prefix("](")) else { continue };
            // A name in code may be a link's text, so that its end stands before this.
            if let (false, Some((target, _))) = (code, rest.split_once(')')) {
                found.push((number, target));
            }
        }
    }
    found
}

/// The anchors of a page's headings as GitHub makes them; of equal ones the further are numbered.
fn anchors(text: &str) -> Vec<String> {
    let mut anchors: Vec<String> = Vec::new();
    for (_, line) in prose(text) {
        let title = line.trim_start_matches('#');
        if title.len() == line.len() || !title.starts_with(' ') {
            continue;
        }
        let kept = title.trim().chars().filter(|one| one.is_alphanumeric() || matches!(one, ' ' | '-' | '_'));
        let anchor: String = kept.flat_map(char::to_lowercase).map(|one| if one == ' ' { '-' } else { one }).collect();
        let same = anchors.iter().filter(|one| **one == anchor).count();
        anchors.push(if same == 0 { anchor } else { format!("{anchor}-{same}") });
    }
    anchors
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_leads_nowhere_is_told() {
        let a = "# One `two`: three\n[b](docs/b.md), [here](#one-two-three), `[no](x.md)`\n[gone](docs/c.md) [w](https://x/y)\n\
                 ```\n[code](y.md)\n# no heading\n```\n[no](#no-heading)\n";
        let b = "## A\n## A\n[a](../a.md#one-two-three) [second](#a-1) [third](#a-2) [folder](adr/)\n";
        let pages = BTreeMap::from([("a.md".into(), a.to_owned()), ("docs/b.md".into(), b.to_owned())]);
        let told = complaints(&pages, |path| path == Path::new("docs/adr"));
        let wanted = [
            "a.md:3: `docs/c.md` is not there",
            "a.md:8: `#no-heading` has no such heading",
            "docs/b.md:3: `#a-2` has no such heading",
        ];
        assert_eq!(told, wanted);
    }
}
