//! Index objects: which pack holds what. Being listed in one is what makes a chunk or a blob visible.

mod condemned;
mod entry;
mod known;
mod pack_id;

pub(crate) use condemned::Condemned;
pub(crate) use entry::{Entry, Kind, PackEntries, Slot};
pub(crate) use known::{Index, Location};
pub(crate) use pack_id::PackId;

use crate::error::StoreError;

/// The content of one object of the folder `index`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Object {
    /// What lies in some packs.
    Packs(Vec<PackEntries>),
    /// What of that is to be seen no more.
    Condemned(Condemned),
}

impl Object {
    pub(crate) fn encode(&self) -> Vec<u8> {
        match self {
            Self::Packs(packs) => entry::encode(packs),
            Self::Condemned(condemned) => condemned.encode(),
        }
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, StoreError> {
        if bytes.starts_with(&condemned::MAGIC) {
            Condemned::decode(bytes).map(Self::Condemned)
        } else {
            entry::decode(bytes).map(Self::Packs)
        }
    }
}
