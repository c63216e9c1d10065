//! The objects of the store that make history.

use bytes::Bytes;
use ropewalk_types::{DatasetName, Digest, Timestamp, canonical_json};
use serde::{Deserialize, Serialize};

use crate::error::VersionsError;
use crate::pointer::Kind;

/// The largest version object that is read: a message may be long, but is no data.
pub(crate) const MAX_BYTES: u64 = 1 << 20;
/// What a merge of very many could have.
const MAX_PARENTS: usize = 64;

/// A version of a dataset: which content it had, what it came from, who said so and why.
///
/// Kept in the store as a blob, in the canonical JSON of [`canonical_json`], and named by the digest of that.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Version {
    /// Who made it, as `Name <address>` or as they called themselves.
    pub author: String,
    /// Size of all files, in bytes.
    pub bytes: u64,
    /// When it was made.
    pub created_at: Timestamp,
    /// Number of files.
    pub files: u64,
    /// 1, the layout of this object.
    pub format: u8,
    /// What the dataset is on disk.
    pub kind: Kind,
    /// Why it was made.
    pub message: String,
    /// The dataset.
    pub name: DatasetName,
    /// The versions that it came from, the one that was changed first; none for the first.
    pub parents: Vec<Digest>,
    /// Where the data lay in the project that made it, relative to that.
    pub path: String,
    /// The content: a tree, or a blob for a single file.
    pub root: Digest,
}

impl Version {
    /// The layout that is written and read.
    pub const FORMAT: u8 = 1;

    /// The bytes of the object.
    pub(crate) fn encode(&self) -> Result<Bytes, VersionsError> {
        let value = serde_json::to_value(self).map_err(|error| malformed(Digest::of(b""), error.to_string()))?;
        let text = canonical_json(&value);
        if text.len() as u64 > MAX_BYTES {
            return Err(malformed(Digest::of(text.as_bytes()), "its message is longer than a megabyte".to_owned()));
        }
        Ok(Bytes::from(text))
    }

    /// Reads the object of this digest; accepts only the canonical spelling.
    pub(crate) fn decode(digest: &Digest, bytes: &[u8]) -> Result<Self, VersionsError> {
        if bytes.len() as u64 > MAX_BYTES {
            return Err(malformed(*digest, "it has more than a megabyte".to_owned()));
        }
        let version: Self = serde_json::from_slice(bytes).map_err(|error| malformed(*digest, error.to_string()))?;
        if version.format != Self::FORMAT {
            return Err(malformed(*digest, format!("format {} is not known", version.format)));
        }
        if version.parents.len() > MAX_PARENTS {
            return Err(malformed(*digest, format!("it has {} parents", version.parents.len())));
        }
        if version.encode()? != bytes {
            return Err(malformed(*digest, "it is not in the canonical spelling".to_owned()));
        }
        Ok(version)
    }

    /// The last part of the path: what a single file is called.
    pub fn file_name(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or(&self.path)
    }
}

fn malformed(digest: Digest, reason: String) -> VersionsError {
    VersionsError::Malformed { digest, reason }
}

/// The number in `v12`.
pub(crate) fn version_number(text: &str) -> Option<u64> {
    text.strip_prefix('v').filter(|rest| rest.bytes().all(|byte| byte.is_ascii_digit()))?.parse().ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn example() -> Version {
        Version {
            author: "Ada <ada@example.com>".to_owned(),
            bytes: 5,
            created_at: Timestamp(1_700_000_000_000),
            files: 2,
            format: 1,
            kind: Kind::Folder,
            message: "first".to_owned(),
            name: DatasetName::new("flights").unwrap(),
            parents: vec![Digest::of(b"parent")],
            path: "data/flights".to_owned(),
            root: Digest::of(b"root"),
        }
    }

    #[test]
    fn the_encoding_is_pinned() {
        let bytes = example().encode().unwrap();
        assert!(
            bytes.starts_with(br#"{"author":"Ada <ada@example.com>","bytes":5,"created_at":1700000000000,"files":2,"#)
        );
        assert_eq!(Version::decode(&Digest::of(&bytes), &bytes).unwrap(), example());
        assert_eq!(example().file_name(), "flights");
    }

    #[test]
    fn other_objects_are_refused() {
        let good = String::from_utf8(example().encode().unwrap().to_vec()).unwrap();
        let digest = Digest::of(b"x");
        for bad in [
            String::new(),
            "{}".to_owned(),
            good.replace(":2,", ": 2,"),
            good.replace("\"format\":1", "\"format\":2"),
            good.replace("\"files\"", "\"fils\""),
            good.replace("\"flights\"", "\"../flights\""),
            format!("{good}\n"),
        ] {
            assert!(Version::decode(&digest, bad.as_bytes()).is_err(), "{bad}");
        }
        let long = Version { message: "x".repeat(MAX_BYTES as usize), ..example() };
        assert!(long.encode().is_err());
    }

    #[test]
    fn numbers_of_versions() {
        assert_eq!(version_number("v12"), Some(12));
        assert_eq!(version_number("v"), None);
    }

    proptest! {
        #[test]
        fn round_trip(message in ".{0,40}", author in ".{0,20}", files: u64, parents in prop::collection::vec(any::<[u8; 32]>(), 0..4)) {
            let parents = parents.into_iter().map(Digest::from_bytes).collect();
            let version = Version { author, files, message, parents, ..example() };
            let bytes = version.encode().unwrap();
            prop_assert_eq!(Version::decode(&Digest::of(&bytes), &bytes).unwrap(), version);
        }
    }
}
