//! What was last laid out or added, file by file, so that an unchanged file is told by its metadata alone.
//!
//! `.ropewalk/work/NAME.index`: `RWIX`, version (1 byte), then the head (content, kind, version, time from which on
//! metadata is not trusted, path, selection), then the number of files (4) and for each file, in strictly rising byte
//! order of the paths, length of the path (2), flags (1), size (8), times of modification and of change in nanoseconds
//! since 1970 (8 each), inode (8), digest (32), path; at the end the BLAKE3 digest of all before (32). Numbers are
//! little-endian. An index is a cache: one that is missing or damaged is made again by reading the files.
//!
//! A file that changes twice within one tick of the file system's clock cannot be told by its times. So an entry is
//! trusted only if its file last changed before `settled`, a moment of that same clock before the metadata was read;
//! files that are younger are read again (the problem that git calls "racy").

use std::io::Read as _;
use std::path::Path;

use ropewalk_store::files::{self, FileError};
use ropewalk_types::Digest;

use crate::error::VersionsError;
use crate::pointer::{Kind, PointerState};
use crate::work::Found;

const MAGIC: [u8; 4] = *b"RWIX";
const FORMAT: u8 = 1;
/// Sixteen million files with paths of ordinary length.
const MAX_BYTES: u64 = 4 << 30;
const MAX_FILES: usize = 16 << 20;
/// Bytes from the beginning of an index to behind the path of its data, if that is no longer than a system takes.
const BEGINNING: u64 = 8 << 10;
const FLAG_EXECUTABLE: u8 = 1;
const FLAG_ABSENT: u8 = 2;
/// Length of the path, flags, four numbers, digest.
const FIXED: usize = 2 + 1 + 4 * 8 + Digest::LEN;

/// The metadata of a file that tells whether it changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Stat {
    pub(crate) size: u64,
    /// Nanoseconds since 1970.
    pub(crate) modified: i64,
    /// Nanoseconds since 1970; 0 where the platform does not know.
    pub(crate) changed: i64,
    pub(crate) inode: u64,
    pub(crate) executable: bool,
}

impl Stat {
    /// What is said of a file whose metadata was not read: like no file that is there.
    pub(crate) fn unknown(&self) -> Self {
        Self { size: self.size, executable: self.executable, ..Self::default() }
    }

    /// When anything about the file last changed; the time of modification can be set, that of change cannot.
    pub(crate) fn youngest(&self) -> i64 {
        if self.changed == 0 { self.modified } else { self.changed }
    }
}

/// What holds for all entries of an index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct IndexHead {
    /// The content: what a complete work tree would be.
    pub(crate) root: Digest,
    pub(crate) kind: Kind,
    /// The version that has this content, or the one that it was made from.
    pub(crate) state: PointerState,
    /// The data, relative to the project.
    pub(crate) path: String,
    /// Which files belong into the work tree; all when there is none.
    pub(crate) selection: Option<Vec<String>>,
    /// Files that changed at this time or later are not trusted, in nanoseconds since 1970.
    pub(crate) settled: i64,
}

/// A file of an index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct IndexEntry<'a> {
    pub(crate) path: &'a str,
    pub(crate) stat: Stat,
    pub(crate) digest: Digest,
    /// It is part of the content, but was not to be laid out; of its metadata only size and executable bit are known.
    pub(crate) absent: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Record {
    start: u32,
    end: u32,
    stat: Stat,
    digest: Digest,
    absent: bool,
}

/// The index of a dataset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Index {
    pub(crate) head: IndexHead,
    paths: String,
    records: Vec<Record>,
}

impl Index {
    pub(crate) fn new(head: IndexHead) -> Self {
        Self { head, paths: String::new(), records: Vec::new() }
    }

    /// The same files under another head.
    pub(crate) fn with_head(self, head: IndexHead) -> Self {
        Self { head, ..self }
    }

    /// Adds a file; says `false` and adds nothing if its path is not beyond the last, or there is no room.
    pub(crate) fn push(&mut self, entry: IndexEntry<'_>) -> bool {
        let beyond = self.records.last().is_none_or(|last| self.path(last).as_bytes() < entry.path.as_bytes());
        let (start, end) = (u32::try_from(self.paths.len()), u32::try_from(self.paths.len() + entry.path.len()));
        let (true, Ok(start), Ok(end)) = (beyond && self.records.len() < MAX_FILES, start, end) else { return false };
        self.paths.push_str(entry.path);
        self.records.push(Record { start, end, stat: entry.stat, digest: entry.digest, absent: entry.absent });
        true
    }

    pub(crate) fn len(&self) -> usize {
        self.records.len()
    }

    pub(crate) fn get(&self, position: usize) -> Option<IndexEntry<'_>> {
        self.records.get(position).map(|record| self.entry(record))
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = IndexEntry<'_>> {
        self.records.iter().map(|record| self.entry(record))
    }

    /// Whether a file with this metadata surely has the content of the entry at `position`.
    pub(crate) fn trusts(&self, position: usize, stat: &Stat) -> bool {
        self.records
            .get(position)
            .is_some_and(|record| !record.absent && record.stat == *stat && record.stat.youngest() < self.head.settled)
    }

    /// The same files with the metadata that was found just now, where their content was found to be that of the entry.
    /// Files that were not read are trusted as little as before.
    ///
    /// `settled` must have been read from the clock before the metadata.
    pub(crate) fn refreshed(&self, found: &[Found], settled: i64) -> Self {
        let mut index = Self { head: IndexHead { settled, ..self.head.clone() }, ..self.clone() };
        for file in found {
            let Some(record) = file.at.and_then(|at| index.records.get_mut(at)) else { continue };
            if file.digest.is_none() && record.stat.youngest() < self.head.settled {
                continue;
            }
            let same = file.digest == Some(record.digest) && file.stat.executable == record.stat.executable;
            // What is known to differ must not look like the entry, whatever its metadata; nor what was not read and is
            // older than `settled` only now.
            record.stat = if same { file.stat } else { record.stat.unknown() };
            record.absent &= !same;
        }
        index
    }

    fn path(&self, record: &Record) -> &str {
        self.paths.get(record.start as usize..record.end as usize).unwrap_or_default()
    }

    fn entry(&self, record: &Record) -> IndexEntry<'_> {
        IndexEntry { path: self.path(record), stat: record.stat, digest: record.digest, absent: record.absent }
    }

    /// Reads the index at `path`; none if it is missing or damaged.
    pub(crate) fn load(path: &Path) -> Result<Option<Self>, VersionsError> {
        match files::read_bounded(path, MAX_BYTES) {
            Ok(bytes) => Ok(Self::decode(&bytes)),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Where the data lies of which the file at `path` is the index, by its first bytes alone; none of what is no index.
    pub(crate) fn data_path(path: &Path) -> Result<Option<String>, VersionsError> {
        let file = match files::open(path) {
            Err(error) if error.is_not_found() => return Ok(None),
            file => file?,
        };
        let mut bytes = Vec::new();
        let read = file.take(BEGINNING).read_to_end(&mut bytes);
        read.map_err(|source| FileError::Io { action: "read", path: path.to_owned(), source })?;
        let mut reader = Reader { rest: &bytes };
        let is_index = reader.array() == Some(MAGIC) && reader.u8() == Some(FORMAT);
        Ok(reader.beginning().filter(|_| is_index).map(|head| head.path))
    }

    /// Writes the index, whole or not at all.
    pub(crate) fn save(&self, path: &Path) -> Result<(), VersionsError> {
        Ok(files::write_atomic(path, &self.encode())?)
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(256 + self.paths.len() + self.records.len() * FIXED);
        bytes.extend_from_slice(&MAGIC);
        bytes.push(FORMAT);
        self.encode_head(&mut bytes);
        bytes.extend_from_slice(&(self.records.len() as u32).to_le_bytes());
        for record in &self.records {
            let path = self.path(record);
            let flag = |set, flag| if set { flag } else { 0 };
            bytes.extend_from_slice(&(path.len() as u16).to_le_bytes());
            bytes.push(flag(record.stat.executable, FLAG_EXECUTABLE) | flag(record.absent, FLAG_ABSENT));
            bytes.extend_from_slice(&record.stat.size.to_le_bytes());
            bytes.extend_from_slice(&record.stat.modified.to_le_bytes());
            bytes.extend_from_slice(&record.stat.changed.to_le_bytes());
            bytes.extend_from_slice(&record.stat.inode.to_le_bytes());
            bytes.extend_from_slice(record.digest.as_bytes());
            bytes.extend_from_slice(path.as_bytes());
        }
        let digest = Digest::of(&bytes);
        bytes.extend_from_slice(digest.as_bytes());
        bytes
    }

    fn encode_head(&self, bytes: &mut Vec<u8>) {
        let head = &self.head;
        bytes.extend_from_slice(head.root.as_bytes());
        bytes.push(match head.kind {
            Kind::Folder => 0,
            Kind::File => 1,
            Kind::Executable => 2,
        });
        let (state, digest) = match head.state {
            PointerState::Added { base: None } => (0, head.root),
            PointerState::Added { base: Some(base) } => (1, base),
            PointerState::Committed { version } => (2, version),
        };
        bytes.push(state);
        bytes.extend_from_slice(digest.as_bytes());
        bytes.extend_from_slice(&head.settled.to_le_bytes());
        encode_text(&head.path, bytes);
        bytes.push(u8::from(head.selection.is_some()));
        let patterns = head.selection.as_deref().unwrap_or_default();
        bytes.extend_from_slice(&(patterns.len() as u32).to_le_bytes());
        for pattern in patterns {
            encode_text(pattern, bytes);
        }
    }

    /// None for anything but a whole, undamaged index.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let (body, digest) = bytes.split_at_checked(bytes.len().checked_sub(Digest::LEN)?)?;
        if Digest::of(body).as_bytes() != digest {
            return None;
        }
        let mut reader = Reader { rest: body };
        if reader.array()? != MAGIC || reader.u8()? != FORMAT {
            return None;
        }
        let mut index = Self::new(reader.head()?);
        let count = reader.u32()? as usize;
        if count > reader.rest.len() / FIXED {
            return None;
        }
        index.records.reserve(count);
        index.paths.reserve(reader.rest.len() - count * FIXED);
        for _ in 0..count {
            let entry = reader.entry()?;
            if !index.push(entry) {
                return None;
            }
        }
        reader.rest.is_empty().then_some(index)
    }
}

fn encode_text(text: &str, bytes: &mut Vec<u8>) {
    bytes.extend_from_slice(&(text.len() as u32).to_le_bytes());
    bytes.extend_from_slice(text.as_bytes());
}

struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(length)?;
        self.rest = rest;
        Some(taken)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    fn u8(&mut self) -> Option<u8> {
        self.array().map(u8::from_le_bytes)
    }

    fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    fn i64(&mut self) -> Option<i64> {
        self.array().map(i64::from_le_bytes)
    }

    fn digest(&mut self) -> Option<Digest> {
        self.array().map(Digest::from_bytes)
    }

    fn flag(&mut self) -> Option<bool> {
        match self.u8()? {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        }
    }

    fn text(&mut self) -> Option<String> {
        let length = self.u32()? as usize;
        String::from_utf8(self.take(length)?.to_vec()).ok()
    }

    /// The head without the selection, which comes last.
    fn beginning(&mut self) -> Option<IndexHead> {
        let root = self.digest()?;
        let kind = match self.u8()? {
            0 => Kind::Folder,
            1 => Kind::File,
            2 => Kind::Executable,
            _ => return None,
        };
        let state = match (self.u8()?, self.digest()?) {
            (0, _) => PointerState::Added { base: None },
            (1, base) => PointerState::Added { base: Some(base) },
            (2, version) => PointerState::Committed { version },
            _ => return None,
        };
        let (settled, path) = (self.i64()?, self.text()?);
        Some(IndexHead { root, kind, state, path, selection: None, settled })
    }

    fn head(&mut self) -> Option<IndexHead> {
        let head = self.beginning()?;
        let (selected, count) = (self.flag()?, self.u32()? as usize);
        let mut patterns = Vec::new();
        for _ in 0..count {
            patterns.push(self.text()?);
        }
        Some(IndexHead { selection: selected.then_some(patterns), ..head })
    }

    fn entry(&mut self) -> Option<IndexEntry<'a>> {
        let length = u16::from_le_bytes(self.array()?).into();
        let flags = self.u8()?;
        if flags & !(FLAG_EXECUTABLE | FLAG_ABSENT) != 0 {
            return None;
        }
        let stat = Stat {
            size: self.u64()?,
            modified: self.i64()?,
            changed: self.i64()?,
            inode: self.u64()?,
            executable: flags & FLAG_EXECUTABLE != 0,
        };
        let digest = self.digest()?;
        let path = std::str::from_utf8(self.take(length)?).ok()?;
        Some(IndexEntry { path, stat, digest, absent: flags & FLAG_ABSENT != 0 })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    pub(crate) fn head() -> IndexHead {
        let (root, state) = (Digest::of(b"root"), PointerState::Added { base: None });
        IndexHead { root, kind: Kind::Folder, state, path: "data".to_owned(), selection: None, settled: 100 }
    }

    fn stat(changed: i64) -> Stat {
        Stat { size: 1, modified: 5, changed, inode: 7, executable: false }
    }

    #[test]
    fn only_what_changed_before_the_index_is_trusted() {
        let mut index = Index::new(head());
        for (path, changed) in [("a", 99), ("b", 100), ("c", 0)] {
            assert!(index.push(IndexEntry { path, stat: stat(changed), digest: Digest::of(b"x"), absent: false }));
        }
        assert!(index.trusts(0, &stat(99)));
        assert!(!index.trusts(0, &stat(98)), "other metadata");
        assert!(!index.trusts(1, &stat(100)), "it may have changed again in that same tick");
        assert!(index.trusts(2, &stat(0)), "without a time of change, that of modification counts");
        assert!(!index.trusts(3, &stat(0)));
    }

    #[test]
    fn what_was_not_read_is_trusted_no_more_than_before() {
        let mut index = Index::new(head());
        for (path, changed) in [("a", 99), ("b", 99), ("c", 100)] {
            assert!(index.push(IndexEntry { path, stat: stat(changed), digest: Digest::of(b"x"), absent: false }));
        }
        let found = |path: &str, at, changed, digest| Found {
            path: path.to_owned(),
            stat: stat(changed),
            at: Some(at),
            digest,
        };
        let files = [found("a", 0, 150, Some(Digest::of(b"x"))), found("b", 1, 150, None), found("c", 2, 100, None)];
        let refreshed = index.refreshed(&files, 200);
        assert!(refreshed.trusts(0, &stat(150)), "it was read");
        assert!(!refreshed.trusts(1, &stat(150)), "it was not");
        assert_eq!(refreshed.get(1), index.get(1));
        assert!(!refreshed.trusts(2, &stat(100)), "it may have changed in the tick of its entry");
    }

    #[test]
    fn paths_rise() {
        let mut index = Index::new(head());
        let entry = |path| IndexEntry { path, stat: stat(1), digest: Digest::of(b"x"), absent: true };
        assert!(index.push(entry("b")));
        assert!(!index.push(entry("a")) && !index.push(entry("b")));
        assert!(index.push(entry("b/c")));
        assert_eq!(index.iter().map(|entry| entry.path).collect::<Vec<_>>(), ["b", "b/c"]);
        assert!(!index.trusts(0, &stat(1)), "it is not there");
    }

    #[test]
    fn a_missing_or_damaged_index_is_no_index() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.index");
        assert_eq!(Index::load(&path).unwrap(), None);
        let index = Index::new(head());
        index.save(&path).unwrap();
        assert_eq!(Index::load(&path).unwrap(), Some(index));
        files::write_atomic(&path, b"RWIX").unwrap();
        assert_eq!(Index::load(&path).unwrap(), None);
    }

    prop_compose! {
        fn any_index()(
            files in prop::collection::btree_map("[a-zä/]{1,12}", (any::<u64>(), any::<i64>(), any::<bool>(), any::<bool>(), any::<[u8; 32]>()), 0..12),
            selection in prop::option::of(prop::collection::vec("[a-z*/]{0,8}", 0..3)),
            (kind, digest) in (0..3, any::<[u8; 32]>()),
            settled in any::<i64>(),
        ) -> Index {
            let digest = Digest::from_bytes(digest);
            let state = match kind {
                0 => PointerState::Added { base: None },
                1 => PointerState::Added { base: Some(digest) },
                _ => PointerState::Committed { version: digest },
            };
            let mut index = Index::new(IndexHead { state, selection, settled, ..head() });
            let files: BTreeMap<_, _> = files;
            for (path, (size, time, executable, absent, digest)) in &files {
                let stat = Stat { size: *size, modified: *time, changed: time.wrapping_add(1), inode: *size, executable: *executable };
                assert!(index.push(IndexEntry { path, stat, digest: Digest::from_bytes(*digest), absent: *absent }));
            }
            index
        }
    }

    proptest! {
        #[test]
        fn round_trip(index in any_index()) {
            prop_assert_eq!(Index::decode(&index.encode()), Some(index));
        }

        #[test]
        fn damage_is_noticed(index in any_index(), position in any::<prop::sample::Index>(), bit in 0..8) {
            let mut bytes = index.encode();
            let position = position.index(bytes.len());
            bytes[position] ^= 1_u8 << bit;
            prop_assert_eq!(Index::decode(&bytes), None);
        }

        #[test]
        fn no_bytes_panic_even_with_a_right_digest(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let whole = [b"RWIX\x01".as_slice(), &bytes].concat();
            let sealed = [whole.as_slice(), Digest::of(&whole).as_bytes()].concat();
            let _ = Index::decode(&sealed);
        }
    }
}
