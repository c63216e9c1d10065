use std::fmt;

use object_store::path::Path;

/// The name of a pack: random, for a pack is named before its content is known.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct PackId([u8; PackId::LEN]);

impl PackId {
    /// Bytes of a name.
    pub(super) const LEN: usize = 16;
    /// The mark at the beginning of every pack.
    pub(crate) const MARK: &'static [u8] = b"RWPK\x01";

    pub(crate) fn random() -> Self {
        Self(*uuid::Uuid::new_v4().as_bytes())
    }

    pub(super) fn from_bytes(bytes: [u8; Self::LEN]) -> Self {
        Self(bytes)
    }

    pub(super) fn as_bytes(&self) -> &[u8; Self::LEN] {
        &self.0
    }

    pub(crate) fn path(self) -> Path {
        Path::from(format!("packs/{self}"))
    }

    /// The pack whose object is at `path`.
    pub(crate) fn of_path(path: &Path) -> Option<Self> {
        uuid::Uuid::try_parse(path.filename()?).ok().map(|id| Self(*id.as_bytes()))
    }
}

impl fmt::Display for PackId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        uuid::Uuid::from_bytes(self.0).simple().fmt(f)
    }
}

impl fmt::Debug for PackId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PackId({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_name_packs() {
        let pack = PackId::random();
        assert_eq!(PackId::of_path(&pack.path()), Some(pack));
        assert_eq!(PackId::of_path(&Path::from("packs/else")), None);
    }
}
