//! Which files of a dataset are meant: by path, by folder, by glob.

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};
use ropewalk_store::TreeFile;

use crate::error::VersionsError;

/// Fits every file.
const ALL: &str = "**";
/// More patterns than anybody writes.
const MAX_PATTERNS: usize = 10_000;

/// Which files of a version belong into the work tree.
///
/// A pattern is a path inside the dataset, a folder (with all below it), or a glob, in which `*` and `?` stay within one
/// folder and `**` crosses folders.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Selection {
    /// What was chosen before; all at first.
    #[default]
    Recorded,
    /// All files.
    Everything,
    /// Exactly these; the others go from the work tree.
    Only(Vec<String>),
    /// These, and what was chosen before.
    Also(Vec<String>),
}

impl Selection {
    /// The patterns that were named now.
    pub(crate) fn chosen(&self) -> Option<&[String]> {
        match self {
            Self::Recorded | Self::Everything => None,
            Self::Only(patterns) | Self::Also(patterns) => Some(patterns),
        }
    }

    /// The patterns that hold from now on; none stands for all files.
    pub(crate) fn patterns(&self, recorded: Option<&[String]>) -> Option<Vec<String>> {
        match self {
            Self::Recorded => recorded.map(<[_]>::to_vec),
            Self::Everything => None,
            Self::Only(patterns) => Some(patterns.clone()),
            Self::Also(patterns) => recorded.map(|recorded| {
                let mut all = [recorded, patterns.as_slice()].concat();
                all.sort();
                all.dedup();
                all
            }),
        }
    }
}

/// Patterns, ready to be asked.
#[derive(Debug)]
pub(crate) struct Matcher {
    /// None matches everything.
    chosen: Option<(Vec<String>, GlobSet)>,
}

impl Matcher {
    pub(crate) fn new(patterns: Option<&[String]>) -> Result<Self, VersionsError> {
        let Some(patterns) = patterns else { return Ok(Self { chosen: None }) };
        let refused = |pattern: &str, reason: String| VersionsError::Pattern { pattern: pattern.to_owned(), reason };
        if patterns.len() > MAX_PATTERNS {
            return Err(refused(&format!("{} patterns", patterns.len()), format!("at most {MAX_PATTERNS} are taken")));
        }
        let (mut paths, mut globs) = (Vec::new(), GlobSetBuilder::new());
        for pattern in patterns {
            let path = plain(pattern).map_err(|reason| refused(pattern, reason.to_owned()))?;
            for glob in [path.to_owned(), format!("{path}/**")] {
                let built = GlobBuilder::new(&glob).literal_separator(true).backslash_escape(true).build();
                globs.add(built.map_err(|error| refused(pattern, error.kind().to_string()))?);
            }
            paths.push(path.to_owned());
        }
        let globs = globs.build().map_err(|error| refused(&patterns.join(" "), error.kind().to_string()))?;
        Ok(Self { chosen: Some((paths, globs)) })
    }

    /// The patterns that fit none of `files`; what means all of them is none of these.
    pub(crate) fn idle(&self, files: &[TreeFile]) -> Vec<&str> {
        let Some((paths, globs)) = &self.chosen else { return Vec::new() };
        let mut met: Vec<bool> = paths.iter().map(|path| path == ALL).collect();
        let mut fitting = Vec::new();
        for file in files {
            globs.matches_into(&file.path, &mut fitting);
            // Two globs were made of each pattern.
            for glob in &fitting {
                if let Some(met) = met.get_mut(glob / 2) {
                    *met = true;
                }
            }
        }
        let unmet = paths.iter().zip(met).filter(|(_, met)| !met).map(|(path, _)| path.as_str());
        unmet.filter(|folder| !files.iter().any(|file| is_within(folder, &file.path))).collect()
    }

    pub(crate) fn matches(&self, path: &str) -> bool {
        let Some((paths, globs)) = &self.chosen else { return true };
        paths.iter().any(|folder| is_within(folder, path)) || globs.is_match(path)
    }
}

fn is_within(folder: &str, path: &str) -> bool {
    path.strip_prefix(folder).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// A pattern without what means nothing, such as a slash at its end.
fn plain(pattern: &str) -> Result<&str, &'static str> {
    let path = pattern.strip_prefix("./").unwrap_or(pattern).trim_end_matches('/');
    match path {
        "" | "." => Ok(ALL),
        _ if pattern.starts_with('/') => Err("it begins at the root of the disk, not at that of the dataset"),
        _ if path.split('/').any(|part| part == "..") => Err("`..` leads out of the dataset"),
        _ => Ok(path),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matching(pattern: &str) -> Vec<&'static str> {
        let matcher = Matcher::new(Some(&[pattern.to_owned()])).unwrap();
        let paths = ["a.csv", "a[1]/x", "images/a.png", "images/deep/b.png", "images2/c.png"];
        paths.into_iter().filter(|path| matcher.matches(path)).collect()
    }

    #[test]
    fn paths_folders_and_globs() {
        assert_eq!(matching("a.csv"), ["a.csv"]);
        assert_eq!(matching("./images/"), ["images/a.png", "images/deep/b.png"]);
        assert_eq!(matching("images/*.png"), ["images/a.png"]);
        assert_eq!(matching("**/*.png"), ["images/a.png", "images/deep/b.png", "images2/c.png"]);
        assert_eq!(matching("images*"), ["images/a.png", "images/deep/b.png", "images2/c.png"]);
        assert_eq!(matching("a[1]"), ["a[1]/x"]);
        assert_eq!(matching(".").len(), 5);
        assert!(Matcher::new(None).unwrap().matches("anything"));
    }

    #[test]
    fn patterns_that_fit_nothing_are_named() {
        let files = crate::diff::tests::files(&[("a.csv", "1"), ("a[1]/x", "1"), ("images/a.png", "1")]);
        let patterns = ["a.csv", "b.csv", "a[1]", "images", "*.png", "**/*.png", ".", "image"].map(str::to_owned);
        assert_eq!(Matcher::new(Some(&patterns)).unwrap().idle(&files), ["b.csv", "*.png", "image"]);
        assert!(Matcher::new(None).unwrap().idle(&[]).is_empty());
    }

    #[test]
    fn what_leads_out_is_refused() {
        for bad in ["/etc", "../x", "a/../../b", "[", "{a"] {
            assert!(Matcher::new(Some(&[bad.to_owned()])).is_err(), "{bad}");
        }
    }

    #[test]
    fn selections_build_on_what_was_chosen() {
        let (a, b) = (vec!["a".to_owned()], vec!["b".to_owned()]);
        assert_eq!(Selection::Recorded.patterns(Some(&a)), Some(a.clone()));
        assert_eq!(Selection::Recorded.patterns(None), None);
        assert_eq!(Selection::Everything.patterns(Some(&a)), None);
        assert_eq!(Selection::Only(b.clone()).patterns(Some(&a)), Some(b.clone()));
        assert_eq!(Selection::Also(b.clone()).patterns(Some(&a)), Some(vec!["a".to_owned(), "b".to_owned()]));
        assert_eq!(Selection::Also(b).patterns(None), None, "all stays all");
    }
}
