use std::collections::BTreeMap;

use ropewalk_types::Digest;

use crate::codec::Reader;
use crate::error::StoreError;

const WHAT: &str = "tree";
const MAGIC: [u8; 4] = *b"RWTR";
const VERSION: u8 = 1;
const KIND_FILE: u8 = 0;
const KIND_EXECUTABLE: u8 = 1;
const KIND_DIRECTORY: u8 = 2;
/// Kind, length of the name, one letter, digest.
const LEAST_ENTRY: usize = 1 + 1 + 1 + Digest::LEN;

/// What is counted of a directory: names, and what stands for their files.
pub(crate) const DIRECTORY_UNIT: &str = "bytes of names and digests";

/// Directories within directories beyond this depth are neither stored nor laid out.
pub(crate) const MAX_DEPTH: usize = 128;

/// What a name in a [`Tree`] stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TreeEntry {
    /// A file: a blob.
    File {
        /// The blob.
        digest: Digest,
        /// Its size in bytes.
        size: u64,
        /// Whether the file may be executed.
        executable: bool,
    },
    /// A directory: another tree.
    Directory {
        /// The tree.
        digest: Digest,
    },
}

/// A directory: names, each with a blob or another tree.
///
/// It has one encoding, so the same directory has the same digest on every machine:
/// `RWTR`, version (1 byte), count (4), then for each entry in strictly rising byte order of the names
/// kind (1: file, executable file, directory), length of the name (1), name, digest (32) and, for files, size (8).
/// Numbers are little-endian.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tree {
    entries: BTreeMap<String, TreeEntry>,
}

impl Tree {
    /// The largest encoding that is read, in bytes: ten million entries with names of 60 bytes.
    pub const MAX_ENCODED: usize = 1 << 30;
    /// The longest name, in bytes.
    pub const MAX_NAME: usize = 255;

    /// The empty directory.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an entry; refuses a name that is taken or that no file can safely have.
    pub fn insert(&mut self, name: impl Into<String>, entry: TreeEntry) -> Result<(), StoreError> {
        let name = name.into();
        check_name(&name)?;
        if self.entries.contains_key(&name) {
            return Err(malformed(format!("the name `{name}` occurs twice")));
        }
        self.entries.insert(name, entry);
        Ok(())
    }

    /// The entry called `name`.
    pub fn get(&self, name: &str) -> Option<&TreeEntry> {
        self.entries.get(name)
    }

    /// The entries in byte order of their names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &TreeEntry)> {
        self.entries.iter().map(|(name, entry)| (name.as_str(), entry))
    }

    /// Number of entries, without those of directories below.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether the directory is empty.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The canonical encoding.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(9 + self.entries.len() * 64);
        bytes.extend_from_slice(&MAGIC);
        bytes.push(VERSION);
        bytes.extend_from_slice(&(self.entries.len() as u32).to_le_bytes());
        for (name, entry) in &self.entries {
            encode_entry(name, entry, &mut bytes);
        }
        bytes
    }

    /// Reads an encoding; accepts only the canonical one.
    pub fn decode(bytes: &[u8]) -> Result<Self, StoreError> {
        if bytes.len() > Self::MAX_ENCODED {
            let size = bytes.len() as u64;
            let limit = Self::MAX_ENCODED as u64;
            return Err(StoreError::TooLarge { what: "a tree".to_owned(), size, limit, unit: "bytes" });
        }
        let mut reader = Reader::new(WHAT, bytes);
        reader.header(MAGIC, VERSION)?;
        let mut tree = Self::new();
        for _ in 0..reader.count(LEAST_ENTRY)? {
            let (name, entry) = decode_entry(&mut reader)?;
            if tree.entries.last_key_value().is_some_and(|(last, _)| *last >= name) {
                return Err(reader.error(format!("the name `{name}` is not in order")));
            }
            tree.entries.insert(name, entry);
        }
        reader.finish()?;
        Ok(tree)
    }

    /// The name of this tree: the digest of its encoding.
    pub fn digest(&self) -> Digest {
        Digest::of(&self.encode())
    }
}

fn encode_entry(name: &str, entry: &TreeEntry, bytes: &mut Vec<u8>) {
    let (kind, digest, size) = match entry {
        TreeEntry::File { digest, size, executable: false } => (KIND_FILE, digest, Some(size)),
        TreeEntry::File { digest, size, executable: true } => (KIND_EXECUTABLE, digest, Some(size)),
        TreeEntry::Directory { digest } => (KIND_DIRECTORY, digest, None),
    };
    bytes.push(kind);
    // `check_name` bounds the length to one byte.
    bytes.push(name.len() as u8);
    bytes.extend_from_slice(name.as_bytes());
    bytes.extend_from_slice(digest.as_bytes());
    if let Some(size) = size {
        bytes.extend_from_slice(&size.to_le_bytes());
    }
}

fn decode_entry(reader: &mut Reader<'_>) -> Result<(String, TreeEntry), StoreError> {
    let kind = reader.u8()?;
    let length = reader.u8()?;
    let name = std::str::from_utf8(reader.take(length.into())?).map_err(|_| reader.error("a name is not UTF-8"))?;
    check_name(name)?;
    let digest = reader.digest()?;
    let entry = match kind {
        KIND_FILE | KIND_EXECUTABLE => {
            TreeEntry::File { digest, size: reader.u64()?, executable: kind == KIND_EXECUTABLE }
        }
        KIND_DIRECTORY => TreeEntry::Directory { digest },
        other => return Err(reader.error(format!("`{name}` is of the unknown kind {other}"))),
    };
    Ok((name.to_owned(), entry))
}

/// A name must be one component of a path on every platform: it must not lead out of its directory.
pub(crate) fn check_name(name: &str) -> Result<(), StoreError> {
    let reason = match name {
        "" => "a name is empty",
        "." | ".." => "a name leads out of its directory",
        _ if name.len() > Tree::MAX_NAME => "a name has more than 255 bytes",
        _ if name.contains(['/', '\0']) => "a name holds a slash or a zero byte",
        _ => return Ok(()),
    };
    Err(malformed(format!("{reason}: `{}`", name.escape_debug())))
}

fn malformed(reason: String) -> StoreError {
    StoreError::Malformed { what: WHAT, reason }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn file(text: &str) -> TreeEntry {
        TreeEntry::File { digest: Digest::of(text.as_bytes()), size: text.len() as u64, executable: false }
    }

    #[test]
    fn hostile_names_are_refused_both_ways() {
        for name in ["", ".", "..", "a/b", "/a", "a\0", &"x".repeat(256)] {
            assert!(Tree::new().insert(name, file("x")).is_err(), "{name}");
            let entries = BTreeMap::from([(name.to_owned(), file("x"))]);
            assert!(Tree::decode(&Tree { entries }.encode()).is_err(), "{name}");
        }
        let mut tree = Tree::new();
        tree.insert("a", file("x")).unwrap();
        assert!(tree.insert("a", file("y")).is_err());
    }

    #[test]
    fn only_the_canonical_encoding_is_read() {
        let mut one = Tree::new();
        one.insert("a", file("x")).unwrap();
        let encoded = one.encode();
        let body = &encoded[9..];
        let twice = [b"RWTR\x01\x02\0\0\0", body, body].concat();
        assert!(Tree::decode(&twice).unwrap_err().to_string().contains("not in order"));
        assert!(Tree::decode(&[&encoded[..], b"x"].concat()).is_err());
        assert!(Tree::decode(&encoded[..encoded.len() - 1]).is_err());
        assert!(Tree::decode(b"RWTR\x02\0\0\0\0").unwrap_err().to_string().contains("version 2"));
        assert!(Tree::decode(b"RWTR\x01\xff\xff\xff\xff").is_err());
    }

    #[test]
    fn encoding_is_pinned() {
        let mut tree = Tree::new();
        tree.insert("b", TreeEntry::Directory { digest: Digest::of(b"d") }).unwrap();
        tree.insert("a", file("hemp")).unwrap();
        assert_eq!(tree.digest().to_string(), "b502a735cced2296c2caf95771a28b0f666c2117b21cf3f90cc0909325297a2e");
    }

    prop_compose! {
        fn any_entry()(bytes in any::<[u8; 32]>(), size in any::<u64>(), kind in 0..3) -> TreeEntry {
            let digest = Digest::from_bytes(bytes);
            if kind == 2 { TreeEntry::Directory { digest } } else { TreeEntry::File { digest, size, executable: kind == 1 } }
        }
    }

    proptest! {
        #[test]
        fn round_trip(entries in prop::collection::btree_map("[a-zäß._ -]{3,20}", any_entry(), 0..20)) {
            let tree = Tree { entries };
            prop_assert_eq!(Tree::decode(&tree.encode()).unwrap(), tree);
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = Tree::decode(&bytes);
        }

        #[test]
        fn what_is_read_is_canonical(
            entries in prop::collection::btree_map("[a-c]{1,2}", any_entry(), 0..5),
            position in any::<prop::sample::Index>(),
            byte in any::<u8>(),
        ) {
            let mut bytes = Tree { entries }.encode();
            let position = position.index(bytes.len());
            bytes[position] = byte;
            if let Ok(tree) = Tree::decode(&bytes) {
                prop_assert_eq!(tree.encode(), bytes);
            }
        }
    }
}
