//! The small text file that git keeps beside the data.

mod conflict;

use std::fmt::Write as _;
use std::io::Read as _;
use std::path::Path;

use ropewalk_store::files::{self, EntryKind};
use ropewalk_types::{DatasetName, Digest};
use serde::{Deserialize, Serialize};

use crate::error::VersionsError;
use crate::workspace::is_ignored;

pub(crate) use conflict::sides;

/// What the name of a pointer ends with.
pub(crate) const EXTENSION: &str = ".dataset";
/// The largest pointer that is read; with conflict markers it holds three.
pub(crate) const MAX_BYTES: u64 = 64 << 10;
const FORMAT: &str = "1";
const SKIPPED: &str = "skipped";
const COMMENT: &str =
    "# A dataset kept by Ropewalk: `ropewalk pull` brings its files back. Written by `ropewalk data`.";
/// What every pointer begins with: other tools have files with the same ending.
const MARK: &str = "# A dataset kept by Ropewalk";
/// What a file begins with of which git could merge nothing.
const CONFLICT: &str = "<<<<<<<";
/// Keys in the order in which they are written.
const KEYS: [&str; 10] = ["base", "bytes", "digest", "files", "format", "kind", "links", "name", "path", "version"];

/// What a dataset is on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A folder: its digest is that of a tree.
    Folder,
    /// One file: its digest is that of a blob.
    File,
    /// One file that may be executed.
    Executable,
}

impl Kind {
    /// The spelling in pointers and version objects.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Folder => "folder",
            Self::File => "file",
            Self::Executable => "executable",
        }
    }

    /// The kind of a single file.
    pub(crate) const fn of_file(executable: bool) -> Self {
        if executable { Self::Executable } else { Self::File }
    }
}

/// What becomes of symbolic links that lie in the data. None is ever stored: on another machine it might lead anywhere.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Links {
    /// They are an error.
    #[default]
    Refused,
    /// They lie beside the data and are no part of it.
    Skipped,
}

/// Whether the content that a pointer names is a version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum PointerState {
    /// It is the content of this version.
    Committed {
        /// Digest of the version object.
        version: Digest,
    },
    /// It was added, and no version holds it yet.
    Added {
        /// The version that it was made from, if any.
        base: Option<Digest>,
    },
}

impl PointerState {
    /// The version of the content, or the one that it was made from.
    pub fn ancestor(self) -> Option<Digest> {
        match self {
            Self::Committed { version } => Some(version),
            Self::Added { base } => base,
        }
    }

    /// The version of the content.
    pub fn version(self) -> Option<Digest> {
        match self {
            Self::Committed { version } => Some(version),
            Self::Added { .. } => None,
        }
    }
}

/// What git keeps of a dataset: which content belongs beside this file.
///
/// A comment, then sorted `key value` lines, one fact a line: `base` (only of what is added and not committed),
/// `bytes`, `digest` (of the tree; of a single file its blob), `files`, `format`, `kind`, `links` (only `skipped`: symbolic
/// links are left out), `name`, `path` (the name of the data beside the pointer), `version` (only of what is committed:
/// digest of the [`crate::Version`] object).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Pointer {
    /// The dataset.
    pub name: DatasetName,
    /// What it is on disk.
    pub kind: Kind,
    /// The name of the file or folder beside the pointer.
    pub path: String,
    /// The content: a tree, or a blob for a single file.
    pub digest: Digest,
    /// Size of all files, in bytes.
    pub bytes: u64,
    /// Number of files.
    pub files: u64,
    /// What becomes of symbolic links in the data.
    pub links: Links,
    /// Whether the content is a version.
    pub state: PointerState,
}

impl Pointer {
    /// The version of this content, or the one that it was made from.
    pub fn ancestor(&self) -> Option<Digest> {
        self.state.ancestor()
    }

    /// The version of this content.
    pub fn version(&self) -> Option<Digest> {
        self.state.version()
    }

    /// The text of the file.
    pub fn render(&self) -> String {
        let mut text = format!("{COMMENT}\n");
        for key in KEYS {
            if let Some(value) = self.value(key) {
                // Writing to a string cannot fail.
                let _ = writeln!(text, "{key} {value}");
            }
        }
        text
    }

    fn value(&self, key: &str) -> Option<String> {
        match key {
            "base" => match self.state {
                PointerState::Added { base } => base.map(|base| base.to_string()),
                PointerState::Committed { .. } => None,
            },
            "bytes" => Some(self.bytes.to_string()),
            "digest" => Some(self.digest.to_string()),
            "files" => Some(self.files.to_string()),
            "format" => Some(FORMAT.to_owned()),
            "kind" => Some(self.kind.as_str().to_owned()),
            "links" => (self.links == Links::Skipped).then(|| SKIPPED.to_owned()),
            "name" => Some(self.name.to_string()),
            "path" => Some(self.path.clone()),
            _ => self.version().map(|version| version.to_string()),
        }
    }

    /// Reads the text of a file; `path` is only named in errors.
    pub fn parse(text: &str, path: &Path) -> Result<Self, VersionsError> {
        if let Some(line) = conflict::first_marker(text) {
            return Err(VersionsError::PointerConflict { path: path.to_owned(), line });
        }
        if text.trim().is_empty() {
            return Err(VersionsError::Pointer { path: path.to_owned(), line: 1, reason: "it is empty".to_owned() });
        }
        let lines = Lines::read(text).and_then(Lines::pointer);
        lines.map_err(|(line, reason)| VersionsError::Pointer { path: path.to_owned(), line, reason })
    }

    /// Whether the file at `path` is a pointer, be it a damaged one, and not a file of something else.
    ///
    /// Of one that lost its beginning, or all of it, the line of `.gitignore` still tells that its data is tracked.
    pub(crate) fn is_at(path: &Path) -> Result<bool, VersionsError> {
        let mut beginning = Vec::new();
        let read = files::open(path)?.take(MARK.len() as u64).read_to_end(&mut beginning);
        read.map_err(|source| files::FileError::Io { action: "read", path: path.to_owned(), source })?;
        if beginning == MARK.as_bytes() || beginning.starts_with(CONFLICT.as_bytes()) {
            return Ok(true);
        }
        let data = path.file_name().and_then(|name| name.to_str()?.strip_suffix(EXTENSION));
        match (path.parent(), data) {
            (Some(folder), Some(data)) => is_ignored(folder, data),
            _ => Ok(false),
        }
    }

    /// Refuses a path where a file of something else lies.
    pub(crate) fn check_place(path: &Path) -> Result<(), VersionsError> {
        match files::kind(path)? {
            None => Ok(()),
            Some(EntryKind::File) if Self::is_at(path)? => Ok(()),
            Some(_) => Err(VersionsError::NotAPointer(path.to_owned())),
        }
    }

    pub(crate) fn read(path: &Path) -> Result<Self, VersionsError> {
        Self::parse(&files::read_text(path, MAX_BYTES)?, path)
    }

    /// Writes the file, whole and durable; not when it is the same already.
    pub(crate) fn write(&self, path: &Path) -> Result<(), VersionsError> {
        Self::check_place(path)?;
        let text = self.render();
        let same = files::exists(path)? && files::read_bounded(path, MAX_BYTES).is_ok_and(|old| old == text.as_bytes());
        if same { Ok(()) } else { Ok(files::write_atomic(path, text.as_bytes())?) }
    }
}

/// A line number and what is wrong there.
type Complaint = (usize, String);

/// Values by key, with the line of each.
struct Lines<'a> {
    values: [Option<(usize, &'a str)>; KEYS.len()],
    last: usize,
}

impl<'a> Lines<'a> {
    fn read(text: &'a str) -> Result<Self, Complaint> {
        let mut lines = Self { values: [None; KEYS.len()], last: text.lines().count().max(1) };
        let mut before = None;
        for (position, line) in text.lines().enumerate() {
            let number = position + 1;
            if line.starts_with('#') || line.is_empty() {
                continue;
            }
            let (key, value) = line.split_once(' ').ok_or_else(|| (number, "`key value` is expected".to_owned()))?;
            let place = KEYS.iter().position(|known| *known == key);
            let place = place.ok_or_else(|| (number, format!("`{}` is no key of a pointer", key.escape_debug())))?;
            if before.is_some_and(|before| before >= place) {
                return Err((number, format!("`{key}` is not in alphabetical order, or occurs twice")));
            }
            before = Some(place);
            if let Some(slot) = lines.values.get_mut(place) {
                *slot = Some((number, value));
            }
        }
        Ok(lines)
    }

    fn find(&self, key: &str) -> Option<(usize, &'a str)> {
        let place = KEYS.iter().position(|known| *known == key)?;
        self.values.get(place).copied().flatten()
    }

    fn need(&self, key: &str) -> Result<(usize, &'a str), Complaint> {
        self.find(key).ok_or_else(|| (self.last, format!("the key `{key}` is missing")))
    }

    fn parsed<T: std::str::FromStr<Err: std::fmt::Display>>(&self, key: &str) -> Result<T, Complaint> {
        let (line, value) = self.need(key)?;
        value.parse().map_err(|error| (line, format!("`{key}` cannot be read: {error}")))
    }

    fn digest(&self, key: &str) -> Result<Option<Digest>, Complaint> {
        self.find(key).map(|_| self.parsed(key)).transpose()
    }

    fn pointer(self) -> Result<Pointer, Complaint> {
        let (line, format) = self.need("format")?;
        if format != FORMAT {
            return Err((line, format!("format `{}` is not known, only {FORMAT}", format.escape_debug())));
        }
        let state = match (self.digest("version")?, self.digest("base")?) {
            (Some(version), None) => PointerState::Committed { version },
            (None, base) => PointerState::Added { base },
            (Some(_), Some(_)) => return Err((line, "both `base` and `version` are there".to_owned())),
        };
        Ok(Pointer {
            name: self.parsed("name")?,
            kind: self.kind()?,
            path: self.path()?,
            digest: self.parsed("digest")?,
            bytes: self.parsed("bytes")?,
            files: self.parsed("files")?,
            links: self.links()?,
            state,
        })
    }

    fn kind(&self) -> Result<Kind, Complaint> {
        let (line, value) = self.need("kind")?;
        let kinds = [Kind::Folder, Kind::File, Kind::Executable];
        let known = kinds.into_iter().find(|kind| kind.as_str() == value);
        known.ok_or_else(|| (line, format!("`{}` is no kind: folder, file or executable", value.escape_debug())))
    }

    fn links(&self) -> Result<Links, Complaint> {
        match self.find("links") {
            None => Ok(Links::Refused),
            Some((_, SKIPPED)) => Ok(Links::Skipped),
            Some((line, other)) => {
                Err((line, format!("`{}` is nothing that becomes of links: {SKIPPED}", other.escape_debug())))
            }
        }
    }

    fn path(&self) -> Result<String, Complaint> {
        let (line, value) = self.need("path")?;
        let plain =
            !matches!(value, "" | "." | "..") && !value.contains(['/', '\\']) && !value.contains(char::is_control);
        if plain && value.len() <= 255 {
            return Ok(value.to_owned());
        }
        Err((line, "`path` must be the name of the data beside this file".to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    pub(crate) fn example() -> Pointer {
        Pointer {
            name: DatasetName::new("flights").unwrap(),
            kind: Kind::Folder,
            path: "flights 2013".to_owned(),
            digest: Digest::of(b"tree"),
            bytes: 12,
            files: 3,
            links: Links::Refused,
            state: PointerState::Committed { version: Digest::of(b"version") },
        }
    }

    fn parse(text: &str) -> Result<Pointer, VersionsError> {
        Pointer::parse(text, Path::new("x.dataset"))
    }

    #[test]
    fn the_text_is_one_sorted_fact_a_line() {
        let text = example().render();
        let lines: Vec<_> = text.lines().skip(1).collect();
        assert!(text.starts_with("# A dataset kept by Ropewalk"));
        assert!(lines.is_sorted());
        assert_eq!(lines[0], "bytes 12");
        assert_eq!(lines[6], "path flights 2013");
        assert_eq!(lines.len(), 8);
        assert!(text.ends_with('\n'));
    }

    #[test]
    fn what_is_wrong_is_named_with_its_line() {
        let text = example().render();
        let wrong = |from: &str, to: &str| parse(&text.replace(from, to)).unwrap_err().to_string();
        assert!(wrong("bytes 12", "bytes twelve").contains("line 2: `bytes` cannot be read"));
        assert!(wrong("kind folder", "kind pipe").contains("line 6: `pipe` is no kind"));
        assert!(wrong("files 3\n", "").contains("`files` is missing"));
        assert!(wrong("name flights", "links kept\nname flights").contains("line 7: `kept` is nothing"));
        assert!(wrong("format 1", "format 2").contains("line 5: format `2`"));
        assert!(wrong("name flights", "nome flights").contains("line 7: `nome` is no key"));
        assert!(wrong("bytes 12", "bytes 12\nbytes 12").contains("line 3: `bytes` is not in alphabetical order"));
        assert!(wrong("bytes 12", "bytes").contains("`key value`"));
        for path in ["../x", "a/b", "..", "a\tb", "a\\b"] {
            assert!(wrong("path flights 2013", &format!("path {path}")).contains("line 8: `path` must be"), "{path}");
        }
        assert!(parse("").is_err());
    }

    #[test]
    fn conflict_markers_lead_to_merge() {
        use ropewalk_types::Diagnose as _;
        let text = example().render().replace("bytes 12", "<<<<<<< HEAD\nbytes 12\n=======\nbytes 13\n>>>>>>> other");
        let error = parse(&text).unwrap_err();
        assert_eq!(error.code(), "versions.pointer_conflict");
        assert!(error.to_string().contains("line 2"));
        assert_eq!(error.hint().unwrap(), "run `ropewalk data merge x`");
    }

    proptest! {
        #[test]
        fn round_trip(
            name in "[a-z][a-z0-9._-]{0,20}", path in "[a-zäß #._-]{1,20}", kind in 0..3_usize, bytes: u64, files: u64, state in 0..3,
            skipped: bool,
        ) {
            prop_assume!(path != "." && path != "..");
            let state = match state {
                0 => PointerState::Added { base: None },
                1 => PointerState::Added { base: Some(Digest::of(b"base")) },
                _ => PointerState::Committed { version: Digest::of(b"v") },
            };
            let kind = [Kind::Folder, Kind::File, Kind::Executable][kind];
            let links = if skipped { Links::Skipped } else { Links::Refused };
            let name = DatasetName::new(name).unwrap();
            let pointer = Pointer { name, kind, path, bytes, files, links, state, ..example() };
            prop_assert_eq!(parse(&pointer.render()).unwrap(), pointer);
        }

        #[test]
        fn no_text_panics(text in "[a-z0-9 \n#<>=|-]{0,200}") {
            let _ = parse(&text);
        }
    }
}
